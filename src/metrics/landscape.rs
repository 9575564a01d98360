//! What kind of point a descent has come to.

use std::fmt;

use crate::{
    descent::{PointRef, Run, Stop},
    error::Error,
    metrics::escape::escape,
    theory::minimizer::{Fate, Minimizer},
};

/// How the directions of a point differ from those of the minimizer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// Directions that the minimizer keeps and the point does not have, by falling target: the index in
    /// [`Minimizer::directions`], and how many of its equal directions are missing.
    pub missing: Vec<(usize, usize)>,
    /// Directions that the minimizer gives up and the point has, by falling target: the index in
    /// [`Minimizer::directions`].
    pub excess: Vec<usize>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing: usize = self.missing.iter().map(|&(_, count)| count).sum();
        write!(f, "directions missing {missing}, in excess {}", self.excess.len())
    }
}

/// How a descent has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// At the global minimum: f ≤ f* (1 + 1e-8), whatever the run was asked for.
    GlobalMinimum,
    /// At a strict saddle above the global minimum: [`escape`] gives a way down. For L = 1 every critical point that is
    /// no global minimizer is one.
    StrictSaddle(Difference),
    /// At a local minimizer above the global minimum, for L ≥ 2: zero is one, a direction that is held just beyond its
    /// threshold is another.
    LocalMinimizer(Difference),
    /// Before its gradient was small enough for a critical point, which a run that stalled may be close to all the same.
    Unfinished(Stop),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GlobalMinimum => write!(f, "global minimum"),
            Self::StrictSaddle(difference) => write!(f, "strict saddle: {difference}"),
            Self::LocalMinimizer(difference) => write!(f, "local minimizer above the global minimum: {difference}"),
            Self::Unfinished(Stop::StepLimit) => write!(f, "step limit"),
            Self::Unfinished(Stop::Diverged) => write!(f, "diverged: the start or a fixed step is too large"),
            Self::Unfinished(Stop::Stalled) => write!(f, "stalled: no step lowers the objective by more than rounding"),
            Self::Unfinished(Stop::ScheduleEnd) => write!(f, "end of the schedule of step sizes"),
            Self::Unfinished(Stop::BelowOptimum) => {
                write!(f, "below the optimum given, which is not that of this model")
            }
            Self::Unfinished(Stop::Gap) => write!(f, "gap reached that was asked for"),
            Self::Unfinished(_) => write!(f, "stopped"),
        }
    }
}

/// The relative gap up to which a point is called a global minimum. Rounding of f is some 1e-14 of it at most; missing
/// a direction costs σ²/(2N) (1 - e ((L+1) - L e)), which is less than this only for a direction whose q is within
/// about 1e-4 of its threshold.
const MINIMUM: f64 = 1e-8;

/// Tells how a run on the model of `minimizer` has ended: by the objective, not by what the run was told of the
/// optimum.
///
/// # Errors
///
/// As [`difference`] and [`escape`].
///
/// # Example
///
/// With two layers zero is a local minimizer, and a small start ends there:
///
/// ```
/// use neural_collapse::{
///     ClassCounts, Layer, Parameters, Ufm,
///     descent::Descent,
///     metrics::landscape::{Ending, ending},
///     rand::{SeedableRng, rngs::Xoshiro256PlusPlus},
/// };
///
/// let ufm = Ufm::biased(ClassCounts::balanced(3, 20)?, [Layer::new(12, 1e-2); 2], 1e-3)?;
/// let minimizer = ufm.minimizer()?;
/// let ends = |scale: f64| {
///     let start = Parameters::gaussian(&ufm, scale, &mut Xoshiro256PlusPlus::seed_from_u64(0))?;
///     ending(&minimizer, &Descent::default().minimize(&ufm, start)?)
/// };
/// assert_eq!(ends(1.0)?, Ending::GlobalMinimum);
/// let Ending::LocalMinimizer(difference) = ends(0.01)? else { panic!() };
/// assert_eq!(difference.missing, [(0, 2)]); // both copies of its first direction
/// # Ok::<(), neural_collapse::Error>(())
/// ```
pub fn ending(minimizer: &Minimizer, run: &Run) -> Result<Ending, Error> {
    let optimum = minimizer.objective();
    // Where f* = 0, relative to the objective at zero.
    let scale = if optimum > 0.0 { optimum } else { 0.5 * minimizer.ufm().targets().mean_square() };
    if run.objective - optimum <= MINIMUM * scale {
        return Ok(Ending::GlobalMinimum);
    }
    match run.stop {
        Stop::Gradient => {
            let difference = difference(minimizer, &run.point)?;
            let is_saddle = escape(minimizer.ufm(), &run.point)?.is_some();
            Ok(if is_saddle { Ending::StrictSaddle(difference) } else { Ending::LocalMinimizer(difference) })
        }
        stop => Ok(Ending::Unfinished(stop)),
    }
}

/// A direction counts as there where the prediction has this much of its singular value, and as not there where it has
/// less than the rest: at a critical point it has all of it, or that of the smaller root of the scalar problem, or
/// nothing.
const THERE: f64 = 0.999;

/// How the directions of a point near a critical point differ from those of the minimizer.
///
/// The prediction Z = W_{L:1} H̄ D is measured along the singular vectors of the target: Σ u_kᵀ Z v_k over the vectors
/// of one singular value, which does not depend on the choice of vectors among them. It is compared with z times their
/// number, or with zero.
///
/// Cost: O((K + R²) d_1) operations for class labels; no K × K matrix is formed.
///
/// # Errors
///
/// As [`Parameters::new`](crate::Parameters::new), where the parameters belong to another model; [`Error::TooLarge`].
pub fn difference<'a>(minimizer: &Minimizer, point: impl Into<PointRef<'a>>) -> Result<Difference, Error> {
    let point = point.into();
    let features = point.weighted_features(minimizer.ufm())?;
    let left = minimizer.spectrum().left_transposed_times(point.product().as_ref());
    let right = minimizer.spectrum().right_transposed_times(features.transpose());
    let (directions, levels) = (minimizer.directions(), minimizer.levels());
    let mut difference = Difference::default();
    let mut start = 0;
    // A width can cut a level in two directions, which share its vectors.
    for group in levels.chunk_by(|a, b| a == b).scan(0, |first, level| {
        let range = *first..*first + level.len();
        *first = range.end;
        Some(range)
    }) {
        let end = start + directions[group.clone()].iter().map(|direction| direction.multiplicity).sum::<usize>();
        let trace: f64 = (start..end).map(|k| left.row(k) * right.row(k).transpose()).sum();
        start = end;
        let (first, direction) = (group.start, &directions[group.start]);
        if direction.fate == Fate::Kept {
            let is_there = |count: &usize| trace >= direction.prediction * (*count as f64 - 1.0 + THERE);
            let count = direction.multiplicity - (1..=direction.multiplicity).take_while(is_there).count();
            if count > 0 {
                difference.missing.push((first, count));
            }
        } else if trace > (1.0 - THERE) * direction.target {
            difference.excess.push(first);
        }
    }
    Ok(difference)
}

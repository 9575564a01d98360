//! What kind of point a descent has come to.

use std::fmt;

use faer::Mat;

use super::{
    difference::{Difference, difference},
    escape::escape,
};
use crate::{
    descent::{Run, Stop},
    error::Error,
    point::PointRef,
    theory::{Direction, Minimizer},
};

/// How a descent has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Ending {
    /// At the global minimum: f ≤ f* (1 + 1e-8), for any stopping criteria of the run.
    GlobalMinimum,
    /// At a strict saddle above the global minimum: [`escape`] gives a way down. For L = 1 every critical point that is
    /// not a global minimizer is one.
    StrictSaddle(Difference),
    /// At a local minimizer above the global minimum, for L ≥ 2: zero is one, a direction that is held just beyond its
    /// threshold is another.
    LocalMinimizer(Difference),
    /// Not at a critical point: the gradient is not small enough yet. A run that stalled may still be close to one.
    Unfinished(Stop),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GlobalMinimum => write!(f, "global minimum"),
            Self::StrictSaddle(difference) => write!(f, "strict saddle: {difference}"),
            Self::LocalMinimizer(difference) => write!(f, "local minimizer above the global minimum: {difference}"),
            Self::Unfinished(stop) => write!(f, "{stop}"),
        }
    }
}

/// The relative gap up to which a point is called a global minimum. Rounding of f is some 1e-14 of it at most; missing
/// a direction costs σ²/(2N) (1 - e ((L+1) - L e)), which is less than this only for a direction whose q is within
/// about 1e-4 of its threshold.
const MINIMUM: f64 = 1e-8;

/// How a run on the model of `minimizer` has ended. Uses the objective itself, not the optimum that the run was given.
///
/// First checks that the run was on this model: its point must fit the model, and its objective must be that of its
/// point under the model. Cost: an evaluation of the objective, and above the minimum those of [`difference`] and
/// [`escape`].
///
/// # Errors
///
/// For a run on another model as [`Ufm::objective`](crate::Ufm::objective), or [`Error::OtherObjective`] if only
/// decays, targets or a loss of the run differ; [`Error::BelowMinimum`]; as [`difference`] and [`escape`].
///
/// # Example
///
/// With two layers zero is a local minimizer, and a small start ends there:
///
/// ```
/// use neural_collapse::{
///     ClassCounts, Layer, Parameters, Ufm,
///     descent::Descent,
///     critical::{Ending, ending},
///     rand::{SeedableRng, rngs::Xoshiro256PlusPlus},
/// };
///
/// let ufm = Ufm::new(ClassCounts::balanced(3, 20)?, [Layer::new(12, 1e-2); 2], 1e-3)?;
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
    check_belongs(minimizer, run)?;
    // If f* = 0, relative to the objective at zero.
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

/// Whether the run was on the model of the minimizer, and its objective is possible there.
fn check_belongs(minimizer: &Minimizer, run: &Run) -> Result<(), Error> {
    let ufm = minimizer.ufm();
    // In a run, numbers beyond the range of `f64` are infinite.
    let objective = Some(run.point.objective(ufm)?).filter(|value| !value.is_nan()).unwrap_or(f64::INFINITY);
    let rounding = rounding(minimizer, &run.point, objective);
    if !(run.objective == objective || (run.objective - objective).abs() <= rounding) {
        return Err(Error::OtherObjective { expected: objective, found: run.objective });
    }
    check_not_below(run.objective, minimizer.objective(), rounding + minimum_rounding(minimizer))
}

fn check_not_below(objective: f64, minimum: f64, rounding: f64) -> Result<(), Error> {
    if objective < minimum - rounding { Err(Error::BelowMinimum { objective, minimum }) } else { Ok(()) }
}

/// How far two evaluations of the objective at a point may differ.
///
/// An entry of W_{L:1} H + b 1ᵀ - Y is rounded once a term, half an epsilon of ‖W_L‖ ··· ‖W_1‖ ‖H‖ + √N ‖b‖ + ‖Y‖ each
/// time, in both evaluations; with δ as the sum over √N, the fit changes by √(2f) δ + δ²/2 at most. All other terms are
/// sums of squares: half an epsilon a term, in both, of what they are, and the least positive number if a square is
/// below the normal numbers.
fn rounding<'a>(minimizer: &Minimizer, point: impl Into<PointRef<'a>>, objective: f64) -> f64 {
    let (ufm, point) = (minimizer.ufm(), point.into());
    let (features, samples) = (point.features(), ufm.samples() as f64);
    let weights = point.framed_weights().iter();
    let product: f64 = weights.clone().map(Mat::norm_l2).product::<f64>() * features.norm_l2();
    let bias = point.bias().map_or(0.0, |bias| bias.norm_l2());
    let size = product / samples.sqrt() + bias + ufm.targets().mean_square().sqrt();
    let terms = weights.clone().map(Mat::ncols).sum::<usize>() + 4;
    let entry = f64::EPSILON * terms as f64 * size;
    let entries = (ufm.outputs() + features.nrows()) as f64 * features.ncols() as f64
        + weights.map(|weights| weights.nrows() as f64 * weights.ncols() as f64).sum::<f64>();
    let squares = entries * (f64::EPSILON * objective + f64::from_bits(1));
    (2.0 * objective).sqrt() * entry + entry * entry / 2.0 + squares
}

/// How far f* may be from the minimum: 4 epsilons of it, and what the errors of a dense decomposition do to it, whose
/// derivative by a singular value is (σ - z)/N.
fn minimum_rounding(minimizer: &Minimizer) -> f64 {
    let lost = |direction: &Direction| direction.multiplicity as f64 * (direction.target - direction.prediction);
    let lost: f64 = minimizer.directions().iter().map(lost).sum();
    4.0 * f64::EPSILON * minimizer.objective()
        + minimizer.spectrum().rounding() * lost / minimizer.ufm().samples() as f64
}

#[cfg(test)]
mod tests {
    use super::check_not_below;
    use crate::error::Error;

    /// The theory rules this out, so that no run can show it.
    #[test]
    fn an_objective_below_the_minimum_is_an_error() {
        let below = Error::BelowMinimum { objective: 0.25, minimum: 0.5 };
        assert_eq!(check_not_below(0.25, 0.5, 1e-16), Err(below));
        for objective in [0.5 - 1e-16, 0.5, 0.75, f64::INFINITY, f64::NAN] {
            assert_eq!(check_not_below(objective, 0.5, 1e-16), Ok(()));
        }
    }
}

//! What kind of point a descent has come to.

use std::fmt;

use super::singular_values::weighted_features;
use crate::{
    descent::{Run, Stop},
    error::Error,
    parameters::Parameters,
    theory::minimizer::{Fate, Minimizer},
};

/// A direction of the minimizer that a point does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Missing {
    /// The index in [`Minimizer::directions`].
    pub direction: usize,
    /// How many of its equal directions are missing.
    pub count: usize,
}

/// How a descent has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// At the global minimum: the gap is as small as was asked for, or the gradient is and no direction is missing.
    GlobalMinimum,
    /// At a critical point that is not the global minimum: these directions of the minimizer are missing. For L = 1 it is a strict
    /// saddle; for L ≥ 2 it can be a local minimum, as zero is.
    CriticalPoint {
        /// The directions, by falling target.
        missing: Vec<Missing>,
    },
    /// Before it had come to a critical point.
    Unfinished(Stop),
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GlobalMinimum => write!(f, "global minimum"),
            Self::CriticalPoint { missing } => {
                let count: usize = missing.iter().map(|missing| missing.count).sum();
                write!(f, "critical point, {count} directions missing")
            }
            Self::Unfinished(Stop::StepLimit) => write!(f, "step limit"),
            Self::Unfinished(Stop::Diverged) => write!(f, "diverged, try a smaller step"),
            Self::Unfinished(_) => write!(f, "stopped"),
        }
    }
}

/// Tells how a run on the model of `minimizer` has ended.
///
/// # Errors
///
/// As [`missing_directions`].
pub fn ending(minimizer: &Minimizer, run: &Run) -> Result<Ending, Error> {
    match run.stop {
        Stop::Gap => Ok(Ending::GlobalMinimum),
        Stop::Gradient => {
            let missing = missing_directions(minimizer, &run.parameters)?;
            Ok(if missing.is_empty() { Ending::GlobalMinimum } else { Ending::CriticalPoint { missing } })
        }
        stop => Ok(Ending::Unfinished(stop)),
    }
}

/// A direction counts as found where the prediction has this much of its singular value: at a critical point it has all of it, or that
/// of the smaller root of the scalar problem, or nothing.
const FOUND: f64 = 0.999;

/// The directions kept by the minimizer that the prediction at a point does not have.
///
/// The prediction Z = W_{L:1} H̄ D is measured along the singular vectors of the target: Σ u_kᵀ Z v_k over the vectors of one singular value,
/// which does not depend on the choice of vectors among them, against z times their number. Meaningful near critical points.
///
/// Cost: 2 K d_1 rank operations.
///
/// # Errors
///
/// As [`Parameters::new`], where the parameters belong to another model; [`Error::TooLarge`].
pub fn missing_directions(minimizer: &Minimizer, parameters: &Parameters) -> Result<Vec<Missing>, Error> {
    let means = weighted_features(minimizer.ufm(), parameters)?;
    let directions = minimizer.directions();
    // A width can cut a level in two directions: its vectors are those of both.
    let levels = minimizer.levels();
    let whole_level = |i: usize| {
        let next = directions.get(i + 1).filter(|_| levels[i + 1] == levels[i]);
        directions[i].multiplicity + next.map_or(0, |next| next.multiplicity)
    };
    let kept = || directions.iter().enumerate().filter(|(_, direction)| direction.fate == Fate::Kept);
    let vectors: usize = kept().map(|(i, _)| whole_level(i)).sum();
    let left = minimizer.spectrum().left_vectors(vectors)?.transpose() * parameters.product();
    let right = means * minimizer.spectrum().right_vectors(vectors)?;
    let mut start = 0;
    let mut missing = Vec::new();
    for (i, direction) in kept() {
        let end = start + whole_level(i);
        let trace: f64 = (start..end).map(|k| left.row(k) * right.col(k)).sum();
        start = end;
        let is_found = |count: &usize| trace >= direction.prediction * (*count as f64 - 1.0 + FOUND);
        let count = direction.multiplicity - (1..=direction.multiplicity).take_while(is_found).count();
        if count > 0 {
            missing.push(Missing { direction: i, count });
        }
    }
    Ok(missing)
}

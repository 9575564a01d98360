//! The criteria that stop a run.

use super::{method::StepSize, stop::Stop, trajectory::Record};

/// f below the optimum by more than this share of it is not rounding: a sum of n terms of one sign is good to √n
/// epsilons, and this is that of n = 2e9, more terms than a point in memory has.
const BELOW: f64 = 1e-11;

/// The criteria of a run: the numbers that end it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Criteria {
    pub(super) step_limit: usize,
    pub(super) gradient_tolerance: f64,
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub(super) optimum: Option<f64>,
    pub(super) gap_tolerance: f64,
}

/// What ends a run, except what the walk itself finds.
pub(super) struct Judge {
    pub(super) criteria: Criteria,
    pub(super) schedule: StepSize,
    /// The objective at zero, 1 if that is zero.
    pub(super) scale: f64,
}

impl Judge {
    /// The norm of a gradient that is small enough.
    pub(super) fn tolerance(&self, objective: f64) -> f64 {
        self.criteria.gradient_tolerance * objective.max(f64::EPSILON * self.scale).sqrt()
    }

    /// The relative gap, if the optimum is known.
    pub(super) fn gap(&self, objective: f64) -> Option<f64> {
        let relative = |optimum| (objective - optimum) / if optimum > 0.0 { optimum } else { self.scale };
        self.criteria.optimum.map(relative)
    }

    /// Why the run ends at this point, or `None` if it goes on. `bound` is the objective that only a run that diverges
    /// reaches, `is_broken` whether the observer has broken the run off.
    pub(super) fn stop(&self, record: &Record, bound: f64, is_broken: bool) -> Option<Stop> {
        let &Record { step, objective, gradient_norm } = record;
        let (criteria, gap) = (&self.criteria, self.gap(objective));
        // Negated comparisons: NaN has diverged.
        if !(objective <= bound && objective.is_finite() && gradient_norm.is_finite()) {
            Some(Stop::Diverged)
        } else if gap.is_some_and(|gap| gap < -BELOW) {
            Some(Stop::BelowOptimum)
        } else if gap.is_some_and(|gap| gap <= criteria.gap_tolerance) {
            Some(Stop::Gap)
        } else if gradient_norm <= self.tolerance(objective) {
            Some(Stop::Gradient)
        } else if is_broken {
            Some(Stop::Observer)
        } else if self.schedule.has_ended(step) {
            Some(Stop::ScheduleEnd)
        } else if step >= criteria.step_limit {
            Some(Stop::StepLimit)
        } else {
            None
        }
    }
}

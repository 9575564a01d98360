//! Why a run ended, and what to try.

use std::fmt;

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Stop {
    /// The relative gap to the optimum given is small enough.
    Gap,
    /// The objective is below the optimum given by more than rounding, 1e-11 of it: the optimum is not that of this
    /// model.
    BelowOptimum,
    /// The gradient is small enough: a critical point, not necessarily the global minimum.
    Gradient,
    /// The limit on the number of steps is reached. The run can go on from [`Run::state`](super::Run::state).
    StepLimit,
    /// The schedule of step sizes has come to zero and stays there: further steps would change nothing. If the step
    /// limit is reached at the same time, this is reported instead of [`Stop::StepLimit`], since more steps would not
    /// help.
    ScheduleEnd,
    /// The run no longer goes down, to the precision of floating-point numbers. One of three things has been found:
    ///
    /// - No automatic step lowers the objective by more than its rounding, 16 epsilons of it. For the direction of the
    ///   method these are the lengths that a line search tries; for the negative gradient they are 4 f/‖∇f‖², half of
    ///   that, a quarter, and so on to the limit of rounding.
    /// - The point has not changed in any bit for 1000 steps, and will not: given steps are too short for it.
    /// - For 1000 steps the objective has not fallen by more than its rounding below its least value before, and the
    ///   gradient is rounding: a change of every variable by 16 epsilons of it, up or down, at least doubles it. It is
    ///   also at most twice what it was 1000 steps before, if the objective has not fallen since: near a saddle a
    ///   gradient grows long before the objective falls, and the run goes on.
    ///
    /// This applies to all methods and step sizes. A run whose gradient still falls continues to [`Stop::Gradient`],
    /// even if its objective does not change in any bit. A run that oscillates about a minimum because a given step is
    /// too long continues to its step limit.
    Stalled,
    /// The objective or its gradient has grown beyond all bounds. Either the start is too large, or a fixed step is too
    /// long: then try a smaller one, or automatic steps. The run holds the best point seen.
    Diverged,
    /// The observer has ended the run, which can go on from [`Run::state`](super::Run::state).
    Observer,
}

impl Stop {
    /// A word or two for this, for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::BelowOptimum => "below optimum",
            Self::Gradient => "gradient",
            Self::StepLimit => "step limit",
            Self::ScheduleEnd => "schedule end",
            Self::Stalled => "stalled",
            Self::Diverged => "diverged",
            Self::Observer => "observer",
        }
    }

    /// Whether the run has converged: to the gap, or to a small gradient.
    #[must_use]
    pub fn is_converged(self) -> bool {
        matches!(self, Self::Gap | Self::Gradient)
    }

    /// Whether more steps of the same kind could bring the run further: then it has a
    /// [`Run::state`](super::Run::state).
    #[must_use]
    pub fn can_go_on(self) -> bool {
        matches!(self, Self::StepLimit | Self::Observer)
    }

    /// Advice: what to try if you expected another end.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Gap => "ask for a smaller gap to go on",
            Self::BelowOptimum => "compute the optimum of this very model: same counts, decays, layers and bias",
            Self::Gradient => {
                "ask `critical::ending` which critical point this is; from a saddle or a local minimizer start again, \
                 at a larger scale or from `critical::escape`"
            }
            Self::StepLimit => {
                "go on from the run's state with more steps, take L-BFGS, or start from collapsed features"
            }
            Self::ScheduleEnd => "give the schedule more steps or a larger first step, or take automatic steps",
            Self::Stalled => "this is as near as double precision comes; a smaller start can come nearer",
            Self::Diverged => "take automatic steps, a smaller fixed step or a smaller start",
            Self::Observer => "go on from the run's state, or leave it there: the observer has ended the run",
        }
    }
}

impl fmt::Display for Stop {
    /// What happened, in words; [`Stop::advice`] says what to try.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Gap => "the gap that was asked for is reached",
            Self::BelowOptimum => "below the optimum given, which is not that of this model",
            Self::Gradient => "the gradient is small enough",
            Self::StepLimit => "step limit",
            Self::ScheduleEnd => "end of the schedule of step sizes",
            Self::Stalled => "stalled: no step lowers the objective by more than rounding",
            Self::Diverged => "diverged: the start or a fixed step is too large",
            Self::Observer => "stopped by the observer",
        })
    }
}

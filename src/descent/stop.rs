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
    /// The number of steps has been used up.
    StepLimit,
    /// The schedule of step sizes has come to zero and stays there: further steps of this size change nothing. Where
    /// both are reached at once it goes before [`Stop::StepLimit`], since more steps would not help.
    ScheduleEnd,
    /// The run no longer goes down, as far as floating-point numbers tell. One of three things has been found:
    ///
    /// - No automatic step lowers the objective by more than its rounding, 16 epsilons of it: along the direction of the
    ///   method none that a line search tries, and along the negative gradient none of the lengths 4 f/‖∇f‖², half of
    ///   that, a quarter, and so on to the limit of rounding.
    /// - The point has not changed in any bit for 1000 steps, and will not: given steps are too short for it.
    /// - For 1000 steps the objective has not fallen by more than its rounding below its least value before, and the
    ///   gradient is rounding: a change of every variable by 16 epsilons of it, up or down, at least doubles it. It is
    ///   also at most twice what it was 1000 steps before, if the objective has not fallen since: near a saddle a
    ///   gradient grows long before the objective falls, and the run goes on.
    ///
    /// For all methods and step sizes. A run whose gradient still falls goes on to [`Stop::Gradient`], though its
    /// objective may not change in any bit; so does, to its step limit, a run that oscillates about a minimum because a
    /// given step is too long.
    Stalled,
    /// The objective or its gradient has left every bound: the start is too large, or a fixed step is and a smaller one,
    /// or automatic steps, will help. The run holds the best point seen.
    Diverged,
    /// The observer has asked for it.
    Observer,
}

impl Stop {
    /// One word for this, for programs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gap => "gap",
            Self::BelowOptimum => "below-optimum",
            Self::Gradient => "gradient",
            Self::StepLimit => "step-limit",
            Self::ScheduleEnd => "schedule-end",
            Self::Stalled => "stalled",
            Self::Diverged => "diverged",
            Self::Observer => "observer",
        }
    }

    /// Whether the run has reached what it was asked for: the gap, or a small gradient.
    #[must_use]
    pub fn is_converged(self) -> bool {
        matches!(self, Self::Gap | Self::Gradient)
    }

    /// Whether more steps of the same kind could bring the run further.
    #[must_use]
    pub fn can_go_on(self) -> bool {
        matches!(self, Self::StepLimit | Self::Observer)
    }

    /// What to try if this is not what was wanted.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            Self::Gap => "ask for a smaller gap to go on",
            Self::BelowOptimum => "compute the optimum of this very model: same counts, decays, layers and bias",
            Self::Gradient => {
                "ask `critical::ending` which critical point this is; from a saddle or a local minimizer start again, \
                 at a larger scale or from `critical::escape`"
            }
            Self::StepLimit => "allow more steps, take L-BFGS, or start from collapsed features",
            Self::ScheduleEnd => "give the schedule more steps or a larger first step, or take automatic steps",
            Self::Stalled => "this is as near as double precision comes; a smaller start can come nearer",
            Self::Diverged => "take automatic steps, a smaller fixed step or a smaller start",
            Self::Observer => "nothing: the observer has ended the run",
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

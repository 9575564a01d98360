//! What the loop remembers from point to point, whichever method walks.

use super::{
    criteria::Judge,
    stall::Stall,
    step::{ROUNDING, Walk},
    trajectory::{Record, Trajectory},
};
use crate::parameters::Parameters;

/// f beyond this many times the sum of f at the start and at zero means divergence: near a minimum no method here rises
/// by that factor.
const DIVERGENCE: f64 = 1e6;

/// The record of the point that a run has come to, those before it, and what they say about how it goes.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(crate) struct Journal {
    pub(crate) last: Record,
    pub(crate) trajectory: Vec<Record>,
    /// The objective that only a run that diverges reaches.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub(crate) bound: f64,
    pub(crate) has_stalled: bool,
    stall: Stall,
    best: Option<Best>,
}

/// The best point behind a walk that may rise.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
struct Best {
    objective: f64,
    #[cfg_attr(feature = "serde", serde(deserialize_with = "crate::point::read_blocks"))]
    point: Parameters,
}

impl Journal {
    /// Looks at the start.
    pub(crate) fn new(walk: &mut impl Walk, judge: &Judge, trajectory: Trajectory) -> Self {
        let (objective, gradient_norm) = look(walk, judge);
        let last = Record { step: 0, objective, gradient_norm };
        let mut journal = Self {
            last,
            trajectory: Vec::new(),
            bound: DIVERGENCE * (objective + judge.scale),
            has_stalled: false,
            stall: Stall::new(),
            best: None,
        };
        trajectory.keep(&mut journal.trajectory, last);
        journal.stall.note(&last);
        journal
    }

    /// Looks at the point that a step has led to.
    pub(crate) fn arrive(&mut self, walk: &mut impl Walk, judge: &Judge, trajectory: Trajectory) {
        self.has_stalled = self.stall.is_over(walk);
        let (objective, gradient_norm) = look(walk, judge);
        if !walk.goes_downhill() {
            self.note_best(objective, walk.points().1);
        }
        self.last = Record { step: self.last.step + 1, objective, gradient_norm };
        trajectory.keep(&mut self.trajectory, self.last);
        self.stall.note(&self.last);
    }

    /// Looks at the last point again: the criteria need not be those that the run was broken off with. If they are,
    /// nothing changes.
    pub(crate) fn take_up(&mut self, walk: &mut impl Walk, judge: &Judge) {
        self.last.gradient_norm = infinite(walk.gradient_norm(judge.tolerance(self.last.objective)));
        if let Some(kept) = self.trajectory.last_mut().filter(|kept| kept.step == self.last.step) {
            *kept = self.last;
        }
    }

    /// The best point, if it is lower than the last one by more than rounding: a last point whose gradient is small is
    /// not given up for an epsilon of the objective.
    pub(crate) fn best_below_last(&self) -> Option<&Parameters> {
        let is_lower = |best: &&Best| !(self.last.objective <= best.objective * (1.0 + ROUNDING));
        self.best.as_ref().filter(is_lower).map(|best| &best.point)
    }

    /// Keeps the point before a step that rises, if it is the best so far.
    fn note_best(&mut self, after: f64, point: &Parameters) {
        let before = self.last.objective;
        if !(after <= before) && self.best.as_ref().is_none_or(|best| before < best.objective) {
            self.best = Some(Best { objective: before, point: point.clone() });
        }
    }
}

fn look(walk: &mut impl Walk, judge: &Judge) -> (f64, f64) {
    let objective = walk.look();
    (infinite(objective), infinite(walk.gradient_norm(judge.tolerance(objective))))
}

/// Numbers that have left the range of `f64` are infinite. Their differences are NaN, which says nothing.
pub(crate) fn infinite(value: f64) -> f64 {
    if value.is_nan() { f64::INFINITY } else { value }
}

#[cfg(feature = "serde")]
mod checks {
    use super::Journal;
    use crate::{
        error::{Error, check_not_negative},
        parameters::Parameters,
    };

    /// More steps than a machine can take, so that one more is a number too.
    const MOST_STEPS: usize = usize::MAX / 2;

    impl Journal {
        /// Whether a run can have left this.
        pub(crate) fn check(&self) -> Result<(), Error> {
            let steps = self.last.step;
            if steps > MOST_STEPS {
                return Err(Error::Domain {
                    argument: "steps",
                    value: steps as f64,
                    accepted: "at most half of usize::MAX",
                });
            }
            check_not_negative("objective", self.last.objective)?;
            check_not_negative("gradient norm", self.last.gradient_norm)?;
            if let Some(best) = &self.best {
                check_not_negative("best objective", best.objective)?;
            }
            if self.bound.is_nan() {
                return Err(Error::Domain { argument: "bound", value: self.bound, accepted: "numbers" });
            }
            let are_in_order = self.trajectory.windows(2).all(|pair| pair[0].step < pair[1].step);
            match self.trajectory.last() {
                Some(last) if !are_in_order || last.step > steps => Err(Error::Domain {
                    argument: "steps of the trajectory",
                    value: last.step as f64,
                    accepted: "increasing numbers, none above the steps of the run",
                }),
                _ => self.stall.check(steps),
            }
        }

        /// The points that are remembered, except the last.
        pub(crate) fn points(&self) -> impl Iterator<Item = &Parameters> {
            self.best.iter().map(|best| &best.point)
        }
    }
}

//! The loop that all methods share: look at the point, tell the observer, stop or step.

use std::ops::ControlFlow;

use super::{Descent, Method, StepSize, point::Point, stall::Stall};
use crate::{error::Error, parameters::Parameters};

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
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

/// One point of a trajectory.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The number of steps taken before this point.
    pub step: usize,
    /// The objective here.
    pub objective: f64,
    /// The norm, in the variables of the descent, of the gradient that the next step is made of: for Nesterov's method
    /// taken a little ahead of the point, but for a last point that ends the run with [`Stop::Gradient`].
    pub gradient_norm: f64,
}

/// What an observer is shown.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The point's record.
    pub record: Record,
    /// The relative gap, where the optimum was given.
    pub gap: Option<f64>,
    /// The size of the step that led here; 0 at the start.
    pub step_size: f64,
    /// The columns of features that the descent works on: N, or K + min(d_1, N - K) after the reduction.
    pub columns: usize,
    here: &'a Parameters,
    shape: &'a Point,
}

impl Progress<'_> {
    /// The point, in the form that the descent works on. Cost: that of a copy.
    #[must_use]
    pub fn point(&self) -> Point {
        self.shape.at(self.here.clone())
    }

    /// The point, with the features of all samples. Cost: that of a copy, and 4 N d_1² operations where the descent is
    /// reduced.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where the features do not fit in memory once more.
    pub fn parameters(&self) -> Result<Parameters, Error> {
        self.point().into_parameters()
    }
}

/// The result of a descent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Run {
    /// The last point; with steps that are not automatic, or Adam's, the best one if it is lower by more than rounding.
    pub point: Point,
    /// The objective there.
    pub objective: f64,
    /// The relative gap there, where the optimum was given.
    pub gap: Option<f64>,
    /// The norm of the gradient there, in the variables of the descent.
    pub gradient_norm: f64,
    /// Steps taken.
    pub steps: usize,
    /// Evaluations of the objective, with or without its gradient.
    pub evaluations: usize,
    /// The columns of features that the descent worked on.
    pub columns: usize,
    /// Why it ended.
    pub stop: Stop,
    /// Objective and gradient norm from the start to the last point.
    pub trajectory: Vec<Record>,
}

impl Run {
    /// The last point, with the features of all samples. Cost: as [`Point::into_parameters`].
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where the features do not fit in memory.
    pub fn parameters(&self) -> Result<Parameters, Error> {
        self.point.clone().into_parameters()
    }
}

/// Differences of the objective below this many epsilons of it are rounding.
pub(crate) const ROUNDING: f64 = 16.0 * f64::EPSILON;

/// A method under way.
pub(crate) trait Walk {
    /// The objective at the point, and the norm of the gradient that the next step is made of, which is the one at the
    /// point itself where it is no larger than `tolerance` of the objective.
    fn look(&mut self, tolerance: impl Fn(f64) -> f64) -> (f64, f64);

    /// Takes a step and returns its size; none where no step can be told to lower the objective.
    fn step(&mut self) -> Option<f64>;

    /// The point, and the one before the last step.
    fn points(&self) -> (&Parameters, &Parameters);

    /// The objective at any point, and the norm of its gradient.
    fn measure(&mut self, point: &Parameters) -> (f64, f64);

    /// Whether a point that steps have left as it is stays so for good, the gradient being always the same.
    fn stays(&self) -> bool {
        true
    }

    /// Evaluations of the objective so far.
    fn evaluations(&self) -> usize;
}

/// f below the optimum by more than this share of it is no rounding: a sum of n terms of one sign is good to √n epsilons,
/// and this is that of n = 2e9, more terms than a point in memory has.
const BELOW: f64 = 1e-11;

/// f beyond this many times the sum of f at the start and at zero means divergence: near a minimum no method here rises
/// by so much.
const DIVERGENCE: f64 = 1e6;

/// Numbers that have left the range of `f64` are infinite: differences of such are NaN, and tell no one anything.
fn infinite((objective, gradient_norm): (f64, f64)) -> (f64, f64) {
    let infinite = |value: f64| if value.is_nan() { f64::INFINITY } else { value };
    (infinite(objective), infinite(gradient_norm))
}

/// What ends a run, but for what the walk itself finds.
struct Judge<'a> {
    descent: &'a Descent,
    /// The objective at zero, 1 where that is zero.
    scale: f64,
    /// The objective that only a run that diverges reaches.
    bound: f64,
}

impl Judge<'_> {
    fn tolerance(&self, objective: f64) -> f64 {
        self.descent.gradient_tolerance * objective.max(f64::EPSILON * self.scale).sqrt()
    }

    fn gap(&self, objective: f64) -> Option<f64> {
        let relative = |optimum| (objective - optimum) / if optimum > 0.0 { optimum } else { self.scale };
        self.descent.optimum.map(relative)
    }

    /// Why the run ends at this point.
    fn stop(&self, record: &Record, observer: ControlFlow<()>) -> Option<Stop> {
        let &Record { step, objective, gradient_norm } = record;
        let (descent, gap) = (self.descent, self.gap(objective));
        // Negated comparisons: NaN has diverged.
        if !(objective <= self.bound && objective.is_finite() && gradient_norm.is_finite()) {
            Some(Stop::Diverged)
        } else if gap.is_some_and(|gap| gap < -BELOW) {
            Some(Stop::BelowOptimum)
        } else if gap.is_some_and(|gap| gap <= descent.gap_tolerance) {
            Some(Stop::Gap)
        } else if gradient_norm <= self.tolerance(objective) {
            Some(Stop::Gradient)
        } else if observer.is_break() {
            Some(Stop::Observer)
        } else if descent.step_size.has_ended(step) {
            Some(Stop::ScheduleEnd)
        } else if step == descent.step_limit {
            Some(Stop::StepLimit)
        } else {
            None
        }
    }
}

/// The best point behind a walk that may rise.
#[derive(Default)]
struct Best(Option<(f64, Parameters)>);

impl Best {
    /// Keeps the point before a step that rises, if it is the best so far.
    fn note(&mut self, before: f64, after: f64, point: &Parameters) {
        if !(after <= before) && self.0.as_ref().is_none_or(|(best, _)| before < *best) {
            self.0 = Some((before, point.clone()));
        }
    }

    /// The best point, if it is lower than the last one by more than rounding: a last point whose gradient is small is
    /// not given up for an epsilon of the objective.
    fn below(self, last: f64) -> Option<Parameters> {
        self.0.filter(|(best, _)| !(last <= best * (1.0 + ROUNDING))).map(|(_, point)| point)
    }
}

/// Walks from the start until there is a reason to stop. `scale` is the objective at zero, 1 where that is zero;
/// `shape` tells how the points of the walk make up points of the model.
pub(crate) fn run(
    descent: &Descent,
    mut walk: impl Walk,
    scale: f64,
    shape: &Point,
    mut observer: impl FnMut(&Progress<'_>) -> ControlFlow<()>,
) -> Run {
    let mut judge = Judge { descent, scale, bound: f64::INFINITY };
    // Automatic steps go downhill, but for Adam's.
    let keeps_best = descent.step_size != StepSize::Automatic || matches!(descent.method, Method::Adam { .. });
    let mut best = Best::default();
    let mut trajectory: Vec<Record> = Vec::new();
    let (mut step_size, mut stall) = (0.0, Stall::new());
    let stop = loop {
        let step = trajectory.len();
        let has_stalled = stall.is_over(&mut walk);
        let (objective, gradient_norm) = infinite(walk.look(|objective| judge.tolerance(objective)));
        if let (Some(before), true) = (trajectory.last(), keeps_best) {
            best.note(before.objective, objective, walk.points().1);
        }
        if step == 0 {
            judge.bound = DIVERGENCE * (objective + scale);
        }
        let record = Record { step, objective, gradient_norm };
        trajectory.push(record);
        stall.note(&record);
        let here = walk.points().0;
        let (gap, columns) = (judge.gap(objective), here.features.ncols());
        let observed = observer(&Progress { record, gap, step_size, columns, here, shape });
        if let Some(stop) = judge.stop(&record, observed) {
            break stop;
        } else if has_stalled {
            break Stop::Stalled;
        }
        match walk.step() {
            Some(size) => step_size = size,
            None => break Stop::Stalled,
        }
    };
    let last = trajectory.last().map_or((f64::INFINITY, f64::INFINITY), |last| (last.objective, last.gradient_norm));
    let best = best.below(last.0);
    let is_known = stop == Stop::Gradient && best.is_none();
    let point = best.unwrap_or_else(|| walk.points().0.clone());
    // Measured anew the gradient could differ in its last bit from the one that has ended the run.
    let (objective, gradient_norm) = if is_known { last } else { infinite(walk.measure(&point)) };
    Run {
        objective,
        gap: judge.gap(objective),
        gradient_norm,
        steps: trajectory.len() - 1,
        evaluations: walk.evaluations(),
        columns: point.features.ncols(),
        stop,
        trajectory,
        point: shape.at(point),
    }
}

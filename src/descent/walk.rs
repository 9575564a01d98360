//! The loop that all methods share: look at the point, tell the observer, stop or step.

use std::ops::ControlFlow;

use super::{Descent, Method, StepSize};
use crate::{error::Error, parameters::Parameters, point::Point};

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stop {
    /// The relative gap to the optimum given is small enough.
    Gap,
    /// The gradient is small enough: a critical point, not necessarily the global minimum.
    Gradient,
    /// The number of steps has been used up.
    StepLimit,
    /// No step along the direction of the method lowers the objective by more than its rounding: as close to a critical
    /// point as the method can tell.
    Stalled,
    /// The objective has left every bound: the start is too large, or a fixed step is and a smaller one, or automatic
    /// steps, will help. The run holds the best point seen.
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
    /// The last point; with steps that are not automatic, the best one.
    pub point: Point,
    /// The objective there.
    pub objective: f64,
    /// The relative gap there, where the optimum was given: no less than zero but for rounding, about 1e-15 of f*, which
    /// can make it negative.
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

    /// Evaluations of the objective so far.
    fn evaluations(&self) -> usize;
}

/// f beyond this many times the sum of f at the start and at zero means divergence: near a minimum no method here rises
/// by so much.
const DIVERGENCE: f64 = 1e6;

/// Numbers that have left the range of `f64` are infinite: differences of such are NaN, and tell no one anything.
fn infinite((objective, gradient_norm): (f64, f64)) -> (f64, f64) {
    let infinite = |value: f64| if value.is_nan() { f64::INFINITY } else { value };
    (infinite(objective), infinite(gradient_norm))
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
    let tolerance = |objective: f64| descent.gradient_tolerance * objective.max(f64::EPSILON * scale).sqrt();
    let gap_of = |objective: f64| {
        descent.optimum.map(|optimum| (objective - optimum) / if optimum > 0.0 { optimum } else { scale })
    };
    // Automatic steps go downhill, but for Adam's.
    let keeps_best = descent.step_size != StepSize::Automatic || matches!(descent.method, Method::Adam { .. });
    let mut best: Option<(f64, Parameters)> = None;
    let mut trajectory: Vec<Record> = Vec::new();
    let (mut last_step, mut bound) = (0.0, f64::INFINITY);
    let stop = loop {
        let step = trajectory.len();
        let (objective, gradient_norm) = infinite(walk.look(tolerance));
        if let Some(before) = trajectory.last().map(|record| record.objective)
            && keeps_best
            && !(objective <= before)
            && best.as_ref().is_none_or(|(best, _)| before < *best)
        {
            best = Some((before, walk.points().1.clone()));
        }
        if step == 0 {
            bound = DIVERGENCE * (objective + scale);
        }
        let record = Record { step, objective, gradient_norm };
        trajectory.push(record);
        let gap = gap_of(objective);
        let here = walk.points().0;
        let columns = here.features.ncols();
        let asked_to_stop = observer(&Progress { record, gap, step_size: last_step, columns, here, shape }).is_break();
        // Negated comparisons: NaN has diverged.
        if !(objective <= bound && objective.is_finite()) {
            break Stop::Diverged;
        } else if gap.is_some_and(|gap| gap <= descent.gap_tolerance) {
            break Stop::Gap;
        } else if gradient_norm <= tolerance(objective) {
            break Stop::Gradient;
        } else if asked_to_stop {
            break Stop::Observer;
        } else if step == descent.step_limit {
            break Stop::StepLimit;
        }
        match walk.step() {
            Some(size) => last_step = size,
            None => break Stop::Stalled,
        }
    };
    let last = trajectory.last().map_or(f64::INFINITY, |record| record.objective);
    let point = match best {
        Some((objective, point)) if !(last <= objective) => point,
        _ => walk.points().0.clone(),
    };
    let (objective, gradient_norm) = infinite(walk.measure(&point));
    Run {
        objective,
        gap: gap_of(objective),
        gradient_norm,
        steps: trajectory.len() - 1,
        evaluations: walk.evaluations(),
        columns: point.features.ncols(),
        stop,
        trajectory,
        point: shape.at(point),
    }
}

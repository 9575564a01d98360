//! The loop that all methods share: look at the point, tell the observer, stop or step.

use std::ops::ControlFlow;

use super::{
    criteria::Judge,
    run::{Progress, Record, Run},
    stall::Stall,
    step::{ROUNDING, Walk},
    stop::Stop,
};
use crate::{parameters::Parameters, point::Point};

/// f beyond this many times the sum of f at the start and at zero means divergence: near a minimum no method here rises
/// by that factor.
const DIVERGENCE: f64 = 1e6;

/// Numbers that have left the range of `f64` are infinite. Their differences are NaN, which says nothing.
fn infinite((objective, gradient_norm): (f64, f64)) -> (f64, f64) {
    let infinite = |value: f64| if value.is_nan() { f64::INFINITY } else { value };
    (infinite(objective), infinite(gradient_norm))
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

/// Walks from the start until there is a reason to stop. `shape` tells how the points of the walk make up points of the
/// model.
pub(crate) fn run(
    mut judge: Judge,
    mut walk: impl Walk,
    shape: &Point,
    mut observer: impl FnMut(&Progress<'_>) -> ControlFlow<()>,
) -> Run {
    let keeps_best = !walk.goes_downhill();
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
            judge.bound = DIVERGENCE * (objective + judge.scale);
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

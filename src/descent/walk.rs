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

/// Walks from the start until there is a reason to stop. `shape` tells how the points of the walk make up points of the
/// model.
pub(crate) fn run(
    mut judge: Judge,
    mut walk: impl Walk,
    shape: &Point,
    mut observer: impl FnMut(&Progress<'_>) -> ControlFlow<()>,
) -> Run {
    let keeps_best = !walk.goes_downhill();
    let mut best: Option<(f64, Parameters)> = None;
    let mut trajectory: Vec<Record> = Vec::new();
    let (mut step_size, mut stall) = (0.0, Stall::new());
    let stop = loop {
        let step = trajectory.len();
        let has_stalled = stall.is_over(&mut walk);
        let (objective, gradient_norm) = infinite(walk.look(|objective| judge.tolerance(objective)));
        if let Some(before) = trajectory.last().map(|record| record.objective)
            && keeps_best
            && !(objective <= before)
            && best.as_ref().is_none_or(|(best, _)| before < *best)
        {
            best = Some((before, walk.points().1.clone()));
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
    let last = trajectory.last().map_or(f64::INFINITY, |record| record.objective);
    // Lower by more than rounding: a last point whose gradient is small is not given up for an epsilon of the
    // objective.
    let point = match best {
        Some((objective, point)) if !(last <= objective * (1.0 + ROUNDING)) => point,
        _ => walk.points().0.clone(),
    };
    let (objective, gradient_norm) = infinite(walk.measure(&point));
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

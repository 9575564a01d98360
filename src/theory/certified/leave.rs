//! From the path to its end: what stays there, and the step that leads to it.

use super::{
    path::{Kink, Path, Stop, Tangent},
    polish::{Polished, polish},
    problem::Problem,
};
use crate::error::Error;

/// What stays at the end of the path: how many singular values, and which contrasts.
pub(super) struct Choice {
    rank: usize,
    moves: Vec<bool>,
    /// What stays and what goes are at least this many times apart.
    pub(super) clarity: f64,
    /// To the end of the path.
    tangent: Tangent,
}

impl Choice {
    /// In the middle of the path a singular value that vanishes is a multiple of μ: all of it goes on the way to μ = 0. Of
    /// one that stays little goes. One at its threshold is a multiple of √μ: half of it goes.
    pub(super) fn new(path: &Path<'_>, stop: &Stop) -> Self {
        let problem = path.problem;
        let tangent = path.along(stop, 0.0);
        let mut clarity = f64::INFINITY;
        let mut stays = |sigma: f64, change: f64| {
            // Nothing that grows goes.
            if change >= 0.0 {
                return sigma > 0.0;
            }
            let ratio = (sigma + change) / -change;
            clarity = clarity.min(ratio.max(1.0 / ratio.max(0.0)));
            ratio > 1.0
        };
        // Where neither fit nor penalty pulls, as along the mean of a free bias, there is nothing but rounding: that of
        // this decomposition, or of all steps on the way.
        let (rounding, idle) = (stop.svd.rounding(), problem.idle_column());
        let is_idle = |j: usize| {
            let along =
                |idle: &Vec<f64>| idle.iter().zip(stop.svd.right.col(j).iter()).map(|(x, y)| x * y).sum::<f64>();
            idle.as_ref().is_some_and(|idle| along(idle).powi(2) > 0.5)
        };
        let values = stop.svd.values.iter().zip(&tangent.values).enumerate();
        let values = values.filter(|(j, (sigma, _))| **sigma > rounding && !is_idle(*j));
        let rank = values.filter(|(_, (sigma, change))| stays(**sigma, **change)).count();
        let moves = (0..problem.moves.len()).map(|s| match path.kinks[s] {
            Kink::Zero => false,
            Kink::Linear => true,
            Kink::Smooth => {
                let contrast = problem.contrast(&stop.point, s);
                stays(contrast.abs(), contrast.signum() * tangent.step.contrasts[s])
            }
        });
        let moves = moves.collect();
        Self { rank, moves, clarity, tangent }
    }
}

/// Goes to the end of the path in one step, if that is near, and polishes what stays.
pub(super) fn leave(path: &Path<'_>, stop: &Stop, choice: Choice) -> Result<Polished, Error> {
    let problem = path.problem;
    let fixed = Problem { moves: choice.moves, ..problem.clone() };
    let step = &choice.tangent.step;
    let end = if path.is_far(step) { stop.point.clone() } else { stop.point.plus(1.0, step) };
    polish(&fixed, &end, choice.rank)
}

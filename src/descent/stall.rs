//! Runs that no longer move: the part of [`Stop::Stalled`](super::Stop::Stalled) that needs more than one step to see.

use super::{
    step::{ROUNDING, Walk},
    trajectory::Record,
};
#[cfg(feature = "serde")]
use crate::error::Error;
use crate::parameters::Parameters;

/// Consecutive steps without progress, after which a run is checked. The number is large because a gradient that is
/// rounding can still hold a way down from a saddle: there it grows by a factor of 1 + η c a step, where -c is the
/// curvature, and in a thousand steps e times and more from η c = 1e-3 on. One check takes two gradients: 0.2 % of the
/// run.
const PATIENCE: usize = 1000;

/// What a run has done since it last made progress.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(crate) struct Stall {
    /// The objective that progress is measured from.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    least: f64,
    /// Steps since the objective last fell below `least` by more than its rounding.
    idle: usize,
    /// Steps since objective and gradient last changed in any bit.
    same: usize,
    last: Option<(f64, f64)>,
    /// The norm of the gradient at the last look, if nothing has progressed since.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    gradient_norm: Option<f64>,
}

impl Stall {
    pub(crate) fn new() -> Self {
        Self { least: f64::INFINITY, idle: 0, same: 0, last: None, gradient_norm: None }
    }

    /// Whether a run of so many steps can have left this.
    #[cfg(feature = "serde")]
    pub(crate) fn check(&self, steps: usize) -> Result<(), Error> {
        for (argument, count) in [("steps without progress", self.idle), ("steps without a change", self.same)] {
            if count > steps {
                return Err(Error::Domain { argument, value: count as f64, accepted: "at most the steps of the run" });
            }
        }
        let numbers = [("least objective", Some(self.least)), ("gradient norm at the last check", self.gradient_norm)];
        for (argument, value) in numbers {
            if let Some(value) = value.filter(|value| !(*value >= 0.0)) {
                return Err(Error::Domain { argument, value, accepted: "numbers >= 0" });
            }
        }
        Ok(())
    }

    /// Takes in a point. Call it at every point.
    pub(crate) fn note(&mut self, record: &Record) {
        let values = (record.objective, record.gradient_norm);
        self.same = if self.last == Some(values) { self.same + 1 } else { 0 };
        self.last = Some(values);
        if record.objective < self.least - ROUNDING * self.least || self.least.is_infinite() {
            self.least = record.objective;
            self.idle = 0;
            self.gradient_norm = None;
        } else {
            self.idle += 1;
        }
    }

    /// Whether the run has stalled: no progress for `PATIENCE` steps, and the point is the same bit for bit or its
    /// gradient is rounding.
    ///
    /// The objective alone is not enough: if f lies within its rounding of a minimum the gradient can still fall by
    /// eight digits, and near a saddle the gradient grows long before f shows it. Both go on. A gradient that is
    /// rounding does neither.
    pub(crate) fn is_over(&mut self, walk: &mut impl Walk) -> bool {
        if self.idle < PATIENCE {
            return false;
        }
        let (point, previous) = walk.points();
        let frozen = self.same >= PATIENCE && point == previous && walk.stays();
        self.idle = 0;
        frozen || self.gradient_is_rounding(walk)
    }

    /// Whether a change of every variable by 16 epsilons of it, up or down, at least doubles the gradient, which has
    /// not doubled since the last look.
    fn gradient_is_rounding(&mut self, walk: &mut impl Walk) -> bool {
        let point = walk.points().0.clone();
        let norm = walk.measure(&point).1;
        let before = self.gradient_norm.replace(norm);
        walk.measure(&nudged(point)).1 >= 2.0 * norm && before.is_none_or(|before| norm <= 2.0 * before)
    }
}

/// The point with every variable changed by `ROUNDING` of it, up or down as if by chance, always in the same way.
fn nudged(mut point: Parameters) -> Parameters {
    // Weyl's sequence of the golden ratio: its high bit has no period that a matrix could share.
    let mut state = 0_u64;
    for block in point.blocks_mut() {
        for column in block.col_iter_mut() {
            for entry in column.iter_mut() {
                state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let up = (state ^ (state >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9) >> 63 == 0;
                *entry *= if up { 1.0 + ROUNDING } else { 1.0 - ROUNDING };
            }
        }
    }
    point
}

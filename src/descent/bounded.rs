//! Steps of models whose features may not be negative: entry by entry, with a projection behind each.

// pulp compiles its kernels for the registers found at run time only if they are inlined.
#![allow(clippy::inline_always)]

use super::entrywise::{Step, Sums};

/// A step d = x⁺ - y from the point y where the gradient g was taken, with a projection behind it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Moved {
    /// <g, d>.
    pub(crate) along: f64,
    /// ‖d‖².
    pub(crate) square: f64,
    /// <-d, x⁺ - x>: positive if the step points uphill.
    pub(crate) uphill: f64,
}

impl Moved {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self { along: self.along + other.along, square: self.square + other.square, uphill: self.uphill + other.uphill }
    }

    /// The step in the variables of the descent, of plain variables that a step moves `scale` times as far.
    pub(crate) fn in_variables(self, scale: f64) -> Self {
        Self { along: self.along, square: self.square / scale, uphill: self.uphill / scale }
    }
}

/// A step with a floor. ‖g‖² leaves out what would only push an entry on the floor further down: it is the norm of
/// the projected gradient.
#[inline(always)]
pub(super) fn advance_bounded(step: Step, floor: f64, point: &[f64], previous: &[f64], next: &mut [f64]) -> Sums {
    let Step { carry, decay, rate, .. } = step;
    let mut sums = Sums::default();
    for ((&x, &p), next) in point.iter().zip(previous).zip(next) {
        let displacement = x - p;
        let carried = x + carry.momentum * displacement;
        let y = if carry.ahead { carried } else { x };
        let g = *next + decay * y;
        let free = carried - rate * g;
        // Written so that NaN comes through.
        let to = if free < floor { floor } else { free };
        let held = if y > floor || !(g > 0.0) { g } else { 0.0 };
        let d = to - y;
        sums.square += y * y;
        sums.gradient_square += held * held;
        sums.slope += g * displacement;
        sums.moved.along += g * d;
        sums.moved.square += d * d;
        sums.moved.uphill -= d * (to - x);
        *next = to;
    }
    sums
}

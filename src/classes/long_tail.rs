//! Exponential long tails whose floors are those of the real numbers: the floor of a rounded power loses whole numbers
//! (4980/498 becomes 9).

use qd::Quad;

/// More than the relative error of a count in double precision: an exponent of at most 710, rounded three times, and an
/// exponential.
const ROUNDING: f64 = 1e-12;

/// More than the relative error of a count in double-double arithmetic, 710 of its roundings of 2^-104. A value that is
/// this close below a whole number counts as that number: exact powers are, and an irrational number comes as close
/// with a probability of 10^-23 at counts of 10^4, and of 10^-11 at 2^53.
const QUAD_ROUNDING: f64 = 1.0 / (1_u128 << 90) as f64;

/// ⌊`largest` · `ratio`^(-k/(K-1))⌋ for k = 0 .. K-1, where K is the number of classes and `ratio` at least 1.
pub(super) fn tail(classes: usize, largest: u64, ratio: Quad) -> impl Iterator<Item = u64> {
    let (last, log) = (classes.saturating_sub(1).max(1) as f64, ratio.ln());
    (0..classes).map(move |k| {
        let count = largest as f64 * (-log.0 * (k as f64 / last)).exp();
        // Most counts are far enough from a whole number.
        let (low, high) = (count * (1.0 - ROUNDING), count * (1.0 + ROUNDING));
        if low.floor() == high.floor() { whole(low) } else { exact(largest, log, k, last) }
    })
}

fn exact(largest: u64, log: Quad, k: usize, last: f64) -> u64 {
    let power = (-log * (Quad::from(k as f64) / Quad::from(last))).exp();
    let count = Quad::from(largest as f64) * power * (Quad::ONE + Quad::from(QUAD_ROUNDING));
    // A double-double number is its first half rounded: one that is whole may be above the number.
    let is_above = count.0 == count.0.floor() && count.1 < 0.0;
    whole(count.0.floor() - f64::from(u8::from(is_above)))
}

/// A rounded count: the cast saturates, and `ClassCounts::new` refuses what has saturated.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
pub(super) fn whole(count: f64) -> u64 {
    count as u64
}

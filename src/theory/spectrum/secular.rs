//! The roots of the secular equation Σ_r w_r / (c_r - x) = 0, each as an offset from its nearer pole.

use crate::linalg::{
    error_free::{rounding_of_product, rounding_of_sum},
    lanes::LANES,
};

/// A root x = `poles[origin]` + `offset` between two neighboring poles.
///
/// The offset has full relative accuracy, and so has every distance `(poles[r] - poles[origin]) - offset` from a pole:
/// that is what makes vectors computed from these distances orthogonal (Gu, Eisenstat 1994). Distances computed from x
/// itself would have lost their leading digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Root {
    pub(super) origin: usize,
    pub(super) offset: f64,
}

/// The left side of the secular equation and its derivatives at one point.
struct Sum {
    value: f64,
    slope: f64,
    half_curvature: f64,
}

/// The root between `poles[upper]` and `poles[upper + 1]`; poles are falling whole numbers below 2^53 (so that their
/// differences are exact), weights are positive.
///
/// The left side rises from -∞ to +∞ between two poles, so that there is exactly one root. Each step fits `c + s/(c_j -
/// x) + S/(c_{j+1} - x)` to the value and the first two derivatives and goes to the root of the fit: from every start
/// in the interval this converges monotonically and cubically (Borges, Gragg 1993). A bracket guards it against
/// rounding. At the end the residual is computed once more with compensated divisions and sums, so that the offset is
/// correct to about one rounding error for any weights.
///
/// Cost: 4 to 6 passes over the poles.
pub(super) fn root(poles: &[f64], weights: &[f64], upper: usize) -> Root {
    let lower = upper + 1;
    let gap = poles[upper] - poles[lower];
    let half = 0.5 * gap;
    // The sign at the middle says which pole is nearer.
    let mut at = sum(poles, weights, poles[lower], half);
    let (origin, mut offset, mut low, mut high) =
        if at.value >= 0.0 { (lower, half, 0.0, half) } else { (upper, -half, -half, 0.0) };
    // A root next to its pole is 2^-106 of the gap away at the very least (weights are below 2^53): 200 halvings are
    // more than the bracket can ever take.
    for _ in 0..200 {
        if at.value < 0.0 {
            low = offset;
        } else {
            high = offset;
        }
        let (above, below) = if origin == upper { (-offset, -gap - offset) } else { (gap - offset, -offset) };
        let mut next = offset + step(&at, above, below);
        if !(low < next && next < high) {
            next = between(low, high);
        }
        let change = (next - offset).abs();
        offset = next;
        // Cubic convergence: the next change would be of the order of rounding.
        if change <= 1e-5 * offset.abs() {
            break;
        }
        at = sum(poles, weights, poles[origin], offset);
    }
    // Newton's method with the residual of twice the precision: once, except for extreme weights.
    for _ in 0..8 {
        let (value, slope) = compensated_sum(poles, weights, poles[origin], offset);
        let correction = value / slope;
        offset -= correction;
        if correction.abs() <= 1e-9 * offset.abs() {
            break;
        }
    }
    Root { origin, offset }
}

/// Every pole and its weight, with the lane whose sums its terms belong to.
#[inline]
fn for_each_lane(poles: &[f64], weights: &[f64], mut add: impl FnMut(usize, f64, f64)) {
    let (pole_chunks, pole_rest) = poles.as_chunks::<LANES>();
    let (weight_chunks, weight_rest) = weights.as_chunks::<LANES>();
    for (poles, weights) in pole_chunks.iter().zip(weight_chunks) {
        for i in 0..LANES {
            add(i, poles[i], weights[i]);
        }
    }
    for (i, (&pole, &weight)) in pole_rest.iter().zip(weight_rest).enumerate() {
        add(i, pole, weight);
    }
}

/// Σ_r w_r / (c_r - x)², the slope of the secular equation, at x = `origin` + `offset`.
pub(super) fn slope(poles: &[f64], weights: &[f64], origin: f64, offset: f64) -> f64 {
    let mut sums = [0.0; LANES];
    for_each_lane(poles, weights, |i, pole, weight| {
        let distance = (pole - origin) - offset;
        sums[i] += weight / (distance * distance);
    });
    sums.iter().sum()
}

fn sum(poles: &[f64], weights: &[f64], origin: f64, offset: f64) -> Sum {
    let mut sums = [[0.0; LANES]; 3];
    for_each_lane(poles, weights, |i, pole, weight| {
        let inverse = 1.0 / ((pole - origin) - offset);
        let value = weight * inverse;
        let slope = value * inverse;
        sums[0][i] += value;
        sums[1][i] += slope;
        sums[2][i] += slope * inverse;
    });
    let [value, slope, half_curvature] = sums.map(|lanes| lanes.iter().sum());
    Sum { value, slope, half_curvature }
}

/// The step to the root of `c + s/(above - η) + S/(below - η)`, fitted at η = 0, where `above` > 0 > `below` are the
/// distances of the two poles.
fn step(at: &Sum, above: f64, below: f64) -> f64 {
    let Sum { value: f, slope: d, half_curvature: h, .. } = *at;
    let near = above * above * above * (d - below * h) / (above - below);
    let far = below * below * below * (above * h - d) / (above - below);
    let constant = f - near / above - far / below;
    // constant η² - linear η + product = 0, solved without cancellation.
    let linear = constant * (above + below) + near + far;
    let product = f * above * below;
    let root = (linear * linear - 4.0 * constant * product).max(0.0).sqrt();
    if linear > 0.0 { 2.0 * product / (linear + root) } else { (linear - root) / (2.0 * constant) }
}

/// A point inside the bracket: the geometric mean if its ends differ by orders of magnitude.
fn between(low: f64, high: f64) -> f64 {
    let (near, far) = if low.abs() < high.abs() { (low, high) } else { (high, low) };
    if near == 0.0 {
        far / 1024.0
    } else if (far / near).abs() > 4.0 {
        (near * far).sqrt().copysign(far)
    } else {
        0.5 * (low + high)
    }
}

/// The left side of the secular equation as if computed with twice the precision, and its slope.
fn compensated_sum(poles: &[f64], weights: &[f64], origin: f64, offset: f64) -> (f64, f64) {
    let (mut values, mut errors, mut slopes) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for_each_lane(poles, weights, |i, pole, weight| {
        let difference = pole - origin;
        let distance = difference - offset;
        let lost = rounding_of_sum(difference, -offset, distance);
        let inverse = 1.0 / distance;
        let term = weight * inverse;
        // weight/(distance + lost) - term, to first order in the two small numbers.
        let product = term * distance;
        let residual = (weight - product) - rounding_of_product(term, distance, product);
        let correction = (residual - term * lost) * inverse;
        let sum = values[i] + term;
        errors[i] += rounding_of_sum(values[i], term, sum) + correction;
        values[i] = sum;
        slopes[i] += term * inverse;
    });
    let (mut value, mut error) = (0.0, errors.iter().sum::<f64>());
    for lane in values {
        let sum = value + lane;
        error += rounding_of_sum(value, lane, sum);
        value = sum;
    }
    (value + error, slopes.iter().sum())
}

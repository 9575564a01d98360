//! The roots of the secular equation Σ_r w_r / (c_r - x) = 0, each as an offset from its nearer pole.

/// A root x = `poles[origin]` + `offset` between two neighboring poles.
///
/// The offset has full relative accuracy, and so has every distance `(poles[r] - poles[origin]) - offset` from a pole:
/// that is what makes vectors computed from these distances orthogonal (Gu, Eisenstat 1994), where distances computed
/// from x itself would have lost their leading digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Root {
    pub(super) origin: usize,
    pub(super) offset: f64,
}

/// The left side of the secular equation, its derivatives and its size at one point.
struct Sum {
    value: f64,
    slope: f64,
    half_curvature: f64,
    /// Σ |w_r / (c_r - x)|: times an epsilon, the rounding of `value`.
    magnitude: f64,
}

/// The root between `poles[upper]` and `poles[upper + 1]`; poles are falling whole numbers below 2^53 (so that their
/// differences are exact), weights are positive.
///
/// The left side rises from -∞ to +∞ between two poles, so that there is exactly one root. Each step fits
/// `c + s/(c_j - x) + S/(c_{j+1} - x)` to the value and the first two derivatives and goes to the root of the fit: from
/// every start in the interval this converges monotonically and cubically (Borges, Gragg 1993). A bracket guards it
/// against rounding. At the end the residual is computed once more with compensated divisions and sums, so that the offset
/// is correct to about one rounding error whatever the weights.
///
/// Cost: 4 to 6 passes over the poles.
pub(super) fn root(poles: &[f64], weights: &[f64], upper: usize) -> Root {
    let lower = upper + 1;
    let gap = poles[upper] - poles[lower];
    let half = 0.5 * gap;
    // The sign at the middle says which pole is nearer.
    let middle = sum(poles, weights, lower, half);
    let (origin, mut low, mut high) = if middle.value >= 0.0 { (lower, 0.0, half) } else { (upper, -half, 0.0) };
    let mut offset = if origin == lower { half } else { -half };
    // A root next to its pole is 2^-106 of the gap away at the very least (weights are below 2^53): 200 halvings are more
    // than the bracket can ever take.
    for _ in 0..200 {
        let at = sum(poles, weights, origin, offset);
        if at.value < 0.0 {
            low = offset;
        } else {
            high = offset;
        }
        if at.value.abs() <= f64::EPSILON * at.magnitude {
            break;
        }
        let (above, below) = if origin == upper { (-offset, -gap - offset) } else { (gap - offset, -offset) };
        let mut next = offset + step(&at, above, below);
        if !(low < next && next < high) {
            next = between(low, high);
        }
        let change = (next - offset).abs();
        offset = next;
        if change <= f64::EPSILON * offset.abs() {
            break;
        }
    }
    Root {
        origin,
        offset: offset - compensated_value(poles, weights, origin, offset) / slope(poles, weights, origin, offset),
    }
}

/// Σ_r w_r / (c_r - x)², the slope of the secular equation at a root.
pub(super) fn slope(poles: &[f64], weights: &[f64], origin: usize, offset: f64) -> f64 {
    poles.iter().zip(weights).map(|(pole, weight)| weight / ((pole - poles[origin]) - offset).powi(2)).sum()
}

fn sum(poles: &[f64], weights: &[f64], origin: usize, offset: f64) -> Sum {
    let mut sum = Sum { value: 0.0, slope: 0.0, half_curvature: 0.0, magnitude: 0.0 };
    for (pole, weight) in poles.iter().zip(weights) {
        let inverse = 1.0 / ((pole - poles[origin]) - offset);
        let term = weight * inverse;
        sum.value += term;
        sum.magnitude += term.abs();
        sum.slope += term * inverse;
        sum.half_curvature += term * inverse * inverse;
    }
    sum
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

/// A point inside the bracket: the geometric mean where its ends differ by orders of magnitude.
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

/// The left side of the secular equation as if computed with twice the precision.
fn compensated_value(poles: &[f64], weights: &[f64], origin: usize, offset: f64) -> f64 {
    let (mut value, mut error) = (0.0_f64, 0.0_f64);
    for (pole, weight) in poles.iter().zip(weights) {
        let difference = pole - poles[origin];
        let distance = difference - offset;
        let lost = rounding_of_sum(difference, -offset, distance);
        let term = weight / distance;
        // weight/(distance + lost) - term, to first order in the two small numbers.
        let correction = (term.mul_add(-distance, *weight) - term * lost) / distance;
        let sum = value + term;
        error += rounding_of_sum(value, term, sum) + correction;
        value = sum;
    }
    value + error
}

/// a + b - fl(a + b), exactly (Knuth's two-sum).
fn rounding_of_sum(a: f64, b: f64, sum: f64) -> f64 {
    let other = sum - a;
    (a - (sum - other)) + (b - other)
}

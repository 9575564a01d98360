//! The bias: Newton's method on what is left when every class has its best s_k.
//!
//! ```text
//! φ(b) = Σ_k min_s [w_k l_k(s/√n_k + b) + λ ‖s‖] + λ_b/2 ‖b‖²
//! ```
//!
//! is convex with a continuous gradient, and R numbers by symmetry. With A the curvature of a loss by its outputs, and
//! B that of λ ‖s‖ times n, the curvature of a term is A - A (A + B)⁻¹ A, or A where s = 0.

use faer::{Mat, Side, linalg::solvers::Solve};

use super::{
    Orthogonal,
    column::{ALMOST, Column},
};
use crate::{error::Error, linalg::memory::try_zeros, theory::contrasts::grouped::Grouped};

const MOST_STEPS: usize = 100;
/// After a step this small quadratic convergence leaves only rounding.
const LAST_STEP: f64 = 1e-9;
const SHORTEST: f64 = 1e-12;
/// What the curvature is raised by, relative to that of all losses: with two classes that are both there φ is linear.
const RIDGE: f64 = 1e-13;
/// No logit moves further in a step.
const FARTHEST: f64 = 4.0;

/// A bias, and the best s_k for each group.
struct State {
    bias: Vec<f64>,
    columns: Vec<Vec<f64>>,
    value: f64,
}

pub(super) fn solve(grouped: &Grouped) -> Result<Orthogonal, Error> {
    let count = grouped.count();
    let mut state = State::new(grouped, start(grouped), None);
    if let Some(decay) = grouped.bias {
        let mut gradient = state.gradient(grouped, decay);
        for _ in 0..MOST_STEPS {
            let step = step(grouped, decay, &state, &gradient)?;
            let moved = |t: f64| {
                let bias = state.bias.iter().zip(&step).map(|(bias, step)| bias - t * step).collect();
                State::new(grouped, bias, Some(&state.columns))
            };
            let length = step.iter().fold(0.0_f64, |length, step| length.max(step.abs()));
            let (mut t, mut next) = (1.0, moved(1.0));
            let mut slope = next.gradient(grouped, decay);
            if length <= LAST_STEP {
                // What is left is rounding, on either side.
                if norm(&slope) < norm(&gradient) {
                    state = next;
                }
                break;
            }
            // Where values are rounding, the gradient still tells.
            if !(next.value <= state.value * ALMOST && norm(&slope) < 0.5 * norm(&gradient)) {
                while t > SHORTEST && !(next.value < state.value) {
                    t *= 0.5;
                    next = moved(t);
                }
                slope = next.gradient(grouped, decay);
            }
            if t <= SHORTEST {
                break;
            }
            (state, gradient) = (next, slope);
        }
    }
    let mut others = try_zeros("logits of groups", count, count as u64)?;
    for (s, column) in state.columns.iter().enumerate() {
        (0..count).for_each(|r| others[(r, s)] = column[r]);
    }
    Ok(Orthogonal { others, own: state.columns.iter().map(|column| column[count]).collect(), bias: state.bias })
}

/// The objective of an orthogonal solution.
pub(super) fn objective(grouped: &Grouped, solution: &Orthogonal) -> Result<f64, Error> {
    let columns = (0..grouped.count()).map(|s| {
        let column = Column::new(grouped, s, &solution.bias);
        grouped.sizes[s] * column.value(&solution.column(s))
    });
    let value = columns.sum::<f64>() + penalty(grouped, &solution.bias);
    // Rounding can leave a free bias without a minimum in the range of `f64`.
    if value.is_finite() { Ok(value) } else { Err(Error::SvdDidNotConverge) }
}

/// λ_b/2 ‖b‖².
fn penalty(grouped: &Grouped, bias: &[f64]) -> f64 {
    let square: f64 = grouped.sizes.iter().zip(bias).map(|(m, b)| m * b * b).sum();
    0.5 * grouped.bias.unwrap_or(0.0) * square
}

impl State {
    fn new(grouped: &Grouped, bias: Vec<f64>, before: Option<&[Vec<f64>]>) -> Self {
        let columns: Vec<Vec<f64>> = (0..grouped.count())
            .map(|s| Column::new(grouped, s, &bias).minimize(before.map(|before| before[s].as_slice())))
            .collect();
        let fits = columns.iter().enumerate().map(|(s, x)| grouped.sizes[s] * Column::new(grouped, s, &bias).value(x));
        let value = fits.sum::<f64>() + penalty(grouped, &bias);
        Self { bias, columns, value }
    }

    /// That of φ by the bias of the groups.
    fn gradient(&self, grouped: &Grouped, decay: f64) -> Vec<f64> {
        let penalties = grouped.sizes.iter().zip(&self.bias);
        let mut gradient: Vec<f64> = penalties.map(|(m, b)| decay * m * b).collect();
        for (s, x) in self.columns.iter().enumerate() {
            let column = Column::new(grouped, s, &self.bias);
            let errors = column.by_group(&column.fit(x).errors);
            for (r, error) in errors.iter().enumerate() {
                gradient[r] += grouped.sizes[s] * grouped.weights[s] * grouped.scales[r] * error;
            }
        }
        gradient
    }
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

/// The bias at which the outputs are the mean of the targets, where everything else is zero.
fn start(grouped: &Grouped) -> Vec<f64> {
    let total = grouped.total_weight();
    let mean = |r: usize| (1.0 - grouped.smoothing) * grouped.weights[r] / total + grouped.everywhere;
    let bias = |r: usize| match grouped.bias {
        None => 0.0,
        Some(_) if grouped.is_cross_entropy => (mean(r).ln() - grouped.shifts[r]) / grouped.scales[r],
        Some(_) => (mean(r) - grouped.shifts[r]) / grouped.scales[r],
    };
    (0..grouped.count()).map(bias).collect()
}

/// Newton's step of φ, to be subtracted.
fn step(grouped: &Grouped, decay: f64, state: &State, gradient: &[f64]) -> Result<Vec<f64>, Error> {
    let count = grouped.count();
    let mut curvature = try_zeros("curvature by the bias", count, count as u64)?;
    for (s, x) in state.columns.iter().enumerate() {
        let column = Column::new(grouped, s, &state.bias);
        let (fit, norm, size) = (column.fit(x), column.norm(x), grouped.sizes[s]);
        let unit: Vec<f64> = x.iter().map(|x| x / norm).collect();
        for t in 0..count {
            let mut curved = column.curvature(&fit, &column.bias_direction(t));
            if norm > 0.0 {
                let root = grouped.roots[s];
                let right: Vec<f64> = curved.iter().map(|entry| entry / root).collect();
                let answer: Vec<f64> = column.solve(&fit, &unit, norm, &right).iter().map(|x| x / root).collect();
                let less = column.curvature(&fit, &answer);
                curved.iter_mut().zip(&less).for_each(|(entry, less)| *entry -= less);
            }
            for (r, entry) in column.by_group(&curved).iter().enumerate() {
                curvature[(r, t)] += size * entry;
            }
        }
    }
    let ridge = RIDGE * grouped.total_weight() * largest_scale(grouped).powi(2);
    let is_free = grouped.is_cross_entropy && decay == 0.0;
    for r in 0..count {
        curvature[(r, r)] += decay * grouped.sizes[r] + ridge;
    }
    if is_free {
        // b may move along 1/δ, where the slope is zero: any curvature there will do.
        let along: Vec<f64> = (0..count).map(|r| grouped.sizes[r] / grouped.scales[r]).collect();
        let most = (0..count).map(|r| curvature[(r, r)]).fold(0.0, f64::max);
        let square: f64 = along.iter().map(|entry| entry * entry).sum();
        for r in 0..count {
            (0..count).for_each(|t| curvature[(r, t)] += most / square * along[r] * along[t]);
        }
    }
    let factors = curvature.llt(Side::Lower).map_err(|_| Error::SvdDidNotConverge)?;
    let step = factors.solve(&Mat::from_fn(count, 1, |r, _| gradient[r]));
    let step = || (0..count).map(|r| step[(r, 0)]);
    let length = step().fold(0.0_f64, |length, step| length.max(step.abs())) * largest_scale(grouped);
    let shorter = if length > FARTHEST { FARTHEST / length } else { 1.0 };
    Ok(step().map(|step| shorter * step).collect())
}

fn largest_scale(grouped: &Grouped) -> f64 {
    grouped.scales.iter().copied().fold(0.0, f64::max)
}

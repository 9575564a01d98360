//! The bias by itself: where B and a stay as they are, and what it leaves of the dual's constraint.
//!
//! In scaled logits x_r = δ_r b_r the curvature of cross-entropy is the Laplacian of a graph: groups of outputs are its
//! nodes, tied to each other by the probabilities that they share, and to the ground by a decay.
//!
//! ```text
//! h_rt = Σ_s w_s π_rs π_ts,   π_rs: the probability of row r in column s
//! ```

use faer::Mat;

use super::{
    fit::Fit,
    problem::{Bias, Outputs, Problem, Variables},
};
use crate::linalg::{
    memory::{slice, slice_mut},
    product::product,
};

/// What is sought of a bias where nothing else moves: no logit is known better.
pub(super) const EXACT: f64 = 1e-15;
/// A step lowers a logit by about 1, and ten to fifty are far.
const MOST_STEPS: usize = 200;
/// From here on steps are squared each time, as long as rounding lets them.
const QUADRATIC: f64 = 1e-3;

/// The best bias where B and a are zero, if there are no margins: the logarithms of the shares of the targets.
pub(super) fn start(problem: &Problem, point: &mut Variables) {
    if problem.bias != Bias::Free || !problem.is_cross_entropy {
        return;
    }
    let masses = row_sums(problem, &problem.targets, &problem.own_targets);
    let total: f64 = problem.weights.iter().sum();
    for (r, mass) in masses.iter().enumerate().filter(|(_, mass)| **mass > 0.0) {
        point.bias[r] = ((mass / problem.rows[r] / total).ln() - problem.shifts[r]) / problem.scales[r];
    }
}

/// Newton's method for the bias with B and a fixed, until a step moves no logit by more than `enough`, or only
/// rounding is left.
///
/// log(1+D)/D of a step that moves the logits by D against each other lowers the value: the third derivative of
/// log Σ exp along it is at most D times the second (Bach 2010).
pub(super) fn settle(problem: &Problem, point: &mut Variables, enough: f64) {
    if problem.bias == Bias::None {
        return;
    }
    let idle = problem.idle_bias();
    let mut last = f64::INFINITY;
    for _ in 0..MOST_STEPS {
        if let Some(idle) = &idle {
            idle.take_from(&mut point.bias);
        }
        let fit = problem.fit(point);
        let step = step(problem, point, &fit);
        let spread = spread(&step);
        let is_finite = step.iter().all(|x| x.is_finite()) && spread.is_finite();
        if !is_finite || spread == 0.0 || (last < QUADRATIC && spread > 0.5 * last) {
            break;
        }
        let t = if problem.is_cross_entropy { spread.ln_1p() / spread } else { 1.0 };
        for ((bias, step), scale) in point.bias.iter_mut().zip(&step).zip(&problem.scales) {
            *bias += t * step / scale;
        }
        if spread <= enough {
            break;
        }
        last = spread;
    }
}

/// The largest of the numbers, all of which are differences to others or to zero, minus the smallest.
pub(super) fn spread(steps: &[f64]) -> f64 {
    let largest = steps.iter().fold(0.0, |largest: f64, step| largest.max(*step));
    largest - steps.iter().fold(0.0, |least: f64, step| least.min(*step))
}

/// Newton's step, in scaled logits.
fn step(problem: &Problem, point: &Variables, fit: &Fit) -> Vec<f64> {
    let mut gradient = row_sums(problem, &fit.errors.others, &fit.errors.own);
    let mut ground = vec![0.0; problem.row_count()];
    if let Bias::Decayed(decay) = problem.bias {
        let biases = problem.biases(point);
        let rows = problem.rows.iter().zip(&problem.scales).zip(&biases);
        for ((g, ground), ((m, scale), bias)) in gradient.iter_mut().zip(&mut ground).zip(rows) {
            *g += decay * m * bias / scale;
            *ground = decay * m / scale.powi(2);
        }
    }
    for g in &mut gradient {
        *g = -*g;
    }
    if problem.is_cross_entropy {
        let idle = problem.idle_logits();
        idle.take_from_gradient(&mut gradient);
        let mut step = potentials(edges(problem, &fit.probabilities), ground, gradient);
        idle.take_from(&mut step);
        return step;
    }
    // Squared error: no output sees another's bias.
    let weight: f64 = problem.weights.iter().sum();
    let curvatures = problem.rows.iter().zip(&ground).map(|(m, ground)| m * weight + ground);
    gradient.iter().zip(curvatures).map(|(g, h)| if h > 0.0 { g / h } else { 0.0 }).collect()
}

/// Σ_s w_s times what the outputs of each row have in column s.
pub(super) fn row_sums(problem: &Problem, others: &Mat<f64>, own: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; problem.row_count()];
    for (s, weight) in problem.weights.iter().enumerate() {
        for (r, (sum, entry)) in sums.iter_mut().zip(slice(others.col(s))).enumerate() {
            *sum +=
                weight * (problem.others(r, s) * entry + if r == s { own.get(s).copied().unwrap_or(0.0) } else { 0.0 });
        }
    }
    sums
}

/// h. Its diagonal means nothing.
pub(super) fn edges(problem: &Problem, probabilities: &Outputs) -> Mat<f64> {
    let shared = Mat::from_fn(problem.row_count(), problem.column_count(), |r, s| {
        let own = if r == s { probabilities.own.get(s).copied().unwrap_or(0.0) } else { 0.0 };
        problem.others(r, s) * probabilities.others[(r, s)] + own
    });
    let weighted = Mat::from_fn(shared.nrows(), shared.ncols(), |r, s| problem.weights[s] * shared[(r, s)]);
    product(weighted.as_ref(), shared.transpose())
}

/// The x of L x = g, zero at the first node if nothing is tied to the ground. L is the Laplacian of a graph of `edges`.
///
/// Elimination after Grassmann, Taksar and Heyman (1985): degrees are added up from edges again after every node,
/// so that no digit cancels, however far apart the edges are. R³/3 operations.
pub(super) fn potentials(mut edges: Mat<f64>, mut ground: Vec<f64>, mut g: Vec<f64>) -> Vec<f64> {
    let nodes = g.len();
    let mut degrees = vec![0.0; nodes];
    for k in (0..nodes).rev() {
        let ties = slice(edges.col(k))[..k].to_vec();
        degrees[k] = ties.iter().sum::<f64>() + ground[k];
        // A node that is tied to nothing stays.
        if !(degrees[k] > 0.0) {
            continue;
        }
        for (i, tie) in ties.iter().enumerate() {
            let share = tie / degrees[k];
            ground[i] += share * ground[k];
            g[i] += share * g[k];
            let column = &mut slice_mut(edges.col_mut(i))[..i];
            column.iter_mut().zip(&ties).for_each(|(edge, tie)| *edge += share * tie);
        }
    }
    let mut x = vec![0.0; nodes];
    for k in (0..nodes).filter(|&k| degrees[k] > 0.0) {
        let pull: f64 = slice(edges.col(k))[..k].iter().zip(&x).map(|(tie, x)| tie * x).sum();
        x[k] = (g[k] + pull) / degrees[k];
    }
    x
}

#[cfg(test)]
mod tests {
    use faer::Mat;

    use super::potentials;

    /// Edges over 200 orders of magnitude: the degrees of a Laplacian that is formed would lose all that is small.
    #[test]
    fn potentials_keep_their_digits_however_far_apart_edges_are() {
        let strengths = [1.0_f64, 1e-100, 1e100, 1e-30];
        let edge = |i: usize, j: usize| strengths[i] * strengths[j];
        let edges = Mat::from_fn(4, 4, |i, j| if i == j { f64::NAN } else { edge(i, j) });
        let x = [0.0, 2.0, -1.0, 0.5];
        let g: Vec<f64> =
            (0..4).map(|i| (0..4).filter(|&j| j != i).map(|j| edge(i, j) * (x[i] - x[j])).sum()).collect();
        let found = potentials(edges, vec![0.0; 4], g);
        for (found, x) in found.iter().zip(x) {
            assert!((found - x).abs() <= 16.0 * f64::EPSILON, "{found} {x}");
        }
    }
}

//! The lower bound that any point gives: the dual objective at its residual, scaled until it is feasible.
//!
//! ```text
//! max_P  Σ_k w_k [H(p_k) + (p_k - y_k)ᵀ ι_k]  -  ‖Δ(P - Y) w‖²/(2 λ_b)       cross-entropy
//! max_P  Σ_k w_k [-½ ‖p_k - y_k‖² - (p_k - y_k)ᵀ (y_k - ι_k)]  -  the same    squared error
//! E = Δ (Y - P) diag(w_k/√n_k),   ‖E‖_2 ≤ λ,   (P - Y) w = 0 if the bias is free
//! ```
//!
//! P' = Y + t (P - Y) with t = min(1, λ/‖E‖_2) is feasible, whatever the point is, once what a free bias asks of P holds:
//! [`balance`] sees to it.

use super::{
    balance::balance,
    fit::Fit,
    problem::{Bias, Problem, Variables},
};
use crate::{
    error::Error,
    linalg::{Svd, spectral_norm},
};

/// What a point proves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Certificate {
    /// The objective there.
    pub(super) objective: f64,
    /// No point has a lower objective.
    pub(super) lower_bound: f64,
}

impl Certificate {
    pub(super) fn new(problem: &Problem, point: &Variables, svd: &Svd) -> Result<Self, Error> {
        let mut fit = problem.fit(point);
        let contrasts = (0..point.contrasts.len())
            .map(|s| (problem.rows[s] - 1.0) * problem.roots[s] * problem.contrast(point, s).abs());
        let nuclear = svd.values.iter().sum::<f64>() + contrasts.sum::<f64>();
        let objective = fit.value + problem.lambda * nuclear;
        balance(problem, &mut fit);
        let gradient = problem.gradient(point, &fit);
        let duals = (0..point.contrasts.len()).map(|s| problem.contrast_dual(&fit, s).abs());
        let norm = duals.fold(spectral_norm(gradient.b.as_ref())?, f64::max);
        let t = if norm > problem.lambda { problem.lambda / norm } else { 1.0 };
        let fits = (0..problem.column_count()).map(|s| problem.weights[s] * dual_of_sample(problem, &fit, s, t));
        let dual = fits.sum::<f64>() - dual_of_bias(problem, point, &gradient, t);
        // No loss is negative; a dual that is not a number proves no more than that.
        Ok(Self { objective, lower_bound: dual.max(0.0) })
    }

    /// (f - bound)/f; 0 if both are 0.
    pub(super) fn gap(self) -> f64 {
        let difference = self.objective - self.lower_bound;
        if difference == 0.0 { 0.0 } else { difference / self.objective }
    }
}

/// What a sample of column s adds to the dual objective at Y + t (P - Y).
fn dual_of_sample(problem: &Problem, fit: &Fit, s: usize, t: f64) -> f64 {
    // (P - Y) w = 0 if the bias is free: what it is at the base adds nothing, and would only cancel.
    let free = |r: usize| if problem.bias == Bias::Free { problem.scales[r] * problem.base_bias[r] } else { 0.0 };
    let entropy = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    let (mut sum, mut elsewhere) = (0.0, 0.0);
    for r in (0..problem.row_count()).filter(|&r| problem.others(r, s) > 0.0) {
        let (others, target) = (problem.others(r, s), problem.targets[(r, s)]);
        let error = t * fit.errors.others[(r, s)];
        elsewhere += others * target;
        sum += others
            * if problem.is_cross_entropy {
                entropy(target + error) + error * problem.shifts[r]
            } else {
                -0.5 * error * error - error * (target - problem.shifts[r] - free(r))
            };
    }
    if let Some(error) = fit.errors.own.get(s).map(|error| t * error) {
        let shift = problem.shifts[s] - problem.margins[s];
        sum += if problem.is_cross_entropy {
            // p_own = 1 - what is elsewhere, whose digits are kept.
            let rest = elsewhere - error;
            let entropy = if rest < 1.0 { -(1.0 - rest) * (-rest).ln_1p() } else { 0.0 };
            entropy + error * shift
        } else {
            -0.5 * error * error - error * (problem.own_targets[s] - shift - free(s))
        };
    }
    sum
}

/// ‖Δ(P' - Y) w‖²/(2 λ_b): zero for a bias that is absent, or free and balanced.
fn dual_of_bias(problem: &Problem, point: &Variables, gradient: &Variables, t: f64) -> f64 {
    let Bias::Decayed(decay) = problem.bias else { return 0.0 };
    let bias = problem.biases(point);
    let rows = gradient.bias.iter().zip(&bias).zip(&problem.rows);
    rows.map(|((gradient, bias), m)| {
        let residual = t * (gradient / m - decay * bias);
        m * residual * residual / (2.0 * decay)
    })
    .sum()
}

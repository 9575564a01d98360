//! The fit of the reduced problem, its gradient and its dual.

use super::problem::{Outputs, Problem, Variables};

/// The fit at a point.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    /// Σ_s w_s l_s + λ_b/2 ‖b‖².
    pub(super) value: f64,
    /// p, for cross-entropy; p - y, for both losses.
    pub(super) probabilities: Outputs,
    pub(super) errors: Outputs,
    /// What is added to the curvature of every output, in units of |p - y|.
    pub(super) damping: f64,
}

impl Problem {
    pub(super) fn fit(&self, point: &Variables) -> Fit {
        let mut errors = self.no_outputs();
        self.scaled_logits(point, &mut errors);
        let mut probabilities = self.no_outputs();
        let mut value = 0.0;
        for s in 0..self.column_count() {
            let loss = if self.is_cross_entropy {
                self.cross_entropy(s, &mut errors, &mut probabilities)
            } else {
                self.squared_error(s, &errors)
            };
            value += self.weights[s] * loss;
        }
        let bias = self.biases(point);
        let mut decayed = vec![0.0; bias.len()];
        self.add_bias_decay(&bias, &mut decayed);
        value += 0.5 * decayed.iter().zip(&bias).map(|(one, other)| one * other).sum::<f64>();
        Fit { value, probabilities, errors, damping: 0.0 }
    }

    /// Scaled logits from the base are the errors themselves.
    fn squared_error(&self, s: usize, errors: &Outputs) -> f64 {
        let others = (0..self.row_count()).map(|r| self.others(r, s) * errors.others[(r, s)].powi(2));
        let own = errors.own.get(s).map_or(0.0, |error| error * error);
        0.5 * (others.sum::<f64>() + own)
    }

    /// Turns scaled logits into errors p - y, and returns the loss of a sample. Digits are kept where the fit is almost
    /// perfect, as in [`crate::loss`].
    fn cross_entropy(&self, s: usize, errors: &mut Outputs, probabilities: &mut Outputs) -> f64 {
        let rows = self.row_count();
        let own = errors.own.get(s).map(|logit| logit + self.shifts[s] - self.margins[s]);
        let mut largest = own.unwrap_or(f64::NEG_INFINITY);
        for r in 0..rows {
            errors.others[(r, s)] += self.shifts[r];
            if self.others(r, s) > 0.0 {
                largest = largest.max(errors.others[(r, s)]);
            }
        }
        let mut rest = 0.0;
        for r in 0..rows {
            // A row whose only class is the own class has no others.
            let others = self.others(r, s);
            let exponential = if others > 0.0 { (errors.others[(r, s)] - largest).exp() } else { 0.0 };
            probabilities.others[(r, s)] = exponential;
            rest += others * exponential;
        }
        let mine = own.map_or(0.0, |own| (own - largest).exp());
        let (total, reference) = (rest + mine, own.unwrap_or(largest));
        // Σ y = 1: log Σ exp(u) - yᵀu is the distance of the reference, and what other targets are below it.
        let (mut below, mut elsewhere) = (0.0, 0.0);
        for r in 0..rows {
            let (others, target) = (self.others(r, s), self.targets[(r, s)]);
            if others > 0.0 {
                below += others * target * (reference - errors.others[(r, s)]);
                elsewhere += others * target;
                probabilities.others[(r, s)] /= total;
                errors.others[(r, s)] = probabilities.others[(r, s)] - target;
            } else {
                errors.others[(r, s)] = 0.0;
            }
        }
        if own.is_some() {
            probabilities.own[s] = mine / total;
            errors.own[s] = elsewhere - rest / total;
        }
        let distance = if own == Some(largest) { rest.ln_1p() } else { (largest - reference) + total.ln() };
        distance + below
    }

    /// The gradient of the fit; not of the penalties of B and a.
    pub(super) fn gradient(&self, point: &Variables, fit: &Fit) -> Variables {
        let mut outputs = fit.errors.clone();
        for s in 0..self.column_count() {
            for r in 0..self.row_count() {
                outputs.others[(r, s)] *= self.weights[s] * self.others(r, s);
            }
            if self.has_labels() {
                outputs.own[s] *= self.weights[s];
            }
        }
        let mut gradient = self.zero();
        self.back(&mut outputs, &mut gradient);
        self.add_bias_decay(&self.biases(point), &mut gradient.bias);
        gradient
    }

    /// The dual of |a_s| √ν_s: a residual of every contrast of the group, at most λ at the optimum.
    ///
    /// ```text
    /// δ_s ((y_own - y_sibling) - (p_own - p_sibling)) α_s √ν_s
    /// ```
    pub(super) fn contrast_dual(&self, fit: &Fit, s: usize) -> f64 {
        if self.rows[s] < 2.0 {
            return 0.0;
        }
        let difference = fit.errors.others[(s, s)] - fit.errors.own[s];
        self.scales[s] * difference * self.weights[s] / (self.roots[s] * self.columns[s])
    }
}

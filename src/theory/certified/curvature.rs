//! The curvature of the fit of the reduced problem.

use super::{
    fit::Fit,
    problem::{Outputs, Problem, Variables},
};
use crate::linalg::{
    lanes::triple,
    memory::{slice, slice_mut},
};

impl Problem {
    /// The curvature of the fit times a direction; `work` is memory.
    pub(super) fn curvature(&self, fit: &Fit, direction: &Variables, work: &mut Outputs, to: &mut Variables) {
        self.scaled_logits(direction, work);
        for s in 0..self.column_count() {
            let weight = self.weights[s];
            let own = if self.has_labels() { Some((fit.probabilities.own[s], &mut work.own[s])) } else { None };
            let column = slice_mut(work.others.as_mut().col_mut(s));
            // The number of others is m_r, but for the own class: the diagonal is mended after each sweep.
            let diagonal = if own.is_some() { column[s] } else { 0.0 };
            if self.is_cross_entropy {
                let shares = slice(fit.probabilities.others.col(s));
                let mut mean = triple(&self.rows, shares, column);
                if let Some((own_share, own)) = &own {
                    mean += own_share * **own - shares[s] * diagonal;
                }
                let rows = self.rows.iter().zip(shares);
                // Errors weigh nothing where the curvature is not damped.
                let errors = slice(fit.errors.others.col(s));
                column.iter_mut().zip(rows).zip(errors).for_each(|((logit, (m, p)), e)| {
                    *logit = weight * m * (p * (*logit - mean) + fit.damping * e.abs() * *logit);
                });
                if let Some((own_share, own)) = own {
                    let damped = fit.damping * errors[s].abs() * diagonal;
                    column[s] = weight * self.others(s, s) * (shares[s] * (diagonal - mean) + damped);
                    *own = weight * (own_share * (*own - mean) + fit.damping * fit.errors.own[s].abs() * *own);
                }
            } else {
                column.iter_mut().zip(&self.rows).for_each(|(logit, m)| *logit *= weight * m);
                if let Some((_, own)) = own {
                    column[s] = weight * self.others(s, s) * diagonal;
                    *own *= weight;
                }
            }
        }
        self.back(work, to);
        self.add_bias_decay(&direction.bias, &mut to.bias);
    }

    /// The diagonal of the curvature.
    pub(super) fn diagonal(&self, fit: &Fit) -> Variables {
        let mut diagonal = self.zero();
        for s in 0..self.column_count() {
            let own = fit.probabilities.own.get(s).copied().unwrap_or(0.0);
            for r in 0..self.row_count() {
                let (m, weight) = (self.others(r, s), self.weights[s] * self.scales[r].powi(2));
                let is_own = r == s && self.has_labels();
                let share = m * fit.probabilities.others[(r, s)] + if is_own { own } else { 0.0 };
                // The variance of what moves, of probability `share`; or the number of outputs that move.
                let rest = (1.0 - share).max(0.0);
                let moved = m + f64::from(u8::from(is_own));
                let error = fit.damping * fit.errors.others[(r, s)].abs();
                let own_error = if is_own { fit.damping * fit.errors.own[s].abs() } else { 0.0 };
                let damped = share * rest + m * error + own_error;
                let h = weight * if self.is_cross_entropy { damped } else { moved };
                diagonal.b[(r, s)] = h / (self.roots[s].powi(2) * self.columns[s] * self.rows[r]);
                diagonal.bias[r] += h;
                if is_own {
                    // a moves the own class by 1 - 1/m, and its siblings by -1/m.
                    let (mine, other) = (1.0 - 1.0 / self.columns[s], -1.0 / self.columns[s]);
                    let sibling = m * fit.probabilities.others[(s, s)];
                    let mean = own * mine + sibling * other;
                    let variance = own * (mine - mean).powi(2) + sibling * (other - mean).powi(2) + rest * mean.powi(2);
                    let sum = mine * mine + m * other * other;
                    let damped = variance + m * error * other * other + own_error * mine * mine;
                    diagonal.contrasts[s] = weight * if self.is_cross_entropy { damped } else { sum };
                }
            }
        }
        let ones = vec![1.0; self.row_count()];
        self.add_bias_decay(&ones, &mut diagonal.bias);
        diagonal
    }
}

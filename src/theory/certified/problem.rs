//! The reduced convex problem: its fit, gradient and curvature.
//!
//! With λ = √(λ_W λ_H), S = W H̄ D and d_1 ≥ rank S the model of one layer is convex (theory: Jensen, and ‖S‖_* = min
//! ½(‖W‖² + ‖H̄D‖²) over S = W H̄ D):
//!
//! ```text
//! min  Σ_k w_k l_k(s_k/√n_k + b) + λ ‖S‖_* + λ_b/2 ‖b‖²
//! ```
//!
//! It does not change if classes of a group change places, so a minimizer has logits z_kl = γ_rs + a_r δ_kl. In the
//! basis of group indicators and of contrasts within groups
//!
//! ```text
//! B_rs = (a_r δ_rs + γ_rs √(m_r m_s)) √c_s,      ‖S‖_* = ‖B‖_* + Σ_r (m_r - 1) |a_r| √c_r
//! ```
//!
//! R² + 2R unknowns for R groups, whatever K and N are. Counts are divided by N, so that numbers are of the size of 1:
//! ν = c/N in the place of c, and λ √N in that of λ.

use faer::Mat;

use crate::linalg::memory::{slice, slice_mut};

/// How the bias is penalized.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bias {
    None,
    Free,
    Decayed(f64),
}

/// The data of the reduced problem. Rows are groups of outputs, columns groups of samples; targets that are a matrix
/// have rows and columns of one member each, and no own class.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) is_cross_entropy: bool,
    /// m_r, the classes of a row, and √m_r.
    pub(super) rows: Vec<f64>,
    pub(super) row_roots: Vec<f64>,
    /// m_s, the classes of a column.
    pub(super) columns: Vec<f64>,
    /// √ν_s.
    pub(super) roots: Vec<f64>,
    /// α_s ν_s m_s.
    pub(super) weights: Vec<f64>,
    /// δ_r, ι_r and, of the own class, the margin.
    pub(super) scales: Vec<f64>,
    pub(super) shifts: Vec<f64>,
    pub(super) margins: Vec<f64>,
    /// The target of every output of row r other than the own class, for a sample of column s.
    pub(super) targets: Mat<f64>,
    /// The target of the own class; empty if the targets are a matrix.
    pub(super) own_targets: Vec<f64>,
    /// λ √N.
    pub(super) lambda: f64,
    pub(super) bias: Bias,
    /// Whether a_r may move.
    pub(super) moves: Vec<bool>,
    /// B, a and, if it is free, b of a perfect fit for squared loss, zero for cross-entropy: variables are measured from
    /// here, so that small errors keep their digits. A free bias also takes the shifts.
    pub(super) base: Mat<f64>,
    pub(super) base_contrasts: Vec<f64>,
    pub(super) base_bias: Vec<f64>,
}

/// B, a and b, or a direction. Those of a point are measured from the base of the problem.
#[derive(Clone, Debug)]
pub(super) struct Variables {
    pub(super) b: Mat<f64>,
    pub(super) contrasts: Vec<f64>,
    pub(super) bias: Vec<f64>,
}

impl Variables {
    /// This plus `t` times a direction.
    pub(super) fn plus(&self, t: f64, direction: &Self) -> Self {
        let sum = |x: &[f64], d: &[f64]| x.iter().zip(d).map(|(x, d)| x + t * d).collect();
        Self {
            b: &self.b + faer::Scale(t) * &direction.b,
            contrasts: sum(&self.contrasts, &direction.contrasts),
            bias: sum(&self.bias, &direction.bias),
        }
    }
}

/// One number for every output of a sample: the outputs of a row are equal, but for the own class.
#[derive(Clone, Debug)]
pub(super) struct Outputs {
    pub(super) others: Mat<f64>,
    pub(super) own: Vec<f64>,
}

/// The fit at a point.
#[derive(Clone, Debug)]
pub(super) struct Fit {
    /// Σ_s w_s l_s + λ_b/2 ‖b‖².
    pub(super) value: f64,
    /// p, for cross-entropy; p - y, for both losses.
    pub(super) probabilities: Outputs,
    pub(super) errors: Outputs,
}

impl Problem {
    pub(super) fn row_count(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn column_count(&self) -> usize {
        self.columns.len()
    }

    /// Whether samples have an own class.
    pub(super) fn has_labels(&self) -> bool {
        !self.own_targets.is_empty()
    }

    /// The number of outputs of row r other than the own class, for a sample of column s.
    pub(super) fn others(&self, r: usize, s: usize) -> f64 {
        if self.has_labels() && r == s { self.rows[r] - 1.0 } else { self.rows[r] }
    }

    pub(super) fn zero(&self) -> Variables {
        Variables {
            b: Mat::zeros(self.row_count(), self.column_count()),
            contrasts: vec![0.0; self.own_targets.len()],
            bias: vec![0.0; self.row_count()],
        }
    }

    pub(super) fn no_outputs(&self) -> Outputs {
        Outputs { others: Mat::zeros(self.row_count(), self.column_count()), own: vec![0.0; self.own_targets.len()] }
    }

    /// B itself.
    pub(super) fn matrix(&self, point: &Variables) -> Mat<f64> {
        &self.base + &point.b
    }

    /// a itself.
    pub(super) fn contrast(&self, point: &Variables, s: usize) -> f64 {
        self.base_contrasts[s] + point.contrasts[s]
    }

    /// The scaled logits δ z of a direction, or of a point from the base.
    fn scaled_logits(&self, x: &Variables, to: &mut Outputs) {
        for s in 0..self.column_count() {
            // (B_rs/√ν_s - a_r δ_rs)/√(m_r m_s) + b_r, the diagonal apart.
            let unit = 1.0 / (self.roots[s] * self.columns[s].sqrt());
            let (from, column) = (slice(x.b.col(s)), slice_mut(to.others.as_mut().col_mut(s)));
            let rows = self.row_roots.iter().zip(&self.scales).zip(&x.bias);
            for ((to, b), ((root, scale), bias)) in column.iter_mut().zip(from).zip(rows) {
                *to = scale * (b * unit / root + bias);
            }
            if self.has_labels() {
                let (scale, contrast) = (self.scales[s], x.contrasts[s]);
                column[s] -= scale * contrast / self.columns[s];
                to.own[s] = column[s] + scale * contrast;
            }
        }
    }

    /// The transpose of [`Problem::scaled_logits`], of a gradient that is added up over the members of rows.
    fn back(&self, gradient: &mut Outputs, to: &mut Variables) {
        to.bias.fill(0.0);
        for s in 0..self.column_count() {
            let unit = 1.0 / (self.roots[s] * self.columns[s].sqrt());
            let (from, column) = (slice_mut(gradient.others.as_mut().col_mut(s)), slice_mut(to.b.as_mut().col_mut(s)));
            if self.has_labels() {
                let own = gradient.own[s];
                from[s] += own;
                let contrast = self.scales[s] * (own - from[s] / self.columns[s]);
                to.contrasts[s] = if self.moves[s] { contrast } else { 0.0 };
            }
            let rows = self.row_roots.iter().zip(&self.scales).zip(&mut to.bias);
            for ((to, from), ((root, scale), bias)) in column.iter_mut().zip(from).zip(rows) {
                let entry = scale * *from;
                *to = entry * unit / root;
                *bias += entry;
            }
        }
        if self.bias == Bias::None {
            to.bias.fill(0.0);
        }
    }

    /// λ_b of every row times its bias, m_r times: the gradient of the penalty.
    fn add_bias_decay(&self, bias: &[f64], to: &mut [f64]) {
        if let Bias::Decayed(decay) = self.bias {
            for ((to, bias), m) in to.iter_mut().zip(bias).zip(&self.rows) {
                *to += decay * m * bias;
            }
        }
    }

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
        let mut decayed = vec![0.0; point.bias.len()];
        self.add_bias_decay(&point.bias, &mut decayed);
        value += 0.5 * decayed.iter().zip(&point.bias).map(|(one, other)| one * other).sum::<f64>();
        Fit { value, probabilities, errors }
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
        self.add_bias_decay(&point.bias, &mut gradient.bias);
        gradient
    }

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
                let rows = self.rows.iter().zip(shares);
                let mut mean: f64 = column.iter().zip(rows).map(|(logit, (m, p))| m * p * logit).sum();
                if let Some((own_share, own)) = &own {
                    mean += own_share * **own - shares[s] * diagonal;
                }
                let rows = self.rows.iter().zip(shares);
                column.iter_mut().zip(rows).for_each(|(logit, (m, p))| *logit = weight * m * p * (*logit - mean));
                if let Some((own_share, own)) = own {
                    column[s] = weight * self.others(s, s) * shares[s] * (diagonal - mean);
                    *own = weight * own_share * (*own - mean);
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
                let h = weight * if self.is_cross_entropy { share * rest } else { moved };
                diagonal.b[(r, s)] = h / (self.roots[s].powi(2) * self.columns[s] * self.rows[r]);
                diagonal.bias[r] += h;
                if is_own {
                    // a moves the own class by 1 - 1/m, and its siblings by -1/m.
                    let (mine, other) = (1.0 - 1.0 / self.columns[s], -1.0 / self.columns[s]);
                    let sibling = m * fit.probabilities.others[(s, s)];
                    let mean = own * mine + sibling * other;
                    let variance = own * (mine - mean).powi(2) + sibling * (other - mean).powi(2) + rest * mean.powi(2);
                    let sum = mine * mine + m * other * other;
                    diagonal.contrasts[s] = weight * if self.is_cross_entropy { variance } else { sum };
                }
            }
        }
        let ones = vec![1.0; self.row_count()];
        self.add_bias_decay(&ones, &mut diagonal.bias);
        diagonal
    }

    /// The largest change of a scaled logit.
    pub(super) fn reach(&self, direction: &Variables) -> f64 {
        let mut outputs = self.no_outputs();
        self.scaled_logits(direction, &mut outputs);
        let mut largest = outputs.own.iter().fold(0.0, |largest: f64, logit| largest.max(logit.abs()));
        for s in 0..self.column_count() {
            for r in (0..self.row_count()).filter(|&r| self.others(r, s) > 0.0) {
                largest = largest.max(outputs.others[(r, s)].abs());
            }
        }
        largest
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

    /// q_s of the law of contrasts: classes of a group without a margin coincide from q = 1 on.
    pub(super) fn contrast_q(&self, s: usize) -> f64 {
        let difference = self.own_targets[s] - self.targets[(s, s)];
        self.lambda * self.roots[s] * self.columns[s] / (self.scales[s] * self.weights[s] * difference)
    }
}

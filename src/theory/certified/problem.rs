//! The reduced convex problem: its data, its variables and the outputs that they make.
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

use crate::{
    error::Error,
    linalg::{
        Svd, dense_svd,
        memory::{slice, slice_mut},
    },
};

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
    /// B, a and b of a perfect fit for squared loss, zero for cross-entropy: variables are measured from here, so that
    /// small errors keep their digits. A free bias also takes the shifts.
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

/// The same number added to all δ b: a direction n of the bias that no cross-entropy sees. A decay alone bends it, and is
/// least at nᵀ M b = 0, M being the numbers of classes of the rows. That is known, and is kept: beside all else a small
/// decay would be lost in rounding.
pub(super) struct Idle {
    /// n.
    direction: Vec<f64>,
    /// M n, and nᵀ M n.
    weighted: Vec<f64>,
    square: f64,
}

impl Idle {
    fn new(direction: Vec<f64>, counts: &[f64]) -> Self {
        let weighted: Vec<f64> = direction.iter().zip(counts).map(|(n, m)| n * m).collect();
        let square = direction.iter().zip(&weighted).map(|(n, weighted)| n * weighted).sum();
        Self { direction, weighted, square }
    }

    /// Takes it out of a bias or a step.
    pub(super) fn take_from(&self, bias: &mut [f64]) {
        let along = self.weighted.iter().zip(&*bias).map(|(n, bias)| n * bias).sum::<f64>() / self.square;
        bias.iter_mut().zip(&self.direction).for_each(|(bias, n)| *bias -= along * n);
    }

    /// Takes out of a gradient what it has along the direction: rounding, which would never go away.
    pub(super) fn take_from_gradient(&self, gradient: &mut [f64]) {
        let along = self.direction.iter().zip(&*gradient).map(|(n, g)| n * g).sum::<f64>() / self.square;
        gradient.iter_mut().zip(&self.weighted).for_each(|(g, n)| *g -= along * n);
    }
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

    /// U, σ and V of B itself, which has at least as many columns as rows.
    pub(super) fn svd(&self, point: &Variables) -> Result<Svd, Error> {
        dense_svd(self.matrix(point).as_ref())
    }

    /// a itself.
    pub(super) fn contrast(&self, point: &Variables, s: usize) -> f64 {
        self.base_contrasts[s] + point.contrasts[s]
    }

    /// δ_r/√m_r: divisions would take most of the time of a product.
    fn row_factors(&self) -> Vec<f64> {
        self.scales.iter().zip(&self.row_roots).map(|(scale, root)| scale / root).collect()
    }

    /// The scaled logits δ z of a direction, or of a point from the base.
    pub(super) fn scaled_logits(&self, x: &Variables, to: &mut Outputs) {
        let factors = self.row_factors();
        for s in 0..self.column_count() {
            // (B_rs/√ν_s - a_r δ_rs)/√(m_r m_s) + b_r, the diagonal apart.
            let unit = 1.0 / (self.roots[s] * self.columns[s].sqrt());
            let (from, column) = (slice(x.b.col(s)), slice_mut(to.others.as_mut().col_mut(s)));
            let rows = factors.iter().zip(&self.scales).zip(&x.bias);
            for ((to, b), ((factor, scale), bias)) in column.iter_mut().zip(from).zip(rows) {
                *to = b * unit * factor + scale * bias;
            }
            if self.has_labels() {
                let (scale, contrast) = (self.scales[s], x.contrasts[s]);
                column[s] -= scale * contrast / self.columns[s];
                to.own[s] = column[s] + scale * contrast;
            }
        }
    }

    /// The transpose of [`Problem::scaled_logits`], of a gradient that is added up over the members of rows.
    pub(super) fn back(&self, gradient: &mut Outputs, to: &mut Variables) {
        let factors = self.row_factors();
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
            let rows = factors.iter().zip(&self.scales).zip(&mut to.bias);
            for ((to, from), ((factor, scale), bias)) in column.iter_mut().zip(from).zip(rows) {
                *to = *from * unit * factor;
                *bias += scale * *from;
            }
        }
        if self.bias == Bias::None {
            to.bias.fill(0.0);
        }
    }

    /// b itself.
    pub(super) fn biases(&self, point: &Variables) -> Vec<f64> {
        self.base_bias.iter().zip(&point.bias).map(|(base, bias)| base + bias).collect()
    }

    /// λ_b of every row times its bias, m_r times: the gradient of the penalty.
    pub(super) fn add_bias_decay(&self, bias: &[f64], to: &mut [f64]) {
        if let Bias::Decayed(decay) = self.bias {
            for ((to, bias), m) in to.iter_mut().zip(bias).zip(&self.rows) {
                *to += decay * m * bias;
            }
        }
    }

    /// The direction of the bias along which no cross-entropy changes.
    pub(super) fn idle_bias(&self) -> Option<Idle> {
        (self.bias != Bias::None && self.is_cross_entropy).then(|| Idle::new(self.inverse_scales(), &self.rows))
    }

    /// The same in scaled logits δ b.
    pub(super) fn idle_logits(&self) -> Idle {
        let counts: Vec<f64> = self.inverse_scales().iter().zip(&self.rows).map(|(n, m)| m * n * n).collect();
        Idle::new(vec![1.0; self.row_count()], &counts)
    }

    /// 1/δ, the largest of them 1.
    fn inverse_scales(&self) -> Vec<f64> {
        let least = self.scales.iter().copied().fold(f64::INFINITY, f64::min);
        self.scales.iter().map(|scale| least / scale).collect()
    }

    /// The direction s of columns with B s = 0, of size 1: that of all logits at once, which a free bias takes. It holds in
    /// the middle of the path as it does at the minimizer.
    pub(super) fn idle_column(&self) -> Option<Vec<f64>> {
        let sizes: Vec<f64> = self.roots.iter().zip(&self.columns).map(|(root, m)| root * m.sqrt()).collect();
        let norm = sizes.iter().map(|size| size * size).sum::<f64>().sqrt();
        (self.bias == Bias::Free).then(|| sizes.iter().map(|size| size / norm).collect())
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

    /// q_s of the law of contrasts: classes of a group without a margin coincide from q = 1 on.
    pub(super) fn contrast_q(&self, s: usize) -> f64 {
        let difference = self.own_targets[s] - self.targets[(s, s)];
        self.lambda * self.roots[s] * self.columns[s] / (self.scales[s] * self.weights[s] * difference)
    }
}

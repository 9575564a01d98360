//! The problem of one class at a given bias.
//!
//! ```text
//! min_x  F(x) = w l(x/√c + b) + λ ‖x‖
//! ```
//!
//! x has one entry for each group, that of every class in it other than the own, and one for the own class.

use crate::theory::contrasts::grouped::Grouped;

const MOST_STEPS: usize = 200;
/// After a step this small, relative to x, quadratic convergence leaves only rounding.
const LAST_STEP: f64 = 1e-9;
const SHORTEST: f64 = 1e-14;
/// A value that is this much larger can be the same, rounded.
pub(super) const ALMOST: f64 = 1.0 + 1e-13;

/// A class of group s.
pub(super) struct Column<'a> {
    grouped: &'a Grouped,
    s: usize,
    bias: &'a [f64],
}

/// The loss of a sample at x, with one number for each entry.
pub(super) struct Fit {
    /// l, not weighted.
    pub(super) value: f64,
    /// p - y.
    pub(super) errors: Vec<f64>,
    /// p for cross-entropy, 1 for squared error: the diagonal of the curvature.
    pub(super) curvatures: Vec<f64>,
}

impl<'a> Column<'a> {
    pub(super) fn new(grouped: &'a Grouped, s: usize, bias: &'a [f64]) -> Self {
        Self { grouped, s, bias }
    }

    /// The number of entries: groups, and the own class.
    fn len(&self) -> usize {
        self.grouped.count() + 1
    }

    /// The group of an entry.
    fn group(&self, i: usize) -> usize {
        if i == self.grouped.count() { self.s } else { i }
    }

    /// The number of classes that share an entry.
    pub(super) fn multiplicity(&self, i: usize) -> f64 {
        if i == self.grouped.count() { 1.0 } else { self.grouped.sizes[i] - f64::from(u8::from(i == self.s)) }
    }

    pub(super) fn own_target(&self) -> f64 {
        1.0 - self.grouped.smoothing + self.grouped.everywhere
    }

    fn scale(&self, i: usize) -> f64 {
        self.grouped.scales[self.group(i)]
    }

    fn dot(&self, x: &[f64], y: &[f64]) -> f64 {
        x.iter().zip(y).enumerate().map(|(i, (x, y))| self.multiplicity(i) * x * y).sum()
    }

    pub(super) fn norm(&self, x: &[f64]) -> f64 {
        self.dot(x, x).sqrt()
    }

    /// u = δ (x/√c + b) + ι, minus the margin for the own class.
    fn adjusted(&self, x: &[f64]) -> Vec<f64> {
        let (grouped, root) = (self.grouped, self.grouped.roots[self.s]);
        let mut logits: Vec<f64> = (0..self.len())
            .map(|i| {
                let r = self.group(i);
                grouped.scales[r] * (x[i] / root + self.bias[r]) + grouped.shifts[r]
            })
            .collect();
        logits[grouped.count()] -= grouped.margins[self.s];
        logits
    }

    pub(super) fn fit(&self, x: &[f64]) -> Fit {
        let (logits, own) = (self.adjusted(x), self.len() - 1);
        let everywhere = self.grouped.everywhere;
        let targets = |i: usize| if i == own { self.own_target() } else { everywhere };
        if !self.grouped.is_cross_entropy {
            let errors: Vec<f64> = logits.iter().enumerate().map(|(i, logit)| logit - targets(i)).collect();
            return Fit { value: 0.5 * self.dot(&errors, &errors), errors, curvatures: vec![1.0; self.len()] };
        }
        let present = |i: &usize| self.multiplicity(*i) > 0.0;
        let largest = (0..self.len()).filter(present).map(|i| logits[i]).fold(f64::NEG_INFINITY, f64::max);
        let exponentials: Vec<f64> =
            (0..self.len()).map(|i| if present(&i) { (logits[i] - largest).exp() } else { 0.0 }).collect();
        let rest: f64 = (0..own).map(|i| self.multiplicity(i) * exponentials[i]).sum();
        let total = rest + exponentials[own];
        let below: f64 =
            (0..own).map(|i| self.multiplicity(i) * everywhere * (logits[own] - logits[i])).filter(|x| *x != 0.0).sum();
        let distance = if logits[own] == largest { rest.ln_1p() } else { (largest - logits[own]) + total.ln() };
        let curvatures: Vec<f64> = exponentials.iter().map(|exponential| exponential / total).collect();
        let mut errors: Vec<f64> = curvatures.iter().map(|p| p - everywhere).collect();
        // 1 - p_own is what is elsewhere, whose digits are kept.
        errors[own] = everywhere * (0..own).map(|i| self.multiplicity(i)).sum::<f64>() - rest / total;
        Fit { value: distance + below, errors, curvatures }
    }

    /// The gradient of w l by x.
    fn gradient(&self, fit: &Fit) -> Vec<f64> {
        let unit = self.grouped.weights[self.s] / self.grouped.roots[self.s];
        let entry = |(i, error): (usize, &f64)| {
            if self.multiplicity(i) > 0.0 { unit * self.scale(i) * error } else { 0.0 }
        };
        fit.errors.iter().enumerate().map(entry).collect()
    }

    /// E: minus the gradient.
    pub(super) fn residual(&self, x: &[f64]) -> Vec<f64> {
        self.gradient(&self.fit(x)).iter().map(|entry| -entry).collect()
    }

    /// The norm of the residual where x is zero: it stays there from this λ on.
    pub(super) fn pull(&self) -> f64 {
        self.norm(&self.residual(&vec![0.0; self.len()]))
    }

    /// F(x).
    pub(super) fn value(&self, x: &[f64]) -> f64 {
        self.grouped.weights[self.s] * self.fit(x).value + self.grouped.lambda * self.norm(x)
    }

    /// The minimizer; a start can help.
    pub(super) fn minimize(&self, start: Option<&[f64]>) -> Vec<f64> {
        let zero = vec![0.0; self.len()];
        let slope = self.gradient(&self.fit(&zero));
        let (steepest, lambda) = (self.norm(&slope), self.grouped.lambda);
        if !(steepest > lambda) {
            return zero;
        }
        // A proximal step: F is lower than at zero, where it has a kink, and no step down leads back there.
        let scale = (0..self.len()).map(|i| self.scale(i)).fold(0.0, f64::max);
        let curvature = self.grouped.weights[self.s] * (scale / self.grouped.roots[self.s]).powi(2);
        let length = (1.0 - lambda / steepest) / curvature;
        let proximal: Vec<f64> = slope.iter().map(|slope| -length * slope).collect();
        let start = start.filter(|start| self.norm(start) > 0.0 && self.value(start) < self.value(&proximal));
        self.newton(start.map_or(proximal, <[f64]>::to_vec))
    }

    /// Minus the gradient of F, where x is not zero.
    fn downhill(&self, fit: &Fit, unit: &[f64]) -> Vec<f64> {
        self.gradient(fit).iter().zip(unit).map(|(g, unit)| -(g + self.grouped.lambda * unit)).collect()
    }

    fn steepness(&self, x: &[f64]) -> f64 {
        let norm = self.norm(x);
        let unit: Vec<f64> = x.iter().map(|x| x / norm).collect();
        self.norm(&self.downhill(&self.fit(x), &unit))
    }

    fn newton(&self, mut x: Vec<f64>) -> Vec<f64> {
        let mut value = self.value(&x);
        for _ in 0..MOST_STEPS {
            let fit = self.fit(&x);
            let norm = self.norm(&x);
            let unit: Vec<f64> = x.iter().map(|x| x / norm).collect();
            let slope = self.downhill(&fit, &unit);
            let step = self.solve(&fit, &unit, norm, &slope);
            let moved = |t: f64| x.iter().zip(&step).map(|(x, step)| x + t * step).collect::<Vec<_>>();
            if self.norm(&step) <= LAST_STEP * norm {
                return moved(1.0);
            }
            let mut t = 1.0;
            // Where values are rounding, the gradient still tells.
            let full = moved(1.0);
            let is_flatter = self.value(&full) <= value * ALMOST && self.steepness(&full) < 0.5 * self.norm(&slope);
            while !is_flatter && t > SHORTEST && !(self.value(&moved(t)) < value) {
                t *= 0.5;
            }
            if t <= SHORTEST {
                break;
            }
            x = moved(t);
            value = self.value(&x);
        }
        x
    }

    /// The curvature of F by x, of norm `norm` and direction `unit`, inverted:
    ///
    /// ```text
    /// (w/c) (diag(δ² p) - (δ p)(δ p)ᵀ) + κ (I - x̂ x̂ᵀ),      κ = λ/‖x‖
    /// ```
    ///
    /// A diagonal and two rank-one terms, whose 2 × 2 system is written without differences.
    pub(super) fn solve(&self, fit: &Fit, unit: &[f64], norm: f64, right: &[f64]) -> Vec<f64> {
        let kappa = self.grouped.lambda / norm;
        let weight = self.grouped.weights[self.s] / self.grouped.roots[self.s].powi(2);
        let curved = |i: usize| weight * self.scale(i).powi(2) * fit.curvatures[i];
        let diagonal: Vec<f64> = (0..self.len()).map(|i| curved(i) + kappa).collect();
        let scaled: Vec<f64> = (0..self.len())
            .map(|i| if self.grouped.is_cross_entropy { self.scale(i) * fit.curvatures[i] } else { 0.0 })
            .collect();
        let over = |x: &[f64]| x.iter().zip(&diagonal).map(|(x, d)| x / d).collect::<Vec<_>>();
        let direct = over(right);
        let sum = |term: &dyn Fn(usize) -> f64| -> f64 {
            (0..self.len()).map(|i| self.multiplicity(i) * term(i) / diagonal[i]).sum()
        };
        let first =
            if self.grouped.is_cross_entropy { sum(&|i| fit.curvatures[i]) * kappa / weight } else { 1.0 / weight };
        let second = sum(&|i| unit[i] * unit[i] * curved(i)) / kappa;
        let mixed = -sum(&|i| scaled[i] * unit[i]);
        let (one, other) = (self.dot(&scaled, &direct), self.dot(unit, &direct));
        let determinant = first * second - mixed * mixed;
        let (a, b) = if determinant > 0.0 {
            ((second * one - mixed * other) / determinant, (first * other - mixed * one) / determinant)
        } else {
            (0.0, 0.0)
        };
        let (along, across) = (over(&scaled), over(unit));
        (0..self.len()).map(|i| direct[i] + a * along[i] + b * across[i]).collect()
    }

    /// The curvature of w l by the outputs times a direction of the outputs.
    pub(super) fn curvature(&self, fit: &Fit, direction: &[f64]) -> Vec<f64> {
        let weight = self.grouped.weights[self.s];
        let scaled: Vec<f64> = direction.iter().enumerate().map(|(i, d)| self.scale(i) * d).collect();
        let mean = if self.grouped.is_cross_entropy { self.dot(&fit.curvatures, &scaled) } else { 0.0 };
        (0..self.len()).map(|i| weight * self.scale(i) * fit.curvatures[i] * (scaled[i] - mean)).collect()
    }

    /// Adds up the entries of each group of outputs, with the number of classes.
    pub(super) fn by_group(&self, x: &[f64]) -> Vec<f64> {
        let mut sums = vec![0.0; self.grouped.count()];
        for (i, x) in x.iter().enumerate() {
            sums[self.group(i)] += self.multiplicity(i) * x;
        }
        sums
    }

    /// The direction in which only the bias of group r moves.
    pub(super) fn bias_direction(&self, r: usize) -> Vec<f64> {
        (0..self.len()).map(|i| f64::from(u8::from(self.group(i) == r))).collect()
    }
}

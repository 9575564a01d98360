//! Nonnegative features, as after a ReLU: one layer, any loss.
//!
//! H ≥ 0 makes class means that are orthogonal cheap: one ray for each class. With S = W H̄ D the best orthogonal
//! solution is the minimum of a convex problem,
//!
//! ```text
//! min  Σ_k w_k l_k(s_k/√n_k + b) + λ Σ_k ‖s_k‖ + λ_b/2 ‖b‖²,      λ = √(λ_W λ_H)
//! ```
//!
//! and the global minimum iff λ² I - EᵀE is copositive, E = Δ (Y - P) diag(w_k/√n_k).
//!
//! - [`closed`]: no bias, or one group of classes: closed forms, always the global minimum;
//! - [`column`]: the problem of one class at a given bias;
//! - [`solver`]: the bias;
//! - [`bound`]: the lower bound, from E.

mod bound;
mod closed;
mod column;
mod matrices;
mod solver;

use faer::{Col, Mat};

use super::{GroupFate, certified, contrasts::grouped::Grouped, group_classes::GroupClasses};
use crate::{error::Error, model::Ufm};

/// A relative gap below this is the rounding of sums over R² entries and of an eigenvalue.
const ROUNDING: f64 = 1e-12;

/// The classes of a group at the best orthogonal solution.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NonnegativeGroup {
    /// The samples of each class.
    pub count: u64,
    /// The class weight α.
    pub weight: f64,
    /// The classes, in rising order.
    pub classes: GroupClasses,
    /// Whether the class means are zero: the classes have collapsed to the origin.
    pub is_vanished: bool,
    /// p of the own class: its probability, or its output for squared loss.
    pub probability_own: f64,
    /// p of another class of the group; `None` if there is none.
    pub probability_sibling: Option<f64>,
    /// M_k: the logit W h of the own class minus that of any other. `None` if those of the others differ.
    pub logit_gap: Option<f64>,
    /// The norm of the logits W h_k.
    pub logit_norm: f64,
    /// The norm of each class mean, h_k.
    pub mean_norm: f64,
    /// The norm of each classifier, a row of W.
    pub classifier_norm: f64,
    /// The factor of √(λ_W λ_H) from which on the class means are zero; `None` with a bias, which moves as others vanish.
    pub vanishing_scale: Option<f64>,
}

impl NonnegativeGroup {
    /// What becomes of the classes: vanished, or on rays of their own.
    #[must_use]
    pub fn fate(&self) -> GroupFate {
        match self.classes.len() {
            _ if self.is_vanished => GroupFate::Vanished,
            1 => GroupFate::Single,
            _ => GroupFate::Distinct,
        }
    }
}

/// The best point with orthogonal class means of a model with nonnegative features, and a lower bound of all others.
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Loss, Ufm};
///
/// let ufm = Ufm::new("50,20,8,3".parse::<ClassCounts>()?, [Layer::new(16, 0.02)], 0.003)?
///     .with_loss(Loss::CrossEntropy)?
///     .with_nonnegative_features();
/// // Without a bias this is the global minimum: orthogonal class means, longer logits for larger classes.
/// let minimizer = ufm.clone().without_bias().nonnegative_minimizer()?;
/// assert!(minimizer.is_proved());
/// assert!((minimizer.groups()[3].logit_gap.unwrap() - 1.88143591).abs() < 1e-8);
/// // With a bias and one class of more than half of the samples it is not: an interval.
/// let interval = ufm.nonnegative_minimizer()?;
/// assert!(!interval.is_proved() && interval.lower_bound() < interval.objective());
/// # Ok::<(), neural_collapse::Error>(())
/// ```
///
/// # References
///
/// Dang et al. 2024, *Neural Collapse for Cross-entropy Class-Imbalanced Learning with Unconstrained ReLU Features
/// Model*, ICML: cross-entropy without bias, weights and smoothing.
#[derive(Clone, Debug)]
pub struct NonnegativeMinimizer {
    ufm: Ufm,
    groups: Vec<NonnegativeGroup>,
    solution: Orthogonal,
    roots: Vec<f64>,
    objective: f64,
    lower_bound: f64,
}

/// S by group, and the bias.
#[derive(Clone, Debug)]
struct Orthogonal {
    /// (r, s): the entry of s_k of a class of group r other than the own, for a class of group s.
    others: Mat<f64>,
    own: Vec<f64>,
    bias: Vec<f64>,
}

impl Ufm {
    /// The best point with orthogonal class means of a model of one layer with nonnegative features, whatever its loss,
    /// and a lower bound.
    ///
    /// It is the global minimum, in closed form, without a bias for squared loss (any class weights, scales and
    /// margins; no smoothing, no shifts) and for cross-entropy (any class weights, margins and smoothing; equal scales,
    /// no shifts), and for cross-entropy of balanced classes. For all other models [`NonnegativeMinimizer::is_proved`]
    /// says whether it is. If not, the minimum is between the lower bound and this objective, and a descent comes
    /// closer.
    ///
    /// Cost: O(K) for closed forms, otherwise a few dozen times R³ for R groups.
    ///
    /// # Errors
    ///
    /// [`Error::NoCertificate`] if the model has two or more layers, or features of any sign (then
    /// [`Ufm::certified_minimizer`] has the answer). [`Error::NoClassCounts`] if the targets are a matrix.
    /// [`Error::WidthBelowRank`] if there are more classes that have not vanished than the layer is wide.
    pub fn nonnegative_minimizer(&self) -> Result<NonnegativeMinimizer, Error> {
        if !self.has_nonnegative_features() {
            return Err(Error::NoCertificate { because: "features of any sign here" });
        }
        let grouped = Grouped::new(self)?;
        if let Some(solution) = closed::solution(&grouped)? {
            let objective = solver::objective(&grouped, &solution)?;
            return NonnegativeMinimizer::new(self, grouped, solution, objective, objective);
        }
        let solution = solver::solve(&grouped)?;
        let objective = solver::objective(&grouped, &solution)?;
        let mut lower_bound = bound::lower_bound(&grouped, &solution)?;
        if objective - lower_bound > ROUNDING * objective {
            lower_bound = lower_bound.max(certified::lower_bound(self)?);
        }
        NonnegativeMinimizer::new(self, grouped, solution, objective, lower_bound)
    }
}

impl NonnegativeMinimizer {
    fn new(ufm: &Ufm, grouped: Grouped, solution: Orthogonal, objective: f64, lower_bound: f64) -> Result<Self, Error> {
        let ratio = (ufm.layers()[0].decay / ufm.feature_decay()).sqrt();
        let mut groups = Vec::with_capacity(grouped.count());
        for s in 0..grouped.count() {
            let column = column::Column::new(&grouped, s, &solution.bias);
            let x = solution.column(s);
            let (fit, norm) = (column.fit(&x), column.norm(&x));
            let siblings = grouped.sizes[s] > 1.0;
            let others = || (0..grouped.count()).filter(|&r| column.multiplicity(r) > 0.0).map(|r| x[r]);
            let first = others().next();
            let are_equal = first.is_some_and(|first| others().all(|other| other == first));
            let root = grouped.roots[s];
            groups.push(NonnegativeGroup {
                count: grouped.groups[s].count,
                weight: grouped.groups[s].weight,
                classes: grouped.groups[s].classes.clone(),
                is_vanished: norm == 0.0,
                probability_own: fit.errors[grouped.count()] + column.own_target(),
                probability_sibling: siblings.then(|| fit.errors[s] + grouped.everywhere),
                logit_gap: first.filter(|_| are_equal).map(|first| (solution.own[s] - first) / root),
                logit_norm: norm / root,
                mean_norm: (norm * ratio).sqrt() / root,
                classifier_norm: 0.0,
                vanishing_scale: (!ufm.has_bias()).then(|| column.pull() / grouped.lambda),
            });
        }
        for r in 0..groups.len() {
            let of = groups.iter().zip(&grouped.roots).enumerate();
            let squares = of.filter(|(_, (group, _))| !group.is_vanished).map(|(s, (group, root))| {
                // w_k = s_k/(√n_k h_k): one column for each class k of group s.
                let others = group.classes.len() - usize::from(s == r);
                let own = if s == r { solution.own[s].powi(2) } else { 0.0 };
                (others as f64 * solution.others[(r, s)].powi(2) + own) / (root * group.mean_norm).powi(2)
            });
            groups[r].classifier_norm = squares.sum::<f64>().sqrt();
        }
        let minimizer = Self { ufm: ufm.clone(), groups, solution, roots: grouped.roots, objective, lower_bound };
        let (width, rank) = (ufm.feature_width(), minimizer.active());
        if rank > width { Err(Error::WidthBelowRank { width, rank, lower_bound }) } else { Ok(minimizer) }
    }

    /// The model.
    #[must_use]
    pub fn ufm(&self) -> &Ufm {
        &self.ufm
    }

    /// The objective of this point.
    #[must_use]
    pub fn objective(&self) -> f64 {
        self.objective
    }

    /// A number that no point has a lower objective than, to within rounding: the larger of the dual objective at the
    /// scaled residual and the minimum for features of any sign.
    #[must_use]
    pub fn lower_bound(&self) -> f64 {
        self.lower_bound
    }

    /// The relative gap (f - bound)/f, 0 if both are 0. It is rounding below 1e-12, and can then be negative.
    #[must_use]
    pub fn gap(&self) -> f64 {
        let difference = self.objective - self.lower_bound;
        if difference == 0.0 { 0.0 } else { difference / self.objective }
    }

    /// Whether this point is proved to be a global minimizer, to within rounding.
    ///
    /// The proof is sufficient, not necessary: λ² is the largest eigenvalue of the positive part of EᵀE, as where no two
    /// classes pull in the same direction. With a free bias and without weights, three or more classes of which none has
    /// vanished need a largest class of at most half of the samples.
    #[must_use]
    pub fn is_proved(&self) -> bool {
        self.gap().abs() <= ROUNDING
    }

    /// The groups of classes that the loss cannot tell apart, by falling count, equal counts by their first class.
    #[must_use]
    pub fn groups(&self) -> &[NonnegativeGroup] {
        &self.groups
    }

    /// The bias; `None` if the model has none.
    #[must_use]
    pub fn bias(&self) -> Option<Col<f64>> {
        self.ufm.has_bias().then(|| {
            let mut bias = Col::zeros(self.ufm.outputs());
            for (group, &value) in self.groups.iter().zip(&self.solution.bias) {
                group.classes.iter().for_each(|&class| bias[class] = value);
            }
            bias
        })
    }

    /// Logits W h + b, before any adjustment of the loss, R × R: in row r those of a class of group r, in column s of a
    /// sample of group s; its own class is not meant where r = s.
    #[must_use]
    pub fn logits(&self) -> Mat<f64> {
        let Orthogonal { others, bias, .. } = &self.solution;
        Mat::from_fn(others.nrows(), others.ncols(), |r, s| others[(r, s)] / self.roots[s] + bias[r])
    }

    /// The logit of the own class, W h + b, by group.
    #[must_use]
    pub fn logits_own(&self) -> Vec<f64> {
        let Orthogonal { own, bias, .. } = &self.solution;
        own.iter().zip(&self.roots).zip(bias).map(|((own, root), bias)| own / root + bias).collect()
    }
}

impl Orthogonal {
    /// s_k of a class of group s: the entries of the others by group, then its own.
    fn column(&self, s: usize) -> Vec<f64> {
        (0..self.others.nrows()).map(|r| self.others[(r, s)]).chain([self.own[s]]).collect()
    }
}

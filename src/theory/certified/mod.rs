//! Certified minimizers: cross-entropy, class weights and adjusted logits with one linear layer.
//!
//! For one layer any convex loss makes a convex problem. Its minimizer has no closed form, but it can be computed to
//! the last digits, and it comes with a proof: its dual gives a lower bound that no point can beat.
//!
//! - [`problem`], [`fit`], [`curvature`]: the R × R problem that is left of K classes in R groups;
//! - [`smooth`], [`path`]: smoothed problems whose minimizers lead to the one sought;
//! - [`frame`], [`conjugate`], [`spikes`]: Newton's equation, in singular vectors, by conjugate gradients;
//! - [`polish`]: Newton's method at the rank found;
//! - [`solver`]: zero, if that is enough; otherwise the path, from larger decays if need be; [`leave`]: its end;
//! - [`bias`]: the bias by itself, where all else stays;
//! - [`certificate`], [`balance`]: the lower bound, and duals that prove one;
//! - [`groups`], [`samples`]: problems from classes, and from targets that are a matrix;
//! - [`fates`], [`geometry`], [`matrices`]: what a solution says of classes;
//! - [`limits`]: the largest decays that keep a rank.

mod balance;
mod bias;
mod certificate;
mod conjugate;
mod curvature;
mod fates;
mod fit;
mod frame;
mod geometry;
pub(super) mod groups;
mod leave;
mod limits;
mod matrices;
mod path;
mod polish;
mod problem;
mod samples;
mod smooth;
mod solver;
mod spikes;

use std::fmt;

use faer::{Col, Mat};

use self::{
    certificate::Certificate,
    groups::Group,
    polish::Polished,
    problem::{Bias, Problem},
    samples::Samples,
};
pub use self::{
    fates::CertifiedGroup,
    geometry::{CertifiedGeometry, CertifiedGram},
};
use super::GroupFate;
use crate::{error::Error, linalg::Svd, model::Ufm};

/// The relative gap beyond which a point is not called a minimizer.
const LARGEST_GAP: f64 = 1e-6;

/// The global minimizers of a model of one layer with any loss, with a lower bound that proves them.
///
/// The minimizer is unique up to the gauge (W → W Qᵀ, H → Q H), and up to a shift of the bias that changes no
/// probability: [`Certified::bias`] is the one of least norm for equal scales.
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Loss, Ufm, theory::GroupFate};
///
/// let classes: ClassCounts = "500x3,50x2".parse()?;
/// let ufm = Ufm::new(classes, [Layer::new(64, 5e-3)], 5e-4)?.with_loss(Loss::CrossEntropy)?;
/// let minimizer = ufm.certified_minimizer()?;
/// assert!(minimizer.gap() < 1e-12); // no point is lower by more than this share
/// // The law of contrasts: p_own - p_sibling = 1 - N √(λ_W λ_H/n), or 0.
/// let q = 1600.0 * (5e-3_f64 * 5e-4 / 500.0).sqrt();
/// let group = &minimizer.groups()[0];
/// assert!((group.probability_own - group.probability_sibling.unwrap() - (1.0 - q)).abs() < 1e-12);
/// assert_eq!(minimizer.group_fates(), [GroupFate::Distinct, GroupFate::Distinct]);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
///
/// # References
///
/// Hong, Ling 2024, *Neural collapse for unconstrained feature model under cross-entropy loss with imbalanced data*,
/// JMLR: the convex form and its blocks.
#[derive(Clone, Debug)]
pub struct Certified {
    ufm: Ufm,
    groups: Vec<CertifiedGroup>,
    /// What columns stand for, if the targets are a matrix.
    samples: Option<Samples>,
    /// Singular vectors and values of B, by falling value, and the number kept.
    svd: Svd,
    kept: usize,
    /// B, a and b of the groups.
    between: Mat<f64>,
    contrasts: Vec<f64>,
    bias: Vec<f64>,
    objective: f64,
    lower_bound: f64,
    rank: usize,
}

impl Ufm {
    /// The global minimizers of a model of one layer, by convex optimization, with a lower bound from the dual problem.
    ///
    /// Cost: for R groups of classes that differ in count, weight or adjustment, 20 to 60 decompositions of R × R and 500
    /// to 7000 products of that size, several times as many where weights are far apart; O(K) more. Targets that are a
    /// matrix have K rows and a column for each distinct target in the place of groups.
    ///
    /// # Errors
    ///
    /// [`Error::NoCertificate`] if the model has two or more layers, or nonnegative features: then a descent is all
    /// there is. [`Error::WidthBelowRank`] if the layer is too narrow for the rank that the minimizer needs: the lower
    /// bound holds, but the minimum is above it. [`Error::GapNotReached`] unless the gap is at most 1e-6.
    pub fn certified_minimizer(&self) -> Result<Certified, Error> {
        if self.depth() > 1 {
            return Err(Error::NoCertificate { because: "two or more layers" });
        }
        if self.has_nonnegative_features() {
            return Err(Error::NoCertificate { because: "nonnegative features" });
        }
        if let Some(targets) = self.targets().as_matrix() {
            let samples = Samples::new(targets);
            let mut problem = samples.problem(self, targets)?;
            let solution = proved(solver::solve(&mut problem))?;
            return Certified::new(self, &problem, Vec::new(), Some(samples), solution);
        }
        let classes = self.class_counts().ok_or(Error::NoClassCounts)?;
        let groups = groups::groups(self, classes);
        let mut problem = groups::problem(self, classes, &groups)?;
        let solution = proved(solver::solve(&mut problem))?;
        Certified::new(self, &problem, groups, None, solution)
    }
}

/// A solution whose gap says that it is one.
fn proved(solution: Result<Polished, Error>) -> Result<Polished, Error> {
    let solution = match solution {
        Err(Error::MatrixNotFinite { .. } | Error::SvdDidNotConverge) => {
            return Err(Error::GapNotReached { objective: f64::NAN, lower_bound: f64::NAN });
        }
        solution => solution?,
    };
    let Certificate { objective, lower_bound } = solution.certificate;
    if (objective - lower_bound).abs() <= LARGEST_GAP * objective {
        Ok(solution)
    } else {
        Err(Error::GapNotReached { objective, lower_bound })
    }
}

/// A number that no point of the model has a lower objective than, from features of any sign.
pub(super) fn lower_bound(ufm: &Ufm) -> Result<f64, Error> {
    let classes = ufm.class_counts().ok_or(Error::NoClassCounts)?;
    let mut problem = groups::problem(ufm, classes, &groups::groups(ufm, classes))?;
    Ok(solver::solve(&mut problem)?.certificate.lower_bound)
}

impl fmt::Display for Certified {
    /// The least objective, the gap and the rank, in a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (objective, gap, outputs) = (self.objective, self.gap(), self.ufm.outputs());
        write!(f, "minimum {objective:e}, proved to a relative {gap:.0e}, rank {} of {outputs}", self.rank)
    }
}

impl Certified {
    fn new(
        ufm: &Ufm,
        problem: &Problem,
        groups: Vec<Group>,
        samples: Option<Samples>,
        solution: Polished,
    ) -> Result<Self, Error> {
        let fit = problem.fit(&solution.point);
        let Polished { point, svd, rank: kept, certificate } = solution;
        let contrasts: Vec<f64> = (0..groups.len()).map(|s| problem.contrast(&point, s)).collect();
        let rank_within = groups.iter().zip(&contrasts).filter(|(_, a)| **a != 0.0);
        let rank = kept + rank_within.map(|(group, _)| group.classes.len() - 1).sum::<usize>();
        let width = ufm.feature_width();
        if rank > width {
            return Err(Error::WidthBelowRank { width, rank, lower_bound: certificate.lower_bound });
        }
        let bias = problem.biases(&point);
        // Back from counts over N: B grows by √N.
        let scale = faer::Scale((ufm.samples() as f64).sqrt());
        let mut minimizer = Self {
            ufm: ufm.clone(),
            groups: Vec::new(),
            samples,
            kept,
            between: scale * problem.matrix(&point),
            svd: Svd { values: scale * svd.values, ..svd },
            contrasts,
            bias: centered_bias(problem, bias),
            objective: certificate.objective,
            lower_bound: certificate.lower_bound,
            rank,
        };
        minimizer.groups = minimizer.describe(problem, &fit, groups);
        Ok(minimizer)
    }

    /// The model.
    #[must_use]
    pub fn ufm(&self) -> &Ufm {
        &self.ufm
    }

    /// The objective of this point: the global minimum, to within [`Certified::gap`].
    #[must_use]
    pub fn objective(&self) -> f64 {
        self.objective
    }

    /// A number that no point has a lower objective than, to within rounding: the dual objective at the residual of
    /// this point.
    #[must_use]
    pub fn lower_bound(&self) -> f64 {
        self.lower_bound
    }

    /// The relative gap (f - bound)/f, 0 if both are 0. About 1e-13 or less is rounding; it can then be negative.
    #[must_use]
    pub fn gap(&self) -> f64 {
        let difference = self.objective - self.lower_bound;
        if difference == 0.0 { 0.0 } else { difference / self.objective }
    }

    /// The rank of the prediction, of W and of the class means.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The groups of classes that the loss cannot tell apart, by falling count, equal counts by their first class. Empty
    /// if the targets are a matrix.
    #[must_use]
    pub fn groups(&self) -> &[CertifiedGroup] {
        &self.groups
    }

    /// The fate of the classifiers of every group of [`Certified::groups`].
    #[must_use]
    pub fn group_fates(&self) -> Vec<GroupFate> {
        self.groups.iter().map(|group| group.fate).collect()
    }

    /// The K singular values of the prediction W H̄ D, W H for targets that are a matrix, by falling value: the first
    /// [`Certified::rank`] are not zero.
    #[must_use]
    pub fn singular_values(&self) -> Vec<f64> {
        let mut values: Vec<f64> = self.directions().map(|(value, _)| value).collect();
        values.resize(self.ufm.outputs(), 0.0);
        values
    }

    /// The optimal bias; `None` if the model has none. If it is free, adding the same number to all δ_k b_k changes no
    /// cross-entropy: this is the one with Σ_k b_k/δ_k = 0.
    #[must_use]
    pub fn bias(&self) -> Option<Col<f64>> {
        self.ufm.has_bias().then(|| {
            if self.samples.is_some() {
                return Col::from_fn(self.ufm.outputs(), |output| self.bias[output]);
            }
            let mut bias = Col::zeros(self.ufm.outputs());
            for (group, &value) in self.groups.iter().zip(&self.bias) {
                group.classes.iter().for_each(|&class| bias[class] = value);
            }
            bias
        })
    }

    /// Logits W h + b, before any adjustment of the loss, R × R: in row r those of a class of group r, in column s of a
    /// sample of group s; its own class is not meant where r = s.
    #[must_use]
    pub fn logits(&self) -> Mat<f64> {
        let count = self.groups.len();
        Mat::from_fn(count, count, |r, s| self.common_logit(r, s) + self.bias[r])
    }

    /// The logit of the own class, W h + b, by group.
    #[must_use]
    pub fn logits_own(&self) -> Vec<f64> {
        (0..self.groups.len()).map(|r| self.common_logit(r, r) + self.contrasts[r] + self.bias[r]).collect()
    }

    /// γ_rs.
    fn common_logit(&self, r: usize, s: usize) -> f64 {
        let members = |r: usize| self.groups[r].classes.len() as f64;
        let entry = self.between[(r, s)] / (self.groups[s].count as f64).sqrt();
        let own = if r == s { self.contrasts[r] } else { 0.0 };
        (entry - own) / (members(r) * members(s)).sqrt()
    }
}

/// The bias with Σ m_r b_r/δ_r = 0, if cross-entropy leaves that open.
fn centered_bias(problem: &Problem, bias: Vec<f64>) -> Vec<f64> {
    if problem.bias != Bias::Free || !problem.is_cross_entropy {
        return bias;
    }
    let rows = || problem.rows.iter().zip(&problem.scales);
    let along: f64 = rows().zip(&bias).map(|((m, scale), b)| m * b / scale).sum();
    let square: f64 = rows().map(|(m, scale)| m / (scale * scale)).sum();
    bias.iter().zip(&problem.scales).map(|(b, scale)| b - along / square / scale).collect()
}

//! Certified minimizers: cross-entropy, class weights and adjusted logits with one linear layer.
//!
//! For one layer any convex loss makes a convex problem. Its minimizer has no closed form, but it can be computed to
//! the last digits, and it comes with a proof: its dual gives a lower bound that no point can beat.
//!
//! - [`problem`]: the R × R problem that is left of K classes in R groups;
//! - [`smooth`], [`path`]: smoothed problems whose minimizers lead to the one sought;
//! - [`frame`], [`conjugate`]: Newton's equation, in singular vectors, by conjugate gradients;
//! - [`polish`]: Newton's method at the rank found;
//! - [`certificate`]: the lower bound.

mod certificate;
mod conjugate;
mod frame;
mod geometry;
pub(super) mod groups;
mod path;
mod polish;
mod problem;
mod smooth;
mod solver;

use std::fmt;

use faer::{Col, Mat};
use rand::Rng;

pub use self::geometry::{CertifiedGeometry, CertifiedGram};
use self::{
    frame::product,
    groups::Group,
    problem::{Bias, Problem},
    solver::Solution,
};
use super::GroupFate;
use crate::{
    error::Error,
    linalg::{Svd, helmert, memory::try_zeros, orthonormal::random_orthonormal},
    loss::Loss,
    model::Ufm,
    parameters::Parameters,
};

/// What a group of classes ends as.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct CertifiedGroup {
    /// The samples of each class.
    pub count: u64,
    /// The class weight α.
    pub weight: f64,
    /// The classes, in rising order.
    pub classes: Vec<usize>,
    /// The fate of their classifiers.
    pub fate: GroupFate,
    /// p of the own class: its probability, or its output for squared loss.
    pub probability_own: f64,
    /// p of another class of the group; `None` if there is none.
    pub probability_sibling: Option<f64>,
    /// The norm of each classifier, a row of W.
    pub classifier_norm: f64,
    /// The norm of each class mean.
    pub mean_norm: f64,
}

impl CertifiedGroup {
    /// The number of classes in the group.
    #[must_use]
    pub fn multiplicity(&self) -> usize {
        self.classes.len()
    }
}

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
    /// Cost: for R groups of classes that differ in count, weight or adjustment, about 50 decompositions of R × R and a
    /// few hundred to a few thousand products of that size; O(K) more.
    ///
    /// # Errors
    ///
    /// [`Error::NoCertificate`] if the model has two or more layers, or nonnegative features: then a descent is all
    /// there is. [`Error::NoClassCounts`] if the targets are a matrix. [`Error::WidthBelowRank`] if the layer is too
    /// narrow for the rank that the minimizer needs: the lower bound holds, but the minimum is above it.
    pub fn certified_minimizer(&self) -> Result<Certified, Error> {
        if self.depth() > 1 {
            return Err(Error::NoCertificate { because: "two or more layers" });
        }
        if self.has_nonnegative_features() {
            return Err(Error::NoCertificate { because: "nonnegative features" });
        }
        let classes = self.class_counts().ok_or(Error::NoClassCounts)?;
        let groups = groups::groups(self, classes);
        let mut problem = groups::problem(self, classes, &groups)?;
        let solution = solver::solve(&mut problem)?;
        Certified::new(self, &problem, groups, solution)
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
    fn new(ufm: &Ufm, problem: &Problem, groups: Vec<Group>, solution: Solution) -> Result<Self, Error> {
        let fit = solution.fit(problem);
        let Solution { polished, certificate } = solution;
        // Back from counts over N: B grows by √N.
        let unit = (ufm.samples() as f64).sqrt();
        let scale = faer::Scale(unit);
        let between = scale * problem.matrix(&polished.point);
        let svd = Svd { values: scale * polished.svd.values, ..polished.svd };
        let count = groups.len();
        let contrasts: Vec<f64> = (0..count).map(|s| problem.contrast(&polished.point, s)).collect();
        let rank_within = groups.iter().zip(&contrasts).filter(|(_, a)| **a != 0.0);
        let rank = polished.rank + rank_within.map(|(group, _)| group.classes.len() - 1).sum::<usize>();
        let width = ufm.feature_width();
        if rank > width {
            return Err(Error::WidthBelowRank { width, rank, lower_bound: certificate.lower_bound });
        }
        let bias = polished.point.bias.iter().zip(&problem.base_bias).map(|(bias, base)| base + bias).collect();
        let bias = centered_bias(problem, bias);
        let mut minimizer = Self {
            ufm: ufm.clone(),
            groups: Vec::new(),
            svd,
            kept: polished.rank,
            between,
            contrasts,
            bias,
            objective: certificate.objective,
            lower_bound: certificate.lower_bound,
            rank,
        };
        let (classifiers, class_means) = minimizer.grams(&groups);
        let largest = (0..count).map(|r| classifiers.square(r)).fold(0.0, f64::max);
        let own_classes = !ufm.has_bias() && ufm.loss() == Loss::Squared;
        let described = groups.into_iter().enumerate().map(|(r, group)| {
            let siblings = group.classes.len() > 1;
            // A sum of R squares, rounded.
            let is_zero = classifiers.square(r) <= 4.0 * count as f64 * f64::EPSILON * largest;
            let fate = if minimizer.contrasts[r] != 0.0 {
                GroupFate::Distinct
            } else if is_zero {
                GroupFate::Vanished
            } else if siblings {
                GroupFate::Coincident
            } else if own_classes {
                GroupFate::Distinct
            } else {
                GroupFate::Single
            };
            CertifiedGroup {
                count: group.count,
                weight: group.weight,
                fate,
                probability_own: problem.own_targets[r] + fit.errors.own[r],
                probability_sibling: siblings.then(|| problem.targets[(r, r)] + fit.errors.others[(r, r)]),
                classifier_norm: classifiers.square(r).sqrt(),
                mean_norm: class_means.square(r).sqrt(),
                classes: group.classes,
            }
        });
        minimizer.groups = described.collect();
        Ok(minimizer)
    }

    /// The Gram matrices of classifiers and class means: λ_W ‖W‖² = λ_H ‖H̄ D‖² shares the singular values out.
    fn grams(&self, groups: &[Group]) -> (CertifiedGram, CertifiedGram) {
        let ratio = (self.ufm.feature_decay() / self.ufm.layers()[0].decay).sqrt();
        let mut group_of = vec![0; self.ufm.outputs()];
        for (r, group) in groups.iter().enumerate() {
            group.classes.iter().for_each(|&class| group_of[class] = r);
        }
        let sizes: Vec<f64> = groups.iter().map(|group| group.classes.len() as f64).collect();
        let roots: Vec<f64> = groups.iter().map(|group| (group.count as f64).sqrt()).collect();
        let gram = |vectors: &Mat<f64>, scale: f64| {
            let scaled = Mat::from_fn(vectors.nrows(), self.kept, |i, j| vectors[(i, j)] * self.svd.values[j] * scale);
            product(scaled.as_ref(), vectors.subcols(0, self.kept).transpose())
        };
        let own = |r: usize| self.contrasts[r].abs() * roots[r];
        let left = gram(&self.svd.left, ratio);
        let right = gram(&self.svd.right, 1.0 / ratio);
        let right = Mat::from_fn(right.nrows(), right.ncols(), |r, t| right[(r, t)] / (roots[r] * roots[t]));
        let count = groups.len();
        (
            CertifiedGram::new(&group_of, &sizes, left.as_ref(), (0..count).map(|r| own(r) * ratio).collect()),
            CertifiedGram::new(
                &group_of,
                &sizes,
                right.as_ref(),
                (0..count).map(|r| own(r) / ratio / (roots[r] * roots[r])).collect(),
            ),
        )
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

    /// The groups of classes that the loss cannot tell apart, by falling count, equal counts by their first class.
    #[must_use]
    pub fn groups(&self) -> &[CertifiedGroup] {
        &self.groups
    }

    /// The fate of the classifiers of every group of [`Certified::groups`].
    #[must_use]
    pub fn group_fates(&self) -> Vec<GroupFate> {
        self.groups.iter().map(|group| group.fate).collect()
    }

    /// The singular values of the prediction W H̄ D, by falling value: the first [`Certified::rank`] are not zero.
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

    /// Norms and angles between classes.
    #[must_use]
    pub fn geometry(&self) -> CertifiedGeometry {
        let groups: Vec<Group> = self
            .groups
            .iter()
            .map(|group| Group { count: group.count, weight: group.weight, classes: group.classes.clone() })
            .collect();
        let (classifiers, class_means) = self.grams(&groups);
        let mut group_of = vec![0; self.ufm.outputs()];
        for (r, group) in groups.iter().enumerate() {
            group.classes.iter().for_each(|&class| group_of[class] = r);
        }
        let count = groups.len();
        CertifiedGeometry {
            group_of,
            classifiers,
            class_means,
            logits: Mat::from_fn(count, count, |r, s| self.common_logit(r, s)),
            contrasts: self.contrasts.clone(),
            bias: self.bias.clone(),
        }
    }

    /// Every direction that is kept, by falling singular value: between groups, or a contrast of a group.
    fn directions(&self) -> impl Iterator<Item = (f64, Kept)> {
        let mut kept: Vec<(f64, Kept)> = (0..self.kept).map(|j| (self.svd.values[j], Kept::Between(j))).collect();
        for (r, (group, contrast)) in self.groups.iter().zip(&self.contrasts).enumerate() {
            let value = contrast.abs() * (group.count as f64).sqrt();
            let contrasts = 0..if *contrast == 0.0 { 0 } else { group.classes.len() - 1 };
            kept.extend(contrasts.map(|i| (value, Kept::Within(r, i))));
        }
        kept.sort_by(|one, other| other.0.total_cmp(&one.0));
        kept.into_iter()
    }

    /// One column for each direction: its singular vector at the classes, times what `scale` makes of its value.
    fn vectors(&self, side: Side, scale: impl Fn(f64) -> f64) -> Result<Mat<f64>, Error> {
        let mut vectors = try_zeros("singular vectors", self.ufm.outputs(), self.rank as u64)?;
        let between = match side {
            Side::Left => &self.svd.left,
            Side::Right => &self.svd.right,
        };
        for (column, (value, kept)) in self.directions().enumerate() {
            let factor = scale(value);
            match kept {
                Kept::Between(j) => {
                    for (r, group) in self.groups.iter().enumerate() {
                        let entry = factor * between[(r, j)] / (group.classes.len() as f64).sqrt();
                        group.classes.iter().for_each(|&class| vectors[(class, column)] = entry);
                    }
                }
                Kept::Within(r, i) => {
                    let (before, last) = helmert::contrast(i);
                    // A negative contrast turns one side.
                    let sign = if side == Side::Left { self.contrasts[r].signum() } else { 1.0 };
                    let classes = &self.groups[r].classes;
                    classes[..=i].iter().for_each(|&class| vectors[(class, column)] = factor * sign * before);
                    vectors[(classes[i + 1], column)] = factor * sign * last;
                }
            }
        }
        Ok(vectors)
    }

    /// The classifiers in the space of rank dimensions that they share with the class means, K × rank.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the matrix does not fit in memory.
    pub fn classifiers(&self) -> Result<Mat<f64>, Error> {
        let ratio = (self.ufm.feature_decay() / self.ufm.layers()[0].decay).sqrt();
        self.vectors(Side::Left, |value| (value * ratio).sqrt())
    }

    /// The class means in the same space, rank × K.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the matrix does not fit in memory.
    pub fn class_means(&self) -> Result<Mat<f64>, Error> {
        let ratio = (self.ufm.feature_decay() / self.ufm.layers()[0].decay).sqrt();
        let mut means = self.vectors(Side::Right, |value| (value / ratio).sqrt())?;
        for group in &self.groups {
            let root = (group.count as f64).sqrt();
            for &class in &group.classes {
                means.row_mut(class).iter_mut().for_each(|entry| *entry /= root);
            }
        }
        Ok(means.transpose().to_owned())
    }

    /// A minimizer whose features are in the first coordinates.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the matrices do not fit in memory.
    pub fn parameters(&self) -> Result<Parameters, Error> {
        let mut frame = try_zeros("gauge", self.ufm.feature_width(), self.rank as u64)?;
        frame.diagonal_mut().column_vector_mut().fill(1.0);
        self.assemble(&frame)
    }

    /// A minimizer in a random gauge, uniform (Haar) among the matrices of orthonormal columns.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the matrices do not fit in memory.
    pub fn random_parameters(&self, rng: &mut (impl Rng + ?Sized)) -> Result<Parameters, Error> {
        self.assemble(&random_orthonormal(self.ufm.feature_width(), self.rank, rng)?)
    }

    fn assemble(&self, frame: &Mat<f64>) -> Result<Parameters, Error> {
        let classes = self.ufm.class_counts().ok_or(Error::NoClassCounts)?;
        let mut features = try_zeros("features H", self.ufm.feature_width(), classes.samples())?;
        let means = frame * self.class_means()?;
        for (class, samples) in classes.ranges().enumerate() {
            for sample in samples {
                features.col_mut(sample).copy_from(means.col(class));
            }
        }
        let weights = self.classifiers()? * frame.transpose();
        Parameters::new(&self.ufm, vec![weights], features, self.bias())
    }
}

/// A direction that is kept.
#[derive(Clone, Copy)]
enum Kept {
    Between(usize),
    Within(usize, usize),
}

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Left,
    Right,
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

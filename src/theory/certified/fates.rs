//! What every group of classes ends as, and the geometry between them.

use faer::Mat;

use super::{Certified, CertifiedGeometry, CertifiedGram, fit::Fit, geometry::Blocks, groups::Group, problem::Problem};
use crate::{
    error::Error,
    linalg::product::product,
    loss::Loss,
    model::Ufm,
    theory::{GroupFate, group_classes::GroupClasses},
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
    pub classes: GroupClasses,
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

impl Certified {
    /// What every group ends as.
    pub(super) fn describe(&self, problem: &Problem, fit: &Fit, groups: Vec<Group>) -> Vec<CertifiedGroup> {
        if groups.is_empty() {
            return Vec::new();
        }
        let (classifiers, class_means) = self.grams(&groups);
        let count = groups.len();
        let largest = (0..count).map(|r| classifiers.square(r)).fold(0.0, f64::max);
        let own_classes = has_own_classes(&self.ufm, problem);
        // Of cross-entropy the probabilities themselves: added to a target their digits would be lost.
        let own = |r: usize| {
            if problem.is_cross_entropy { fit.probabilities.own[r] } else { problem.own_targets[r] + fit.errors.own[r] }
        };
        let sibling = |r: usize| {
            let at = (r, r);
            if problem.is_cross_entropy {
                fit.probabilities.others[at]
            } else {
                problem.targets[at] + fit.errors.others[at]
            }
        };
        let described = groups.into_iter().enumerate().map(|(r, group)| {
            let siblings = group.classes.len() > 1;
            // A sum of R squares of rounded numbers.
            let is_zero = classifiers.square(r) <= (4.0 * count as f64 * f64::EPSILON).powi(2) * largest;
            let fate = if self.contrasts[r] != 0.0 {
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
                probability_own: own(r),
                probability_sibling: siblings.then(|| sibling(r)),
                classifier_norm: classifiers.square(r).sqrt(),
                mean_norm: class_means.square(r).sqrt(),
                classes: group.classes,
            }
        });
        described.collect()
    }

    /// The Gram matrices of classifiers and class means: λ_W ‖W‖² = λ_H ‖H̄ D‖² shares the singular values out.
    fn grams(&self, groups: &[Group]) -> (Blocks, Blocks) {
        let ratio = (self.ufm.feature_decay() / self.ufm.layers()[0].decay).sqrt();
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
            Blocks::new(&sizes, left.as_ref(), (0..count).map(|r| own(r) * ratio).collect()),
            Blocks::new(&sizes, right.as_ref(), (0..count).map(|r| own(r) / ratio / (roots[r] * roots[r])).collect()),
        )
    }

    /// Norms and angles between classes.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets are a matrix.
    pub fn geometry(&self) -> Result<CertifiedGeometry, Error> {
        self.ufm.class_counts().ok_or(Error::NoClassCounts)?;
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
        let gram = |blocks: Blocks| CertifiedGram { group_of: group_of.clone(), blocks };
        Ok(CertifiedGeometry {
            classifiers: gram(classifiers),
            class_means: gram(class_means),
            group_of,
            logits: Mat::from_fn(count, count, |r, s| self.common_logit(r, s)),
            contrasts: self.contrasts.clone(),
            bias: self.bias.clone(),
        })
    }
}

/// Whether every class answers for itself alone: squared loss without a bias, if all outputs of a sample but its own are
/// to be zero.
fn has_own_classes(ufm: &Ufm, problem: &Problem) -> bool {
    let is_zero = problem.targets.norm_max() == 0.0 && problem.shifts.iter().all(|shift| *shift == 0.0);
    ufm.loss() == Loss::Squared && !ufm.has_bias() && is_zero
}

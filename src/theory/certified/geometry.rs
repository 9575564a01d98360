//! Norms and angles between classes, from blocks of groups.

use faer::{Mat, MatRef};

/// Norms, angles and logits of any two classes of a certified minimizer. Classes of one group have the same numbers.
///
/// The methods are those of [`Geometry`](crate::theory::Geometry). Inner products are accurate to about 1e-8 of the
/// norms: the gap bounds the objective, whose curvature says what that means for each of them.
#[derive(Clone, Debug)]
pub struct CertifiedGeometry {
    pub(super) group_of: Vec<usize>,
    pub(super) classifiers: CertifiedGram,
    pub(super) class_means: CertifiedGram,
    /// γ_rs and a_r of the logits, without the bias.
    pub(super) logits: Mat<f64>,
    pub(super) contrasts: Vec<f64>,
    pub(super) bias: Vec<f64>,
}

/// Inner products between the classes of a certified minimizer.
#[derive(Clone, Debug)]
pub struct CertifiedGram {
    pub(super) group_of: Vec<usize>,
    pub(super) blocks: Blocks,
}

/// Inner products of groups; no class is looked at.
#[derive(Clone, Debug)]
pub(super) struct Blocks {
    sizes: Vec<f64>,
    /// The inner products that classes of groups r and t have in common.
    common: Mat<f64>,
    /// The square of each class's own part: δ_kl - 1/m_r of it is added within a group.
    own: Vec<f64>,
}

impl Blocks {
    /// Of vectors whose Gram matrix between group indicators is `between`, and of the squared parts of contrasts.
    pub(super) fn new(sizes: &[f64], between: MatRef<'_, f64>, own: Vec<f64>) -> Self {
        let common = Mat::from_fn(sizes.len(), sizes.len(), |r, t| between[(r, t)] / (sizes[r] * sizes[t]).sqrt());
        Self { sizes: sizes.to_vec(), common, own }
    }

    /// The square of the norm of the classes of group r.
    pub(super) fn square(&self, r: usize) -> f64 {
        (self.common[(r, r)] + self.own[r] * (1.0 - 1.0 / self.sizes[r])).max(0.0)
    }
}

impl CertifiedGram {
    fn group(&self, k: usize) -> usize {
        let classes = self.group_of.len();
        assert!(k < classes, "there is no class {k}: there are {classes}, counted from 0");
        self.group_of[k]
    }

    /// The inner product of classes `k` and `l`.
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn inner_product(&self, k: usize, l: usize) -> f64 {
        let (r, t, blocks) = (self.group(k), self.group(l), &self.blocks);
        if k == l {
            blocks.square(r)
        } else if r == t {
            blocks.common[(r, r)] - blocks.own[r] / blocks.sizes[r]
        } else {
            blocks.common[(r, t)]
        }
    }

    /// The norm of class `k`.
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn norm(&self, k: usize) -> f64 {
        self.blocks.square(self.group(k)).sqrt()
    }

    /// The cosine of the angle between classes `k` and `l`; `None` if one of them is zero.
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn cosine(&self, k: usize, l: usize) -> Option<f64> {
        let norms = (self.norm(k), self.norm(l));
        // Equal vectors may round beyond 1.
        (norms.0 > 0.0 && norms.1 > 0.0).then(|| (self.inner_product(k, l) / norms.0 / norms.1).clamp(-1.0, 1.0))
    }
}

impl CertifiedGeometry {
    /// Inner products of the rows of W, the classifiers.
    #[must_use]
    pub fn classifiers(&self) -> &CertifiedGram {
        &self.classifiers
    }

    /// Inner products of class means.
    #[must_use]
    pub fn class_means(&self) -> &CertifiedGram {
        &self.class_means
    }

    /// The logit of class `k`, without the bias, for a sample of class `l`.
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn logit(&self, k: usize, l: usize) -> f64 {
        let (r, t) = (self.classifiers.group(k), self.classifiers.group(l));
        self.logits[(r, t)] + if k == l { self.contrasts[r] } else { 0.0 }
    }

    /// The score of a sample of class `k` for its own class minus that for class `l`, bias included.
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn logit_gap(&self, k: usize, l: usize) -> f64 {
        self.logit(k, k) - self.logit(l, k) + self.bias[self.group_of[k]] - self.bias[self.group_of[l]]
    }

    /// The cosine of the angle between the classifier and the class mean of class `k`; `None` if one is zero.
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn self_duality_cosine(&self, k: usize) -> Option<f64> {
        let norms = (self.classifiers.norm(k), self.class_means.norm(k));
        (norms.0 > 0.0 && norms.1 > 0.0).then(|| (self.logit(k, k) / norms.0 / norms.1).clamp(-1.0, 1.0))
    }
}

//! The law of contrasts: which groups of classes a loss keeps apart, before any solving.
//!
//! For one linear layer, classes of equal count c_r, weight α_r, scale δ_r, shift and margin are told apart by one
//! number (`law`), whatever the other groups and the bias do:
//!
//! ```text
//! q_r = N √(λ_W λ_H)/(δ_r α_r √c_r (1-ε))
//! p_own - p_sibling = (1-ε) (1 - q_r)  if q_r < 1;  otherwise the classes coincide: minority collapse
//! ```
//!
//! for squared loss and for cross-entropy. `zero` has the decay from which everything is zero, `weights` the inverse
//! question for class weights, `balanced` cross-entropy of balanced classes in closed form.

mod balanced;
pub(super) mod grouped;
mod law;
mod weights;
mod zero;

pub use self::{
    balanced::BalancedCrossEntropy,
    law::{Contrast, GroupContrast},
};
use super::Limit;
use crate::{error::Error, model::Ufm};

/// Thresholds within these epsilons of each other are equal: each is a product of six rounded numbers.
const ROUNDING: f64 = 16.0 * f64::EPSILON;

/// What the law of contrasts says of a model of one layer with any loss.
///
/// It holds at the global minimizers if the layer has room for them, d_1 ≥ rank: see [`Contrasts::has_room`]. Factors
/// on decays are those on λ_W and λ_H together; the decay of a bias stays as it is.
///
/// # Example
///
/// Which class weights let which classes collapse?
///
/// ```
/// use neural_collapse::{ClassCounts, ClassWeights, Layer, Loss, Ufm};
///
/// let ufm = Ufm::new("500x5,50x5,5x5".parse::<ClassCounts>()?, [Layer::new(64, 5e-3)], 5e-4)?
///     .with_loss(Loss::CrossEntropy)?;
/// let with = |weights| ufm.clone().with_class_weights(weights)?.contrasts();
/// // As decays grow, minorities collapse first. 1/n turns that around, and with 1/√n all go at once.
/// assert_eq!(with(ClassWeights::None)?.collapse_order().unwrap(), [[2], [1], [0]]);
/// assert_eq!(with(ClassWeights::Inverse)?.collapse_order().unwrap(), [[0], [1], [2]]);
/// assert_eq!(with(ClassWeights::InverseRoot)?.collapse_order().unwrap(), [[0, 1, 2]]);
/// // The effective number of samples lets those in the middle go first: about 1.26/(1-β) samples.
/// assert_eq!(with(ClassWeights::Effective(0.98))?.collapse_order().unwrap(), [[1], [0], [2]]);
///
/// // At these decays the classes of 5 samples have collapsed without weights:
/// assert_eq!(with(ClassWeights::None)?.coincident().collect::<Vec<_>>(), [2]);
/// assert_eq!(with(ClassWeights::InverseRoot)?.coincident().count(), 0);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
///
/// # References
///
/// Hong, Ling 2024, JMLR: the threshold of two groups with a bias and unweighted cross-entropy. Fang et al. 2021:
/// minority collapse.
#[derive(Clone, Debug)]
pub struct Contrasts {
    layer_decay: f64,
    feature_decay: f64,
    width: usize,
    grouped: grouped::Grouped,
    groups: Vec<GroupContrast>,
}

impl Ufm {
    /// What the law of contrasts says of every group of classes, before any solving. Cost: O(K).
    ///
    /// # Errors
    ///
    /// [`Error::NoCertificate`] if the model has two or more layers, or nonnegative features: the law is not proved
    /// there. [`Error::NoClassCounts`] if the targets are a matrix.
    pub fn contrasts(&self) -> Result<Contrasts, Error> {
        if self.has_nonnegative_features() {
            return Err(Error::NoCertificate { because: "nonnegative features" });
        }
        let grouped = grouped::Grouped::new(self)?;
        Ok(Contrasts {
            layer_decay: self.layers()[0].decay,
            feature_decay: self.feature_decay(),
            width: self.feature_width(),
            groups: (0..grouped.count()).map(|r| law::group(&grouped, r)).collect(),
            grouped,
        })
    }
}

impl Contrasts {
    /// The groups of classes that the loss cannot tell apart, by falling count, equal counts by their first class:
    /// those of [`Certified::groups`](crate::theory::Certified::groups).
    #[must_use]
    pub fn groups(&self) -> &[GroupContrast] {
        &self.groups
    }

    /// The indices of the groups whose classes coincide at these decays.
    pub fn coincident(&self) -> impl Iterator<Item = usize> {
        (0..self.groups.len()).filter(|&r| self.groups[r].contrast == Contrast::Coincident)
    }

    /// Up to which factor on both decays the classes of group `r` stay apart. [`Limit::Always`] for a group of one
    /// class. `None` if that depends on the other groups (cross-entropy with margins): then
    /// [`Contrasts::coincidence_bounds`] has bounds.
    ///
    /// # Panics
    ///
    /// If `r` is not below the number of groups.
    #[must_use]
    pub fn coincidence_scale(&self, r: usize) -> Option<Limit> {
        let (low, high) = self.coincidence_bounds(r);
        (low == high).then_some(low)
    }

    /// Two factors on both decays: up to the first the classes of group `r` are apart, from the second on they
    /// coincide.
    ///
    /// # Panics
    ///
    /// If `r` is not below the number of groups.
    #[must_use]
    pub fn coincidence_bounds(&self, r: usize) -> (Limit, Limit) {
        let group = &self.groups[r];
        let scale = |q: f64| Limit::Below(q / group.q);
        match group.coincidence_q {
            None => (Limit::Always, Limit::Always),
            Some((low, high)) => (scale(low), scale(high)),
        }
    }

    /// Up to which factor on both decays the classes of every group stay apart from each other. [`Limit::Always`] if
    /// there is one class in each: such a class can still lose its own direction, at the factor that
    /// [`Ufm::certified_largest_scale`](crate::Ufm::certified_largest_scale) finds. `None` as
    /// [`Contrasts::coincidence_scale`].
    #[must_use]
    pub fn largest_scale(&self) -> Option<Limit> {
        let least = |pick: fn((Limit, Limit)) -> Limit| {
            let scales = (0..self.groups.len()).filter_map(|r| pick(self.coincidence_bounds(r)).value());
            scales.fold(f64::INFINITY, f64::min)
        };
        let (low, high) = (least(|bounds| bounds.0), least(|bounds| bounds.1));
        let limit = if low == f64::INFINITY { Limit::Always } else { Limit::Below(low) };
        (low == high).then_some(limit)
    }

    /// The groups in the order in which they collapse as both decays grow; those that collapse at the same decay
    /// together, in rising order. Groups of one class are left out. `None` if the order depends on more than the law
    /// says (cross-entropy with margins).
    #[must_use]
    pub fn collapse_order(&self) -> Option<Vec<Vec<usize>>> {
        let bounds = |r: usize| {
            let (low, high) = self.coincidence_bounds(r);
            Some((low.value()?, high.value()?, r))
        };
        let mut scales: Vec<_> = (0..self.groups.len()).filter_map(bounds).collect();
        scales.sort_by(|one, other| one.0.total_cmp(&other.0));
        let mut order: Vec<Vec<usize>> = Vec::new();
        let mut last: Option<(f64, f64)> = None;
        for (low, high, r) in scales {
            match last {
                Some((from, to)) if from == to && low == high && low - to <= ROUNDING * low => {
                    order.last_mut()?.push(r);
                }
                Some((_, to)) if low < to => return None,
                _ => {
                    order.push(vec![r]);
                    last = Some((low, high));
                }
            }
        }
        for together in &mut order {
            together.sort_unstable();
        }
        Some(order)
    }

    /// Up to which factor on both decays anything is left: above it W, H and the prediction are zero.
    /// [`Limit::Never`] if nothing ever is, as for a single class with a bias.
    ///
    /// Without margins and with a free bias, w_k = α_k n_k/N,
    ///
    /// ```text
    /// √(λ_W λ_H) = (1-ε) ‖Δ (I - w 1ᵀ/Σ w) diag(α √n)‖_2/N
    /// ```
    ///
    /// Cost: a singular value decomposition of R × R; with margins or a decayed bias a few Newton steps of that size
    /// first.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if a matrix of R × R does not fit in memory; [`Error::SvdDidNotConverge`].
    pub fn vanishing_scale(&self) -> Result<Limit, Error> {
        let lambda = zero::vanishing_lambda(&self.grouped)?;
        Ok(if lambda == 0.0 { Limit::Never } else { Limit::Below(lambda / self.grouped.lambda) })
    }

    /// A factor on both decays as a decay of the layer, with that of the features unchanged: λ_W s².
    #[must_use]
    pub fn layer_decay(&self, scale: Limit) -> Limit {
        scale.map(|scale| self.layer_decay * scale * scale)
    }

    /// A factor on both decays as a decay of the features, with that of the layer unchanged: λ_H s².
    #[must_use]
    pub fn feature_decay(&self, scale: Limit) -> Limit {
        scale.map(|scale| self.feature_decay * scale * scale)
    }

    /// The least and the largest rank that a minimizer can have: contrasts of groups that are apart, and at most one
    /// direction for each group, one less for cross-entropy or a free bias. The largest is 0 only for one class.
    #[must_use]
    pub fn rank_bounds(&self) -> (usize, usize) {
        let contrasts = |kinds: &[Contrast]| -> usize {
            let groups = self.groups.iter().filter(|group| kinds.contains(&group.contrast));
            groups.map(|group| group.classes.len() - 1).sum()
        };
        let between = self.groups.len() - usize::from(self.loses_one());
        (contrasts(&[Contrast::Apart]), contrasts(&[Contrast::Apart, Contrast::Open]) + between)
    }

    /// The rank of a minimizer at small decays, if the layer has room for it: K, or K - 1 for cross-entropy or a free
    /// bias.
    #[must_use]
    pub fn full_rank(&self) -> usize {
        let classes: usize = self.groups.iter().map(|group| group.classes.len()).sum();
        classes - usize::from(self.loses_one())
    }

    /// Whether the logits of all classes sum up to zero in some way, over classes or over samples.
    fn loses_one(&self) -> bool {
        self.grouped.is_cross_entropy || self.grouped.bias == Some(0.0)
    }

    /// Whether the layer is wide enough for the rank of a minimizer, which the law needs; `None` if that depends on
    /// more than the law says.
    #[must_use]
    pub fn has_room(&self) -> Option<bool> {
        let (least, most) = self.rank_bounds();
        if self.width >= most { Some(true) } else { (self.width < least).then_some(false) }
    }

    /// The minimizer of cross-entropy in closed form if all classes are one group; otherwise `None`.
    #[must_use]
    pub fn balanced_cross_entropy(&self) -> Option<BalancedCrossEntropy> {
        balanced::minimizer(&self.grouped)
    }
}

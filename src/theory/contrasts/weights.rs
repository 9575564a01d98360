//! The inverse question of class weights: which keep every group of classes apart?

use super::{Limit, grouped::Grouped};
use crate::{error::Error, loss::ClassWeights, model::Ufm};

impl Ufm {
    /// The class weights with the least ratio of the largest to the smallest at which every group of several classes
    /// has q_r ≤ `largest_q` at these decays, so that p_own - p_sibling ≥ (1-ε) (1 - `largest_q`). Their mean over
    /// samples is 1, as for the rules of [`ClassWeights`]. Weights that the model has do not matter.
    ///
    /// ```text
    /// α_r = max(ℓ, N √(λ_W λ_H)/(q δ_r √c_r (1-ε))),      ℓ such that Σ_k n_k α_k = N
    /// ```
    ///
    /// Unique. [`ClassWeights::None`] if no weights are needed. Cost: O(K).
    ///
    /// # Errors
    ///
    /// [`Error::NoSeparatingWeights`] if the decays are too large ([`Ufm::separable_scale`]); [`Error::Domain`] unless
    /// 0 < `largest_q` < 1; as [`Ufm::contrasts`].
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, Layer, Loss, Ufm};
    ///
    /// let ufm = Ufm::new("500x5,50x5,5x5".parse::<ClassCounts>()?, [Layer::new(64, 5e-3)], 5e-4)?
    ///     .with_loss(Loss::CrossEntropy)?;
    /// assert_eq!(ufm.contrasts()?.coincident().collect::<Vec<_>>(), [2]); // without weights the tail collapses
    /// let weights = ufm.separating_weights(0.9)?;
    /// let spread = |weights: &[f64]| weights[14] / weights[0];
    /// assert!(spread(&weights.of(ufm.class_counts().unwrap())?) < 2.5); // 1/√n has 10, and 1/n has 100
    /// assert_eq!(ufm.with_class_weights(weights)?.contrasts()?.coincident().count(), 0);
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn separating_weights(&self, largest_q: f64) -> Result<ClassWeights, Error> {
        if !(largest_q > 0.0 && largest_q < 1.0) {
            return Err(Error::Domain { argument: "largest q", value: largest_q, accepted: "0 < q < 1" });
        }
        let grouped = unweighted(self)?;
        let least: Vec<f64> = (0..grouped.count()).map(|r| least_weight(&grouped, r) / largest_q).collect();
        if least.iter().all(|least| *least <= 1.0) {
            return Ok(ClassWeights::None);
        }
        let level = water_level(&grouped, &least);
        if !(level > 0.0) {
            let scale = largest_q * separable_scale(&grouped);
            return Err(Error::NoSeparatingWeights { scale });
        }
        let mut weights = vec![0.0; self.outputs()];
        for (group, least) in grouped.groups.iter().zip(&least) {
            group.classes.iter().for_each(|&class| weights[class] = least.max(level));
        }
        Ok(ClassWeights::Given(weights))
    }

    /// Up to which factor on both decays there are class weights that keep every group apart (q_r < 1), whatever
    /// weights the model has: with a mean of 1 over samples,
    ///
    /// ```text
    /// √(λ_W λ_H) < (1-ε)/Σ_k (√n_k/δ_k)      over the classes that are not the only one of their group
    /// ```
    ///
    /// [`Limit::Always`] if there are none. At the limit the only weights are α_k ~ n_k^(-1/2)/δ_k.
    ///
    /// # Errors
    ///
    /// As [`Ufm::contrasts`].
    pub fn separable_scale(&self) -> Result<Limit, Error> {
        let scale = separable_scale(&unweighted(self)?);
        Ok(if scale == f64::INFINITY { Limit::Always } else { Limit::Below(scale) })
    }
}

/// The groups of classes that are equal but for their weights.
fn unweighted(ufm: &Ufm) -> Result<Grouped, Error> {
    if ufm.has_nonnegative_features() {
        return Err(Error::NoCertificate { because: "nonnegative features" });
    }
    if ufm.class_weights().is_none() {
        return Grouped::new(ufm);
    }
    Grouped::new(&ufm.clone().with_class_weights(ClassWeights::None)?)
}

/// The weight at which q_r = 1; 0 for a group of one class.
fn least_weight(grouped: &Grouped, r: usize) -> f64 {
    if grouped.sizes[r] < 2.0 { 0.0 } else { grouped.lambda / grouped.critical_lambda(r) }
}

/// 1 over the mean over samples of the least weights.
fn separable_scale(grouped: &Grouped) -> f64 {
    let shares = grouped.sizes.iter().zip(&grouped.weights).map(|(m, w)| m * w);
    1.0 / shares.enumerate().map(|(r, share)| share * least_weight(grouped, r)).sum::<f64>()
}

/// ℓ with Σ_r share_r max(ℓ, least_r) = 1; not positive if there is none.
fn water_level(grouped: &Grouped, least: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..least.len()).collect();
    order.sort_by(|&one, &other| least[one].total_cmp(&least[other]));
    let share = |r: usize| grouped.sizes[r] * grouped.weights[r];
    // Groups that are under water, from the lowest on, and what the others take.
    let mut above: f64 = order.iter().map(|&r| share(r) * least[r]).sum();
    let (mut under, mut level) = (0.0, 0.0);
    for (i, &r) in order.iter().enumerate() {
        under += share(r);
        above -= share(r) * least[r];
        level = (1.0 - above) / under;
        if order.get(i + 1).is_none_or(|&next| level <= least[next]) {
            break;
        }
    }
    // A level below its own group's least: even the least weights are too much.
    if level < least[order[0]] { 0.0 } else { level }
}

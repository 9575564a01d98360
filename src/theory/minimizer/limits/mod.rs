//! The inverse question: the largest decays at which a minimizer reaches a goal (`norm_ratio` for ratios of norms), those
//! at which directions and groups collapse (`critical`), and the imbalance at which minority classes do (`imbalance`).

use crate::{error::Error, linalg::wide::Wide, theory::minimizer::Minimizer};

mod critical;
mod imbalance;
mod limit;
mod norm_ratio;

pub use self::{imbalance::critical_imbalance_ratio, limit::Limit};

/// What a minimizer has to keep.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Goal {
    /// Every direction of a target that is not zero: no class collapses.
    AllDirections,
    /// At least this rank.
    Rank(usize),
    /// The smallest norm of a classifier, a row of W_{L:1}, is at least this share of the largest.
    NormRatio(f64),
}

impl Minimizer {
    /// The largest factor on all L + 1 decays together at which the minimizer reaches the goal: [`Limit::Never`] if a
    /// width is too narrow or there are too few directions, [`Limit::Always`] if there is nothing to keep, as for one
    /// class with a bias.
    ///
    /// Below this factor the goal is reached, above it not. At the factor itself directions are at their threshold: for
    /// L = 1 they have just collapsed, for L ≥ 2 keeping them costs the same as giving them up. Goals of rank follow
    /// from the critical values. The ratio of norms falls as decays grow, and its limit is found by interpolation, in
    /// about twenty times O(R²) operations.
    ///
    /// A single decay may grow by the power L + 1 of this factor: [`Minimizer::largest_feature_decay`],
    /// [`Minimizer::largest_layer_decay`].
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] for a rank of zero, and unless the ratio is in (0, 1]; for ratios as [`Minimizer::geometry`].
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, Layer, Ufm, theory::Goal};
    ///
    /// // Bias-free and L = 1: a class of n samples collapses from λ_1 λ_H = n/N² on.
    /// let ufm = Ufm::new("80,20".parse::<ClassCounts>()?, [Layer::new(4, 1e-3)], 1e-3)?.without_bias();
    /// let decay = ufm.minimizer()?.largest_feature_decay(Goal::AllDirections)?.value().unwrap();
    /// assert!((decay - 20.0 / 1e4 / 1e-3).abs() < 1e-14);
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn largest_scale(&self, goal: Goal) -> Result<Limit, Error> {
        match goal {
            Goal::AllDirections => Ok(self.scale_of_all()),
            Goal::Rank(0) => Err(Error::Domain { argument: "rank", value: 0.0, accepted: "at least 1" }),
            Goal::Rank(rank) => Ok(self.scale_of_rank(rank)),
            Goal::NormRatio(ratio) => {
                if !(ratio > 0.0 && ratio <= 1.0) {
                    let accepted = "0 < ratio <= 1";
                    return Err(Error::Domain { argument: "ratio of norms", value: ratio, accepted });
                }
                if self.directions().iter().all(|direction| direction.target == 0.0) {
                    return Ok(Limit::Always);
                }
                norm_ratio::largest_scale(self, ratio)
            }
        }
    }

    /// The largest decay of the features that reaches the goal, with the decays of the layers unchanged.
    ///
    /// # Errors
    ///
    /// As [`Minimizer::largest_scale`].
    pub fn largest_feature_decay(&self, goal: Goal) -> Result<Limit, Error> {
        Ok(self.largest_scale(goal)?.map(|scale| self.single_decay(scale, self.ufm().feature_decay())))
    }

    /// The largest decay of layer `layer` (from 0) that reaches the goal, with all other decays unchanged.
    ///
    /// # Errors
    ///
    /// As [`Minimizer::largest_scale`].
    ///
    /// # Panics
    ///
    /// If `layer` is not below the number of layers.
    pub fn largest_layer_decay(&self, goal: Goal, layer: usize) -> Result<Limit, Error> {
        let depth = self.ufm().depth();
        assert!(layer < depth, "there is no layer {layer}: there are {depth}, counted from 0");
        let decay = self.ufm().layers()[layer].decay;
        Ok(self.largest_scale(goal)?.map(|scale| self.single_decay(scale, decay)))
    }

    /// λ s^(L+1), which changes q in the same way as a factor s on all decays: q^(L+1) is proportional to every single
    /// decay.
    fn single_decay(&self, scale: f64, decay: f64) -> f64 {
        Wide::new(scale).power(self.ufm.depth() + 1).times(Wide::new(decay)).to_f64()
    }

    fn scale_of_all(&self) -> Limit {
        let nonzero = self.directions().iter().filter(|direction| direction.target > 0.0);
        match nonzero.map(|direction| direction.multiplicity).sum() {
            0 => Limit::Always,
            count => self.scale_of_rank(count),
        }
    }

    fn scale_of_rank(&self, rank: usize) -> Limit {
        if rank > self.ufm().rank_bound() {
            return Limit::Never;
        }
        let mut count = 0;
        let last = self.directions().iter().find(|direction| {
            count += direction.multiplicity;
            count >= rank
        });
        match last {
            Some(direction) if direction.critical_scale > 0.0 => Limit::Below(direction.critical_scale),
            _ => Limit::Never,
        }
    }
}

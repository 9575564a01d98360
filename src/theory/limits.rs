//! The inverse question: the largest decays that a network can be trained with, if it is to keep so much.

use super::minimizer::Minimizer;
use crate::{
    error::{Error, check_positive},
    model::{Layer, Ufm},
};

/// What a minimizer is to keep.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Goal {
    /// Every direction of a target that is not zero: no class collapses.
    AllDirections,
    /// At least this rank.
    Rank(usize),
    /// The smallest norm of a classifier, a row of W_{L:1}, is at least this share of the largest.
    NormRatio(f64),
}

impl Minimizer {
    /// The largest factor on all L + 1 decays together up to which the minimizer reaches the goal; none where no decays
    /// do, however small, since a width is too narrow or there are fewer directions; infinite where there is nothing to
    /// keep, for one class with a bias.
    ///
    /// Below it the goal is reached, above it not. At it directions are at their threshold: for L = 1 they have just
    /// collapsed, for L ≥ 2 keeping them and giving them up cost the same. Goals of rank follow from the critical
    /// values; the ratio of norms, which falls as decays grow, by bisection down to neighboring numbers, O(R²)
    /// operations each.
    ///
    /// A single decay may grow by the power L + 1 of it: [`Minimizer::largest_feature_decay`],
    /// [`Minimizer::largest_layer_decay`].
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] for a rank of zero, and unless the ratio is in (0, 1]; for ratios as [`Minimizer::geometry`].
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, Layer, Ufm, theory::limits::Goal};
    ///
    /// // Bias-free and L = 1: a class of n samples collapses from λ_1 λ_H = n/N² on.
    /// let ufm = Ufm::bias_free("80,20".parse::<ClassCounts>()?, [Layer::new(4, 1e-3)], 1e-3)?;
    /// let decay = ufm.minimizer()?.largest_feature_decay(Goal::AllDirections)?.unwrap();
    /// assert!((decay - 20.0 / 1e4 / 1e-3).abs() < 1e-14);
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn largest_scale(&self, goal: Goal) -> Result<Option<f64>, Error> {
        match goal {
            Goal::AllDirections => Ok(self.scale_of_all()),
            Goal::Rank(0) => Err(Error::Domain { argument: "rank", value: 0.0, accepted: "at least 1" }),
            Goal::Rank(rank) => Ok(self.scale_of_rank(rank)),
            Goal::NormRatio(ratio) => {
                check_positive("ratio of norms", ratio)?;
                if ratio > 1.0 {
                    let accepted = "0 < ratio <= 1";
                    return Err(Error::Domain { argument: "ratio of norms", value: ratio, accepted });
                }
                self.scale_of_ratio(ratio)
            }
        }
    }

    /// The largest decay of the features that reaches the goal, the decays of the layers being as they are.
    ///
    /// # Errors
    ///
    /// As [`Minimizer::largest_scale`].
    pub fn largest_feature_decay(&self, goal: Goal) -> Result<Option<f64>, Error> {
        Ok(self.largest_scale(goal)?.map(|scale| self.single_limit(scale, self.ufm().feature_decay())))
    }

    /// The largest decay of layer `layer` (from 0) that reaches the goal, all other decays being as they are.
    ///
    /// # Errors
    ///
    /// As [`Minimizer::largest_scale`].
    ///
    /// # Panics
    ///
    /// Where there is no such layer.
    pub fn largest_layer_decay(&self, goal: Goal, layer: usize) -> Result<Option<f64>, Error> {
        let decay = self.ufm().layers()[layer].decay;
        Ok(self.largest_scale(goal)?.map(|scale| self.single_limit(scale, decay)))
    }

    fn single_limit(&self, scale: f64, decay: f64) -> f64 {
        if scale.is_finite() { self.single_decay(scale, decay) } else { scale }
    }

    fn scale_of_all(&self) -> Option<f64> {
        let nonzero = self.directions().iter().filter(|direction| direction.target > 0.0);
        match nonzero.map(|direction| direction.multiplicity).sum() {
            0 => Some(f64::INFINITY),
            count => self.scale_of_rank(count),
        }
    }

    fn scale_of_rank(&self, rank: usize) -> Option<f64> {
        if rank > self.ufm().rank_bound() {
            return None;
        }
        let mut count = 0;
        let last = self.directions().iter().find(|direction| {
            count += direction.multiplicity;
            count >= rank
        });
        last.map(|direction| direction.critical_scale).filter(|scale| *scale > 0.0)
    }

    fn scale_of_ratio(&self, ratio: f64) -> Result<Option<f64>, Error> {
        let reached = |scale: f64| -> Result<bool, Error> {
            let scaled = self.scaled(scale)?;
            // Norms that are equal may differ by their last digits.
            Ok(norm_ratio(&scaled)?.is_some_and(|norms| norms >= ratio * (1.0 - 8.0 * f64::EPSILON)))
        };
        if self.directions().iter().all(|direction| direction.target == 0.0) {
            return Ok(Some(f64::INFINITY));
        }
        // Beyond the last threshold everything is zero; where all e are below an epsilon, smaller ones change nothing.
        let scales = self.directions().iter().map(|direction| direction.critical_scale);
        let mut high = scales.fold(0.0, f64::max) * (1.0 + 1e-9);
        let mut low = None;
        for factor in [1e-4, 1e-8, 1e-12, 1e-16] {
            if high * factor > 0.0 && reached(high * factor)? {
                low = Some(high * factor);
                break;
            }
        }
        let Some(mut low) = low else { return Ok(None) };
        // By their bits, which are in the order of the numbers, down to two neighbors.
        while high.to_bits() - low.to_bits() > 1 {
            let middle = f64::from_bits(low.to_bits().midpoint(high.to_bits()));
            if reached(middle)? { low = middle } else { high = middle }
        }
        Ok(Some(low))
    }

    /// The minimizer of all decays times a factor.
    fn scaled(&self, factor: f64) -> Result<Minimizer, Error> {
        let ufm = self.ufm();
        let layers: Vec<Layer> =
            ufm.layers().iter().map(|layer| Layer { decay: layer.decay * factor, ..*layer }).collect();
        let make = if ufm.has_bias() { Ufm::biased } else { Ufm::bias_free };
        make(ufm.targets().clone(), layers, ufm.feature_decay() * factor)?.minimizer()
    }
}

/// The smallest norm of a classifier over the largest; none where all are zero, or a tie leaves one open.
fn norm_ratio(minimizer: &Minimizer) -> Result<Option<f64>, Error> {
    let geometry = minimizer.geometry()?;
    let (mut least, mut largest) = (f64::INFINITY, 0.0_f64);
    for group in minimizer.label_spectrum()?.classes().groups() {
        let Some(norm) = geometry.classifiers().norm(group.classes[0]) else { return Ok(None) };
        (least, largest) = (least.min(norm), largest.max(norm));
    }
    Ok((largest > 0.0).then(|| least / largest))
}

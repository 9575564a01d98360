//! The inverse question: the largest decays at which a minimizer reaches a goal, and the imbalance at which minority
//! classes collapse.

use super::{Direction, Minimizer};
use crate::{
    classes::ClassCounts,
    error::Error,
    linalg::wide::Wide,
    model::{Layer, Ufm},
    theory::scalar::critical_q,
};

mod norm_ratio;

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
    /// The largest factor on all L + 1 decays together at which the minimizer reaches the goal. `None` if no positive
    /// decays reach it: a width is too narrow, or there are too few directions. Infinite if there is nothing to keep,
    /// as for one class with a bias.
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
                if !(ratio > 0.0 && ratio <= 1.0) {
                    let accepted = "0 < ratio <= 1";
                    return Err(Error::Domain { argument: "ratio of norms", value: ratio, accepted });
                }
                if self.directions().iter().all(|direction| direction.target == 0.0) {
                    return Ok(Some(f64::INFINITY));
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
    pub fn largest_feature_decay(&self, goal: Goal) -> Result<Option<f64>, Error> {
        Ok(self.largest_scale(goal)?.map(|scale| self.single_limit(scale, self.ufm().feature_decay())))
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
    pub fn largest_layer_decay(&self, goal: Goal, layer: usize) -> Result<Option<f64>, Error> {
        let depth = self.ufm().depth();
        assert!(layer < depth, "there is no layer {layer}: there are {depth}, counted from 0");
        let decay = self.ufm().layers()[layer].decay;
        Ok(self.largest_scale(goal)?.map(|scale| self.single_limit(scale, decay)))
    }

    /// The factor on all L + 1 decays together at which the classes of group `r` (in order of falling count) begin to
    /// share one classifier: minority collapse in the sense of Fang et al. 2021. `None` for a group of one class, and
    /// without a bias, since then classes do not share a classifier before they vanish.
    ///
    /// For a single decay take the power L + 1 of this factor. Below 1 the group has already collapsed. It is 0 if a
    /// width cuts off the directions that distinguish its classes, at any decay.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] as [`Minimizer::geometry`].
    ///
    /// # Panics
    ///
    /// If `r` is not below the number of groups.
    pub fn coincidence_scale(&self, r: usize) -> Result<Option<f64>, Error> {
        self.check_group(r)?;
        let own = self.directions().iter().find(|direction| direction.group == Some(r));
        Ok(own.filter(|_| self.ufm().has_bias()).map(|direction| direction.critical_scale))
    }

    fn check_group(&self, r: usize) -> Result<(), Error> {
        let groups = self.label_spectrum()?.class_counts().groups().len();
        assert!(r < groups, "there is no group {r}: there are {groups}, counted from 0");
        Ok(())
    }

    /// The factor on all L + 1 decays together at which the classifiers and class means of group `r` become zero. With
    /// a bias this is where the last direction that reaches the group collapses.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] as [`Minimizer::geometry`].
    ///
    /// # Panics
    ///
    /// If `r` is not below the number of groups.
    pub fn vanishing_scale(&self, r: usize) -> Result<f64, Error> {
        self.check_group(r)?;
        let reaches = |direction: &&Direction| direction.group == Some(r) || direction.group.is_none();
        Ok(self.directions().iter().filter(reaches).map(|direction| direction.critical_scale).fold(0.0, f64::max))
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
}

/// The imbalance ratio at which the classifiers of minority classes collapse, in step profiles of `majority` classes of
/// `count` samples and `minority` classes of `count`/ρ: the least ρ ≥ 1 such that they have collapsed at ρ and at every
/// larger ratio. Counts are taken as real numbers.
///
/// ```text
/// q = N (λ_H λ_1 ··· λ_L)^(1/(L+1)) (count/ρ)^(-L/(L+1)) = q_L,      N = count (majority + minority/ρ)
/// ```
///
/// It is 1 if they have collapsed at every ratio, and infinite if the ratio is beyond the range of `f64`. Collapsed
/// minority classes share one classifier if there is a bias, and vanish if there is none.
///
/// # Errors
///
/// As [`Ufm::new`] for counts and decays; [`Error::Domain`] unless there are majority classes and at least two minority
/// classes.
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Ufm, theory::critical_imbalance_ratio};
///
/// let layers = [Layer::new(64, 5e-3)];
/// let ratio = critical_imbalance_ratio(5, 5, 1000, &layers, 1e-4)?;
/// // At 20 samples the minority is on one side of it, at 2 on the other: only what tells the majority apart is left.
/// assert!((50.0..500.0).contains(&ratio));
/// let rank = |minority: u64| {
///     let counts = ClassCounts::new([[1000; 5], [minority; 5]].concat())?;
///     Ok::<_, neural_collapse::Error>(Ufm::new(counts, layers, 1e-4)?.minimizer()?.rank())
/// };
/// assert_eq!((rank(20)?, rank(2)?), (9, 4));
/// # Ok::<(), neural_collapse::Error>(())
/// ```
///
/// # References
///
/// Fang et al. 2021 for minority collapse and the question.
pub fn critical_imbalance_ratio(
    majority: usize,
    minority: usize,
    count: u64,
    layers: &[Layer],
    feature_decay: f64,
) -> Result<f64, Error> {
    let too_few = |argument, classes: usize, accepted| Error::Domain { argument, value: classes as f64, accepted };
    if majority < 1 {
        return Err(too_few("majority classes", majority, "at least 1"));
    }
    if minority < 2 {
        return Err(too_few("minority classes", minority, "at least 2"));
    }
    // The decays, the layers and the count are those of a model; the number of classes is not needed for it.
    let ufm = Ufm::new(ClassCounts::balanced(1, count)?, layers, feature_decay)?;
    let (depth, count) = (ufm.depth(), count as f64);
    let power = depth as f64 / (depth as f64 + 1.0);
    let (majority, minority) = (majority as f64, minority as f64);
    // q/q_L = constant (majority + minority/ρ) ρ^(L/(L+1))
    let constant = ufm.decays().level(Wide::new(count)).over(Wide::new(critical_q(depth))).to_f64();
    let collapsed = |ratio: f64| constant * (majority + minority / ratio) * ratio.powf(power) >= 1.0;
    // N falls with ρ at first: q is least at ρ = minority/(L majority), and rises from there on.
    let least = (minority / (depth as f64 * majority)).max(1.0);
    if collapsed(least) {
        return Ok(1.0);
    }
    neighbors(least, f64::INFINITY, |ratio| Ok(!collapsed(ratio))).map(|(_, high)| high)
}

/// The two neighboring numbers between which `holds` becomes false; it is true at `low` and false at `high`. Bisects
/// the bits of positive numbers, which have the order of the numbers.
fn neighbors(low: f64, high: f64, holds: impl Fn(f64) -> Result<bool, Error>) -> Result<(f64, f64), Error> {
    let (mut low, mut high) = (low, high);
    while high.to_bits() - low.to_bits() > 1 {
        let middle = f64::from_bits(low.to_bits().midpoint(high.to_bits()));
        if holds(middle)? { low = middle } else { high = middle }
    }
    Ok((low, high))
}

//! NC4: whether the network decides as the nearest class mean does.

use faer::{Col, ColRef, Mat, MatRef, Par};

pub(super) use self::rules::{Rules, Tally, only_first};
use self::rules::{shared, shared_by_all};
use super::features::{FeatureStatistics, MAX_SAMPLES, PANEL, takes_batches};
use crate::{
    error::{Block, Error},
    linalg::{
        checks::{check_finite, check_shape},
        cores::map_range,
    },
    theory::Optimum,
};

mod rules;
#[cfg(feature = "serde")]
mod saved;

/// Counts, in a pass over the samples, on how many of them the network and the nearest class mean disagree.
///
/// ```text
/// argmax_k (W_{L:1} h + b)_k   and   argmin_k ‖h - h̄_k‖
/// ```
///
/// Classes whose logits or whose distances differ by no more than rounding share the first place, and two rules agree
/// if they have a class in common: so noise does not separate classes that have collapsed into one.
///
/// The disagreement goes to zero with balanced classes (NC4 of Papyan, Han, Donoho 2020). Under imbalance it need not:
/// a minority class whose mean is nearest can have a smaller logit than a frequent one, and [`optimum_disagreement`]
/// gives the share of such samples.
///
/// Cost: 2 N d K operations for the network, and 2 d K more for every sample that is not so near to the mean of its class
/// that no other one can be nearer; K² d once for the distances of class means; 2 d K numbers.
///
/// # Example
///
/// ```
/// use neural_collapse::{faer::{col, mat}, metrics::{FeatureAccumulator, NearestCenter}};
///
/// let (features, labels) = (mat![[2.0_f32, 0.6, -2.0, -1.0]], [0, 0, 1, 1]);
/// let mut accumulator = FeatureAccumulator::new(1, 2)?;
/// accumulator.add(features.as_ref(), &labels)?;
///
/// // A bias so large that the network takes the last sample for class 0.
/// let (weights, bias) = (mat![[1.0], [-1.0]], col![2.5, 0.0]);
/// let mut rules = NearestCenter::new(weights.as_ref(), Some(bias.as_ref()), &accumulator.finish())?;
/// rules.add(features.as_ref(), &labels)?;
/// assert_eq!(rules.disagreement(), Some(0.25));
/// assert_eq!((rules.accuracy(), rules.center_accuracy()), (Some(0.75), Some(1.0)));
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "saved::Read"))]
pub struct NearestCenter {
    rules: Rules,
    tally: Tally,
}

takes_batches!(NearestCenter);

impl NearestCenter {
    pub(super) fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Takes in what its rules made of other samples.
    pub(super) fn absorb(&mut self, tally: &Tally) {
        self.tally.absorb(tally);
    }

    /// For a network of this product W_{L:1}, K × d, with this bias, and class means of a first pass over the samples.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples; [`Error::Shape`], [`Error::NotFinite`] for product and bias;
    /// [`Error::TooLarge`].
    pub fn new(
        product: MatRef<'_, f64>,
        bias: Option<ColRef<'_, f64>>,
        statistics: &FeatureStatistics,
    ) -> Result<Self, Error> {
        let (width, classes) = statistics.class_means().shape();
        check_shape(Block::Product, (classes, width), product.shape())?;
        check_finite(Block::Product, product)?;
        if let Some(bias) = bias {
            check_shape(Block::Bias, (classes, 1), (bias.nrows(), 1))?;
            check_finite(Block::Bias, bias.as_mat())?;
        }
        let (center, means) = (statistics.global_mean(), statistics.centered_means()?);
        let apart = statistics.distances_to_nearest()?;
        Ok(Self { rules: Rules::new(product, bias, center, means, apart), tally: Tally::default() })
    }

    /// The width d, and the number of classes.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        self.rules.means.shape()
    }

    /// Adds a batch that has passed the checks of `add`.
    fn add_checked<T: Copy + Into<f64> + Sync>(&mut self, features: MatRef<'_, T>, labels: &[usize]) {
        let rules = &self.rules;
        let tallies = map_range(labels.len().div_ceil(PANEL), 1, |panel| {
            let start = panel * PANEL;
            let labels = &labels[start..labels.len().min(start + PANEL)];
            let panel = features.subcols(start, labels.len());
            let panel = Mat::from_fn(panel.nrows(), panel.ncols(), |i, j| panel[(i, j)].into() - rules.center[i]);
            let mut logits = Mat::zeros(rules.classifiers.nrows(), panel.ncols());
            rules.logits(panel.as_ref(), logits.as_mut(), Par::Seq);
            rules.judge(panel.as_ref(), logits.as_ref(), labels, |_| 1)
        });
        for tally in &tallies {
            self.tally.absorb(tally);
        }
    }

    /// Takes in the samples of another one of the same network and class means, of which this one has seen none. A merge
    /// with an error takes in nothing.
    ///
    /// Samples are counted in whole numbers: the same batches give the same result to the last bit, in any order and in
    /// any shards, as one pass over all of them; in one process or many, through the saved forms of the feature `serde`
    /// or not. Give every process the same one before the pass, in its saved form or a clone.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if widths or numbers of classes differ; [`Error::Unmergeable`] if networks or class means do;
    /// [`Error::TooManySamples`].
    pub fn merge(&mut self, other: &Self) -> Result<(), Error> {
        let (own, others) = (&self.rules, &other.rules);
        check_shape(Block::Features, own.means.shape(), others.means.shape())?;
        if own != others {
            return Err(Error::Unmergeable { what: "the network or the class means" });
        }
        if self.tally.total().saturating_add(other.tally.total()) > MAX_SAMPLES {
            return Err(Error::TooManySamples { class: own.means.ncols() - 1 });
        }
        self.tally.absorb(&other.tally);
        Ok(())
    }

    /// The part of the samples on which the two rules disagree: NC4, from 0 to 1. `None` before there are samples.
    #[must_use]
    pub fn disagreement(&self) -> Option<f64> {
        self.tally.part(self.tally.disagreements as f64)
    }

    /// The part of the samples that the network puts in their class. If several classes share the first place, one is
    /// chosen at random. `None` before there are samples.
    #[must_use]
    pub fn accuracy(&self) -> Option<f64> {
        self.tally.part(shared_by_all(&self.tally.correct))
    }

    /// The part of the samples whose nearest class mean is that of their class, under the same rules.
    #[must_use]
    pub fn center_accuracy(&self) -> Option<f64> {
        self.tally.part(shared_by_all(&self.tally.correct_by_center))
    }

    /// [`NearestCenter::accuracy`] over the samples of these classes. `None` before there are any, or if there is no such
    /// class.
    #[must_use]
    pub fn accuracy_of(&self, classes: &[usize]) -> Option<f64> {
        self.part_of(classes, &self.tally.correct)
    }

    /// [`NearestCenter::center_accuracy`] over the samples of these classes.
    #[must_use]
    pub fn center_accuracy_of(&self, classes: &[usize]) -> Option<f64> {
        self.part_of(classes, &self.tally.correct_by_center)
    }

    /// The part of the samples that the network puts in each class, for K classes. Classes that share the first place have
    /// equal parts of a sample. Empty before there are samples.
    #[must_use]
    pub fn decided_parts(&self) -> Vec<f64> {
        let part = |class: usize| self.tally.part(self.tally.decided.get(class).map_or(0.0, |decided| shared(decided)));
        (0..self.shape().1).map_while(part).collect()
    }

    fn part_of(&self, classes: &[usize], correct: &[Vec<u64>]) -> Option<f64> {
        let samples: u64 = classes.iter().filter_map(|&class| self.tally.samples.get(class)).sum();
        let correct: f64 = classes.iter().filter_map(|&class| correct.get(class)).map(|of| shared(of)).sum();
        (samples > 0).then(|| (correct + 0.0) / samples as f64)
    }

    /// What the network decides at the mean of every class, argmax_j (W_{L:1} h̄_k + b)_j; the class itself if it shares
    /// the first place. Cost: 2 K² d operations, K² numbers.
    #[must_use]
    pub fn decisions_at_means(&self) -> Vec<usize> {
        let logits = self.rules.logits_of_means();
        let first = |(class, logits): (usize, ColRef<'_, f64>)| {
            (0..logits.nrows()).fold(class, |best, j| if logits[j] > logits[best] { j } else { best })
        };
        logits.col_iter().enumerate().map(first).collect()
    }
}

/// The disagreement of [`NearestCenter`] at an optimum: a sum of class frequencies. Cost: O(K² rank) operations.
///
/// # Errors
///
/// As [`Optimum::class_means`].
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Ufm, metrics::optimum_disagreement};
///
/// let disagreement = |counts: &str| {
///     let classes = counts.parse::<ClassCounts>()?;
///     optimum_disagreement(&Ufm::new(classes, [Layer::new(8, 0.07)], 0.07)?.optimum()?)
/// };
/// assert_eq!(disagreement("10x3")?, 0.0);
/// // The network takes the samples of the last class for one of the others: 3 of 23.
/// assert_eq!(disagreement("10x2,3")?, 3.0 / 23.0);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
pub fn optimum_disagreement(optimum: &Optimum) -> Result<f64, Error> {
    let counts = optimum.ufm().class_counts().ok_or(Error::NoClassCounts)?.counts();
    let (classifiers, means) = (optimum.classifiers()?, optimum.class_means()?);
    let (bias, origin) = (optimum.bias(), Col::zeros(means.nrows()));
    // Means are not samples near one: nothing is spared.
    let apart = vec![0.0; counts.len()];
    let rules = Rules::new(classifiers.as_ref(), bias.as_ref().map(Col::as_ref), origin, means.clone(), apart);
    let labels: Vec<usize> = (0..counts.len()).collect();
    let logits = rules.logits_of_means();
    let tally = rules.judge(means.as_ref(), logits.as_ref(), &labels, |class| counts[class]);
    Ok(tally.disagreements as f64 / tally.total() as f64)
}

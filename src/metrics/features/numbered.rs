//! Batches with numbers, whose statistics do not depend on who has taken in which of them, nor on the order of merges.

use super::{
    FeatureStatistics,
    accumulators::FeatureAccumulator,
    batch::{Label, Rows},
};
use crate::{
    error::{Block, Error},
    linalg::checks::check_shape,
};

/// Batches have numbers below this: whole numbers that are exact everywhere.
const MOST_BATCHES: u64 = 1 << 53;

/// Gathers [`FeatureStatistics`] from batches that have numbers, of one process or of many: merged results are the same to
/// the last bit for any split of the batches, in any order.
///
/// Sums of floating-point numbers depend on their order. Numbered batches are summed up in the order of one fixed binary
/// tree over their numbers: two neighbors 2i, 2i+1 first, then pairs of pairs. What is kept are the roots of the largest
/// complete subtrees of what has been seen: about log₂(n) statistics for n batches one after another, and up to n for
/// batches far from each other. Numbers need not begin at 0, and may be left out.
///
/// Cost: that of a [`FeatureAccumulator`] for each batch, and of [`FeatureStatistics::merge`], d² K operations with the
/// scatter, for each pair that is joined. Give batches of many samples.
///
/// # Example
///
/// ```
/// use neural_collapse::metrics::NumberedStatistics;
///
/// let batches: Vec<[f32; 2]> = (0..6).map(|i| [0.1 * i as f32, 7.3 - i as f32]).collect();
/// let gather = |numbers: &[u64]| {
///     let mut own = NumberedStatistics::new(1, 2)?;
///     for &number in numbers {
///         own.add_rows(number, &batches[number as usize], &[0, 1])?;
///     }
///     Ok::<_, neural_collapse::Error>(own)
/// };
/// let mut merged = gather(&[4, 0, 3])?;
/// merged.merge(gather(&[5, 1, 2])?)?;
/// assert_eq!(merged.statistics()?, gather(&[0, 1, 2, 3, 4, 5])?.statistics()?);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "super::saved::ReadNumbered"))]
pub struct NumberedStatistics {
    /// Of no batch.
    pub(super) empty: FeatureStatistics,
    /// Disjoint nodes by their start; no two of them are the halves of a larger one.
    pub(super) nodes: Vec<Node>,
}

/// The statistics of the batches `start` to `start + 2^level - 1`.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(super) struct Node {
    pub(super) start: u64,
    pub(super) level: u32,
    pub(super) statistics: FeatureStatistics,
}

impl Node {
    fn end(&self) -> u64 {
        self.start + (1 << self.level)
    }

    /// Whether a number and a level that were read are those of a node.
    #[cfg(feature = "serde")]
    pub(super) fn is_aligned(&self) -> bool {
        self.level < 53 && self.start < MOST_BATCHES && self.start.is_multiple_of(1 << self.level)
    }
}

impl NumberedStatistics {
    /// For features of width d and this number of classes, without the scatter.
    ///
    /// # Errors
    ///
    /// As [`FeatureAccumulator::new`].
    pub fn new(width: usize, classes: usize) -> Result<Self, Error> {
        Ok(Self { empty: FeatureAccumulator::new(width, classes)?.finish(), nodes: Vec::new() })
    }

    /// The same with the scatter within classes, which NC1 needs.
    ///
    /// # Errors
    ///
    /// As [`FeatureAccumulator::new`].
    pub fn with_scatter(width: usize, classes: usize) -> Result<Self, Error> {
        Ok(Self { empty: FeatureAccumulator::with_scatter(width, classes)?.finish(), nodes: Vec::new() })
    }

    /// The width d, and the number of classes.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        self.empty.means.shape()
    }

    /// Whether it gathers the scatter within classes.
    #[must_use]
    pub fn has_scatter(&self) -> bool {
        self.empty.has_scatter()
    }

    /// The samples of every class so far.
    #[must_use]
    pub fn counts(&self) -> Vec<u64> {
        let of = |k: usize| self.nodes.iter().map(|node| node.statistics.counts[k]).sum();
        (0..self.empty.counts.len()).map(of).collect()
    }

    /// An accumulator for a batch that comes in parts: its [`FeatureAccumulator::finish`] is for
    /// [`NumberedStatistics::insert`].
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`].
    pub fn accumulator(&self) -> Result<FeatureAccumulator, Error> {
        let (width, classes) = self.shape();
        if self.has_scatter() {
            FeatureAccumulator::with_scatter(width, classes)
        } else {
            FeatureAccumulator::new(width, classes)
        }
    }

    /// Adds the batch of this number: `features` is B × d, one row for each sample, as [`FeatureAccumulator::add_rows`].
    /// If a batch has an error, none of it is added.
    ///
    /// # Errors
    ///
    /// As [`FeatureAccumulator::add_rows`], [`NumberedStatistics::insert`].
    pub fn add_rows<'a, T: Copy + Into<f64> + Sync + 'a>(
        &mut self,
        batch: u64,
        features: impl Into<Rows<'a, T>>,
        labels: &[impl Label],
    ) -> Result<(), Error> {
        let mut accumulator = self.accumulator()?;
        accumulator.add_rows(features, labels)?;
        self.insert(batch, accumulator.finish())
    }

    /// Adds the statistics of the batch of this number.
    ///
    /// # Errors
    ///
    /// [`Error::BatchNumber`] for a number of 2^53 or more, or one that has been added before; [`Error::Shape`] for
    /// another width or number of classes; [`Error::NoScatter`] if only one of the two has the full scatter.
    pub fn insert(&mut self, batch: u64, statistics: FeatureStatistics) -> Result<(), Error> {
        if batch >= MOST_BATCHES {
            return Err(Error::BatchNumber { batch });
        }
        let node = Node { start: batch, level: 0, statistics };
        self.check(&node)?;
        self.join(node)
    }

    /// Takes in all batches of another one. A merge with an error because of their numbers, widths or classes takes in
    /// nothing.
    ///
    /// # Errors
    ///
    /// As [`NumberedStatistics::insert`].
    pub fn merge(&mut self, other: Self) -> Result<(), Error> {
        self.check_kind(&other.empty)?;
        other.nodes.iter().try_for_each(|node| self.check(node))?;
        other.nodes.into_iter().try_for_each(|node| self.join(node))
    }

    /// The statistics of all batches, summed up by their numbers.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`].
    pub fn statistics(&self) -> Result<FeatureStatistics, Error> {
        let Some((first, rest)) = self.nodes.split_first() else { return Ok(self.empty.clone()) };
        rest.iter().try_fold(first.statistics.clone(), |all, node| all.merge(&node.statistics))
    }

    fn check_kind(&self, statistics: &FeatureStatistics) -> Result<(), Error> {
        check_shape(Block::Features, self.empty.means.shape(), statistics.means.shape())?;
        let is_full = statistics.full_scatter().is_some();
        if is_full == self.has_scatter() { Ok(()) } else { Err(Error::NoScatter) }
    }

    /// Whether a node is of the same kind, and none of its batches has been added.
    pub(super) fn check(&self, new: &Node) -> Result<(), Error> {
        self.check_kind(&new.statistics)?;
        match self.nodes.iter().find(|node| node.start < new.end() && new.start < node.end()) {
            None => Ok(()),
            Some(node) => Err(Error::BatchNumber { batch: node.start.max(new.start) }),
        }
    }

    /// Adds a node, and joins halves as long as there are two.
    pub(super) fn join(&mut self, mut node: Node) -> Result<(), Error> {
        loop {
            let sibling = node.start ^ (1 << node.level);
            let place = self.nodes.partition_point(|other| other.start < sibling);
            let found = self.nodes.get(place).is_some_and(|other| other.start == sibling && other.level == node.level);
            if !found {
                let place = self.nodes.partition_point(|other| other.start < node.start);
                self.nodes.insert(place, node);
                return Ok(());
            }
            let other = self.nodes.remove(place);
            let (left, right) = if other.start < node.start { (other, node) } else { (node, other) };
            let statistics = left.statistics.merge(&right.statistics)?;
            node = Node { start: left.start, level: left.level + 1, statistics };
        }
    }
}

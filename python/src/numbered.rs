//! Batches with numbers, whose statistics do not depend on who has taken in which of them, nor on the order of merges.
//!
//! Sums of floating-point numbers depend on their order. Numbered batches are summed up in the order of one fixed binary
//! tree over their numbers: two neighbors 2i, 2i+1 first, then pairs of pairs. An accumulator holds the roots of the
//! largest complete subtrees of what it has seen: about log2(n) of them for n batches one after another.

use neural_collapse::{
    Error,
    metrics::{FeatureAccumulator, FeatureStatistics},
};
use serde::{Deserialize, Serialize};

/// The statistics of the batches `start` to `start + 2^level - 1`.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Node {
    start: u64,
    level: u32,
    statistics: FeatureStatistics,
}

/// Disjoint nodes by their start; no two of them are the halves of a larger one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Numbered {
    nodes: Vec<Node>,
}

/// Batches have numbers below this.
pub(crate) const MOST_BATCHES: u64 = 1 << 53;

impl Node {
    fn end(&self) -> u64 {
        self.start + (1 << self.level)
    }
}

impl Numbered {
    /// Takes in the batch of this number.
    pub(crate) fn add(&mut self, batch: u64, statistics: FeatureStatistics) -> Result<(), String> {
        if batch >= MOST_BATCHES {
            return Err(format!("batch: {batch} given, numbers below 2^53 are accepted"));
        }
        let node = Node { start: batch, level: 0, statistics };
        self.check_apart(&node)?;
        self.insert(node).map_err(|error| error.to_string())
    }

    /// Takes in all batches of another one, or none.
    pub(crate) fn merge(&mut self, other: Self) -> Result<(), String> {
        other.nodes.iter().try_for_each(|node| self.check_apart(node))?;
        other.nodes.into_iter().try_for_each(|node| self.insert(node)).map_err(|error| error.to_string())
    }

    /// Whether nodes that were read are what this module writes.
    pub(crate) fn checked(self) -> Result<Self, String> {
        let mut checked = Self::default();
        for node in self.nodes {
            let is_aligned = node.level < 53 && node.start < MOST_BATCHES && node.start % (1 << node.level) == 0;
            if !is_aligned {
                return Err(format!("accumulator: a node of batches at {} with level {}", node.start, node.level));
            }
            checked.check_apart(&node)?;
            checked.insert(node).map_err(|error| error.to_string())?;
        }
        Ok(checked)
    }

    /// The statistics of all batches, by their numbers.
    pub(crate) fn statistics(&self, width: usize, classes: usize, scatter: bool) -> Result<FeatureStatistics, Error> {
        let empty = || {
            if scatter {
                FeatureAccumulator::with_scatter(width, classes)
            } else {
                FeatureAccumulator::new(width, classes)
            }
        };
        let Some((first, rest)) = self.nodes.split_first() else { return empty().map(FeatureAccumulator::finish) };
        rest.iter().try_fold(first.statistics.clone(), |all, node| all.merge(&node.statistics))
    }

    fn check_apart(&self, new: &Node) -> Result<(), String> {
        match self.nodes.iter().find(|node| node.start < new.end() && new.start < node.end()) {
            None => Ok(()),
            Some(node) => {
                let batch = node.start.max(new.start);
                Err(format!("batch {batch}: it has been taken in before, each number is accepted once"))
            }
        }
    }

    /// Adds a node, and joins halves as long as there are two.
    fn insert(&mut self, mut node: Node) -> Result<(), Error> {
        loop {
            let sibling = node.start ^ (1 << node.level);
            let place = self.nodes.partition_point(|other| other.start < node.start.min(sibling));
            let found = self.nodes.get(place).is_some_and(|other| other.start == sibling && other.level == node.level);
            if !found {
                let place = self.nodes.partition_point(|other| other.start < node.start);
                self.nodes.insert(place, node);
                return Ok(());
            }
            let other = self.nodes.remove(place);
            let (left, right) = if other.start < node.start { (other, node) } else { (node, other) };
            node = Node {
                start: left.start,
                level: left.level + 1,
                statistics: left.statistics.merge(&right.statistics)?,
            };
        }
    }
}

//! The singular vectors between groups, entry by entry, to twice the precision where the theory needs it.

use super::{LabelSpectrum, Vectors};
use crate::linalg::error_free::{rounding_of_product, rounding_of_sum};

impl LabelSpectrum {
    /// The vectors of the levels between groups that are not zero, by falling level.
    pub(crate) fn between(&self) -> impl Iterator<Item = Between> {
        self.levels.iter().filter_map(|solved| match solved.vectors {
            Vectors::Secular { root, norm } => {
                let origin = self.poles[root.origin];
                // As in `entries`: the left norm is σ times the right one.
                let left = (norm * (origin + root.offset).sqrt()).recip();
                Some(Between { origin, offset: root.offset, left, right: norm.recip() })
            }
            _ => None,
        })
    }
}

/// The singular vectors of a level between groups, entry by entry: at a class of n samples the left one is n/(n - x)
/// times `left`, and the right one √n/(n - x) times `right`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Between {
    /// x = origin + offset, where origin is a whole number.
    origin: f64,
    offset: f64,
    pub(crate) left: f64,
    pub(crate) right: f64,
}

impl Between {
    /// n - x, and what its rounding has lost.
    pub(crate) fn distance(&self, count: f64) -> (f64, f64) {
        let difference = count - self.origin;
        let distance = difference - self.offset;
        (distance, rounding_of_sum(difference, -self.offset, distance))
    }

    /// 1/(n - x) as a number and the small rest that makes it twice as precise.
    pub(crate) fn inverse_distance(&self, count: f64) -> (f64, f64) {
        let (distance, lost) = self.distance(count);
        let inverse = 1.0 / distance;
        let product = inverse * distance;
        let residual = (1.0 - product) - rounding_of_product(inverse, distance, product) - inverse * lost;
        (inverse, inverse * residual)
    }
}

//! The nearest class of a class: questions about all pairs of groups.
//!
//! With a_j = w_j² (and the square of the norm of the vector) the part of an inner product that the directions between
//! groups give is a difference of two numbers, one for each group, since
//!
//! ```text
//! 1/((c_r - x)(c_t - x))  =  (1/(c_t - x) - 1/(c_r - x)) / (c_r - c_t)
//! Σ_j a_j/((c_r - x_j)(c_t - x_j))  =  (F_t - F_r)/(c_r - c_t),      F_r = Σ_j a_j/(c_r - x_j)
//! ```
//!
//! so that all F take O(R²) operations, and then every angle O(1). F has twice the precision: differences between
//! neighboring counts cancel, and so do 1 and the cosine of a small angle.

use qd::Quad;

use super::{
    Geometry, Gram,
    frame::{Frame, LongSum, Values},
};
use crate::{
    linalg::{cores::map_range, error_free::rounding_of_product},
    theory::spectrum::Side,
};

/// The nearest of all other classes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Nearest {
    /// The class: the first of its group, other than the class in question.
    pub class: usize,
    /// The cosine of the angle between the two.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub cosine: f64,
    /// The angle between the two, in radians.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub angle: f64,
}

/// Cosines that differ by less than this are compared once more with twice the precision: four roundings, and their
/// sum.
const COSINE_ROUNDING: f64 = 8.0 * f64::EPSILON;

/// The rounding of a sum to twice the precision, a thousand times the square of an epsilon: of a thousand terms.
const LONG_ROUNDING: f64 = 1000.0 * f64::EPSILON * f64::EPSILON;

/// For every group, what its angles to all other groups follow from.
#[derive(Clone, Debug)]
pub(super) struct Neighbors {
    counts: Vec<f64>,
    /// F_r.
    sums: Vec<Quad>,
    /// The inverse of the norm of the classes, 0 for classes that are zero; the left side divided by their count.
    inverse_norms: Vec<Quad>,
    /// 1 minus the cosine of two classes of the group.
    pub(super) gaps_within: Vec<f64>,
}

impl Neighbors {
    fn new(frame: &Frame, side: Side, values: &Values) -> Self {
        let squares = frame.vectors.iter().zip(&values.between).map(|(vector, value)| {
            let scale = match side {
                Side::Left => vector.left,
                Side::Right => vector.right,
            };
            value * scale * scale
        });
        let squares: Vec<f64> = squares.collect();
        let groups = map_range(frame.counts.len(), 8, |r| {
            let count = frame.counts[r];
            let (sum, mut square) = sums(frame, &squares, count);
            let factor = match side {
                Side::Left => count * count,
                Side::Right => 1.0,
            };
            let own = values.within[r] / factor;
            square.add(own * frame.contrast(r, true));
            let square = square.quad();
            let inverse = if square.0 > 0.0 { Quad::ONE / square.sqrt() } else { Quad::ZERO };
            (sum.quad(), inverse, if own > 0.0 { own / square.0 } else { 0.0 })
        });
        let mut neighbors =
            Self { counts: frame.counts.clone(), sums: vec![], inverse_norms: vec![], gaps_within: vec![] };
        for (sum, inverse, gap) in groups {
            neighbors.sums.push(sum);
            neighbors.inverse_norms.push(inverse);
            neighbors.gaps_within.push(gap);
        }
        neighbors
    }

    pub(super) fn is_zero(&self, r: usize) -> bool {
        self.inverse_norms[r].0 == 0.0
    }

    /// The cosine of two classes of different groups, to [`COSINE_ROUNDING`].
    fn cosine(&self, r: usize, t: usize) -> f64 {
        let difference = (self.sums[t] - self.sums[r]).0 / (self.counts[r] - self.counts[t]);
        difference * self.inverse_norms[r].0 * self.inverse_norms[t].0
    }

    /// Σ_j a_j/((c_r - x_j)(c_t - x_j)) of different groups: their inner product, on the left side divided by both
    /// counts.
    pub(super) fn difference(&self, r: usize, t: usize) -> Quad {
        (self.sums[t] - self.sums[r]) / Quad::from(self.counts[r] - self.counts[t])
    }

    /// The cosine, to about the square of an epsilon.
    fn long_cosine(&self, r: usize, t: usize) -> Quad {
        self.difference(r, t) * (self.inverse_norms[r] * self.inverse_norms[t])
    }

    /// 1 minus the cosine, to about the square of an epsilon.
    fn gap(&self, r: usize, t: usize) -> f64 {
        (Quad::ONE - self.long_cosine(r, t)).0.max(0.0)
    }

    /// The angle between classes of different groups, whose norms are not zero, to an epsilon; `None` if it is too close
    /// to 0 or to π for that: the angle of 10¹⁰ and 10¹⁰ + 1 samples, 3e-11, would have lost two digits.
    pub(super) fn angle(&self, r: usize, t: usize) -> Option<f64> {
        let cosine = self.long_cosine(r, t);
        let [apart, together] = [Quad::ONE - cosine, Quad::ONE + cosine].map(|square| square.0.max(0.0).sqrt());
        // The difference of the two sums can cancel, and rounding is relative to them.
        let sums = (self.sums[r].0.abs() + self.sums[t].0.abs()) / (self.counts[r] - self.counts[t]).abs();
        let size = 1.0 + sums * self.inverse_norms[r].0 * self.inverse_norms[t].0;
        let is_exact = LONG_ROUNDING * size <= f64::EPSILON * apart * together;
        is_exact.then(|| 2.0 * apart.atan2(together))
    }

    /// The group other than `r` whose classes are nearest to those of group `r`, the first of equals, with 1 minus the
    /// cosine. Cost: O(R).
    fn nearest(&self, r: usize) -> Option<(usize, f64)> {
        let others = || (0..self.counts.len()).filter(|&t| t != r && !self.is_zero(t));
        let largest = others().map(|t| self.cosine(r, t)).fold(f64::NEG_INFINITY, f64::max);
        let close = others().filter(|&t| self.cosine(r, t) >= largest - COSINE_ROUNDING);
        close.map(|t| (t, self.gap(r, t))).reduce(|best, other| if other.1 < best.1 { other } else { best })
    }

    /// Whether classes of different groups have cosines of at least 1 - `gap`.
    pub(super) fn is_within(&self, r: usize, t: usize, gap: f64) -> bool {
        let rough = 1.0 - self.cosine(r, t) - gap;
        if rough.abs() > COSINE_ROUNDING { rough < 0.0 } else { self.gap(r, t) <= gap }
    }
}

/// F_r and Σ_j a_j/(c_r - x_j)² at a count, to twice the precision.
fn sums(frame: &Frame, squares: &[f64], count: f64) -> (LongSum, LongSum) {
    let (mut first, mut second) = (LongSum::default(), LongSum::default());
    for (&a, vector) in squares.iter().zip(&frame.vectors) {
        let (inverse, low) = vector.inverse_distance(count);
        let square = inverse * inverse;
        let square_low = rounding_of_product(inverse, inverse, square) + 2.0 * inverse * low;
        first.add_product(a, inverse, low);
        second.add_product(a, square, square_low);
    }
    (first, second)
}

impl Gram {
    pub(super) fn neighbors(&self) -> &Neighbors {
        // Computed before the cell is locked: a thread that waits for others while it holds the lock could wait for
        // itself.
        self.neighbors.get().unwrap_or_else(|| {
            let neighbors = Neighbors::new(&self.frame, self.side, &self.values);
            self.neighbors.get_or_init(|| neighbors)
        })
    }

    /// The class, of all others, whose vector has the smallest angle to that of class `k`. If several have the same
    /// angle, it is the first by falling count, but classes of the same count come before others. `None` if the vector
    /// of class `k` or those of all others are zero, or if a tie makes any norm ambiguous.
    ///
    /// Cost: O(R²) for the first question of this kind, then O(R) each. Cosines are compared to about twice the
    /// precision.
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn nearest(&self, k: usize) -> Option<Nearest> {
        let (r, _) = self.frame.groups(k, k);
        if self.open.any() {
            return None;
        }
        let class = self.nearest_group(r).map(|(t, _)| {
            let classes = self.frame.classes.group(t).classes;
            if classes[0] == k { classes[1] } else { classes[0] }
        })?;
        Some(Nearest { class, cosine: self.cosine(k, class)?, angle: self.angle(k, class)? })
    }

    /// The group that the nearest class belongs to, with 1 minus the cosine.
    pub(super) fn nearest_group(&self, r: usize) -> Option<(usize, f64)> {
        let neighbors = self.neighbors();
        if neighbors.is_zero(r) {
            return None;
        }
        let own = (self.frame.classes.group(r).multiplicity() > 1).then(|| (r, neighbors.gaps_within[r]));
        own.into_iter().chain(neighbors.nearest(r)).reduce(|best, other| if other.1 < best.1 { other } else { best })
    }
}

impl Geometry {
    /// The class whose classifier has the smallest angle to that of class `k`: [`Gram::nearest`] of
    /// [`Geometry::classifiers`].
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
    #[must_use]
    pub fn nearest(&self, k: usize) -> Option<Nearest> {
        self.classifiers().nearest(k)
    }
}

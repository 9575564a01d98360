//! Which class is nearest, and which classes have come to share a classifier: questions about all pairs of groups.
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
    super::{label_spectrum::Side, secular::rounding_of_product},
    Geometry, Gram,
    frame::{Frame, LongSum, Values},
};
use crate::{cores::map_range, error::Error};

/// The nearest of all other classes.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Nearest {
    /// The class: of those of its group the first, but for the class that is asked about.
    pub class: usize,
    /// The cosine of the angle between the two.
    pub cosine: f64,
    /// The angle between the two, in radians.
    pub angle: f64,
}

/// What has become of the classifier of one class, measured against those of all other classes, whatever their counts.
///
/// [`GroupFate`](crate::theory::minimizer::GroupFate) tells of the classes of one count among themselves: a class that
/// is the only one of its count is [`Single`](crate::theory::minimizer::GroupFate::Single) at every decay, although its
/// classifier can come as close to its neighbors' as makes no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ClassFate {
    /// Farther than the given angle from every other classifier.
    Apart,
    /// Within the given angle of another classifier.
    Merged,
    /// Zero.
    Vanished,
    /// Not the same for all minimizers.
    Ambiguous,
}

/// Cosines that differ by less than this are compared once more with twice the precision: four roundings, and their sum.
const COSINE_ROUNDING: f64 = 8.0 * f64::EPSILON;

/// Angles are compared with a limit to within this: far above their rounding, and far below what can be measured.
const ANGLE_ROUNDING: f64 = 64.0 * f64::EPSILON;

/// For every group, what its angles to all other groups follow from.
#[derive(Clone, Debug)]
pub(super) struct Neighbors {
    counts: Vec<f64>,
    /// F_r.
    sums: Vec<Quad>,
    /// The inverse of the norm of the classes, 0 for classes that are zero; the left side divided by their count.
    inverse_norms: Vec<Quad>,
    /// 1 less the cosine of two classes of the group.
    gaps_within: Vec<f64>,
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

    fn is_zero(&self, r: usize) -> bool {
        self.inverse_norms[r].0 == 0.0
    }

    /// The cosine of two classes of different groups, to [`COSINE_ROUNDING`].
    fn cosine(&self, r: usize, t: usize) -> f64 {
        let difference = (self.sums[t] - self.sums[r]).0 / (self.counts[r] - self.counts[t]);
        difference * self.inverse_norms[r].0 * self.inverse_norms[t].0
    }

    /// 1 less the cosine, to about the square of an epsilon.
    fn gap(&self, r: usize, t: usize) -> f64 {
        let inverse = self.inverse_norms[r] * self.inverse_norms[t];
        let difference = (self.sums[t] - self.sums[r]) / Quad::from(self.counts[r] - self.counts[t]);
        (Quad::ONE - difference * inverse).0.max(0.0)
    }

    /// The group other than `r` whose classes are nearest to those of group `r`, the first of equals, with 1 less the
    /// cosine. Cost: O(R).
    fn nearest(&self, r: usize) -> Option<(usize, f64)> {
        let others = || (0..self.counts.len()).filter(|&t| t != r && !self.is_zero(t));
        let largest = others().map(|t| self.cosine(r, t)).fold(f64::NEG_INFINITY, f64::max);
        let close = others().filter(|&t| self.cosine(r, t) >= largest - COSINE_ROUNDING);
        close.map(|t| (t, self.gap(r, t))).reduce(|best, other| if other.1 < best.1 { other } else { best })
    }

    /// Whether classes of different groups have cosines of at least 1 - `gap`.
    fn is_within(&self, r: usize, t: usize, gap: f64) -> bool {
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
    fn neighbors(&self) -> &Neighbors {
        // Made before the cell is touched: who waits for other threads with it in hand could wait for himself.
        self.neighbors.get().unwrap_or_else(|| {
            let neighbors = Neighbors::new(&self.frame, self.side, &self.values);
            self.neighbors.get_or_init(|| neighbors)
        })
    }

    /// The class, of all others, whose vector has the smallest angle to that of class `k`; of several the first by
    /// falling count, but classes of the same count before others. `None` if that of class `k` is zero, or all others
    /// are, and if a tie leaves any norm open.
    ///
    /// Cost: O(R²) for the first question of this kind, then O(R) each. Which of two classes is nearer is decided by the
    /// cosines to about twice the precision.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
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

    /// The group that the nearest class belongs to, with 1 less the cosine.
    fn nearest_group(&self, r: usize) -> Option<(usize, f64)> {
        let neighbors = self.neighbors();
        if neighbors.is_zero(r) {
            return None;
        }
        let own = (self.frame.classes.group(r).multiplicity() > 1).then(|| (r, neighbors.gaps_within[r]));
        own.into_iter()
            .chain(neighbors.nearest(r))
            .reduce(|best, other| if other.1 < best.1 { other } else { best })
    }

    /// What has become of class `k`, within an angle in radians.
    ///
    /// Cost: as [`Gram::nearest`].
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless the angle is from 0 to π.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    pub fn fate(&self, k: usize, angle: f64) -> Result<ClassFate, Error> {
        let gap = largest_gap(angle)?;
        let (r, _) = self.frame.groups(k, k);
        Ok(if self.norm(k) == Some(0.0) {
            ClassFate::Vanished
        } else if self.open.any() {
            ClassFate::Ambiguous
        } else if self.nearest_group(r).is_some_and(|(_, nearest)| nearest <= gap) {
            ClassFate::Merged
        } else {
            ClassFate::Apart
        })
    }

    /// The classes in clusters: two are in the same one if a chain of classes leads from one to the other, in which
    /// neighbors are within `angle` (in radians) of each other. This is single linkage, cut at the angle; the ends of
    /// a chain may be farther apart than the angle.
    ///
    /// Every class whose vector is not zero is in one cluster, alone if no other is near. Clusters, and classes in
    /// them, are in the order of falling count, equal counts in the order of the classes. `None` if a tie leaves any
    /// norm open. Angles are compared to within 64 epsilons.
    ///
    /// Cost: O(R² + K) operations, O(R + K) numbers.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless the angle is from 0 to π.
    ///
    /// # Example
    ///
    /// Ten small classes, all of different counts, share one direction to within a degree:
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, Layer, Ufm};
    ///
    /// let counts: Vec<u64> = [1000, 900, 800].into_iter().chain(11..=20).collect();
    /// let ufm = Ufm::biased(ClassCounts::new(counts)?, [Layer::new(64, 5e-3)], 5e-3)?;
    /// let geometry = ufm.minimizer()?.geometry()?;
    /// let clusters = geometry.classifiers().clusters(1_f64.to_radians())?.unwrap();
    /// let sizes: Vec<_> = clusters.iter().map(Vec::len).collect();
    /// assert_eq!(sizes, [1, 1, 1, 10]);
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn clusters(&self, angle: f64) -> Result<Option<Vec<Vec<usize>>>, Error> {
        let gap = largest_gap(angle)?;
        if self.open.any() {
            return Ok(None);
        }
        let (neighbors, groups) = (self.neighbors(), self.frame.counts.len());
        let roots = components(groups, |r, t| {
            !neighbors.is_zero(r) && !neighbors.is_zero(t) && neighbors.is_within(r, t, gap)
        });
        let mut sizes = vec![0; groups];
        roots.iter().for_each(|&root| sizes[root] += 1);
        let mut clusters: Vec<Vec<usize>> = Vec::new();
        let mut cluster_of = vec![None; groups];
        for (r, group) in self.frame.classes.groups().enumerate().filter(|(r, _)| !neighbors.is_zero(*r)) {
            // Classes of one count are alike: near to one class of another count, they are near to each other by way
            // of it.
            if sizes[roots[r]] == 1 && neighbors.gaps_within[r] > gap {
                clusters.extend(group.classes.iter().map(|&class| vec![class]));
                continue;
            }
            let cluster = *cluster_of[roots[r]].get_or_insert_with(|| {
                clusters.push(Vec::new());
                clusters.len() - 1
            });
            clusters[cluster].extend(group.classes);
        }
        Ok(Some(clusters))
    }
}

/// 1 less the cosine of an angle that may be a few roundings larger.
fn largest_gap(angle: f64) -> Result<f64, Error> {
    if !(0.0..=std::f64::consts::PI).contains(&angle) {
        return Err(Error::Domain { argument: "angle", value: angle, accepted: "0 to pi, in radians" });
    }
    let half = (0.5 * (angle + ANGLE_ROUNDING)).min(std::f64::consts::FRAC_PI_2).sin();
    Ok(2.0 * half * half)
}

/// The connected components of 0 .. n-1: for every one the least number of its component.
fn components(n: usize, is_linked: impl Fn(usize, usize) -> bool) -> Vec<usize> {
    let mut parents: Vec<usize> = (0..n).collect();
    let root = |parents: &mut [usize], mut i: usize| {
        while parents[i] != i {
            parents[i] = parents[parents[i]];
            i = parents[i];
        }
        i
    };
    for i in 0..n {
        for j in i + 1..n {
            let (first, second) = (root(&mut parents, i), root(&mut parents, j));
            if first != second && is_linked(i, j) {
                parents[first.max(second)] = first.min(second);
            }
        }
    }
    (0..n).map(|i| root(&mut parents, i)).collect()
}

impl Geometry {
    /// The class whose classifier has the smallest angle to that of class `k`: [`Gram::nearest`] of
    /// [`Geometry::classifiers`].
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    #[must_use]
    pub fn nearest(&self, k: usize) -> Option<Nearest> {
        self.classifiers().nearest(k)
    }

    /// What has become of class `k`, its classifier compared with all others within an angle in radians:
    /// [`Gram::fate`] of [`Geometry::classifiers`].
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless the angle is from 0 to π.
    ///
    /// # Panics
    ///
    /// Where there is no such class.
    pub fn fate(&self, k: usize, angle: f64) -> Result<ClassFate, Error> {
        self.classifiers().fate(k, angle)
    }
}

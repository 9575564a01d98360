//! Classes that have come together: by their angles, for any counts.

use super::{Geometry, Gram};
use crate::{error::Error, names::named};

/// The fate of the classifier of one class, compared with those of all other classes, for any counts.
///
/// [`GroupFate`](crate::theory::GroupFate) compares only classes of one count. A class that is the only one of its
/// count is [`Single`](crate::theory::GroupFate::Single) at every decay, although its classifier can be almost equal to
/// that of a neighbor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
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

named!(
    ClassFate, "fate of a class":
    Apart = "apart", Merged = "merged", Vanished = "vanished", Ambiguous = "ambiguous",
);

/// The tolerance for comparing angles with a limit: far above their rounding, and far below what can be measured.
const ANGLE_ROUNDING: f64 = 64.0 * f64::EPSILON;

impl Gram {
    /// The fate of class `k`, within an angle in radians.
    ///
    /// Cost: as [`Gram::nearest`].
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless the angle is from 0 to π.
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
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

    /// The clusters of classes: two classes are in the same cluster if a chain of classes connects them in which
    /// neighbors are within `angle` (in radians) of each other. This is single linkage, cut at the angle; the ends of a
    /// chain may be farther apart than the angle.
    ///
    /// Every class whose vector is not zero is in one cluster, alone if no other is near. Clusters, and classes in
    /// them, are in the order of falling count, equal counts in the order of the classes. `None` if a tie makes any
    /// norm ambiguous. Angles are compared to within 64 epsilons.
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
    /// let ufm = Ufm::new(ClassCounts::new(counts)?, [Layer::new(64, 5e-3)], 5e-3)?;
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
        let roots =
            components(groups, |r, t| !neighbors.is_zero(r) && !neighbors.is_zero(t) && neighbors.is_within(r, t, gap));
        let mut sizes = vec![0; groups];
        for &root in &roots {
            sizes[root] += 1;
        }
        let mut clusters: Vec<Vec<usize>> = Vec::new();
        let mut cluster_of = vec![None; groups];
        for (r, group) in self.frame.classes.groups().enumerate().filter(|(r, _)| !neighbors.is_zero(*r)) {
            // Classes of one count have equal angles: if they are near to a class of another count, it connects them.
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

/// 1 minus the cosine of an angle that may be a few roundings larger.
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
    /// The fate of class `k`, its classifier compared with all others within an angle in radians: [`Gram::fate`] of
    /// [`Geometry::classifiers`].
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless the angle is from 0 to π.
    ///
    /// # Panics
    ///
    /// If a class is not below the number of classes.
    pub fn fate(&self, k: usize, angle: f64) -> Result<ClassFate, Error> {
        self.classifiers().fate(k, angle)
    }
}

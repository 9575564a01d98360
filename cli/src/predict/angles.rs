//! Angles between the classifiers of a certified minimizer, group by group.

use neural_collapse::{
    Error,
    theory::{Certified, CertifiedGeometry, GroupFate},
};
use serde_json::{Value, json};

/// Far above the rounding of angles, and far below what can be measured.
const ROUNDING: f64 = 64.0 * f64::EPSILON;

/// Angles, and the largest of them, in degrees, within which classifiers count as one.
pub(super) struct Angles<'a> {
    minimizer: &'a Certified,
    geometry: CertifiedGeometry,
    limit: f64,
}

impl<'a> Angles<'a> {
    pub(super) fn new(minimizer: &'a Certified, limit: f64) -> Result<Self, Error> {
        Ok(Self { minimizer, geometry: minimizer.geometry()?, limit })
    }

    /// The angle in degrees between two classes of groups `r` and `t`; `None` if one is zero, or there are no two.
    fn between(&self, r: usize, t: usize) -> Option<f64> {
        let groups = self.minimizer.groups();
        if [r, t].iter().any(|&r| groups[r].fate == GroupFate::Vanished) {
            return None;
        }
        let other = if r == t { *groups[r].classes.get(1)? } else { groups[t].classes[0] };
        if r == t && groups[r].fate == GroupFate::Coincident {
            return Some(0.0);
        }
        Some(self.geometry.classifiers().cosine(groups[r].classes[0], other)?.acos().to_degrees())
    }

    /// The nearest classifier to that of the first class of group `r`: its class, its count, and the angle.
    pub(super) fn nearest(&self, r: usize) -> Option<(usize, u64, f64)> {
        let groups = self.minimizer.groups();
        let angles = (0..groups.len()).filter_map(|t| Some((t, self.between(r, t)?)));
        let (t, angle) = angles.min_by(|one, other| one.1.total_cmp(&other.1))?;
        Some((groups[t].classes[usize::from(t == r)], groups[t].count, angle))
    }

    pub(super) fn is_within(&self, angle: f64) -> bool {
        angle <= self.limit * (1.0 + ROUNDING)
    }

    /// One object for each cluster of two classes and more: chains of classes, each within the limit of the next.
    pub(super) fn clusters_as_json(&self) -> Vec<Value> {
        let groups = self.minimizer.groups();
        let mut left: Vec<usize> = (0..groups.len()).collect();
        let mut clusters = Vec::new();
        while let Some(&first) = left.first() {
            let (mut cluster, mut seen) = (vec![first], 0);
            left.remove(0);
            while let Some(&r) = cluster.get(seen) {
                seen += 1;
                let is_near = |t: usize| self.between(r, t).is_some_and(|angle| self.is_within(angle));
                let (near, far) = left.iter().partition(|&&t| is_near(t));
                cluster.extend::<Vec<usize>>(near);
                left = far;
            }
            // Classes of a group that is near another are connected by it.
            let is_one = cluster.len() > 1 || self.between(first, first).is_some_and(|angle| self.is_within(angle));
            cluster.sort_unstable();
            let mut counts: Vec<u64> = cluster.iter().map(|&r| groups[r].count).collect();
            counts.dedup();
            let classes: usize = cluster.iter().map(|&r| groups[r].multiplicity()).sum();
            if is_one {
                clusters.push(json!({ "classes": classes, "counts": counts }));
            }
        }
        clusters
    }
}

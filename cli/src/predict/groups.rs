//! What becomes of the classes of one count: a row of the table, an object of the JSON.

use neural_collapse::{
    ClassCounts, Error, Group,
    theory::{ClassFate, Direction, Fate, Geometry, GroupFate, Limit, Minimizer},
};
use serde_json::{Value, json};

use super::report::{GroupReport, degrees};
use crate::shared::numbers::short;

pub(crate) const HEADING: &str = " classes    samples        norm  nearest angle  classifiers";

/// The groups of a minimizer, and the angle in degrees within which classifiers count as one.
pub(crate) struct Groups<'a> {
    minimizer: &'a Minimizer,
    classes: &'a ClassCounts,
    geometry: Geometry,
    fates: Vec<GroupFate>,
    angle: f64,
    /// Clusters of two classes and more, where no tie leaves them open.
    clusters: Option<Vec<Vec<usize>>>,
}

impl<'a> Groups<'a> {
    pub(crate) fn new(minimizer: &'a Minimizer, angle: f64) -> Result<Self, Error> {
        let classes = minimizer.ufm().class_counts().ok_or(Error::NoClassCounts)?;
        let (geometry, fates) = (minimizer.geometry()?, minimizer.group_fates()?);
        let mut clusters = geometry.classifiers().clusters(angle.to_radians())?;
        if let Some(clusters) = &mut clusters {
            clusters.retain(|cluster| cluster.len() > 1);
        }
        Ok(Self { minimizer, classes, geometry, fates, angle, clusters })
    }

    fn fate(&self, group: Group<'_>) -> Result<ClassFate, Error> {
        self.geometry.fate(group.classes[0], self.angle.to_radians())
    }

    /// The row of the table for group `r`.
    pub(crate) fn row(&self, r: usize) -> Result<String, Error> {
        let group = self.classes.group(r);
        let class = group.classes[0];
        let norm = self.geometry.classifiers().norm(class).map_or("open".into(), short);
        let angle = match self.geometry.nearest(class) {
            Some(nearest) => degrees(nearest.angle.to_degrees()),
            None if self.minimizer.is_unique() => "none".into(),
            None => "open".into(),
        };
        let own = matches!(self.fates[r], GroupFate::Distinct | GroupFate::Single);
        let is_merged = own && self.fate(group)? == ClassFate::Merged;
        let merged = if is_merged { format!(", within {}° of another", self.angle) } else { String::new() };
        let fate = self.words(r) + &merged;
        Ok(format!("{:>8}  {:>9}  {norm:>10}  {angle:>13}  {fate}", group.multiplicity(), group.count))
    }

    fn words(&self, r: usize) -> String {
        // What has taken what tells the classes of the group apart: the width or the decay.
        let is_cut = |direction: &Direction| direction.group == Some(r) && direction.fate == Fate::Cut;
        let why = if self.minimizer.directions().iter().any(is_cut) { "cut by the width" } else { "minority collapse" };
        let others = self.fates.iter().any(|fate| matches!(fate, GroupFate::Distinct | GroupFate::Single));
        match self.fates[r] {
            GroupFate::Single => "one, with no other of its count".into(),
            GroupFate::Distinct => "each its own".into(),
            GroupFate::Coincident => format!("one for all ({why})"),
            GroupFate::Vanished if others => format!("zero ({why})"),
            GroupFate::Vanished => "zero".into(),
            _ => "a tie leaves open which have one of their own".into(),
        }
    }

    /// Which classifiers are within the angle of each other, in a line.
    pub(crate) fn merged(&self) -> String {
        let angle = self.angle;
        let Some(clusters) = &self.clusters else {
            return format!("a tie leaves open which classifiers are within {angle}° of each other");
        };
        if clusters.is_empty() {
            return format!("no two classifiers are within {angle}° of each other");
        }
        let text = |cluster: &Vec<usize>| {
            let counts = self.counts(cluster);
            match counts[..] {
                [count] => format!("{} classes of {count} samples", cluster.len()),
                _ => format!("{} classes of {} to {} samples", cluster.len(), counts[0], counts[counts.len() - 1]),
            }
        };
        let shown: Vec<_> = clusters.iter().take(3).map(text).collect();
        let more = clusters.len().saturating_sub(3);
        let more = if more > 0 { format!("; {more} more, with --json") } else { String::new() };
        format!("classifiers in chains of steps within {angle}°: {}{more}", shown.join("; "))
    }

    /// The distinct counts of a cluster, falling.
    fn counts(&self, cluster: &[usize]) -> Vec<u64> {
        let mut counts: Vec<u64> = cluster.iter().map(|&class| self.classes.counts()[class]).collect();
        counts.dedup();
        counts
    }

    pub(crate) fn len(&self) -> usize {
        self.fates.len()
    }

    /// One object a group.
    pub(crate) fn as_json(&self) -> Result<Vec<Value>, Error> {
        let bias = self.minimizer.bias();
        let object = |(r, group): (usize, Group<'_>)| {
            let class = group.classes[0];
            // W h + b, for a sample of this class.
            let output = |k: usize| Some(self.geometry.logit(k, class)? + bias.as_ref().map_or(0.0, |bias| bias[k]));
            let coincidence = match self.minimizer.coincidence_scale(r)? {
                Limit::Never => Some(0.0),
                limit => limit.value(),
            };
            let report = GroupReport {
                count: group.count,
                classes: group.multiplicity(),
                first_class: class,
                weight: 1.0,
                fate: self.fates[r],
                is_merged: match self.fate(group)? {
                    ClassFate::Merged => Some(true),
                    ClassFate::Ambiguous => None,
                    _ => Some(false),
                },
                probability_own: output(class),
                probability_sibling: group.classes.get(1).and_then(|&sibling| output(sibling)),
                classifier_norm: self.geometry.classifiers().norm(class),
                mean_norm: self.geometry.class_means().norm(class),
                bias: bias.as_ref().map(|bias| bias[class]),
                nearest: self
                    .geometry
                    .nearest(class)
                    .map(|nearest| (nearest.class, self.classes.counts()[nearest.class], nearest.angle.to_degrees())),
                coincidence_scale: coincidence,
                vanishing_scale: Some(self.minimizer.vanishing_scale(r)?),
            };
            Ok(report.as_json())
        };
        self.classes.groups().enumerate().map(object).collect()
    }

    /// One object a cluster of two classes and more.
    pub(crate) fn clusters_as_json(&self) -> Option<Vec<Value>> {
        let object = |cluster: &Vec<usize>| json!({ "classes": cluster.len(), "counts": self.counts(cluster) });
        Some(self.clusters.as_ref()?.iter().map(object).collect())
    }
}

//! What becomes of the classes of one count: minority collapse.

use super::{
    Minimizer,
    directions::{Fate, Tie},
};
use crate::{classes::Group, error::Error, names::named};

/// The fate of the classifiers of a group of classes of equal counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum GroupFate {
    /// Every class has a classifier and a class mean of its own, distinguished by the directions of the group.
    Distinct,
    /// With a bias, a class that is the only one of its count: its classifier is not zero, but only directions between
    /// groups reach it, and it can come close to those of other counts.
    /// [`Geometry::fate`](crate::theory::Geometry::fate) says whether it has.
    Single,
    /// All classes of the group share one classifier row and one class mean, which are not zero: minority collapse.
    Coincident,
    /// The classifier rows of W_{L:1} and the class means are zero.
    Vanished,
    /// Not the same for all minimizers: a direction of the group is at its threshold, or a width cuts through its
    /// directions.
    Ambiguous,
}

named!(
    GroupFate, "fate of a group of classes":
    Distinct = "distinct", Single = "single", Coincident = "coincident", Vanished = "vanished", Ambiguous = "ambiguous",
);

impl Minimizer {
    /// The fate of the classes of every group of [`ClassCounts::groups`](crate::ClassCounts::groups), in that order: by
    /// falling count.
    ///
    /// Without a bias, each class has its own direction and vanishes with it. With a bias, the √c_r directions
    /// distinguish the classes of a group, and each direction between the groups reaches all classes.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets have no groups: a matrix, or labels that are smoothed without a bias.
    pub fn group_fates(&self) -> Result<Vec<GroupFate>, Error> {
        let classes = self.label_spectrum()?.class_counts();
        let mut open = vec![false; self.directions.len()];
        for &(Tie::Threshold { direction } | Tie::Width { direction }) in &self.ties {
            open[direction] = true;
        }
        // Of the directions kept, those between groups reach every class; one at its threshold may be present or not.
        let (mut reaches_all, mut maybe_reaches_all) = (false, false);
        let mut own = vec![(0, false); classes.groups().len()];
        for (direction, &open) in
            self.directions.iter().zip(&open).filter(|(direction, _)| direction.fate == Fate::Kept)
        {
            if let Some(r) = direction.group {
                own[r] = (direction.multiplicity, open);
            } else {
                reaches_all |= !open;
                maybe_reaches_all = true;
            }
        }
        let fate = |(group, &(kept, tied)): (Group<'_>, &(usize, bool))| {
            let contrasts = group.multiplicity() - usize::from(self.ufm.has_bias());
            if tied {
                GroupFate::Ambiguous
            } else if contrasts > 0 && kept == contrasts {
                GroupFate::Distinct
            } else if reaches_all {
                if contrasts == 0 { GroupFate::Single } else { GroupFate::Coincident }
            } else if maybe_reaches_all {
                GroupFate::Ambiguous
            } else {
                GroupFate::Vanished
            }
        };
        Ok(classes.groups().zip(&own).map(fate).collect())
    }
}

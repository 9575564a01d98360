//! The classes of a group, without a copy of them: a million classes cost no more than three.

use std::{fmt, ops::Deref, sync::Arc};

use crate::classes::ClassCounts;

/// The classes of a group, in rising order: a slice. A clone shares them.
#[derive(Clone)]
pub struct GroupClasses(List);

#[derive(Clone)]
enum List {
    /// Those of the r-th largest count.
    Counts(ClassCounts, usize),
    Own(Arc<[usize]>),
}

impl GroupClasses {
    /// The classes of the `r`-th largest count.
    pub(super) fn of_count(counts: &ClassCounts, r: usize) -> Self {
        Self(List::Counts(counts.clone(), r))
    }

    pub(super) fn new(classes: Vec<usize>) -> Self {
        Self(List::Own(classes.into()))
    }
}

impl Deref for GroupClasses {
    type Target = [usize];

    fn deref(&self) -> &[usize] {
        match &self.0 {
            List::Counts(counts, r) => counts.group(*r).classes,
            List::Own(classes) => classes,
        }
    }
}

impl<'a> IntoIterator for &'a GroupClasses {
    type Item = &'a usize;
    type IntoIter = std::slice::Iter<'a, usize>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl PartialEq for GroupClasses {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for GroupClasses {}

impl fmt::Debug for GroupClasses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

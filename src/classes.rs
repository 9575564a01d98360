//! Class counts: how many samples each class has.

use std::sync::Arc;

use crate::error::Error;

mod long_tail;
mod profiles;
mod text;

/// The largest number of samples: the largest range of whole numbers that are exact as `f64`.
const MAX_SAMPLES: u64 = 1 << 53;

/// The number of samples n_k of every class, validated, with the classes of equal counts grouped.
///
/// The groups are the paper's (K, R)-imbalance (Liu 2024, Definition 4.1): distinct counts c_1 > ... > c_R, shared by
/// m_1, ..., m_R classes. A clone shares the data and costs nothing.
///
/// # Example
///
/// ```
/// use neural_collapse::ClassCounts;
///
/// let classes: ClassCounts = "500, 600x5, 20".parse()?;
/// assert_eq!(classes.classes(), 7);
/// assert_eq!(classes.samples(), 3520);
/// let groups: Vec<_> = classes.groups().map(|group| (group.count, group.classes.len())).collect();
/// assert_eq!(groups, [(600, 5), (500, 1), (20, 1)]);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClassCounts {
    inner: Arc<Inner>,
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Inner {
    counts: Box<[u64]>,
    samples: u64,
    /// The classes by falling count, equal counts in the order given.
    by_count: Box<[usize]>,
    /// For each group, the end of its range in `by_count`.
    ends: Box<[usize]>,
}

/// √n of a class of n samples, an entry of D: the weight of a class mean that stands for n samples.
pub(crate) fn root(count: u64) -> f64 {
    (count as f64).sqrt()
}

/// A group of classes that have the same count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Group<'a> {
    /// The number of samples of each class of the group, c_r.
    pub count: u64,
    /// The m_r classes of the group, in rising order.
    pub classes: &'a [usize],
}

impl Group<'_> {
    /// The number of classes in the group, m_r.
    #[must_use]
    pub fn multiplicity(&self) -> usize {
        self.classes.len()
    }
}

impl ClassCounts {
    /// Class counts in the order of the classes.
    ///
    /// # Errors
    ///
    /// [`Error::NoClasses`], [`Error::ZeroCount`], [`Error::TooManySamples`].
    pub fn new(counts: impl Into<Vec<u64>>) -> Result<Self, Error> {
        let counts: Vec<u64> = counts.into();
        if counts.is_empty() {
            return Err(Error::NoClasses);
        }
        let mut samples = 0_u64;
        for (class, &count) in counts.iter().enumerate() {
            if count == 0 {
                return Err(Error::ZeroCount { class });
            }
            samples = samples
                .checked_add(count)
                .filter(|&samples| samples <= MAX_SAMPLES)
                .ok_or(Error::TooManySamples { class })?;
        }
        let mut by_count: Vec<usize> = (0..counts.len()).collect();
        // The stable sort is fast on few distinct keys and keeps the classes of a group in rising order.
        by_count.sort_by_key(|&class| std::cmp::Reverse(counts[class]));
        let mut ends: Vec<usize> =
            (1..counts.len()).filter(|&i| counts[by_count[i - 1]] != counts[by_count[i]]).collect();
        ends.push(counts.len());
        Ok(Self {
            inner: Arc::new(Inner { counts: counts.into(), samples, by_count: by_count.into(), ends: ends.into() }),
        })
    }

    /// Counts the labels 0 .. `classes` - 1.
    ///
    /// # Errors
    ///
    /// [`Error::LabelOutOfRange`]; [`Error::ZeroCount`] for a class without a label; as [`ClassCounts::new`].
    pub fn from_labels(labels: impl IntoIterator<Item = usize>, classes: usize) -> Result<Self, Error> {
        if classes == 0 {
            return Err(Error::NoClasses);
        }
        let mut counts = empty(classes)?;
        counts.resize(classes, 0);
        let mut labels = labels.into_iter().enumerate();
        while let Some((index, label)) = labels.next() {
            let Some(count) = counts.get_mut(label) else {
                let from_one = label == classes && counts[0] == 0 && labels.all(|(_, label)| label != 0);
                return Err(Error::LabelOutOfRange { index, label: label as i128, classes, from_one });
            };
            *count += 1;
        }
        Self::new(counts)
    }

    /// The number of classes K.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.inner.counts.len()
    }

    /// The number of samples N = n_1 + ... + n_K, at most 2^53.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.inner.samples
    }

    /// The number of samples n_k of every class, in the order of the classes.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.inner.counts
    }

    /// The groups of classes that share a count, by falling count.
    #[must_use]
    pub fn groups(&self) -> impl ExactSizeIterator<Item = Group<'_>> + DoubleEndedIterator {
        (0..self.inner.ends.len()).map(|r| self.group(r))
    }

    /// The group with the `r`-th largest count, from 0.
    ///
    /// # Panics
    ///
    /// If `r` is not below the number of groups.
    #[must_use]
    pub fn group(&self, r: usize) -> Group<'_> {
        let groups = self.inner.ends.len();
        assert!(r < groups, "there is no group {r}: there are {groups}, counted from 0");
        let start = if r == 0 { 0 } else { self.inner.ends[r - 1] };
        let classes = &self.inner.by_count[start..self.inner.ends[r]];
        Group { count: self.inner.counts[classes[0]], classes }
    }

    /// The ranges of the classes among samples sorted by class, whose number fits in memory.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.counts().iter().scan(0, |end, &count| {
            let start = *end;
            *end += count as usize;
            Some(start..*end)
        })
    }

    /// Whether the counts are equal. Clones are recognized without comparing the counts.
    pub(crate) fn check_same(&self, found: &[u64]) -> Result<(), Error> {
        if std::ptr::eq(self.counts(), found) {
            return Ok(());
        }
        let count = |counts: &[u64], class: usize| counts.get(class).copied().unwrap_or(0);
        for class in 0..self.counts().len().max(found.len()) {
            let (expected, found) = (count(self.counts(), class), count(found, class));
            if expected != found {
                return Err(Error::ClassCounts { class, expected, found });
            }
        }
        Ok(())
    }

    /// The ratio of the largest to the smallest count, 1 when the classes are balanced.
    #[must_use]
    pub fn imbalance_ratio(&self) -> f64 {
        let smallest = self.group(self.inner.ends.len() - 1).count;
        self.group(0).count as f64 / smallest as f64
    }
}

/// Memory for this number of counts. Also checks, before any is used, that there is memory for their order and for
/// sorting.
fn empty(classes: usize) -> Result<Vec<u64>, Error> {
    let too_large = |_| Error::TooLarge { what: "class counts", rows: classes, cols: 1 };
    Vec::<[u64; 4]>::new().try_reserve_exact(classes).map_err(too_large)?;
    let mut counts = Vec::new();
    counts.try_reserve_exact(classes).map_err(too_large)?;
    Ok(counts)
}

impl TryFrom<Vec<u64>> for ClassCounts {
    type Error = Error;

    /// As [`ClassCounts::new`].
    fn try_from(counts: Vec<u64>) -> Result<Self, Error> {
        Self::new(counts)
    }
}

impl TryFrom<&[u64]> for ClassCounts {
    type Error = Error;

    /// As [`ClassCounts::new`].
    fn try_from(counts: &[u64]) -> Result<Self, Error> {
        Self::new(counts)
    }
}

/// The counts in the order of the classes.
impl AsRef<[u64]> for ClassCounts {
    fn as_ref(&self) -> &[u64] {
        self.counts()
    }
}

/// The counts in the order of the classes.
#[cfg(feature = "serde")]
impl serde::Serialize for ClassCounts {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.counts().serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for ClassCounts {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(Vec::<u64>::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

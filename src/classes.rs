//! Class counts: how many samples each class has.

use std::{fmt, str::FromStr, sync::Arc};

use qd::Quad;

use crate::error::Error;

mod long_tail;

use long_tail::{tail, whole};

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

    /// Balanced classes: `classes` classes of `count` samples each.
    ///
    /// # Errors
    ///
    /// As [`ClassCounts::new`].
    pub fn balanced(classes: usize, count: u64) -> Result<Self, Error> {
        let mut counts = empty(classes)?;
        counts.resize(classes, count);
        Self::new(counts)
    }

    /// Step imbalance (Buda et al. 2018): `majority` classes of `count` samples, then `minority` classes of
    /// `count / ratio` samples, rounded to the nearest whole number.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless `ratio >= 1` is finite; [`Error::ZeroCount`] if a minority class would have no sample;
    /// as [`ClassCounts::new`].
    pub fn step(majority: usize, minority: usize, count: u64, ratio: f64) -> Result<Self, Error> {
        check_ratio(ratio)?;
        let mut counts = empty(majority.saturating_add(minority))?;
        counts.resize(majority, count);
        counts.resize(majority + minority, whole((count as f64 / ratio).round()));
        Self::new(counts)
    }

    /// Exponential long tail (Cui et al. 2019): n_k = ⌊`largest` · `ratio`^(-k/(K-1))⌋, k = 0 .. K-1, so that the first
    /// class is `ratio` times as large as the last.
    ///
    /// The floor is that of the real number, not of a rounded power: 4980/498 is 10. If a real ratio that rounds to
    /// `ratio` gives a whole number, the count is that number: `100.0 / 3.0` takes 100 to 3.
    /// [`ClassCounts::long_tail_between`] takes the smallest count itself.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless `ratio >= 1` is finite; [`Error::ZeroCount`] if a class of the tail would have no
    /// sample; as [`ClassCounts::new`].
    ///
    /// # Example
    ///
    /// CIFAR-10-LT with imbalance ratio 100:
    ///
    /// ```
    /// use neural_collapse::ClassCounts;
    ///
    /// let tail = ClassCounts::long_tail(10, 5000, 100.0)?;
    /// assert_eq!(tail.counts(), [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]);
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn long_tail(classes: usize, largest: u64, ratio: f64) -> Result<Self, Error> {
        check_ratio(ratio)?;
        // The least number that rounds to the ratio is half way to its neighbor below, but no ratio is below 1.
        let below = if ratio > 1.0 { ratio.next_down() } else { ratio };
        let least = (Quad::from(ratio) + Quad::from(below)) * Quad::from(0.5);
        let mut counts = empty(classes)?;
        counts.extend(tail(classes, largest, least));
        Self::new(counts)
    }

    /// Exponential long tail between two counts, both exact: n_k = ⌊`largest`^(1 - k/(K-1)) `smallest`^(k/(K-1))⌋, k =
    /// 0 .. K-1.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless `1 <= smallest <= largest`, and for one class unless they are equal; as
    /// [`ClassCounts::new`].
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::ClassCounts;
    ///
    /// let tail = ClassCounts::long_tail_between(5, 810, 10)?;
    /// assert_eq!(tail.counts(), [810, 270, 90, 30, 10]);
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn long_tail_between(classes: usize, largest: u64, smallest: u64) -> Result<Self, Error> {
        let refuse = |accepted| Err(Error::Domain { argument: "smallest count", value: smallest as f64, accepted });
        if !(1..=largest).contains(&smallest) {
            return refuse("1 to the largest count");
        }
        if classes == 1 && smallest < largest {
            return refuse("the largest count, where there is one class");
        }
        let mut counts = empty(classes)?;
        counts.extend(tail(classes, largest, Quad::from(largest as f64) / Quad::from(smallest as f64)));
        Self::new(counts)
    }

    /// The CIFAR-10 subset of Liu 2024, section 5: 500, 500, 400, 400, 300, 300, 200, 200, 100, 100 samples.
    #[must_use]
    pub fn paper_cifar10() -> Self {
        Self::known(&[(500, 2), (400, 2), (300, 2), (200, 2), (100, 2)])
    }

    /// The EMNIST letters subset of Liu 2024, section 5: 1 class of 1500, 5 of 600 and 20 of 50 samples.
    #[must_use]
    pub fn paper_emnist_letters() -> Self {
        Self::known(&[(1500, 1), (600, 5), (50, 20)])
    }

    /// A profile of this crate, valid by inspection: falling runs of (count, multiplicity).
    fn known(runs: &[(u64, usize)]) -> Self {
        let counts: Vec<u64> = runs.iter().flat_map(|&(count, classes)| std::iter::repeat_n(count, classes)).collect();
        let ends = runs.iter().scan(0, |end, run| {
            *end += run.1;
            Some(*end)
        });
        Self {
            inner: Arc::new(Inner {
                samples: counts.iter().sum(),
                by_count: (0..counts.len()).collect(),
                ends: ends.collect(),
                counts: counts.into(),
            }),
        }
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
        for (index, label) in labels.into_iter().enumerate() {
            *counts.get_mut(label).ok_or(Error::LabelOutOfRange { index, label: label as i128, classes })? += 1;
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

fn check_ratio(ratio: f64) -> Result<(), Error> {
    if ratio >= 1.0 && ratio.is_finite() {
        Ok(())
    } else {
        Err(Error::Domain { argument: "imbalance ratio", value: ratio, accepted: "finite numbers >= 1" })
    }
}

/// The text form of class counts: `C` is a class of C samples, `CxM` stands for M such classes; entries are separated
/// by commas, spaces, tabs or line ends; a comma may follow the last one.
///
/// Every number is a class: `1,234` is two classes, and ids in a column before the counts are classes too. A number
/// with a leading zero, as in 1,005, or with another separator between thousands than a comma or a plain space is
/// refused.
///
/// # Errors
///
/// [`Error::MalformedCounts`] names the entry; as [`ClassCounts::new`].
impl FromStr for ClassCounts {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (text, mut counts) = (text.trim_ascii(), Vec::new());
        // Between two commas there is an entry: one that is missing would be a class that is missing.
        let fields = text.strip_suffix(',').unwrap_or(text).split(',').flat_map(|field| {
            // No other spaces: those that do not break stand between thousands.
            let words = field.split_ascii_whitespace();
            let missing = field.trim_ascii().is_empty() && !text.is_empty();
            words.chain(missing.then_some(""))
        });
        for (index, word) in fields.enumerate() {
            let malformed = || Error::MalformedCounts { index, word: word.to_owned() };
            let (count, classes) = word.split_once(['x', 'X']).unwrap_or((word, "1"));
            let is_number = |digits: &str| {
                // The end of a number with a separator between thousands, or an id, begins with zeros.
                digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() < 2 || !digits.starts_with('0'))
            };
            if !is_number(count) || !is_number(classes) {
                return Err(malformed());
            }
            let count: u64 = count.parse().map_err(|_| malformed())?;
            let classes: usize = classes.parse().ok().filter(|&classes| classes > 0).ok_or_else(malformed)?;
            // Words of one class at a time grow as any vector; a large repetition is looked at first.
            if classes > 1 {
                empty(counts.len().saturating_add(classes))?;
            }
            counts.resize(counts.len() + classes, count);
        }
        Self::new(counts)
    }
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

/// The text form, equal neighbors written as `CxM`; it parses back to the same counts.
impl fmt::Display for ClassCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, run) in self.counts().chunk_by(|a, b| a == b).enumerate() {
            let separator = if i == 0 { "" } else { "," };
            match run.len() {
                1 => write!(f, "{separator}{}", run[0])?,
                classes => write!(f, "{separator}{}x{classes}", run[0])?,
            }
        }
        Ok(())
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

//! Profiles of class counts: balanced, a step, a long tail, and those of the paper.

use std::sync::Arc;

use qd::Quad;

use super::{
    ClassCounts, Inner, empty,
    long_tail::{tail, whole},
};
use crate::error::Error;

impl ClassCounts {
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
            return refuse("the largest count, if there is one class");
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
}

fn check_ratio(ratio: f64) -> Result<(), Error> {
    if ratio >= 1.0 && ratio.is_finite() {
        Ok(())
    } else {
        Err(Error::Domain { argument: "imbalance ratio", value: ratio, accepted: "finite numbers >= 1" })
    }
}

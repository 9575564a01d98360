//! What an accumulator has gathered, and its saved form.

use neural_collapse::{
    Error,
    metrics::{FeatureAccumulator, FeatureStatistics},
};
use pyo3::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    arrays::{Batch, Features},
    errors::{refuse, refused},
    labels::Slice,
    numbered::Numbered,
    threads::detached,
    with_labels, with_rows,
};

/// What an accumulator has gathered, in the form in which it is saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    pub(crate) num_classes: usize,
    pub(crate) width: usize,
    scatter: bool,
    pub(crate) counts: Vec<u64>,
    sums: Sums,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Sums {
    /// Batches in the order in which they came.
    Stream(FeatureAccumulator),
    /// Batches by their numbers.
    Numbered(Numbered),
}

/// Numbers of an accumulator up to which its sizes and counts are compared with its sums when it is read, 128 MiB: that
/// takes a copy. What the library has is checked by the library in any case.
const MOST_CHECKED: usize = 1 << 24;

fn empty(width: usize, classes: usize, scatter: bool) -> Result<FeatureAccumulator, Error> {
    if scatter { FeatureAccumulator::with_scatter(width, classes) } else { FeatureAccumulator::new(width, classes) }
}

fn add(sums: &mut FeatureAccumulator, batch: Batch<'_>, labels: Slice<'_>) -> Result<(), Error> {
    with_rows!(batch, rows => with_labels!(labels, labels => sums.add_rows(rows, labels)))
}

/// Adds all rows of an array, or none.
fn add_all(py: Python<'_>, sums: &mut FeatureAccumulator, features: &Features<'_>, labels: Slice<'_>) -> PyResult<()> {
    let size = if features.is_in_memory() { features.samples.max(1) } else { features.chunk() };
    let add = |sums: &mut FeatureAccumulator| {
        features.batches(py, size, |start, batch| {
            let rows = with_rows!(batch, rows => rows.nrows());
            add(sums, batch, labels.range(start, rows))
        })
    };
    if features.samples <= size {
        return add(sums);
    }
    // Several chunks, of which a later one can have an error.
    let mut copy = sums.clone();
    add(&mut copy)?;
    *sums = copy;
    Ok(())
}

impl State {
    pub(crate) fn new(num_classes: usize, width: usize, scatter: bool) -> PyResult<Self> {
        let sums = Sums::Stream(empty(width, num_classes, scatter).map_err(refused)?);
        Ok(Self { num_classes, width, scatter, counts: vec![0; num_classes], sums })
    }

    fn is_empty(&self) -> bool {
        self.counts.iter().all(|&count| count == 0) && matches!(self.sums, Sums::Stream(_))
    }

    pub(crate) fn update(
        &mut self,
        py: Python<'_>,
        features: &Features<'_>,
        labels: Slice<'_>,
        batch: Option<u64>,
    ) -> PyResult<()> {
        if batch.is_some() && self.is_empty() {
            self.sums = Sums::Numbered(Numbered::default());
        }
        match (&mut self.sums, batch) {
            (Sums::Stream(sums), None) => add_all(py, sums, features, labels)?,
            (Sums::Numbered(numbered), Some(batch)) => {
                let mut sums = empty(self.width, self.num_classes, self.scatter).map_err(refused)?;
                add_all(py, &mut sums, features, labels)?;
                detached(py, || numbered.add(batch, sums.finish()))?.map_err(refuse)?;
            }
            (Sums::Stream(_), Some(batch)) => {
                return Err(refuse(format!("batch: {batch} given, the batches before it had no numbers")));
            }
            (Sums::Numbered(_), None) => {
                return Err(refuse("batch: none given, the batches before it had numbers"));
            }
        }
        // The library has refused labels out of range.
        let mut count = |label: usize| {
            if let Some(count) = self.counts.get_mut(label) {
                *count += 1;
            }
        };
        match labels {
            Slice::Signed(labels) => labels.iter().filter_map(|&label| label.try_into().ok()).for_each(&mut count),
            Slice::Unsigned(labels) => labels.iter().filter_map(|&label| label.try_into().ok()).for_each(&mut count),
        }
        Ok(())
    }

    pub(crate) fn merge(&mut self, other: Self) -> Result<(), String> {
        if (self.num_classes, self.width) != (other.num_classes, other.width) {
            return Err(format!(
                "merge: an accumulator of {} classes and width {} given, {} classes and width {} are needed",
                other.num_classes, other.width, self.num_classes, self.width
            ));
        }
        if self.scatter != other.scatter {
            return Err(Error::Unmergeable { what: "what they gather, scatter or not," }.to_string());
        }
        if other.is_empty() {
            return Ok(());
        }
        if self.is_empty() && matches!(other.sums, Sums::Numbered(_)) {
            *self = other;
            return Ok(());
        }
        match (&mut self.sums, other.sums) {
            (Sums::Stream(own), Sums::Stream(others)) => own.merge(others).map_err(|error| error.to_string())?,
            (Sums::Numbered(own), Sums::Numbered(others)) => own.merge(others)?,
            _ => return Err("merge: the batches of one have numbers, those of the other have none".into()),
        }
        self.counts.iter_mut().zip(other.counts).for_each(|(count, others)| *count += others);
        Ok(())
    }

    pub(crate) fn statistics(&self) -> Result<FeatureStatistics, Error> {
        match &self.sums {
            Sums::Stream(sums) => Ok(sums.clone().finish()),
            Sums::Numbered(numbered) => numbered.statistics(self.width, self.num_classes, self.scatter),
        }
    }

    /// Nothing, relative to the same references.
    pub(crate) fn fork(&self) -> PyResult<Self> {
        let mut fork = Self::new(self.num_classes, self.width, self.scatter)?;
        if let Sums::Stream(sums) = &self.sums {
            fork.sums = Sums::Stream(sums.fork().map_err(refused)?);
        }
        Ok(fork)
    }

    /// Everything in the first of the parts that are worked on side by side: a merge of it gives the same bits, and zeros
    /// take less room.
    pub(crate) fn compact(&self) -> Result<Self, Error> {
        let mut compact = self.clone();
        if let Sums::Stream(sums) = &self.sums {
            let mut first = sums.fork()?;
            first.merge(sums.clone())?;
            compact.sums = Sums::Stream(first);
        }
        Ok(compact)
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        ciborium::into_writer(self, &mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let read: Self = ciborium::from_reader(bytes).map_err(|error| match error {
            ciborium::de::Error::Semantic(_, message) => format!("accumulator: {message}"),
            error => format!("accumulator: these bytes are not one that was saved ({error})"),
        })?;
        let sums = match read.sums {
            Sums::Numbered(numbered) => Sums::Numbered(numbered.checked()?),
            sums @ Sums::Stream(_) => sums,
        };
        let state = Self { sums, ..read };
        let numbers = state.width.saturating_mul(state.width.saturating_add(state.num_classes));
        let fits = state.counts.len() == state.num_classes && (numbers > MOST_CHECKED || state.fits()?);
        if fits { Ok(state) } else { Err("accumulator: its sizes and counts are not those of its sums".into()) }
    }
}

impl State {
    /// Whether sizes and counts are those of the sums.
    fn fits(&self) -> Result<bool, String> {
        let statistics = self.statistics().map_err(|error| error.to_string())?;
        let counts_fit = match statistics.class_counts() {
            Ok(counts) => counts.counts() == self.counts,
            // A class has no samples.
            Err(_) => self.counts.contains(&0),
        };
        let shape = (self.width, self.num_classes);
        Ok(counts_fit && statistics.class_means().shape() == shape && statistics.has_scatter() == self.scatter)
    }
}

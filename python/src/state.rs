//! What an accumulator has gathered, and its saved form.

use neural_collapse::{
    Error,
    metrics::{FeatureAccumulator, FeatureStatistics, NumberedStatistics},
};
use pyo3::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{
    arrays::{Batch, Features},
    errors::{refuse, refused},
    labels::Slice,
    sealed,
    threads::detached,
    with_labels, with_rows,
};

/// What an accumulator has gathered, in the form in which it is saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum State {
    /// Batches in the order in which they came.
    Stream(FeatureAccumulator),
    /// Batches by their numbers.
    Numbered(NumberedStatistics),
}

fn add(sums: &mut FeatureAccumulator, batch: Batch<'_>, labels: Slice<'_>) -> Result<(), Error> {
    with_rows!(batch, rows => with_labels!(labels, labels => sums.add_rows(rows, labels)))
}

/// Adds all rows of an array, or none.
fn add_all(py: Python<'_>, sums: &mut FeatureAccumulator, features: &Features<'_>, labels: Slice<'_>) -> PyResult<()> {
    let size = if features.is_in_memory() { features.samples.max(1) } else { features.chunk() };
    let add = |sums: &mut FeatureAccumulator| {
        features.batches(py, size, labels, |start, batch| {
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
    pub(crate) fn new(num_classes: usize, width: usize, scatter: bool) -> Result<Self, Error> {
        let new = if scatter { FeatureAccumulator::with_scatter } else { FeatureAccumulator::new };
        new(width, num_classes).map(Self::Stream)
    }

    /// The width, and the number of classes.
    pub(crate) fn shape(&self) -> (usize, usize) {
        match self {
            Self::Stream(sums) => sums.shape(),
            Self::Numbered(numbered) => numbered.shape(),
        }
    }

    pub(crate) fn has_scatter(&self) -> bool {
        match self {
            Self::Stream(sums) => sums.has_scatter(),
            Self::Numbered(numbered) => numbered.has_scatter(),
        }
    }

    /// The samples of every class.
    pub(crate) fn counts(&self) -> Vec<u64> {
        match self {
            Self::Stream(sums) => sums.counts(),
            Self::Numbered(numbered) => numbered.counts(),
        }
    }

    fn is_empty(&self) -> bool {
        matches!(self, Self::Stream(sums) if sums.counts().iter().all(|&count| count == 0))
    }

    pub(crate) fn update(
        &mut self,
        py: Python<'_>,
        features: &Features<'_>,
        labels: Slice<'_>,
        batch: Option<u64>,
    ) -> PyResult<()> {
        if batch.is_some() && self.is_empty() {
            // In our own pool: a process that was forked does not have the threads of the global one.
            let mut numbered = Self::Numbered(detached(py, || self.numbered())?.map_err(refused)?);
            numbered.update(py, features, labels, batch)?;
            *self = numbered;
            return Ok(());
        }
        match (self, batch) {
            (Self::Stream(sums), None) => add_all(py, sums, features, labels),
            (Self::Numbered(numbered), Some(batch)) => {
                let mut sums = numbered.accumulator().map_err(refused)?;
                add_all(py, &mut sums, features, labels)?;
                detached(py, || numbered.insert(batch, sums.finish()))?.map_err(refused)
            }
            (Self::Stream(_), Some(batch)) => {
                Err(refuse(format!("batch: {batch} given, the batches before it had no numbers")))
            }
            (Self::Numbered(_), None) => Err(refuse("batch: none given, the batches before it had numbers")),
        }
    }

    /// Nothing, for batches with numbers.
    fn numbered(&self) -> Result<NumberedStatistics, Error> {
        let (width, classes) = self.shape();
        if self.has_scatter() {
            NumberedStatistics::with_scatter(width, classes)
        } else {
            NumberedStatistics::new(width, classes)
        }
    }

    pub(crate) fn merge(&mut self, other: Self) -> Result<(), String> {
        let ((width, classes), (other_width, other_classes)) = (self.shape(), other.shape());
        if self.shape() != other.shape() {
            return Err(format!(
                "merge: an accumulator of {other_classes} classes and width {other_width} given, {classes} classes and \
                 width {width} are needed"
            ));
        }
        if self.has_scatter() != other.has_scatter() {
            let words = |has_scatter| if has_scatter { "with" } else { "without" };
            return Err(format!(
                "merge: an accumulator {} the scatter given, one {} is needed: make all of them with the same scatter=",
                words(other.has_scatter()),
                words(self.has_scatter()),
            ));
        }
        if other.is_empty() {
            return Ok(());
        }
        if self.is_empty() && matches!(other, Self::Numbered(_)) {
            *self = other;
            return Ok(());
        }
        let merged = match (self, other) {
            (Self::Stream(own), Self::Stream(others)) => own.merge(others),
            (Self::Numbered(own), Self::Numbered(others)) => own.merge(others),
            _ => return Err("merge: the batches of one have numbers, those of the other have none".into()),
        };
        merged.map_err(|error| error.to_string())
    }

    pub(crate) fn statistics(&self) -> Result<FeatureStatistics, Error> {
        match self {
            Self::Stream(sums) => Ok(sums.clone().finish()),
            Self::Numbered(numbered) => numbered.statistics(),
        }
    }

    /// Nothing, relative to the same references.
    pub(crate) fn fork(&self) -> Result<Self, Error> {
        match self {
            Self::Stream(sums) => sums.fork().map(Self::Stream),
            Self::Numbered(_) => {
                let (width, classes) = self.shape();
                Self::new(classes, width, self.has_scatter())
            }
        }
    }

    /// Everything in the first of the parts that are worked on side by side: a merge of it gives the same bits, and zeros
    /// take less room.
    pub(crate) fn compact(&self) -> Result<Self, Error> {
        let Self::Stream(sums) = self else { return Ok(self.clone()) };
        let mut first = sums.fork()?;
        first.merge(sums.clone())?;
        Ok(Self::Stream(first))
    }

    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>, String> {
        sealed::write(|bytes| ciborium::into_writer(self, bytes).map_err(|error| error.to_string()))
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        let read = ciborium::from_reader(sealed::read(bytes)?);
        read.map_err(|error: ciborium::de::Error<_>| match error {
            ciborium::de::Error::Semantic(_, message) => format!("accumulator: {message}"),
            // The checksum has been right: these bytes are whole, but of something else.
            error => format!("accumulator: these bytes are not one that this package has saved ({error})"),
        })
    }
}

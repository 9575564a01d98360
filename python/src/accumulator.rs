//! Class means and the scatter within classes, from batches: merged, pickled, sent.

use std::sync::{Mutex, MutexGuard};

use neural_collapse::{
    Error,
    metrics::{FeatureAccumulator, FeatureStatistics},
};
use numpy::{PyArray1, PyArray2};
use pyo3::{prelude::*, sync::MutexExt, types::PyBytes};
use serde::{Deserialize, Serialize};

use crate::{
    arrays::{Batch, Features},
    errors::{refuse, refused},
    labels::{Labels, Slice},
    numbered::Numbered,
    output::{array2, counts},
    threads::detached,
    with_labels, with_rows,
};

/// Gathers class means and the scatter within classes of features, in one pass over batches of any size.
///
/// Parameters
/// ----------
/// num_classes : int
///     The number of classes K.
/// width : int
///     The numbers of a sample, d.
/// scatter : bool
///     Whether to gather the d x d scatter within classes, which NC1 needs. Without it an update takes O(d) operations a
///     sample, with it O(d^2).
///
/// Everything is kept in float64, relative to the mean of the first samples of each class: no digits are lost near
/// collapse. An accumulator can be merged, copied, pickled and sent to another process.
#[pyclass(frozen, module = "ncollapse", name = "Accumulator")]
#[derive(Debug)]
pub(crate) struct Accumulator {
    state: Mutex<State>,
}

/// What an accumulator has gathered, in the form in which it is saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    num_classes: usize,
    width: usize,
    scatter: bool,
    counts: Vec<u64>,
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

/// What pickle writes: the type, two arguments to make it of, and the state.
type Reduced<'py> = (Bound<'py, PyAny>, (usize, usize), Bound<'py, PyBytes>);

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
    fn new(num_classes: usize, width: usize, scatter: bool) -> PyResult<Self> {
        let sums = Sums::Stream(empty(width, num_classes, scatter).map_err(refused)?);
        Ok(Self { num_classes, width, scatter, counts: vec![0; num_classes], sums })
    }

    fn is_empty(&self) -> bool {
        self.counts.iter().all(|&count| count == 0) && matches!(self.sums, Sums::Stream(_))
    }

    fn update(
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

    fn merge(&mut self, other: Self) -> Result<(), String> {
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

    fn statistics(&self) -> Result<FeatureStatistics, Error> {
        match &self.sums {
            Sums::Stream(sums) => Ok(sums.clone().finish()),
            Sums::Numbered(numbered) => numbered.statistics(self.width, self.num_classes, self.scatter),
        }
    }

    /// Everything in the first of the parts that are worked on side by side: a merge of it gives the same bits, and zeros
    /// take less room.
    fn compact(&self) -> Result<Self, Error> {
        let mut compact = self.clone();
        if let Sums::Stream(sums) = &self.sums {
            let mut first = sums.fork()?;
            first.merge(sums.clone())?;
            compact.sums = Sums::Stream(first);
        }
        Ok(compact)
    }

    fn to_bytes(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        ciborium::into_writer(self, &mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
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

impl Accumulator {
    fn lock(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, State>> {
        let poisoned = "accumulator: a call before this one ended in the middle of its work; make a new one";
        // Another thread that works on it needs the interpreter to come to its end.
        self.state.lock_py_attached(py).map_err(|_| refuse(poisoned))
    }

    /// The statistics of everything so far, with the number of samples of every class.
    pub(crate) fn statistics(&self, py: Python<'_>) -> PyResult<(FeatureStatistics, Vec<u64>)> {
        let state = self.lock(py)?;
        let state = &*state;
        let statistics = detached(py, || state.statistics())?.map_err(refused)?;
        Ok((statistics, state.counts.clone()))
    }

    fn from_state(state: State) -> Self {
        Self { state: Mutex::new(state) }
    }
}

#[pymethods]
impl Accumulator {
    #[new]
    #[pyo3(signature = (num_classes, width, scatter=true))]
    fn new(num_classes: usize, width: usize, scatter: bool) -> PyResult<Self> {
        Ok(Self::from_state(State::new(num_classes, width, scatter)?))
    }

    /// Takes in a batch. If it has an error, none of it is taken in.
    ///
    /// Parameters
    /// ----------
    /// features : array, (B, d) or (B, d, 1, 1)
    ///     Of any float type, in C or Fortran order: NumPy arrays, and PyTorch tensors on any device. float32 and float64
    ///     in memory are read where they lie; everything else is copied in chunks.
    /// labels : array of integers, (B,)
    ///     The class of each sample, from 0.
    /// batch : int, optional
    ///     The number of this batch among all batches of all processes, from 0. Statistics of numbered batches are the
    ///     same to the last bit, however the batches are split among accumulators, and in whatever order these are
    ///     merged. Give every batch a number, or none of them.
    #[pyo3(signature = (features, labels, *, batch=None))]
    fn update(
        &self,
        py: Python<'_>,
        features: &Bound<'_, PyAny>,
        labels: &Bound<'_, PyAny>,
        batch: Option<u64>,
    ) -> PyResult<()> {
        let (features, labels) = (Features::new(features)?, Labels::new(labels)?);
        let mut state = self.lock(py)?;
        features.check_shape(labels.len()?, state.width)?;
        state.update(py, &features, labels.slice()?, batch)
    }

    /// Takes in the samples of another accumulator, of which this one has seen none. The other one stays as it is.
    ///
    /// The same accumulators merged in the same order give the same bits, in one process or many.
    fn merge(slf: &Bound<'_, Self>, other: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        if slf.is(other) {
            return Err(refuse("merge: an accumulator cannot take in itself: its samples would count twice"));
        }
        let other = other.get().lock(py)?.clone();
        let mut state = slf.get().lock(py)?;
        let state = &mut *state;
        detached(py, || state.merge(other))?.map_err(refuse)
    }

    /// An accumulator with the same samples.
    fn copy(&self, py: Python<'_>) -> PyResult<Self> {
        Ok(Self::from_state(self.lock(py)?.clone()))
    }

    /// An empty accumulator that sums up relative to the same class means as this one, for shards that are merged: near
    /// collapse no sums move from one reference to another.
    fn fork(&self, py: Python<'_>) -> PyResult<Self> {
        let state = self.lock(py)?;
        let mut fork = State::new(state.num_classes, state.width, state.scatter)?;
        if let Sums::Stream(sums) = &state.sums {
            fork.sums = Sums::Stream(sums.fork().map_err(refused)?);
        }
        Ok(Self::from_state(fork))
    }

    /// The saved form as bytes, with a version that is checked when it is read.
    ///
    /// With ``compact`` it takes less room and is meant for a merge, which gives the same bits; without, an accumulator
    /// that is read goes on as this one would, to the last bit. ``pickle`` is without.
    #[pyo3(signature = (compact=false))]
    fn to_bytes<'py>(&self, py: Python<'py>, compact: bool) -> PyResult<Bound<'py, PyBytes>> {
        let state = self.lock(py)?;
        let state = &*state;
        let bytes = detached(py, || {
            if compact { state.compact().map_err(|error| error.to_string())?.to_bytes() } else { state.to_bytes() }
        })?;
        Ok(PyBytes::new(py, &bytes.map_err(refuse)?))
    }

    /// The accumulator that ``to_bytes`` has saved.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        Ok(Self::from_state(detached(py, || State::from_bytes(data))?.map_err(refuse)?))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        let bytes = slf.get().to_bytes(slf.py(), false)?;
        // A small one of the type, which takes its state from the bytes.
        Ok((slf.get_type().into_any(), (1, 1), bytes))
    }

    fn __setstate__(&self, py: Python<'_>, state: &[u8]) -> PyResult<()> {
        let read = detached(py, || State::from_bytes(state))?.map_err(refuse)?;
        *self.lock(py)? = read;
        Ok(())
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let state = self.lock(py)?;
        let samples: u64 = state.counts.iter().sum();
        Ok(format!("Accumulator(num_classes={}, width={}): {samples} samples", state.num_classes, state.width))
    }

    /// The number of classes K.
    #[getter]
    fn num_classes(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.lock(py)?.num_classes)
    }

    /// The numbers of a sample, d.
    #[getter]
    fn width(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.lock(py)?.width)
    }

    /// The samples of each class, (K,).
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        Ok(counts(py, &self.lock(py)?.counts))
    }

    /// The mean of the features of each class, (K, d); zero for a class without samples.
    fn class_means<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        array2(py, self.statistics(py)?.0.class_means().transpose())
    }
}

//! Class means and the scatter within classes, from batches: merged, pickled, sent.

use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicBool, Ordering},
};

use neural_collapse::metrics::FeatureStatistics;
use numpy::{PyArray1, PyArray2};
use pyo3::{
    prelude::*,
    sync::MutexExt,
    types::{PyBytes, PyMemoryView},
};

use crate::{
    arrays::Features,
    errors::{refuse, refused},
    keywords::{ANY, POSITIVE, flag, size, whole, wrong_type},
    labels::Labels,
    output::{array2, counts},
    state::State,
    threads::{InternalError, detached},
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
    /// Whether a fault of this package has left the state half changed.
    is_broken: AtomicBool,
}

/// What pickle writes: the type, two arguments to make it of, and the state.
type Reduced<'py> = (Bound<'py, PyAny>, (usize, usize), Bound<'py, PyBytes>);

impl Accumulator {
    fn lock(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, State>> {
        // Another thread that works on it needs the interpreter to come to its end.
        let state = self.state.lock_py_attached(py).ok();
        let is_whole = |_: &MutexGuard<'_, State>| !self.is_broken.load(Ordering::Relaxed);
        state.filter(is_whole).ok_or_else(|| {
            InternalError::new_err(
                "accumulator: a call before this one ended in the middle of its work; make a new one",
            )
        })
    }

    /// A change of the state, after which the accumulator is not used again if it ended in the middle.
    fn changed(&self, py: Python<'_>, change: impl FnOnce(&mut State) -> PyResult<()>) -> PyResult<()> {
        let mut state = self.lock(py)?;
        change(&mut state).inspect_err(|error| {
            if error.is_instance_of::<InternalError>(py) {
                self.is_broken.store(true, Ordering::Relaxed);
            }
        })
    }

    /// The statistics of everything so far, with the number of samples of every class.
    pub(crate) fn statistics(&self, py: Python<'_>) -> PyResult<(FeatureStatistics, Vec<u64>)> {
        let state = self.lock(py)?;
        let state = &*state;
        let statistics = detached(py, || state.statistics())?.map_err(refused)?;
        Ok((statistics, state.counts()))
    }

    fn from_state(state: State) -> Self {
        Self { state: Mutex::new(state), is_broken: AtomicBool::new(false) }
    }
}

/// Bytes, or a copy of what else has them in memory.
fn bytes_of<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    if let Ok(bytes) = data.cast::<PyBytes>() {
        return Ok(bytes.clone());
    }
    let wrong = |_| wrong_type("data", data, "bytes, a bytearray or a memoryview");
    let view = PyMemoryView::from(data).map_err(wrong)?;
    Ok(view.call_method0("tobytes")?.cast_into::<PyBytes>()?)
}

#[pymethods]
impl Accumulator {
    #[new]
    #[pyo3(signature = (num_classes, width, scatter=None), text_signature = "(num_classes, width, scatter=True)")]
    fn new(
        num_classes: &Bound<'_, PyAny>,
        width: &Bound<'_, PyAny>,
        scatter: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let num_classes = size("num_classes", num_classes, POSITIVE)?;
        let width = size("width", width, POSITIVE)?;
        let scatter = scatter.map_or(Ok(true), |scatter| flag("scatter", scatter))?;
        Ok(Self::from_state(State::new(num_classes, width, scatter).map_err(refused)?))
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
    ///     merged. Give every batch a number, or none of them. Numbers in a row are summed up, about log2(n) sums for n
    ///     batches; every second number, or every k-th, is kept by itself.
    #[pyo3(signature = (features, labels, *, batch=None))]
    fn update(
        &self,
        py: Python<'_>,
        features: &Bound<'_, PyAny>,
        labels: &Bound<'_, PyAny>,
        batch: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let batch = batch.map(|batch| whole("batch", batch, ANY)).transpose()?;
        let (features, labels) = (Features::new(features)?, Labels::new(labels)?);
        self.changed(py, |state| {
            features.check_shape(labels.len()?, state.shape().0)?;
            state.update(py, &features, labels.slice()?, batch)
        })
    }

    /// Takes in the samples of another accumulator, of which this one has seen none. The other one stays as it is.
    ///
    /// The same accumulators merged in the same order give the same bits, in one process or many.
    fn merge(slf: &Bound<'_, Self>, other: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let other = other.cast::<Self>().map_err(|_| wrong_type("other", other, "an Accumulator"))?;
        if slf.is(other) {
            return Err(refuse("merge: an accumulator cannot take in itself: its samples would count twice"));
        }
        let other = other.get().lock(py)?.clone();
        slf.get().changed(py, |state| detached(py, || state.merge(other))?.map_err(refuse))
    }

    /// An accumulator with the same samples.
    fn copy(&self, py: Python<'_>) -> PyResult<Self> {
        Ok(Self::from_state(self.lock(py)?.clone()))
    }

    /// An empty accumulator that sums up relative to the same class means as this one, for shards that are merged: near
    /// collapse no sums move from one reference to another.
    fn fork(&self, py: Python<'_>) -> PyResult<Self> {
        let state = self.lock(py)?;
        Ok(Self::from_state(state.fork().map_err(refused)?))
    }

    /// Empties it, for the next epoch. Its shape stays, and whether it gathers the scatter.
    fn reset(&self, py: Python<'_>) -> PyResult<()> {
        self.changed(py, |state| {
            let (width, classes) = state.shape();
            *state = State::new(classes, width, state.has_scatter()).map_err(refused)?;
            Ok(())
        })
    }

    /// The saved form as bytes, with a version and a checksum that are checked when it is read.
    ///
    /// With ``compact`` it takes less room and is meant for a merge, which gives the same bits; without, an accumulator
    /// that is read goes on as this one would, to the last bit. ``pickle`` is without.
    #[pyo3(signature = (compact=None), text_signature = "($self, compact=False)")]
    fn to_bytes<'py>(&self, py: Python<'py>, compact: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyBytes>> {
        let compact = compact.map_or(Ok(false), |compact| flag("compact", compact))?;
        let state = self.lock(py)?;
        let state = &*state;
        let bytes = detached(py, || {
            if compact { state.compact().map_err(|error| error.to_string())?.to_bytes() } else { state.to_bytes() }
        })?;
        Ok(PyBytes::new(py, &bytes.map_err(refuse)?))
    }

    /// The accumulator that ``to_bytes`` has saved.
    #[staticmethod]
    fn from_bytes(py: Python<'_>, data: &Bound<'_, PyAny>) -> PyResult<Self> {
        let data = bytes_of(data)?;
        let data = data.as_bytes();
        Ok(Self::from_state(detached(py, || State::from_bytes(data))?.map_err(refuse)?))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<Reduced<'py>> {
        let bytes = slf.get().to_bytes(slf.py(), None)?;
        // A small one of the type, which takes its state from the bytes.
        Ok((slf.get_type().into_any(), (1, 1), bytes))
    }

    fn __setstate__(&self, py: Python<'_>, state: &[u8]) -> PyResult<()> {
        let read = detached(py, || State::from_bytes(state))?.map_err(refuse)?;
        self.changed(py, |state| {
            *state = read;
            Ok(())
        })
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let state = self.lock(py)?;
        let (samples, (width, classes)) = (state.counts().iter().sum::<u64>(), state.shape());
        Ok(format!("Accumulator(num_classes={classes}, width={width}): {samples} samples"))
    }

    /// The number of classes K.
    #[getter]
    fn num_classes(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.lock(py)?.shape().1)
    }

    /// The numbers of a sample, d.
    #[getter]
    fn width(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.lock(py)?.shape().0)
    }

    /// Whether it gathers the scatter within classes, which NC1 needs.
    #[getter]
    fn scatter(&self, py: Python<'_>) -> PyResult<bool> {
        Ok(self.lock(py)?.has_scatter())
    }

    /// The samples of each class, (K,).
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray1<i64>>> {
        Ok(counts(py, &self.lock(py)?.counts()))
    }

    /// The mean of the features of each class, (K, d); zero for a class without samples.
    fn class_means<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        array2(py, self.statistics(py)?.0.class_means().transpose())
    }
}

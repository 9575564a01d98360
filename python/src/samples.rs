//! The samples of a network: in two arrays, or in batches that can be gone through several times.

use neural_collapse::{
    Error,
    metrics::{Measurement, Measuring, Step},
};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::{PyDict, PyIterator, PyString},
};

use crate::{
    arrays::{Batch, Features},
    errors::{refuse, refused},
    keywords::wrong_type,
    labels::{Labels, Slice},
    threads::detached,
    with_labels, with_rows,
};

/// Numbers of features that are worked on at a time.
const BATCH: usize = 1 << 22;

pub(crate) enum Samples<'py> {
    Arrays(Features<'py>, Labels<'py>),
    Batches(Bound<'py, PyAny>),
}

impl<'py> Samples<'py> {
    pub(crate) fn new(features: &Bound<'py, PyAny>, labels: Option<&Bound<'py, PyAny>>) -> PyResult<Self> {
        match labels {
            Some(labels) => Ok(Self::Arrays(Features::new(features)?, Labels::new(labels)?)),
            None => Ok(Self::Batches(features.clone())),
        }
    }

    /// Shows all samples to every pass.
    pub(crate) fn measure(&self, py: Python<'py>, mut measuring: Measuring) -> PyResult<Measurement> {
        let (width, _) = measuring.shape();
        loop {
            self.stream(py, width, |batch, labels| {
                with_rows!(batch, rows => with_labels!(labels, labels => measuring.add_rows(rows, labels)))
            })?;
            match detached(py, move || measuring.end_pass())?.map_err(refused)? {
                Step::Pass(next) => measuring = next,
                Step::Done(measured) => return Ok(measured),
            }
        }
    }

    /// Shows `work` all samples once.
    fn stream(
        &self,
        py: Python<'py>,
        width: usize,
        mut work: impl FnMut(Batch<'_>, Slice<'_>) -> Result<(), Error> + Send,
    ) -> PyResult<()> {
        match self {
            Self::Arrays(features, labels) => stream(py, features, labels, width, &mut work),
            Self::Batches(batches) => {
                let mut count = 0_usize;
                for batch in iterated(batches)? {
                    let (features, labels) = pair(count, &batch?)?;
                    // With the number of the batch, which no message of an array has.
                    let of_batch = |error: PyErr| named(py, error, count);
                    let (features, labels) = (Features::new(&features), Labels::new(&labels));
                    stream(py, &features.map_err(of_batch)?, &labels.map_err(of_batch)?, width, &mut work)
                        .map_err(of_batch)?;
                    count += 1;
                }
                if count == 0 {
                    return Err(refuse(
                        "batches: there are none; give what can be gone through several times, as a list or a DataLoader, \
                         not a generator",
                    ));
                }
                Ok(())
            }
        }
    }
}

fn iterated<'py>(batches: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyIterator>> {
    batches.try_iter().map_err(|error| {
        if !error.is_instance_of::<PyTypeError>(batches.py()) || batches.hasattr("__iter__").unwrap_or(false) {
            return error;
        }
        wrong_type("batches", batches, "what gives pairs of features and labels each time, as a list or a DataLoader")
    })
}

/// The features and the labels of a batch: a tuple, a list, or any other sequence of two.
fn pair<'py>(number: usize, batch: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    // A dictionary or a set of two has no first entry, and the rows of an array are two of the same.
    let is_pair = !batch.is_instance_of::<PyString>()
        && !batch.is_instance_of::<PyDict>()
        && !batch.hasattr("shape")?
        && batch.len().is_ok_and(|length| length == 2);
    match (batch.get_item(0), batch.get_item(1)) {
        (Ok(features), Ok(labels)) if is_pair => Ok((features, labels)),
        _ => {
            let length = batch.len().map_or_else(|_| String::new(), |length| format!(" of {length}"));
            let name = batch.get_type().name()?;
            Err(PyTypeError::new_err(format!(
                "batches: batch {number} (counted from 0) is a {name}{length}, accepted are pairs of features (B, d) and \
                 labels (B,), as tuples or lists"
            )))
        }
    }
}

/// An error of a batch, if it is a `ValueError` or a `TypeError` of ours, with the number of the batch.
fn named(py: Python<'_>, error: PyErr, number: usize) -> PyErr {
    let text = || format!("batch {number} (counted from 0): {}", error.value(py));
    if error.get_type(py).is(py.get_type::<PyValueError>()) {
        return refuse(text());
    }
    if error.get_type(py).is(py.get_type::<PyTypeError>()) {
        return PyTypeError::new_err(text());
    }
    error
}

fn stream<'py>(
    py: Python<'py>,
    features: &Features<'py>,
    labels: &Labels<'py>,
    width: usize,
    work: &mut (impl FnMut(Batch<'_>, Slice<'_>) -> Result<(), Error> + Send),
) -> PyResult<()> {
    features.check_shape(labels.len()?, width)?;
    let labels = labels.slice()?;
    let size = (BATCH / width.max(1)).clamp(1, 1 << 16);
    features.batches(py, size, labels, |start, batch| {
        let rows = with_rows!(batch, rows => rows.nrows());
        work(batch, labels.range(start, rows))
    })
}

//! The samples of a network: in two arrays, or in batches that can be gone through several times.

use neural_collapse::{
    Error,
    metrics::{Measurement, Measuring, Step},
};
use pyo3::prelude::*;

use crate::{
    arrays::{Batch, Features},
    errors::{refuse, refused},
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
                let mut is_empty = true;
                for batch in batches.try_iter()? {
                    let (features, labels): (Bound<'_, PyAny>, Bound<'_, PyAny>) = batch?.extract()?;
                    stream(py, &Features::new(&features)?, &Labels::new(&labels)?, width, &mut work)?;
                    is_empty = false;
                }
                if is_empty {
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
    features.batches(py, size, |start, batch| {
        let rows = with_rows!(batch, rows => rows.nrows());
        work(batch, labels.range(start, rows))
    })
}

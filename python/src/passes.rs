//! Two passes over the samples of a network, or three.

use neural_collapse::{
    ClassCounts, Error, Loss, Ufm,
    metrics::{
        FeatureAccumulator, FeatureStatistics, GradientAccumulator, NearestCenter, NetworkGradient, ScatterAccumulator,
    },
};
use pyo3::prelude::*;

use crate::{
    arrays::{Batch, Features},
    errors::{refuse, refused},
    labels::{Labels, Slice},
    metrics::Network,
    threads::detached,
    with_labels, with_rows,
};

/// Numbers of features that are worked on at a time.
const BATCH: usize = 1 << 22;

/// The samples of a network: in two arrays, or in batches that can be gone through several times.
pub(crate) enum Samples<'py> {
    Arrays(Features<'py>, Labels<'py>),
    Batches(Bound<'py, PyAny>),
}

/// What the passes have gathered.
pub(crate) struct Passes {
    pub(crate) statistics: FeatureStatistics,
    pub(crate) counts: ClassCounts,
    pub(crate) rules: NearestCenter,
    /// One for each reading.
    pub(crate) gradients: Vec<NetworkGradient>,
}

impl<'py> Samples<'py> {
    pub(crate) fn new(features: &Bound<'py, PyAny>, labels: Option<&Bound<'py, PyAny>>) -> PyResult<Self> {
        match labels {
            Some(labels) => Ok(Self::Arrays(Features::new(features)?, Labels::new(labels)?)),
            None => Ok(Self::Batches(features.clone())),
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

/// Where few classes meet wide features the scatter is cheaper in the second pass, along the directions that count;
/// elsewhere it is gathered whole in the first.
pub(crate) fn passes<'py>(
    py: Python<'py>,
    network: &Network,
    samples: &Samples<'py>,
    readings: impl FnOnce(&ClassCounts) -> PyResult<Vec<Ufm>>,
) -> PyResult<Passes> {
    let (classes, width) = network.product.shape();
    let is_narrow = 4 * classes < width;
    let first = if is_narrow {
        FeatureAccumulator::new(width, classes)
    } else {
        FeatureAccumulator::with_scatter(width, classes)
    };
    let mut first = first.map_err(refused)?;
    let mut is_nonnegative = true;
    samples.stream(py, width, |batch, labels| {
        is_nonnegative = is_nonnegative && batch.is_nonnegative();
        with_rows!(batch, rows => with_labels!(labels, labels => first.add_rows(rows, labels)))
    })?;
    let mut statistics = first.finish();
    let counts = statistics.class_counts().map_err(refused)?;
    let rules = detached(py, || NearestCenter::new(network.product.as_ref(), network.bias(), &statistics))?;
    let rules = rules.map_err(refused)?;
    // Class means and the whole scatter have the gradient of squared loss, but for what a ReLU holds at zero.
    let is_known = |reading: &Ufm| {
        !is_narrow && !is_nonnegative && reading.loss() == Loss::Squared && reading.class_weights().is_none()
    };
    let (known, readings): (Vec<Ufm>, Vec<Ufm>) = readings(&counts)?.into_iter().partition(is_known);
    let gradient = |reading: &Ufm| statistics.gradient(reading, network.weights.clone(), network.bias.clone());
    let known = detached(py, || known.iter().map(gradient).collect::<Result<Vec<_>, _>>())?;
    let mut all: Vec<NetworkGradient> = known.map_err(refused)?;
    let mut gradients = accumulator(network, readings)?.with_decisions(rules).map_err(refused)?;
    let mut second = if is_narrow {
        Some(detached(py, || ScatterAccumulator::new(statistics.clone()))?.map_err(refused)?)
    } else {
        None
    };
    samples.stream(py, width, |batch, labels| {
        with_rows!(batch, rows => with_labels!(labels, labels => {
            if let Some(second) = &mut second {
                second.add_rows(rows, labels)?;
            }
            gradients.add_rows(rows, labels)
        }))
    })?;
    if let Some(second) = second {
        statistics = second.finish().map_err(refused)?;
    }
    let rules = gradients.decisions().cloned().ok_or_else(|| refuse("decisions: none"))?;
    all.extend(gradients.finish().map_err(refused)?);
    Ok(Passes { statistics, counts, rules, gradients: all })
}

/// Another pass, for other readings.
pub(crate) fn third_pass<'py>(
    py: Python<'py>,
    network: &Network,
    samples: &Samples<'py>,
    readings: Vec<Ufm>,
) -> PyResult<Vec<NetworkGradient>> {
    let mut gradients = accumulator(network, readings)?;
    samples.stream(
        py,
        network.product.ncols(),
        |batch, labels| with_rows!(batch, rows => with_labels!(labels, labels => gradients.add_rows(rows, labels))),
    )?;
    gradients.finish().map_err(refused)
}

fn accumulator(network: &Network, readings: Vec<Ufm>) -> PyResult<GradientAccumulator> {
    GradientAccumulator::new(readings, network.weights.clone(), network.bias.clone()).map_err(refused)
}

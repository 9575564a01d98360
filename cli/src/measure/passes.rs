//! The passes over the features: two, and a third one where only class weights can explain the arrays.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use neural_collapse::{
    Error, Loss, Ufm,
    faer::{Col, MatRef},
    metrics::{
        ClassRanks, FeatureAccumulator, FeatureStatistics, GradientAccumulator, NearestCenter, NetworkGradient,
        ScatterAccumulator,
    },
};

use super::{
    arrays::{Batch, Features},
    network::Network,
};

/// Numbers of features in a batch; of wide features more, so that every core has whole panels of samples.
const BATCH: usize = 1 << 21;
const LARGEST_BATCH: usize = 1 << 23;
const FULL_PANELS: usize = 2048;

/// Numbers of the Gram matrices of all classes, 32 MiB, beyond which their effective ranks are not gathered.
const MOST_RANKED: usize = 1 << 22;
/// Samples of each class that its effective rank is of.
const RANKED_SAMPLES: usize = 1024;

/// What two passes, or three, have gathered.
pub(crate) struct Passes {
    pub(crate) statistics: FeatureStatistics,
    pub(crate) rules: NearestCenter,
    pub(crate) gradients: Vec<NetworkGradient>,
    /// The effective rank of the features of each class, where it is gathered.
    pub(crate) class_ranks: Option<Vec<Option<f64>>>,
}

/// The same for floats of both widths.
macro_rules! of_either {
    ($batch:expr, |$floats:ident| $work:expr) => {
        match $batch {
            Batch::Single($floats) => $work,
            Batch::Double($floats) => $work,
        }
    };
}

/// Two passes over the features. Where few classes meet wide features the scatter is cheaper in the second, along the
/// directions that count; elsewhere it is gathered whole in the first.
pub(crate) fn passes(network: &Network, readings: Vec<Ufm>) -> Result<Passes, String> {
    let (classes, width) = network.product.shape();
    let is_narrow = 4 * classes < width;
    let first = if is_narrow { FeatureAccumulator::new } else { FeatureAccumulator::with_scatter };
    let mut first = first(width, classes).map_err(text)?;
    let is_small = width.saturating_mul(width).saturating_mul(classes) <= MOST_RANKED;
    let mut ranks = is_small.then(|| ClassRanks::new(width, classes, RANKED_SAMPLES)).transpose().map_err(text)?;
    // Where it counts, see below.
    let mut is_nonnegative = !is_narrow;
    stream(&network.features, &network.labels, "class means", |batch, labels| {
        of_either!(batch, |floats| {
            is_nonnegative = is_nonnegative && has_no_negative(floats);
            ranks.as_mut().map_or(Ok(()), |ranks| ranks.add(floats, labels))?;
            first.add(floats, labels)
        })
    })?;
    let mut statistics = first.finish();
    let bias = network.bias.as_ref().map(Col::as_ref);
    let rules = NearestCenter::new(network.product.as_ref(), bias, &statistics).map_err(text)?;
    // Class means and the whole scatter have the gradient of squared loss, but for what a ReLU holds at zero.
    let is_known = |reading: &Ufm| {
        !is_narrow && !is_nonnegative && reading.loss() == Loss::Squared && reading.class_weights().is_none()
    };
    let (known, readings): (Vec<Ufm>, Vec<Ufm>) = readings.into_iter().partition(is_known);
    let known = known.iter().map(|reading| statistics.gradient(reading, network.weights.clone(), network.bias.clone()));
    let mut known: Vec<NetworkGradient> = known.collect::<Result<_, _>>().map_err(text)?;
    let mut pass = gradients(network, readings)?.with_decisions(rules).map_err(text)?;
    let mut second = is_narrow.then(|| ScatterAccumulator::new(statistics.clone())).transpose().map_err(text)?;
    stream(&network.features, &network.labels, "gradients and nearest means", |batch, labels| {
        of_either!(batch, |floats| {
            second.as_mut().map_or(Ok(()), |second| second.add(floats, labels))?;
            pass.add(floats, labels)
        })
    })?;
    if let Some(second) = second {
        statistics = second.finish().map_err(text)?;
    }
    let (others, Some(rules)) = pass.finish_with_decisions().map_err(text)? else { unreachable!("it has decisions") };
    known.extend(others);
    let class_ranks = ranks.map(ClassRanks::finish).transpose().map_err(text)?;
    Ok(Passes { statistics, rules, gradients: known, class_ranks })
}

/// Another pass, for other readings.
pub(crate) fn third_pass(network: &Network, readings: Vec<Ufm>) -> Result<Vec<NetworkGradient>, String> {
    let mut pass = gradients(network, readings)?;
    stream(&network.features, &network.labels, "gradients with class weights", |batch, labels| {
        of_either!(batch, |floats| pass.add(floats, labels))
    })?;
    pass.finish().map_err(text)
}

fn gradients(network: &Network, readings: Vec<Ufm>) -> Result<GradientAccumulator, String> {
    GradientAccumulator::new(readings, network.weights.clone(), network.bias.clone()).map_err(text)
}

fn has_no_negative<T: Copy + Into<f64>>(features: MatRef<'_, T>) -> bool {
    features.col_iter().all(|sample| sample.iter().all(|&entry| entry.into() >= 0.0))
}

#[allow(clippy::needless_pass_by_value)]
fn text(error: Error) -> String {
    error.to_string()
}

/// Shows all features in batches, with their labels, and how far it has come.
fn stream(
    features: &Features,
    labels: &[usize],
    what: &'static str,
    mut add: impl FnMut(Batch<'_>, &[usize]) -> Result<(), Error>,
) -> Result<(), String> {
    let bar =
        if std::io::stderr().is_terminal() { ProgressBar::new(labels.len() as u64) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {msg}, {human_pos} of {human_len} samples, {eta} left") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    let width = features.width().max(1);
    let size = (BATCH / width).max(FULL_PANELS.min(LARGEST_BATCH / width)).clamp(1, 1 << 16);
    let streamed = features.batches(size, |place, batch| {
        let labels = &labels[place.sample..][..batch.len()];
        bar.set_position((place.sample + labels.len()) as u64);
        add(batch, labels).map_err(|error| match error {
            // Rows of the file are columns of the crate, batch after batch.
            Error::NotFinite { row, col, value, .. } | Error::OutOfRange { row, col, value, .. } => {
                place.array.says(&format_args!(
                    "entry {row} of row {} (counted from 0) is {value:?}, finite numbers below 3e144 are needed",
                    place.row + col
                ))
            }
            error => place.array.says(&error),
        })
    });
    bar.finish_and_clear();
    streamed
}

//! The passes over the features, batch after batch of the files, with how far they have come.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use neural_collapse::{
    Error,
    metrics::{Measurement, Measuring, Step},
};

use super::{
    arrays::{Batch, Features},
    network::Network,
};

/// Numbers of features in a batch; of wide features more, so that every core has whole panels of samples.
const BATCH: usize = 1 << 21;
const LARGEST_BATCH: usize = 1 << 23;
const FULL_PANELS: usize = 2048;

/// Shows all features to every pass.
pub(crate) fn passes(network: &Network, mut measuring: Measuring) -> Result<Measurement, String> {
    loop {
        stream(&network.features, &network.labels, &mut measuring)?;
        match measuring.end_pass().map_err(|error| error.to_string())? {
            Step::Pass(next) => measuring = next,
            Step::Done(measurement) => return Ok(measurement),
        }
    }
}

/// Shows all features in batches, with their labels, and how far it has come.
fn stream(features: &Features, labels: &[usize], measuring: &mut Measuring) -> Result<(), String> {
    let bar =
        if std::io::stderr().is_terminal() { ProgressBar::new(labels.len() as u64) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {msg}, {human_pos} of {human_len} samples, {eta} left") {
        bar.set_style(style);
    }
    bar.set_message(measuring.pass().to_string());
    bar.enable_steady_tick(Duration::from_millis(200));
    let width = features.width().max(1);
    let size = (BATCH / width).max(FULL_PANELS.min(LARGEST_BATCH / width)).clamp(1, 1 << 16);
    let streamed = features.batches(size, |place, batch| {
        let labels = &labels[place.sample..][..batch.len()];
        bar.set_position((place.sample + labels.len()) as u64);
        let added = match batch {
            Batch::Single(floats) => measuring.add(floats, labels),
            Batch::Double(floats) => measuring.add(floats, labels),
        };
        added.map_err(|error| match error {
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

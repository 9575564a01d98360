//! A measurement as a table for people.

mod metrics;
mod question;
mod singular_values;

use neural_collapse::{Loss, metrics::Measurement};

use self::{
    metrics::metrics,
    question::{implied, question},
    singular_values::singular_values,
};

pub(crate) fn as_table(measurement: &Measurement) -> String {
    let mut text = network_line(measurement);
    text += &implied(measurement);
    text += &question(measurement);
    text += &metrics(measurement);
    text += &singular_values(measurement);
    text
}

fn network_line(measurement: &Measurement) -> String {
    let counts = measurement.counts.to_string();
    let counts = if counts.len() > 60 { String::new() } else { format!(" ({counts})") };
    let classes = measurement.counts.classes();
    let layers = match (measurement.layers.depth(), measurement.layers.has_all()) {
        (1, _) => "1 linear layer".to_owned(),
        (depth, true) => format!("{depth} linear layers"),
        (depth, false) => format!("{depth} linear layers, given as their product"),
    };
    let is_nonnegative = measurement.question.has_nonnegative_features();
    format!(
        "{}{counts}, {} samples, {}features of width {}, {layers}, {}\n\n",
        if classes == 1 { "1 class".into() } else { format!("{classes} classes") },
        measurement.counts.samples(),
        if is_nonnegative { "nonnegative " } else { "" },
        measurement.layers.width(),
        if measurement.layers.bias().is_some() { "with bias" } else { "no bias" },
    )
}

pub(super) fn loss_name(loss: Loss) -> String {
    if loss == Loss::Squared { "squared loss".into() } else { loss.to_string() }
}

/// Six decimals in every line of a column, so that points stand below each other; what is too large for that has an
/// exponent.
fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), |x| if x.abs() < 1e5 { format!("{:.6}", x + 0.0) } else { format!("{x:.4e}") })
}

/// Five digits of a decay.
fn decay(x: f64) -> String {
    format!("{x:.4e}")
}

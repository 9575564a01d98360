//! A measurement as a table for people.

mod metrics;
mod question;
mod singular_values;

use neural_collapse::metrics::NetworkGradient;

use self::{
    metrics::metrics,
    question::{implied, question},
    singular_values::singular_values,
};
use super::{measurement::Measurement, network::Network};

/// How far from its target a number between 0 and about 1 is at most that has reached it; ten times that is near.
const REACHED: f64 = 0.01;
/// A relative gap above minus this is not below zero: certified minima are known to 1e-6 at worst.
const GAP_ROUNDING: f64 = 1e-6;

pub(crate) fn as_table(network: &Network, measurement: &Measurement) -> String {
    let mut text = network_line(network, measurement);
    text += &implied(measurement);
    text += &question(measurement);
    text += &metrics(network, measurement);
    text += &singular_values(measurement);
    text
}

fn network_line(network: &Network, measurement: &Measurement) -> String {
    let counts = network.counts.to_string();
    let counts = if counts.len() > 60 { String::new() } else { format!(" ({counts})") };
    let classes = network.counts.classes();
    let question = &measurement.question;
    let layers = match (question.depth, question.has_all_layers) {
        (1, _) => "1 linear layer".to_owned(),
        (depth, true) => format!("{depth} linear layers"),
        (depth, false) => format!("{depth} linear layers, given as their product"),
    };
    let is_nonnegative = question.gradients.iter().any(NetworkGradient::has_nonnegative_features);
    format!(
        "{}{counts}, {} samples, {}features of width {}, {layers}, {}\n\n",
        if classes == 1 { "1 class".into() } else { format!("{classes} classes") },
        network.counts.samples(),
        if is_nonnegative { "nonnegative " } else { "" },
        network.product.ncols(),
        if network.bias.is_some() { "with bias" } else { "no bias" },
    )
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

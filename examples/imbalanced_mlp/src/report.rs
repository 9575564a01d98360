//! What a run prints on the standard output.

use std::time::Duration;

use neural_collapse::theory::Minimizer;

use crate::{configuration::Configuration, data::TrainingSet, history::Row, measure::Measurement};

/// Where the time of a run has gone.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// All of it.
    pub all: Duration,
    /// Measuring.
    pub measuring: Duration,
    /// Writing checkpoints.
    pub saving: Duration,
}

/// Before training: what is trained, and the minimum that the theory gives.
#[must_use]
pub fn beginning(configuration: &Configuration, set: &TrainingSet, minimizer: &Minimizer, step: u64) -> String {
    let Configuration { width, layer_decay, feature_decay, bias, learning_rate, batch, epochs, .. } = configuration;
    let decays = layer_decay.iter().map(|decay| format!("{decay:e}")).collect::<Vec<_>>().join(", ");
    let bias = if *bias { "with bias" } else { "no bias" };
    table(&[
        ("data", format!("{} samples of {} numbers, counts {}", set.labels.len(), set.inputs, set.counts)),
        ("network", format!("width {width}, {} linear after the features, {bias}", layer_decay.len())),
        ("decays", format!("layers {decays}, features {feature_decay:e}")),
        ("training", format!("{epochs} epochs, batches of {batch}, learning rate {learning_rate:e}")),
        ("minimum (theory)", format!("{:.9e}, rank {}", minimizer.objective(), minimizer.rank())),
        ("steps done", step.to_string()),
    ])
}

/// After it: what the network has reached, and after how many steps.
#[must_use]
pub fn ending(configuration: &Configuration, minimizer: &Minimizer, row: &Row, steps: u64, times: Times) -> String {
    let Measurement { objective, gap, nc1, nc2_classifier, nc2_features, nc3, alignment, accuracy } = row.measurement;
    let over = row.epoch >= configuration.epochs as f64;
    let number = |value: Option<f64>| value.map_or_else(|| "undefined".into(), |value| format!("{value:.3e}"));
    let [all, measuring, saving] = [times.all, times.measuring, times.saving].map(|time| time.as_secs_f64());
    let share = |seconds: f64| 100.0 * seconds / all;
    let step = 1e3 * (all - measuring - saving) / steps.max(1) as f64;
    table(&[
        ("ending", if over { "last epoch".into() } else { "interrupted: --resume goes on".into() }),
        ("epochs", row.epoch.to_string()),
        ("steps", format!("{steps} in {all:.1} s, {step:.3} ms a step")),
        ("", format!("{:.1} % of the time measuring, {:.1} % saving", share(measuring), share(saving))),
        ("minimum (theory)", format!("{:.9e}", minimizer.objective())),
        ("reached (network)", format!("{objective:.9e}")),
        ("relative gap", format!("{gap:.3e}")),
        ("NC1", number(nc1)),
        ("NC2 classifiers", number(nc2_classifier)),
        ("NC2 class means", number(nc2_features)),
        ("NC3", number(nc3)),
        ("alignment", number(alignment)),
        ("accuracy", format!("{:.2} %", 100.0 * accuracy)),
    ])
}

/// Names and values, a line each.
#[must_use]
pub fn table(lines: &[(&str, String)]) -> String {
    lines.iter().map(|(name, value)| format!("{name:<20} {value}\n")).collect::<Vec<_>>().concat()
}

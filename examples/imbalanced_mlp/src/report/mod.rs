//! What a run prints on the standard output.

mod verdict;

use std::time::Duration;

use self::verdict::verdict;
use crate::{
    configuration::Configuration,
    data::TrainingSet,
    groups::{Group, Probabilities},
    history::Row,
    measure::{Judge, Measurement, Snapshot},
    optimizer::Rule,
    target::{Source, Target},
};

/// How a run ends that is over.
pub const OVER: &str = "last epoch";

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

/// Before training: what is trained, with decays in the units of the theory and as they were given if that is another
/// convention, and the minimum that the theory gives.
#[must_use]
pub fn beginning(
    configuration: &Configuration,
    given_decays: Option<String>,
    set: &TrainingSet,
    judge: &Judge,
    step: u64,
) -> String {
    let Configuration { width, layer_decay, bias, learning_rate, batch, epochs, optimizer, .. } = configuration;
    let bias = if *bias { "with bias" } else { "no bias" };
    let minimum = judge.target().map_or_else(|| "depends on the decays that the arrays imply".into(), minimum);
    let mut lines = vec![
        ("data", format!("{} samples of {} numbers, counts {}", set.labels.len(), set.inputs, set.counts)),
        ("network", format!("width {width}, {} linear after the features, {bias}", layer_decay.len())),
        ("loss", loss(configuration)),
        ("decays", decays(configuration)),
    ];
    lines.extend(given_decays.map(|given| ("", given)));
    lines.extend([
        ("training", format!("{epochs} epochs of {optimizer}, batches of {batch}, learning rate {learning_rate:e}")),
        ("minimum (theory)", minimum),
    ]);
    if let Some(target) = judge.target() {
        lines.extend(predictions(judge.groups(), target).map(|text| ("", text)));
    }
    lines.push(("steps done", step.to_string()));
    table(&lines)
}

/// A number without the rounding of a conversion: 15 digits at most.
fn digits(x: f64) -> String {
    format!("{:e}", format!("{x:.14e}").parse().unwrap_or(x))
}

/// Which decays there are, in words.
fn decays(configuration: &Configuration) -> String {
    if let Some(decay) = configuration.weight_decay {
        return format!("all weights and biases {decay:e}, by the optimizer; features not penalized");
    }
    let layers = configuration.layer_decay.iter().map(|&decay| digits(decay)).collect::<Vec<_>>().join(", ");
    let features = configuration.feature_decay.map_or_else(|| "not penalized".into(), digits);
    let ramp = match configuration.decay_ramp {
        0.0 => String::new(),
        ramp => format!(", growing from a tenth over {:.0} % of the run", 100.0 * ramp),
    };
    let bias = if configuration.bias_decay > 0.0 {
        format!(", bias {}", digits(configuration.bias_decay))
    } else {
        String::new()
    };
    format!("layers {layers}, features {features}{bias}{ramp}")
}

/// The loss in words.
fn loss(configuration: &Configuration) -> String {
    let Configuration { loss, class_weights, label_smoothing, logit_adjustment, ldam, cdt, relu_features, .. } =
        configuration;
    let parts = [
        (!class_weights.is_empty(), "class weights".to_owned()),
        (*label_smoothing != 0.0, format!("label smoothing {label_smoothing}")),
        (*logit_adjustment != 0.0, format!("logit adjustment {logit_adjustment}")),
        (*ldam != 0.0, format!("margins {ldam} n^(-1/4)")),
        (*cdt != 0.0, format!("temperatures (n/n_max)^{cdt}")),
        (*relu_features, "features after a ReLU".to_owned()),
    ];
    let parts = parts.into_iter().filter_map(|(is_there, part)| is_there.then_some(part));
    [loss.clone()].into_iter().chain(parts).collect::<Vec<_>>().join(", ")
}

/// The minimum, and how it is known.
fn minimum(target: &Target) -> String {
    let (objective, rank) = (target.objective, target.rank);
    let how = match target.source {
        Source::Closed => "closed form".into(),
        Source::Certified { gap } => format!("proved to {gap:.0e} of it"),
        Source::Orthogonal { is_proved: true, .. } => "orthogonal class means, proved".into(),
        Source::Orthogonal { lower_bound, .. } => {
            format!("the best with orthogonal class means; no point is below {lower_bound:.9e}")
        }
        Source::Descent { starts, same } => {
            format!("by descent, where {same} of {starts} ended: the theory has no proof for this model")
        }
    };
    format!("{objective:.9e}, rank {rank}, {how}")
}

/// What the theory says of every group that has siblings.
fn predictions<'a>(groups: &'a [Group], target: &'a Target) -> impl Iterator<Item = String> + 'a {
    let both = groups.iter().zip(&target.probabilities);
    both.filter_map(|(group, predicted)| {
        let Probabilities { own, sibling } = *predicted;
        let sibling = sibling?;
        let kept = if own - sibling > 1e-9 { "apart" } else { "not told apart" };
        Some(format!(
            "{}: own class {own:.4}, sibling {sibling:.4}, {kept}",
            classes(group.classes.len(), group.count, group.weight)
        ))
    })
}

fn classes(number: usize, count: u64, weight: f64) -> String {
    let weight = if weight == 1.0 { String::new() } else { format!(", weight {weight:.3}") };
    format!("{number} classes of {count}{weight}")
}

/// After it: what the network has reached, and after how many steps.
#[must_use]
pub fn ending(
    configuration: &Configuration,
    judge: &Judge,
    row: &Row,
    snapshot: &Snapshot,
    nearby: Option<&Target>,
    steps: u64,
    times: Times,
) -> String {
    let (m, optimizer) = (&row.measurement, &configuration.optimizer);
    let is_over = row.epoch >= configuration.epochs as f64;
    let number = |value: Option<f64>| value.map_or_else(|| "undefined".into(), |value| format!("{value:.3e}"));
    let [all, measuring, saving] = [times.all, times.measuring, times.saving].map(|time| time.as_secs_f64());
    let share = |seconds: f64| 100.0 * seconds / all;
    let step = 1e3 * (all - measuring - saving) / steps.max(1) as f64;
    let target = snapshot.target.as_deref();
    let mut lines = vec![
        ("ending", if is_over { OVER.into() } else { "interrupted: --resume goes on".into() }),
        ("epochs", row.epoch.to_string()),
        ("steps", format!("{steps} in {all:.1} s, {step:.3} ms a step")),
        ("", format!("{:.1} % of the time measuring, {:.1} % saving", share(measuring), share(saving))),
        ("minimum (theory)", target.map_or_else(|| "the arrays imply a decay that is not positive".into(), minimum)),
    ];
    lines.extend(reached(configuration, target, m));
    if let Some(Target { objective, rank, .. }) = nearby {
        lines
            .push(("minimum nearby", format!("{objective:.9e}, rank {rank}, by a descent that starts at the network")));
    }
    lines.extend([
        ("relative gap", number(m.gap)),
        ("NC1", number(m.nc1)),
        ("NC2 classifiers", number(m.nc2_classifier)),
        ("NC2 class means", number(m.nc2_features)),
        ("NC3", number(m.nc3)),
        ("alignment", number(m.alignment)),
        ("accuracy", format!("{:.2} %", 100.0 * m.accuracy)),
    ]);
    let decays = configuration.layer_decay.iter().copied().map(Some).chain([configuration.feature_decay]);
    let names = (1..=configuration.layer_decay.len()).map(|l| format!("W_{l}")).chain(["features".into()]);
    for ((implied, decay), name) in m.implied.iter().zip(decays).zip(names) {
        let trained = match decay {
            // Its decay is a share of the weight that goes at every step: another unit than that of a penalty.
            Some(_) if configuration.weight_decay.is_some() && *optimizer == Rule::AdamW => {
                "none: adamw shrinks weights, which is not a penalty".into()
            }
            Some(decay) => digits(decay),
            None => "none".into(),
        };
        let found =
            implied.map_or_else(|| "none".into(), |(implied, misfit)| format!("{implied:.4e} (misfit {misfit:.1e})"));
        lines.push(("implied decay", format!("{name}: {found}, trained with {trained}")));
    }
    table(&lines) + &verdict(configuration, judge.groups(), target, nearby, m)
}

/// The objective that the gap compares with the minimum, and what training minimized, if that is another one.
fn reached(configuration: &Configuration, target: Option<&Target>, m: &Measurement) -> Vec<(&'static str, String)> {
    let objective = format!("{:.9e}", m.objective);
    if !configuration.implies_decays() {
        return vec![("reached (network)", objective)];
    }
    let without = match configuration.weight_decay {
        Some(_) => "without penalties",
        None => "without the penalty of the features",
    };
    let Some((target, gap)) = target.zip(m.gap) else {
        return vec![("reached (network)", format!("{objective}, {without}"))];
    };
    let least = target.objective;
    let compared = least + gap * if least > 0.0 { least } else { 1.0 };
    vec![
        ("reached (network)", format!("{compared:.9e}, with penalties at the implied decays")),
        ("", format!("{objective}, {without}")),
    ]
}

/// Names and values, a line each.
#[must_use]
pub fn table(lines: &[(&str, String)]) -> String {
    lines.iter().map(|(name, value)| format!("{name:<20} {value}\n")).collect::<Vec<_>>().concat()
}

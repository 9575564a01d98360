//! Features that may not be negative: the best point with orthogonal class means, and a bound of all others.

use neural_collapse::{
    Error, Loss,
    theory::{GroupFate, NonnegativeGroup, NonnegativeMinimizer},
};
use serde_json::{Value, json};

use super::{
    certified::{logits, name_of},
    next_decays::from_decay,
    report::{GroupReport, Report, model_lines},
    table::both_ends,
};
use crate::shared::numbers::short;

const HEADING: &str = " classes    samples      weight       p own   p sibling  classifier  class mean  fate";

pub(super) fn as_json(minimizer: &NonnegativeMinimizer, angle: f64) -> Value {
    let groups = minimizer.groups();
    let bias = minimizer.bias();
    let report = Report {
        ufm: minimizer.ufm(),
        objective: minimizer.objective(),
        lower_bound: minimizer.lower_bound(),
        gap: minimizer.gap(),
        rank: minimizer.active(),
        is_unique: minimizer.is_proved().then_some(true),
        directions: Vec::new(),
        limits: Report::no_limits(),
        angle,
        groups: groups
            .iter()
            .map(|group| group_report(group, bias.as_ref().map(|bias| bias[group.classes[0]])).as_json())
            .collect(),
        clusters: None,
    };
    let mut object = report.into_json();
    object["logits"] = logits(&minimizer.logits(), |r| groups[r].classes.len());
    object["logits_own"] = json!(minimizer.logits_own());
    object
}

fn group_report(group: &NonnegativeGroup, bias: Option<f64>) -> GroupReport {
    GroupReport {
        count: group.count,
        classes: group.classes.len(),
        first_class: group.classes[0],
        weight: group.weight,
        fate: group.fate(),
        is_merged: None,
        probability_own: Some(group.probability_own),
        probability_sibling: group.probability_sibling,
        classifier_norm: Some(group.classifier_norm),
        mean_norm: Some(group.mean_norm),
        bias,
        nearest: None,
        coincidence_scale: None,
        vanishing_scale: group.vanishing_scale,
    }
}

pub(super) fn as_table(minimizer: &NonnegativeMinimizer) -> Result<String, Error> {
    let (ufm, groups) = (minimizer.ufm(), minimizer.groups());
    let p = if ufm.loss() == Loss::CrossEntropy { "probability" } else { "output" };
    let mut lines = model_lines(ufm);
    lines.push("features are not negative".into());
    lines.push(String::new());
    lines.extend(objective(minimizer));
    lines.push(match minimizer.active() {
        0 => "class means  zero".into(),
        1 => "class means  on one ray, those of one class".into(),
        classes => format!("class means  orthogonal: a ray for each of {classes} classes"),
    });
    lines.push(String::new());
    lines.extend(decays(minimizer));
    lines.extend([
        String::new(),
        format!("p own, p sibling        {p} of a sample's own class, and of another class of its group"),
        "classifier, class mean  their norms".into(),
        String::new(),
        HEADING.into(),
    ]);
    lines.extend(both_ends(groups.len(), "    ", |r| Ok(row(&groups[r])))?);
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

/// What is zero, what the next decay makes zero, and from which one on all is.
fn decays(minimizer: &NonnegativeMinimizer) -> Vec<String> {
    let groups = minimizer.groups();
    let name = |group: &NonnegativeGroup| {
        name_of(groups.iter().map(|other| other.count), group.classes.len(), group.count, group.weight)
    };
    let zero: Vec<String> = groups.iter().filter(|group| group.is_vanished).map(name).collect();
    let zero = if zero.is_empty() { "none: no class is zero".into() } else { zero.join("; ") };
    let mut lines = vec![format!("zero                 {zero}")];
    let mut scaled: Vec<(f64, &NonnegativeGroup)> =
        groups.iter().filter_map(|group| Some((group.vanishing_scale?, group))).collect();
    scaled.sort_by(|one, other| one.0.total_cmp(&other.0));
    let decay = |scale| from_decay(minimizer.ufm(), scale, "from");
    if let Some((scale, group)) = scaled.iter().find(|(_, group)| !group.is_vanished) {
        lines.push(format!("next to vanish       {}: {}", name(group), decay(*scale)));
    }
    if let Some((scale, _)) = scaled.last() {
        lines.push(format!("all is zero          {}", decay(*scale)));
    } else if minimizer.active() > 0 {
        lines.push("next to vanish       with a bias no formula says: predict again at another --layer-decay".into());
    }
    lines
}

/// The objective and what is proved of it.
fn objective(minimizer: &NonnegativeMinimizer) -> Vec<String> {
    let (objective, bound, gap) = (minimizer.objective(), minimizer.lower_bound(), minimizer.gap());
    let bound = format!("lower bound  {bound:.15e}: no point is lower");
    if minimizer.is_proved() {
        return vec![
            format!("minimum      {objective:.15e}"),
            bound,
            format!("gap          {gap:.1e} of the minimum: rounding"),
        ];
    }
    vec![
        format!("objective    {objective:.15e}, the least with orthogonal class means"),
        bound,
        format!("gap          {gap:.1e} of the objective: the minimum is between the two"),
        "             `neural-collapse descend --collapsed` with wide layers comes closer; narrow ones have local minima"
            .into(),
    ]
}

fn row(group: &NonnegativeGroup) -> String {
    let number = |value: Option<f64>| value.map_or_else(|| "-".into(), short);
    let numbers = [
        Some(group.weight),
        Some(group.probability_own),
        group.probability_sibling,
        Some(group.classifier_norm),
        Some(group.mean_norm),
    ];
    let numbers: Vec<_> = numbers.map(|value| format!("{:>10}", number(value))).into();
    let fate = match group.fate() {
        GroupFate::Vanished => "zero",
        _ => "a ray for each",
    };
    format!("{:>8}  {:>9}  {}  {fate}", group.classes.len(), group.count, numbers.join("  "))
}

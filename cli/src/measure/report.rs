//! A measurement as a table for people, and as JSON for scripts.

use neural_collapse::{ClassCounts, metrics::FrameDistances, theory::GroupFate};
use serde_json::{Value, json};

use super::measurement::{Classes, Measurement};
use crate::shared::numbers::{digits, short};

/// Rows of singular values beyond which people stop reading.
const MOST_ROWS: usize = 40;

/// How far from its target a number is at most that has reached it, or is near it.
const REACHED: f64 = 0.01;
const NEAR: f64 = 0.1;

pub(crate) fn as_json(measurement: &Measurement) -> Value {
    let Measurement { nc1: [paper, unweighted, weighted, undivided], collapse, .. } = measurement;
    let values = measurement.singular_values.iter();
    let values = values.map(|of| (of.block.clone(), json!({ "measured": of.measured, "predicted": of.predicted })));
    let (minimizer, ufm) = (&measurement.minimizer, measurement.minimizer.ufm());
    json!({
        "counts": ufm.class_counts().map(ClassCounts::counts),
        "layer_decays": ufm.layers().iter().map(|layer| layer.decay).collect::<Vec<_>>(),
        "feature_decay": ufm.feature_decay(),
        "rank": minimizer.rank(),
        "unique": minimizer.is_unique(),
        "nc1": { "paper": paper, "unweighted": unweighted, "weighted": weighted, "undivided": undivided },
        "nc2": { "classifier": collapse.nc2_classifier, "features": collapse.nc2_features },
        "nc3": { "product": collapse.nc3, "alignment": collapse.alignment },
        "nc4": measurement.disagreement,
        "objective": measurement.objective,
        "optimum": measurement.optimum,
        "gap": measurement.gap,
        "distance": measurement.distance,
        "trace_ratio": measurement.trace_ratio,
        "cdnv": measurement.class_distance_normalized_variance,
        "accuracy": measurement.accuracy,
        "nearest_center_accuracy": measurement.center_accuracy,
        "feature_mean": { "measured": measurement.feature_mean[0], "predicted": measurement.feature_mean[1] },
        "nc4_predicted": measurement.predicted_disagreement,
        "frames": { "measured": frames(&measurement.measured), "predicted": frames(&measurement.predicted) },
        "singular_values": values.collect::<serde_json::Map<_, _>>(),
    })
}

fn frames(classes: &Classes) -> Value {
    let of = |distances: &FrameDistances| {
        json!({
            "equinorm": distances.equinorm,
            "equiangularity": distances.equiangularity,
            "maximal_angle": distances.maximal_angle,
            "simplex": distances.simplex,
            "orthogonal": distances.orthogonal,
        })
    };
    json!({
        "classifiers": of(&classes.classifiers),
        "means": of(&classes.means),
        "self_duality": classes.self_duality,
    })
}

pub(crate) fn as_table(measurement: &Measurement) -> String {
    let mut text = model(measurement);
    text += &metrics(measurement);
    text += &singular_values(measurement);
    text
}

fn model(measurement: &Measurement) -> String {
    let ufm = measurement.minimizer.ufm();
    let counts = ufm.class_counts().map(ToString::to_string).unwrap_or_default();
    let counts = if counts.len() > 60 { String::new() } else { format!(" ({counts})") };
    let mut decays: Vec<_> = ufm.layers().iter().map(|layer| digits(layer.decay)).collect();
    if decays.iter().all(|decay| *decay == decays[0]) {
        decays.truncate(1);
    }
    let decays = decays.join(", ");
    format!(
        "{}{counts}, {} samples, features of width {}, {} linear {}, {}\n\
         decays as the theory has them: layers {decays}, features {}\n\
         minimizer: rank {} of {}, {}\n{}\n",
        if ufm.outputs() == 1 { "1 class".into() } else { format!("{} classes", ufm.outputs()) },
        ufm.samples(),
        ufm.feature_width(),
        ufm.depth(),
        if ufm.depth() == 1 { "layer" } else { "layers" },
        if ufm.has_bias() { "with bias" } else { "no bias" },
        digits(ufm.feature_decay()),
        measurement.minimizer.rank(),
        ufm.outputs(),
        if measurement.minimizer.is_unique() { "unique" } else { "not unique: see `predict`" },
        collapsed(measurement),
    )
}

/// The classes that the optimum does not tell apart.
fn collapsed(measurement: &Measurement) -> String {
    let minimizer = &measurement.minimizer;
    let (Some(classes), Ok(fates)) = (minimizer.ufm().class_counts(), minimizer.group_fates()) else {
        return String::new();
    };
    let all = |fate| {
        let groups = classes.groups().zip(&fates).filter(|(_, own)| **own == fate).map(|(group, _)| group);
        let named: Vec<_> = groups.map(|group| format!("{}x{}", group.count, group.multiplicity())).collect();
        if named.len() > 5 { format!("{} groups of classes", named.len()) } else { named.join(", ") }
    };
    let line = |fate, end| Some(all(fate)).filter(|names| !names.is_empty()).map(|names| format!("{names} {end}\n"));
    let shared = line(GroupFate::Coincident, "share one classifier at the optimum (minority collapse)");
    let zero = line(GroupFate::Vanished, "have no classifier at the optimum");
    shared.unwrap_or_default() + &zero.unwrap_or_default()
}

/// A line of the table: name, number, target.
type Line = (&'static str, Option<f64>, Option<f64>);

fn metrics(measurement: &Measurement) -> String {
    let (collapse, zero) = (&measurement.collapse, Some(0.0));
    let [paper, unweighted, weighted, undivided] = measurement.nc1;
    let (ours, theirs) = (&measurement.measured, &measurement.predicted);
    let theory: [Line; 19] = [
        ("NC1 (Liu, Dang, Zhu)", paper, zero),
        ("NC1 unweighted mean", unweighted, zero),
        ("NC1 weighted classes", weighted, zero),
        ("NC1 undivided", undivided, zero),
        ("trace ratio", measurement.trace_ratio, zero),
        ("CDNV", measurement.class_distance_normalized_variance, zero),
        ("NC2 classifier", collapse.nc2_classifier, zero),
        ("NC2 features", collapse.nc2_features, zero),
        ("NC3 product", collapse.nc3, zero),
        ("NC3 alignment", collapse.alignment, zero),
        ("NC4 disagreement", measurement.disagreement, Some(measurement.predicted_disagreement)),
        ("relative gap", measurement.gap, zero),
        ("distance to minimizers", measurement.distance, zero),
        ("mean of all features", measurement.feature_mean[0], measurement.feature_mean[1]),
        ("classifier equinorm", ours.classifiers.equinorm, theirs.classifiers.equinorm),
        ("classifier angles, std", ours.classifiers.equiangularity, theirs.classifiers.equiangularity),
        ("mean equinorm", ours.means.equinorm, theirs.means.equinorm),
        ("mean angles, std", ours.means.equiangularity, theirs.means.equiangularity),
        ("self-duality", ours.self_duality, theirs.self_duality),
    ];
    let frames: [Line; 4] = [
        ("classifier to simplex", ours.classifiers.simplex, theirs.classifiers.simplex),
        ("mean to simplex", ours.means.simplex, theirs.means.simplex),
        ("classifier to orthogonal", ours.classifiers.orthogonal, theirs.classifiers.orthogonal),
        ("mean to orthogonal", ours.means.orthogonal, theirs.means.orthogonal),
    ];
    let plain: [Line; 3] = [
        ("objective", measurement.objective, Some(measurement.optimum)),
        ("accuracy", measurement.accuracy, None),
        ("accuracy, nearest mean", measurement.center_accuracy, None),
    ];
    let mut lines = vec![format!("{:<26}{:>12}{:>12}  verdict", "metric", "measured", "target")];
    for (name, measured, target) in theory.into_iter().chain(frames) {
        // What the theory has as zero, but for rounding.
        let shown = target.map(|target| if target < 1e-15 { 0.0 } else { target });
        lines.push(format!("{name:<26}{:>12}{:>12}  {}", number(measured), number(shown), verdict(measured, target)));
    }
    for (name, measured, target) in plain {
        lines.push(format!("{name:<26}{:>12}{:>12}", number(measured), number(target)).trim_end().to_owned());
    }
    let footnote =
        "reached: within 0.01 of its target; near: within 0.1. Objective and target as training scales them.";
    lines.join("\n") + "\n\n" + footnote + "\n\n"
}

fn verdict(measured: Option<f64>, target: Option<f64>) -> &'static str {
    match (measured, target) {
        (Some(measured), Some(target)) => match (measured - target).abs() {
            rest if rest <= REACHED => "reached",
            rest if rest <= NEAR => "near",
            _ => "far",
        },
        (None, _) => "not defined, or not for these arrays",
        (_, None) => "no target",
    }
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), short)
}

fn singular_values(measurement: &Measurement) -> String {
    let all = &measurement.singular_values;
    let row = |cells: &mut dyn Iterator<Item = [String; 2]>| {
        let cells: Vec<_> = cells.map(|[left, right]| format!("{left:>12}{right:>12}")).collect();
        cells.concat().trim_end().to_owned()
    };
    let mut lines = vec!["singular values, measured and predicted".into()];
    lines.push(row(&mut all.iter().map(|of| [of.block.clone(), String::new()])));
    let rows = all.iter().map(|of| of.predicted.len()).max().unwrap_or(0);
    for k in 0..rows.min(MOST_ROWS) {
        lines.push(row(&mut all.iter().map(|of| [&of.measured, &of.predicted].map(|all| number(all.get(k).copied())))));
    }
    if rows > MOST_ROWS {
        lines.push(format!("    ... {} more, all of them with --json", rows - MOST_ROWS));
    }
    lines.join("\n") + "\n"
}

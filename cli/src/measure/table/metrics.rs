//! The middle of the table: every metric with its target and its verdict.

use neural_collapse::metrics::{Collapse, Distance};

use super::{
    super::{measurement::Measurement, network::Network},
    GAP_ROUNDING, REACHED, number,
};

/// A line of the table.
struct Line {
    name: &'static str,
    measured: Option<f64>,
    target: Option<f64>,
    /// How far from the target is reached; ten times that is near. `None` where a verdict would say nothing.
    reached: Option<f64>,
}

pub(super) fn metrics(network: &Network, measurement: &Measurement) -> String {
    let target = measurement.target.as_ref();
    let is_above = target.is_some_and(|target| target.gap.is_none_or(|gap| gap >= -GAP_ROUNDING));
    let has_verdicts = measurement.applies() && is_above;
    let mut lines = vec![format!("{:<26}{:>13}{:>13}  verdict", "metric", "measured", "target").trim_end().to_owned()];
    for line in compared(network, measurement).into_iter().chain(plain(measurement)) {
        let Line { name, measured, target, reached } = line;
        // What the theory has as zero, but for rounding.
        let shown = target.map(|target| if target.abs() < 1e-15 { 0.0 } else { target });
        let verdict = match (measured, target, reached) {
            (Some(measured), Some(target), Some(reached)) if has_verdicts => match (measured - target).abs() {
                rest if rest <= reached => "reached",
                rest if rest <= 10.0 * reached => "near",
                _ => "far",
            },
            _ => "-",
        };
        lines.push(format!("{name:<26}{:>13}{:>13}  {verdict}", number(measured), number(shown)));
    }
    let mut footnote = String::new();
    if has_verdicts {
        footnote += "reached: within 0.01 of its target (NC1 undivided: 0.01 K), near: within ten times that.\n";
    }
    footnote += "`neural-collapse measure --explain` has the formula of every line, --json all digits.";
    if has_verdicts && is_single(network) {
        footnote += "\nNC1, trace ratio and CDNV have no verdict: classes of one sample do not vary.";
    } else if has_verdicts && target.is_some_and(|target| target.has_collapsed) {
        footnote += "\nNC1 and CDNV have no verdict: classes share a mean at this optimum, and between them both divide \
                     noise by noise.";
    }
    lines.join("\n") + "\n\n" + &footnote + "\n\n"
}

/// Whether every class has one sample.
fn is_single(network: &Network) -> bool {
    network.counts.samples() == network.counts.classes() as u64
}

/// Lines that the theory has a number for.
fn compared(network: &Network, measurement: &Measurement) -> Vec<Line> {
    let target = measurement.target.as_ref();
    let zero = target.map(|_| 0.0);
    let usual = Some(REACHED);
    // Classes of one sample do not vary, whatever the network does.
    let varying = usual.filter(|_| !is_single(network));
    // Of classes that have collapsed, noise over noise.
    let variability = varying.filter(|_| !target.is_some_and(|target| target.has_collapsed));
    // Of any size the gap is zero if the decays are those that this size implies.
    let sized = usual.filter(|_| !measurement.question.are_sizes_untested());
    let undivided = variability.map(|reached| reached * network.counts.classes() as f64);
    let [paper, unweighted, weighted, whole] = measurement.nc1;
    let collapse = |of: fn(&Collapse) -> Option<f64>| target.and_then(|target| of(&target.collapse));
    let ours = &measurement.classes;
    let theirs = target.map(|target| &target.classes);
    let distance = target.and_then(|target| target.distance.as_ref());
    let alignment = collapse(|collapse| collapse.alignment);
    let line = |name, measured, target, reached| Line { name, measured, target, reached };
    let mut lines = vec![
        line("NC1 (Liu, Dang, Zhu)", paper, zero, variability),
        line("NC1 unweighted mean", unweighted, zero, variability),
        line("NC1 weighted classes", weighted, zero, variability),
        line("NC1 undivided", whole, zero, undivided),
        line("trace ratio", measurement.trace_ratio, zero, varying),
        line("CDNV", measurement.class_distance_normalized_variance, zero, variability),
    ];
    if let Some(target) = target.filter(|target| target.has_collapsed) {
        lines.push(line("CDNV, classes apart", target.variance_apart, zero, varying));
    }
    if target.is_some() {
        lines.extend([
            line("NC2 classifier", collapse(|collapse| collapse.nc2_classifier), zero, usual),
            line("NC2 features", collapse(|collapse| collapse.nc2_features), zero, usual),
            line("NC3 product", collapse(|collapse| collapse.nc3), zero, usual),
            line("NC3 alignment", alignment, zero.filter(|_| alignment.is_some()), usual),
        ]);
    }
    lines.push(line("NC4 disagreement", measurement.disagreement, target.map(|target| target.disagreement), usual));
    if let Some(target) = target {
        lines.push(line("relative gap", target.gap, zero, sized));
        let blocks = distance.map(|distance| &distance.layers[..]).unwrap_or_default();
        lines.push(line("distance, all blocks", distance.map(Distance::largest), zero, usual));
        lines.push(line("distance, layers", blocks.iter().copied().reduce(f64::max), zero, usual));
        lines.push(line("distance, features", distance.map(|distance| distance.features), zero, usual));
        if network.bias.is_some() {
            lines.push(line("distance, bias", distance.and_then(|distance| distance.bias), zero, usual));
        }
    }
    lines.push(line(
        "mean of all features",
        measurement.feature_mean,
        target.and_then(|target| target.feature_mean),
        usual,
    ));
    for (name, measured, predicted) in [
        ("classifier equinorm", ours.classifiers.equinorm, theirs.and_then(|theirs| theirs.classifiers.equinorm)),
        (
            "classifier angles, std",
            ours.classifiers.equiangularity,
            theirs.and_then(|theirs| theirs.classifiers.equiangularity),
        ),
        ("mean equinorm", ours.means.equinorm, theirs.and_then(|theirs| theirs.means.equinorm)),
        ("mean angles, std", ours.means.equiangularity, theirs.and_then(|theirs| theirs.means.equiangularity)),
        ("self-duality", ours.self_duality, theirs.and_then(|theirs| theirs.self_duality)),
        ("classifier to simplex", ours.classifiers.simplex, theirs.and_then(|theirs| theirs.classifiers.simplex)),
        ("mean to simplex", ours.means.simplex, theirs.and_then(|theirs| theirs.means.simplex)),
        (
            "classifier to orthogonal",
            ours.classifiers.orthogonal,
            theirs.and_then(|theirs| theirs.classifiers.orthogonal),
        ),
        ("mean to orthogonal", ours.means.orthogonal, theirs.and_then(|theirs| theirs.means.orthogonal)),
    ] {
        lines.push(line(name, measured, predicted, usual));
    }
    lines
}

/// Lines without a verdict.
fn plain(measurement: &Measurement) -> Vec<Line> {
    let target = measurement.target.as_ref();
    let effective = |place: usize| measurement.singular_values[place].effective_rank;
    let line = |name, measured, target| Line { name, measured, target, reached: None };
    let mut lines = vec![
        line("row sum of W (NC0)", measurement.row_sum, None),
        line("effective rank, product", effective(0), None),
        line("effective rank, means", effective(1), None),
        line("accuracy", measurement.accuracy, None),
        line("accuracy, nearest mean", measurement.center_accuracy, None),
    ];
    if let Some(target) = target {
        lines.insert(0, line("objective", target.objective, Some(target.least)));
    }
    lines
}

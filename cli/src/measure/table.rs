//! A measurement as a table for people.

use neural_collapse::{
    metrics::{Collapse, Distance, ImpliedDecay, NetworkGradient},
    theory::{GroupFate, Optimum},
};

use super::{
    json::findings,
    measurement::Measurement,
    network::Network,
    question::{LOSSES, Source, loss_name},
    target::Target,
};
use crate::shared::numbers::{digits, short};

/// Rows of singular values beyond which people stop reading.
const MOST_ROWS: usize = 40;

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
    let depth = question.model.as_ref().map_or(network.weights.len(), |(model, _)| model.depth());
    let is_nonnegative = question.gradients.iter().any(NetworkGradient::has_nonnegative_features);
    format!(
        "{}{counts}, {} samples, {}features of width {}, {depth} linear {}, {}\n\n",
        if classes == 1 { "1 class".into() } else { format!("{classes} classes") },
        network.counts.samples(),
        if is_nonnegative { "nonnegative " } else { "" },
        network.product.ncols(),
        if depth == 1 { "layer" } else { "layers" },
        if network.bias.is_some() { "with bias" } else { "no bias" },
    )
}

/// The decays that the arrays imply under every loss.
fn implied(measurement: &Measurement) -> String {
    let question = &measurement.question;
    let cells = |implied: Option<ImpliedDecay>| {
        let (decay, misfit) = implied
            .map_or(("-".into(), "-".into()), |implied| (short(implied.decay), format!("{:.1e}", implied.misfit)));
        format!("{decay:>13}{misfit:>9}")
    };
    let name = "decays that arrays imply";
    let mut lines = Vec::new();
    let depth = if question.has_all_layers { question.assessment.implied[0].layers.len() } else { 0 };
    let head = |l: usize| if depth == 1 { "layer".to_owned() } else { format!("layer {}", l + 1) };
    let layers = (0..depth).map(|l| format!("{:>13}{:>9}", head(l), "misfit")).collect::<Vec<_>>().concat();
    lines.push(format!("{name:<26}{layers}{:>13}{:>9}", "features", "misfit"));
    for (loss, decays) in LOSSES.iter().zip(&question.assessment.implied) {
        let layers: String = decays.layers[..depth].iter().copied().map(cells).collect();
        let fits = if question.fits == Some(*loss) { "  fits" } else { "" };
        lines.push(format!("{:<26}{layers}{}{fits}", loss.to_string(), cells(decays.features)));
    }
    if question.weights != "none" {
        lines.push(format!("read with class weights: {}", question.weights));
    }
    lines.join("\n") + "\n\n"
}

/// What the network is compared with, and what speaks against that.
fn question(measurement: &Measurement) -> String {
    let question = &measurement.question;
    let mut lines: Vec<String> = findings(measurement).into_iter().map(|finding| format!("- {finding}")).collect();
    if let Some((model, source)) = question.model.as_ref().filter(|_| measurement.target.is_some()) {
        let mut decays: Vec<_> = model.layers().iter().map(|layer| digits(layer.decay)).collect();
        if *source == Source::Arrays {
            decays = model.layers().iter().map(|layer| short(layer.decay)).collect();
        }
        if decays.iter().all(|decay| *decay == decays[0]) {
            decays.truncate(1);
        }
        let (from, features) = match source {
            Source::Flags => ("as the theory has them", digits(model.feature_decay())),
            Source::Arrays => ("from the arrays", short(model.feature_decay())),
        };
        lines.push(format!(
            "compared with the optimum of {}, decays {from}: layers {}, features {features}",
            loss_name(model.loss()),
            decays.join(", ")
        ));
    }
    if let Some(target) = &measurement.target {
        lines.push(optimum(target));
        lines.extend(collapsed(&target.optimum));
    }
    lines.push(verdict(measurement));
    lines.join("\n") + "\n\n"
}

/// Has training got there?
fn verdict(measurement: &Measurement) -> String {
    let (question, target) = (&measurement.question, measurement.target.as_ref());
    if !question.applies() || target.is_none() {
        let why = match (&question.model, target) {
            _ if !question.has_all_layers && question.model.is_none() => {
                "a product does not tell the decays of its layers: give the layers, or the decays"
            }
            (None, _) => "the arrays do not say which optimum to compare with",
            (_, None) => "the optimum is not known",
            _ => "the arrays are not those of this model",
        };
        return format!("no verdicts: {why}");
    }
    match target.and_then(|target| target.gap) {
        Some(gap) if gap < -GAP_ROUNDING => {
            "the network is below this point, which is not its optimum: no verdicts".into()
        }
        Some(gap) if gap <= REACHED => {
            format!("the network has reached its optimum: it is {gap:.1e} above the least objective")
        }
        Some(gap) => format!("the network has not reached its optimum: it is {gap:.2} above the least objective"),
        None => "compared by its geometry alone: the objective needs all layers".into(),
    }
}

fn optimum(target: &Target) -> String {
    let optimum = &target.optimum;
    let proved = match optimum {
        Optimum::Closed(_) => String::new(),
        Optimum::Nonnegative(minimizer) if !minimizer.is_proved() => {
            return format!(
                "best point known: orthogonal class means of {} classes; the least objective may be up to {:.1e} of it lower",
                optimum.rank(),
                optimum.gap()
            );
        }
        _ if optimum.gap().abs() < 1e-15 => ", proved to rounding".into(),
        _ => format!(", proved to {:.0e} of its objective", optimum.gap().abs()),
    };
    let unique = if optimum.is_unique() { "unique up to rotation" } else { "not unique: see `predict`" };
    format!("optimum: rank {} of {}, {unique}{proved}", optimum.rank(), optimum.ufm().outputs())
}

/// The classes that the optimum does not tell apart.
fn collapsed(optimum: &Optimum) -> Vec<String> {
    let fates: Vec<(u64, usize, GroupFate)> = match optimum {
        Optimum::Closed(minimizer) => {
            let (Some(classes), Ok(fates)) = (minimizer.ufm().class_counts(), minimizer.group_fates()) else {
                return Vec::new();
            };
            classes.groups().zip(fates).map(|(group, fate)| (group.count, group.multiplicity(), fate)).collect()
        }
        Optimum::Certified(minimizer) => {
            minimizer.groups().iter().map(|group| (group.count, group.multiplicity(), group.fate)).collect()
        }
        Optimum::Nonnegative(minimizer) => {
            let gone = minimizer.groups().iter().filter(|group| group.is_vanished);
            gone.map(|group| (group.count, group.classes.len(), GroupFate::Vanished)).collect()
        }
        _ => Vec::new(),
    };
    let line = |fate, end| {
        let groups = fates.iter().filter(|(_, _, own)| *own == fate);
        let names: Vec<_> = groups.map(|(count, classes, _)| format!("{count}x{classes}")).collect();
        let names = if names.len() > 5 { format!("{} groups of classes", names.len()) } else { names.join(", ") };
        (!names.is_empty()).then(|| format!("{names} {end}"))
    };
    let shared = line(GroupFate::Coincident, "have one classifier for each count at the optimum (minority collapse)");
    let gone = match optimum {
        Optimum::Nonnegative(_) => "have their class mean at zero at the optimum",
        _ => "have no classifier at the optimum",
    };
    let zero = line(GroupFate::Vanished, gone);
    shared.into_iter().chain(zero).collect()
}

/// A line of the table.
struct Line {
    name: &'static str,
    measured: Option<f64>,
    target: Option<f64>,
    /// How far from the target is reached; ten times that is near. `None` where a verdict would say nothing.
    reached: Option<f64>,
}

fn metrics(network: &Network, measurement: &Measurement) -> String {
    let target = measurement.target.as_ref();
    let is_above = target.is_some_and(|target| target.gap.is_none_or(|gap| gap >= -GAP_ROUNDING));
    let has_verdicts = measurement.question.applies() && is_above;
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
    footnote += "`neural-collapse measure --explain` has the formula of every line. Implied decays are in the theory's \
                 units.";
    if has_verdicts && target.is_some_and(|target| target.has_collapsed) {
        footnote += "\nNC1 and CDNV have no verdict: classes share a mean at this optimum, and between them both divide \
                     noise by noise.";
    }
    lines.join("\n") + "\n\n" + &footnote + "\n\n"
}

/// Lines that the theory has a number for.
fn compared(network: &Network, measurement: &Measurement) -> Vec<Line> {
    let target = measurement.target.as_ref();
    let zero = target.map(|_| 0.0);
    let usual = Some(REACHED);
    // Of classes that have collapsed, noise over noise.
    let variability = if target.is_some_and(|target| target.has_collapsed) { None } else { usual };
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
        line("trace ratio", measurement.trace_ratio, zero, usual),
        line("CDNV", measurement.class_distance_normalized_variance, zero, variability),
    ];
    if let Some(target) = target.filter(|target| target.has_collapsed) {
        lines.push(line("CDNV, classes apart", target.variance_apart, zero, usual));
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
        lines.push(line("relative gap", target.gap, zero, usual));
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

fn number(value: Option<f64>) -> String {
    value.map_or("-".into(), short)
}

fn singular_values(measurement: &Measurement) -> String {
    let all = &measurement.singular_values;
    let predicted = measurement.target.as_ref().map(|target| &target.singular_values[..]).unwrap_or_default();
    let row = |cells: &mut dyn Iterator<Item = [String; 2]>| {
        let cells: Vec<_> = cells.map(|[left, right]| format!("{left:>13}{right:>13}")).collect();
        cells.concat().trim_end().to_owned()
    };
    let mut lines = vec!["singular values, measured and predicted".into()];
    lines.push(row(&mut all.iter().map(|of| [of.block.clone(), String::new()])));
    let rows = all.iter().map(|of| of.values.len()).max().unwrap_or(0);
    for k in 0..rows.min(MOST_ROWS) {
        lines.push(row(&mut all.iter().enumerate().map(|(place, of)| {
            let predicted = predicted.get(place).and_then(|values| values.get(k)).copied();
            [number(of.values.get(k).copied()), predicted.map_or(String::new(), short)]
        })));
    }
    if rows > MOST_ROWS {
        lines.push(format!("    ... {} more, all of them with --json", rows - MOST_ROWS));
    }
    lines.join("\n") + "\n"
}

//! The upper part of the table: what the arrays say about the question.

use neural_collapse::{
    ClassWeights, Loss,
    metrics::{DecaySource, Finding, ImpliedDecay, Measurement, Target},
    theory::{GroupFate, Optimum},
};

use super::{super::json::findings, decay, loss_name};
use crate::shared::numbers::digits;

/// What decays are decays of.
const UNITS: &str = "(of the mean over samples of half the squared error, summed over outputs, or of the cross-entropy,
plus decay/2 |W|^2 for each layer and decay/2 |H|^2 for the features of all samples together)";

/// The decays that the arrays imply under every loss.
pub(super) fn implied(measurement: &Measurement) -> String {
    let question = &measurement.question;
    let cells = |implied: Option<ImpliedDecay>| {
        let (decay, misfit) = implied
            .map_or(("-".into(), "-".into()), |implied| (decay(implied.decay), format!("{:.1e}", implied.misfit)));
        format!("{decay:>13}{misfit:>9}")
    };
    let name = "decays that arrays imply";
    let mut lines = Vec::new();
    let has_all_layers = measurement.layers.has_all();
    let depth = if has_all_layers { question.assessment.implied[0].layers.len() } else { 0 };
    let head = |l: usize| if depth == 1 { "layer".to_owned() } else { format!("layer {}", l + 1) };
    let mut layers = (0..depth).map(|l| format!("{:>13}{:>9}", head(l), "misfit")).collect::<Vec<_>>().concat();
    if !has_all_layers {
        layers = format!("{:>13}{:>9}", "product", "misfit");
    }
    lines.push(format!("{name:<26}{layers}{:>13}{:>9}", "features", "misfit"));
    for (loss, decays) in Loss::ALL.iter().zip(&question.assessment.implied) {
        let mut layers: String = decays.layers[..depth].iter().copied().map(cells).collect();
        if !has_all_layers {
            layers = cells(question.implied_product(*loss));
        }
        let fits = if question.fits == Some(*loss) { "  fits" } else { "" };
        lines.push(format!("{:<26}{layers}{}{fits}", loss.to_string(), cells(decays.features)));
    }
    if question.class_weights != ClassWeights::None {
        lines.push(format!("read with class weights: {}", question.class_weights));
    }
    lines.push(UNITS.into());
    if !has_all_layers {
        lines.push(
            "(of a product the geometric mean of the decays of its layers: --weights W1.npy W2.npy ... tells each)"
                .into(),
        );
    }
    lines.join("\n") + "\n\n"
}

/// What the network is compared with, and what speaks against that.
pub(super) fn question(measurement: &Measurement) -> String {
    let question = &measurement.question;
    let mut lines: Vec<String> = findings(measurement).into_iter().map(|finding| format!("- {finding}")).collect();
    if let Some(model) = question.model.as_ref().filter(|_| measurement.target.is_some()) {
        let mut decays: Vec<_> = model.layers().iter().map(|layer| digits(layer.decay)).collect();
        let is_given = question.source == Some(DecaySource::Training);
        if !is_given {
            decays = model.layers().iter().map(|layer| decay(layer.decay)).collect();
        }
        if decays.iter().all(|decay| *decay == decays[0]) {
            decays.truncate(1);
        }
        let (from, features) = if is_given {
            ("of the flags, in these units", digits(model.feature_decay()))
        } else {
            ("from the arrays", decay(model.feature_decay()))
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
    lines.extend(agreed(measurement));
    lines.push(verdict(measurement));
    lines.join("\n") + "\n\n"
}

/// The decays of the layers that are said, if features are not penalized and the arrays have the same.
fn agreed(measurement: &Measurement) -> Option<String> {
    let (question, training) = (&measurement.question, &measurement.training);
    let (said, _) = training.decays().filter(|(_, features)| *features == 0.0)?;
    let loss = question.fits.filter(|_| question.contradictions.is_empty())?;
    let ours = question.implied(loss).layers.iter().map(|layer| layer.map_or("-".into(), |layer| decay(layer.decay)));
    let ours = ours.collect::<Vec<_>>().join(", ");
    let convention = training.convention();
    let units = said.iter().map(|&own| convention.layer_decay(own, measurement.counts.classes()).map(decay));
    let units = units.collect::<Result<Vec<_>, _>>().ok()?.join(", ");
    let said = said.iter().map(|&own| digits(own)).collect::<Vec<_>>().join(", ");
    Some(format!("layers: you say {said}, which is {units} in these units; the arrays agree, {ours}"))
}

/// Whether something besides a penalty has a say in the features.
fn holds_features(finding: &Finding) -> bool {
    matches!(finding, Finding::FeaturesNotAtRest { .. } | Finding::NegativeFeaturesHeld { .. })
}

/// Has training got there?
fn verdict(measurement: &Measurement) -> String {
    let (question, target) = (&measurement.question, measurement.target.as_ref());
    if !measurement.applies() {
        let why = match (&question.model, target) {
            _ if !measurement.layers.has_all() && question.model.is_none() => {
                "the decays are not known: give all layers, or --layer-decay and --feature-decay"
            }
            (None, _) if question.findings().any(|finding| matches!(finding, Finding::FeaturesNotPenalized { .. })) => {
                "without a penalty of the features there is no optimum to compare with"
            }
            (None, _) if question.findings().any(holds_features) => {
                "the features are not where a penalty alone would have them"
            }
            (None, _) => "the arrays do not say which optimum to compare with",
            _ if measurement.without_target.is_some() => "the optimum is not known",
            _ => "the arrays are not those of this model",
        };
        return format!("no verdicts: {why}");
    }
    match target.and_then(|target| target.gap) {
        Some(_) if measurement.is_below_target() => {
            "the network is below this point, which is not its optimum: no verdicts".into()
        }
        Some(_) if question.are_sizes_untested() => {
            "compared by its geometry alone: at any size it is an optimum of the decays that this size implies".into()
        }
        Some(gap) if measurement.has_reached() == Some(true) => {
            format!("the network has reached its optimum: relative gap {gap:.1e}")
        }
        Some(gap) if measurement.has_least_objective() == Some(true) => {
            let far = measurement.far_blocks().into_iter().map(|(name, distance)| format!("{name} ({distance:.2})"));
            let far = far.collect::<Vec<_>>().join(", ");
            format!("the objective is near its least value, relative gap {gap:.1e}; still far from the optimum: {far}")
        }
        Some(gap) => {
            format!("the network has not reached its optimum: relative gap {gap:.1e}")
        }
        None => "compared by its geometry alone: the objective needs all layers, and --weights is their product".into(),
    }
}

fn optimum(target: &Target) -> String {
    let optimum = &target.optimum;
    let proved = match optimum {
        Optimum::Closed(_) => String::new(),
        _ if !optimum.is_proved() => {
            return format!(
                "best point known: orthogonal class means of {} classes; the least objective may be up to {:.1e} of it lower",
                optimum.rank(),
                optimum.gap()
            );
        }
        _ if optimum.gap().abs() < 1e-15 => ", proved to rounding".into(),
        _ => format!(", proved to {:.0e} of its objective", optimum.gap().abs()),
    };
    let unique = match optimum.is_unique() {
        Some(false) => "not unique: see `predict`",
        _ => "unique up to rotation",
    };
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
    let shared = line(
        GroupFate::Coincident,
        "at the optimum: classes of the same count share one classifier (minority collapse)",
    );
    let gone = match optimum {
        Optimum::Nonnegative(_) => "at the optimum: their class means are zero",
        _ => "at the optimum: their classifiers are zero",
    };
    let zero = line(GroupFate::Vanished, gone);
    shared.into_iter().chain(zero).collect()
}

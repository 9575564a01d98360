//! Where the flags say one thing and the arrays another.

use neural_collapse::{
    ClassWeights, FeatureConvention, Loss, LossConvention, Ufm,
    metrics::{ImpliedDecay, ImpliedDecays},
};

use super::{Flags, question::loss_name};
use crate::shared::numbers::short;

/// Two decays are the same to a reader if they are this close, and their misfit allows it: penalized networks give theirs
/// to 1e-4, SGD to 1e-2.
const SAME: f64 = 0.05;

/// The loss of the flags is not the one that fits.
pub(crate) fn of_loss(given: Option<Loss>, fits: Option<Loss>) -> Option<String> {
    let (given, fits) = given.zip(fits)?;
    (given != fits).then(|| format!("you say {}; the arrays say {}", loss_name(given), loss_name(fits)))
}

/// Weights that make a loss fit, where none were given.
pub(crate) fn of_weights(weights: &ClassWeights) -> String {
    format!("you give no class weights; the arrays say {weights}: give --class-weights {weights}")
}

/// Decays of the flags that are not those of the arrays.
pub(crate) fn of_decays(flags: &Flags, model: &Ufm, implied: &ImpliedDecays, has_all_layers: bool) -> Vec<String> {
    let mut notes = Vec::new();
    let said = flags.loss_convention.filter(|_| model.loss() == Loss::Squared);
    // A convention that explains every layer explains the features too.
    let mut meant = None;
    if has_all_layers {
        let layers =
            || model.layers().iter().zip(&implied.layers).filter_map(|(layer, own)| Some((layer.decay, (*own)?)));
        meant = said.and_then(|said| {
            let scale = |other: LossConvention| said.scale(model.outputs()) / other.scale(model.outputs());
            let explains = |other: &LossConvention| layers().all(|(decay, own)| is_same(decay * scale(*other), own));
            LossConvention::ALL.iter().copied().find(explains).filter(|other| *other != said)
        });
        for (l, (decay, own)) in layers().enumerate().filter(|(_, (decay, own))| !is_same(*decay, *own)) {
            let given = flags.layer_decay[if flags.layer_decay.len() == 1 { 0 } else { l }];
            let name = if model.depth() == 1 { "the layer".into() } else { format!("layer {}", l + 1) };
            notes.push(match (said, meant) {
                (Some(said), Some(meant)) => {
                    let arrays = short(own.decay * meant.scale(model.outputs()));
                    format!("{name}: you say {} under {said}; the arrays say {arrays} under {meant}", short(given))
                }
                // Decays of the flags are proportional to those of the theory.
                _ => format!("{name}: you say {}; the arrays say {}", short(given), short(given * own.decay / decay)),
            });
        }
    }
    let explained = match (said, meant) {
        (Some(said), Some(meant)) => said.scale(model.outputs()) / meant.scale(model.outputs()),
        _ => 1.0,
    };
    let decay = explained * model.feature_decay();
    if let Some(own) = implied.penalized_features().filter(|own| !is_same(decay, *own)) {
        let given = flags.feature_decay.unwrap_or_default();
        let mut note =
            format!("features: you say {}; the arrays say {}", short(given), short(given * own.decay / decay));
        // Over a part of the samples the mean loss is the same, and the penalty of all samples is larger beside it.
        let part = decay / own.decay;
        if notes.is_empty() && flags.feature_convention == Some(FeatureConvention::Total) && part < 1.0 {
            let part = format!("{:.0} % of each class", 100.0 * part);
            note.push_str("; are these all samples of training? ");
            note.push_str(&part);
            note.push_str(" would say this");
        }
        notes.push(note);
    }
    let bias = implied.penalized_bias().map_or(0.0, |own| own.decay);
    let close = (model.bias_decay() / bias - 1.0).abs() <= SAME;
    if has_all_layers && model.has_bias() && !close && model.bias_decay() != bias {
        let (said, arrays) = (model.bias_decay(), short(bias));
        let said =
            if said == 0.0 { "that the bias is free".to_owned() } else { format!("{} for the bias", short(said)) };
        let arrays = if bias == 0.0 { "that it is free".to_owned() } else { arrays };
        notes.push(format!("you say {said}; the arrays say {arrays} (--bias-decay, in the theory's units)"));
    }
    notes
}

/// Whether a decay is the implied one, as far as that is known.
fn is_same(decay: f64, implied: ImpliedDecay) -> bool {
    (decay / implied.decay - 1.0).abs() <= SAME + implied.misfit
}

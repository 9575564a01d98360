//! Where what is said of a training and its arrays differ.

use std::fmt;

use super::{
    super::gradient::{ImpliedDecay, ImpliedDecays},
    last_layers::LastLayers,
    numbers::short,
    training::Training,
};
use crate::{
    conventions::{FeatureConvention, LossConvention},
    loss::{ClassWeights, Loss},
    model::{Layer, Ufm},
};

/// Two decays are the same to a reader if they are this close, and their misfit allows it: penalized networks give theirs
/// to 1e-4, SGD to 1e-2.
const SAME: f64 = 0.05;

/// Something that is said of a training, and that its arrays deny.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Contradiction {
    /// The loss that fits is another one.
    Loss {
        /// As it is said.
        said: Loss,
        /// The one that fits.
        implied: Loss,
    },
    /// The weights are said to be the product of several layers, and are at rest as one layer.
    Depth {
        /// The number of layers that is said.
        said: usize,
        /// The misfit as one layer.
        one: f64,
        /// As the product.
        product: f64,
    },
    /// No class weights are said, and with these a loss fits.
    ClassWeights {
        /// The weights.
        implied: ClassWeights,
    },
    /// The decay of a layer is another one.
    LayerDecay {
        /// The layer, from 0; `None` if there is one.
        layer: Option<usize>,
        /// In the units of the training.
        said: f64,
        /// In the units of the training, or of the other convention.
        implied: f64,
        /// The convention that is said, and another one under which the number that is said is that of the arrays.
        conventions: Option<(LossConvention, LossConvention)>,
    },
    /// The geometric mean of the decays of layers, of which the product alone is known, is another one.
    ProductDecay {
        /// In the units of the training.
        said: f64,
        /// In the units of the training, or of the other convention.
        implied: f64,
        /// As for a layer.
        conventions: Option<(LossConvention, LossConvention)>,
    },
    /// The decay of the features is another one.
    FeatureDecay {
        /// In the units of the training; 0 if they are said not to be penalized.
        said: f64,
        /// In the units of the training, or of the other convention.
        implied: f64,
        /// The convention that is said, and that of the implied decay: the other one if the number that is said is that of
        /// the arrays under it.
        conventions: Option<(FeatureConvention, FeatureConvention)>,
        /// The part of each class that would explain it, if these are not all samples of the training.
        part: Option<f64>,
    },
    /// The decay of the bias is another one; 0 is a free bias.
    BiasDecay {
        /// In the units of the theory.
        said: f64,
        /// In the same.
        implied: f64,
    },
}

impl Contradiction {
    /// The loss that is said, and the one that fits.
    pub(super) fn of_loss(said: Option<Loss>, fits: Option<Loss>) -> Option<Self> {
        let (said, implied) = said.zip(fits)?;
        (said != implied).then_some(Self::Loss { said, implied })
    }

    /// The decays that are said, those of `model`, and those that the arrays imply; of layers whose product alone is known
    /// `product`, their geometric mean.
    pub(super) fn of_decays(
        training: &Training,
        layers: &LastLayers,
        model: &Ufm,
        implied: &ImpliedDecays,
        product: Option<ImpliedDecay>,
    ) -> Vec<Self> {
        let Some((decays, features)) = training.decays() else { return Vec::new() };
        let said = Some(training.loss_convention()).filter(|_| model.loss() == Loss::Squared);
        // A convention that explains every layer explains the features too.
        let meant = said.filter(|_| layers.has_all()).and_then(|said| meant(said, model, implied));
        let mut all = Vec::new();
        if layers.has_all() {
            all.extend(of_layers(decays, model, implied, said.zip(meant)));
        }
        all.extend(product.and_then(|own| of_product(decays, model, own, said)));
        let explained = said.zip(meant).map_or(1.0, |(said, meant)| ratio(said, meant, model));
        if let Some(own) = implied.penalized_features() {
            let is_explained = !all.is_empty();
            all.extend(of_features(training, features, explained * model.feature_decay(), (model, own), is_explained));
        }
        let bias = implied.penalized_bias().map_or(0.0, |own| own.decay);
        let is_close = (model.bias_decay() / bias - 1.0).abs() <= SAME;
        if layers.has_all() && model.has_bias() && training.says_bias() && !is_close && model.bias_decay() != bias {
            all.push(Self::BiasDecay { said: model.bias_decay(), implied: bias });
        }
        all
    }
}

/// Of features with this implied decay, if they are said to have `decay` in the units of the theory, or, said to be 0, none:
/// then `decay` is what a decay of 1 would be.
fn of_features(
    training: &Training,
    said: f64,
    decay: f64,
    (model, own): (&Ufm, ImpliedDecay),
    is_explained: bool,
) -> Option<Contradiction> {
    let of = |implied, conventions, part| Some(Contradiction::FeatureDecay { said, implied, conventions, part });
    if said == 0.0 {
        let convention = training.feature_convention();
        return of(own.decay / decay, Some((convention, convention)), None);
    }
    if is_same(decay, own) {
        return None;
    }
    // The penalty of all samples is N times that of their mean.
    let samples = model.samples() as f64;
    let (convention, other, ratio) = match training.feature_convention() {
        FeatureConvention::Total => (FeatureConvention::Total, FeatureConvention::Mean, 1.0 / samples),
        FeatureConvention::Mean => (FeatureConvention::Mean, FeatureConvention::Total, samples),
    };
    if is_same(decay * ratio, own) {
        return of(said * own.decay / (decay * ratio), Some((convention, other)), None);
    }
    // Over a part of the samples the mean loss is the same, and the penalty of all samples is larger.
    let part = decay / own.decay;
    let is_part = !is_explained && convention == FeatureConvention::Total && part < 1.0;
    of(said * own.decay / decay, None, is_part.then_some(part))
}

fn of_layers(
    decays: &[f64],
    model: &Ufm,
    implied: &ImpliedDecays,
    conventions: Option<(LossConvention, LossConvention)>,
) -> Vec<Contradiction> {
    let all = model.layers().iter().zip(&implied.layers).enumerate();
    let own = all.filter_map(|(l, (layer, own))| Some((l, layer, (*own)?)));
    let of = |(l, layer, own): (usize, &Layer, ImpliedDecay)| {
        let said = decays[if decays.len() == 1 { 0 } else { l }];
        // Decays that are said are proportional to those of the theory.
        let implied =
            conventions.map_or(said * own.decay / layer.decay, |(_, meant)| own.decay * meant.scale(model.outputs()));
        Contradiction::LayerDecay { layer: (model.depth() > 1).then_some(l), said, implied, conventions }
    };
    own.filter(|(_, layer, own)| !is_same(layer.decay, *own)).map(of).collect()
}

/// Of layers whose decays have `own` in the geometric mean.
fn of_product(
    decays: &[f64],
    model: &Ufm,
    own: ImpliedDecay,
    convention: Option<LossConvention>,
) -> Option<Contradiction> {
    let mean =
        |values: &mut dyn Iterator<Item = f64>, number: usize| (values.map(f64::ln).sum::<f64>() / number as f64).exp();
    let decay = mean(&mut model.layers().iter().map(|layer| layer.decay), model.depth());
    if is_same(decay, own) {
        return None;
    }
    let said = mean(&mut decays.iter().copied(), decays.len());
    let other = |said: LossConvention| {
        let explains = |other: &LossConvention| is_same(decay * ratio(said, *other, model), own);
        LossConvention::ALL.iter().copied().find(explains)
    };
    let conventions = convention.and_then(|said| Some((said, other(said)?)));
    let implied = conventions.map_or(said * own.decay / decay, |(_, meant)| own.decay * meant.scale(model.outputs()));
    Some(Contradiction::ProductDecay { said, implied, conventions })
}

/// Another convention, under which the decays of all layers are those of the arrays.
fn meant(said: LossConvention, model: &Ufm, implied: &ImpliedDecays) -> Option<LossConvention> {
    let explains = |other: &LossConvention| {
        let mut layers = model.layers().iter().zip(&implied.layers);
        layers.all(|(layer, own)| own.is_none_or(|own| is_same(layer.decay * ratio(said, *other, model), own)))
    };
    LossConvention::ALL.iter().copied().find(explains).filter(|other| *other != said)
}

fn ratio(said: LossConvention, meant: LossConvention, model: &Ufm) -> f64 {
    said.scale(model.outputs()) / meant.scale(model.outputs())
}

/// Whether a decay is the implied one, as far as that is known.
fn is_same(decay: f64, implied: ImpliedDecay) -> bool {
    (decay / implied.decay - 1.0).abs() <= SAME + implied.misfit
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |loss: &Loss| if *loss == Loss::Squared { "squared loss" } else { loss.name() };
        match self {
            Self::Loss { said, implied } => write!(f, "you say {}; the arrays say {}", name(said), name(implied)),
            Self::Depth { said, one, product } => write!(
                f,
                "you say that the weights are the product of {said} layers; the arrays are at rest as one layer (misfit \
                 {one:.1e}), and not as a product (misfit {product:.2})"
            ),
            Self::ClassWeights { implied } => write!(f, "you give no class weights; the arrays say {implied}"),
            Self::LayerDecay { layer, said, implied, conventions } => {
                match layer {
                    None => write!(f, "the layer")?,
                    Some(layer) => write!(f, "layer {}", layer + 1)?,
                }
                let (said, implied) = (short(*said), short(*implied));
                match conventions {
                    None => write!(f, ": you say {said}; the arrays say {implied}"),
                    Some((own, meant)) => {
                        write!(f, ": you say {said} under {own}; the arrays say {implied} under {meant}")
                    }
                }
            }
            Self::ProductDecay { said, implied, conventions } => {
                let (said, implied) = (short(*said), short(*implied));
                write!(f, "the layers, in the geometric mean: you say {said}")?;
                match conventions {
                    None => write!(f, "; the arrays say {implied}"),
                    Some((own, meant)) => write!(f, " under {own}; the arrays say {implied} under {meant}"),
                }
            }
            Self::FeatureDecay { said, implied, conventions: Some((own, meant)), .. } => {
                match *said {
                    0.0 => write!(f, "features: you say that they are not penalized")?,
                    said => write!(f, "features: you say {} under {own}", short(said))?,
                }
                write!(f, "; the arrays say {} under {meant}", short(*implied))
            }
            Self::FeatureDecay { said, implied, part, .. } => {
                write!(f, "features: you say {}; the arrays say {}", short(*said), short(*implied))?;
                let Some(part) = part else { return Ok(()) };
                let part = 100.0 * part;
                write!(f, "; are these all samples of training? {part:.0} % of each class would say this")
            }
            Self::BiasDecay { said, implied } => {
                match *said {
                    0.0 => write!(f, "you say that the bias is free")?,
                    said => write!(f, "you say {} for the bias", short(said))?,
                }
                match *implied {
                    0.0 => write!(f, "; the arrays say that it is free"),
                    implied => write!(f, "; the arrays say {}", short(implied)),
                }
            }
        }
    }
}

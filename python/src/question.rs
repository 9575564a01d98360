//! Which model a network is compared with: the one that the caller names, or the one that its arrays imply.

use neural_collapse::{
    ClassCounts, ClassWeights, Error, Layer, Loss, Ufm,
    faer::Mat,
    metrics::{Assessment, ImpliedDecay, ImpliedDecays, NetworkGradient},
};
use pyo3::prelude::*;

use crate::{errors::refuse, matrices::one_or_more, metrics::Network, model::Options};

/// The losses that arrays are read under, in this order.
pub(crate) const LOSSES: [Loss; 2] = [Loss::Squared, Loss::CrossEntropy];

/// Two decays are the same to a reader if they are this close, and their misfit allows it.
const SAME: f64 = 0.05;

/// The decays that the caller says training had, by their names in Python.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Keywords<'py> {
    layer_decay: Option<Bound<'py, PyAny>>,
    feature_decay: Option<f64>,
}

/// What a network was trained with, as the caller says.
pub(crate) struct Given {
    pub(crate) options: Options,
    /// The decays of the layers and of the features, in the caller's units.
    pub(crate) decays: Option<(Vec<f64>, f64)>,
}

/// What a network is compared with, and what speaks for it and against it.
pub(crate) struct Question {
    /// The model, and whether its decays are those of the caller.
    pub(crate) model: Option<(Ufm, bool)>,
    pub(crate) gradients: Vec<NetworkGradient>,
    pub(crate) assessment: Assessment,
    pub(crate) fits: Option<usize>,
    /// The class weights that the arrays were read with, if the caller gave none.
    pub(crate) weights: ClassWeights,
    pub(crate) notes: Vec<String>,
}

impl Given {
    pub(crate) fn new(keywords: &Bound<'_, PyAny>, network: &Network) -> PyResult<Self> {
        let options = Options::new(keywords)?;
        let Keywords { layer_decay, feature_decay } = keywords.extract()?;
        if options.bias_decay.is_some() && network.bias.is_none() {
            return Err(refuse("bias_decay: bias is needed with it"));
        }
        let (layers, features) = match (layer_decay, feature_decay) {
            (None, None) => return Ok(Self { options, decays: None }),
            (Some(_), None) => return Err(refuse("layer_decay: given without feature_decay: give both, or neither")),
            (None, Some(_)) => return Err(refuse("feature_decay: given without layer_decay: give both, or neither")),
            (Some(layers), Some(features)) => (one_or_more("layer_decay", &layers)?, features),
        };
        if options.loss.unwrap_or_default() == Loss::Squared && !options.has_reduction {
            return Err(refuse(
                "layer_decay: reduction is needed with it: mean, half-mean, sum or half-sum says how the loss scales the \
                 squared error",
            ));
        }
        if !options.has_feature_reduction {
            return Err(refuse(
                "feature_decay: feature_reduction is needed with it: total or mean says how the loss scales the penalty of \
                 the features",
            ));
        }
        let depth = network.weights.len();
        if layers.len() != 1 && layers.len() != depth {
            let given = layers.len();
            return Err(refuse(format!("layer_decay: {given} values given for {depth} layers; one, or one a layer")));
        }
        Ok(Self { options, decays: Some((layers, features)) })
    }

    /// A model of these layers with the loss of the caller, or with other class weights.
    fn model(
        &self,
        counts: &ClassCounts,
        network: &Network,
        (layers, features): (&[f64], f64),
        loss: Loss,
        weights: &ClassWeights,
    ) -> Result<Ufm, Error> {
        let widths = network.weights.iter().map(Mat::ncols);
        let layers: Vec<Layer> = widths.zip(layers).map(|(width, &decay)| Layer::new(width, decay)).collect();
        let targets = self.options.targets(counts.clone())?;
        let ufm = Ufm::new(targets, layers, features)?.with_bias(network.bias.is_some());
        let ufm = self.options.apply(ufm, loss)?;
        if *weights == ClassWeights::None { Ok(ufm) } else { ufm.with_class_weights(weights.clone()) }
    }

    /// Models of the arrays as they are, one for each of [`LOSSES`], whose decays say nothing.
    pub(crate) fn readings(
        &self,
        counts: &ClassCounts,
        network: &Network,
        weights: &ClassWeights,
    ) -> Result<Vec<Ufm>, Error> {
        let ones = vec![1.0; network.weights.len()];
        LOSSES.iter().map(|&loss| self.model(counts, network, (&ones, 1.0), loss, weights)).collect()
    }

    /// The model with the caller's decays, if there are any.
    fn given_model(&self, counts: &ClassCounts, network: &Network) -> Result<Option<Ufm>, Error> {
        let Some((layers, features)) = &self.decays else { return Ok(None) };
        let (convention, classes) = (self.options.convention, counts.classes());
        let layer = |l: usize| convention.layer_decay(layers[if layers.len() == 1 { 0 } else { l }], classes);
        let layers = (0..network.weights.len()).map(layer).collect::<Result<Vec<_>, _>>()?;
        let features = convention.feature_decay(*features, classes, counts.samples())?;
        let loss = self.options.loss.unwrap_or_default();
        self.model(counts, network, (&layers, features), loss, &ClassWeights::None).map(Some)
    }

    /// The model with the decays that the arrays imply.
    fn implied_model(
        &self,
        counts: &ClassCounts,
        network: &Network,
        loss: Loss,
        implied: &ImpliedDecays,
        weights: &ClassWeights,
    ) -> Result<Option<Ufm>, Error> {
        let layers: Option<Vec<f64>> = implied.layers.iter().map(|layer| layer.map(|layer| layer.decay)).collect();
        let Some((layers, features)) = layers.zip(implied.features) else { return Ok(None) };
        let model = self.model(counts, network, (&layers, features.decay), loss, weights)?;
        match implied.penalized_bias().filter(|_| model.bias_decay() == 0.0) {
            Some(bias) => model.with_bias_decay(bias.decay).map(Some),
            None => Ok(Some(model)),
        }
    }
}

impl Question {
    pub(crate) fn new(
        given: &Given,
        counts: &ClassCounts,
        network: &Network,
        gradients: Vec<NetworkGradient>,
        assessment: Assessment,
        weights: ClassWeights,
        mut notes: Vec<String>,
    ) -> Result<Self, Error> {
        let is_nonnegative = gradients.first().is_some_and(NetworkGradient::has_nonnegative_features);
        let finish = |ufm: Ufm| if is_nonnegative { ufm.with_nonnegative_features() } else { ufm };
        let said = given.options.loss;
        let fits = said.map(index).filter(|said| assessment.fitting.contains(said)).or(assessment.fits());
        let model = match (given.given_model(counts, network)?, said.or(fits.map(|fit| LOSSES[fit]))) {
            (Some(model), _) => Some((finish(model), true)),
            (None, Some(loss)) if assessment.applies() && fits == Some(index(loss)) => {
                let implied = &assessment.implied[index(loss)];
                let model = given.implied_model(counts, network, loss, implied, &weights)?;
                model.map(|model| (finish(model), false))
            }
            _ => None,
        };
        notes.extend(contradictions(given, model.as_ref(), fits, &assessment));
        Ok(Self { model, gradients, assessment, fits, weights, notes })
    }

    /// Whether verdicts make sense: the model and its decays are those that fit.
    pub(crate) fn applies(&self) -> bool {
        let loss = self.model.as_ref().map(|(model, _)| index(model.loss()));
        loss.is_some() && self.notes.is_empty() && self.assessment.applies() && self.fits == loss
    }
}

pub(crate) fn index(loss: Loss) -> usize {
    LOSSES.iter().position(|&other| other == loss).unwrap_or(0)
}

/// Sentences about what the caller says and the arrays do not.
fn contradictions(
    given: &Given,
    model: Option<&(Ufm, bool)>,
    fits: Option<usize>,
    assessment: &Assessment,
) -> Vec<String> {
    let Some(fits) = fits else { return Vec::new() };
    let model = model.filter(|(_, is_given)| *is_given).map(|(model, _)| model);
    if let Some(said) = model.map(Ufm::loss).or(given.options.loss)
        && said != LOSSES[fits]
    {
        return vec![format!("you say {said}; the arrays say {}", LOSSES[fits])];
    }
    let (Some(model), Some((layers, features))) = (model, &given.decays) else { return Vec::new() };
    let implied = &assessment.implied[fits];
    let differs = |decay: f64, own: ImpliedDecay| !((decay / own.decay - 1.0).abs() <= SAME + own.misfit);
    let mut notes = Vec::new();
    for (l, (layer, own)) in model.layers().iter().zip(&implied.layers).enumerate() {
        if let Some(own) = own.filter(|own| differs(layer.decay, *own)) {
            let said = layers[if layers.len() == 1 { 0 } else { l }];
            let name = if model.depth() == 1 { "the layer".into() } else { format!("layer {}", l + 1) };
            notes.push(format!("{name}: you say {said:.4e}; the arrays say {:.4e}", said * own.decay / layer.decay));
        }
    }
    let decay = model.feature_decay();
    if let Some(own) = implied.features.filter(|own| own.misfit <= 0.5 && differs(decay, *own)) {
        notes.push(format!("features: you say {features:.4e}; the arrays say {:.4e}", features * own.decay / decay));
    }
    let bias = implied.penalized_bias().map_or(0.0, |own| own.decay);
    if model.has_bias() && !((model.bias_decay() / bias - 1.0).abs() <= SAME) && model.bias_decay() != bias {
        let (said, theirs) = (model.bias_decay(), bias);
        notes.push(format!("bias: you say a decay of {said:.4e}; the arrays say {theirs:.4e}, in the theory's units"));
    }
    notes
}

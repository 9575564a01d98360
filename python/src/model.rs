//! The model and its loss from the keywords of Python.

use neural_collapse::{
    Block, ClassWeights, Error, FeatureConvention, Layer, Loss, LossConvention, TrainingConvention, Ufm,
    WeightConvention, metrics::Training,
};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    errors::{refuse, refused},
    keywords::{Keywords, sizes},
    matrices::{class_weights, counts, one_or_more},
};

/// Every direction has a number for every layer: a slip of the finger must not ask for all memory.
pub(crate) const MOST_LAYERS: u64 = 10_000;

/// A loss and how training scales it.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) training: Training,
    /// Whether the scales of squared error and of the penalty of features were given.
    pub(crate) has_reduction: bool,
    pub(crate) has_feature_reduction: bool,
    pub(crate) has_bias_decay: bool,
}

/// A model with the scales of its caller.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) ufm: Ufm,
    pub(crate) convention: TrainingConvention,
}

impl Options {
    pub(crate) fn new(keywords: Keywords<'_, '_>) -> PyResult<Self> {
        let loss = keywords.word_if_given("loss", "squared, cross-entropy")?;
        let loss: Option<Loss> = loss.map(|word| word.parse()).transpose().map_err(refused)?;
        let squared = keywords.word_if_given("reduction", "mean, half-mean, sum, half-sum")?;
        let squared = squared.map(|word| word.parse::<LossConvention>());
        let squared = squared.transpose().map_err(|error| renamed(error, "loss convention", "reduction"))?;
        let scale = match (loss, squared) {
            // Every framework has the mean over samples.
            (Some(Loss::CrossEntropy), None | Some(LossConvention::Mean | LossConvention::HalfSum)) => {
                LossConvention::HalfSum
            }
            (Some(Loss::CrossEntropy), Some(other)) => {
                return Err(refuse(format!(
                    "reduction: {other} given, which scales the squared error; cross-entropy is the mean over samples in \
                     every framework: leave reduction out"
                )));
            }
            (_, squared) => squared.unwrap_or(LossConvention::HalfSum),
        };
        let features = keywords.word_if_given("feature_reduction", "total, mean")?;
        let features = features.map(|word| word.parse::<FeatureConvention>());
        let features =
            features.transpose().map_err(|error| renamed(error, "feature convention", "feature_reduction"))?;
        let weights = keywords.word("weight_reduction", "samples, weights")?.parse::<WeightConvention>();
        let weights = weights.map_err(|error| renamed(error, "weight convention", "weight_reduction"))?;
        let bias_decay = keywords.size_of_penalty("bias_decay")?;
        let training = Training::default()
            .with_loss(loss)
            .with_convention(scale, features.unwrap_or(FeatureConvention::Total))
            .with_class_weights(class_weights(keywords.given("class_weights")?.as_ref())?, weights)
            .with_label_smoothing(keywords.real("label_smoothing")?)
            .with_logit_adjustment(keywords.real_if_given("logit_adjustment")?)
            .with_ldam(keywords.size_of_penalty("ldam")?)
            .with_cdt(keywords.real_if_given("cdt")?)
            .with_bias_decay(bias_decay);
        Ok(Self {
            training,
            has_reduction: squared.is_some(),
            has_feature_reduction: features.is_some(),
            has_bias_decay: bias_decay.is_some(),
        })
    }
}

impl Model {
    /// From a dictionary of keywords.
    pub(crate) fn new(keywords: &Bound<'_, PyAny>) -> PyResult<Self> {
        let keywords = Keywords::new(keywords)?;
        let options = Options::new(keywords)?;
        let (training, convention) = (&options.training, options.training.convention());
        let (has_bias, is_nonnegative) = (keywords.flag("bias")?, keywords.flag("nonnegative_features")?);
        if !has_bias && options.has_bias_decay {
            return Err(refuse("bias_decay: given with bias=False: leave one of them out"));
        }
        let counts = counts(&keywords.needed("counts", "a list, an array, or text such as 500,600x2")?)?;
        let (classes, samples) = (counts.classes(), counts.samples());
        let widths = sizes("widths", &keywords.needed("widths", "a whole number or a list of them")?)?;
        let decays = one_or_more("layer_decay", &keywords.needed("layer_decay", "a number, or one for each layer")?)?;
        let depth = depth(keywords.size_if_given("layers", 1..=MOST_LAYERS)?, widths.len(), decays.len())?;
        let feature_decay = keywords.real("feature_decay")?;
        check_decays(&decays, feature_decay)?;
        let at = |values: usize, l: usize| if values == 1 { 0 } else { l };
        let layer = |l: usize| {
            let decay = convention.layer_decay(decays[at(decays.len(), l)], classes);
            let decay = decay.map_err(|error| refuse(format!("layer_decay: {error}")))?;
            Ok(Layer::new(widths[at(widths.len(), l)], decay))
        };
        let layers = (0..depth).map(layer).collect::<PyResult<Vec<_>>>()?;
        let feature_decay = convention.feature_decay(feature_decay, classes, samples);
        let feature_decay = feature_decay.map_err(|error| refuse(format!("feature_decay: {error}")))?;
        let targets = training.targets(counts).map_err(refused)?;
        let ufm = Ufm::new(targets, layers, feature_decay).map_err(named)?.with_bias(has_bias);
        let ufm = training.apply_to(ufm, training.loss().unwrap_or_default()).map_err(refused)?;
        let ufm = if is_nonnegative { ufm.with_nonnegative_features() } else { ufm };
        Ok(Self { ufm, convention })
    }

    /// The keywords in plain objects, which no later change of an array changes.
    pub(crate) fn keywords<'py>(&self, keywords: Keywords<'_, 'py>) -> PyResult<Bound<'py, PyDict>> {
        let plain = keywords.copy()?;
        for keyword in ["feature_decay", "label_smoothing", "logit_adjustment", "ldam", "cdt", "bias_decay"] {
            plain.set_item(keyword, keywords.real_if_given(keyword)?)?;
        }
        plain.set_item("counts", self.ufm.class_counts().map(|counts| counts.counts().to_vec()))?;
        if let Some(widths) = keywords.given("widths")? {
            plain.set_item("widths", sizes("widths", &widths)?)?;
        }
        if let Some(decays) = keywords.given("layer_decay")? {
            plain.set_item("layer_decay", one_or_more("layer_decay", &decays)?)?;
        }
        if let Some(ClassWeights::Given(weights)) =
            keywords.given("class_weights")?.map(|weights| class_weights(Some(&weights))).transpose()?
        {
            plain.set_item("class_weights", weights)?;
        }
        Ok(plain)
    }

    /// What a decay of a layer in the theory's units is in those of the caller.
    pub(crate) fn layer_decay(&self, decay: f64) -> PyResult<f64> {
        let unit = self.convention.layer_decay(1.0, self.ufm.outputs()).map_err(refused)?;
        Ok(decay / unit)
    }

    pub(crate) fn feature_decay(&self, decay: f64) -> PyResult<f64> {
        let unit = self.convention.feature_decay(1.0, self.ufm.outputs(), self.ufm.samples()).map_err(refused)?;
        Ok(decay / unit)
    }

    /// The loss that training minimizes, penalties included.
    pub(crate) fn loss(&self, objective: f64) -> f64 {
        self.convention.loss(objective, self.ufm.outputs())
    }
}

/// The number of layers: all lists of more than one value, and `layers`, must agree.
fn depth(layers: Option<usize>, widths: usize, decays: usize) -> PyResult<usize> {
    let depth = layers.unwrap_or(widths.max(decays));
    if !(1..=MOST_LAYERS).contains(&(depth as u64)) {
        return Err(refuse(format!("layers: {depth} given, 1 to {MOST_LAYERS} are accepted")));
    }
    for (name, values) in [("widths", widths), ("layer_decay", decays)] {
        if values != 1 && values != depth {
            let layers = if depth == 1 { "1 layer".into() } else { format!("{depth} layers") };
            return Err(refuse(format!(
                "{name}: {values} values given for {layers}, one value or one a layer is accepted"
            )));
        }
    }
    Ok(depth)
}

/// Refuses decays that are not positive and finite.
pub(crate) fn check_decays(layers: &[f64], features: f64) -> PyResult<()> {
    check_layer_decays(layers)?;
    check_decay("feature_decay", features)
}

pub(crate) fn check_layer_decays(layers: &[f64]) -> PyResult<()> {
    for (l, &decay) in layers.iter().enumerate() {
        let keyword = if layers.len() == 1 { "layer_decay".into() } else { format!("layer_decay[{l}]") };
        check_decay(&keyword, decay)?;
    }
    Ok(())
}

fn check_decay(keyword: &str, decay: f64) -> PyResult<()> {
    if decay > 0.0 && decay.is_finite() {
        return Ok(());
    }
    Err(refuse(format!("{keyword}: {decay:?} given, positive finite numbers are accepted")))
}

/// What the model refuses: a decay by the keyword that it comes from.
fn named(error: Error) -> PyErr {
    match error {
        Error::Decay { block: Block::Features, .. } => refuse(format!("feature_decay: {error}")),
        Error::Decay { .. } => refuse(format!("layer_decay: {error}")),
        error => refused(error),
    }
}

/// A word that is not accepted, by the keyword that it comes from.
fn renamed(error: Error, what: &str, keyword: &str) -> PyErr {
    refuse(error.to_string().replacen(what, keyword, 1))
}

//! The model and its loss from the keywords of Python.

use neural_collapse::{
    Block, Error, FeatureConvention, Layer, Loss, LossConvention, TrainingConvention, Ufm, WeightConvention,
    metrics::Training,
};
use pyo3::prelude::*;

use crate::{
    errors::{refuse, refused},
    matrices::{class_weights, counts, one_or_more},
};

/// Every direction has a number for every layer: a slip of the finger must not ask for all memory.
pub(crate) const MOST_LAYERS: usize = 10_000;

/// The keywords that say which loss, by their names in Python.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct LossKeywords<'py> {
    loss: Option<String>,
    reduction: Option<String>,
    feature_reduction: Option<String>,
    class_weights: Option<Bound<'py, PyAny>>,
    weight_reduction: String,
    label_smoothing: f64,
    logit_adjustment: Option<f64>,
    ldam: Option<f64>,
    cdt: Option<f64>,
    bias_decay: Option<f64>,
}

/// The keywords that say which model, by their names in Python.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct ModelKeywords<'py> {
    counts: Bound<'py, PyAny>,
    widths: Bound<'py, PyAny>,
    layer_decay: Bound<'py, PyAny>,
    feature_decay: f64,
    layers: Option<usize>,
    bias: bool,
    nonnegative_features: bool,
}

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
    pub(crate) fn new(keywords: &Bound<'_, PyAny>) -> PyResult<Self> {
        let read: LossKeywords<'_> = keywords.extract()?;
        let loss: Option<Loss> = read.loss.map(|word| word.parse()).transpose().map_err(refused)?;
        let squared = read.reduction.as_ref().map(|word| word.parse::<LossConvention>());
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
        let features = read.feature_reduction.as_ref().map(|word| word.parse::<FeatureConvention>());
        let features =
            features.transpose().map_err(|error| renamed(error, "feature convention", "feature_reduction"))?;
        let weights = read.weight_reduction.parse::<WeightConvention>();
        let weights = weights.map_err(|error| renamed(error, "weight convention", "weight_reduction"))?;
        let training = Training::default()
            .with_loss(loss)
            .with_convention(scale, features.unwrap_or(FeatureConvention::Total))
            .with_class_weights(class_weights(read.class_weights.as_ref())?, weights)
            .with_label_smoothing(read.label_smoothing)
            .with_logit_adjustment(read.logit_adjustment)
            .with_ldam(read.ldam)
            .with_cdt(read.cdt)
            .with_bias_decay(read.bias_decay);
        Ok(Self {
            training,
            has_reduction: squared.is_some(),
            has_feature_reduction: features.is_some(),
            has_bias_decay: read.bias_decay.is_some(),
        })
    }
}

impl Model {
    /// From a dictionary of keywords.
    pub(crate) fn new(keywords: &Bound<'_, PyAny>) -> PyResult<Self> {
        let options = Options::new(keywords)?;
        let (training, convention) = (&options.training, options.training.convention());
        let read: ModelKeywords<'_> = keywords.extract()?;
        if !read.bias && options.has_bias_decay {
            return Err(refuse("bias_decay: given with bias=False: leave one of them out"));
        }
        let counts = counts(&read.counts)?;
        let (classes, samples) = (counts.classes(), counts.samples());
        let widths: Vec<usize> = match read.widths.extract::<usize>() {
            Ok(width) => vec![width],
            Err(_) => read.widths.extract().map_err(|_| {
                refuse(format!("widths: {} given, a whole number or a list of them is needed", read.widths))
            })?,
        };
        let decays = one_or_more("layer_decay", &read.layer_decay)?;
        let depth = depth(read.layers, widths.len(), decays.len())?;
        let at = |values: usize, l: usize| if values == 1 { 0 } else { l };
        let layer = |l: usize| {
            let decay = convention.layer_decay(decays[at(decays.len(), l)], classes);
            let decay = decay.map_err(|error| refuse(format!("layer_decay: {error}")))?;
            Ok(Layer::new(widths[at(widths.len(), l)], decay))
        };
        let layers = (0..depth).map(layer).collect::<PyResult<Vec<_>>>()?;
        let feature_decay = convention.feature_decay(read.feature_decay, classes, samples);
        let feature_decay = feature_decay.map_err(|error| refuse(format!("feature_decay: {error}")))?;
        let targets = training.targets(counts).map_err(refused)?;
        let ufm = Ufm::new(targets, layers, feature_decay).map_err(named)?.with_bias(read.bias);
        let ufm = training.apply_to(ufm, training.loss().unwrap_or_default()).map_err(refused)?;
        let ufm = if read.nonnegative_features { ufm.with_nonnegative_features() } else { ufm };
        Ok(Self { ufm, convention })
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
    if !(1..=MOST_LAYERS).contains(&depth) {
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

//! What the caller says of a training, for `measure`.

use neural_collapse::{
    Loss,
    metrics::{LastLayers, Training},
};
use pyo3::prelude::*;

use crate::{
    errors::{refuse, refused},
    keywords::{Keywords, sizes},
    matrices::one_or_more,
    model::{MOST_LAYERS, Options, check_decays, check_layer_decays},
};

/// The layers as they are counted, and what is known of their training.
pub(crate) fn given(keywords: &Bound<'_, PyAny>, layers: LastLayers) -> PyResult<(LastLayers, Training)> {
    let keywords = Keywords::new(keywords)?;
    let options = Options::new(keywords)?;
    let feature_decay = keywords.real_if_given("feature_decay")?;
    let depth = keywords.size_if_given("layers", 1..=MOST_LAYERS)?;
    let widths = keywords.given("widths")?.map(|widths| sizes("widths", &widths)).transpose()?;
    if options.has_bias_decay && layers.bias().is_none() {
        return Err(refuse("bias_decay: bias is needed with it"));
    }
    let decays = keywords.given("layer_decay")?.map(|decays| one_or_more("layer_decay", &decays)).transpose()?;
    let layers = counted(layers, depth, widths, decays.as_ref().map_or(0, Vec::len))?;
    let (decays, features) = match (decays, feature_decay) {
        (None, None) => return Ok((layers, options.training)),
        (None, Some(_)) => return Err(refuse("feature_decay: layer_decay is needed with it")),
        // Ordinary weight decay: features are not penalized.
        (Some(decays), features) => (decays, features.unwrap_or(0.0)),
    };
    if options.training.loss().unwrap_or_default() == Loss::Squared && !options.has_reduction {
        return Err(refuse(
            "layer_decay: reduction is needed with it: mean, half-mean, sum or half-sum says how the loss scales the \
             squared error",
        ));
    }
    if features != 0.0 && !options.has_feature_reduction {
        return Err(refuse(
            "feature_decay: feature_reduction is needed with it: total or mean says how the loss scales the penalty of \
             the features",
        ));
    }
    if features == 0.0 {
        check_layer_decays(&decays)?;
    } else {
        check_decays(&decays, features)?;
    }
    // Monitors look at networks whose training has not ended.
    Ok((layers, options.training.with_decays(decays, features).with_comparison_anyway(true)))
}

/// The layers, or what is said of those whose product is given.
fn counted(
    layers: LastLayers,
    depth: Option<usize>,
    widths: Option<Vec<usize>>,
    decays: usize,
) -> PyResult<LastLayers> {
    let given = layers.weights().len();
    // One width serves all layers.
    let stated = widths.as_ref().map_or(0, |widths| if widths.len() == 1 { 0 } else { widths.len() });
    let depth = depth.unwrap_or(if stated > 0 { stated } else { given.max(decays) });
    if !(1..=MOST_LAYERS).contains(&(depth as u64)) {
        return Err(refuse(format!("layers: {depth} given, 1 to {MOST_LAYERS} are accepted")));
    }
    if given != 1 && given != depth {
        return Err(refuse(format!(
            "weights: {given} matrices given for {depth} layers; accepted are all of them, or their product"
        )));
    }
    if decays > 1 && decays != depth {
        return Err(refuse(format!("layer_decay: {decays} values given for {depth} layers; one, or one a layer")));
    }
    let Some(mut widths) = widths else { return layers.with_depth(depth).map_err(refused) };
    if let [width] = widths[..] {
        if given == depth && layers.weights().iter().all(|layer| layer.ncols() == width) {
            return layers.with_depth(depth).map_err(refused);
        }
        widths.resize(depth, width);
    }
    if widths.len() != depth || widths.first() != Some(&layers.width()) || given == depth {
        let first = layers.width();
        return Err(refuse(format!(
            "widths: {widths:?} given; accepted, with the product of several layers, are {depth} numbers, the first {first}"
        )));
    }
    layers.with_widths(widths).map_err(refused)
}

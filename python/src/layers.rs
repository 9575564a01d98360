//! The last layers of a network, from arrays.

use neural_collapse::metrics::LastLayers;
use pyo3::prelude::*;

use crate::{
    errors::{refuse, refused},
    matrices,
};

/// One layer, or a list of layers, and a bias.
pub(crate) fn last_layers(weights: &Bound<'_, PyAny>, bias: Option<&Bound<'_, PyAny>>) -> PyResult<LastLayers> {
    let weights = matrices::layers(weights)?;
    let outputs = weights.last().map_or(0, neural_collapse::faer::Mat::nrows);
    let bias = bias.map(|bias| matrices::vector("bias", bias)).transpose()?;
    if let ([layer], Some(bias)) = (&weights[..], &bias)
        && bias.len() != outputs
        && bias.len() == layer.ncols()
    {
        let (rows, cols) = layer.shape();
        return Err(refuse(format!(
            "weights: {rows} x {cols} given with a bias of {cols} numbers: is it the transpose? Layers are (out, in)"
        )));
    }
    let bias = bias.map(|bias| matrices::bias(&bias, outputs)).transpose()?;
    LastLayers::new(weights, bias).map_err(refused)
}

/// Whether their product has an output for each class, and reads features of this width.
pub(crate) fn check_shape(layers: &LastLayers, classes: usize, width: usize) -> PyResult<()> {
    let (rows, cols) = layers.product().shape();
    if (rows, cols) == (classes, width) {
        return Ok(());
    }
    let transposed = if (cols, rows) == (classes, width) { ": is it the transpose?" } else { "" };
    Err(refuse(format!(
        "weights: {rows} x {cols} given, {classes} classes and features of width {width} need {classes} x \
         {width}{transposed}"
    )))
}

/// Whether the first layer reads features of this width.
pub(crate) fn check_width(layers: &LastLayers, width: usize) -> PyResult<()> {
    let (rows, cols) = layers.weights()[0].shape();
    if cols == width {
        return Ok(());
    }
    let transposed = if rows == width { ": is it the transpose?" } else { "" };
    Err(refuse(format!(
        "weights: {rows} x {cols} given, features of width {width} need a layer that reads {width} numbers{transposed}"
    )))
}

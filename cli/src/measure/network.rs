//! The arrays of a network, checked against each other.

use neural_collapse::{
    ClassCounts,
    faer::{Col, Mat},
    metrics::LastLayers,
};

use super::{
    Flags,
    arrays::{Array, Features},
    labels::Labels,
};

/// The last layers of a network with the features that go into them.
pub(crate) struct Network {
    /// W_1 .. W_L, or their product alone, and the bias.
    pub(crate) layers: LastLayers,
    pub(crate) features: Features,
    pub(crate) labels: Vec<usize>,
    pub(crate) counts: ClassCounts,
}

impl Network {
    pub(crate) fn open(flags: &Flags) -> Result<Self, String> {
        let arrays =
            flags.weights.iter().map(|value| Array::open("--weights", value)).collect::<Result<Vec<_>, _>>()?;
        let features = Features::open(&flags.features)?;
        check_widths(&arrays, &features)?;
        let weights = arrays.iter().map(finite_matrix).collect::<Result<Vec<_>, _>>()?;
        let classes = weights.last().map_or(0, Mat::nrows);
        let bias = flags.bias.as_ref().map(|value| bias(value, classes)).transpose()?;
        let Labels { classes: labels, counts } = Labels::open(flags, classes, &features)?;
        let layers = LastLayers::new(weights, bias).map_err(|error| error.to_string())?;
        Ok(Self { layers, features, labels, counts })
    }
}

fn finite_matrix(array: &Array) -> Result<Mat<f64>, String> {
    let matrix = array.matrix()?;
    for (j, column) in matrix.col_iter().enumerate() {
        if let Some(i) = column.iter().position(|entry| !entry.is_finite()) {
            return Err(array.says(&format_args!("entry ({i}, {j}) is {}, finite numbers are needed", column[i])));
        }
    }
    Ok(matrix)
}

fn bias(value: &str, classes: usize) -> Result<Col<f64>, String> {
    let array = Array::open("--bias", value)?;
    let bias = array.vector()?;
    if bias.nrows() != classes {
        return Err(array.says(&format_args!("{} numbers given, the last layer has {classes} outputs", bias.nrows())));
    }
    if let Some(i) = bias.iter().position(|entry| !entry.is_finite()) {
        return Err(array.says(&format_args!("entry {i} is {}, finite numbers are needed", bias[i])));
    }
    Ok(bias)
}

/// Each layer reads what the one before it writes, the first one features.
fn check_widths(weights: &[Array], features: &Features) -> Result<(), String> {
    let mut width = features.width();
    let mut before = format!("{} has {width} numbers a sample", features.name());
    let all = weights.iter().map(Array::sides).collect::<Result<Vec<_>, _>>()?;
    for (array, &(rows, cols)) in weights.iter().zip(&all) {
        if cols != width {
            let hint = hint(&all, (rows, cols), width, features);
            return Err(array.says(&format_args!(
                "a layer of {rows} x {cols} reads {cols} numbers, but {before}{hint}; layers are (out, in), W_1 first"
            )));
        }
        width = rows;
        before = format!("{} writes {width}", array.name);
    }
    Ok(())
}

/// What may have happened to layers of which this one does not read `width` numbers.
fn hint(all: &[(usize, usize)], (rows, cols): (usize, usize), width: usize, features: &Features) -> &'static str {
    let (first, samples) = (features.width(), features.samples());
    let transposed = fit(first, all.iter().map(|&(rows, cols)| (cols, rows)));
    let reversed = all.len() > 1 && fit(first, all.iter().rev().copied());
    match (transposed, reversed) {
        (true, true) => ": is it the transpose, or are the layers in reverse? Save W.T, or name them from W_1 to W_L",
        (false, true) => ": the layers seem to be in reverse, name them from W_1 to W_L",
        (true, false) => ": it seems to be the transpose, save W.T",
        _ if rows == width => ": it seems to be the transpose, save W.T",
        _ if width == first && samples == cols => ": the features seem to be transposed, save H.T",
        _ => "",
    }
}

/// Whether each layer reads what the one before it writes.
fn fit(width: usize, layers: impl Iterator<Item = (usize, usize)>) -> bool {
    let mut width = Some(width);
    for (rows, cols) in layers {
        width = width.filter(|&width| width == cols).map(|_| rows);
    }
    width.is_some()
}

//! The arrays of a network, checked against each other, and the model that they are measured against.

use neural_collapse::{
    ClassCounts, Error, Layer, Ufm,
    faer::{Col, Mat},
};

use super::{Flags, arrays::Array};
use crate::shared::conventions::{MOST_LAYERS, explained};

/// The last layers of a network with the features that go into them.
pub(crate) struct Network {
    /// W_1 .. W_L, or their product alone.
    pub(crate) weights: Vec<Mat<f64>>,
    pub(crate) bias: Option<Col<f64>>,
    pub(crate) features: Array,
    pub(crate) labels: Vec<usize>,
    /// What the arrays should have ended at.
    pub(crate) ufm: Ufm,
}

impl Network {
    pub(crate) fn open(flags: &Flags) -> Result<Self, String> {
        let arrays =
            flags.weights.iter().map(|value| Array::open("--weights", value)).collect::<Result<Vec<_>, _>>()?;
        let features = Array::open("--features", &flags.features)?;
        check_widths(&arrays, &features)?;
        let weights = arrays.iter().map(finite_matrix).collect::<Result<Vec<_>, _>>()?;
        let classes = weights.last().map_or(0, Mat::nrows);
        let bias = flags.bias.as_ref().map(|value| bias(value, classes)).transpose()?;
        let labels = labels(flags, classes, &features)?;
        let counts = ClassCounts::from_labels(labels.iter().copied(), classes).map_err(|error| match error {
            Error::ZeroCount { class } => format!(
                "--labels {}: class {class} of {classes} has no sample{}; the theory needs one of every class",
                flags.labels,
                if flags.labels_from != 0 { " after the shift" } else { "" }
            ),
            error => format!("--labels {}: {error}", flags.labels),
        })?;
        let layers = layers(flags, &weights, &counts)?;
        let convention = flags.convention();
        let feature_decay = convention
            .feature_decay(flags.feature_decay, classes, counts.samples())
            .map_err(|error| format!("--feature-decay: {error}"))?;
        let ufm = Ufm::new(counts, layers, feature_decay, bias.is_some()).map_err(explained)?;
        Ok(Self { weights, bias, features, labels, ufm })
    }

    /// W_{L:1}.
    pub(crate) fn product(&self) -> Mat<f64> {
        let mut product = self.weights[0].clone();
        for weights in &self.weights[1..] {
            product = weights * product;
        }
        product
    }

    /// Whether there are all layers, and not their product alone.
    pub(crate) fn has_all_layers(&self) -> bool {
        self.weights.len() == self.ufm.depth()
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
fn check_widths(weights: &[Array], features: &Array) -> Result<(), String> {
    let (_, mut width) = features.sides()?;
    let mut before = format!("{} has {width} numbers a sample", features.name);
    for array in weights {
        let (rows, cols) = array.sides()?;
        if rows == 0 || cols == 0 {
            return Err(array.says(&format_args!("an empty matrix of {rows} x {cols}")));
        }
        if cols != width {
            let hint = if rows == width { ": is it the transpose, or are the layers in reverse?" } else { "" };
            return Err(array.says(&format_args!(
                "a layer of {rows} x {cols} reads {cols} numbers, but {before}{hint}; layers are (out, in), W_1 first"
            )));
        }
        width = rows;
        before = format!("{} writes {width}", array.name);
    }
    Ok(())
}

fn labels(flags: &Flags, classes: usize, features: &Array) -> Result<Vec<usize>, String> {
    let array = Array::open("--labels", &flags.labels)?;
    let integers = array.integers()?;
    let (samples, _) = features.sides()?;
    if integers.iter().len() != samples {
        let given = integers.iter().len();
        return Err(array.says(&format_args!("{given} labels given, but {} has {samples} rows", features.name)));
    }
    let first = i128::from(flags.labels_from);
    let (least, most) =
        integers.iter().fold((i128::MAX, i128::MIN), |(least, most), label| (least.min(label), most.max(label)));
    if first == 0 && least == 1 && most == classes as i128 {
        return Err(array.says(&format_args!(
            "labels run from 1 to {classes}: they seem to be counted from 1; give --labels-from 1"
        )));
    }
    let shifted = |(i, label): (usize, i128)| {
        let class = usize::try_from(label - first).ok().filter(|&class| class < classes);
        class.ok_or_else(|| {
            array.says(&format_args!(
                "entry {i} (counted from 0) is {label}, accepted are {first} to {} for {classes} classes",
                first + classes as i128 - 1
            ))
        })
    };
    integers.iter().enumerate().map(shifted).collect()
}

/// Widths from the arrays, decays from the flags.
fn layers(flags: &Flags, weights: &[Mat<f64>], counts: &ClassCounts) -> Result<Vec<Layer>, String> {
    let (given, decays) = (weights.len(), &flags.layer_decay);
    let depth = flags.layers.unwrap_or(given.max(decays.len()));
    if !(1..=MOST_LAYERS).contains(&depth) {
        return Err(format!("--layers: {depth} given, 1 to {MOST_LAYERS} are accepted"));
    }
    if given != 1 && given != depth {
        return Err(format!(
            "--weights: {given} files given for {depth} layers; accepted are all of them, or their product"
        ));
    }
    if decays.len() != 1 && decays.len() != depth {
        return Err(format!(
            "--layer-decay: {} values given for {depth} layers; accepted are one, or one a layer",
            decays.len()
        ));
    }
    let width = |l: usize| match &flags.widths {
        Some(widths) => widths.get(l).copied().unwrap_or(0),
        // A product does not tell the widths inside: wide enough, if nothing else is said.
        None => weights.get(l).map_or_else(|| weights[0].ncols().max(counts.classes()), Mat::ncols),
    };
    if let Some(widths) = &flags.widths
        && (widths.len() != depth || widths[0] != weights[0].ncols() || given == depth)
    {
        return Err(format!(
            "--widths: {widths:?} given; accepted, with the product of several layers, are {depth} numbers, the first {}",
            weights[0].ncols()
        ));
    }
    let convention = flags.convention();
    (0..depth)
        .map(|l| {
            let decay = decays[if decays.len() == 1 { 0 } else { l }];
            let decay = convention.layer_decay(decay, counts.classes());
            Ok(Layer::new(width(l), decay.map_err(|error| format!("--layer-decay: {error}"))?))
        })
        .collect()
}

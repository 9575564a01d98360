//! The blocks of parameters, one by one, and whether they are those of a model.

use faer::{Col, ColRef, Mat, MatMut, MatRef};

use super::Parameters;
use crate::{
    error::{Block, Error},
    linalg::checks::{check_finite, check_shape},
    model::Ufm,
};

impl Parameters {
    /// The blocks W_1 .. W_L, H and, if there is one, b.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = MatRef<'_, f64>> {
        let weights = self.weights.iter().map(Mat::as_ref);
        weights.chain([self.features.as_ref()]).chain(self.bias.as_ref().map(Col::as_mat))
    }

    /// The blocks W_1 .. W_L, H and, if there is one, b.
    pub(crate) fn blocks_mut(&mut self) -> impl Iterator<Item = MatMut<'_, f64>> {
        let weights = self.weights.iter_mut().map(Mat::as_mut);
        weights.chain([self.features.as_mut()]).chain(self.bias.as_mut().map(Col::as_mat_mut))
    }

    /// The blocks except H.
    pub(crate) fn small_blocks(&self) -> impl Iterator<Item = MatRef<'_, f64>> {
        self.weights.iter().map(Mat::as_ref).chain(self.bias.as_ref().map(Col::as_mat))
    }

    /// The blocks except H.
    pub(crate) fn small_blocks_mut(&mut self) -> impl Iterator<Item = MatMut<'_, f64>> {
        self.weights.iter_mut().map(Mat::as_mut).chain(self.bias.as_mut().map(Col::as_mat_mut))
    }

    pub(crate) fn check_shapes(&self, ufm: &Ufm) -> Result<(), Error> {
        // A number of samples beyond `usize` cannot be the number of columns of a matrix.
        self.check_blocks(ufm, usize::try_from(ufm.samples()).unwrap_or(usize::MAX))
    }

    /// The same for features with this many columns.
    pub(crate) fn check_blocks(&self, ufm: &Ufm, columns: usize) -> Result<(), Error> {
        check_presence(ufm, &self.weights, self.bias())?;
        // Before the shapes: other counts are often the reason why these differ, and a better explanation. If one side
        // has a matrix of targets, nothing is known of classes, and shapes are all that can be compared.
        if let (Some(expected), Some(found)) = (ufm.class_counts(), &self.classes) {
            expected.check_same(found.counts())?;
        }
        check_layer_shapes(ufm, &self.weights, self.bias())?;
        check_shape(Block::Features, (ufm.feature_width(), columns), self.features.shape())
    }

    pub(crate) fn check_finite(&self) -> Result<(), Error> {
        check_finite_layers(&self.weights, self.bias())?;
        check_finite(Block::Features, self.features.as_ref())
    }
}

/// Whether layers and a bias, of a network whose samples are elsewhere, are those of a model, and finite.
pub(crate) fn check_layers(ufm: &Ufm, weights: &[Mat<f64>], bias: Option<ColRef<'_, f64>>) -> Result<(), Error> {
    check_presence(ufm, weights, bias)?;
    check_layer_shapes(ufm, weights, bias)?;
    check_finite_layers(weights, bias)
}

fn check_presence(ufm: &Ufm, weights: &[Mat<f64>], bias: Option<ColRef<'_, f64>>) -> Result<(), Error> {
    if weights.len() != ufm.depth() {
        return Err(Error::LayerCount { expected: ufm.depth(), found: weights.len() });
    }
    if bias.is_some() != ufm.has_bias() {
        return Err(Error::BiasPresence { expected: ufm.has_bias() });
    }
    Ok(())
}

fn check_layer_shapes(ufm: &Ufm, weights: &[Mat<f64>], bias: Option<ColRef<'_, f64>>) -> Result<(), Error> {
    for (l, weights) in weights.iter().enumerate() {
        check_shape(Block::Weights(l), ufm.weight_shape(l), weights.shape())?;
    }
    bias.map_or(Ok(()), |bias| check_shape(Block::Bias, (ufm.outputs(), 1), (bias.nrows(), 1)))
}

fn check_finite_layers(weights: &[Mat<f64>], bias: Option<ColRef<'_, f64>>) -> Result<(), Error> {
    for (l, weights) in weights.iter().enumerate() {
        check_finite(Block::Weights(l), weights.as_ref())?;
    }
    bias.map_or(Ok(()), |bias| check_finite(Block::Bias, bias.as_mat()))
}

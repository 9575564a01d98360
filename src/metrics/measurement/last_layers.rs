//! The last layers of a network, checked against each other.

use faer::{Col, ColRef, Mat, MatRef};

use crate::{
    error::{Block, Error},
    linalg::checks::{check_finite, check_shape},
};

/// The linear layers of a network after its features, W_1 .. W_L, and the bias of the last one.
///
/// A layer is d_{l+1} × d_l, (out, in) as frameworks have it, and reads what the one before it writes: the first one
/// features of width d_1, the last one writes K outputs.
///
/// # Example
///
/// ```
/// use neural_collapse::{faer::{col, mat}, metrics::LastLayers};
///
/// let (first, second) = (mat![[1.0, 0.0, 2.0], [0.0, 1.0, 0.0]], mat![[1.0, 1.0], [1.0, -1.0]]);
/// let layers = LastLayers::new([first, second], Some(col![0.5, 0.5]))?;
/// assert_eq!(layers.product(), mat![[1.0, 1.0, 2.0], [1.0, -1.0, 2.0]]);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct LastLayers {
    weights: Vec<Mat<f64>>,
    bias: Option<Col<f64>>,
    /// W_{L:1}.
    product: Mat<f64>,
    /// d_1 .. d_L; of layers whose product alone is known as they are said.
    widths: Vec<usize>,
}

impl LastLayers {
    /// Layers W_1 .. W_L and a bias of K numbers. Cost: their product.
    ///
    /// # Errors
    ///
    /// [`Error::NoLayers`]; [`Error::Shape`] if a layer does not read what the one before it writes, or for a bias of
    /// another length; [`Error::ZeroWidth`]; [`Error::NotFinite`].
    pub fn new(weights: impl Into<Vec<Mat<f64>>>, bias: Option<Col<f64>>) -> Result<Self, Error> {
        let weights = weights.into();
        let (first, rest) = weights.split_first().ok_or(Error::NoLayers)?;
        let mut writes = first.nrows();
        for (l, layer) in (1..).zip(rest) {
            check_shape(Block::Weights(l), (layer.nrows(), writes), layer.shape())?;
            writes = layer.nrows();
        }
        for (l, layer) in weights.iter().enumerate() {
            if layer.ncols() == 0 {
                return Err(Error::ZeroWidth { layer: l });
            }
            check_finite(Block::Weights(l), layer.as_ref())?;
        }
        if let Some(bias) = &bias {
            check_shape(Block::Bias, (writes, 1), (bias.nrows(), 1))?;
            check_finite(Block::Bias, bias.as_mat())?;
        }
        let product = rest.iter().fold(first.clone(), |product, layer| layer * product);
        let widths = weights.iter().map(Mat::ncols).collect();
        Ok(Self { weights, bias, product, widths })
    }

    /// The same if the one matrix given is the product of this many layers, of which no more is known: their widths count
    /// as wide enough for any optimum.
    ///
    /// # Errors
    ///
    /// [`Error::LayerCount`] if several matrices were given, and `depth` is not their number; [`Error::NoLayers`].
    pub fn with_depth(mut self, depth: usize) -> Result<Self, Error> {
        if depth == 0 {
            return Err(Error::NoLayers);
        }
        if depth == self.weights.len() {
            return Ok(self);
        }
        if self.weights.len() != 1 {
            return Err(Error::LayerCount { expected: depth, found: self.weights.len() });
        }
        let wide = self.width().max(self.outputs());
        self.widths = vec![wide; depth];
        self.widths[0] = self.width();
        Ok(self)
    }

    /// The same if the one matrix given is the product of layers of these widths d_1 .. d_L.
    ///
    /// # Errors
    ///
    /// As [`LastLayers::with_depth`]; [`Error::Shape`] unless d_1 is what the product reads; [`Error::ZeroWidth`].
    pub fn with_widths(self, widths: impl Into<Vec<usize>>) -> Result<Self, Error> {
        let widths = widths.into();
        let shape = (self.outputs(), widths.first().copied().ok_or(Error::NoLayers)?);
        check_shape(Block::Product, shape, self.product.shape())?;
        if let Some(layer) = widths.iter().position(|&width| width == 0) {
            return Err(Error::ZeroWidth { layer });
        }
        Ok(Self { widths: widths.clone(), ..self.with_depth(widths.len())? })
    }

    /// The matrices given: W_1 .. W_L, or their product alone.
    #[must_use]
    pub fn weights(&self) -> &[Mat<f64>] {
        &self.weights
    }

    /// b; `None` without one.
    #[must_use]
    pub fn bias(&self) -> Option<ColRef<'_, f64>> {
        self.bias.as_ref().map(Col::as_ref)
    }

    /// The product W_{L:1}, K × d_1.
    #[must_use]
    pub fn product(&self) -> MatRef<'_, f64> {
        self.product.as_ref()
    }

    /// The widths d_1 .. d_L.
    #[must_use]
    pub fn widths(&self) -> &[usize] {
        &self.widths
    }

    /// The number of layers L.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.widths.len()
    }

    /// Whether each of them is given, and not their product alone.
    #[must_use]
    pub fn has_all(&self) -> bool {
        self.widths.len() == self.weights.len()
    }

    /// The width d_1 of the features.
    #[must_use]
    pub fn width(&self) -> usize {
        self.product.ncols()
    }

    /// The number of outputs K.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.product.nrows()
    }

    /// Copies of what was given, as accumulators take it.
    pub(super) fn parts(&self) -> (Vec<Mat<f64>>, Option<Col<f64>>) {
        (self.weights.clone(), self.bias.clone())
    }
}

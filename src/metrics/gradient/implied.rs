//! The decays that a network's arrays imply.

use faer::{Mat, MatRef, Scale};

use super::{
    kernels::Pulls,
    network::{Network, NetworkGradient},
};
use crate::{error::Error, linalg::checks::first_not_finite};

/// The decays that a network was trained with, as its arrays tell them under one loss.
///
/// Where training with penalties has come to rest, the gradient of the loss and that of the penalty cancel. With R = Y - P
/// weighted by α_k, and P the outputs or their softmax, for every layer, the features and a bias that decays:
///
/// ```text
/// (W_L ··· W_{l+1})ᵀ R (W_{l-1} ··· W_1 H)ᵀ/N = λ_l W_l,    (W_L ··· W_1)ᵀ R/N = λ_H H,    R 1/N = λ_b b
/// ```
///
/// The decay is the λ for which both sides are closest. λ_W ‖W‖² = λ_H ‖H‖² holds for the estimates of any arrays, so
/// that it tests nothing; misfits do.
///
/// # Example
///
/// See [`GradientAccumulator`](super::GradientAccumulator).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImpliedDecays {
    /// λ_1 .. λ_L. `None` for a layer of zeros, or one whose gradient is zero.
    pub layers: Vec<Option<ImpliedDecay>>,
    /// λ_H. If no feature is negative, over the entries that are not zero: after a ReLU the gradient at a zero may have
    /// any value that points down.
    pub features: Option<ImpliedDecay>,
    /// λ_b; `None` without a bias, or if it or its gradient is zero. At a bias that is free the gradient is zero, and the estimate small.
    pub bias: Option<ImpliedDecay>,
    /// K.
    pub(in crate::metrics) outputs: usize,
}

/// A decay, and how far the arrays are from being stationary with it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImpliedDecay {
    /// λ = ⟨A, W⟩/‖W‖² for the negative gradient A of the mean loss by a block W, in the units of
    /// [`Ufm`](crate::Ufm).
    pub decay: f64,
    /// ‖A - λ W‖/‖A‖, from 0 where the block is stationary to 1. That of features is no more exact than 1e-8, since only
    /// the norms of both sides are known. From 2^15 samples on it is that of one in eight, spread evenly.
    pub misfit: f64,
}

impl NetworkGradient {
    /// The decays that these arrays imply under the loss of the model. Cost: L products of the layers.
    ///
    /// # Errors
    ///
    /// [`Error::MatrixNotFinite`] if products of layers and residuals leave the range of `f64`.
    pub fn implied_decays(&self) -> Result<ImpliedDecays, Error> {
        let Network { bias, product, .. } = &*self.network;
        let pull = Scale(-1.0 / self.samples());
        let outer = pull * &self.sums.outer;
        let layers = self.layers(&outer)?;
        let inner = outer.as_ref().col_iter().zip(product.as_ref().col_iter());
        let inner: f64 = inner.map(|(a, b)| a.transpose() * b).sum();
        // Misfits are those of the samples looked at.
        let Pulls { square, active, inner: looked, features } = self.sums.pulls;
        let size = if self.is_nonnegative { active } else { square }.sqrt() * features.sqrt();
        let bias = bias.as_ref().map(|bias| implied((pull * &self.sums.total).as_mat(), bias.as_mat()));
        Ok(ImpliedDecays {
            layers,
            features: (self.square > 0.0 && size > 0.0 && (looked / size).is_finite()).then(|| {
                let cosine = looked / size;
                ImpliedDecay { decay: inner / self.square, misfit: (1.0 - cosine * cosine).max(0.0).sqrt() }
            }),
            bias: bias.transpose()?.flatten(),
            outputs: product.nrows(),
        })
    }

    /// What R Hᵀ/N says of every layer.
    pub(super) fn layers(&self, outer: &Mat<f64>) -> Result<Vec<Option<ImpliedDecay>>, Error> {
        let weights = &self.network.weights;
        // From W_L down: what is above a layer, transposed, times R Hᵀ/N.
        let mut above = outer.clone();
        let mut layers = vec![None; weights.len()];
        for l in (0..weights.len()).rev() {
            let below = weights[..l].iter().fold(None, |below: Option<Mat<f64>>, weights| {
                Some(below.map_or_else(|| weights.clone(), |below| weights * below))
            });
            let gradient = below.map_or_else(|| above.clone(), |below| &above * below.transpose());
            layers[l] = implied(gradient.as_ref(), weights[l].as_ref())?;
            above = weights[l].transpose() * above;
        }
        Ok(layers)
    }
}

/// λ and misfit of a block from the negative gradient A by it; `None` if one of the two is zero. In units of the largest
/// entries, so that no square leaves the range of `f64`.
pub(super) fn implied(gradient: MatRef<'_, f64>, block: MatRef<'_, f64>) -> Result<Option<ImpliedDecay>, Error> {
    if let Some((row, col, value)) = first_not_finite(gradient) {
        return Err(Error::MatrixNotFinite { row, col, value });
    }
    let (pull, size) = (gradient.norm_max(), block.norm_max());
    if !(pull > 0.0 && size > 0.0) {
        return Ok(None);
    }
    let scaled =
        |matrix: MatRef<'_, f64>, by: f64| Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)] / by);
    let (gradient, block) = (scaled(gradient, pull), scaled(block, size));
    let inner: f64 = gradient.col_iter().zip(block.col_iter()).map(|(a, w)| a.transpose() * w).sum();
    let decay = inner / block.squared_norm_l2();
    let misfit = (&gradient - Scale(decay) * block).norm_l2() / gradient.norm_l2();
    Ok(Some(ImpliedDecay { decay: decay * (pull / size), misfit }))
}

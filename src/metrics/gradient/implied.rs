//! The decays that a network's arrays imply.

use faer::{Col, Mat, Scale};

use super::{Network, NetworkGradient};
use crate::error::Error;

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
    /// λ_b; `None` without a bias. At a bias that is free the gradient is zero, and the estimate small.
    pub bias: Option<ImpliedDecay>,
}

/// A decay, and how far the arrays are from being stationary with it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImpliedDecay {
    /// λ = ⟨A, W⟩/‖W‖² for the negative gradient A of the mean loss by a block W, in the units of
    /// [`Ufm`](crate::Ufm).
    pub decay: f64,
    /// ‖A - λ W‖/‖A‖, from 0 where the block is stationary to 1. For features no more exact than 1e-8, since only the
    /// norms of both sides are known.
    pub misfit: f64,
}

impl NetworkGradient {
    /// The decays that these arrays imply under the loss of the model. Cost: L products of the layers.
    ///
    /// # Errors
    ///
    /// [`Error::MatrixNotFinite`] if products of layers and residuals leave the range of `f64`.
    pub fn implied_decays(&self) -> Result<ImpliedDecays, Error> {
        let Network { weights, bias, product } = &*self.network;
        let pull = Scale(-1.0 / self.samples());
        let outer = pull * &self.sums.outer;
        // From W_L down: what is above a layer, transposed, times R Hᵀ/N.
        let mut above = outer.clone();
        let mut layers = vec![None; weights.len()];
        for l in (0..weights.len()).rev() {
            let below = weights[..l].iter().fold(None, |below: Option<Mat<f64>>, weights| {
                Some(below.map_or_else(|| weights.clone(), |below| weights * below))
            });
            let gradient = below.map_or_else(|| above.clone(), |below| &above * below.transpose());
            layers[l] = implied(&gradient, &weights[l])?;
            above = weights[l].transpose() * above;
        }
        let inner = outer.as_ref().col_iter().zip(product.as_ref().col_iter());
        let inner: f64 = inner.map(|(a, b)| a.transpose() * b).sum();
        let square = if self.is_nonnegative { self.sums.active_square } else { self.sums.square };
        let size = square.sqrt() / self.samples();
        let bias = bias.as_ref().map(|bias| implied((pull * &self.sums.total).as_mat(), bias.as_mat()));
        Ok(ImpliedDecays {
            layers,
            features: (self.square > 0.0 && size > 0.0).then(|| {
                let cosine = inner / size / self.square.sqrt();
                ImpliedDecay { decay: inner / self.square, misfit: (1.0 - cosine * cosine).max(0.0).sqrt() }
            }),
            bias: bias.transpose()?.flatten(),
        })
    }
}

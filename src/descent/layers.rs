//! The layers as a pass sees them: products of weights before it, gradients of weights after it.
//!
//! All weight gradients follow from one matrix M of the size of W_{L:1}, so that the cost of a pass over the samples
//! does not grow with the number of layers:
//!
//! ```text
//! S_l = W_L ··· W_l,   E = S_1 H + b 1ᵀ - Y,   M = E Hᵀ/N,   M_1 = M,   M_l = M_{l-1} W_{l-1}ᵀ
//! ∂f/∂W_l = S_{l+1}ᵀ M_l + λ_l W_l,   ∂f/∂H = S_1ᵀ E/N + λ_H H,   ∂f/∂b = E 1/N
//! ```
//!
//! If a layer is so narrow that W_{L:1} has more entries than its two factors on both sides of that layer, the waist,
//! the pass goes through the narrow layer instead: S_l then end there, and so do M_l.

use faer::{Mat, MatMut, MatRef};

use super::plan::Plan;
use crate::{linalg::product::replace, model::Ufm};

/// The matrices of the formulas, with their memory.
#[derive(Debug)]
pub(crate) struct Layers {
    waist: Option<usize>,
    /// S_l, the product of the layers from l to the waist or to the end.
    products: Vec<Mat<f64>>,
    /// M_l, of the shape of S_l.
    moments: Vec<Mat<f64>>,
    /// S_1ᵀ, and the transpose of the product of the layers after the waist: factors are faster with their long side
    /// down.
    inner: Mat<f64>,
    outer: Option<Mat<f64>>,
}

impl Layers {
    pub(crate) fn new(ufm: &Ufm, plan: &Plan) -> Self {
        let rows = |l: usize| if plan.waist.is_some_and(|waist| l < waist) { plan.middle } else { ufm.outputs() };
        let by_layer =
            || ufm.layers().iter().enumerate().map(|(l, layer)| Mat::zeros(rows(l), layer.width)).collect::<Vec<_>>();
        Self {
            waist: plan.waist,
            products: by_layer(),
            moments: by_layer(),
            inner: Mat::zeros(ufm.feature_width(), plan.middle),
            outer: plan.waist.map(|_| Mat::zeros(plan.middle, ufm.outputs())),
        }
    }

    /// Forms the products of the layers that a pass needs.
    pub(crate) fn multiply(&mut self, weights: &[Mat<f64>]) {
        let last = weights.len() - 1;
        // From the outputs down: S_l = S_{l+1} W_l, and a fresh start below the waist.
        for l in (0..=last).rev() {
            if l == last || self.waist == Some(l + 1) {
                self.products[l].copy_from(&weights[l]);
            } else {
                let (lower, upper) = self.products.split_at_mut(l + 1);
                replace(lower[l].as_mut(), upper[0].as_ref(), weights[l].as_ref());
            }
        }
        self.inner.copy_from(self.products[0].transpose());
        if let (Some(waist), Some(outer)) = (self.waist, &mut self.outer) {
            outer.copy_from(self.products[waist].transpose());
        }
    }

    /// S_1ᵀ: from features to outputs or to the waist.
    pub(crate) fn inner(&self) -> MatRef<'_, f64> {
        self.inner.as_ref()
    }

    /// The transposed product of the layers after the waist, if there is one.
    pub(crate) fn outer(&self) -> Option<MatRef<'_, f64>> {
        self.outer.as_ref().map(Mat::as_ref)
    }

    /// M of the layers up to the waist, to be written by whoever has made a pass.
    pub(crate) fn moment(&mut self) -> MatMut<'_, f64> {
        self.moments[0].as_mut()
    }

    /// M of the layers after the waist.
    pub(crate) fn outer_moment(&mut self) -> Option<MatMut<'_, f64>> {
        self.waist.map(|waist| self.moments[waist].as_mut())
    }

    /// Writes the gradient of the fit by every layer: S_{l+1}ᵀ M_l, from M as the last pass has left it.
    pub(crate) fn backpropagate(&mut self, weights: &[Mat<f64>], gradient: &mut [Mat<f64>]) {
        for (l, gradient) in gradient.iter_mut().enumerate() {
            if l > 0 && self.waist != Some(l) {
                let (lower, upper) = self.moments.split_at_mut(l);
                replace(upper[0].as_mut(), lower[l - 1].as_ref(), weights[l - 1].transpose());
            }
            match self.products.get(l + 1).filter(|_| self.waist != Some(l + 1)) {
                Some(above) => replace(gradient.as_mut(), above.transpose(), self.moments[l].as_ref()),
                None => gradient.copy_from(&self.moments[l]),
            }
        }
    }
}

//! The last layers of a network, and what a pass has gathered of its gradient.

use std::sync::Arc;

use faer::{Col, Mat};

use super::part::Sums;
use crate::{error::Error, model::Ufm, parameters::check_layers};

/// The last layers of a network.
#[derive(Debug, PartialEq)]
pub(super) struct Network {
    /// W_1 .. W_L.
    pub(super) weights: Vec<Mat<f64>>,
    pub(super) bias: Option<Col<f64>>,
    /// W_{L:1}, K × d.
    pub(super) product: Mat<f64>,
}

/// The loss of a network and its gradient, under one model, over all samples of a pass.
#[derive(Clone, Debug)]
pub struct NetworkGradient {
    pub(super) model: Ufm,
    pub(super) network: Arc<Network>,
    pub(super) sums: Sums,
    /// ‖H‖².
    pub(super) square: f64,
    pub(super) is_nonnegative: bool,
    /// How much outputs differ from sample to sample, in the quadratic mean.
    pub(super) spread: f64,
}

impl NetworkGradient {
    /// The model.
    #[must_use]
    pub fn model(&self) -> &Ufm {
        &self.model
    }

    /// The mean loss 1/N Σ_j α_j l_j, without penalties.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.sums.loss / self.samples()
    }

    /// The objective of a model at this network, penalties included, as [`Ufm::objective`]: of the model of the pass, or
    /// of one with its loss and other decays.
    ///
    /// # Errors
    ///
    /// [`Error::OtherLoss`] if the model has another loss, other class weights, targets or adjustments of logits;
    /// [`Error::LayerCount`], [`Error::BiasPresence`], [`Error::Shape`] if the network is not one of the model.
    pub fn objective(&self, ufm: &Ufm) -> Result<f64, Error> {
        let Network { weights, bias, .. } = &*self.network;
        if ufm.targets() != self.model.targets() || ufm.output_loss() != self.model.output_loss() {
            return Err(Error::OtherLoss);
        }
        check_layers(ufm, weights, bias.as_ref().map(Col::as_ref))?;
        let layers = ufm.layers().iter().zip(weights);
        let weights: f64 = layers.map(|(layer, weights)| layer.decay * weights.squared_norm_l2() / 2.0).sum();
        let bias = bias.as_ref().map_or(0.0, Col::squared_norm_l2);
        Ok(self.loss() + weights + ufm.feature_decay() * self.square / 2.0 + ufm.bias_decay() * bias / 2.0)
    }

    /// Whether no feature is negative, as after a ReLU.
    #[must_use]
    pub fn has_nonnegative_features(&self) -> bool {
        self.is_nonnegative
    }

    /// How much the outputs W_{L:1} h + b differ from sample to sample: the root of their mean square about their mean.
    #[must_use]
    pub fn output_spread(&self) -> f64 {
        self.spread
    }

    /// ‖R 1‖/(√N ‖R‖), from 0 to 1: 0 where a free bias is at rest.
    #[must_use]
    pub fn bias_pull(&self) -> f64 {
        let size = (self.samples() * self.sums.residual).sqrt();
        if size > 0.0 { self.sums.total.norm_l2() / size } else { 0.0 }
    }

    /// |Σ_j (R 1)_j|/Σ α: how far the sums of the outputs are from those of the targets, in the mean. Of squared loss.
    pub(in crate::metrics) fn output_sum_error(&self) -> f64 {
        let weight = |k: usize| self.model.class_weights().map_or(1.0, |weights| weights[k]);
        let counts = self.model.class_counts().map_or(&[][..], |counts| counts.counts());
        let size: f64 = counts.iter().enumerate().map(|(k, &count)| weight(k) * count as f64).sum();
        self.sums.total.iter().sum::<f64>().abs() / size
    }

    pub(super) fn samples(&self) -> f64 {
        self.model.samples() as f64
    }
}

//! What training minimizes: the objective of the theory with the features of a network in the place of free ones.

use burn::tensor::{Device, Int, Tensor, TensorData, activation::log_softmax};
use neural_collapse::{Loss, Ufm};

use crate::network::Network;

/// Which penalties a network is trained with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Penalties {
    /// Of the linear layers and of the features.
    All,
    /// Of the linear layers.
    Layers,
    /// Of nothing.
    None,
}

/// The objective of a model, as tables on a device: for a batch of B of the N samples an unbiased estimate of that on
/// all, if batches are drawn at random.
///
/// ```text
/// 1/B Σ α l(W_{L:1} h + b)  +  Σ_l λ_l/2 ‖W_l‖²  +  λ_b/2 ‖b‖²  +  N/B · λ_H/2 Σ ‖h‖²
/// u = δ z + ι - m_k e_k,     l = ½ ‖u - y‖²  or  -yᵀ log softmax(u)
/// ```
///
/// The layers before the features are not penalized, and nothing is if the optimizer decays weights.
#[derive(Clone, Debug)]
pub struct Objective {
    loss: Loss,
    /// Row k is the target y of a sample of class k, K × K.
    targets: Tensor<2>,
    /// δ, 1 × K; `None` if all are 1.
    scales: Option<Tensor<2>>,
    /// Row k is ι - m_k e_k, K × K; `None` if all are 0.
    offsets: Option<Tensor<2>>,
    /// α, K × 1; `None` if all are 1.
    weights: Option<Tensor<2>>,
    layer_decays: Vec<f64>,
    /// λ_b, or 0.
    bias_decay: f64,
    /// N λ_H, or 0.
    feature_decay: f64,
}

impl Objective {
    /// The objective of a model on a device.
    #[must_use]
    pub fn new(ufm: &Ufm, penalties: Penalties, device: &Device) -> Self {
        let classes = ufm.outputs();
        #[allow(clippy::cast_possible_truncation)]
        let table = |rows: usize, cols: usize, entry: &dyn Fn(usize, usize) -> f64| {
            let numbers = (0..rows).flat_map(|i| (0..cols).map(move |j| entry(i, j) as f32)).collect();
            Tensor::from_data(TensorData::new::<f32, _>(numbers, [rows, cols]), device)
        };
        let smoothing = ufm.targets().smoothing();
        let target = |k: usize, r: usize| f64::from(u8::from(k == r)) * (1.0 - smoothing) + smoothing / classes as f64;
        let (shifts, margins) = (ufm.logit_shifts(), ufm.margins());
        let offset = |k: usize, r: usize| {
            shifts.map_or(0.0, |shifts| shifts[r]) - margins.filter(|_| k == r).map_or(0.0, |margins| margins[k])
        };
        Self {
            loss: ufm.loss(),
            targets: table(classes, classes, &target),
            scales: ufm.logit_scales().map(|scales| table(1, classes, &|_, r| scales[r])),
            offsets: (shifts.is_some() || margins.is_some()).then(|| table(classes, classes, &offset)),
            weights: ufm.class_weights().map(|weights| table(classes, 1, &|k, _| weights[k])),
            layer_decays: match penalties {
                Penalties::None => Vec::new(),
                _ => ufm.layers().iter().map(|layer| layer.decay).collect(),
            },
            bias_decay: match penalties {
                Penalties::None => 0.0,
                _ => ufm.bias_decay(),
            },
            feature_decay: match penalties {
                Penalties::All => ufm.samples() as f64 * ufm.feature_decay(),
                _ => 0.0,
            },
        }
    }

    /// The same without gradients.
    #[must_use]
    pub fn inner(&self) -> Self {
        let inner = |tensor: &Option<Tensor<2>>| tensor.clone().map(Tensor::inner);
        Self {
            targets: self.targets.clone().inner(),
            scales: inner(&self.scales),
            offsets: inner(&self.offsets),
            weights: inner(&self.weights),
            ..self.clone()
        }
    }

    /// The same with this share of its penalties.
    #[must_use]
    pub fn with_penalties(&self, share: f64) -> Self {
        let layer_decays = self.layer_decays.iter().map(|decay| share * decay).collect();
        let (bias_decay, feature_decay) = (share * self.bias_decay, share * self.feature_decay);
        Self { layer_decays, bias_decay, feature_decay, ..self.clone() }
    }

    /// Its value for a batch of images, B × D, of these classes.
    #[must_use]
    pub fn value(&self, network: &Network, images: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        self.value_at(network, network.features(images), labels)
    }

    /// Its value for a batch of features, B × d_1.
    #[must_use]
    pub fn value_at(&self, network: &Network, features: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        let [batch, _] = features.dims();
        let fit = self.fit(network.outputs(features.clone()), labels) / batch as f64;
        let layers = network.linear_weights().zip(&self.layer_decays);
        let mut sum = layers.fold(fit, |sum, (weight, decay)| sum + square(weight) * (decay / 2.0));
        if let Some(bias) = network.last_bias().filter(|_| self.bias_decay > 0.0) {
            sum = sum + square(bias) * (self.bias_decay / 2.0);
        }
        if self.feature_decay > 0.0 {
            return sum + square(features) * (self.feature_decay / 2.0 / batch as f64);
        }
        sum
    }

    /// Σ α l of outputs, B × K.
    fn fit(&self, mut logits: Tensor<2>, labels: Tensor<1, Int>) -> Tensor<1> {
        if let Some(scales) = &self.scales {
            logits = logits * scales.clone();
        }
        if let Some(offsets) = &self.offsets {
            logits = logits + offsets.clone().select(0, labels.clone());
        }
        let targets = self.targets.clone().select(0, labels.clone());
        let (mut losses, sign) = if self.loss == Loss::CrossEntropy {
            (log_softmax(logits, 1) * targets, -1.0)
        } else {
            let residual = logits - targets;
            (residual.clone() * residual, 0.5)
        };
        if let Some(weights) = &self.weights {
            losses = losses * weights.clone().select(0, labels);
        }
        losses.sum() * sign
    }
}

/// The sum of all squares.
fn square<const D: usize>(tensor: Tensor<D>) -> Tensor<1> {
    (tensor.clone() * tensor).sum()
}

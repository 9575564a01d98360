//! What training minimizes: (4.3) of Liu 2024 with the features of a network in the place of free ones.

use burn::tensor::Tensor;
use neural_collapse::Ufm;

use crate::network::Network;

/// The objective on a batch of B of the N samples, an unbiased estimate of that on all where batches are drawn at
/// random:
///
/// ```text
/// 1/(2B) Σ ‖W_{L:1} h + b - y‖²  +  Σ_l λ_l/2 ‖W_l‖²  +  N/B · λ_H/2 Σ ‖h‖²
/// ```
///
/// Neither the layers before the features nor the bias are regularized. `targets` are one-hot, B × K.
#[must_use]
pub fn objective(ufm: &Ufm, network: &Network, images: Tensor<2>, targets: Tensor<2>) -> Tensor<1> {
    let [batch, _] = images.dims();
    let features = network.features(images);
    let residual = network.outputs(features.clone()) - targets;
    let fit = square(residual) * (0.5 / batch as f64);
    let features = square(features) * (ufm.samples() as f64 / batch as f64 * ufm.feature_decay() / 2.0);
    let layers = network.linear_weights().zip(ufm.layers());
    layers.fold(fit + features, |sum, (weight, layer)| sum + square(weight) * (layer.decay / 2.0))
}

/// The sum of all squares.
fn square(tensor: Tensor<2>) -> Tensor<1> {
    (tensor.clone() * tensor).sum()
}

//! From where to where a number says one thing, and from where on another.

// The ranges of small networks are those that `cli/tests/trained_thresholds.py` prints; those of real networks are of
// digits, letters and CIFAR-10, trained with Adam, SGD and AdamW.

/// The misfit up to which layers are stationary. Small networks: 6e-8 to 3e-4 at the end of training, up to 0.03 long
/// before; another loss or other weights 0.12 to 0.68, AdamW 0.58 to 0.63. Real ones: penalties 1e-4 to 1e-3, SGD's
/// `weight_decay` 0.02; AdamW 0.3, batch norm 0.4, another loss from 0.15 on.
pub(in crate::metrics) const STATIONARY: f64 = 0.05;
/// The misfit up to which features are at rest with a penalty. Small networks: 1e-5 to 0.04 with a penalty, up to 0.37 where
/// the layers have come to rest before the features; 0.91 to 0.99 without one. Real ones: 0.01 to 0.2, since features of
/// single samples settle last, and 0.97 to 0.99. Above it class means tell, with the same limit: up to 0.43 with a penalty
/// and small decays of the layers before, from 0.61 on without one.
pub(super) const PENALIZED: f64 = 0.5;
/// The misfit of class means above which features that have collapsed contradict a loss. Small networks: up to 0.04 under
/// their own loss; 0.37 to 0.75 of logit adjustment, read as any other loss under which the layers are at rest. Real ones:
/// up to 0.06 under their own.
pub(super) const CONTRADICTED: f64 = 0.1;
/// The scatter within classes, relative to that between them, up to which features have collapsed. Small networks: at most
/// 9e-6 with a penalty of the features, 0.006 to 0.04 without one. Real ones with a penalty: 1e-4 to 6e-4, and 0.014 where
/// training was stopped early.
pub(super) const COLLAPSED: f64 = 0.01;
/// The part of ‖H̄ D‖² that is negative, up to which an activation may hold negative features back. Networks on digits: 0.06
/// to 0.16 of LeakyReLU and GELU; 0.42 to 0.52 of features without an activation, ELU and tanh.
pub(super) const BENT: f64 = 0.25;
/// By what factor a constant in the outputs must bring the misfit of class means down, for a bias to be missing. Of networks
/// whose bias was left out it is 8 (letters, stopped early) to 1e5. The same for the misfit without the negative features:
/// of LeakyReLU and GELU that is 10 to 90.
pub(super) const BETTER: f64 = 4.0;
/// A decay of the bias below this part of the layers' is that of a free bias: its gradient is rounding, of any direction.
/// Small networks: 2e-8 to 3e-4 if it is free, 1 if it was penalized as the layers.
pub(super) const FREE: f64 = 0.05;
/// Outputs that differ by less from sample to sample are the same: targets are of size 1, and logits of 0.01 are odds of
/// 1 %. Small networks: 0.03 to 9, and 1e-12 under decays that leave nothing.
pub(super) const CONSTANT: f64 = 0.01;

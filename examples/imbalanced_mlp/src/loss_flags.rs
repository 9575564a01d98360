//! The flags of the loss: those of `neural-collapse predict`, whose words and conversions are in the library.

use anyhow::{Context, Result};
use clap::Args;
use neural_collapse::{ClassCounts, ClassWeights, Loss, WeightConvention};

/// What `--help` puts these flags under.
const HEADING: &str = "Loss";

/// A loss on the command line.
#[derive(Args, Clone, Debug)]
pub struct LossFlags {
    /// The loss of one sample: squared, half the squared error, or cross-entropy
    #[arg(long, help_heading = HEADING, default_value_t = Loss::Squared)]
    pub(crate) loss: Loss,
    /// How the loss of a sample is weighted by its class: none, inverse, inverse-root, effective:BETA, or a list
    ///
    /// inverse is 1/n, inverse-root is 1/root(n), effective:BETA is (1-BETA)/(1-BETA^n). These rules have mean 1 over
    /// all samples. A list has one weight for each class; 0.5,2x3 is one class of weight 0.5 and three of weight 2.
    #[arg(
        long,
        help_heading = HEADING,
        value_name = "RULE|W1,W2xM,...",
        allow_hyphen_values = true,
        default_value_t = ClassWeights::None
    )]
    class_weights: ClassWeights,
    /// What the weighted sum of losses is divided by: samples, or weights (their sum over all samples, as PyTorch's)
    #[arg(long, help_heading = HEADING, default_value_t = WeightConvention::Samples)]
    weight_convention: WeightConvention,
    /// Label smoothing E, 0 <= E < 1: targets are (1-E) for the own class, and E/K is added for each
    #[arg(long, help_heading = HEADING, value_name = "E", allow_hyphen_values = true, default_value_t = 0.0)]
    pub(crate) label_smoothing: f64,
    /// Logit adjustment: TAU log(n_k/N) is added to logit k; 1 is balanced softmax
    #[arg(long, help_heading = HEADING, value_name = "TAU", allow_hyphen_values = true, default_value_t = 0.0)]
    pub(crate) logit_adjustment: f64,
    /// Margins: C n_k^(-1/4) is subtracted from the logit of the own class (LDAM)
    #[arg(long, help_heading = HEADING, value_name = "C", allow_hyphen_values = true, default_value_t = 0.0)]
    pub(crate) ldam: f64,
    /// Class-dependent temperatures: logit k is multiplied by (n_k/n_max)^GAMMA (CDT)
    #[arg(long, help_heading = HEADING, value_name = "GAMMA", allow_hyphen_values = true, default_value_t = 0.0)]
    pub(crate) cdt: f64,
    /// A ReLU after the layer that makes the features: they are not negative
    #[arg(long, help_heading = HEADING)]
    pub(crate) relu_features: bool,
}

impl LossFlags {
    /// α, one for each class.
    pub(crate) fn class_weights(&self, counts: &ClassCounts) -> Result<Vec<f64>> {
        self.weight_convention.class_weights(&self.class_weights, counts).context("--class-weights")
    }
}

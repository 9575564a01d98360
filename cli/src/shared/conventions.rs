//! The flags that say how a training loss is scaled: shared by the programs that take decays.

use clap::ValueEnum;
use neural_collapse::{Block, Error, FeatureConvention, LossConvention, TrainingConvention};

/// Every direction has a number for every layer: a slip of the finger must not ask for all memory.
pub(crate) const MOST_LAYERS: usize = 10_000;

/// How the loss scales the squared error.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Loss {
    /// The mean over samples and outputs, as MSELoss
    Mean,
    /// Half of that
    HalfMean,
    /// The sum over outputs, averaged over samples
    Sum,
    /// Half of that, as the theory has it
    HalfSum,
}

/// How the loss scales the penalty of the features.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Features {
    /// mu_H/2 |H|^2 over all samples, as the theory has it
    Total,
    /// mu_H/(2N) |H|^2, averaged over samples
    Mean,
}

pub(crate) fn convention(loss: Loss, features: Features) -> TrainingConvention {
    let loss = match loss {
        Loss::Mean => LossConvention::Mean,
        Loss::HalfMean => LossConvention::HalfMean,
        Loss::Sum => LossConvention::Sum,
        Loss::HalfSum => LossConvention::HalfSum,
    };
    let features = match features {
        Features::Total => FeatureConvention::Total,
        Features::Mean => FeatureConvention::Mean,
    };
    TrainingConvention::new(loss, features)
}

/// What the model refuses: a decay by the flag that it comes from.
pub(crate) fn explained(error: Error) -> String {
    match error {
        Error::Decay { block: Block::Features, .. } => format!("--feature-decay: {error}"),
        Error::Decay { .. } => format!("--layer-decay: {error}"),
        error => error.to_string(),
    }
}

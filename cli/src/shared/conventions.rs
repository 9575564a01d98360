//! The flags that say how a training loss is scaled: shared by the programs that take decays.

use std::str::FromStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use neural_collapse::{Block, Error, FeatureConvention, LossConvention};

/// Every direction has a number for every layer: a slip of the finger must not ask for all memory.
pub(crate) const MOST_LAYERS: usize = 10_000;

/// The values of `--loss-convention`.
pub(crate) fn losses() -> impl TypedValueParser<Value = LossConvention> {
    choice(LossConvention::ALL, LossConvention::name, |loss| match loss {
        LossConvention::Mean => "The mean over samples and outputs, as MSELoss",
        LossConvention::HalfMean => "Half of that",
        LossConvention::Sum => "The sum over outputs, averaged over samples",
        LossConvention::HalfSum => "Half of that, as the theory has it",
        _ => "",
    })
}

/// The values of `--feature-convention`.
pub(crate) fn features() -> impl TypedValueParser<Value = FeatureConvention> {
    choice(FeatureConvention::ALL, FeatureConvention::name, |features| match features {
        FeatureConvention::Total => "mu_H/2 |H|^2 over all samples, as the theory has it",
        FeatureConvention::Mean => "mu_H/(2N) |H|^2, averaged over samples",
        _ => "",
    })
}

/// A flag whose values are choices of the library, by their names there.
pub(crate) fn choice<T>(
    all: &'static [T],
    name: fn(T) -> &'static str,
    help: fn(T) -> &'static str,
) -> impl TypedValueParser<Value = T>
where
    T: FromStr<Err = Error> + Copy + Send + Sync + 'static,
{
    let values = all.iter().map(|&value| PossibleValue::new(name(value)).help(help(value)));
    PossibleValuesParser::new(values).try_map(|word| word.parse())
}

/// What the model refuses: a decay by the flag that it comes from.
pub(crate) fn explained(error: Error) -> String {
    match error {
        Error::Decay { block: Block::Features, .. } => format!("--feature-decay: {error}"),
        Error::Decay { .. } => format!("--layer-decay: {error}"),
        error => error.to_string(),
    }
}

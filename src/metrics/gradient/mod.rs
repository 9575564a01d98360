//! The loss of a network and what its gradient is made of, gathered in one pass over any number of samples.

mod accumulator;
mod at_means;
mod deviation_part;
mod deviations;
mod from_statistics;
mod implied;
mod kernels;
mod network;
mod of_product;
mod part;
#[cfg(feature = "serde")]
mod saved;
mod singles;
mod spread;

pub(super) use self::deviations::DeviationAccumulator;
pub use self::{
    accumulator::GradientAccumulator,
    implied::{ImpliedDecay, ImpliedDecays},
    network::NetworkGradient,
};

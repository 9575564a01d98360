//! The loss of a network and what its gradient is made of, gathered in one pass over any number of samples.

mod accumulator;
mod at_means;
mod from_statistics;
mod implied;
mod kernels;
mod network;
mod part;
#[cfg(feature = "serde")]
mod saved;
mod spread;

pub use self::{
    accumulator::GradientAccumulator,
    implied::{ImpliedDecay, ImpliedDecays},
    network::NetworkGradient,
};

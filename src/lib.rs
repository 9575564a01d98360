//! Closed-form global minimizers of unconstrained features models, and the descent that checks them.

pub mod classes;
mod cores;
pub mod descent;
mod error;
pub mod metrics;
mod model;
mod objective;
mod parameters;
pub mod theory;
mod wide;

pub use classes::{ClassCounts, Group};
pub use error::{Block, Error};
pub use faer;
pub use model::{Layer, Ufm};
pub use parameters::Parameters;

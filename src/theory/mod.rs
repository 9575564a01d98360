//! The closed forms: where the last layers must end.

mod directions;
pub mod geometry;
pub mod label_spectrum;
pub mod limits;
pub mod minimizer;
mod secular;
pub mod shrinkage;
pub mod spectrum;

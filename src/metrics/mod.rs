//! Measurements of a point against the theory.

pub mod landscape;
pub mod singular_values;

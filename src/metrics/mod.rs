//! Measurements of a point against the theory.

pub mod collapse;
mod difference;
pub mod distance;
pub mod escape;
pub mod features;
pub mod frames;
pub mod landscape;
pub mod nearest_center;
pub mod singular_values;
pub mod variability;

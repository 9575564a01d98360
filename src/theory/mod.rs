//! The closed forms: where the last layers must end.

mod minimizer;
pub mod scalar;
mod spectrum;

pub use minimizer::{Direction, Fate, Geometry, Goal, Gram, GroupFate, Minimizer, Tie, critical_imbalance_ratio};
pub use spectrum::{
    LabelSpectrum, Level, Spectrum, centered_label_matrix, explicit_singular_values, interlacing_bounds,
};

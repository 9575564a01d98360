//! Linear algebra that knows nothing of classes: dense decompositions and singular-value thresholding.
//!
//! Unlike faer, results do not depend on the number of threads, refused memory is an error instead of an abort, and
//! entries may be near the ends of the range of `f64`.

pub(crate) mod checks;
pub(crate) mod cores;
pub(crate) mod error_free;
pub(crate) mod helmert;
pub(crate) mod lanes;
pub(crate) mod memory;
pub(crate) mod orthonormal;
pub(crate) mod product;
pub(crate) mod registers;
#[cfg(feature = "serde")]
pub(crate) mod saved;
mod svd;
mod thresholding;
pub(crate) mod wide;

pub(crate) use svd::spectral_norm;
pub use svd::{Svd, dense_svd};
pub use thresholding::soft_threshold;

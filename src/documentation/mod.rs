//! Long pages of documentation, without any code of the library.
//!
//! - [`tour`]: one network, from what its code minimizes to whether its training has reached the minimum.
//! - [`guarantees`]: accuracy, edge cases, determinism and cost of every result, each with the test that checks it.
//!
//! Pages with figures are in the folder `docs` of the repository: `speed.md` (comparisons with NumPy and PyTorch),
//! `measure.md` (from a PyTorch network to a verdict) and `gallery.md` (the theory in figures). `counts.md` describes
//! the files of class counts that the command line reads.

#[doc = include_str!("../../docs/guarantees.md")]
pub mod guarantees {}
pub mod tour;

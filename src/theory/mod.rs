//! The closed forms: where the last layers must end (Liu 2024, Theorems 4.1 to 4.4; Dang et al. 2023 without bias).
//!
//! At a global minimizer all features of a class are equal and the bias is the mean of the targets. This leaves a K × K
//! problem in the prediction Z = W_{L:1} H̄ D, D = diag(√n_1, ..., √n_K). It splits into one scalar problem for each
//! singular value of the target:
//!
//! ```text
//! T = D, or (I - n 1ᵀ/N) D with a bias                       the target: Spectrum
//! T = U diag(σ_1 ≥ ... ≥ σ_K) Vᵀ
//! q = N (λ_H λ_1 ··· λ_L)^(1/(L+1)) σ^(-2L/(L+1))            the decays next to σ
//! e (1-e)^((L-1)/(L+1)) = q, or e = 1 beyond the threshold   the relative shrinkage: scalar
//! z = σ (1-e)                                                singular value of the prediction Z
//! τ = λ_l w_l² = λ_H h² = (z² λ_H λ_1 ··· λ_L)^(1/(L+1))     the balanced level: w_l of W_l, h of H̄ D
//! w = w_1 ··· w_L = z/h                                      singular value of W_{L:1}
//! f* = Σ σ²/(2N) e ((L+1) - L e)                             the least objective
//! ```
//!
//! [`Ufm::minimizer`](crate::Ufm::minimizer) solves them all. [`Minimizer::directions`] lists the scalar problems,
//! [`Minimizer::group_fates`] and [`Minimizer::geometry`] say what they mean for classes, and [`Goal`] asks the inverse
//! question for the largest decays. For other losses of one layer [`Contrasts`] answers what is closed,
//! [`Ufm::certified_minimizer`](crate::Ufm::certified_minimizer) computes the rest, and [`NonnegativeMinimizer`] has
//! features that may not be negative. Classes of equal counts share all numbers, so that the cost depends only on the
//! number of distinct counts.
//!
//! Other losses have no closed form. For one layer their problem is convex: [`Ufm::certified_minimizer`
//! ](crate::Ufm::certified_minimizer) solves it, and its dual proves how near the result is.

mod certified;
mod contrasts;
mod group_classes;
mod minimizer;
mod nonnegative;
mod optimum;
pub mod scalar;
mod spectrum;

pub use certified::{Certified, CertifiedGeometry, CertifiedGram, CertifiedGroup};
pub use contrasts::{BalancedCrossEntropy, Contrast, Contrasts, GroupContrast};
pub use group_classes::GroupClasses;
pub use minimizer::{
    ClassFate, Direction, Fate, Geometry, Goal, Gram, GroupFate, Limit, Minimizer, Nearest, Tie,
    critical_imbalance_ratio,
};
pub use nonnegative::{NonnegativeGroup, NonnegativeMinimizer};
pub use optimum::Optimum;
pub use spectrum::{
    LabelSpectrum, Level, Spectrum, centered_label_matrix, explicit_singular_values, interlacing_bounds,
};

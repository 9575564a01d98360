//! Where the last layers of a classifier must end, from class counts and weight decays: in closed form for squared loss,
//! with a certificate for cross-entropy, class weights and adjusted logits.
//!
//! When a classifier is trained past zero training error, the features of each class shrink to their mean, and the last
//! layer lines up with these means: this is *neural collapse*. This crate computes the end point for your class sizes
//! and decays. It then goes there by gradient descent, so that you can see the two agree, and it measures how far a
//! trained network is from that point.
//!
//! # The model
//!
//! The L-extended unconstrained features model (Liu 2024, Definition 3.1) takes the features of a network's last hidden
//! layer as free variables. It minimizes over the features, over the L linear layers that follow, and over a bias:
//!
//! ```text
//! f(W_1 .. W_L, H, b) = 1/(2N) ‖W_L ··· W_1 H + b 1ᵀ - Y‖² + Σ_l λ_l/2 ‖W_l‖² + λ_H/2 ‖H‖²
//! ```
//!
//! In the place of the squared error there can be [cross-entropy](Ufm::with_loss), [class
//! weights](Ufm::with_class_weights), logits that are shifted, scaled or given a margin, a bias that decays, and
//! features that are not negative.
//!
//! # Example
//!
//! Which classes of an imbalanced data set collapse at this decay? Does a descent that knows nothing of the theory
//! agree?
//!
//! ```
//! use neural_collapse::{ClassCounts, Layer, Parameters, Ufm, descent::Descent, theory::GroupFate};
//! use neural_collapse::rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
//!
//! // One class of 150 samples, 5 of 60 and 20 of 5; 64 features, one linear layer and a bias.
//! let ufm = Ufm::new("150,60x5,5x20".parse::<ClassCounts>()?, [Layer::new(64, 5e-3)], 5e-3)?;
//!
//! let minimizer = ufm.minimizer()?;
//! assert_eq!(minimizer.rank(), 6); // 19 of the 25 directions vanish:
//! assert_eq!(minimizer.group_fates()?[2], GroupFate::Coincident); // the 20 small classes share one classifier
//! assert!(minimizer.coincidence_scale(1)?.value().unwrap() > 1.2); // the next group does after all decays grow by a fifth
//! assert!(minimizer.geometry()?.classifiers().cosine(1, 2).unwrap() < 0.0); // now two of them point apart
//!
//! let start = Parameters::gaussian(&ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0))?;
//! let run = Descent::default().minimize(&ufm, start)?;
//! assert!((run.objective / minimizer.objective() - 1.0).abs() < 1e-10);
//! # Ok::<(), neural_collapse::Error>(())
//! ```
//!
//! The [`tour`](_documentation::tour) goes the whole way, from what a network minimizes to whether its training has
//! reached the minimum. [`guarantees`](_documentation::guarantees) lists accuracy, edge cases, determinism and cost,
//! each with the test that checks it.
//!
//! # Where things are
//!
//! Data flows from counts to a model, from the model to its minimizer and to a descent, and from both to measurements:
//!
//! | what | where |
//! |---|---|
//! | class counts n_k, profiles | [`ClassCounts`] |
//! | targets: one-hot or smoothed labels, or any matrix | [`Targets`] |
//! | decays and losses as frameworks scale them | [`TrainingConvention`] |
//! | the model: layers, decays, bias; its objective and gradient | [`Ufm`] |
//! | losses and class weights | [`Loss`], [`ClassWeights`], [`WeightConvention`] |
//! | weights, features and bias; random starts | [`Parameters`] |
//! | a point with any number of samples: exactly reduced, or collapsed | [`Point`] |
//! | the closed form: f*, rank, singular values, ties, critical decays | [`Ufm::minimizer`], [`theory::Minimizer`] |
//! | the minimum for any loss and one layer, with a lower bound | [`Ufm::certified_minimizer`], [`theory::Certified`] |
//! | norms and angles between classes, minority collapse | [`theory::Geometry`] |
//! | the largest decays that keep what a network needs | [`theory::Goal`], [`theory::Limit`] |
//! | which groups of classes any loss keeps apart, and with which class weights | [`Ufm::contrasts`], [`Ufm::separating_weights`] |
//! | nonnegative features: closed forms and intervals | [`Ufm::nonnegative_minimizer`] |
//! | the spectrum of the target: from class counts, or dense | [`theory::LabelSpectrum`], [`theory::Spectrum`] |
//! | the scalar problem of one singular value, Lemma A.2 | [`theory::scalar`] |
//! | singular-value decomposition and thresholding, Lemma A.1 | [`linalg`] |
//! | gradient descent, heavy ball, Nesterov with restarts, L-BFGS, Adam | [`descent`] |
//! | what kind of point a descent has reached, and the way down from a saddle | [`critical`] |
//! | NC1, NC2, NC3 of a point, or of a network from features streamed in batches | [`metrics`] |
//! | frames, self-duality and NC4, the classics for balanced classes | [`metrics`] |
//! | a trained network, compared with its optimum | [`metrics::Measurement`] |
//! | the distance of a point from the minimizers, and of its singular values | [`metrics`] |
//!
//! `theory` and `descent` do not import each other, so that each is an independent check of the other.
//!
//! # Symbols
//!
//! | symbol | shape | name in this crate | meaning |
//! |---|---|---|---|
//! | K, N | | [`Ufm::outputs`], [`Ufm::samples`] | number of classes, of samples |
//! | n_k | K | [`ClassCounts::counts`] | samples of class k |
//! | L | | [`Ufm::depth`] | linear layers after the features |
//! | d_1 .. d_L | | [`Layer::width`] | widths: d_1 is the feature dimension |
//! | λ_1 .. λ_L, λ_H | | [`Layer::decay`], [`Ufm::feature_decay`] | regularization of W_l and of H |
//! | W_l | d_{l+1} × d_l | [`Parameters::weights`] | linear layers; W_{L:1} = W_L ··· W_1 is [`Parameters::product`] |
//! | H, H̄ | d_1 × N, d_1 × K | [`Parameters::features`], [`Parameters::class_means`] | features, and their class means |
//! | b | K | [`Parameters::bias`] | bias; the mean of the targets at every minimizer, n/N for one-hot labels |
//! | Y | K × N | | targets: one-hot labels, smoothed labels or any matrix, [`Targets`] |
//! | D | K × K | | diag(√n_1, ..., √n_K) |
//! | T = U diag(σ) Vᵀ | K × K | [`theory::Spectrum`] | the target: (I - n 1ᵀ/N) D with a bias, D without, for class labels |
//! | σ, e, z | | [`Direction`](theory::Direction): `target`, `shrinkage`, `prediction` | z = σ (1-e), singular value of W_{L:1} H̄ D |
//! | w, w_l, h | | `product`, `layers`, `feature` | singular values of W_{L:1}, of W_l, of H̄ D |
//! | q | | [`theory::scalar`] | N (λ_H λ_1 ··· λ_L)^(1/(L+1)) σ^(-2L/(L+1)), which determines e |
//! | f, f* | | [`Ufm::objective`], [`Minimizer::objective`](theory::Minimizer::objective) | the objective, and its global minimum |
//!
//! # Which decay did I train with?
//!
//! If training minimizes α/(2N) ‖residual‖² + μ/2 ‖W‖² + μ_H/2 ‖H‖², the λ of this crate are μ/α and μ_H/α. α is
//!
//! - 2/K for a mean over all K N elements, as in PyTorch's `MSELoss`,
//! - 2 for a sum over classes and a mean over samples,
//! - 1 for half of that.
//!
//! A `weight_decay` μ of an optimizer adds μ W to the gradient; its penalty is μ/2 ‖W‖². A feature penalty averaged
//! over samples, μ_H/(2N) ‖H‖², gives λ_H = μ_H/(α N). [`TrainingConvention`] does the conversion.
//!
//! # Threads
//!
//! With the default feature `rayon`, descent and large decompositions run on all threads of the rayon pool that calls
//! them. Results are bitwise the same for any number of threads, and from run to run. Without `rayon` the crate builds
//! for `wasm32-unknown-unknown`.
//!
//! Matrices are those of [`faer`], random generators those of [`rand`]. Both crates are re-exported, so that versions
//! agree. A new minor version of either is a new minor version of this crate, which stays below 1.0 as long as they do.
//!
//! # References
//!
//! - Liu 2024, *The Exploration of Neural Collapse under Imbalanced Data*, arXiv 2411.17278: the theorems and lemmas
//!   cited by number.
//! - Dang, Tran, Osher, Tran-The, Ho, Nguyen 2023, *Neural Collapse in Deep Linear Networks*, ICML: the bias-free model
//!   with L layers.
//! - Zhu et al. 2021, NeurIPS; Zhou et al. 2022, ICML; Tirer, Bruna 2022, ICML; Fang et al. 2021, PNAS: the model and
//!   its landscape, minority collapse.
//! - Cai, Candès, Shen 2010, SIAM J. Optim.: singular-value thresholding.
//! - Hong, Ling 2024, JMLR: the convex form for cross-entropy, and its blocks.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[path = "documentation/mod.rs"]
pub mod _documentation;
mod classes;
mod conventions;
pub mod critical;
pub mod descent;
mod error;
pub mod linalg;
mod loss;
pub mod metrics;
mod model;
mod names;
mod objective;
mod parameters;
mod point;
mod targets;
pub mod theory;

pub use classes::{ClassCounts, Group};
pub use conventions::{FeatureConvention, LossConvention, TrainingConvention, WeightConvention};
pub use error::{Block, Error};
pub use faer;
pub use loss::{ClassWeights, Loss};
pub use model::{Layer, Ufm};
pub use parameters::Parameters;
pub use point::{Point, PointRef};
pub use rand;
pub use targets::Targets;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

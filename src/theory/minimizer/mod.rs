//! The global minimizers of the model (Liu 2024, Theorems 4.1 to 4.3; Dang et al. 2023 without bias and L > 1).
//!
//! ```text
//! T = U diag(σ_1 ≥ ... ≥ σ_K) Vᵀ                     the target, see `spectrum`
//! q = N (λ_H λ_1 ··· λ_L)^(1/(L+1)) σ^(-2L/(L+1))     one scalar problem for each direction, see `scalar`
//! z = σ (1-e)                                        prediction W_{L:1} H̄ D
//! τ = λ_l w_l² = λ_H h² = (z² λ_H λ_1 ··· λ_L)^(1/(L+1))   the balanced level: w_l of W_l, h of H̄ D
//! w = w_1 ··· w_L = z/h                              product W_{L:1}
//! f* = Σ σ²/(2N) e ((L+1) - L e)
//! ```

use std::fmt;

use faer::Col;

mod directions;
mod geometry;
mod group_fate;
mod limits;
mod matrices;

use self::directions::Directions;
pub use self::{
    directions::{Direction, Fate, Tie},
    geometry::{ClassFate, Geometry, Gram, Nearest},
    group_fate::GroupFate,
    limits::{Goal, Limit, critical_imbalance_ratio},
};
use crate::{
    error::Error,
    model::Ufm,
    theory::{Spectrum, spectrum::LabelSpectrum},
};

/// The global minimizers of a [`Ufm`]: what they have in common, and any one of them on request.
///
/// The minimizer is unique up to the gauge (orthonormal Q_l with W_l → Q_{l+1} W_l Q_lᵀ, H → Q_1 H) unless
/// [`Minimizer::ties`] says otherwise. Cost: O(R²) operations for R distinct class counts, and O(R L) numbers; nothing
/// of size K × K is formed except by [`Minimizer::parameters`].
///
/// # Example
///
/// Which minority classes collapse, and how far are the others from it?
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Ufm, theory::Fate};
///
/// // Bias-free and L = 1: a class collapses from n_k <= N² λ_1 λ_H on, here from 45 samples on.
/// let ufm = Ufm::new("1000x2,45,10".parse::<ClassCounts>()?, [Layer::new(64, 1e-3)], 0.012)?.without_bias();
/// let minimizer = ufm.minimizer()?;
/// let fates: Vec<_> = minimizer.directions().iter().map(|direction| direction.fate).collect();
/// assert_eq!(fates, [Fate::Kept, Fate::Collapsed, Fate::Collapsed]);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Minimizer {
    ufm: Ufm,
    spectrum: Spectrum,
    directions: Vec<Direction>,
    /// For each direction, the index of its level in the spectrum.
    levels: Vec<usize>,
    ties: Vec<Tie>,
    objective: f64,
    rank: usize,
}

impl fmt::Display for Minimizer {
    /// The least objective, the rank and whether the minimizer is unique, in a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unique = if self.is_unique() { "unique up to rotations" } else { "not unique" };
        write!(f, "minimum {:e}, rank {} of {}, {unique}", self.objective, self.rank, self.ufm.outputs())
    }
}

impl Ufm {
    /// The global minimizers, in closed form. Cost: for class labels, that of the structured spectrum, O(R²); for other
    /// targets, of a dense decomposition.
    ///
    /// # Errors
    ///
    /// As [`Spectrum::new`], for targets other than one-hot labels, or smoothed labels with a bias. These give no
    /// error.
    pub fn minimizer(&self) -> Result<Minimizer, Error> {
        self.check_closed_form()?;
        Ok(Minimizer::new(self.clone(), Spectrum::new(self)?))
    }
}

impl Minimizer {
    /// Of a model and the spectrum of its target.
    pub(super) fn new(ufm: Ufm, spectrum: Spectrum) -> Self {
        let Directions { all, levels, ties, objective, rank } = Directions::new(&ufm, &spectrum);
        Self { ufm, spectrum, directions: all, levels, ties, objective, rank }
    }

    /// The model.
    #[must_use]
    pub fn ufm(&self) -> &Ufm {
        &self.ufm
    }

    /// The spectrum of the target.
    #[must_use]
    pub fn spectrum(&self) -> &Spectrum {
        &self.spectrum
    }

    /// The spectrum if it has the structure of class counts.
    pub(crate) fn label_spectrum(&self) -> Result<&LabelSpectrum, Error> {
        match &self.spectrum {
            Spectrum::Labels(spectrum) => Ok(spectrum),
            Spectrum::Dense(_) => Err(Error::NoClassCounts),
        }
    }

    /// The global minimum f*.
    #[must_use]
    pub fn objective(&self) -> f64 {
        self.objective
    }

    /// The number of directions kept: the rank of the prediction, of every layer and of the class means.
    #[must_use]
    pub fn rank(&self) -> usize {
        self.rank
    }

    /// The distinct singular values of the target and their fates, by falling target; multiplicities add up to K, or to
    /// N if that is smaller.
    #[must_use]
    pub fn directions(&self) -> &[Direction] {
        &self.directions
    }

    /// One number for every singular value of the target, by falling target, each direction repeated by its
    /// multiplicity. The first [`Minimizer::rank`] belong to the directions kept, and to the first singular vectors.
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, Layer, Ufm};
    ///
    /// let ufm = Ufm::new(ClassCounts::balanced(4, 25)?, [Layer::new(64, 5e-3)], 1e-4)?;
    /// let features = ufm.minimizer()?.singular_values(|direction| direction.feature);
    /// assert_eq!(features.len(), 4);
    /// assert!(features[0] == features[2] && features[3] == 0.0);
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    #[must_use]
    pub fn singular_values(&self, value: impl Fn(&Direction) -> f64) -> Vec<f64> {
        let directions = self.directions.iter();
        directions.flat_map(|direction| std::iter::repeat_n(value(direction), direction.multiplicity)).collect()
    }

    /// For every direction, the index of its level in the spectrum: a level that a width cuts has two directions.
    pub(crate) fn levels(&self) -> &[usize] {
        &self.levels
    }

    /// The optimal bias; `None` if the model has no bias. It is the mean of the targets, class frequencies n/N for
    /// one-hot labels.
    #[must_use]
    pub fn bias(&self) -> Option<Col<f64>> {
        self.ufm.has_bias().then(|| self.ufm.targets().mean())
    }

    /// Whether the minimizer is unique up to the gauge.
    #[must_use]
    pub fn is_unique(&self) -> bool {
        self.ties.is_empty()
    }

    /// The reasons why the minimizer is not unique up to the gauge; empty if it is unique. Thresholds are compared to
    /// within the rounding of q, 8 epsilons.
    #[must_use]
    pub fn ties(&self) -> &[Tie] {
        &self.ties
    }

    /// One number for every direction kept.
    pub(crate) fn kept(&self, value: impl Fn(&Direction) -> f64) -> Col<f64> {
        self.singular_values(value).into_iter().take(self.rank).collect()
    }
}

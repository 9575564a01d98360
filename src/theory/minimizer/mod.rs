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

use faer::{Col, ColRef, Mat, MatRef};
use rand::Rng;

mod directions;
mod geometry;
mod limits;

use self::directions::{Directions, ScalarProblem};
pub use self::{
    directions::{Direction, Fate, Tie},
    geometry::{ClassFate, Geometry, Gram, Nearest},
    limits::{Goal, critical_imbalance_ratio},
};
use crate::{
    classes::{Group, root},
    error::Error,
    linalg::{
        memory::{check_room, try_zeros},
        orthonormal::random_orthonormal,
        wide::Wide,
    },
    model::Ufm,
    names::named,
    parameters::{Parameters, unweighted},
    theory::{Spectrum, spectrum::LabelSpectrum},
};

/// The fate of the classifiers of a group of classes of equal counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum GroupFate {
    /// Every class has a classifier and a class mean of its own, distinguished by the directions of the group.
    Distinct,
    /// With a bias, a class that is the only one of its count: its classifier is not zero, but only directions between
    /// groups reach it, and it can come close to those of other counts.
    /// [`Geometry::fate`](crate::theory::Geometry::fate) says whether it has.
    Single,
    /// All classes of the group share one classifier row and one class mean, which are not zero: minority collapse.
    Coincident,
    /// The classifier rows of W_{L:1} and the class means are zero.
    Vanished,
    /// Not the same for all minimizers: a direction of the group is at its threshold, or a width cuts through its
    /// directions.
    Ambiguous,
}

named!(
    GroupFate, "fate of a group of classes":
    Distinct = "distinct", Single = "single", Coincident = "coincident", Vanished = "vanished", Ambiguous = "ambiguous",
);

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

    /// The feature decay at which the direction at this index collapses, with the decays of the layers unchanged:
    ///
    /// ```text
    /// λ_H = (q_L/N)^(L+1) σ^(2L) / (λ_1 ··· λ_L)
    /// ```
    ///
    /// Zero for a target that is zero or cut off by a width, and if it is below the range of `f64`.
    ///
    /// # Panics
    ///
    /// If `direction` is not below the number of directions.
    #[must_use]
    pub fn critical_feature_decay(&self, direction: usize) -> f64 {
        self.critical_decay(direction, self.ufm.feature_decay())
    }

    /// The decay of layer `layer` (from 0) at which the direction at this index collapses, with all other decays
    /// unchanged. Zero for a target that is zero or cut off by a width.
    ///
    /// # Panics
    ///
    /// If `direction` is not below the number of directions, or `layer` not below the number of layers.
    #[must_use]
    pub fn critical_layer_decay(&self, direction: usize, layer: usize) -> f64 {
        let depth = self.ufm.depth();
        assert!(layer < depth, "there is no layer {layer}: there are {depth}, counted from 0");
        self.critical_decay(direction, self.ufm.layers()[layer].decay)
    }

    fn critical_decay(&self, direction: usize, decay: f64) -> f64 {
        let count = self.directions.len();
        assert!(direction < count, "there is no direction {direction}: there are {count}, counted from 0");
        let Direction { critical_scale, target, .. } = self.directions[direction];
        if critical_scale == 0.0 {
            return 0.0;
        }
        ScalarProblem::new(&self.ufm).critical_decay(target, decay)
    }

    /// λ s^(L+1), which changes q in the same way as a factor s on all decays: q^(L+1) is proportional to every single
    /// decay.
    pub(super) fn single_decay(&self, scale: f64, decay: f64) -> f64 {
        Wide::new(scale).power(self.ufm.depth() + 1).times(Wide::new(decay)).to_f64()
    }

    /// The fate of the classes of every group of [`ClassCounts::groups`](crate::ClassCounts::groups), in that order: by
    /// falling count.
    ///
    /// Without a bias, each class has its own direction and vanishes with it. With a bias, the √c_r directions
    /// distinguish the classes of a group, and each direction between the groups reaches all classes.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets have no groups: a matrix, or labels that are smoothed without a bias.
    pub fn group_fates(&self) -> Result<Vec<GroupFate>, Error> {
        let classes = self.label_spectrum()?.class_counts();
        let mut open = vec![false; self.directions.len()];
        for &(Tie::Threshold { direction } | Tie::Width { direction }) in &self.ties {
            open[direction] = true;
        }
        // Of the directions kept, those between groups reach every class; one at its threshold may be present or not.
        let (mut reaches_all, mut maybe_reaches_all) = (false, false);
        let mut own = vec![(0, false); classes.groups().len()];
        for (direction, &open) in
            self.directions.iter().zip(&open).filter(|(direction, _)| direction.fate == Fate::Kept)
        {
            if let Some(r) = direction.group {
                own[r] = (direction.multiplicity, open);
            } else {
                reaches_all |= !open;
                maybe_reaches_all = true;
            }
        }
        let fate = |(group, &(kept, tied)): (Group<'_>, &(usize, bool))| {
            let contrasts = group.multiplicity() - usize::from(self.ufm.has_bias());
            if tied {
                GroupFate::Ambiguous
            } else if contrasts > 0 && kept == contrasts {
                GroupFate::Distinct
            } else if reaches_all {
                if contrasts == 0 { GroupFate::Single } else { GroupFate::Coincident }
            } else if maybe_reaches_all {
                GroupFate::Ambiguous
            } else {
                GroupFate::Vanished
            }
        };
        Ok(classes.groups().zip(&own).map(fate).collect())
    }

    /// The classifiers in the space of rank dimensions that they share with the class means, W_{L:1} = A Q_1ᵀ with A =
    /// U diag(w), K × rank: Gram matrices, norms and angles are those of any minimizer.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the matrix does not fit in memory.
    pub fn classifiers(&self) -> Result<Mat<f64>, Error> {
        let mut classifiers = self.spectrum.left_vectors(self.rank)?;
        scale_columns(&mut classifiers, &self.kept(|direction| direction.product));
        Ok(classifiers)
    }

    /// The class means in the same space, H̄ = Q_1 M with M = diag(h) Vᵀ D⁻¹, rank × K.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets are not labels; [`Error::TooLarge`] if the matrix does not fit in
    /// memory.
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, Layer, Ufm};
    ///
    /// let ufm = Ufm::new(ClassCounts::paper_cifar10(), [Layer::new(64, 5e-3)], 1e-4)?;
    /// let minimizer = ufm.minimizer()?;
    /// let logits = minimizer.classifiers()? * minimizer.class_means()?;
    /// let logit = minimizer.geometry()?.logit(0, 9).unwrap();
    /// assert!((logits[(0, 9)] - logit).abs() < 1e-15);
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn class_means(&self) -> Result<Mat<f64>, Error> {
        let classes = self.ufm.class_counts().ok_or(Error::NoClassCounts)?;
        let two = ("class means", self.rank, 2 * classes.classes() as u64);
        check_room(&[two])?;
        let mut right = self.spectrum.right_vectors(self.rank)?;
        scale_columns(&mut right, &self.kept(|direction| direction.feature));
        let mut means = try_zeros("class means", self.rank, classes.classes() as u64)?;
        means.copy_from(right.transpose());
        Ok(unweighted(classes, means))
    }

    /// One number for every direction kept.
    pub(crate) fn kept(&self, value: impl Fn(&Direction) -> f64) -> Col<f64> {
        self.singular_values(value).into_iter().take(self.rank).collect()
    }

    /// A minimizer in the canonical gauge, every Q_l the first columns of the identity:
    ///
    /// ```text
    /// W_L = U diag(w_L) Q_Lᵀ,   W_l = Q_{l+1} diag(w_l) Q_lᵀ,   H̄ = Q_1 diag(h) Vᵀ D⁻¹,   b = mean of the targets, n/N for one-hot labels
    /// ```
    ///
    /// Cost: O(K rank + d_1 N) numbers.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the matrices do not fit in memory, before any work is done for them.
    pub fn parameters(&self) -> Result<Parameters, Error> {
        self.assemble(|width, rank| {
            let mut frame = try_zeros("gauge", width, rank as u64)?;
            frame.diagonal_mut().column_vector_mut().fill(1.0);
            Ok(frame)
        })
    }

    /// A minimizer in a random gauge: every Q_l uniform (Haar) among the matrices of orthonormal columns.
    ///
    /// # Errors
    ///
    /// As [`Minimizer::parameters`].
    pub fn random_parameters(&self, rng: &mut (impl Rng + ?Sized)) -> Result<Parameters, Error> {
        self.assemble(|width, rank| random_orthonormal(width, rank, rng))
    }

    /// Checks that there is memory for parameters and for what they are computed from.
    fn check_room(&self) -> Result<(), Error> {
        let (ufm, rank) = (&self.ufm, self.rank as u64);
        // The matrix of weighted means has one column for each class, or for each sample.
        let columns = if ufm.class_counts().is_some() { ufm.outputs() as u64 } else { ufm.samples() };
        let widest = ufm.layers().iter().map(|layer| layer.width).max().unwrap_or(0);
        let mut matrices = vec![
            ("features H", ufm.feature_width(), ufm.samples()),
            ("weighted class means", ufm.feature_width(), columns),
            ("left singular vectors", ufm.outputs(), rank),
            ("right singular vectors", self.rank, columns),
            // Those of two layers at a time.
            ("gauges", widest, 2 * rank),
        ];
        matrices.extend((0..ufm.depth()).map(|l| ("weights", ufm.weight_shape(l).0, ufm.weight_shape(l).1 as u64)));
        check_room(&matrices)
    }

    fn assemble(&self, mut gauge: impl FnMut(usize, usize) -> Result<Mat<f64>, Error>) -> Result<Parameters, Error> {
        self.check_room()?;
        let layers = self.ufm.layers();
        // U first, then Q_L .. Q_1: each layer needs the two frames at its sides.
        let mut above = self.spectrum.left_vectors(self.rank)?;
        let mut weights = Vec::with_capacity(layers.len());
        for (l, layer) in layers.iter().enumerate().rev() {
            let below = gauge(layer.width, self.rank)?;
            weights.push(scaled_product(
                above.as_ref(),
                self.kept(|direction| direction.layers[l]).as_ref(),
                below.transpose(),
            ));
            above = below;
        }
        weights.reverse();
        let right = self.spectrum.right_vectors(self.rank)?;
        let weighted_means =
            scaled_product(above.as_ref(), self.kept(|direction| direction.feature).as_ref(), right.transpose());
        let features = match self.ufm.class_counts() {
            None => weighted_means,
            Some(classes) => {
                let mut features = try_zeros("features H", self.ufm.feature_width(), classes.samples())?;
                for (class, samples) in classes.ranges().enumerate() {
                    let mean = weighted_means.col(class) / root(samples.len() as u64);
                    for sample in samples {
                        features.col_mut(sample).copy_from(&mean);
                    }
                }
                features
            }
        };
        Parameters::new(&self.ufm, weights, features, self.bias())
    }
}

/// A becomes A diag(values).
fn scale_columns(matrix: &mut Mat<f64>, values: &Col<f64>) {
    for (column, &value) in matrix.col_iter_mut().zip(values.iter()) {
        column.iter_mut().for_each(|entry| *entry *= value);
    }
}

/// A diag(values) B.
fn scaled_product(left: MatRef<'_, f64>, values: ColRef<'_, f64>, right: MatRef<'_, f64>) -> Mat<f64> {
    left * values.as_diagonal() * right
}

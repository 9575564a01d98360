//! What the metrics need to know of a network's features, gathered in one pass over any number of samples.

mod accumulators;
mod batch;
mod coincident;
mod merge;
mod numbered;
mod pairs;
mod part;
mod point;
#[cfg(feature = "serde")]
mod saved;
mod second_pass;

pub use accumulators::FeatureAccumulator;
pub use batch::{Label, Rows};
pub(super) use batch::{check_batch, indices, takes_batches};
pub(super) use merge::MAX_SAMPLES;
pub use numbered::NumberedStatistics;
pub(super) use part::{PANEL, number_of_parts, share, sum_of_parts};
pub use second_pass::ScatterAccumulator;
pub(super) use second_pass::differences;

use faer::{Col, Mat, MatRef};

use self::pairs::Pairs;
use super::{
    frames::rank_of_gram,
    variability::{Nc1Convention, nc1, weighted_mean},
};
use crate::{
    classes::ClassCounts,
    error::{Block, Error},
    linalg::{
        checks::{are_equal, check_shape},
        cores::all_cores,
        product::add_gram,
    },
    model::Ufm,
    parameters::weighted,
};

/// Classes beyond which their distances are not computed for nothing but speed.
const MOST_PAIRED: usize = 4096;

/// Class means of features, and how the features of each class vary about them.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "saved::ReadStatistics"))]
pub struct FeatureStatistics {
    counts: Vec<u64>,
    /// d × K.
    means: Mat<f64>,
    /// How far each may be from the true one, by rounding.
    errors: Vec<f64>,
    /// Σ ‖h - h̄_k‖² of every class.
    squares: Vec<f64>,
    scatter: Option<Scatter>,
}

/// N Σ_W.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
enum Scatter {
    /// All of it, d × d.
    Full(#[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))] Mat<f64>),
    /// Along an orthonormal basis, d × r, of the differences of class means and of the rows of the product, if one was
    /// given.
    Along {
        #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
        basis: Mat<f64>,
        #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
        scatter: Mat<f64>,
    },
}

impl PartialEq for FeatureStatistics {
    fn eq(&self, other: &Self) -> bool {
        self.counts == other.counts
            && are_equal(self.means.as_ref(), other.means.as_ref())
            && self.errors == other.errors
            && self.squares == other.squares
            && self.scatter == other.scatter
    }
}

impl PartialEq for Scatter {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Full(one), Self::Full(other)) => are_equal(one.as_ref(), other.as_ref()),
            (Self::Along { basis, scatter }, Self::Along { basis: other_basis, scatter: other }) => {
                are_equal(basis.as_ref(), other_basis.as_ref()) && are_equal(scatter.as_ref(), other.as_ref())
            }
            _ => false,
        }
    }
}

impl FeatureStatistics {
    /// The number of samples of every class.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples.
    pub fn class_counts(&self) -> Result<ClassCounts, Error> {
        ClassCounts::new(self.counts.as_slice())
    }

    /// Class means H̄, d × K; zero for a class without samples.
    #[must_use]
    pub fn class_means(&self) -> MatRef<'_, f64> {
        self.means.as_ref()
    }

    /// Centered class means: class means minus the mean h_G of all features, d × K, for
    /// [`frame_distances`](super::frame_distances).
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples.
    pub fn centered_means(&self) -> Result<Mat<f64>, Error> {
        self.check_counts()?;
        let center = self.global_mean();
        let mut centered = self.means.clone();
        for mut mean in centered.col_iter_mut() {
            mean -= &center;
        }
        Ok(centered)
    }

    /// Whether the scatter within classes has been gathered, in one pass or two.
    #[must_use]
    pub fn has_scatter(&self) -> bool {
        self.scatter.is_some()
    }

    /// The variance of every class, Σ_i ‖h_{k,i} - h̄_k‖²/n_k.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples.
    pub fn variances(&self) -> Result<Vec<f64>, Error> {
        self.check_counts()?;
        Ok(self.squares.iter().zip(&self.counts).map(|(square, &count)| square / count as f64).collect())
    }

    /// The squared norm ‖H‖² of all features.
    #[must_use]
    pub fn squared_norm(&self) -> f64 {
        let means = self.means.col_iter().zip(&self.counts);
        means.map(|(mean, &count)| count as f64 * mean.squared_norm_l2()).sum::<f64>()
            + self.squares.iter().sum::<f64>()
    }

    /// NC1: the variability within classes compared with that between classes; never negative. `None` if all class
    /// means are equal up to rounding. Cost: a thin decomposition of d × K, and d² K operations.
    ///
    /// # Errors
    ///
    /// [`Error::NoScatter`] if the scatter has not been gathered; [`Error::ZeroCount`] for a class without samples;
    /// [`Error::SvdDidNotConverge`], [`Error::TooLarge`].
    pub fn nc1(&self, convention: Nc1Convention) -> Result<Option<f64>, Error> {
        self.check_counts()?;
        let scatter = self.scatter.as_ref().ok_or(Error::NoScatter)?;
        nc1(self.means.as_ref(), &self.counts, convention, &self.errors, |vectors| {
            let quadratic = |scatter: &Mat<f64>, vectors: MatRef<'_, f64>| {
                let product = scatter * vectors;
                // Negative only by rounding.
                (0..vectors.ncols()).map(|i| (vectors.col(i).transpose() * product.col(i)).max(0.0)).collect()
            };
            Ok(match scatter {
                Scatter::Full(scatter) => quadratic(scatter, vectors),
                Scatter::Along { basis, scatter } => quadratic(scatter, (basis.transpose() * vectors).as_ref()),
            })
        })
    }

    /// The trace ratio tr Σ_W / tr Σ_B with Σ_B = Σ_k (h̄_k - h_G)(h̄_k - h_G)ᵀ/K; `None` if all class means are equal.
    /// Needs no scatter.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples.
    pub fn trace_ratio(&self) -> Result<Option<f64>, Error> {
        self.check_counts()?;
        let samples: f64 = self.counts.iter().map(|&count| count as f64).sum();
        let global = self.global_mean();
        let between: f64 = self.means.col_iter().map(|mean| (mean - &global).squared_norm_l2()).sum();
        let within: f64 = self.squares.iter().sum();
        let rounding = self.errors.iter().copied().fold(0.0, f64::hypot);
        Ok((between.sqrt() > rounding).then(|| within / samples * self.counts.len() as f64 / between))
    }

    /// The class-distance normalized variance (Galanti, György, Hutter 2022): the mean of (var_k + var_l)/(2 ‖h̄_k -
    /// h̄_l‖²) over pairs of classes; `None` if two class means are equal, or there is one class. Needs no scatter.
    /// Cost: K² d operations of a matrix product, on all cores, and d K numbers. A product would round pairs that are
    /// much closer to each other than to the mean of all features; such pairs cost several times more.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples; [`Error::TooLarge`].
    pub fn class_distance_normalized_variance(&self) -> Result<Option<f64>, Error> {
        let each: Vec<usize> = (0..self.counts.len()).collect();
        self.class_distance_normalized_variance_between(&each)
    }

    /// The same over the pairs of classes whose marks differ, one mark for each class: `None` if there are no such pairs.
    /// With [`Optimum::shared_means`](crate::theory::Optimum::shared_means) for marks it leaves out pairs of collapsed
    /// classes, whose variance and distance are both noise.
    ///
    /// # Errors
    ///
    /// As [`FeatureStatistics::class_distance_normalized_variance`]; [`Error::PerClass`] unless there is one mark for
    /// each class.
    pub fn class_distance_normalized_variance_between(&self, marks: &[usize]) -> Result<Option<f64>, Error> {
        if marks.len() != self.counts.len() {
            let (argument, expected) = ("marks", self.counts.len());
            return Err(Error::PerClass { argument, expected, found: marks.len() });
        }
        let variances = self.variances()?;
        Ok(Pairs::new(self.means.as_ref(), self.global_mean().as_ref(), &self.errors)?.mean(&variances, marks))
    }

    /// Class means weighted by √n_k, H̄ D, d × K, whose singular values the theory predicts.
    #[must_use]
    pub fn weighted_means(&self) -> Mat<f64> {
        weighted(&self.counts, self.means.clone())
    }

    /// The distance of every class mean to the nearest other one, from below: 0 if it may be zero, or if there is none.
    ///
    /// All zero for more classes than it pays for: they take 2 K² d operations.
    pub(super) fn distances_to_nearest(&self) -> Result<Vec<f64>, Error> {
        if self.counts.len() > MOST_PAIRED {
            return Ok(vec![0.0; self.counts.len()]);
        }
        Ok(Pairs::new(self.means.as_ref(), self.global_mean().as_ref(), &self.errors)?.nearest())
    }

    /// The scatter in all directions, if it has been gathered.
    pub(super) fn full_scatter(&self) -> Option<MatRef<'_, f64>> {
        match &self.scatter {
            Some(Scatter::Full(scatter)) => Some(scatter.as_ref()),
            _ => None,
        }
    }

    /// The effective rank of all features about their mean h_G; `None` without the scatter in all directions, or if all
    /// features are equal. Cost: N d² operations are in the scatter, and one decomposition of d × d.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples; [`Error::SvdDidNotConverge`].
    pub fn effective_rank(&self) -> Result<Option<f64>, Error> {
        let Some(scatter) = self.full_scatter() else { return Ok(None) };
        let means = weighted(&self.counts, self.centered_means()?);
        let mut gram = scatter.to_owned();
        add_gram(gram.as_mut(), means.as_ref(), 1.0, all_cores());
        rank_of_gram(gram, 0.0)
    }

    /// Σ ‖h - h̄_k‖² of all samples.
    pub(super) fn within(&self) -> f64 {
        self.squares.iter().sum()
    }

    /// h_G, the mean of all features.
    pub(super) fn global_mean(&self) -> Col<f64> {
        let samples: f64 = self.counts.iter().map(|&count| count as f64).sum();
        weighted_mean(self.means.as_ref(), |k| self.counts[k] as f64 / samples)
    }

    /// Checks that the features have the width and the class counts of a model.
    pub(crate) fn check_belongs_to(&self, ufm: &Ufm) -> Result<(), Error> {
        let classes = ufm.class_counts().ok_or(Error::NoClassCounts)?;
        classes.check_same(&self.counts)?;
        let expected = (ufm.feature_width(), classes.classes());
        check_shape(Block::Features, expected, self.means.shape())
    }

    fn check_counts(&self) -> Result<(), Error> {
        match self.counts.iter().position(|&count| count == 0) {
            Some(class) => Err(Error::ZeroCount { class }),
            None => Ok(()),
        }
    }
}

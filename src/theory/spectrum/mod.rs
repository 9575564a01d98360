//! The spectrum of the target: the matrix that weights and features try to reproduce.
//!
//! There are two ways to it: [`LabelSpectrum`] follows from class counts alone, and [`dense_svd`] decomposes any
//! matrix.

use faer::{Mat, MatRef};
use qd::Quad;

mod labels;
mod level;
mod secular;

pub(crate) use self::labels::{Between, Side};
pub use self::{
    labels::{LabelSpectrum, explicit_singular_values, interlacing_bounds},
    level::Level,
};
use crate::{
    classes::{ClassCounts, root},
    error::Error,
    linalg::{Svd, dense_svd, memory::try_zeros},
    model::Ufm,
};

/// The singular value decomposition of the target of a model.
///
/// For class labels the target is T = D or (I - n 1ᵀ/N) D, K × K, and its right singular vectors belong to classes. For
/// a matrix of targets it is Y, or Y minus the mean of its columns, K × N, and its right singular vectors belong to
/// samples.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Spectrum {
    /// From class counts.
    Labels(LabelSpectrum),
    /// From a dense decomposition, singular values below max(K, N) epsilons of the largest counting as zero.
    Dense(Svd),
}

impl Spectrum {
    /// The spectrum of the target of `ufm`.
    ///
    /// # Errors
    ///
    /// [`Error::NoClosedForm`] if the model has none: then there is no such target. As [`dense_svd`] for targets that are a matrix, or labels that are smoothed without a bias. One-hot labels give
    /// no error.
    pub fn new(ufm: &Ufm) -> Result<Self, Error> {
        ufm.check_closed_form()?;
        let targets = ufm.targets();
        let smoothing = targets.smoothing();
        match (targets.class_counts(), targets.as_matrix()) {
            (Some(classes), _) if ufm.has_bias() => {
                Ok(Self::Labels(LabelSpectrum::centered(classes).scaled(1.0 - smoothing)))
            }
            (Some(classes), _) if smoothing == 0.0 => Ok(Self::Labels(LabelSpectrum::uncentered(classes))),
            (Some(_), _) => Self::dense(targets.weighted()?.as_ref()),
            (None, Some(matrix)) if ufm.has_bias() => {
                let mut centered = try_zeros("centered targets", matrix.nrows(), matrix.ncols() as u64)?;
                // To twice the precision: of targets far from zero the differences are to be right.
                for (to, from) in centered.row_iter_mut().zip(matrix.row_iter()) {
                    let sum = from.iter().fold(Quad::ZERO, |sum, &entry| sum + Quad::from(entry));
                    let mean = sum / Quad::from(from.ncols() as f64);
                    to.iter_mut().zip(from.iter()).for_each(|(to, &entry)| *to = (Quad::from(entry) - mean).0);
                }
                Self::dense(centered.as_ref())
            }
            (None, Some(matrix)) => Self::dense(matrix),
            (None, None) => Err(Error::NoClassCounts),
        }
    }

    fn dense(matrix: MatRef<'_, f64>) -> Result<Self, Error> {
        let mut svd = dense_svd(matrix)?;
        let tolerance = svd.rounding();
        svd.values.iter_mut().filter(|value| **value <= tolerance).for_each(|value| *value = 0.0);
        Ok(Self::Dense(svd))
    }

    /// The distinct singular values and their multiplicities, by falling value. A dense decomposition lists all of them
    /// one by one, even if they are equal.
    #[must_use]
    pub fn levels(&self) -> Vec<Level> {
        match self {
            Self::Labels(spectrum) => spectrum.levels().collect(),
            Self::Dense(svd) => svd.values.iter().map(|&value| Level { value, multiplicity: 1, group: None }).collect(),
        }
    }

    /// (σ/unit)² of every level, each as accurate as it can be; `unit` is a power of two.
    pub(crate) fn squares(&self, unit: f64) -> Vec<f64> {
        match self {
            Self::Labels(spectrum) => spectrum.squares().map(|square| square / unit / unit).collect(),
            Self::Dense(svd) => svd.values.iter().map(|value| (value / unit) * (value / unit)).collect(),
        }
    }

    /// An absolute error that every singular value may have, in addition to a relative one of an epsilon.
    pub(crate) fn rounding(&self) -> f64 {
        match self {
            Self::Labels(_) => 0.0,
            Self::Dense(svd) => svd.rounding(),
        }
    }

    /// All singular values, by falling value.
    #[must_use]
    pub fn singular_values(&self) -> Vec<f64> {
        match self {
            Self::Labels(spectrum) => spectrum.singular_values(),
            Self::Dense(svd) => svd.values.iter().copied().collect(),
        }
    }

    /// The first `count` left singular vectors, K × `count`.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if they do not fit in memory.
    ///
    /// # Panics
    ///
    /// If there are fewer singular values.
    pub fn left_vectors(&self, count: usize) -> Result<Mat<f64>, Error> {
        match self {
            Self::Labels(spectrum) => spectrum.left_vectors(count),
            Self::Dense(svd) => first_columns(&svd.left, count),
        }
    }

    /// The first `count` right singular vectors: K × `count` for labels, N × `count` for a matrix of targets.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if they do not fit in memory.
    ///
    /// # Panics
    ///
    /// If there are fewer singular values.
    pub fn right_vectors(&self, count: usize) -> Result<Mat<f64>, Error> {
        match self {
            Self::Labels(spectrum) => spectrum.right_vectors(count),
            Self::Dense(svd) => first_columns(&svd.right, count),
        }
    }
}

impl Spectrum {
    /// Uᵀ X, one row for every singular value: without forming U for class labels.
    pub(crate) fn left_transposed_times(&self, matrix: MatRef<'_, f64>) -> Mat<f64> {
        match self {
            Self::Labels(spectrum) => spectrum.left_transposed_times(matrix),
            Self::Dense(svd) => svd.left.transpose() * matrix,
        }
    }

    /// Vᵀ X, one row for every singular value: without forming V for class labels.
    pub(crate) fn right_transposed_times(&self, matrix: MatRef<'_, f64>) -> Mat<f64> {
        match self {
            Self::Labels(spectrum) => spectrum.right_transposed_times(matrix),
            Self::Dense(svd) => svd.right.transpose() * matrix,
        }
    }
}

/// The first singular vectors of a dense decomposition.
fn first_columns(vectors: &Mat<f64>, count: usize) -> Result<Mat<f64>, Error> {
    let (rows, all) = vectors.shape();
    assert!(count <= all, "there are no {count} singular vectors: there are {all}");
    let mut first = try_zeros("singular vectors", rows, count as u64)?;
    first.copy_from(vectors.subcols(0, count));
    Ok(first)
}

/// The centered label matrix (I - n 1ᵀ/N) D, K × K, for dense methods and tests.
///
/// # Errors
///
/// [`Error::TooLarge`] if it does not fit in memory.
pub fn centered_label_matrix(classes: &ClassCounts) -> Result<Mat<f64>, Error> {
    let mut matrix = try_zeros("centered label matrix", classes.classes(), classes.classes() as u64)?;
    let samples = classes.samples() as f64;
    for (column, &column_count) in matrix.col_iter_mut().zip(classes.counts()) {
        for (entry, &count) in column.iter_mut().zip(classes.counts()) {
            *entry = -(count as f64) / samples * root(column_count);
        }
    }
    for (class, &count) in classes.counts().iter().enumerate() {
        // √n (1 - n/N), without the cancellation when one class has nearly all samples.
        matrix[(class, class)] = root(count) * ((classes.samples() - count) as f64 / samples);
    }
    Ok(matrix)
}

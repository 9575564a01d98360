//! The exact orthogonal reduction: N columns of features become K + min(d_1, N - K).
//!
//! Let Q be an orthogonal N × N matrix with Y Q = [D 0]. The objective is the same at (H Q, Y Q, 1ᵀQ) as at (H, Y, 1ᵀ),
//! and its gradient turns with it. A method whose steps depend on inner products alone therefore has the same
//! trajectory from
//!
//! ```text
//! G = [H̄ D, T],   H - H̄ Y = T Pᵀ,   P of orthonormal columns
//! ```
//!
//! with √n_k e_k as the label of column k, and zero as the label of every column of T, and at any time H = H̄ Y + T Pᵀ.
//! The within-class scatter is T Tᵀ/N.
//!
//! That f stays the same is true of the squared loss, also with smoothed labels, shifts, margins and scales of logits (see
//! `OutputLoss::is_rotation_invariant`). For any other loss of class labels only [`Reduction::of_collapsed`] is exact.

use std::{ops::Range, sync::Arc};

use faer::{Mat, MatMut, MatRef, prelude::ReborrowMut};

use crate::{
    classes::{ClassCounts, root},
    error::Error,
    linalg::{helmert, memory::try_zeros, orthonormal::Householder},
    parameters::class_means,
};

/// How to get from reduced features back to those of all samples.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct Reduction {
    classes: ClassCounts,
    basis: Basis,
}

/// P: the space that the deviations from the class means live in.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
enum Basis {
    /// The first of Helmert's contrasts within the classes: all N - K of them if that is at most d_1, or zero of them
    /// if every feature is its class mean and remains it.
    Contrasts,
    /// N - K > d_1: the first d_1 columns of the orthogonal factor of (H - H̄ Y)ᵀ, as Householder reflections.
    Factor(Arc<Householder>),
}

impl Reduction {
    /// The reduced features G, d_1 × (K + min(d_1, N - K)), of H, or d_1 × K if all features are their class means.
    ///
    /// Cost: 2 N d_1² operations if N - K > d_1, otherwise N d_1.
    pub(crate) fn new(classes: &ClassCounts, features: MatRef<'_, f64>) -> Result<(Self, Mat<f64>), Error> {
        let (width, k) = (features.nrows(), classes.classes());
        let means = class_means(classes, features);
        let mut rest = try_zeros("deviations", width, features.ncols() as u64)?;
        for (class, columns) in classes.ranges().enumerate() {
            for column in columns {
                rest.col_mut(column).copy_from(features.col(column) - means.col(class));
            }
        }
        let (basis, rest) = if rest.norm_max() == 0.0 {
            (Basis::Contrasts, Mat::zeros(width, 0))
        } else if features.ncols() - k <= width {
            let mut contrasts = try_zeros("contrasts", width, (features.ncols() - k) as u64)?;
            contrast(classes, rest.as_ref(), contrasts.as_mut());
            (Basis::Contrasts, contrasts)
        } else {
            factor(rest.transpose().to_owned())
        };
        let mut reduced = try_zeros("reduced features", width, (k + rest.ncols()) as u64)?;
        for (class, &count) in classes.counts().iter().enumerate() {
            reduced.col_mut(class).copy_from(root(count) * means.col(class));
        }
        reduced.subcols_mut(k, rest.ncols()).copy_from(&rest);
        Ok((Self { classes: classes.clone(), basis }, reduced))
    }

    /// The reduced features H̄ D, d_1 × K, of features that are equal within classes to the last bit; `None` if they are
    /// not. They remain equal, and with g_k = √n_k h_k the objective and the inner products of gradients are the same
    /// for every loss: f has the gradient of √n_k terms l_k(g_k/√n_k) √n_k by g_k. Cost: N d_1 comparisons.
    pub(crate) fn of_collapsed(
        classes: &ClassCounts,
        features: MatRef<'_, f64>,
    ) -> Result<Option<(Self, Mat<f64>)>, Error> {
        let is_equal = |columns: Range<usize>| {
            let first = features.col(columns.start);
            columns.skip(1).all(|column| features.col(column).iter().eq(first.iter()))
        };
        if !classes.ranges().all(is_equal) {
            return Ok(None);
        }
        let mut reduced = try_zeros("reduced features", features.nrows(), classes.classes() as u64)?;
        for ((mut to, columns), &count) in reduced.col_iter_mut().zip(classes.ranges()).zip(classes.counts()) {
            to.copy_from(root(count) * features.col(columns.start));
        }
        Ok(Some((Self::contrasts(classes), reduced)))
    }

    /// For features that are drawn in reduced form, for any number of deviations.
    pub(crate) fn contrasts(classes: &ClassCounts) -> Self {
        Self { classes: classes.clone(), basis: Basis::Contrasts }
    }

    /// The classes whose samples are reduced.
    pub(crate) fn classes(&self) -> &ClassCounts {
        &self.classes
    }

    /// Whether reduced features with this many columns can be those of this reduction.
    #[cfg(feature = "serde")]
    pub(crate) fn fits(&self, columns: usize) -> bool {
        let (k, samples) = (self.classes.classes(), self.classes.samples());
        let is_whole = |factor: &Householder| {
            let (rows, cols) = factor.shape();
            rows as u64 == samples && cols == columns - k
        };
        k <= columns
            && columns as u64 <= samples
            && match &self.basis {
                Basis::Contrasts => true,
                Basis::Factor(factor) => is_whole(factor),
            }
    }

    /// The features H of all samples, d_1 × N.
    pub(crate) fn expand(&self, reduced: MatRef<'_, f64>) -> Result<Mat<f64>, Error> {
        let (width, k) = (reduced.nrows(), self.classes.classes());
        let rest = reduced.subcols(k, reduced.ncols() - k);
        let mut features = try_zeros("features H", width, self.classes.samples())?;
        match &self.basis {
            Basis::Contrasts => uncontrast(&self.classes, rest, features.as_mut()),
            Basis::Factor(factor) => {
                // (T Pᵀ)ᵀ = Q [Tᵀ; 0].
                let mut transposed = try_zeros("features H", features.ncols(), width as u64)?;
                transposed.subrows_mut(0, rest.ncols()).copy_from(rest.transpose());
                factor.apply(transposed.as_mut());
                features.copy_from(transposed.transpose());
            }
        }
        for (class, columns) in self.classes.ranges().enumerate() {
            let mean = reduced.col(class) / root(columns.len() as u64);
            for column in columns {
                let mut sample = features.col_mut(column);
                sample += &mean;
            }
        }
        Ok(features)
    }
}

/// The factors Q and T = Rᵀ of deviations Eᵀ = Q R, N × d_1.
fn factor(deviations: Mat<f64>) -> (Basis, Mat<f64>) {
    let side = deviations.ncols();
    let factors = Householder::new(deviations);
    let transposed = Mat::from_fn(side, side, |i, j| if j <= i { factors.r()[(j, i)] } else { 0.0 });
    (Basis::Factor(Arc::new(factors)), transposed)
}

/// The n_k - 1 Helmert contrasts of every class.
fn contrast(classes: &ClassCounts, features: MatRef<'_, f64>, mut contrasts: MatMut<'_, f64>) {
    let mut to = 0;
    for columns in classes.ranges() {
        let count = columns.len() - 1;
        let samples = features.subcols(columns.start, columns.len());
        helmert::coordinates_of_columns(samples, contrasts.rb_mut().subcols_mut(to, count));
        to += count;
    }
}

/// The transpose of [`contrast`], which is its inverse on deviations from class means; contrasts that are not there are
/// zero.
fn uncontrast(classes: &ClassCounts, contrasts: MatRef<'_, f64>, mut features: MatMut<'_, f64>) {
    let mut from = 0;
    for columns in classes.ranges() {
        let there = (columns.len() - 1).min(contrasts.ncols() - from);
        let samples = features.rb_mut().subcols_mut(columns.start, columns.len());
        helmert::columns_of_coordinates(contrasts.subcols(from, there), samples);
        from += there;
    }
}

#[cfg(test)]
mod tests {
    use faer::Mat;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
    use rand_distr::{Distribution, StandardNormal};

    use super::Reduction;
    use crate::classes::ClassCounts;

    proptest! {
        #[test]
        fn expanding_undoes_reducing(
            counts in prop::collection::vec(1_u64..40, 1..6),
            width in 1_usize..60,
            deficient in 0_usize..3,
            seed: u64,
        ) {
            let classes = ClassCounts::new(counts).unwrap();
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let samples = usize::try_from(classes.samples()).unwrap();
            let mut features = Mat::from_fn(width, samples, |_, _| StandardNormal.sample(&mut rng));
            // Features that do not span all dimensions: zero rows, and rows that repeat others.
            for row in 0..deficient.min(width - 1) {
                for column in 0..samples {
                    features[(row, column)] = if row == 0 { 0.0 } else { features[(width - 1, column)] };
                }
            }
            let (reduction, reduced) = Reduction::new(&classes, features.as_ref()).unwrap();
            let columns = classes.classes() + width.min(samples - classes.classes());
            prop_assert!(reduced.ncols() == columns);
            // Orthogonal transformations of matrices of up to 200 columns; faer drops columns below 16 N epsilons of
            // the largest.
            let rounding = 16.0 * (samples + width) as f64 * f64::EPSILON * features.norm_l2();
            prop_assert!((reduced.norm_l2() - features.norm_l2()).abs() <= rounding);
            let back = reduction.expand(reduced.as_ref()).unwrap();
            prop_assert!((back - features).norm_l2() <= rounding);
        }
    }

    #[test]
    fn collapsed_features_are_as_many_as_classes() {
        let classes = ClassCounts::new([70, 30, 1]).unwrap();
        let features =
            Mat::from_fn(4, 101, |i, j| 0.1 + (i + usize::from(j >= 70) + usize::from(j >= 100)) as f64 / 3.0);
        let (reduction, reduced) = Reduction::new(&classes, features.as_ref()).unwrap();
        assert_eq!(reduced.ncols(), 3);
        assert!((reduction.expand(reduced.as_ref()).unwrap() - &features).norm_max() <= 4.0 * f64::EPSILON);
    }
}

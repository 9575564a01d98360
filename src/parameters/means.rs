//! Class means, and their weights: a mean that stands for n samples weighs √n.

use faer::{Mat, MatRef, Scale};

use crate::classes::{ClassCounts, root};

/// The class means of features sorted by class, d_1 × K: exact if all features of a class are equal.
pub(crate) fn class_means(classes: &ClassCounts, features: MatRef<'_, f64>) -> Mat<f64> {
    let mut means = Mat::zeros(features.nrows(), classes.classes());
    for (mut mean, columns) in means.col_iter_mut().zip(classes.ranges()) {
        let (first, size) = (features.col(columns.start), columns.len() as f64);
        for column in columns {
            mean += features.col(column) - first;
        }
        for (entry, first) in mean.iter_mut().zip(first.iter()) {
            *entry = first + *entry / size;
        }
    }
    means
}

/// H̄ D of class means H̄: every column times the root of its class's count.
pub(crate) fn weighted(counts: impl AsRef<[u64]>, mut means: Mat<f64>) -> Mat<f64> {
    for (mut mean, &count) in means.col_iter_mut().zip(counts.as_ref()) {
        mean *= Scale(root(count));
    }
    means
}

/// Class means H̄ of H̄ D. The column of a class without samples is zero, and stays so.
pub(crate) fn unweighted(counts: impl AsRef<[u64]>, mut means: Mat<f64>) -> Mat<f64> {
    for (mut mean, &count) in means.col_iter_mut().zip(counts.as_ref()).filter(|(_, count)| **count > 0) {
        mean /= Scale(root(count));
    }
    means
}

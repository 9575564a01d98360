//! Matrices of numbers between classes, which are constant on blocks of groups.

use neural_collapse::{
    faer::{Mat, MatRef},
    linalg,
    theory::Optimum,
};

use crate::errors::refuse;
use pyo3::PyResult;

/// The classes of every group that the minimizer cannot tell apart.
pub(crate) fn groups(optimum: &Optimum) -> Vec<Vec<usize>> {
    match optimum {
        Optimum::Closed(minimizer) => match minimizer.ufm().class_counts() {
            Some(classes) => classes.groups().map(|group| group.classes.to_vec()).collect(),
            None => Vec::new(),
        },
        Optimum::Certified(minimizer) => minimizer.groups().iter().map(|group| group.classes.to_vec()).collect(),
        Optimum::Nonnegative(minimizer) => minimizer.groups().iter().map(|group| group.classes.to_vec()).collect(),
        _ => Vec::new(),
    }
}

/// Whether K x K numbers fit in memory, twice: as a matrix, and as the array that it becomes.
pub(crate) fn check_room(classes: usize) -> PyResult<()> {
    let numbers = classes.saturating_mul(classes).saturating_mul(2);
    let refused = |_| refuse(format!("{classes} x {classes} numbers do not fit in memory"));
    Vec::<f64>::new().try_reserve_exact(numbers).map_err(refused)
}

/// A K x K matrix that is constant on blocks: `between` two groups, or two classes of one group, and `own` of each group
/// on the diagonal; NaN for `None`.
pub(crate) fn expand(
    groups: &[Vec<usize>],
    between: impl Fn(usize, usize) -> Option<f64>,
    own: impl Fn(usize) -> Option<f64>,
) -> Mat<f64> {
    let classes: usize = groups.iter().map(Vec::len).sum();
    let mut matrix = Mat::zeros(classes, classes);
    for (r, rows) in groups.iter().enumerate() {
        for (t, cols) in groups.iter().enumerate() {
            let number = between(r, t).unwrap_or(f64::NAN);
            for &l in cols {
                for &k in rows {
                    matrix[(k, l)] = number;
                }
            }
        }
        let number = own(r).unwrap_or(f64::NAN);
        for &k in rows {
            matrix[(k, k)] = number;
        }
    }
    matrix
}

/// Inner products of the rows of a matrix.
pub(crate) fn gram(rows: MatRef<'_, f64>) -> Mat<f64> {
    rows * rows.transpose()
}

/// Angles in degrees from inner products; NaN for a vector of zero.
pub(crate) fn angles(gram: &Mat<f64>) -> Mat<f64> {
    let norm = |k: usize| gram[(k, k)].max(0.0).sqrt();
    Mat::from_fn(gram.nrows(), gram.ncols(), |k, l| {
        if k == l && norm(k) > 0.0 {
            return 0.0;
        }
        // 0/0 is NaN.
        (gram[(k, l)] / (norm(k) * norm(l))).clamp(-1.0, 1.0).acos().to_degrees()
    })
}

/// Singular values, by falling value.
pub(crate) fn singular_values(matrix: MatRef<'_, f64>) -> Result<Vec<f64>, neural_collapse::Error> {
    Ok(linalg::dense_svd(matrix)?.values.iter().copied().collect())
}

//! The dense singular value decomposition.

use faer::{
    Col, Mat, MatRef, Par,
    diag::Diag,
    dyn_stack::{MemBuffer, MemStack},
    linalg::svd::{ComputeSvdVectors, svd, svd_scratch},
};

use super::{
    checks::{are_equal, first_not_finite},
    cores::all_cores,
    memory::try_zeros,
    registers::clear_registers,
    wide::power_of_two,
};
use crate::error::Error;

/// A thin singular value decomposition A = U diag(σ) Vᵀ.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Svd {
    /// U, with one column for each singular value.
    pub left: Mat<f64>,
    /// σ, by falling value; their number is the smaller side of A.
    pub values: Col<f64>,
    /// V, with one column for each singular value.
    pub right: Mat<f64>,
}

impl PartialEq for Svd {
    fn eq(&self, other: &Self) -> bool {
        are_equal(self.left.as_ref(), other.left.as_ref())
            && are_equal(self.values.as_ref().as_mat(), other.values.as_ref().as_mat())
            && are_equal(self.right.as_ref(), other.right.as_ref())
    }
}

impl Svd {
    /// The absolute error that singular values may have: twice the larger side of the matrix in epsilons of the
    /// largest of them. (1.6 times were the worst of 2250 random matrices of side 8 and less, against mpmath.)
    pub(crate) fn rounding(&self) -> f64 {
        let side = self.left.nrows().max(self.right.nrows()) as f64;
        2.0 * side * f64::EPSILON * self.values.iter().copied().fold(0.0, f64::max)
    }
}

/// Below this side a second thread does not help (two cores: 0.063 s against 0.066 s at 512 × 512, 0.46 s against 0.38
/// s at 1024 × 1024).
const PARALLEL_SIDE: usize = 768;

/// The thin singular value decomposition of any matrix, by faer: absolute errors of a few epsilons times the largest
/// singular value. On all cores from 768 × 768 on, where that is faster;
/// the result does not depend on their number.
///
/// # Errors
///
/// [`Error::MatrixNotFinite`], [`Error::SvdDidNotConverge`], [`Error::TooLarge`].
///
/// # Example
///
/// ```
/// use neural_collapse::{faer::mat, linalg::dense_svd};
///
/// let svd = dense_svd(mat![[0.0, 2.0], [1.0, 0.0], [0.0, 0.0]].as_ref())?;
/// assert!((svd.values[0] - 2.0).abs() < 1e-15 && (svd.values[1] - 1.0).abs() < 1e-15);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
pub fn dense_svd(matrix: MatRef<'_, f64>) -> Result<Svd, Error> {
    if let Some((row, col, value)) = first_not_finite(matrix) {
        return Err(Error::MatrixNotFinite { row, col, value });
    }
    // A power of two takes the matrix to where no square of an entry leaves the range of `f64`, and back.
    let largest = matrix.norm_max();
    if largest > 0.0 && !(1e-100..1e100).contains(&largest) {
        let unit = power_of_two(largest.max(f64::MIN_POSITIVE));
        let scaled = Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)] / unit);
        let Svd { left, values, right } = dense_svd(scaled.as_ref())?;
        return Ok(Svd { left, values: faer::Scale(unit) * values, right });
    }
    let (rows, cols) = matrix.shape();
    let side = rows.min(cols);
    let mut left = try_zeros("left singular vectors", rows, side as u64)?;
    let mut right = try_zeros("right singular vectors", cols, side as u64)?;
    if is_diagonal(matrix) {
        let order = by_size(matrix);
        for (j, &i) in order.iter().enumerate() {
            left[(i, j)] = 1.0_f64.copysign(matrix[(i, i)]);
            right[(i, j)] = 1.0;
        }
        let values = order.iter().map(|&i| matrix[(i, i)].abs());
        return Ok(Svd { left, values: values.collect(), right });
    }
    let mut values = Diag::zeros(side);
    let thin = ComputeSvdVectors::Thin;
    let par = if side < PARALLEL_SIDE { Par::Seq } else { all_cores() };
    let params = faer::Spec::default();
    let scratch = svd_scratch::<f64>(rows, cols, thin, thin, par, params);
    let too_large = |_| Error::TooLarge { what: "workspace of a decomposition of a matrix", rows, cols: cols as u64 };
    let mut buffer = MemBuffer::try_new(scratch).map_err(too_large)?;
    let stack = MemStack::new(&mut buffer);
    svd(matrix, values.as_mut(), Some(left.as_mut()), Some(right.as_mut()), par, stack, params)
        .map_err(|_| Error::SvdDidNotConverge)?;
    clear_registers();
    Ok(Svd { left, values: values.column_vector().to_owned(), right })
}

/// Whether all entries beside the diagonal are zero: then its entries are the singular values, to the last bit.
fn is_diagonal(matrix: MatRef<'_, f64>) -> bool {
    matrix.col_iter().enumerate().all(|(j, column)| column.iter().enumerate().all(|(i, entry)| i == j || *entry == 0.0))
}

/// The diagonal by falling size.
fn by_size(matrix: MatRef<'_, f64>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..matrix.nrows().min(matrix.ncols())).collect();
    order.sort_by(|&i, &j| matrix[(j, j)].abs().total_cmp(&matrix[(i, i)].abs()));
    order
}

/// The largest singular value, 0 of a matrix without entries; a fifth of the work of [`dense_svd`].
pub(crate) fn spectral_norm(matrix: MatRef<'_, f64>) -> Result<f64, Error> {
    if let Some((row, col, value)) = first_not_finite(matrix) {
        return Err(Error::MatrixNotFinite { row, col, value });
    }
    let largest = matrix.norm_max();
    if largest > 0.0 && !(1e-100..1e100).contains(&largest) {
        let unit = power_of_two(largest.max(f64::MIN_POSITIVE));
        let scaled = Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)] / unit);
        return Ok(unit * spectral_norm(scaled.as_ref())?);
    }
    if is_diagonal(matrix) {
        return Ok(largest);
    }
    let (rows, cols) = matrix.shape();
    let mut values = Diag::zeros(rows.min(cols));
    let none = ComputeSvdVectors::No;
    let par = if rows.min(cols) < PARALLEL_SIDE { Par::Seq } else { all_cores() };
    let params = faer::Spec::default();
    let scratch = svd_scratch::<f64>(rows, cols, none, none, par, params);
    let too_large = |_| Error::TooLarge { what: "workspace of a decomposition of a matrix", rows, cols: cols as u64 };
    let mut buffer = MemBuffer::try_new(scratch).map_err(too_large)?;
    svd(matrix, values.as_mut(), None, None, par, MemStack::new(&mut buffer), params)
        .map_err(|_| Error::SvdDidNotConverge)?;
    clear_registers();
    Ok(values.column_vector().iter().copied().fold(0.0, f64::max))
}

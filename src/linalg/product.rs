//! Matrix products: faer's, which leave the registers in use, and then [`clear_registers`].

use faer::{
    Accum, Mat, MatMut, MatRef, Par,
    linalg::matmul::{matmul, triangular},
    traits::RealField,
};

use super::{cores::all_cores, registers::clear_registers};

/// Fewer operations than this are not worth a second thread.
const PARALLEL_PRODUCT: usize = 1 << 21;

/// Replaces a matrix by `factor` A B, or adds it.
pub(crate) fn multiply<T: RealField>(
    to: MatMut<'_, T>,
    accum: Accum,
    a: MatRef<'_, T>,
    b: MatRef<'_, T>,
    factor: T,
    par: Par,
) {
    matmul(to, accum, a, b, factor, par);
    clear_registers();
}

/// Adds `factor` A Aᵀ to the lower half of a matrix; what is above the diagonal stays.
pub(crate) fn add_gram<T: RealField>(to: MatMut<'_, T>, a: MatRef<'_, T>, factor: T, par: Par) {
    let (lower, all) = (triangular::BlockStructure::TriangularLower, triangular::BlockStructure::Rectangular);
    triangular::matmul(to, lower, Accum::Add, a, all, a.transpose(), all, factor, par);
    clear_registers();
}

/// Makes a matrix symmetric from its lower triangle.
pub(crate) fn mirror(matrix: &mut Mat<f64>) {
    for j in 0..matrix.ncols() {
        for i in 0..j {
            matrix[(i, j)] = matrix[(j, i)];
        }
    }
}

/// Replaces a matrix by A B, on all cores if that is worth it.
pub(crate) fn replace(to: MatMut<'_, f64>, a: MatRef<'_, f64>, b: MatRef<'_, f64>) {
    multiply(to, Accum::Replace, a, b, 1.0, cores_for(a, b));
}

/// A B, on all cores if that is worth it.
pub(crate) fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut to = Mat::zeros(a.nrows(), b.ncols());
    replace(to.as_mut(), a, b);
    to
}

/// All cores if a product is worth it.
pub(crate) fn cores_for(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Par {
    // On 32 bits the product of three sides of matrices that fit in memory need not fit in a `usize`.
    let operations = a.nrows().saturating_mul(a.ncols()).saturating_mul(b.ncols());
    if operations < PARALLEL_PRODUCT { Par::Seq } else { all_cores() }
}

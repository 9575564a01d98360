//! Orthonormal bases: QR by Householder reflections, and random frames.

use faer::{
    Conj, Mat, MatMut, MatRef,
    dyn_stack::{MemBuffer, MemStack},
    linalg::{
        householder::{
            apply_block_householder_sequence_on_the_left_in_place_scratch as apply_scratch,
            apply_block_householder_sequence_on_the_left_in_place_with_conj as apply_reflections,
        },
        qr::no_pivoting::factor::{qr_in_place, qr_in_place_scratch, recommended_block_size},
    },
};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::{cores::all_cores, memory::try_zeros};
use crate::error::Error;

/// The Householder reflections of A = Q R. faer's own `Qr` splits its work by the number of threads; this one does not
/// depend on it.
#[derive(Debug, PartialEq)]
pub(crate) struct Householder {
    /// R above, and the vectors of the reflections below.
    reflections: Mat<f64>,
    coefficients: Mat<f64>,
}

impl Householder {
    /// For a matrix with rows and columns.
    pub(crate) fn new(mut matrix: Mat<f64>) -> Self {
        let (rows, cols) = matrix.shape();
        let (block, par, params) = (recommended_block_size::<f64>(rows, cols), all_cores(), faer::Spec::default());
        let mut coefficients = Mat::zeros(block, rows.min(cols));
        let mut buffer = MemBuffer::new(qr_in_place_scratch::<f64>(rows, cols, block, par, params));
        qr_in_place(matrix.as_mut(), coefficients.as_mut(), par, MemStack::new(&mut buffer), params);
        Self { reflections: matrix, coefficients }
    }

    /// R, upper triangular in its first columns.
    pub(crate) fn r(&self) -> MatRef<'_, f64> {
        self.reflections.subrows(0, self.coefficients.ncols())
    }

    /// `matrix` becomes Q `matrix`.
    pub(crate) fn apply(&self, matrix: MatMut<'_, f64>) {
        let (reflections, coefficients) = (self.reflections.subcols(0, self.coefficients.ncols()), &self.coefficients);
        let scratch = apply_scratch::<f64>(matrix.nrows(), coefficients.nrows(), matrix.ncols());
        let mut buffer = MemBuffer::new(scratch);
        let stack = MemStack::new(&mut buffer);
        apply_reflections(reflections, coefficients.as_ref(), Conj::No, matrix, all_cores(), stack);
    }
}

/// The factor Q of A = Q R, with min(rows, columns) columns, and with a diagonal of R that is not negative.
pub(crate) fn orthonormal(matrix: Mat<f64>) -> Result<Mat<f64>, Error> {
    let (rows, cols) = matrix.shape();
    let side = rows.min(cols);
    let mut frame = try_zeros("orthonormal columns", rows, side as u64)?;
    if side == 0 {
        return Ok(frame);
    }
    let factors = Householder::new(matrix);
    frame.diagonal_mut().column_vector_mut().fill(1.0);
    factors.apply(frame.as_mut());
    for (i, column) in frame.col_iter_mut().enumerate() {
        if factors.r()[(i, i)] < 0.0 {
            column.iter_mut().for_each(|entry| *entry = -*entry);
        }
    }
    Ok(frame)
}

/// A matrix with orthonormal columns, `rows` × `cols` or, if it has fewer rows than columns, `rows` × `rows`, uniform
/// (Haar). It is the orthonormal factor of a Gaussian matrix with a positive diagonal of R (Mezzadri 2007).
pub(crate) fn random_orthonormal(rows: usize, cols: usize, rng: &mut (impl Rng + ?Sized)) -> Result<Mat<f64>, Error> {
    let mut gaussian = try_zeros("random frame", rows, cols as u64)?;
    for column in gaussian.col_iter_mut() {
        column.iter_mut().for_each(|entry| *entry = StandardNormal.sample(rng));
    }
    orthonormal(gaussian)
}

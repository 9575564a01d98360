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

use super::{checks::are_equal, cores::all_cores, memory::try_zeros, registers::clear_registers};
use crate::error::Error;

/// The Householder reflections of A = Q R. faer's own `Qr` splits its work by the number of threads; this one does not
/// depend on it.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "Read"))]
pub(crate) struct Householder {
    /// R above, and the vectors of the reflections below.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    reflections: Mat<f64>,
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    coefficients: Mat<f64>,
}

impl PartialEq for Householder {
    fn eq(&self, other: &Self) -> bool {
        are_equal(self.reflections.as_ref(), other.reflections.as_ref())
            && are_equal(self.coefficients.as_ref(), other.coefficients.as_ref())
    }
}

impl Householder {
    /// For a matrix with rows and columns.
    pub(crate) fn new(mut matrix: Mat<f64>) -> Self {
        let (rows, cols) = matrix.shape();
        let (block, par, params) = (recommended_block_size::<f64>(rows, cols), all_cores(), faer::Spec::default());
        let mut coefficients = Mat::zeros(block, rows.min(cols));
        let mut buffer = MemBuffer::new(qr_in_place_scratch::<f64>(rows, cols, block, par, params));
        qr_in_place(matrix.as_mut(), coefficients.as_mut(), par, MemStack::new(&mut buffer), params);
        clear_registers();
        Self { reflections: matrix, coefficients }
    }

    /// Rows and columns of A.
    #[cfg(feature = "serde")]
    pub(crate) fn shape(&self) -> (usize, usize) {
        self.reflections.shape()
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
        clear_registers();
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

/// Reflections as they are read, before their checks.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(rename = "Householder", deny_unknown_fields)]
struct Read {
    #[serde(with = "crate::linalg::saved")]
    reflections: Mat<f64>,
    #[serde(with = "crate::linalg::saved")]
    coefficients: Mat<f64>,
}

#[cfg(feature = "serde")]
impl TryFrom<Read> for Householder {
    type Error = &'static str;

    fn try_from(Read { reflections, coefficients }: Read) -> Result<Self, Self::Error> {
        let (rows, cols) = reflections.shape();
        if rows.min(cols) == 0 || coefficients.ncols() != rows.min(cols) || coefficients.nrows() == 0 {
            return Err("reflections: their shapes do not fit each other");
        }
        let factors = Self { reflections, coefficients };
        // Other numbers than those of reflections change the length of a vector that has a part in all of them.
        let mut vector = Mat::from_fn(rows, 1, |i, _| 1.0 + (i % 7) as f64);
        let norm = vector.norm_l2();
        factors.apply(vector.as_mut());
        // Each of `cols` reflections rounds `rows` products and sums, of which the sizes are those of the vector.
        let rounding = 16.0 * rows as f64 * cols as f64 * f64::EPSILON;
        if (vector.norm_l2() / norm - 1.0).abs() <= rounding { Ok(factors) } else { Err("reflections: not orthogonal") }
    }
}

//! Dense matrices: memory that may be refused, entries that may not be finite, and orthonormal bases.

use faer::{
    ColMut, ColRef, Conj, Mat, MatMut, MatRef,
    dyn_stack::{MemBuffer, MemStack},
    linalg::{
        householder::{
            apply_block_householder_sequence_on_the_left_in_place_scratch as apply_scratch,
            apply_block_householder_sequence_on_the_left_in_place_with_conj as apply_reflections,
        },
        qr::no_pivoting::factor::{qr_in_place, qr_in_place_scratch, recommended_block_size},
    },
};

use crate::{
    cores::all_cores,
    error::{Block, Error},
};

/// A matrix of zeros, or an error where its size overflows or the allocator refuses it.
pub(crate) fn try_zeros(what: &'static str, rows: usize, cols: u64) -> Result<Mat<f64>, Error> {
    let too_large = || Error::TooLarge { what, rows, cols };
    let columns = usize::try_from(cols).map_err(|_| too_large())?;
    let mut matrix = Mat::new();
    // faer rounds rows up to a multiple of its vector width: leave it that room before asking.
    rows.checked_add(64)
        .and_then(|rows| rows.checked_mul(columns))
        .and_then(|entries| entries.checked_mul(size_of::<f64>()))
        .filter(|&bytes| isize::try_from(bytes).is_ok())
        .ok_or_else(too_large)?;
    matrix.try_reserve(rows, columns).map_err(|_| too_large())?;
    matrix.resize_with(rows, columns, |_, _| 0.0);
    Ok(matrix)
}

/// Whether matrices of these names, rows and columns fit in memory at the same time: asked before the work that fills
/// them, of the allocator, which gives the memory back untouched. The error names the largest.
pub(crate) fn check_room(matrices: &[(&'static str, usize, u64)]) -> Result<(), Error> {
    let numbers = |&(_, rows, cols): &(&str, usize, u64)| rows as u128 * u128::from(cols);
    let total = matrices.iter().map(numbers).sum::<u128>() * size_of::<f64>() as u128;
    let is_room = usize::try_from(total).is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok());
    match matrices.iter().max_by_key(|matrix| numbers(matrix)) {
        Some(&(what, rows, cols)) if !is_room => Err(Error::TooLarge { what, rows, cols }),
        _ => Ok(()),
    }
}

/// Row, column and value of the first entry, in column-major order, that is NaN or infinite.
pub(crate) fn first_not_finite(matrix: MatRef<'_, f64>) -> Option<(usize, usize, f64)> {
    matrix
        .col_iter()
        .enumerate()
        .find_map(|(col, column)| column.iter().position(|value| !value.is_finite()).map(|row| (row, col, column[row])))
}

/// Whether a block has the shape that the model gives it.
pub(crate) fn check_shape(block: Block, expected: (usize, usize), found: (usize, usize)) -> Result<(), Error> {
    if expected == found { Ok(()) } else { Err(Error::Shape { block, expected, found }) }
}

/// Whether a block has finite entries only.
pub(crate) fn check_finite(block: Block, matrix: MatRef<'_, f64>) -> Result<(), Error> {
    match first_not_finite(matrix) {
        None => Ok(()),
        Some((row, col, value)) => Err(Error::NotFinite { block, row, col, value }),
    }
}

/// The entries of a column of an owned matrix.
pub(crate) fn slice(column: ColRef<'_, f64>) -> &[f64] {
    match column.try_as_col_major() {
        Some(column) => column.as_slice(),
        None => unreachable!("the columns of an owned matrix are contiguous"),
    }
}

/// The entries of a column of an owned matrix.
pub(crate) fn slice_mut(column: ColMut<'_, f64>) -> &mut [f64] {
    match column.try_as_col_major_mut() {
        Some(column) => column.as_slice_mut(),
        None => unreachable!("the columns of an owned matrix are contiguous"),
    }
}

/// The Householder reflections of A = Q R. faer's own `Qr` works in as many parts as there are threads, and this one
/// does not depend on them.
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

/// The factor Q of A = Q R, with as many columns as A has rows or columns, whichever are fewer, and the diagonal of R
/// not negative.
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

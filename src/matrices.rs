//! Dense matrices at the door: memory that may be refused, entries that may not be finite.

use faer::{ColMut, ColRef, Mat, MatRef};

use crate::error::{Block, Error};

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

//! Checks of matrices that a user gives: their shapes, and that all entries are finite.

use faer::MatRef;

use crate::error::{Block, Error};

/// Row, column and value of the first entry, in column-major order, that is NaN or infinite.
pub(crate) fn first_not_finite(matrix: MatRef<'_, f64>) -> Option<(usize, usize, f64)> {
    matrix
        .col_iter()
        .enumerate()
        .find_map(|(col, column)| column.iter().position(|value| !value.is_finite()).map(|row| (row, col, column[row])))
}

/// Whether two matrices have the same shape and entries: `==` of faer panics if only the numbers of columns differ.
pub(crate) fn are_equal(one: MatRef<'_, f64>, other: MatRef<'_, f64>) -> bool {
    one.shape() == other.shape() && one == other
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

//! Memory of matrices: room that may be refused, and columns as slices.

use faer::{ColMut, ColRef, Mat};

use crate::error::Error;

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

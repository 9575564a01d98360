//! Memory of matrices: allocation that may be refused, and columns as slices.

use faer::{ColMut, ColRef, Mat};

use crate::error::Error;

/// A matrix of zeros, or an error if its size overflows or the allocator refuses it.
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

/// Whether matrices of these names, rows and columns fit in memory at the same time: asks the allocator before the work
/// that fills them, and gives the memory back untouched. The error names the largest.
pub(crate) fn check_room(matrices: &[(&'static str, usize, u64)]) -> Result<(), Error> {
    let numbers = |&(_, rows, cols): &(&str, usize, u64)| rows as u128 * u128::from(cols);
    let total = matrices.iter().map(numbers).sum::<u128>() * size_of::<f64>() as u128;
    let is_room = usize::try_from(total).is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok());
    match matrices.iter().max_by_key(|matrix| numbers(matrix)) {
        Some(&(what, rows, cols)) if !is_room => Err(Error::TooLarge { what, rows, cols }),
        _ => Ok(()),
    }
}

/// The entries of a column of an owned matrix.
pub(crate) fn slice<T>(column: ColRef<'_, T>) -> &[T] {
    match column.try_as_col_major() {
        Some(column) => column.as_slice(),
        None => unreachable!("the columns of an owned matrix are contiguous"),
    }
}

/// The entries of a column of an owned matrix.
pub(crate) fn slice_mut<T>(column: ColMut<'_, T>) -> &mut [T] {
    match column.try_as_col_major_mut() {
        Some(column) => column.as_slice_mut(),
        None => unreachable!("the columns of an owned matrix are contiguous"),
    }
}

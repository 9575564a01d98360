//! Helmert's contrasts: the orthonormal basis of the vectors that sum to zero that needs no memory.
//!
//! ```text
//! contrast i of m entries, i = 0 .. m-2:   (1, ..., 1, -(i+1), 0, ..., 0) / √((i+1)(i+2)),   i + 1 leading ones
//! ```
//!
//! Coordinates follow from entries, and entries from coordinates, in one pass with a running sum.

use faer::{Col, MatMut, MatRef, prelude::ReborrowMut};

/// The leading ones of contrast `i`, and its norm before it is normalized.
fn ones_and_norm(i: usize) -> (f64, f64) {
    let ones = (i + 1) as f64;
    (ones, (ones * (ones + 1.0)).sqrt())
}

/// The entries of contrast `i` at 0 .. i, and at i + 1; all others are zero.
pub(crate) fn contrast(i: usize) -> (f64, f64) {
    let (ones, norm) = ones_and_norm(i);
    (1.0 / norm, -ones / norm)
}

/// Writes the m - 1 coordinates of m entries.
pub(crate) fn coordinates<'a>(entries: impl IntoIterator<Item = f64>, to: impl Iterator<Item = &'a mut f64>) {
    let mut entries = entries.into_iter();
    let Some(mut sum) = entries.next() else { return };
    for ((i, to), entry) in to.enumerate().zip(entries) {
        let (ones, norm) = ones_and_norm(i);
        *to = (sum - ones * entry) / norm;
        sum += entry;
    }
}

/// Calls `add` with the index of every entry, from the last to the first, and what the coordinates make of it: the
/// transpose of [`coordinates`], and its inverse on entries that sum to zero.
pub(crate) fn entries(
    coordinates: impl DoubleEndedIterator<Item = f64> + ExactSizeIterator,
    mut add: impl FnMut(usize, f64),
) {
    // Entry i has its own contrast, and every later one.
    let mut later = 0.0;
    for (i, x) in coordinates.enumerate().rev() {
        let (ones, norm) = ones_and_norm(i);
        add(i + 1, later - ones / norm * x);
        later += x / norm;
    }
    add(0, later);
}

/// [`coordinates`] of the columns of a matrix, written to one column fewer.
pub(crate) fn coordinates_of_columns(columns: MatRef<'_, f64>, mut to: MatMut<'_, f64>) {
    let mut sum = columns.col(0).to_owned();
    for i in 0..columns.ncols() - 1 {
        let ((ones, norm), next) = (ones_and_norm(i), columns.col(i + 1));
        to.rb_mut().col_mut(i).copy_from((&sum - ones * next) / norm);
        sum += next;
    }
}

/// [`entries`] as columns of a matrix; coordinates that are not there are zero, and so are the columns beyond them.
pub(crate) fn columns_of_coordinates(coordinates: MatRef<'_, f64>, mut to: MatMut<'_, f64>) {
    let mut later = Col::<f64>::zeros(to.nrows());
    for i in (0..coordinates.ncols()).rev() {
        let (ones, norm) = ones_and_norm(i);
        let contrast = coordinates.col(i) / norm;
        to.rb_mut().col_mut(i + 1).copy_from(&later - ones * &contrast);
        later += contrast;
    }
    to.rb_mut().col_mut(0).copy_from(&later);
}

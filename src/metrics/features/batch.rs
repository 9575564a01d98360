//! Batches as frameworks have them, checked before anything is added.

// pulp compiles its kernels for the registers found at run time only if they are inlined.
#![allow(clippy::inline_always)]

use faer::MatRef;
use pulp::{Arch, Simd, WithSimd};

use super::part::PANEL;
use crate::{
    error::{Block, Error},
    linalg::{checks::check_shape, cores::map_range, lanes::LANES},
};

/// Features with one row for each sample: numbers one after another, as C and NumPy store a N × d array, or a matrix of
/// N × d.
///
/// Methods take it as `impl Into<Rows>`: give them `&[f32]`, `&Vec<f64>` or a `MatRef`. Nothing is copied.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Rows<'a, T> {
    /// N d numbers, sample after sample.
    Slice(&'a [T]),
    /// N × d, in any order of memory; fastest if the numbers of a sample lie side by side.
    Matrix(MatRef<'a, T>),
}

impl<'a, T> From<&'a [T]> for Rows<'a, T> {
    fn from(numbers: &'a [T]) -> Self {
        Self::Slice(numbers)
    }
}

impl<'a, T> From<&'a Vec<T>> for Rows<'a, T> {
    fn from(numbers: &'a Vec<T>) -> Self {
        Self::Slice(numbers)
    }
}

impl<'a, T, const N: usize> From<&'a [T; N]> for Rows<'a, T> {
    fn from(numbers: &'a [T; N]) -> Self {
        Self::Slice(numbers)
    }
}

impl<'a, T> From<MatRef<'a, T>> for Rows<'a, T> {
    fn from(matrix: MatRef<'a, T>) -> Self {
        Self::Matrix(matrix)
    }
}

impl<'a, T> Rows<'a, T> {
    /// The same features with one column for each sample, d × N.
    pub(crate) fn into_columns(self, width: usize, samples: usize) -> Result<MatRef<'a, T>, Error> {
        match self {
            Self::Slice(numbers) if samples.checked_mul(width) == Some(numbers.len()) => {
                Ok(MatRef::from_column_major_slice(numbers, width, samples))
            }
            Self::Slice(numbers) => Err(Error::RowsLength { numbers: numbers.len(), samples, width }),
            Self::Matrix(matrix) => {
                check_shape(Block::Features, (samples, width), matrix.shape())?;
                Ok(matrix.transpose())
            }
        }
    }
}

/// A class number as frameworks have them: an integer of any type, counted from 0.
pub trait Label: Copy + Sync + TryInto<usize> + TryInto<i128> {}

impl<T: Copy + Sync + TryInto<usize> + TryInto<i128>> Label for T {}

/// Labels as indices of classes.
pub(crate) fn indices<L: Label>(labels: &[L], classes: usize) -> Result<Vec<usize>, Error> {
    let class = |label: L| -> Option<usize> { label.try_into().ok() };
    let index = |(index, &label): (usize, &L)| {
        class(label).filter(|class| *class < classes).ok_or_else(|| {
            let from_one = class(label) == Some(classes) && labels.iter().all(|&label| class(label) != Some(0));
            Error::LabelOutOfRange { index, label: label.try_into().unwrap_or(i128::MAX), classes, from_one }
        })
    };
    labels.iter().enumerate().map(index).collect()
}

/// Gives an accumulator its two doors for batches, which are the same everywhere: it has a `shape`, width and classes, and
/// `add_checked` for what has passed the checks.
macro_rules! takes_batches {
    ($type:ident) => {
        impl $type {
            /// Adds a batch: `features` is d × B, one column for each sample (the transpose of what frameworks have, see
            /// `add_rows`), `labels` are their classes from 0, integers of any type. If a batch has an error, none of it
            /// is added.
            ///
            /// # Errors
            ///
            /// [`Error::Shape`](crate::Error::Shape) if there are not d rows, or if the number of columns is not that of
            /// labels; [`Error::LabelOutOfRange`](crate::Error::LabelOutOfRange);
            /// [`Error::NotFinite`](crate::Error::NotFinite), [`Error::OutOfRange`](crate::Error::OutOfRange).
            pub fn add<T: Copy + Into<f64> + Sync>(
                &mut self,
                features: faer::MatRef<'_, T>,
                labels: &[impl $crate::metrics::features::Label],
            ) -> Result<(), $crate::error::Error> {
                let (width, classes) = self.shape();
                $crate::metrics::features::check_batch(features, labels.len(), width)?;
                let labels = $crate::metrics::features::indices(labels, classes)?;
                self.add_checked(features, &labels);
                Ok(())
            }

            /// Adds a batch with one row for each sample: `features` is B × d, as numbers one after another or as a
            /// matrix, `labels` are as for `add`. Nothing is copied.
            ///
            /// # Errors
            ///
            /// As `add`; [`Error::RowsLength`](crate::Error::RowsLength) if there are not B d numbers.
            pub fn add_rows<'a, T: Copy + Into<f64> + Sync + 'a>(
                &mut self,
                features: impl Into<$crate::metrics::features::Rows<'a, T>>,
                labels: &[impl $crate::metrics::features::Label],
            ) -> Result<(), $crate::error::Error> {
                let (width, _) = self.shape();
                self.add(features.into().into_columns(width, labels.len())?, labels)
            }
        }
    };
}

pub(crate) use takes_batches;

/// Numbers of this size and above have squares of which 2^53 and more leave the range of `f64`: 2^480.
const TOO_LARGE: f64 = f64::from_bits((1023 + 480) << 52);
/// Takes them, and smaller ones not, out of the range of `f64`: 2^544.
const BEYOND: f64 = f64::from_bits((1023 + 544) << 52);

/// Whether a batch has d rows, one column for each sample, and entries whose squares can be summed up.
pub(crate) fn check_batch<T: Copy + Into<f64> + Sync>(
    features: MatRef<'_, T>,
    samples: usize,
    width: usize,
) -> Result<(), Error> {
    check_shape(Block::Features, (width, samples), features.shape())?;
    // All cores look for columns with entries that are refused; if there are any, the first of them is looked up.
    let arch = Arch::new();
    let chunks = samples.div_ceil(PANEL);
    let accepted = map_range(chunks, 1, |chunk| {
        let columns = chunk * PANEL..samples.min((chunk + 1) * PANEL);
        columns.into_iter().all(|col| match features.col(col).try_as_col_major() {
            Some(column) => arch.dispatch(AreAccepted { entries: column.as_slice() }),
            None => features.col(col).iter().all(|entry| is_accepted((*entry).into())),
        })
    });
    let Some(chunk) = accepted.iter().position(|accepted| !accepted) else { return Ok(()) };
    let block = Block::Features;
    for (col, column) in features.col_iter().enumerate().skip(chunk * PANEL) {
        let mut entries = column.iter().map(|entry| (*entry).into()).enumerate();
        if let Some((row, value)) = entries.find(|(_, value)| !is_accepted(*value)) {
            let is_finite = value.is_finite();
            return Err(if is_finite {
                Error::OutOfRange { block, row, col, value }
            } else {
                Error::NotFinite { block, row, col, value }
            });
        }
    }
    Ok(())
}

/// Whether a number is finite and its square can be summed up; false for NaN.
fn is_accepted(value: f64) -> bool {
    value.abs() < TOO_LARGE
}

/// Whether all entries are, in registers of the processor's full width.
struct AreAccepted<'a, T> {
    entries: &'a [T],
}

impl<T: Copy + Into<f64>> WithSimd for AreAccepted<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> bool {
        let (chunks, rest) = self.entries.as_chunks::<LANES>();
        let mut zeros = [0.0; LANES];
        for chunk in chunks {
            for (zero, &entry) in zeros.iter_mut().zip(chunk) {
                // Zero, or NaN if the entry is NaN or the product infinite: of 2^480 and above.
                *zero += entry.into() * BEYOND * 0.0;
            }
        }
        zeros.iter().all(|zero| *zero == 0.0) && rest.iter().all(|&entry| is_accepted(entry.into()))
    }
}

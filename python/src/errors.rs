//! Errors of the library as `ValueError`, with its text; entries of features by sample and feature.

use neural_collapse::{Block, Error};
use pyo3::{PyErr, exceptions::PyValueError};

/// A `ValueError` with the text of the library.
pub(crate) fn refused(error: Error) -> PyErr {
    PyValueError::new_err(error.to_string())
}

/// A `ValueError` with a text of this package.
pub(crate) fn refuse(message: impl Into<String>) -> PyErr {
    PyValueError::new_err(message.into())
}

/// The error of a chunk of samples that begins at `start`. A column of the library is a row here.
pub(crate) fn refused_at(start: usize, error: Error) -> PyErr {
    match error {
        Error::NotFinite { block: Block::Features, row, col, value } => {
            let row_of_array = start + col;
            refuse(format!(
                "features: column {row} of row {row_of_array} (counted from 0) is {value:?}, finite numbers are needed"
            ))
        }
        Error::OutOfRange { block: Block::Features, row, col, value } => {
            let row_of_array = start + col;
            refuse(format!(
                "features: column {row} of row {row_of_array} (counted from 0) is {value:?}, sizes below 2^480 = 3.1e144 \
                 are accepted"
            ))
        }
        Error::LabelOutOfRange { index, label, classes } => {
            refused(Error::LabelOutOfRange { index: start + index, label, classes })
        }
        error => refused(error),
    }
}

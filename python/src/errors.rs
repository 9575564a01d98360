//! Errors of the library as `ValueError`, with its text; entries of features by sample and feature.

use neural_collapse::{Block, Error};
use pyo3::{PyErr, exceptions::PyValueError};

use crate::labels::Slice;

/// What a text of the library begins with, and the keyword of Python that this is.
const KEYWORDS: [(&str, &str); 10] = [
    ("class weights:", "class_weights:"),
    ("effective number of samples, beta:", "class_weights: effective:BETA, beta:"),
    ("gap tolerance:", "gap:"),
    ("label smoothing:", "label_smoothing:"),
    ("largest q:", "largest_q:"),
    ("ratio of norms:", "norm_ratio:"),
    ("shifts of logits:", "logit_adjustment:"),
    ("step size:", "step_size:"),
    ("variables of a descent:", "variables:"),
    ("layers: the width", "widths: the width"),
];

/// A text with the keyword that it is about.
fn with_keyword(text: String) -> String {
    for (name, keyword) in KEYWORDS {
        if let Some(rest) = text.strip_prefix(name) {
            return format!("{keyword}{rest}");
        }
    }
    text
}

/// A `ValueError` with the text of the library, and the function of this package that serves instead.
pub(crate) fn refused(error: Error) -> PyErr {
    let instead = if matches!(error, Error::NoCertificate { .. }) { ": ncollapse.descend" } else { "" };
    PyValueError::new_err(with_keyword(format!("{error}{instead}")))
}

/// A `ValueError` with a text of this package.
pub(crate) fn refuse(message: impl Into<String>) -> PyErr {
    PyValueError::new_err(message.into())
}

/// The error of a chunk of samples that begins at `start`, of an array with these labels. A column of the library is a
/// row here.
pub(crate) fn refused_at(start: usize, error: Error, labels: Slice<'_>) -> PyErr {
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
        Error::LabelOutOfRange { index, label, classes, from_one } => {
            // A 0 may be in another chunk.
            let (index, from_one) = (start + index, from_one && !labels.contains(0));
            refused(Error::LabelOutOfRange { index, label, classes, from_one })
        }
        error => refused(error),
    }
}

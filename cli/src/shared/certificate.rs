//! Why a model has no certified minimizer.

use neural_collapse::Error;

/// The error as a message for the user, with the flag that it is about.
pub(crate) fn explained(error: &Error) -> String {
    match error {
        Error::WidthBelowRank { .. } => format!("--widths: {error}"),
        error => error.to_string(),
    }
}

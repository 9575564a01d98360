//! The certified minimizer of a model, or why there is none.

use neural_collapse::{Error, Ufm, theory::Certified};

/// The certified minimizer, or a message for the user.
pub(crate) fn certified(ufm: &Ufm) -> Result<Certified, String> {
    ufm.certified_minimizer().map_err(|error| match error {
        Error::WidthBelowRank { .. } => format!("--widths: {error}"),
        error => error.to_string(),
    })
}

//! The certified minimizer of a model, or why there is none.

use neural_collapse::{Error, Ufm, theory::Certified};

/// The relative gap beyond which a point is not called a minimizer.
const LARGEST_GAP: f64 = 1e-6;

/// A difference from the lower bound that is rounding, where the objective itself is next to nothing.
const ROUNDING: f64 = 1e-15;

/// The certified minimizer, or a message for the user.
pub(crate) fn certified(ufm: &Ufm) -> Result<Certified, String> {
    const TOO_LARGE: &str = "the certified minimizer leaves the range of double precision: class weights, adjustments of \
                             logits or the decay of the bias are too large, too small or too far apart";
    let minimizer = ufm.certified_minimizer().map_err(|error| match error {
        Error::WidthBelowRank { .. } => format!("--widths: {error}"),
        Error::MatrixNotFinite { .. } | Error::SvdDidNotConverge => TOO_LARGE.into(),
        error => error.to_string(),
    })?;
    let (objective, bound) = (minimizer.objective(), minimizer.lower_bound());
    let difference = (objective - bound).abs();
    if difference <= ROUNDING || difference <= LARGEST_GAP * objective {
        return Ok(minimizer);
    }
    // Also NaN.
    Err(format!(
        "{TOO_LARGE}. The best point found has an objective of {objective:e}, with a lower bound of {bound:e}, and a gap \
         of at most {LARGEST_GAP:e} of it is accepted"
    ))
}

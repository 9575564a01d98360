//! Where must the last layers end? The closed form alone, as a table for people or as JSON for scripts.

mod groups;
mod json;
mod table;

use clap::Args;

use self::{groups::Groups, json::as_json, table::as_table};
use crate::shared::model_flags::ModelFlags;

/// Predicts where the last layers of a classifier trained with squared loss must end.
///
/// The objective is 1/(2N) |W_L...W_1 H + b 1' - Y|^2 + sum_l lambda_l/2 |W_l|^2 + lambda_H/2 |H|^2: half the squared
/// error, summed over classes and averaged over samples. Where your loss is scaled differently, say so with
/// --loss-convention and --feature-convention, and give the decays as your code has them: MSELoss is `mean`.
#[derive(Args)]
#[command(after_help = "Example: the letters profile of the paper, whose twenty small classes have collapsed here:
  neural-collapse predict --counts 1500,600x5,50x20 --widths 512 \\
    --layer-decay 5e-3 --feature-decay 5e-4

--json gives all directions and, for every group of classes of one count, by falling count:
  fate               distinct, single (no other class of its count), coincident (one classifier
                     for all), vanished, or ambiguous (a tie)
  merged             whether another classifier is within --angle
  norm               of each of its classifiers
  nearest            the class with the nearest classifier, its count, and the angle in degrees
  coincidence_scale  the factor on all decays together at which its classes come to share one
                     classifier: 0 if a width leaves them no other, null if they never share one
                     before they vanish
  vanishing_scale    the factor at which their classifiers are zero
`clusters` are the classes whose classifiers are within --angle of each other, by chains of such
steps (single linkage); `limits` the largest decays that keep every direction. A number that does
not exist, is infinite, or is left open by a tie is null.")]
pub(crate) struct Flags {
    #[command(flatten)]
    model: ModelFlags,
    /// Angle in degrees, 0 to 180, within which two classifiers count as one
    #[arg(long, value_name = "DEGREES", allow_hyphen_values = true, default_value_t = 1.0)]
    angle: f64,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(flags: &Flags) -> Result<String, String> {
    if !(0.0..=180.0).contains(&flags.angle) {
        return Err(format!("--angle: {:?} given, 0 to 180 degrees are accepted", flags.angle));
    }
    let minimizer = flags.model.ufm()?.minimizer().map_err(|error| error.to_string())?;
    let text = Groups::new(&minimizer, flags.angle).and_then(|groups| {
        if flags.json {
            Ok(format!("{}\n", as_json(&minimizer, &groups, flags.angle)?))
        } else {
            as_table(&minimizer, &groups)
        }
    });
    text.map_err(|error| error.to_string())
}

//! Where must the last layers end? The closed form, or the certified minimizer where there is none, as a table for people
//! or as JSON for scripts.

mod angles;
mod certified;
mod groups;
mod json;
mod next_decays;
mod nonnegative;
mod report;
mod table;

use clap::Args;
use neural_collapse::{
    Error, Ufm,
    theory::{Minimizer, Optimum},
};

use self::{groups::Groups, json::as_json, table::as_table};
use crate::shared::{certificate::explained, model_flags::ModelFlags};

/// Predicts where the last layers of a classifier must end.
///
/// The objective is 1/N sum alpha l(W_L...W_1 h + b) + sum_l lambda_l/2 |W_l|^2 + lambda_H/2 |H|^2, with l half the
/// squared error, summed over classes, or the cross-entropy. Where your loss is scaled differently, say so with
/// --loss-convention and --feature-convention, and give the decays as your code has them: MSELoss is `mean`.
///
/// Plain squared loss has a closed form, for any number of layers. Everything else with one layer is computed by convex
/// optimization, and its dual problem gives a lower bound that proves the result. Of features that may not be negative
/// some have a closed form, and all others an interval that the minimum is in.
#[derive(Args)]
#[command(after_help = "Example: the letters profile of the paper, whose twenty small classes have collapsed:
  neural-collapse predict --counts 1500,600x5,50x20 --widths 512 --layer-decay 5e-3 \\
    --feature-decay 5e-4
The same with cross-entropy and weights that bring the small classes back:
  neural-collapse predict --counts 1500,600x5,50x20 --widths 512 --layer-decay 5e-3 \\
    --feature-decay 5e-4 --loss cross-entropy --class-weights inverse-root

--json gives:
  loss                 squared or cross-entropy
  objective            the least objective; of features that may not be negative, with orthogonal class means
  lower_bound          a number that no point is below: for the closed form the objective itself
  gap                  (objective - lower_bound)/objective: for the closed form 0, it is exact
  directions           singular values; target and shrinkage for the closed form alone
and, for every group of classes of one count and one weight, by falling count:
  count, multiplicity, weight
  fate                 distinct, single (no other class of its count and weight), coincident (one
                       classifier for all), vanished, or ambiguous (a tie)
  merged               whether another classifier is within --angle
  probability_own      of a sample's own class; for squared loss the output of the adjusted logit
  probability_sibling  of another class of the group
  classifier_norm      of each of its classifiers (also as `norm`)
  mean_norm            of each of its class means
  bias                 b of each of its classes
  nearest              the class with the nearest classifier, its count, the angle in degrees
  coincidence_scale    the factor on all decays together at which its classes come to share one
                       classifier: 0 if a width leaves them no other, null if they never share one
                       before they vanish
  vanishing_scale      the factor at which their classifiers are zero
`clusters` are the classes whose classifiers are within --angle of each other, by chains of such
steps (single linkage); `limits` the largest decays that keep every direction.
Without a closed form there are also
  logits               W h + b before any adjustment of the loss: row r a class of group r,
                       column s a sample of group s, its own class excluded
  logits_own           the same of the own class, by group
A number that does not exist, is infinite, has no formula, or is left open by a tie is null.

To check a result without adjustments of logits from its JSON, with m the multiplicities:
  probability_own[s] = exp(logits_own[s])/(exp(logits_own[s]) + sum_r m[r] exp(logits[r][s])),
    where m[s] is one less;
  probability_own - probability_sibling = (1-E) (1-q), or 0 from q = 1 on,
    q = N root(lambda_1 lambda_H/count)/(weight (1-E))
and, for cross-entropy, its bound, with p_k the probabilities of a sample of class k, y_k its
target, and w_k = weight count/N:
  lower_bound = sum_k w_k H(p_k) - |r|^2/(2 MU),  H(p) = -sum p log p,  r = sum_k w_k (p_k - y_k),
    the last term for a bias with decay MU alone; r = 0 if the bias is free;
  it is a bound since the matrix of columns (y_k - p_k) w_k/root(count) has no singular value above
    root(lambda_1 lambda_H)")]
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
    let ufm = flags.model.ufm()?;
    let text = match optimum(&ufm)? {
        Optimum::Closed(minimizer) => closed(&minimizer, flags),
        Optimum::Certified(minimizer) if flags.json => {
            certified::as_json(&minimizer, flags.angle).map(|object| format!("{object}\n"))
        }
        Optimum::Certified(minimizer) => certified::as_table(&minimizer, flags.angle),
        Optimum::Nonnegative(minimizer) if flags.json => {
            Ok(format!("{}\n", nonnegative::as_json(&minimizer, flags.angle)))
        }
        Optimum::Nonnegative(minimizer) => nonnegative::as_table(&minimizer),
        _ => return Err("this program does not know this kind of optimum".into()),
    };
    text.map_err(|error| error.to_string())
}

/// The optimum, or why there is none, and which command answers instead. Smoothed labels without a bias have a closed form
/// for the objective alone, and are certified.
fn optimum(ufm: &Ufm) -> Result<Optimum, String> {
    if has_closed_geometry(ufm) {
        return Ok(ufm.minimizer().map_err(|error| error.to_string())?.into());
    }
    let other =
        |error: Error| format!("{}. The descent is `neural-collapse descend` with the same flags", explained(&error));
    if ufm.has_closed_form() {
        ufm.certified_minimizer().map(Optimum::from).map_err(other)
    } else {
        ufm.optimum().map_err(other)
    }
}

fn closed(minimizer: &Minimizer, flags: &Flags) -> Result<String, Error> {
    let groups = Groups::new(minimizer, flags.angle)?;
    if flags.json {
        Ok(format!("{}\n", as_json(minimizer, &groups, flags.angle)?))
    } else {
        as_table(minimizer, &groups)
    }
}

/// Whether there is a closed form for groups of classes: smoothed labels without a bias have one for the objective alone.
fn has_closed_geometry(ufm: &Ufm) -> bool {
    ufm.has_closed_form() && (ufm.has_bias() || ufm.targets().smoothing() == 0.0)
}

//! Where must the last layers end? The closed form, or the certified minimizer where there is none, as a table for people
//! or as JSON for scripts.

mod angles;
mod certified;
mod groups;
mod report;

use std::fmt::Write as _;

use clap::Args;
use neural_collapse::{
    Error, Ufm,
    theory::{Direction, Fate, Goal, Minimizer, Tie},
};
use serde_json::{Value, json};

use self::{
    groups::Groups,
    report::{Report, model_lines},
};
use crate::shared::{model_flags::ModelFlags, numbers::short};

/// Rows of a table beyond which people stop reading: half of them show the beginning, half the end.
const MOST_ROWS: usize = 60;

/// Predicts where the last layers of a classifier must end.
///
/// The objective is 1/N sum alpha l(W_L...W_1 h + b) + sum_l lambda_l/2 |W_l|^2 + lambda_H/2 |H|^2, with l half the
/// squared error, summed over classes, or the cross-entropy. Where your loss is scaled differently, say so with
/// --loss-convention and --feature-convention, and give the decays as your code has them: MSELoss is `mean`.
///
/// Plain squared loss has a closed form, for any number of layers. Everything else with one layer is computed by convex
/// optimization, and its dual problem gives a lower bound that proves the result.
#[derive(Args)]
#[command(after_help = "Example: the letters profile of the paper, whose twenty small classes have collapsed:
  neural-collapse predict --counts 1500,600x5,50x20 --widths 512 --layer-decay 5e-3 \\
    --feature-decay 5e-4
The same with cross-entropy and weights that bring the small classes back:
  neural-collapse predict --counts 1500,600x5,50x20 --widths 512 --layer-decay 5e-3 \\
    --feature-decay 5e-4 --loss cross-entropy --class-weights inverse-root

--json gives:
  loss                 squared or cross-entropy
  objective            the least objective
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
  nearest              the class with the nearest classifier, its count, the angle in degrees
  coincidence_scale    the factor on all decays together at which its classes come to share one
                       classifier
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
    q = N root(lambda_1 lambda_H/count)/(weight (1-E))")]
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
    if !has_closed_geometry(&ufm) {
        let minimizer = certified::minimizer(&ufm)?;
        return Ok(if flags.json {
            format!("{}\n", certified::as_json(&minimizer, flags.angle))
        } else {
            certified::as_table(&minimizer, flags.angle)
        });
    }
    let minimizer = ufm.minimizer().map_err(|error| error.to_string())?;
    let text = Groups::new(&minimizer, flags.angle).and_then(|groups| {
        if flags.json {
            Ok(format!("{}\n", as_json(&minimizer, &groups, flags.angle)?))
        } else {
            as_table(&minimizer, &groups)
        }
    });
    text.map_err(|error| error.to_string())
}

/// Whether there is a closed form for groups of classes: smoothed labels without a bias have one for the objective alone.
fn has_closed_geometry(ufm: &Ufm) -> bool {
    ufm.has_closed_form() && (ufm.has_bias() || ufm.targets().smoothing() == 0.0)
}

fn as_json(minimizer: &Minimizer, groups: &Groups<'_>, angle: f64) -> Result<Value, Error> {
    let directions = minimizer.directions().iter().map(|direction| {
        json!({
            "multiplicity": direction.multiplicity,
            "target": direction.target,
            "shrinkage": direction.shrinkage,
            "prediction": direction.prediction,
            "product": direction.product,
            "feature": direction.feature,
            "layers": direction.layers,
        })
    });
    let report = Report {
        ufm: minimizer.ufm(),
        objective: minimizer.objective(),
        lower_bound: minimizer.objective(),
        gap: 0.0,
        rank: minimizer.rank(),
        is_unique: minimizer.is_unique(),
        directions: directions.collect(),
        limits: limits(minimizer)?,
        angle,
        groups: groups.as_json()?,
        clusters: groups.clusters_as_json(),
    };
    Ok(report.as_json())
}

/// The largest decays that keep every direction: numbers where `kept` is "below", null where no decay does or any does.
fn limits(minimizer: &Minimizer) -> Result<Value, Error> {
    let goal = Goal::AllDirections;
    let scale = minimizer.largest_scale(goal)?;
    let kept = scale.map_or("never", |scale| if scale.is_infinite() { "always" } else { "below" });
    let layers = (0..minimizer.ufm().depth()).map(|l| minimizer.largest_layer_decay(goal, l));
    Ok(json!({
        "kept": kept,
        "scale": scale,
        "feature_decay": minimizer.largest_feature_decay(goal)?,
        "layer_decays": layers.collect::<Result<Vec<_>, _>>()?,
    }))
}

/// The first and the last of `all` rows, where there are too many, and how many lie between.
fn ends(all: usize) -> (impl Iterator<Item = usize>, usize, impl Iterator<Item = usize>) {
    let hidden = all.saturating_sub(MOST_ROWS);
    let head = if hidden > 0 { MOST_ROWS / 2 } else { all };
    (0..head, hidden, head + hidden..all)
}

fn as_table(minimizer: &Minimizer, groups: &Groups<'_>) -> Result<String, Error> {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |arguments: std::fmt::Arguments<'_>| writeln!(text, "{arguments}").unwrap_or_default();
    model_lines(minimizer.ufm()).iter().for_each(|words| line(format_args!("{words}")));
    line(format_args!(""));
    line(format_args!("minimum    {:.15e}", minimizer.objective()));
    line(format_args!("rank       {}", minimizer.rank()));
    line(format_args!("minimizer  {}", uniqueness(minimizer)));
    line(format_args!("no class collapses {}", up_to(minimizer)?));
    line(format_args!(""));
    line(format_args!("The singular values of the target, and what becomes of the directions they belong to:"));
    let headings = ["target", "shrinkage", "prediction", "product", "feature", "first layer", "margin"];
    line(format_args!("{:>7}  {}  fate", "times", headings.map(|heading| format!("{heading:>12}")).join("")));
    let (head, hidden, tail) = ends(minimizer.directions().len());
    head.for_each(|i| line(format_args!("{}", direction_row(&minimizer.directions()[i]))));
    if hidden > 0 {
        line(format_args!("    ... {hidden} more between, all of them with --json"));
    }
    tail.for_each(|i| line(format_args!("{}", direction_row(&minimizer.directions()[i]))));
    line(format_args!(""));
    for legend in [
        "target, prediction  singular values of what the labels ask for, and of what the network gives",
        "shrinkage           1 - prediction/target",
        "product, feature    singular values of W_L...W_1 and of the class means times root(n_k)",
        "margin              the factor on all decays together at which the direction collapses",
        "-                   zero",
    ] {
        line(format_args!("{legend}"));
    }
    line(format_args!(""));
    line(format_args!("{}", groups.merged()));
    line(format_args!(""));
    line(format_args!("{}", groups::HEADING));
    let (head, hidden, tail) = ends(groups.len());
    groups.rows(head)?.iter().for_each(|row| line(format_args!("{row}")));
    if hidden > 0 {
        line(format_args!("     ... {hidden} more between, all of them with --json"));
    }
    groups.rows(tail)?.iter().for_each(|row| line(format_args!("{row}")));
    Ok(text)
}

fn direction_row(direction: &Direction) -> String {
    let numbers = [
        direction.target,
        direction.shrinkage,
        direction.prediction,
        direction.product,
        direction.feature,
        direction.layers[0],
        direction.critical_scale,
    ];
    let fate = match direction.fate {
        Fate::Kept => "kept",
        Fate::Cut => "cut by the width",
        _ if direction.target == 0.0 => "zero target",
        _ => "collapsed",
    };
    let numbers = numbers.map(|x| format!("{:>12}", if x == 0.0 { "-".into() } else { short(x) }));
    format!("{:>7}  {}  {fate}", direction.multiplicity, numbers.join(""))
}

/// Up to which decays every direction is kept.
fn up_to(minimizer: &Minimizer) -> Result<String, Error> {
    let goal = Goal::AllDirections;
    Ok(match minimizer.largest_scale(goal)? {
        None => "at no decay: a width is too narrow".into(),
        Some(scale) if scale.is_infinite() => "at any decay".into(),
        Some(scale) => format!(
            "below {} times all decays together, {} of the features or {} of the first layer alone",
            short(scale),
            minimizer.largest_feature_decay(goal)?.map_or("-".into(), short),
            minimizer.largest_layer_decay(goal, 0)?.map_or("-".into(), short),
        ),
    })
}

fn uniqueness(minimizer: &Minimizer) -> String {
    if minimizer.is_unique() {
        return "unique up to rotations of the features and between layers".into();
    }
    let target = |direction: &usize| short(minimizer.directions()[*direction].target);
    let reason = |tie: &Tie| match tie {
        Tie::Threshold { direction } => format!("target {} is at its threshold", target(direction)),
        Tie::Width { direction } => format!("the width cuts through equal targets {}", target(direction)),
        _ => "a tie".into(),
    };
    format!("not unique: {}", minimizer.ties().iter().map(reason).collect::<Vec<_>>().join("; "))
}

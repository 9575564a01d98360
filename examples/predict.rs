//! Where must the last layers end? The closed form alone, as a table for people or as JSON for scripts.
//!
//!     cargo run --release --example predict -- --counts 1500,600x5,50x20 \
//!         --widths 512 --layer-decay 5e-3 --feature-decay 5e-4

#[path = "shared/conventions.rs"]
mod conventions;
#[path = "shared/counts/mod.rs"]
mod counts;
#[path = "shared/model_flags.rs"]
mod model_flags;
#[path = "shared/numbers.rs"]
mod numbers;
#[path = "shared/terminal.rs"]
mod terminal;

use std::{fmt::Write as _, process::ExitCode};

use clap::Parser;
use model_flags::ModelFlags;
use neural_collapse::{
    ClassCounts, Error,
    theory::{
        limits::Goal,
        minimizer::{Direction, Fate, GroupFate, Minimizer, Tie},
    },
};
use numbers::short;
use serde_json::json;

/// Rows of the table beyond which people stop reading.
const MOST_ROWS: usize = 60;

/// Groups beyond which the angles between all of them would take longer than the rest, and beyond which norms would, whose
/// geometry has a number for every pair.
const MOST_GROUPS: usize = 200;
const MOST_GROUPS_WITH_NORMS: usize = 3000;

/// Predicts where the last layers of a classifier trained with squared loss must end.
///
/// The objective is 1/(2N) |W_L...W_1 H + b 1' - Y|^2 + sum_l lambda_l/2 |W_l|^2 + lambda_H/2 |H|^2: half the squared
/// error, summed over classes and averaged over samples. Where your loss is scaled differently, say so with
/// --loss-convention and --feature-convention, and give the decays as your code has them: MSELoss is `mean`.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
#[command(
    after_help = "Example: the letters profile of the paper, whose twenty small classes have collapsed at these decays:
  predict --counts 1500,600x5,50x20 --widths 512 --layer-decay 5e-3 --feature-decay 5e-4"
)]
struct Flags {
    #[command(flatten)]
    model: ModelFlags,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    terminal::finish(predict(&Flags::parse()))
}

fn predict(flags: &Flags) -> Result<String, String> {
    let minimizer = flags.model.ufm()?.minimizer().map_err(|error| error.to_string())?;
    if flags.json {
        Ok(format!("{}\n", as_json(&minimizer)))
    } else {
        as_table(&minimizer).map_err(|error| error.to_string())
    }
}

fn as_json(minimizer: &Minimizer) -> serde_json::Value {
    let ufm = minimizer.ufm();
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
    json!({
        "classes": ufm.outputs(),
        "samples": ufm.samples(),
        "layers": ufm.depth(),
        "bias": ufm.has_bias(),
        "objective": minimizer.objective(),
        "rank": minimizer.rank(),
        "unique": minimizer.is_unique(),
        "directions": directions.collect::<Vec<_>>(),
    })
}

fn as_table(minimizer: &Minimizer) -> Result<String, Error> {
    let ufm = minimizer.ufm();
    let (classes, decays) = (
        ufm.class_counts().ok_or(Error::NoClassCounts)?,
        ufm.layers().iter().map(|layer| format!("{:e}", layer.decay)),
    );
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |arguments: std::fmt::Arguments<'_>| writeln!(text, "{arguments}").unwrap_or_default();
    let plural = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
    line(format_args!(
        "{}, {} samples, imbalance ratio {:.4}, {}, {}",
        plural(classes.classes(), "class", "classes"),
        classes.samples(),
        classes.imbalance_ratio(),
        plural(ufm.depth(), "linear layer", "linear layers"),
        if ufm.has_bias() { "with bias" } else { "no bias" },
    ));
    line(format_args!(
        "decays as the theory has them: layers {}, features {:e}",
        decays.collect::<Vec<_>>().join(", "),
        ufm.feature_decay()
    ));
    line(format_args!(""));
    line(format_args!("minimum    {:.15e}", minimizer.objective()));
    line(format_args!("rank       {}", minimizer.rank()));
    line(format_args!("minimizer  {}", uniqueness(minimizer)));
    line(format_args!("no class collapses {}", up_to(minimizer)?));
    line(format_args!(""));
    line(format_args!("The singular values of the target, and what becomes of the directions they belong to:"));
    let headings = ["target", "shrinkage", "prediction", "product", "feature", "first layer", "margin"];
    line(format_args!("{:>7}  {}  fate", "times", headings.map(|heading| format!("{heading:>12}")).join("")));
    for direction in minimizer.directions().iter().take(MOST_ROWS) {
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
        line(format_args!(
            "{:>7}  {}  {fate}",
            direction.multiplicity,
            numbers.map(|x| format!("{:>12}", if x == 0.0 { "-".into() } else { short(x) })).join("")
        ));
    }
    let hidden = minimizer.directions().len().saturating_sub(MOST_ROWS);
    if hidden > 0 {
        line(format_args!("    ... {hidden} more, all of them with --json"));
    }
    line(format_args!(""));
    for legend in [
        "target, prediction  singular values of what the labels ask for, and of what the network gives",
        "shrinkage           1 - prediction/target",
        "product, feature    singular values of W_L...W_1 and of the class means times root(n_k)",
        "margin              the factor on all decays together at which the direction collapses",
    ] {
        line(format_args!("{legend}"));
    }
    line(format_args!(""));
    line(format_args!("{:>8}  {:>9}  {:>10}  {:>13}  classifiers", "classes", "samples", "norm", "nearest angle"));
    if classes.groups().len() > MOST_GROUPS_WITH_NORMS {
        line(format_args!("  not shown for more than {MOST_GROUPS_WITH_NORMS} distinct counts"));
        return Ok(text);
    }
    for row in group_rows(minimizer, classes)? {
        line(format_args!("{row}"));
    }
    if classes.groups().len() > MOST_ROWS {
        line(format_args!("     ... {} more", classes.groups().len() - MOST_ROWS));
    }
    Ok(text)
}

/// For every group of classes of one count: the norm of their classifiers, the least angle to the classifier of any other
/// class, where there are not too many, and what has become of them.
fn group_rows(minimizer: &Minimizer, classes: &ClassCounts) -> Result<Vec<String>, Error> {
    let (fates, geometry) = (minimizer.group_fates()?, minimizer.geometry()?);
    let classifiers = geometry.classifiers();
    let others = fates.iter().any(|fate| matches!(fate, GroupFate::Distinct | GroupFate::Single));
    let most = if classes.groups().len() <= MOST_GROUPS { MOST_GROUPS } else { 0 };
    let mut rows = Vec::new();
    for (r, (group, fate)) in classes.groups().zip(fates).take(MOST_ROWS).enumerate() {
        let own = group.classes[0];
        // One class of every other group, and another of the own.
        let representatives =
            classes.groups().enumerate().filter_map(|(t, other)| other.classes.get(usize::from(t == r)));
        let cosines = representatives.filter_map(|&class| classifiers.cosine(own, class));
        let angle = cosines.take(most).reduce(f64::max).map(|cosine| cosine.acos().to_degrees());
        // What has taken what tells the classes of the group apart: the width or the decay.
        let is_cut = |direction: &Direction| direction.group == Some(r) && direction.fate == Fate::Cut;
        let why = if minimizer.directions().iter().any(is_cut) { "cut by the width" } else { "minority collapse" };
        let fate = match fate {
            GroupFate::Single => "one, with no other of its count".into(),
            GroupFate::Distinct => "each its own".into(),
            GroupFate::Coincident => format!("one for all ({why})"),
            GroupFate::Vanished if others => format!("zero ({why})"),
            GroupFate::Vanished => "zero".into(),
            _ => "a tie leaves open which have one of their own".into(),
        };
        let (norm, angle) =
            (classifiers.norm(own).map_or("-".into(), short), angle.map_or("-".into(), |angle| format!("{angle:.2}°")));
        rows.push(format!("{:>8}  {:>9}  {norm:>10}  {angle:>13}  {fate}", group.multiplicity(), group.count));
    }
    Ok(rows)
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

//! The prediction as a table for people.

use neural_collapse::{
    Error,
    theory::{Direction, Fate, Goal, Limit, Minimizer, Tie},
};

use super::{
    groups::{self, Groups},
    report::model_lines,
};
use crate::shared::numbers::short;

/// Rows of a table beyond which people stop reading: half of them show the beginning, half the end.
const MOST_ROWS: usize = 60;

/// What the columns of the table of directions are.
const LEGEND: [&str; 5] = [
    "target, prediction  singular values of what the labels ask for, and of what the network gives",
    "shrinkage           1 - prediction/target",
    "product, feature    singular values of W_L...W_1 and of the class means times root(n_k)",
    "margin              the factor on all decays together at which the direction collapses",
    "-                   zero",
];

pub(crate) fn as_table(minimizer: &Minimizer, groups: &Groups<'_>) -> Result<String, Error> {
    let directions = minimizer.directions();
    let mut lines = model_lines(minimizer.ufm());
    lines.extend([
        String::new(),
        format!("minimum    {:.15e}", minimizer.objective()),
        format!("rank       {}", minimizer.rank()),
        format!("minimizer  {}", uniqueness(minimizer)),
        format!("no class collapses {}", up_to(minimizer)?),
        String::new(),
        "The singular values of the target, and what becomes of the directions they belong to:".into(),
        direction_heading(),
    ]);
    lines.extend(both_ends(directions.len(), "   ", |i| Ok(direction_row(&directions[i])))?);
    lines.push(String::new());
    lines.extend(LEGEND.map(String::from));
    lines.extend([String::new(), groups.merged(), String::new(), groups::HEADING.into()]);
    lines.extend(both_ends(groups.len(), "    ", |r| groups.row(r))?);
    Ok(lines.into_iter().map(|line| line + "\n").collect())
}

/// All rows, or the first and the last of them, with a line that says how many lie between.
pub(super) fn both_ends(
    all: usize,
    indent: &str,
    row: impl Fn(usize) -> Result<String, Error>,
) -> Result<Vec<String>, Error> {
    let hidden = all.saturating_sub(MOST_ROWS);
    let head = if hidden > 0 { MOST_ROWS / 2 } else { all };
    let mut rows = (0..head).map(&row).collect::<Result<Vec<_>, _>>()?;
    if hidden > 0 {
        rows.push(format!("{indent} ... {hidden} more between, all of them with --json"));
    }
    for i in head + hidden..all {
        rows.push(row(i)?);
    }
    Ok(rows)
}

fn direction_heading() -> String {
    let headings = ["target", "shrinkage", "prediction", "product", "feature", "first layer", "margin"];
    format!("{:>7}  {}  fate", "times", headings.map(|heading| format!("{heading:>12}")).join(""))
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
        Limit::Never => "at no decay: a width is too narrow".into(),
        Limit::Always => "at any decay".into(),
        Limit::Below(scale) => format!(
            "below {} times all decays together, {} of the features or {} of the first layer alone",
            short(scale),
            minimizer.largest_feature_decay(goal)?.value().map_or("-".into(), short),
            minimizer.largest_layer_decay(goal, 0)?.value().map_or("-".into(), short),
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

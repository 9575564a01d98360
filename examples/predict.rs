//! Where must the last layers end? The closed form alone, as a table for people or as JSON for scripts.
//!
//!     cargo run --release --example predict -- --counts 500x2,400x2,300x2,200x2,100x2 \
//!         --widths 512 --layer-decay 5e-3 --feature-decay 1e-4

mod model_flags;

use std::{
    fmt::Write as _,
    io::{self, Write},
    process::ExitCode,
};

use clap::Parser;
use model_flags::ModelFlags;
use neural_collapse::{
    Error,
    theory::minimizer::{Fate, GroupFate, Minimizer, Tie},
};
use serde_json::json;

/// Rows of the table beyond which people stop reading.
const MOST_ROWS: usize = 60;

/// Predicts where the last layers of a classifier trained with squared loss must end.
///
/// The objective is 1/(2N) |W_L...W_1 H + b 1' - Y|^2 + sum_l lambda_l/2 |W_l|^2 + lambda_H/2 |H|^2: half the squared
/// error, summed over classes and averaged over samples. A training loss that is scaled differently has its decays
/// scaled by the inverse.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
#[command(after_help = "Example: CIFAR-10 as in the paper, two linear layers, and which classes are about to collapse:
  predict --counts 500x2,400x2,300x2,200x2,100x2 --layers 2 --widths 512 --layer-decay 5e-4 --feature-decay 1e-5")]
struct Flags {
    #[command(flatten)]
    model: ModelFlags,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let flags = Flags::parse();
    let text = match predict(&flags) {
        Ok(text) => text,
        Err(message) => {
            eprintln!("error: {message}");
            return ExitCode::from(2);
        }
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // A reader that has seen enough, as in `predict | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: standard output: {error}");
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
    }
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
    line(format_args!("decays: layers {}, features {:e}", decays.collect::<Vec<_>>().join(", "), ufm.feature_decay()));
    line(format_args!(""));
    line(format_args!("minimum    {:.15e}", minimizer.objective()));
    line(format_args!("rank       {}", minimizer.rank()));
    line(format_args!("minimizer  {}", uniqueness(minimizer)));
    line(format_args!(""));
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
            numbers.map(|x| format!("{:>12}", short(x))).join("")
        ));
    }
    let hidden = minimizer.directions().len().saturating_sub(MOST_ROWS);
    if hidden > 0 {
        line(format_args!("    ... {hidden} more, all of them with --json"));
    }
    line(format_args!(""));
    line(format_args!(
        "margin: the factor on all decays at which the direction collapses; equal directions share a row"
    ));
    line(format_args!(""));
    let fates = minimizer.group_fates()?;
    let others = fates.contains(&GroupFate::Distinct);
    for (group, fate) in classes.groups().zip(fates).take(MOST_ROWS) {
        let fate = match fate {
            GroupFate::Distinct => "each has a classifier of its own",
            GroupFate::Coincident => "share one classifier (minority collapse)",
            GroupFate::Vanished if others => "classifiers and class means are zero (minority collapse)",
            GroupFate::Vanished => "classifiers and class means are zero",
            _ => "a tie leaves open which have a classifier of their own",
        };
        let many = plural(group.multiplicity(), "class", "classes");
        line(format_args!("{:>12} of {:<12} {fate}", many, group.count));
    }
    Ok(text)
}

fn uniqueness(minimizer: &Minimizer) -> String {
    if minimizer.is_unique() {
        return "unique up to the gauge".into();
    }
    let target = |direction: &usize| short(minimizer.directions()[*direction].target);
    let reason = |tie: &Tie| match tie {
        Tie::Threshold { direction } => format!("target {} is at its threshold", target(direction)),
        Tie::Width { direction } => format!("the width cuts through equal targets {}", target(direction)),
        _ => "a tie".into(),
    };
    format!("not unique: {}", minimizer.ties().iter().map(reason).collect::<Vec<_>>().join("; "))
}

/// Seven digits, with an exponent only where there is need of one.
fn short(x: f64) -> String {
    match x.abs() {
        0.0 => "0".into(),
        size if (1e-3..1e6).contains(&size) => {
            let before = size.log10().floor().max(0.0);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let decimals = 6 - before as usize;
            format!("{x:.decimals$}")
        }
        _ => format!("{x:.4e}"),
    }
}

//! Descends to the minimum of a model by any of the methods, and shows how: as a table for people, as JSON for scripts,
//! as a figure.

mod descent;
mod figure;
mod goal;
mod report;

use std::path::PathBuf;

use clap::{Args, builder::TypedValueParser};
use neural_collapse::descent::Method;

use self::{
    descent::descend,
    figure::plot,
    report::{as_json, as_table},
};
use crate::shared::{conventions::choice, model_flags::ModelFlags};

/// Descends to the minimum of an unconstrained features model from a random start.
///
/// For plain squared loss the optimum is known in closed form, for any other loss with one layer it is computed with a
/// proof (see `predict`), so that the bar and the table show how far is left. For features that may not be negative there
/// is a proof if the best orthogonal class means are optimal. Otherwise, and for more layers with another loss, there is
/// only the descent: no gap is shown. Ctrl-C ends the run with what it has reached.
#[derive(Args)]
// Flags are switches.
#[allow(clippy::struct_excessive_bools)]
#[command(after_help = "Examples: the letters profile of the paper with three layers, by L-BFGS:
  neural-collapse descend --counts 1500,600x5,50x20 --layers 3 --widths 256 \\
    --layer-decay 5e-4 --feature-decay 1e-5 --method lbfgs
Cross-entropy with two layers. From collapsed features, K columns are enough for every loss:
  neural-collapse descend --counts 1500,600x5,50x20 --layers 2 --widths 64 \\
    --layer-decay 1e-4 --feature-decay 1e-5 --loss cross-entropy --collapsed

Distance, NC1, NC2 and NC3 compare with the closed form: without one they are null with --json.
So are `optimum`, `gap`, `rank` and `unique` if the minimum is not known.")]
pub(crate) struct Flags {
    #[command(flatten)]
    model: ModelFlags,
    /// Method
    #[arg(long, value_parser = methods(), default_value = "nesterov")]
    method: Method,
    /// Steps at most
    #[arg(long, default_value_t = 100_000)]
    steps: usize,
    /// Relative gap to the optimum at which the run ends
    #[arg(long, allow_hyphen_values = true, default_value_t = 1e-10)]
    gap: f64,
    /// Seed of the random start
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Scale of the start: 1 is the size of the minimizer
    #[arg(long, allow_hyphen_values = true, default_value_t = 1.0)]
    scale: f64,
    /// Start from collapsed features and layers of low rank
    #[arg(long, conflicts_with = "full")]
    collapsed: bool,
    /// Work on the features of all samples, without the exact reduction
    #[arg(long)]
    full: bool,
    /// Move in W, H and b themselves, not in the variables whose regularizers are all alike
    #[arg(long)]
    plain: bool,
    /// Threads [default: one a core]
    #[arg(long)]
    threads: Option<usize>,
    /// Fixed step size [default: automatic; 0.001 for adam]
    #[arg(long, allow_hyphen_values = true)]
    step: Option<f64>,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// Write a figure of the gap, the gradient, the distance to the minimizers and the metrics of neural collapse
    /// against steps
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// The values of `--method`.
fn methods() -> impl TypedValueParser<Value = Method> {
    choice(Method::ALL, Method::name, |method| match method {
        Method::GradientDescent => "Gradient descent",
        Method::HeavyBall { .. } => "Heavy ball with momentum 0.9",
        Method::Nesterov => "Nesterov's method with adaptive restart",
        Method::Lbfgs { .. } => "L-BFGS with a memory of ten steps",
        Method::Adam { .. } => "Adam with its customary rates, on the features of all samples",
        _ => "",
    })
}

pub(crate) fn run(flags: &Flags) -> Result<String, String> {
    let report = descend(flags)?;
    if let Some(path) = &flags.plot {
        plot(&report, path)?;
    }
    Ok(if flags.json { format!("{}\n", as_json(flags, &report)) } else { as_table(flags, &report) })
}

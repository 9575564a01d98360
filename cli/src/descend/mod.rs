//! Descends to the minimum of a model by any of the methods, and shows how: as a table for people, as JSON for scripts,
//! as a figure.

mod measured;
mod optimum;
mod plot;

use std::{
    io::{self, IsTerminal},
    ops::ControlFlow,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use clap::{Args, builder::TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use neural_collapse::{
    Parameters, Point, Ufm,
    descent::{Descent, Method, Record, Run, StepSize, Stop, Variables},
    rand::{SeedableRng, rngs::Xoshiro256PlusPlus},
};
use serde_json::json;

use self::{measured::Measured, optimum::Optimum, plot::plot};
use crate::shared::{conventions::choice, model_flags::ModelFlags, svg_file};

/// More threads than any machine has cores take longer to start than to work.
const MOST_THREADS: usize = 1024;

/// Points of a trajectory that JSON and figures show at most.
const MOST_POINTS: usize = 1000;

/// Descends to the minimum of an unconstrained features model from a random start.
///
/// For plain squared loss the optimum is known in closed form, for any other loss with one layer it is computed with a
/// proof (see `predict`), so that the bar and the table show how far is left. For more layers with another loss, and for
/// features that may not be negative, there is only the descent: no gap is shown. Ctrl-C ends the run with what it has
/// reached.
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

/// A run and what is told of it.
struct Report {
    optimum: Optimum,
    samples: u64,
    run: Run,
    ending: String,
    measured: Measured,
    /// What was measured at some of the steps, for a figure.
    measurements: Vec<(usize, Measured)>,
    seconds: f64,
    seconds_per_step: f64,
}

pub(crate) fn run(flags: &Flags) -> Result<String, String> {
    let report = descend(flags)?;
    if let Some(path) = &flags.plot {
        plot(&report, path)?;
    }
    Ok(if flags.json { format!("{}\n", as_json(flags, &report)) } else { as_table(flags, &report) })
}

fn descend(flags: &Flags) -> Result<Report, String> {
    if let Some(path) = &flags.plot {
        svg_file::check(path)?;
    }
    let threads = flags.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    if !(1..=MOST_THREADS).contains(&threads) {
        return Err(format!("--threads: {threads} given, 1 to {MOST_THREADS} are accepted"));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|error| format!("--threads {threads}: {error}"))?;
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).map_err(|error| format!("Ctrl-C: {error}"))?;
    pool.install(|| descend_here(flags, &interrupted))
}

fn descend_here(flags: &Flags, interrupted: &AtomicBool) -> Result<Report, String> {
    let ufm = flags.model.ufm()?;
    let text = |error: neural_collapse::Error| error.to_string();
    let optimum = Optimum::new(&ufm).map_err(text)?;
    let start = start(flags, &ufm).map_err(text)?;
    let mut descent = Descent::new(flags.method)
        .with_gap_tolerance(flags.gap)
        .with_step_limit(flags.steps)
        .with_reduction(!flags.full);
    if let Some(objective) = optimum.objective() {
        descent = descent.with_optimum(objective);
    }
    if flags.plain {
        descent = descent.with_variables(Variables::Plain);
    }
    if let Some(step) = flags.step {
        descent = descent.with_step_size(StepSize::Fixed(step));
    }
    let bar = if io::stderr().is_terminal() { ProgressBar::new(1000) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {msg}") {
        bar.set_style(style);
    }
    // The bar fills with the digits of the gap.
    let digits = -flags.gap.clamp(f64::EPSILON, 0.5).log10();
    let (clock, mut shown) = (Instant::now(), Instant::now());
    let (mut first, mut last) = (clock, clock);
    let (mut measurements, mut failure) = (Vec::new(), None);
    let run = descent.minimize_observed(&ufm, start, |progress| {
        last = Instant::now();
        if progress.record.step == 0 {
            first = last;
        }
        if last - shown > Duration::from_millis(100) {
            shown = last;
            let rate = progress.record.step as f64 / (last - first).as_secs_f64();
            let left = if let Some(gap) = progress.gap {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                bar.set_position((-gap.log10() / digits * 1000.0).clamp(0.0, 1000.0) as u64);
                format!("gap {gap:.1e}")
            } else {
                format!("objective {:.6e}", progress.record.objective)
            };
            bar.set_message(format!("step {}, {rate:.0} a second, {left}", progress.record.step));
        }
        // Ever rarer, so that measuring takes a small part of the time.
        let step = progress.record.step;
        if flags.plot.is_some() && measurements.last().is_none_or(|&(before, _)| step > before + before / 16) {
            match Measured::new(&optimum, &progress.point()) {
                Ok(measured) => measurements.push((step, measured)),
                Err(error) => failure = Some(error),
            }
        }
        let over = failure.is_some() || interrupted.load(Ordering::Relaxed);
        if over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let seconds = clock.elapsed().as_secs_f64();
    bar.finish_and_clear();
    let run = match failure {
        Some(error) => return Err(text(error)),
        None => run.map_err(text)?,
    };
    let measured = Measured::new(&optimum, &run.point).map_err(text)?;
    let ending = optimum.ending(&run).map_err(text)?;
    let seconds_per_step = (last - first).as_secs_f64() / run.steps.max(1) as f64;
    Ok(Report { optimum, samples: ufm.samples(), run, ending, measured, measurements, seconds, seconds_per_step })
}

fn start(flags: &Flags, ufm: &Ufm) -> Result<Point, neural_collapse::Error> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(flags.seed);
    if flags.collapsed {
        Point::collapsed(ufm, flags.scale, &mut rng)
    } else if flags.full || !flags.method.is_equivariant() {
        Parameters::gaussian(ufm, flags.scale, &mut rng).map(Point::from)
    } else {
        Point::gaussian(ufm, flags.scale, &mut rng)
    }
}

/// The first, the last, and what lies between in equal strides.
fn thinned(trajectory: &[Record]) -> Vec<&Record> {
    let stride = trajectory.len().div_ceil(MOST_POINTS - 1).max(1);
    let (Some(last), all) = (trajectory.last(), trajectory.iter().step_by(stride)) else { return Vec::new() };
    all.filter(|record| record.step != last.step).chain([last]).collect()
}

fn as_json(flags: &Flags, report: &Report) -> serde_json::Value {
    let Report { optimum, run, .. } = report;
    let [distance, nc1, classifier, features, product] = report.measured.lines().map(|(_, _, number)| number);
    let alignment = report.measured.collapse.as_ref().and_then(|collapse| collapse.alignment);
    let name = flags.method.name();
    let trajectory = thinned(&run.trajectory)
        .into_iter()
        .map(|record| json!({ "step": record.step, "objective": record.objective, "gradient": record.gradient_norm }));
    json!({
        "method": name,
        "steps": run.steps,
        "evaluations": run.evaluations,
        "columns": run.columns,
        "seconds": report.seconds,
        "seconds_per_step": report.seconds_per_step,
        "objective": run.objective,
        "optimum": optimum.objective(),
        "gap": run.gap,
        "stop": stop(run.stop),
        "rank": optimum.rank(),
        "unique": optimum.is_unique(),
        "ending": report.ending,
        "distance": distance,
        "nc1": nc1,
        "nc2": { "classifier": classifier, "features": features },
        "nc3": { "product": product, "alignment": alignment },
        "trajectory": trajectory.collect::<Vec<_>>(),
    })
}

fn as_table(flags: &Flags, report: &Report) -> String {
    let Report { optimum, samples, run, ending, measured, seconds, seconds_per_step, .. } = report;
    let name = flags.method.to_string();
    let rows = [
        ("method", name),
        ("columns of features", format!("{} for {samples} samples", run.columns)),
        ("steps", format!("{}, {} evaluations", run.steps, run.evaluations)),
        ("seconds", format!("{seconds:.3}, {:.3} ms a step", 1e3 * seconds_per_step)),
        optimum.row(),
        ("reached", format!("{:.15e}", run.objective)),
    ];
    let gap = run.gap.map(|gap| ("relative gap", format!("{gap:.2e}")));
    let rank = optimum.rank().map(|rank| ("rank of the minimizer", rank.to_string()));
    let gradient = Some(("gradient", format!("{:.2e}", run.gradient_norm)));
    let ending = Some(("ending", ending.clone()));
    // What would have helped, and what the numbers below mean.
    let hint = (run.stop == Stop::StepLimit).then(|| ("", ways_out(flags)));
    let ties = "the minimizer is not unique (see `predict`): distance, NC2 and NC3 need not be zero";
    let ties = (optimum.is_unique() == Some(false)).then_some(("", ties.into()));
    let rows = rows.into_iter().chain([gap, gradient, rank, ending, hint, ties].into_iter().flatten());
    let number = |value: Option<f64>| value.map_or_else(|| "undefined".into(), |value| format!("{value:.2e}"));
    // Without a closed form nothing is measured.
    let measured = measured.collapse.as_ref().map(|_| measured.lines().map(|(name, _, value)| (name, number(value))));
    let lines: Vec<_> =
        rows.chain(measured.into_iter().flatten()).map(|(key, value)| format!("{key:<22} {value}\n")).collect();
    lines.concat()
}

/// What needs fewer steps, where their limit came before the optimum.
fn ways_out(flags: &Flags) -> String {
    let ways = [
        ("--method lbfgs", !matches!(flags.method, Method::Lbfgs { .. })),
        ("--collapsed", !flags.collapsed && !flags.full),
        ("a smaller --scale", flags.scale > 1.0),
    ];
    let ways: Vec<_> = ways.into_iter().filter_map(|(way, is_left)| is_left.then_some(way)).collect();
    if ways.is_empty() {
        return "the step limit came first: more --steps are needed".into();
    }
    format!("the step limit came first: {} needs fewer steps", ways.join(" or "))
}

/// A stop in a word or two; what ends a run here by its observer is Ctrl-C.
fn stop(stop: Stop) -> &'static str {
    if stop == Stop::Observer { "interrupted" } else { stop.name() }
}

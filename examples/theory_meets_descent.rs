//! Theory and descent side by side: the closed-form minimum, a descent from a random start that knows nothing of it,
//! and how well the two agree, on the class profiles of Liu 2024.
//!
//!     cargo run --release --example theory_meets_descent

use std::{
    io::{self, Write},
    ops::ControlFlow,
    process::ExitCode,
    time::Instant,
};

use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use neural_collapse::{
    ClassCounts, Error, Layer, Parameters, Ufm,
    critical::ending,
    descent::{Descent, Run},
    metrics::singular_value_error,
};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

/// The promise: every descent comes this near to the closed form.
const PROMISED_GAP: f64 = 1e-8;

/// Shows closed-form minimizers and gradient descent side by side on the paper's class profiles.
///
/// Ends with a table, and with exit code 1 unless every relative gap is below 1e-8.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Flags {
    /// Width of every linear layer
    #[arg(long, allow_hyphen_values = true, default_value_t = 256)]
    width: usize,
    /// Decay of every linear layer
    #[arg(long, allow_hyphen_values = true, default_value_t = 5e-4)]
    layer_decay: f64,
    /// Decay of the features
    #[arg(long, allow_hyphen_values = true, default_value_t = 1e-5)]
    feature_decay: f64,
    /// Relative gap at which a descent ends
    #[arg(long, allow_hyphen_values = true, default_value_t = 1e-12)]
    gap: f64,
    /// Seed of the random starts
    #[arg(long, allow_hyphen_values = true, default_value_t = 0)]
    seed: u64,
}

fn main() -> ExitCode {
    let (message, status) = match compare(&Flags::parse()) {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => (format!("a relative gap is not below {PROMISED_GAP:e}"), 1),
        Err(message) => (message, 2),
    };
    // If standard error is full or closed, only the exit status says so.
    writeln!(io::stderr(), "error: {message}").unwrap_or_default();
    ExitCode::from(status)
}

/// Runs every model, and says whether all of them kept the promise.
fn compare(flags: &Flags) -> Result<bool, String> {
    if !(0.0..PROMISED_GAP).contains(&flags.gap) {
        return Err(format!("--gap: {:?} given, numbers from 0 to below {PROMISED_GAP:e} are accepted", flags.gap));
    }
    println(&format!(
        "width {}, layer decays {:e}, feature decay {:e}, Nesterov's method from Gaussian starts\n",
        flags.width, flags.layer_decay, flags.feature_decay
    ))?;
    println(&format!(
        "{:<15} {:>2} {:<5} {:>4} {:>18} {:>18} {:>9} {:>6} {:>9} {:>7}  ending",
        "profile", "L", "bias", "rank", "minimum (theory)", "descent reached", "gap", "steps", "sing. val", "seconds"
    ))?;
    let mut kept = true;
    for (name, classes) in
        [("CIFAR-10", ClassCounts::paper_cifar10()), ("EMNIST letters", ClassCounts::paper_emnist_letters())]
    {
        for depth in 1..=3 {
            for bias in [true, false] {
                let layers = vec![Layer::new(flags.width, flags.layer_decay); depth];
                let ufm = Ufm::new(classes.clone(), layers, flags.feature_decay)
                    .map(|ufm| ufm.with_bias(bias))
                    .map_err(|error| error.to_string())?;
                let title = format!("{name:<15} {depth:>2} {:<5}", if bias { "yes" } else { "no" });
                kept &= meet(&title, &ufm, flags)?;
            }
        }
    }
    println(
        "\nsing. val: the largest error of a singular value of any layer, the product or the class means, relative to the largest",
    )?;
    Ok(kept)
}

/// One model: theory, descent, and a row of the table.
fn meet(title: &str, ufm: &Ufm, flags: &Flags) -> Result<bool, String> {
    let clock = Instant::now();
    let minimizer = ufm.minimizer().map_err(|error| error.to_string())?;
    let run = descend(title, ufm, minimizer.objective(), flags).map_err(|error| error.to_string())?;
    let error = singular_value_error(&minimizer, &run.point).map_err(|error| error.to_string())?;
    let ending = ending(&minimizer, &run).map_err(|error| error.to_string())?;
    let gap = run.gap.unwrap_or(f64::INFINITY);
    println(&format!(
        "{title} {:>4} {:>18.15} {:>18.15} {gap:>9.1e} {:>6} {error:>9.1e} {:>7.2}  {ending}",
        minimizer.rank(),
        minimizer.objective(),
        run.objective,
        run.steps,
        clock.elapsed().as_secs_f64(),
    ))?;
    Ok(gap < PROMISED_GAP)
}

fn descend(title: &str, ufm: &Ufm, optimum: f64, flags: &Flags) -> Result<Run, Error> {
    let start = Parameters::gaussian(ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(flags.seed))?;
    // The bar fills with the digits of agreement; it hides where standard error is not a terminal.
    let digits = -flags.gap.max(f64::EPSILON).log10();
    let bar = ProgressBar::new(1000);
    if let Ok(style) = ProgressStyle::with_template("{prefix} {bar:30} {msg}") {
        bar.set_style(style);
    }
    bar.set_prefix(title.to_owned());
    let run = Descent::default().with_optimum(optimum).with_gap_tolerance(flags.gap).minimize_observed(
        ufm,
        start,
        |progress| {
            if progress.record.step % 10 == 0 {
                let gap = progress.gap.unwrap_or(f64::INFINITY);
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                bar.set_position((-gap.log10() / digits * 1000.0).clamp(0.0, 1000.0) as u64);
                let rate = bar.elapsed().as_secs_f64().recip() * progress.record.step as f64;
                bar.set_message(format!("step {}, {rate:.0} a second, gap {gap:.1e}", progress.record.step));
            }
            ControlFlow::Continue(())
        },
    );
    bar.finish_and_clear();
    run
}

/// Prints a line; a reader that has seen enough, as in `theory_meets_descent | head`, ends the program.
fn println(line: &str) -> Result<(), String> {
    match writeln!(io::stdout(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.map_err(|error| format!("standard output: {error}")),
    }
}

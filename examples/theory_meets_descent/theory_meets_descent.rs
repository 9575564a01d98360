//! Theory and descent side by side: the minimum, in closed form or certified, a descent from a random start that knows
//! nothing of it, and how well the two agree, on the class profiles of Liu 2024.
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
    ClassCounts, ClassWeights, Error, Layer, Loss, Parameters, Point, Ufm,
    critical::ending,
    descent::{Descent, Run},
    linalg::dense_svd,
    metrics::singular_value_error,
    theory::Certified,
};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

/// The promise: every descent comes this near to the closed form.
const PROMISED_GAP: f64 = 1e-8;

/// Shows the theory's minimizers and gradient descent side by side on the paper's class profiles.
///
/// For squared loss the minimum is a closed form, for cross-entropy one that its dual proves.
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
    let profiles =
        [("CIFAR-10", ClassCounts::paper_cifar10()), ("EMNIST letters", ClassCounts::paper_emnist_letters())];
    let mut kept = true;
    for (name, classes) in &profiles {
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
    println("\ncross-entropy, from collapsed Gaussian starts: minima proved by their dual")?;
    for (name, classes) in &profiles {
        for (bias, weights) in [(true, ClassWeights::None), (false, ClassWeights::None), (true, ClassWeights::Inverse)]
        {
            let layers = [Layer::new(flags.width, flags.layer_decay)];
            let ufm = Ufm::new(classes, layers, flags.feature_decay)
                .and_then(|ufm| ufm.with_bias(bias).with_loss(Loss::CrossEntropy)?.with_class_weights(weights.clone()))
                .map_err(|error| error.to_string())?;
            let name = if weights == ClassWeights::None { (*name).to_owned() } else { format!("{name} 1/n") };
            let title = format!("{name:<18} {:<4}", if bias { "yes" } else { "no" });
            kept &= meet_certified(&title, &ufm, flags).map_err(|error| error.to_string())?;
        }
    }
    println(
        "\nsing. val: the largest error of a singular value of any layer, the product or the class means (cross-entropy: of the \
         prediction), relative to the largest",
    )?;
    Ok(kept)
}

/// One model: theory, descent, and a row of the table.
fn meet(title: &str, ufm: &Ufm, flags: &Flags) -> Result<bool, String> {
    let clock = Instant::now();
    let minimizer = ufm.minimizer().map_err(|error| error.to_string())?;
    let start = Parameters::gaussian(ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(flags.seed));
    let run = start.and_then(|start| descend(title, ufm, start.into(), minimizer.objective(), flags));
    let run = run.map_err(|error| error.to_string())?;
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

/// A model that has no closed form. Features of a class that start equal stay equal under any loss, so that a descent
/// from there needs one column a class.
fn meet_certified(title: &str, ufm: &Ufm, flags: &Flags) -> Result<bool, Error> {
    let clock = Instant::now();
    let minimizer = ufm.certified_minimizer()?;
    let start = Point::collapsed(ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(flags.seed))?;
    let run = descend(title, ufm, start, minimizer.objective(), flags)?;
    let error = prediction_error(&minimizer, &run.point)?;
    let gap = run.gap.unwrap_or(f64::INFINITY);
    let row = format!(
        "{title} {:>4} {:>18.15} {:>18.15} {gap:>9.1e} {:>6} {error:>9.1e} {:>7.2}  proved to {:.0e}",
        minimizer.rank(),
        minimizer.objective(),
        run.objective,
        run.steps,
        clock.elapsed().as_secs_f64(),
        minimizer.gap().abs(),
    );
    println(&row).map_or(Ok(false), |()| Ok(gap < PROMISED_GAP))
}

/// The largest error of a singular value of W H̄ D, relative to the largest.
fn prediction_error(minimizer: &Certified, point: &Point) -> Result<f64, Error> {
    let mut prediction = point.product() * point.class_means(minimizer.ufm())?;
    for group in minimizer.groups() {
        for &class in &group.classes {
            prediction.col_mut(class).iter_mut().for_each(|entry| *entry *= (group.count as f64).sqrt());
        }
    }
    let (found, expected) = (dense_svd(prediction.as_ref())?.values, minimizer.singular_values());
    let errors = found.iter().zip(&expected).map(|(found, expected)| (found - expected).abs());
    Ok(errors.fold(0.0, f64::max) / expected[0])
}

fn descend(title: &str, ufm: &Ufm, start: Point, optimum: f64, flags: &Flags) -> Result<Run, Error> {
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

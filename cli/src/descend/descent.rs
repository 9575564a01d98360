//! The run: on the threads that were asked for, with a progress bar, until the optimum or Ctrl-C.

use std::{
    io::{self, IsTerminal},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};
use neural_collapse::{
    Parameters, Point, Ufm,
    descent::{Descent, Progress, StepSize, Variables},
    rand::{SeedableRng, rngs::Xoshiro256PlusPlus},
};

use super::{
    Flags,
    goal::Goal,
    report::{Measured, Report},
};
use crate::shared::svg_file;

/// More threads than any machine has cores take longer to start than to work.
const MOST_THREADS: usize = 1024;

pub(crate) fn descend(flags: &Flags) -> Result<Report, String> {
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
    let goal = Goal::new(&ufm).map_err(text)?;
    let start = start(flags, &ufm).map_err(text)?;
    let descent = descent(flags, &goal);
    let mut bar = Bar::new(flags.gap);
    let mut measurements = Vec::new();
    let run = descent.minimize_until(&ufm, start, |progress| {
        bar.show(progress);
        // Ever rarer, so that measuring takes a small part of the time.
        let step = progress.record.step;
        if flags.plot.is_some() && measurements.last().is_none_or(|&(before, _)| step > before + before / 16) {
            match Measured::new(&goal, &progress.point()) {
                Ok(measured) => measurements.push((step, measured)),
                Err(error) => return ControlFlow::Break(Err(error)),
            }
        }
        if interrupted.load(Ordering::Relaxed) { ControlFlow::Break(Ok(())) } else { ControlFlow::Continue(()) }
    });
    let (seconds, stepping) = bar.finish();
    let (run, broken) = run.map_err(text)?;
    broken.transpose().map_err(text)?;
    let measured = Measured::new(&goal, &run.point).map_err(text)?;
    let ending = goal.ending(&run).map_err(text)?;
    let seconds_per_step = stepping / run.steps.max(1) as f64;
    Ok(Report { goal, samples: ufm.samples(), run, ending, measured, measurements, seconds, seconds_per_step })
}

/// The descent that the flags describe.
fn descent(flags: &Flags, goal: &Goal) -> Descent {
    let mut descent = Descent::new(flags.method)
        .with_gap_tolerance(flags.gap)
        .with_step_limit(flags.steps)
        .with_reduction(!flags.full);
    if let Some(objective) = goal.objective() {
        descent = descent.with_optimum(objective);
    }
    if flags.plain {
        descent = descent.with_variables(Variables::Plain);
    }
    if let Some(step) = flags.step {
        descent = descent.with_step_size(StepSize::Fixed(step));
    }
    descent
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

/// A progress bar on a terminal, and the time that a run takes.
struct Bar {
    terminal: ProgressBar,
    /// The bar fills with the digits of the gap, of which there are these to come.
    digits: f64,
    start: Instant,
    shown: Instant,
    /// When the start and the last step were reached.
    first: Instant,
    last: Instant,
}

impl Bar {
    fn new(gap: f64) -> Self {
        let bar = if io::stderr().is_terminal() { ProgressBar::new(1000) } else { ProgressBar::hidden() };
        if let Ok(style) = ProgressStyle::with_template("{bar:40} {msg}") {
            bar.set_style(style);
        }
        let (digits, now) = (-gap.clamp(f64::EPSILON, 0.5).log10(), Instant::now());
        Self { terminal: bar, digits, start: now, shown: now, first: now, last: now }
    }

    fn show(&mut self, progress: &Progress<'_>) {
        let step = progress.record.step;
        self.last = Instant::now();
        if step == 0 {
            self.first = self.last;
        }
        if self.last - self.shown > Duration::from_millis(100) {
            self.shown = self.last;
            let rate = step as f64 / (self.last - self.first).as_secs_f64();
            let left = if let Some(gap) = progress.gap {
                #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                self.terminal.set_position((-gap.log10() / self.digits * 1000.0).clamp(0.0, 1000.0) as u64);
                format!("gap {gap:.1e}")
            } else {
                format!("objective {:.6e}", progress.record.objective)
            };
            self.terminal.set_message(format!("step {step}, {rate:.0} a second, {left}"));
        }
    }

    /// The seconds of the run, and those between its first and its last point.
    fn finish(self) -> (f64, f64) {
        let seconds = self.start.elapsed().as_secs_f64();
        self.terminal.finish_and_clear();
        (seconds, (self.last - self.first).as_secs_f64())
    }
}

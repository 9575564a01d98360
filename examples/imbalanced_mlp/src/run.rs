//! A run from the command line to its figures.

use std::{
    fmt,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use neural_collapse::{Loss, Ufm};

use crate::{
    checkpoint,
    configuration::Configuration,
    data::TrainingSet,
    figures,
    flags::Flags,
    history::{Columns, History, Row},
    measure::{Judge, Snapshot, State},
    report::{self, Times},
    train::Trainer,
};

/// An objective this many times that of the start, or of all zeros where that is larger, has left for good.
const DIVERGED: f64 = 1e3;

/// A run and what it has come to so far.
struct Run<'a> {
    configuration: &'a Configuration,
    set: &'a TrainingSet,
    judge: &'a Judge,
    /// The objective where all weights are zero, about.
    at_zero: f64,
    files: Files,
    history: History,
    /// The last measurement, and the step it was made at.
    last: Option<(u64, Row, Snapshot)>,
    clock: Instant,
    /// Seconds before the checkpoint that the run went on from.
    before: f64,
    measuring: Duration,
    saving: Duration,
}

/// The files of a run.
#[derive(Debug)]
struct Files {
    metrics: PathBuf,
    checkpoint: PathBuf,
    training: PathBuf,
    geometry: PathBuf,
}

impl Files {
    fn new(folder: &Path) -> Self {
        Self {
            metrics: folder.join("metrics.csv"),
            checkpoint: folder.join("checkpoint.safetensors"),
            training: folder.join("training.svg"),
            geometry: folder.join("geometry.svg"),
        }
    }

    fn list(&self) -> String {
        let files = [&self.metrics, &self.training, &self.geometry, &self.checkpoint];
        report::table(&files.map(|file| ("written", file.display().to_string())))
    }
}

/// Runs what the command line says, and ends early, with all that there is, once `interrupted` is true. Returns what to
/// tell of the end; the beginning is on the standard output.
///
/// # Errors
///
/// Bad input, files that cannot be written, and training that diverges: its last good state is kept.
pub fn run(flags: &Flags, interrupted: &AtomicBool) -> Result<String> {
    let threads = flags.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    ensure!(threads > 0, "--threads: 0 given, at least 1 is accepted");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.with_context(|| format!("--threads {threads}"))?.install(|| run_here(flags, interrupted))
}

fn run_here(flags: &Flags, interrupted: &AtomicBool) -> Result<String> {
    let set = flags.training_set()?;
    let configuration = flags.configuration(&set)?;
    let ufm = configuration.ufm(&set.counts)?;
    let judge = Judge::new(&configuration, &set.counts)?;
    let columns = Columns::new(judge.groups(), ufm.depth());
    let shape = configuration.shape(&set)?;
    let files = Files::new(&flags.out);
    prepare(flags, &files)?;
    let mut trainer = Trainer::new(&configuration, &shape, &ufm, &set, &flags.device());
    let (mut before, mut rows) = (0.0, Vec::new());
    if flags.resume {
        (trainer, before) = checkpoint::load(&files.checkpoint, &configuration, trainer).context("--resume")?;
        let epochs = trainer.step as f64 / configuration.steps_per_epoch(set.labels.len()) as f64;
        rows = History::read(&files.metrics, &columns).context("--resume")?;
        // What came after the checkpoint comes again.
        rows.retain(|row| row.epoch <= epochs);
    }
    // Train on, even if nobody reads the output any more.
    writeln!(io::stdout(), "{}", report::beginning(&configuration, &set, &judge, trainer.step)).unwrap_or_default();
    let history = History::create(&files.metrics, &columns, rows).context("--out")?;
    let mut run = Run {
        configuration: &configuration,
        set: &set,
        judge: &judge,
        at_zero: at_zero(&ufm),
        files,
        history,
        last: None,
        clock: Instant::now(),
        before,
        measuring: Duration::ZERO,
        saving: Duration::ZERO,
    };
    let first = trainer.step;
    let ended = run.train(trainer, interrupted);
    run.draw()?;
    let steps = ended? - first;
    let (_, row, snapshot) = run.last.as_ref().context("nothing has been measured")?;
    let times = Times { all: run.clock.elapsed(), measuring: run.measuring, saving: run.saving };
    Ok(report::ending(&configuration, &judge, row, snapshot, steps, times) + &run.files.list())
}

/// A folder that can be written to, and holds no run but one that is to go on or to be replaced.
fn prepare(flags: &Flags, files: &Files) -> Result<()> {
    let folder = || format!("--out {}", flags.out.display());
    std::fs::create_dir_all(&flags.out).with_context(folder)?;
    let other = [&files.metrics, &files.checkpoint].into_iter().find(|file| file.exists());
    if let (Some(file), false, false) = (other, flags.resume, flags.overwrite) {
        bail!(
            "{}: there is a run in this folder already ({}); --resume goes on with it, --overwrite begins anew",
            folder(),
            file.display()
        );
    }
    Ok(())
}

impl Run<'_> {
    /// To the last epoch or to an interruption; the step reached.
    fn train(&mut self, mut trainer: Trainer, interrupted: &AtomicBool) -> Result<u64> {
        let steps = self.configuration.steps_per_epoch(self.set.labels.len());
        let (total, interval) = (steps * self.configuration.epochs, steps * self.configuration.interval);
        let bar = progress_bar(total, trainer.step);
        if trainer.step == 0 {
            self.record(&trainer)?;
        }
        while trainer.step < total && !interrupted.load(Ordering::Relaxed) {
            trainer = trainer.step(self.configuration);
            bar.set_position(trainer.step);
            if trainer.step.is_multiple_of(interval) || trainer.step == total {
                self.record(&trainer)?;
                if let Some((_, row, _)) = &self.last {
                    let gap = row.measurement.gap.map_or_else(|| "unknown".into(), |gap| format!("{gap:.2e}"));
                    bar.set_message(format!("epoch {}, gap {gap}", row.epoch));
                }
            }
        }
        bar.finish_and_clear();
        // Where an interruption came between two measurements, or a run goes on that was over.
        if self.last.as_ref().is_none_or(|&(step, ..)| step != trainer.step) {
            self.measure(&trainer)?;
            self.save(&trainer)?;
        }
        Ok(trainer.step)
    }

    /// Measures, appends the measurement to the file, and saves the state, in this order: what a checkpoint stands for
    /// has been measured.
    fn record(&mut self, trainer: &Trainer) -> Result<()> {
        let row = self.measure(trainer)?;
        self.history.append(row.clone())?;
        self.save(trainer)
    }

    fn measure(&mut self, trainer: &Trainer) -> Result<Row> {
        let start = Instant::now();
        let epoch = trainer.step as f64 / self.configuration.steps_per_epoch(self.set.labels.len()) as f64;
        let state = trainer.state()?;
        let snapshot = if is_finite(&state) {
            let snapshot = self.judge.measure(&state, &self.set.labels)?;
            self.check(epoch, snapshot.measurement.objective)?;
            snapshot
        } else {
            self.check(epoch, f64::NAN)?;
            bail!("epoch {epoch}: a weight is not finite")
        };
        let seconds = self.before + self.clock.elapsed().as_secs_f64();
        let row = Row { epoch, measurement: snapshot.measurement.clone(), seconds };
        self.last = Some((trainer.step, row.clone(), snapshot));
        self.measuring += start.elapsed();
        Ok(row)
    }

    /// Whether training has diverged.
    fn check(&self, epoch: f64, objective: f64) -> Result<()> {
        let start = self.history.rows.first().map_or(self.at_zero, |row| row.measurement.objective.max(self.at_zero));
        // Written so that NaN fails.
        if objective < DIVERGED * start {
            return Ok(());
        }
        let kept = match self.history.rows.last() {
            Some(row) => format!("the state of epoch {} is kept in {}", row.epoch, self.files.checkpoint.display()),
            None => "no state is kept".into(),
        };
        bail!(
            "epoch {epoch}: training has diverged, the objective is {objective:e}; {kept}; a --learning-rate below {:e} \
             is needed",
            self.configuration.learning_rate
        )
    }

    fn save(&mut self, trainer: &Trainer) -> Result<()> {
        let start = Instant::now();
        let seconds = self.before + self.clock.elapsed().as_secs_f64();
        checkpoint::save(&self.files.checkpoint, self.configuration, trainer, seconds)?;
        self.saving += start.elapsed();
        Ok(())
    }

    /// The figures of what there is.
    fn draw(&self) -> Result<()> {
        let Some((_, row, snapshot)) = &self.last else { return Ok(()) };
        let mut rows = self.history.rows.clone();
        // An interruption between two measurements.
        if rows.last().is_none_or(|last| last.epoch < row.epoch) {
            rows.push(row.clone());
        }
        figures::training(&self.files.training, self.judge.groups(), &rows)?;
        // Without a target there is nothing to compare with.
        snapshot.target.as_ref().map_or(Ok(()), |target| figures::geometry(&self.files.geometry, target, snapshot))
    }
}

/// About the objective where all weights are zero, for class weights whose mean is 1: half of the one 1 of every label,
/// squared, or the entropy of classes that are equally likely.
fn at_zero(ufm: &Ufm) -> f64 {
    if ufm.loss() == Loss::CrossEntropy { (ufm.outputs() as f64).ln().max(0.5) } else { 0.5 }
}

fn progress_bar(total: u64, done: u64) -> ProgressBar {
    let bar = if io::stderr().is_terminal() { ProgressBar::new(total) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {rate}, {eta} left, {msg}") {
        let rate = |state: &ProgressState, to: &mut dyn fmt::Write| {
            // Go on if the bar cannot be written.
            write!(to, "{:.1} steps a second", state.per_sec()).unwrap_or_default();
        };
        bar.set_style(style.with_key("rate", rate));
    }
    bar.set_position(done);
    bar.reset_eta();
    bar
}

fn is_finite(state: &State) -> bool {
    state.features.iter().all(|x| x.is_finite())
        && state.layers.iter().all(neural_collapse::faer::Mat::is_all_finite)
        && state.bias.iter().flatten().all(|x| x.is_finite())
}

//! A run from the command line to its figures.

mod bar;
mod files;

use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use indicatif::MultiProgress;
use neural_collapse::{Loss, Ufm};

use self::{
    bar::progress_bar,
    files::{Files, prepare},
};
use crate::{
    checkpoint,
    configuration::Configuration,
    data::TrainingSet,
    figures,
    flags::Flags,
    history::{Columns, History, Row},
    measure::{Judge, Snapshot, State},
    network::Shape,
    report::{self, Times},
    target::Target,
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
    /// As in [`Finished`], once the last step is done.
    nearby: Option<Target>,
    clock: Instant,
    /// Seconds before the checkpoint that the run went on from.
    before: f64,
    measuring: Duration,
    saving: Duration,
}

/// A run before its first step: what it learns, how, and what it is compared with.
#[derive(Debug)]
pub struct Plan {
    /// What is learned.
    pub set: TrainingSet,
    /// How.
    pub configuration: Configuration,
    /// What networks are compared with.
    pub judge: Judge,
    ufm: Ufm,
    shape: Shape,
}

/// A run that has come to its end, or was interrupted.
#[derive(Debug)]
pub struct Finished {
    /// All measurements.
    pub rows: Vec<Row>,
    /// The last one, and what figures show next to it.
    pub snapshot: Snapshot,
    /// Where a descent ends that starts at the network, if there is no theory for its model.
    pub nearby: Option<Target>,
    /// What to tell of the end.
    pub report: String,
}

/// Runs what the command line says, and ends early, with all that there is, once `interrupted` is true. Returns what to
/// tell of the end; the beginning is on the standard output.
///
/// # Errors
///
/// Bad input, files that cannot be written, and training that diverges: its last good state is kept.
pub fn run(flags: &Flags, interrupted: &AtomicBool) -> Result<String> {
    let finished = on_threads(flags.threads, || {
        let plan = Plan::new(flags)?;
        plan.train(flags, &MultiProgress::new(), interrupted, |beginning| {
            // Train on, even if nobody reads the output any more.
            writeln!(io::stdout(), "{beginning}").unwrap_or_default();
            Ok(())
        })
    })?;
    Ok(finished.report)
}

/// Calls `work` in a pool of so many threads; one a core where no number is given.
///
/// # Errors
///
/// Those of `work`, no threads, and more than the machine can start.
pub fn on_threads<T: Send>(threads: Option<usize>, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let threads = threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    ensure!(threads > 0, "--threads: 0 given, at least 1 is accepted");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.with_context(|| format!("--threads {threads}"))?.install(work)
}

impl Plan {
    /// What these flags say.
    ///
    /// # Errors
    ///
    /// Bad input.
    pub fn new(flags: &Flags) -> Result<Self> {
        let set = flags.training_set()?;
        let configuration = flags.configuration(&set)?;
        let ufm = configuration.ufm(&set.counts)?;
        let judge = Judge::new(&configuration, &set.counts)?;
        let shape = configuration.shape(&set)?;
        Ok(Self { set, configuration, judge, ufm, shape })
    }

    /// Trains to the last epoch, or until `interrupted` is true; `begin` gets what there is to say before.
    ///
    /// # Errors
    ///
    /// As [`run`].
    pub fn train(
        &self,
        flags: &Flags,
        bars: &MultiProgress,
        interrupted: &AtomicBool,
        begin: impl FnOnce(&str) -> Result<()>,
    ) -> Result<Finished> {
        let Self { set, configuration, judge, ufm, shape } = self;
        let columns = Columns::new(judge.groups(), ufm.depth());
        let files = Files::new(&flags.out);
        prepare(flags, &files)?;
        let mut trainer = Trainer::new(configuration, shape, ufm, set, &flags.device());
        let (mut before, mut rows) = (0.0, Vec::new());
        if flags.resume {
            (trainer, before) = checkpoint::load(&files.checkpoint, configuration, trainer).context("--resume")?;
            let epochs = trainer.step as f64 / configuration.steps_per_epoch(set.labels.len()) as f64;
            rows = History::read(&files.metrics, &columns).context("--resume")?;
            // What came after the checkpoint comes again.
            rows.retain(|row| row.epoch <= epochs);
        }
        begin(&report::beginning(configuration, flags.given_decays(), set, judge, trainer.step))?;
        let history = History::create(&files.metrics, &columns, rows).context("--out")?;
        let mut run = Run {
            configuration,
            set,
            judge,
            at_zero: at_zero(ufm),
            files,
            history,
            last: None,
            nearby: None,
            clock: Instant::now(),
            before,
            measuring: Duration::ZERO,
            saving: Duration::ZERO,
        };
        let first = trainer.step;
        let ended = run.train(trainer, bars, interrupted);
        run.draw()?;
        let steps = ended? - first;
        let times = Times { all: run.clock.elapsed(), measuring: run.measuring, saving: run.saving };
        let (rows, nearby) = (run.rows(), run.nearby.take());
        let (_, row, snapshot) = run.last.context("nothing has been measured")?;
        let report =
            report::ending(configuration, judge, &row, &snapshot, nearby.as_ref(), steps, times) + &run.files.list();
        Ok(Finished { rows, snapshot, nearby, report })
    }
}

impl Run<'_> {
    /// To the last epoch or to an interruption; the step reached.
    fn train(&mut self, mut trainer: Trainer, bars: &MultiProgress, interrupted: &AtomicBool) -> Result<u64> {
        let steps = self.configuration.steps_per_epoch(self.set.labels.len());
        let (total, interval) = (steps * self.configuration.epochs, steps * self.configuration.interval);
        let bar = bars.add(progress_bar(total, trainer.step));
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
        if let Some((.., snapshot)) = &self.last {
            self.nearby = self.judge.nearby(&trainer.state()?, &snapshot.means)?;
        }
        Ok(trainer.step)
    }

    /// Measures, appends the measurement to the file, and saves the state, in this order: what a checkpoint stands for
    /// has been measured.
    fn record(&mut self, trainer: &Trainer) -> Result<()> {
        // A card is still at work on the steps: that is not time of measuring.
        trainer.wait()?;
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

    /// All measurements, the last one with them where an interruption came between two.
    fn rows(&self) -> Vec<Row> {
        let mut rows = self.history.rows.clone();
        let last = self.last.as_ref().map(|(_, row, _)| row);
        rows.extend(last.filter(|row| rows.last().is_none_or(|last| last.epoch < row.epoch)).cloned());
        rows
    }

    /// The figures of what there is.
    fn draw(&self) -> Result<()> {
        let Some((_, _, snapshot)) = &self.last else { return Ok(()) };
        figures::training(&self.files.training, self.judge.groups(), &self.rows())?;
        // Without a target there is nothing to compare with.
        snapshot.target.as_ref().map_or(Ok(()), |target| figures::geometry(&self.files.geometry, target, snapshot))
    }
}

/// About the objective where all weights are zero, for class weights whose mean is 1: half of the one 1 of every label,
/// squared, or the entropy of classes that are equally likely.
fn at_zero(ufm: &Ufm) -> f64 {
    if ufm.loss() == Loss::CrossEntropy { (ufm.outputs() as f64).ln().max(0.5) } else { 0.5 }
}

fn is_finite(state: &State) -> bool {
    state.features.iter().all(|x| x.is_finite())
        && state.layers.iter().all(neural_collapse::faer::Mat::is_all_finite)
        && state.bias.iter().flatten().all(|x| x.is_finite())
}

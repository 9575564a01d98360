//! The experiments of `results`, each with one command: what is claimed, which networks show it, what came of them.

mod claims;
mod figure;
mod summary;

use std::{
    fs,
    io::{self, Write},
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::MultiProgress;

pub use self::claims::Claim;
use self::{claims::Trial, summary::Summary};
use crate::{
    device::Place,
    flags::Flags,
    report,
    run::{Finished, Plan, on_threads},
};

/// Where the results of a claim go without `--out`.
const FOLDERS: [(&str, &str, &str); 7] = [
    ("claim", "a", "target/reproduce/a"),
    ("claim", "b", "target/reproduce/b"),
    ("claim", "c", "target/reproduce/c"),
    ("claim", "d", "target/reproduce/d"),
    ("claim", "d-open", "target/reproduce/d-open"),
    ("claim", "e", "target/reproduce/e"),
    ("claim", "f", "target/reproduce/f"),
];

/// The networks of one claim. The same command goes on after an interruption.
#[derive(Args, Clone, Debug)]
pub struct Reproduce {
    /// The claim
    #[arg(value_enum)]
    claim: Claim,
    /// Images, as for a single run; the committed results have cifar10, and for b and c letters in idx files
    #[arg(long, num_args = 1.., value_name = "SET [PATH]", default_value = "digits")]
    data: Vec<String>,
    /// Networks of every kind
    #[arg(long, allow_hyphen_values = true, default_value_t = 3)]
    seeds: u64,
    /// Width of all layers
    #[arg(long, allow_hyphen_values = true, default_value_t = 128)]
    width: usize,
    /// Epochs of every network [default: those of the claim]
    #[arg(long, allow_hyphen_values = true)]
    epochs: Option<u64>,
    /// Epochs between measurements and checkpoints
    #[arg(long, allow_hyphen_values = true, default_value_t = 10)]
    interval: u64,
    /// Learning rate [default: that of the claim, for a width of 128; Adam at a width of 512 needs 3e-4 or less]
    #[arg(long, allow_hyphen_values = true)]
    learning_rate: Option<f64>,
    /// Where to train
    #[arg(long, value_enum, default_value_t = Place::Cpu)]
    device: Place,
    /// Networks that are trained at the same time, each on one thread [default: one a core]
    #[arg(long, allow_hyphen_values = true)]
    jobs: Option<usize>,
    // Claims have networks of the same name: each needs a folder of its own. Rustdoc takes <CLAIM> for HTML.
    #[arg(
        long,
        help = "Folder of the results: one for each network, summary.csv and claim.svg [default: \
                target/reproduce/<CLAIM>]",
        value_name = "FOLDER",
        required = false,
        default_value_ifs = FOLDERS
    )]
    out: PathBuf,
}

/// A network of a claim before it is trained.
struct Network {
    trial: Trial,
    seed: u64,
    flags: Flags,
    plan: Plan,
}

/// Does what the command line says, and returns what to tell of the end. What the theory predicts comes before, on the
/// standard output.
///
/// # Errors
///
/// Bad input, files that cannot be written, a network that diverges.
pub fn reproduce(command: &Reproduce, interrupted: &AtomicBool) -> Result<String> {
    ensure!(command.seeds > 0, "--seeds: 0 given, at least 1 is accepted");
    let jobs = command.jobs.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    ensure!(jobs > 0, "--jobs: 0 given, at least 1 is accepted");
    let networks = command.networks()?;
    let predicted = summary::predictions(&networks);
    // Train on, even if nobody reads the output any more.
    writeln!(io::stdout(), "{}\n\nPredicted:\n\n{predicted}", command.claim.text()).unwrap_or_default();
    let Some(finished) = train_all(&networks, jobs, interrupted)? else {
        return Ok("interrupted: the same command goes on\n".into());
    };
    let both = networks.iter().zip(&finished);
    let summaries = both.map(|(network, finished)| Summary::new(network, finished)).collect::<Result<Vec<_>>>()?;
    let (table, figure) = (command.out.join("summary.csv"), command.out.join("claim.svg"));
    summary::write(&table, &summaries)?;
    figure::draw(&figure, command.claim, &networks, &finished)?;
    let found = summary::markdown(&summaries);
    Ok(format!("Found:\n\n{found}\nwritten {} and {}\n", table.display(), figure.display()))
}

impl Reproduce {
    fn networks(&self) -> Result<Vec<Network>> {
        let mut networks = Vec::new();
        for trial in self.claim.trials(&self.data)? {
            for seed in 0..self.seeds {
                networks.push(self.network(&trial, seed)?);
            }
        }
        Ok(networks)
    }

    fn network(&self, trial: &Trial, seed: u64) -> Result<Network> {
        let Self { width, data, interval, .. } = self;
        let mut trial = trial.clone();
        trial.epochs = self.epochs.unwrap_or(trial.epochs);
        trial.rate = self.learning_rate.unwrap_or(trial.rate);
        let (epochs, others) = (trial.epochs, trial.all_flags());
        let own = format!("--epochs {epochs} --width {width} --seed {seed} --interval {interval} --threads 1 {others}");
        let mut flags = claims::flags(data, &own)?;
        flags.device = self.device;
        flags.out = self.out.join(format!("{}-seed{seed}", trial.name));
        // Where an interruption came before the first checkpoint there is nothing to go on from.
        flags.resume = flags.out.join("checkpoint.safetensors").exists();
        flags.overwrite = !flags.resume;
        let plan = Plan::new(&flags)?;
        Ok(Network { trial, seed, flags, plan })
    }
}

/// Trains so many networks at a time, each on one thread; `None` if it was interrupted.
fn train_all(networks: &[Network], jobs: usize, interrupted: &AtomicBool) -> Result<Option<Vec<Finished>>> {
    let (bars, next) = (MultiProgress::new(), AtomicUsize::new(0));
    let results: Vec<Mutex<Option<Result<Finished>>>> = networks.iter().map(|_| Mutex::new(None)).collect();
    thread::scope(|scope| {
        for _ in 0..jobs.min(networks.len()) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let network = networks.get(index).filter(|_| !interrupted.load(Ordering::Relaxed));
                    let Some(network) = network else { return };
                    let result = network.train(&bars, interrupted);
                    // One that has failed ends all: its error is told, and the others can go on later.
                    interrupted.fetch_or(result.is_err(), Ordering::Relaxed);
                    if let Ok(mut place) = results[index].lock() {
                        *place = Some(result);
                    }
                }
            });
        }
    });
    let results: Vec<_> = results.into_iter().filter_map(|place| place.into_inner().ok().flatten()).collect();
    let finished = results.into_iter().collect::<Result<Vec<_>>>()?;
    let is_whole = finished.len() == networks.len() && !interrupted.load(Ordering::Relaxed);
    Ok(is_whole.then_some(finished))
}

impl Network {
    fn name(&self) -> String {
        format!("{}, seed {}", self.trial.name, self.seed)
    }

    fn train(&self, bars: &MultiProgress, interrupted: &AtomicBool) -> Result<Finished> {
        let path = self.flags.out.join("report.txt");
        let was_over = fs::read_to_string(&path).is_ok_and(|text| text.contains(report::OVER));
        let write = |text: &str| {
            // The report of a run that is over has its time.
            if was_over { Ok(()) } else { fs::write(&path, text).with_context(|| path.display().to_string()) }
        };
        let train = || {
            let mut said = String::new();
            let finished = self.plan.train(&self.flags, bars, interrupted, |beginning| {
                beginning.clone_into(&mut said);
                write(&said)
            })?;
            write(&(said + "\n" + &finished.report))?;
            Ok(finished)
        };
        on_threads(Some(1), train).with_context(|| self.name())
    }
}

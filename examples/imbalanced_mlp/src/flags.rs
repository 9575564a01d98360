//! The command line.

use std::{path::PathBuf, str::FromStr};

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::Device;
use clap::{Parser, Subcommand, ValueEnum};
use neural_collapse::ClassCounts;

use crate::{
    configuration::Configuration,
    data::{Source, TrainingSet},
    decay_flags::DecayFlags,
    device::Place,
    loss_flags::LossFlags,
    optimizer::{EPSILON, Rule},
    reproduce::Reproduce,
};

/// Layers that a linear network may have: a slip of the finger must not ask for all memory.
const MOST_LAYERS: usize = 1000;

/// Measurements of a run where no interval is given.
const MEASUREMENTS: u64 = 200;

/// Trains a network on imbalanced real images, and compares its last layers with what the theory says.
///
/// A multilayer perceptron with six hidden layers makes features H of images, L linear layers make outputs of features.
/// Training minimizes the loss plus sum_l lambda_l/2 |W_l|^2 + lambda_H/2 |H|^2, with the squared loss or cross-entropy
/// (--loss). The theory gives the minimum of that over all features, and what the linear layers and the class means look
/// like there, from the class counts and the decays alone: how close does a network come?
#[derive(Clone, Debug, Parser)]
// Flags are switches.
#[allow(clippy::struct_excessive_bools)]
#[command(name = "imbalanced-mlp", version, max_term_width = 100)]
#[command(after_help = "Examples:
  the digits that come with the program, seconds:
    imbalanced-mlp
  the CIFAR-10 profile of the paper, from the folder of the official binary files:
    imbalanced-mlp --data cifar10 cifar-10-batches-bin --width 512 --epochs 12000 --learning-rate 1e-4 --drop-at 0.5 \\
      --out results/cifar10
  the letters profile of the paper, from two files in the format of EMNIST:
    imbalanced-mlp --data idx images.gz labels.gz --profile emnist-letters --width 512 --epochs 12000 \\
      --learning-rate 1e-4 --drop-at 0.5 --out results/letters
  cross-entropy with class weights, on the digits:
    imbalanced-mlp --loss cross-entropy --class-weights inverse-root
  all networks of one claim, and what came of them:
    imbalanced-mlp reproduce b
  going on after an interruption: the same command with --resume")]
#[command(args_conflicts_with_subcommands = true)]
pub struct Flags {
    /// What to do instead of a single run
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Images: `digits` (1,797 of UCI, built in), `cifar10 PATH...` (files in the official binary layout, or their
    /// folder), or `idx IMAGES LABELS` (two files in the format of MNIST and EMNIST, compressed by gzip or not)
    #[arg(long, num_args = 1.., value_name = "SET [PATH]", default_value = "digits")]
    data: Vec<String>,
    /// Samples of every class, for example 500,600x5,20: a class of 500, five of 600 and one of 20 [default: 30 to 150
    /// in five steps for digits, the paper's 100 to 500 for cifar10]
    #[arg(long, allow_hyphen_values = true, conflicts_with = "profile")]
    counts: Option<String>,
    /// Class counts of the paper
    #[arg(long, value_enum)]
    profile: Option<Profile>,
    /// Width of all layers, the feature dimension among them
    #[arg(long, allow_hyphen_values = true, default_value_t = 128)]
    width: usize,
    /// Linear layers L after the features
    #[arg(long, allow_hyphen_values = true, default_value_t = 1)]
    layers: usize,
    #[command(flatten)]
    decays: DecayFlags,
    /// No bias in the last layer
    #[arg(long)]
    no_bias: bool,
    #[command(flatten)]
    loss: LossFlags,
    /// How weights move: adam, adamw (needs --weight-decay) or sgd, with a momentum of 0.9
    #[arg(long, default_value_t = Rule::Adam)]
    optimizer: Rule,
    /// The epsilon of Adam. 1e-6 was tried against jumps from the minimum and did not help
    #[arg(long, allow_hyphen_values = true, default_value_t = EPSILON)]
    epsilon: f64,
    /// Learning rate; Adam at a width of 512 needs 3e-4 or less, SGD takes 0.01 to 0.1
    #[arg(long, allow_hyphen_values = true, default_value = "1e-3")]
    learning_rate: f64,
    /// Shares of the run after which the learning rate falls to a tenth; `never` keeps it
    #[arg(long, allow_hyphen_values = true, value_delimiter = ',', default_value = "0.5,0.75")]
    drop_at: Vec<String>,
    /// Samples of a step, or `full` for all of them
    #[arg(long, allow_hyphen_values = true, default_value = "128")]
    batch: Batch,
    /// Epochs; the paper's are 12000
    #[arg(long, allow_hyphen_values = true, default_value_t = 1000)]
    epochs: u64,
    /// Epochs between measurements and checkpoints [default: 200 measurements a run]
    #[arg(long, allow_hyphen_values = true)]
    interval: Option<u64>,
    /// Seed of the weights, of the order of samples, and of which are taken from idx files
    #[arg(long, allow_hyphen_values = true, default_value_t = 0)]
    seed: u64,
    /// Threads [default: one a core]
    #[arg(long, allow_hyphen_values = true)]
    pub(crate) threads: Option<usize>,
    /// Where to train
    #[arg(long, value_enum, default_value_t = Place::Cpu)]
    pub(crate) device: Place,
    /// Folder of the results: metrics.csv, training.svg, geometry.svg and checkpoint.safetensors
    #[arg(long, value_name = "FOLDER", default_value = "target/imbalanced-mlp")]
    pub(crate) out: PathBuf,
    /// Go on from the checkpoint in the folder of the results
    #[arg(long)]
    pub(crate) resume: bool,
    /// Start again, and replace the run in the folder of the results
    #[arg(long, conflicts_with = "resume")]
    pub(crate) overwrite: bool,
}

/// What else there is to do.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Trains all networks of one claim, and compares them with what the theory says before
    Reproduce(Reproduce),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Profile {
    /// Two classes each of 500, 400, 300, 200 and 100
    Cifar10,
    /// One class of 1500, five of 600, twenty of 50
    EmnistLetters,
}

/// Samples of a step.
#[derive(Clone, Copy, Debug)]
enum Batch {
    Full,
    Of(usize),
}

impl FromStr for Batch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "full" => Ok(Self::Full),
            Ok(size) if size > 0 => Ok(Self::Of(size)),
            _ => Err("a whole number from 1 on, or `full`, is accepted".into()),
        }
    }
}

impl Flags {
    /// The training set.
    ///
    /// # Errors
    ///
    /// Names the flag, or the file, and what is accepted.
    pub fn training_set(&self) -> Result<TrainingSet> {
        let source = Source::from_words(&self.data)?;
        source.load(&self.class_counts(&source)?, self.seed)
    }

    fn class_counts(&self, source: &Source) -> Result<ClassCounts> {
        match (&self.counts, self.profile) {
            (Some(counts), _) => counts.parse().context("--counts"),
            (None, Some(Profile::Cifar10)) => Ok(ClassCounts::paper_cifar10()),
            (None, Some(Profile::EmnistLetters)) => Ok(ClassCounts::paper_emnist_letters()),
            (None, None) => source.default_counts().context("--data idx: --counts or --profile is needed"),
        }
    }

    /// What to do with a training set.
    ///
    /// # Errors
    ///
    /// Names the flag and what it accepts.
    pub fn configuration(&self, set: &TrainingSet) -> Result<Configuration> {
        let positive = |flag: &str, value: u64| match value {
            0 => bail!("{flag}: 0 given, at least 1 is accepted"),
            _ => Ok(value),
        };
        positive("--width", self.width as u64)?;
        ensure!(
            (1..=MOST_LAYERS).contains(&self.layers),
            "--layers: {} given, 1 to {MOST_LAYERS} are accepted",
            self.layers
        );
        let samples = set.labels.len();
        let epochs = positive("--epochs", self.epochs)?;
        let rate = self.learning_rate;
        ensure!(rate > 0.0 && rate.is_finite(), "--learning-rate: {rate} given, positive finite numbers are accepted");
        let epsilon = self.epsilon;
        ensure!(
            epsilon > 0.0 && epsilon.is_finite(),
            "--epsilon: {epsilon} given, positive finite numbers are accepted"
        );
        self.decays.check_optimizer(self.optimizer)?;
        let decays = self.decays.decays(self.layers, self.loss.loss, &set.counts)?;
        Ok(Configuration {
            counts: set.counts.to_string(),
            data_checksum: set.checksum,
            width: self.width,
            layer_decay: decays.layers,
            feature_decay: decays.features,
            bias: !self.no_bias,
            bias_decay: decays.bias,
            relu_features: self.loss.relu_features,
            loss: self.loss.loss.to_string(),
            class_weights: match self.loss.class_weights(&set.counts)? {
                weights if weights.iter().all(|weight| *weight == 1.0) => Vec::new(),
                weights => weights,
            },
            label_smoothing: self.loss.label_smoothing,
            logit_adjustment: self.loss.logit_adjustment,
            ldam: self.loss.ldam,
            cdt: self.loss.cdt,
            optimizer: self.optimizer,
            epsilon: self.epsilon,
            weight_decay: self.decays.weight_decay,
            decay_ramp: decays.ramp,
            learning_rate: rate,
            drop_at: self.drops()?,
            batch: match self.batch {
                Batch::Full => samples,
                Batch::Of(size) => size.min(samples),
            },
            epochs,
            interval: positive("--interval", self.interval.unwrap_or(epochs.div_ceil(MEASUREMENTS)))?,
            seed: self.seed,
        })
    }

    /// Where to train.
    #[must_use]
    pub fn device(&self) -> Device {
        self.device.device()
    }

    /// The decays as they were given, if that was not in the units of the theory.
    pub(crate) fn given_decays(&self) -> Option<String> {
        self.decays.given()
    }

    fn drops(&self) -> Result<Vec<f64>> {
        if self.drop_at == ["never"] {
            return Ok(Vec::new());
        }
        let share = |text: &String| {
            let share = text.parse().ok().filter(|share: &f64| *share > 0.0 && *share < 1.0);
            share
                .with_context(|| format!("--drop-at: {text:?} given, numbers between 0 and 1 and `never` are accepted"))
        };
        self.drop_at.iter().map(share).collect()
    }
}

//! The flags that say which model: shared by the programs that take one.

use std::{
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Args;
use neural_collapse::{ClassCounts, Error, FeatureConvention, Layer, LossConvention, TrainingConvention, Ufm};

use super::conventions::{MOST_LAYERS, explained, features, losses};

/// A model on the command line.
#[derive(Args)]
pub(crate) struct ModelFlags {
    #[command(flatten)]
    counts: Counts,
    /// Widths d_1,...,d_L: what each linear layer reads, the feature dimension first; one value serves all layers
    #[arg(long, allow_hyphen_values = true, value_delimiter = ',', required = true)]
    widths: Vec<usize>,
    /// Decays lambda_1,...,lambda_L of the linear layers; one value serves all layers
    #[arg(long, allow_hyphen_values = true, value_delimiter = ',', required = true)]
    layer_decay: Vec<f64>,
    /// Number of linear layers L, where widths and decays are single values [default: as many as there are values]
    #[arg(long, allow_hyphen_values = true)]
    layers: Option<usize>,
    /// Decay lambda_H of the features
    #[arg(long, allow_hyphen_values = true)]
    feature_decay: f64,
    /// How the loss that the decays belong to scales the squared error; the objective shown is that of the theory
    #[arg(long, value_parser = losses(), default_value = "half-sum")]
    loss_convention: LossConvention,
    /// How that loss scales the penalty of the features
    #[arg(long, value_parser = features(), default_value = "total")]
    feature_convention: FeatureConvention,
    /// No bias
    #[arg(long)]
    no_bias: bool,
}

/// One of the two.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Counts {
    /// Samples of every class, for example 500,600x5,20: a class of 500, five of 600 and one of 20
    #[arg(long, allow_hyphen_values = true)]
    counts: Option<String>,
    /// File with the samples of every class, separated by commas, spaces or line ends; - is standard input
    #[arg(long, value_name = "PATH")]
    counts_file: Option<PathBuf>,
}

impl ModelFlags {
    /// The model, or a message that names the flag.
    pub(crate) fn ufm(&self) -> Result<Ufm, String> {
        let counts = class_counts(&self.counts)?;
        let convention = TrainingConvention::new(self.loss_convention, self.feature_convention);
        let classes = counts.classes();
        let layers = layers(self, convention, classes)?;
        let feature_decay = convention
            .feature_decay(self.feature_decay, classes, counts.samples())
            .map_err(|error| format!("--feature-decay: {error}"))?;
        Ufm::new(counts, layers, feature_decay, !self.no_bias).map_err(explained)
    }
}

fn class_counts(counts: &Counts) -> Result<ClassCounts, String> {
    let (text, source) = match (&counts.counts, &counts.counts_file) {
        (Some(counts), _) => (counts.clone(), "--counts".into()),
        (None, Some(path)) => (read(path)?, format!("--counts-file {}", path.display())),
        (None, None) => return Err("one of --counts and --counts-file is needed".into()),
    };
    // Some editors begin a file with a byte order mark.
    text.trim_start_matches('\u{feff}').parse().map_err(|error: Error| format!("{source}: {error}"))
}

fn layers(flags: &ModelFlags, convention: TrainingConvention, classes: usize) -> Result<Vec<Layer>, String> {
    let depth = depth(flags)?;
    let at = |values: usize, l: usize| if values == 1 { 0 } else { l };
    let layer = |l: usize| {
        let decay = convention.layer_decay(flags.layer_decay[at(flags.layer_decay.len(), l)], classes);
        let decay = decay.map_err(|error| format!("--layer-decay: {error}"))?;
        Ok(Layer::new(flags.widths[at(flags.widths.len(), l)], decay))
    };
    (0..depth).map(layer).collect()
}

/// The number of layers: all lists of more than one value, and `--layers`, must agree.
fn depth(flags: &ModelFlags) -> Result<usize, String> {
    let depth = flags.layers.unwrap_or(flags.widths.len().max(flags.layer_decay.len()));
    if !(1..=MOST_LAYERS).contains(&depth) {
        return Err(format!("--layers: {depth} given, 1 to {MOST_LAYERS} are accepted"));
    }
    for (name, values) in [("--widths", flags.widths.len()), ("--layer-decay", flags.layer_decay.len())] {
        if values != 1 && values != depth {
            let layers = if depth == 1 { "1 layer".into() } else { format!("{depth} layers") };
            return Err(format!("{name}: {values} values given for {layers}, one value or one a layer is accepted"));
        }
    }
    Ok(depth)
}

fn read(path: &Path) -> Result<String, String> {
    let mut text = String::new();
    let result = if path == Path::new("-") {
        io::stdin().read_to_string(&mut text).map(drop)
    } else {
        std::fs::read_to_string(path).map(|read| text = read)
    };
    result.map(|()| text).map_err(|error| format!("--counts-file {}: {error}", path.display()))
}

//! The flags that say which model: shared by the programs that take one.

use std::path::PathBuf;

use clap::Args;
use neural_collapse::{ClassCounts, Error, FeatureConvention, Layer, LossConvention, TrainingConvention, Ufm};

use super::{
    conventions::{MOST_LAYERS, explained, features, losses},
    counts,
    loss_flags::LossFlags,
};

/// A model on the command line.
#[derive(Args)]
pub(crate) struct ModelFlags {
    #[command(flatten)]
    counts: Counts,
    /// The column of a table with the counts: its name in the first line, or its index from 0
    ///
    /// The table is CSV, separated by commas, semicolons or tabs, or has columns between spaces.
    #[arg(
        long,
        allow_hyphen_values = true,
        value_name = "NAME|INDEX",
        requires = "counts_file",
        conflicts_with = "counts"
    )]
    counts_column: Option<String>,
    /// Widths d_1,...,d_L: what each linear layer reads, the feature dimension first; one value serves all layers
    #[arg(long, allow_hyphen_values = true, value_delimiter = ',', required = true)]
    widths: Vec<usize>,
    /// Decays lambda_1,...,lambda_L of the linear layers; one value serves all layers
    #[arg(long, allow_hyphen_values = true, value_delimiter = ',', required = true)]
    layer_decay: Vec<f64>,
    /// Number of linear layers L, if widths and decays are single values [default: the number of values]
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
    #[command(flatten)]
    loss: LossFlags,
}

/// One of the two.
#[derive(Args)]
#[group(required = true, multiple = false)]
struct Counts {
    /// Samples of every class, for example 500,600x5,20: a class of 500, five of 600 and one of 20
    #[arg(long, allow_hyphen_values = true)]
    counts: Option<String>,
    /// File with the samples of every class, in the order of the classes; - is standard input
    ///
    /// Text with whole numbers separated by commas, spaces or line ends (500, 600x5, 310.0, 3.1e2), under one line of
    /// header or none; or a JSON list, [500, 400]; or a column of a table, with --counts-column. Separators between
    /// thousands, leading zeros and ids of classes are refused: docs/counts.md.
    #[arg(long, value_name = "PATH")]
    counts_file: Option<PathBuf>,
}

impl ModelFlags {
    /// The model, or a message that names the flag.
    pub(crate) fn ufm(&self) -> Result<Ufm, String> {
        self.loss.check_convention(self.loss_convention)?;
        let counts = class_counts(&self.counts, self.counts_column.as_deref())?;
        let convention = TrainingConvention::new(self.loss_convention, self.feature_convention);
        let classes = counts.classes();
        let layers = layers(self, convention, classes)?;
        let feature_decay = convention
            .feature_decay(self.feature_decay, classes, counts.samples())
            .map_err(|error| format!("--feature-decay: {error}"))?;
        let targets = self.loss.targets(counts)?;
        self.loss.apply(Ufm::new(targets, layers, feature_decay).map_err(explained)?, convention)
    }
}

fn class_counts(counts: &Counts, column: Option<&str>) -> Result<ClassCounts, String> {
    match (&counts.counts, &counts.counts_file) {
        // Some editors begin a file with a byte-order mark, and a shell hands it on.
        (Some(counts), _) => {
            counts.trim_start_matches('\u{feff}').parse().map_err(|error: Error| format!("--counts: {error}"))
        }
        (None, Some(path)) => counts::read(path, column),
        (None, None) => Err("one of --counts and --counts-file is needed".into()),
    }
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

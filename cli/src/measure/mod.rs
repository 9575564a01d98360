//! Has my training got there? Measures the last layers of any network, says which theory applies to it, with which
//! decays, and compares it with that: as a table for people, as JSON for scripts, as a figure.

mod arrays;
mod figure;
mod json;
mod labels;
mod network;
mod passes;
mod table;
mod training;

use std::path::PathBuf;

use clap::Args;
use network::Network;
use neural_collapse::{FeatureConvention, LossConvention};

use crate::shared::{conventions, loss_flags::LossFlags, svg_file};

/// Measures the last layers of a trained network, finds out which loss and which decays it was trained with, and compares
/// it with the optimum of its own class counts.
///
/// Arrays are FILE.npy, FILE.safetensors:TENSOR or, of a model in several files,
/// model.safetensors.index.json:TENSOR, as frameworks have them: layers (out, in), features with one sample a row, labels
/// from 0. Floats of 64 to 8 bits, bfloat16 among them, integers of any width, C or Fortran order; sides of 1 say
/// nothing. Features are read in batches, twice, or three times if
/// only class weights can explain them, and need not fit in memory; a pipe is copied to a temporary file.
///
/// No decays are needed: the arrays imply them. If you give what your code minimizes, loss and both penalties as it
/// scales them, the two are compared. Verdicts say how far a number is from its target. There are none if the arrays are
/// not those of the model, and no targets: lines that begin with a dash say why.
#[derive(Args)]
#[command(after_help = "In PyTorch, with `h` the features that the last layer reads, after training:
  numpy.save('W.npy', head.weight.detach().cpu())   # (classes, width)
  numpy.save('b.npy', head.bias.detach().cpu())
  numpy.save('H.npy', torch.cat(all_h).cpu())       # (samples, width), every training sample once
  numpy.save('y.npy', torch.cat(all_labels).cpu())

Example: what do the arrays say?
  neural-collapse measure --weights W.npy --bias b.npy --features H.npy --labels y.npy

The same with what training minimized: MSELoss, weight_decay=5e-4 on the last layer, 1e-5/2 times the mean of |h|^2 in the loss:
  neural-collapse measure --weights W.npy --bias b.npy --features H.npy --labels y.npy \\
    --layer-decay 5e-4 --loss-convention mean --feature-decay 1e-5 --feature-convention mean

What every line of the table means, with an example from training to figure: measure --explain and docs/measure.md")]
pub(crate) struct Flags {
    /// Weights W_1 ... W_L of the linear layers after the features, each (out, in), or their product alone
    #[arg(long, num_args = 1.., required = true, value_name = "ARRAY")]
    weights: Vec<String>,
    /// Bias of the last layer; none means a network without
    #[arg(long, value_name = "ARRAY")]
    bias: Option<String>,
    /// Features, samples x width: what the first of the layers reads, of every training sample; several files are one
    /// after another, a quoted pattern such as 'feat-*.npy' is its files in natural order, feat-2 before feat-10
    #[arg(long, num_args = 1.., required = true, value_name = "ARRAY")]
    features: Vec<String>,
    /// Labels: class numbers, one a sample, or one-hot rows; several files and patterns as for the features
    #[arg(long, num_args = 1.., required = true, value_name = "ARRAY")]
    labels: Vec<String>,
    /// The label of the first class
    #[arg(long, allow_hyphen_values = true, default_value_t = 0)]
    labels_from: i64,
    /// Weight decays mu of the layers, in mu/2 |W|^2 as the weight_decay of an optimizer; one value serves all layers.
    /// Without --feature-decay features are not penalized: then it is compared with what the arrays imply, and nothing else
    /// [default: what the arrays imply]
    #[arg(long, num_args = 1.., allow_negative_numbers = true, value_delimiter = ',')]
    layer_decay: Vec<f64>,
    /// Decay mu_H of the features, 0 if they are not penalized [default: what the arrays imply]
    #[arg(long, allow_hyphen_values = true)]
    feature_decay: Option<f64>,
    /// How the loss scales the squared error; needed with decays
    #[arg(long, value_parser = conventions::losses())]
    loss_convention: Option<LossConvention>,
    /// How the loss scales the penalty of the features; needed with a --feature-decay above 0
    #[arg(long, value_parser = conventions::features())]
    feature_convention: Option<FeatureConvention>,
    #[command(flatten)]
    loss: LossFlags,
    /// Number of linear layers L, where their product is given [default: the number of weights or of decays]
    #[arg(long)]
    layers: Option<usize>,
    /// Widths d_1,...,d_L of the layers, where their product is given [default: wide enough]
    #[arg(long, value_delimiter = ',')]
    widths: Option<Vec<usize>>,
    /// Compare with the optimum of the decays that are given even if the arrays deny it, as those of a network whose
    /// training has not ended; without verdicts
    #[arg(long, requires = "feature_decay")]
    anyway: bool,
    /// One JSON object instead of the table
    #[arg(long)]
    json: bool,
    /// The most classes for which --json has Gram matrices, five of K x K numbers
    #[arg(long, value_name = "K", default_value_t = 100, requires = "json")]
    gram_classes: usize,
    /// Print the formula of every line of the table, and nothing else
    #[arg(long, exclusive = true)]
    explain: bool,
    /// Write a figure of the Gram matrices and the singular values, predicted and measured
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

/// The formulas, for people.
const EXPLAIN: &str = include_str!("explain.md");

pub(crate) fn run(flags: &Flags) -> Result<String, String> {
    if flags.explain {
        return Ok(EXPLAIN.into());
    }
    if let Some(path) = &flags.plot {
        svg_file::check(path)?;
    }
    flags.check_decays()?;
    let network = Network::open(flags)?;
    let measurement = passes::passes(&network, flags.measuring(&network)?)?;
    if flags.loss.has_nonnegative_features() && !measurement.question.has_nonnegative_features() {
        return Err("--nonnegative-features: some features are negative".into());
    }
    if let Some(path) = &flags.plot {
        svg_file::write(path, &figure::render(&measurement))?;
    }
    Ok(if flags.json {
        format!("{}\n", json::as_json(&measurement, flags.gram_classes))
    } else {
        table::as_table(&measurement)
    })
}

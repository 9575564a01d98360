//! What a network hands over, and what is computed of it on the way.

use anyhow::Result;
use neural_collapse::{
    Error, Ufm,
    faer::{Mat, MatRef, Scale},
    metrics::{FeatureAccumulator, FeatureStatistics, ScatterAccumulator},
};

use crate::groups::compare;

/// Samples whose features are turned into outputs at a time.
const PANEL: usize = 1024;

/// The last layers of a network over the whole training set.
#[derive(Clone, Debug)]
pub struct State {
    /// W_1 .. W_L.
    pub layers: Vec<Mat<f64>>,
    /// b, if there is one.
    pub bias: Option<Vec<f64>>,
    /// The features of all samples, one after another: d_1 × N by columns.
    pub features: Vec<f32>,
}

/// Class means and the scatter about them: in two passes, which for few classes are cheaper than one.
pub(super) fn statistics(
    features: MatRef<'_, f32>,
    labels: &[usize],
    classes: usize,
) -> Result<FeatureStatistics, Error> {
    let mut first = FeatureAccumulator::new(features.nrows(), classes)?;
    first.add(features, labels)?;
    let mut second = ScatterAccumulator::new(first.finish())?;
    second.add(features, labels)?;
    second.finish()
}

/// W_{L:1}, from the left: K rows at every step.
pub(super) fn product(layers: &[Mat<f64>]) -> Mat<f64> {
    let mut layers = layers.iter().rev();
    let last = layers.next().map_or_else(Mat::new, Mat::clone);
    layers.fold(last, |product, weights| product * weights)
}

/// What samples of each class give each class on average, K × K with a column for each class of samples; and the
/// accuracy.
pub(super) fn outputs(
    ufm: &Ufm,
    product: &Mat<f64>,
    bias: Option<&[f64]>,
    features: MatRef<'_, f32>,
    labels: &[usize],
) -> (Mat<f64>, f64) {
    let classes = ufm.outputs();
    let (mut sums, mut counts, mut right) = (Mat::zeros(classes, classes), vec![0.0; classes], 0_usize);
    for start in (0..labels.len()).step_by(PANEL) {
        let labels = &labels[start..(start + PANEL).min(labels.len())];
        let panel = features.subcols(start, labels.len());
        let panel = Mat::from_fn(panel.nrows(), panel.ncols(), |i, j| f64::from(panel[(i, j)]));
        let outputs = product * panel;
        for (output, &label) in outputs.col_iter().zip(labels) {
            let output = output.iter().enumerate().map(|(k, &x)| x + bias.map_or(0.0, |bias| bias[k]));
            let mut output: Vec<f64> = output.collect();
            let best = output.iter().enumerate().fold(0, |best, (k, x)| if *x > output[best] { k } else { best });
            right += usize::from(best == label);
            counts[label] += 1.0;
            compare(ufm, label, &mut output);
            sums.col_mut(label).iter_mut().zip(output).for_each(|(sum, p): (&mut f64, f64)| *sum += p);
        }
    }
    for (mut sum, count) in sums.col_iter_mut().zip(counts) {
        sum *= Scale(1.0 / count);
    }
    (sums, right as f64 / labels.len() as f64)
}

//! The objective at a point of any form, panel by panel: written to be read, and not fast.

use faer::{Col, ColMut, Mat, prelude::ReborrowMut};

use super::columns::Column;
use crate::{
    linalg::memory::{slice, slice_mut},
    model::Ufm,
    parameters::Parameters,
};

/// Columns at a time: their outputs stay in the cache, for any number of samples.
const PANEL: usize = 256;

/// With the columns g_j of features, their weights s_j and their labels y_j:
///
/// ```text
/// f = 1/N Σ_j s_j² α_j l_j(W_L ··· W_1 g_j/s_j + b) + Σ_l λ_l/2 ‖W_l‖² + λ_H/2 ‖G‖² + λ_b/2 ‖b‖²
///   = 1/(2N) Σ_j ‖W_L ··· W_1 g_j + s_j (b - y_j)‖² + ...        for the squared loss, no weights
/// ```
pub(crate) fn objective(ufm: &Ufm, columns: &[Column], parameters: &Parameters) -> f64 {
    let mut fit = 0.0;
    for (i, panel) in columns.chunks(PANEL).enumerate() {
        let start = i * PANEL;
        let mut outputs = parameters.features.subcols(start, panel.len()).to_owned();
        for weights in &parameters.weights {
            outputs = weights * outputs;
        }
        if ufm.output_loss().is_plain_squared() {
            subtract_labels(&mut outputs, start, ufm, panel, parameters);
            fit += outputs.squared_norm_l2();
        } else {
            fit += 2.0 * losses(&mut outputs, start, ufm, panel, parameters);
        }
    }
    let weights = ufm.layers().iter().zip(&parameters.weights);
    let weights: f64 = weights.map(|(layer, weights)| 0.5 * (layer.decay * weights.squared_norm_l2())).sum();
    let features = 0.5 * (ufm.feature_decay() * parameters.features.squared_norm_l2());
    fit / (2.0 * ufm.samples() as f64) + weights + features + ufm.bias_penalty(parameters)
}

/// The sum of the losses of these columns, which are those from `start` on.
fn losses(outputs: &mut Mat<f64>, start: usize, ufm: &Ufm, columns: &[Column], parameters: &Parameters) -> f64 {
    let none = Col::zeros(ufm.outputs());
    let bias = slice(parameters.bias.as_ref().unwrap_or(&none).as_ref());
    let (loss, targets) = (ufm.output_loss(), ufm.targets());
    let outputs = outputs.col_iter_mut().zip(columns).enumerate();
    let of_column = |(j, (outputs, column)): (usize, (ColMut<'_, f64>, &Column))| {
        loss.of_column(column.label(targets, start + j), column.weight, bias, slice_mut(outputs))
    };
    outputs.map(of_column).sum()
}

/// `outputs` += s_j (b - y_j), the columns being those from `start` on.
fn subtract_labels(outputs: &mut Mat<f64>, start: usize, ufm: &Ufm, columns: &[Column], parameters: &Parameters) {
    let smoothing = ufm.targets().smoothing();
    for (j, (mut output, column)) in outputs.col_iter_mut().zip(columns).enumerate() {
        if let Some(bias) = &parameters.bias {
            output += faer::Scale(column.weight) * bias;
        }
        match (ufm.targets().as_matrix(), column.class) {
            (Some(targets), _) => output -= targets.col(start + j),
            (None, class) => {
                let everywhere = column.weight * smoothing / ufm.outputs() as f64;
                output.rb_mut().iter_mut().for_each(|entry| *entry -= everywhere);
                if let Some(class) = class {
                    output[class] -= column.weight * (1.0 - smoothing);
                }
            }
        }
    }
}

//! A network compared with the theory: everything that is measured, in `f64` and with the metrics of the crate.

use anyhow::Result;
use neural_collapse::{
    Error,
    faer::{Mat, MatRef},
    metrics::{Collapse, FeatureAccumulator, FeatureStatistics, ScatterAccumulator, network_collapse},
    theory::Minimizer,
};

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

/// What is measured. A number whose definition divides by zero is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// The objective (4.3).
    pub objective: f64,
    /// The objective above the minimum of the theory, relative to it.
    pub gap: f64,
    /// Variability within classes, in the paper's convention.
    pub nc1: Option<f64>,
    /// The distance of the classifiers' Gram matrix from that of the theory.
    pub nc2_classifier: Option<f64>,
    /// The same for class means.
    pub nc2_features: Option<f64>,
    /// The distance of the prediction from that of the theory.
    pub nc3: Option<f64>,
    /// The distance of the classifiers from the class means, as the theory turns one into the other.
    pub alignment: Option<f64>,
    /// The share of samples whose largest output is that of their class.
    pub accuracy: f64,
}

/// A measurement, and what figures show next to it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The numbers.
    pub measurement: Measurement,
    /// The classifiers W_{L:1}, K × d_1.
    pub product: Mat<f64>,
    /// The class means H̄, d_1 × K.
    pub means: Mat<f64>,
}

/// Measures a network whose samples have these classes.
///
/// # Errors
///
/// Features or weights that are not finite.
pub fn measure(minimizer: &Minimizer, state: &State, labels: &[usize]) -> Result<Snapshot> {
    let ufm = minimizer.ufm();
    let features = MatRef::from_column_major_slice(&state.features, ufm.feature_width(), labels.len());
    let statistics = statistics(features, labels, ufm.outputs())?;
    let product = product(&state.layers);
    let (fit, accuracy) = fit(&product, state.bias.as_deref(), features, labels);
    let layers = ufm.layers().iter().zip(&state.layers);
    let penalty: f64 = layers.map(|(layer, weights)| layer.decay / 2.0 * weights.squared_norm_l2()).sum();
    let objective = fit + penalty + ufm.feature_decay() / 2.0 * statistics.squared_norm();
    let optimum = minimizer.objective();
    let Collapse { nc1, nc2_classifier, nc2_features, nc3, alignment, .. } =
        network_collapse(&minimizer.clone().into(), product.as_ref(), &statistics)?;
    let gap = (objective - optimum) / if optimum > 0.0 { optimum } else { 1.0 };
    let measurement = Measurement { objective, gap, nc1, nc2_classifier, nc2_features, nc3, alignment, accuracy };
    Ok(Snapshot { measurement, product, means: statistics.class_means().to_owned() })
}

/// Class means and the scatter about them: in two passes, which for few classes are cheaper than one.
fn statistics(features: MatRef<'_, f32>, labels: &[usize], classes: usize) -> Result<FeatureStatistics, Error> {
    let mut first = FeatureAccumulator::new(features.nrows(), classes)?;
    first.add(features, labels)?;
    let mut second = ScatterAccumulator::new(first.finish())?;
    second.add(features, labels)?;
    second.finish()
}

/// W_{L:1}, from the left: K rows at every step.
fn product(layers: &[Mat<f64>]) -> Mat<f64> {
    let mut layers = layers.iter().rev();
    let last = layers.next().map_or_else(Mat::new, Mat::clone);
    layers.fold(last, |product, weights| product * weights)
}

/// 1/(2N) ‖W_{L:1} H + b 1ᵀ - Y‖², and the accuracy.
fn fit(product: &Mat<f64>, bias: Option<&[f64]>, features: MatRef<'_, f32>, labels: &[usize]) -> (f64, f64) {
    let (mut squares, mut right) = (0.0, 0_usize);
    for start in (0..labels.len()).step_by(PANEL) {
        let labels = &labels[start..(start + PANEL).min(labels.len())];
        let panel = features.subcols(start, labels.len());
        let panel = Mat::from_fn(panel.nrows(), panel.ncols(), |i, j| f64::from(panel[(i, j)]));
        let outputs = product * panel;
        for (output, &label) in outputs.col_iter().zip(labels) {
            let output = output.iter().enumerate().map(|(k, &x)| x + bias.map_or(0.0, |bias| bias[k]));
            let mut best = (0, f64::NEG_INFINITY);
            for (k, x) in output.enumerate() {
                squares += (x - f64::from(u8::from(k == label))).powi(2);
                best = if x > best.1 { (k, x) } else { best };
            }
            right += usize::from(best.0 == label);
        }
    }
    let samples = labels.len() as f64;
    (squares / (2.0 * samples), right as f64 / samples)
}

#[cfg(test)]
mod tests {
    use neural_collapse::{
        ClassCounts, Layer, Ufm,
        rand::{SeedableRng, rngs::Xoshiro256PlusPlus},
    };

    use super::*;

    /// All metrics vanish at any minimizer, the objective is the minimum, up to the rounding of features to f32.
    #[test]
    fn a_minimizer_is_one() {
        let ufm = Ufm::new("30x2,20,10x2".parse::<ClassCounts>().unwrap(), [Layer::new(16, 5e-3); 2], 1e-3).unwrap();
        let minimizer = ufm.minimizer().unwrap();
        let point = minimizer.random_parameters(&mut Xoshiro256PlusPlus::seed_from_u64(1)).unwrap();
        #[allow(clippy::cast_possible_truncation)]
        let features =
            point.features().col_iter().flat_map(|h| h.iter().map(|&x| x as f32).collect::<Vec<_>>()).collect();
        let state = State {
            layers: point.weights().to_vec(),
            bias: point.bias().map(|bias| bias.iter().copied().collect()),
            features,
        };
        let counts = ufm.class_counts().unwrap().counts();
        let labels: Vec<usize> = counts.iter().enumerate().flat_map(|(k, &n)| (0..n).map(move |_| k)).collect();
        let Measurement { gap, nc1, nc2_classifier, nc2_features, nc3, alignment, accuracy, .. } =
            measure(&minimizer, &state, &labels).unwrap().measurement;
        // Features of a class are rounded alike; their norms, and all metrics, are relative.
        let rounding = f64::from(f32::EPSILON);
        assert_eq!(nc1, Some(0.0));
        assert!(gap.abs() < rounding && accuracy == 1.0);
        assert!(nc2_classifier.unwrap() < 1e-14);
        for metric in [nc2_features, nc3, alignment] {
            assert!(metric.unwrap() < 2.0 * rounding, "{metric:?}");
        }
    }
}

//! What is measured of a network, in two passes over its features.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use neural_collapse::{
    ClassWeights, Error, Loss, Ufm,
    faer::{Col, Mat},
    linalg::dense_svd,
    metrics::{
        Assessment, FeatureAccumulator, FeatureStatistics, FrameDistances, GradientAccumulator, Nc1Convention,
        NearestCenter, NetworkGradient, ScatterAccumulator, effective_rank, frame_distances, row_sum, self_duality,
    },
};

use super::{
    Flags,
    arrays::{Batch, Features},
    contradictions,
    network::Network,
    question::Question,
    target::{Target, feature_mean},
};

/// Numbers of features in a batch; of wide features more, so that every core has whole panels of samples.
const BATCH: usize = 1 << 21;
const LARGEST_BATCH: usize = 1 << 23;
const FULL_PANELS: usize = 2048;

/// Everything that is measured, and what the theory has in its place.
pub(crate) struct Measurement {
    pub(crate) question: Question,
    pub(crate) nc1: [Option<f64>; 4],
    pub(crate) trace_ratio: Option<f64>,
    pub(crate) class_distance_normalized_variance: Option<f64>,
    pub(crate) disagreement: Option<f64>,
    pub(crate) accuracy: Option<f64>,
    pub(crate) center_accuracy: Option<f64>,
    pub(crate) row_sum: Option<f64>,
    /// √N ‖h_G‖/‖H̄ D‖: 0 at the optimum of a model with a bias, which takes the place of the mean.
    pub(crate) feature_mean: Option<f64>,
    pub(crate) classes: Classes,
    /// Class means that are not centered.
    pub(crate) plain_means: FrameDistances,
    /// Of the product, of the class means weighted by √n_k, and of all layers, if there is more than one.
    pub(crate) singular_values: Vec<SingularValues>,
    pub(crate) target: Option<Target>,
    /// Why there is none, if there is a model.
    pub(crate) without_target: Option<String>,
}

/// Classifiers and class means, with what the theory of balanced classes asks of them.
pub(crate) struct Classes {
    /// Gram matrices, K x K.
    pub(crate) classifier_gram: Mat<f64>,
    pub(crate) mean_gram: Mat<f64>,
    pub(crate) classifiers: FrameDistances,
    pub(crate) means: FrameDistances,
    pub(crate) self_duality: Option<f64>,
}

/// Of one block, by falling value.
pub(crate) struct SingularValues {
    pub(crate) block: String,
    pub(crate) values: Vec<f64>,
    pub(crate) effective_rank: Option<f64>,
}

/// What two passes, or three, have gathered.
struct Passes {
    statistics: FeatureStatistics,
    rules: NearestCenter,
    gradients: Vec<NetworkGradient>,
}

impl Measurement {
    pub(crate) fn new(network: &Network, flags: &Flags) -> Result<Self, String> {
        // What is wrong with the flags is said before the passes.
        let given = network.given_model(flags)?;
        let Passes { statistics, rules, mut gradients } =
            passes(network, network.readings(flags, &ClassWeights::None)?)?;
        let (mut weights, mut notes) = (ClassWeights::None, Vec::new());
        let mut assessment = Assessment::new(&gradients, &rules).map_err(|error| error.to_string())?;
        // Neither loss fits: perhaps its samples were weighted, as `class_weight="balanced"` does.
        let balanced = ClassWeights::Inverse;
        let is_open = assessment.fits().is_none() && *flags.loss.class_weights() == ClassWeights::None;
        if is_open && network.counts.imbalance_ratio() > 1.0 && network.has_all_layers(flags)? {
            let again = third_pass(network, network.readings(flags, &balanced)?)?;
            let other = Assessment::new(&again, &rules).map_err(|error| error.to_string())?;
            match (other.fits(), &given) {
                (Some(_), None) => (gradients, assessment, weights) = (again, other, balanced),
                (Some(_), Some(_)) => notes.push(contradictions::of_weights(&balanced)),
                _ => {}
            }
        }
        let question = Question::new(network, flags, given, gradients, assessment, &weights, notes)?;
        Self::of(network, flags, &statistics, &rules, question).map_err(|error| error.to_string())
    }

    fn of(
        network: &Network,
        flags: &Flags,
        statistics: &FeatureStatistics,
        rules: &NearestCenter,
        question: Question,
    ) -> Result<Self, Error> {
        let nc1 = |convention| statistics.nc1(convention);
        let (target, without_target) = match Target::new(network, flags, statistics, &question) {
            Ok(target) => (target, None),
            Err(why) => (None, Some(why)),
        };
        Ok(Self {
            nc1: [
                nc1(Nc1Convention::Global)?,
                nc1(Nc1Convention::UnweightedMean)?,
                nc1(Nc1Convention::WeightedClasses)?,
                nc1(Nc1Convention::Undivided)?,
            ],
            trace_ratio: statistics.trace_ratio()?,
            class_distance_normalized_variance: statistics.class_distance_normalized_variance()?,
            disagreement: rules.disagreement(),
            accuracy: rules.accuracy(),
            center_accuracy: rules.center_accuracy(),
            row_sum: row_sum(network.product.as_ref())?,
            feature_mean: feature_mean(&statistics.weighted_means(), &network.counts),
            classes: Classes::new(&network.product, &statistics.centered_means()?)?,
            plain_means: frame_distances(statistics.class_means())?,
            singular_values: singular_values(network, statistics)?,
            target,
            without_target,
            question,
        })
    }
}

/// Two passes over the features. Where few classes meet wide features the scatter is cheaper in the second, along the
/// directions that count; elsewhere it is gathered whole in the first.
fn passes(network: &Network, readings: Vec<Ufm>) -> Result<Passes, String> {
    let (classes, width) = network.product.shape();
    let is_narrow = 4 * classes < width;
    let text = |error: Error| error.to_string();
    let first = if is_narrow {
        FeatureAccumulator::new(width, classes)
    } else {
        FeatureAccumulator::with_scatter(width, classes)
    };
    let mut first = first.map_err(text)?;
    // Where it counts, see below.
    let mut is_nonnegative = !is_narrow;
    stream(&network.features, &network.labels, "class means", |batch, labels| match batch {
        Batch::Single(batch) => {
            is_nonnegative = is_nonnegative && batch.col_iter().all(|column| column.iter().all(|entry| *entry >= 0.0));
            first.add(batch, labels)
        }
        Batch::Double(batch) => {
            is_nonnegative = is_nonnegative && batch.col_iter().all(|column| column.iter().all(|entry| *entry >= 0.0));
            first.add(batch, labels)
        }
    })?;
    let mut statistics = first.finish();
    let bias = network.bias.as_ref().map(Col::as_ref);
    let rules = NearestCenter::new(network.product.as_ref(), bias, &statistics).map_err(text)?;
    // Class means and the whole scatter have the gradient of squared loss, but for what a ReLU holds at zero.
    let is_known = |reading: &Ufm| {
        !is_narrow && !is_nonnegative && reading.loss() == Loss::Squared && reading.class_weights().is_none()
    };
    let (known, readings): (Vec<Ufm>, Vec<Ufm>) = readings.into_iter().partition(is_known);
    let known = known.iter().map(|reading| statistics.gradient(reading, network.weights.clone(), network.bias.clone()));
    let mut known: Vec<NetworkGradient> = known.collect::<Result<_, _>>().map_err(text)?;
    let mut gradients = gradients(network, readings)?.with_decisions(rules).map_err(text)?;
    let mut second = is_narrow.then(|| ScatterAccumulator::new(statistics.clone())).transpose().map_err(text)?;
    stream(&network.features, &network.labels, "gradients and nearest means", |batch, labels| {
        match (batch, &mut second) {
            (Batch::Single(batch), Some(second)) => {
                second.add(batch, labels).and_then(|()| gradients.add(batch, labels))
            }
            (Batch::Double(batch), Some(second)) => {
                second.add(batch, labels).and_then(|()| gradients.add(batch, labels))
            }
            (Batch::Single(batch), None) => gradients.add(batch, labels),
            (Batch::Double(batch), None) => gradients.add(batch, labels),
        }
    })?;
    if let Some(second) = second {
        statistics = second.finish().map_err(text)?;
    }
    let Some(rules) = gradients.decisions().cloned() else { unreachable!("it has decisions") };
    known.extend(gradients.finish().map_err(text)?);
    Ok(Passes { statistics, rules, gradients: known })
}

/// Another pass, for other readings.
fn third_pass(network: &Network, readings: Vec<Ufm>) -> Result<Vec<NetworkGradient>, String> {
    let mut gradients = gradients(network, readings)?;
    stream(&network.features, &network.labels, "gradients with class weights", |batch, labels| match batch {
        Batch::Single(batch) => gradients.add(batch, labels),
        Batch::Double(batch) => gradients.add(batch, labels),
    })?;
    gradients.finish().map_err(|error| error.to_string())
}

fn gradients(network: &Network, readings: Vec<Ufm>) -> Result<GradientAccumulator, String> {
    GradientAccumulator::new(readings, network.weights.clone(), network.bias.clone()).map_err(|error| error.to_string())
}

/// Shows all features in batches, with their labels, and how far it has come.
fn stream(
    features: &Features,
    labels: &[usize],
    what: &'static str,
    mut add: impl FnMut(Batch<'_>, &[usize]) -> Result<(), Error>,
) -> Result<(), String> {
    let bar =
        if std::io::stderr().is_terminal() { ProgressBar::new(labels.len() as u64) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {msg}, {human_pos} of {human_len} samples, {eta} left") {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar.enable_steady_tick(Duration::from_millis(200));
    let width = features.width().max(1);
    let size = (BATCH / width).max(FULL_PANELS.min(LARGEST_BATCH / width)).clamp(1, 1 << 16);
    let streamed = features.batches(size, |place, batch| {
        let labels = &labels[place.sample..][..batch.len()];
        bar.set_position((place.sample + labels.len()) as u64);
        add(batch, labels).map_err(|error| match error {
            // Rows of the file are columns of the crate, batch after batch.
            Error::NotFinite { row, col, value, .. } | Error::OutOfRange { row, col, value, .. } => {
                place.array.says(&format_args!(
                    "entry {row} of row {} (counted from 0) is {value:?}, finite numbers below 3e144 are needed",
                    place.row + col
                ))
            }
            error => place.array.says(&error),
        })
    });
    bar.finish_and_clear();
    streamed
}

impl Classes {
    /// Of classifiers, K x d, and class means about their center, d x K.
    pub(crate) fn new(classifiers: &Mat<f64>, means: &Mat<f64>) -> Result<Self, Error> {
        Ok(Self {
            classifier_gram: classifiers * classifiers.transpose(),
            mean_gram: means.transpose() * means,
            classifiers: frame_distances(classifiers.transpose())?,
            means: frame_distances(means.as_ref())?,
            self_duality: self_duality(classifiers.as_ref(), means.as_ref())?,
        })
    }
}

fn singular_values(network: &Network, statistics: &FeatureStatistics) -> Result<Vec<SingularValues>, Error> {
    let of = |block: String, matrix: &Mat<f64>| {
        let values: Vec<f64> = dense_svd(matrix.as_ref())?.values.iter().copied().collect();
        Ok::<_, Error>(SingularValues { block, effective_rank: effective_rank(&values), values })
    };
    let mut all = vec![of("product".into(), &network.product)?, of("features".into(), &statistics.weighted_means())?];
    if network.weights.len() > 1 {
        for (l, weights) in network.weights.iter().enumerate() {
            all.push(of(format!("layer {}", l + 1), weights)?);
        }
    }
    Ok(all)
}

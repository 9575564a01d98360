//! All measurements of a network, in two passes over its features.

use std::{io::IsTerminal, time::Duration};

use indicatif::{ProgressBar, ProgressStyle};
use neural_collapse::{
    ClassCounts, Error, TrainingConvention,
    faer::{Col, Mat, Scale},
    linalg::dense_svd,
    metrics::{
        Collapse, FeatureAccumulator, FeatureStatistics, FrameDistances, Nc1Convention, NearestCenter,
        ScatterAccumulator, distance, frame_distances, minimizer_disagreement, network_collapse, self_duality,
    },
    theory::Minimizer,
};

use super::{
    arrays::{Batch, Features},
    network::Network,
};

/// Numbers of features that are in memory at a time.
const BATCH: usize = 1 << 22;

/// Everything that is measured, and what the theory has in its place.
pub(crate) struct Measurement {
    pub(crate) minimizer: Minimizer,
    pub(crate) nc1: [Option<f64>; 4],
    pub(crate) trace_ratio: Option<f64>,
    pub(crate) class_distance_normalized_variance: Option<f64>,
    pub(crate) collapse: Collapse,
    pub(crate) disagreement: Option<f64>,
    pub(crate) predicted_disagreement: f64,
    pub(crate) accuracy: Option<f64>,
    pub(crate) center_accuracy: Option<f64>,
    /// What training minimizes, penalties included, and the least that it can be.
    pub(crate) objective: Option<f64>,
    pub(crate) optimum: f64,
    pub(crate) gap: Option<f64>,
    pub(crate) distance: Option<f64>,
    /// √N ‖h_G‖/‖H̄ D‖, measured and predicted: 0 with a bias, which takes the place of the mean.
    pub(crate) feature_mean: [Option<f64>; 2],
    pub(crate) measured: Classes,
    pub(crate) predicted: Classes,
    pub(crate) singular_values: Vec<SingularValues>,
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
    pub(crate) measured: Vec<f64>,
    pub(crate) predicted: Vec<f64>,
}

impl Measurement {
    pub(crate) fn new(network: &Network, convention: TrainingConvention) -> Result<Self, String> {
        let product = network.product();
        let (statistics, rules) = passes(network, &product)?;
        Self::of(network, convention, &product, &statistics, &rules).map_err(|error| error.to_string())
    }

    fn of(
        network: &Network,
        convention: TrainingConvention,
        product: &Mat<f64>,
        statistics: &FeatureStatistics,
        rules: &NearestCenter,
    ) -> Result<Self, Error> {
        let ufm = &network.ufm;
        let minimizer = ufm.minimizer()?;
        let (mut objective, mut to_minimizers) = (None, None);
        if network.has_all_layers() {
            let point = statistics.point(ufm, network.weights.clone(), network.bias.clone())?;
            objective = Some(point.objective(ufm)?);
            to_minimizers = distance(&minimizer, &point)?;
        }
        let optimum = minimizer.objective();
        let counts = ufm.class_counts().ok_or(Error::NoClassCounts)?;
        let nc1 = |convention| statistics.nc1(convention);
        let loss = |objective| convention.loss(objective, ufm.outputs());
        Ok(Self {
            nc1: [
                nc1(Nc1Convention::Global)?,
                nc1(Nc1Convention::UnweightedMean)?,
                nc1(Nc1Convention::WeightedClasses)?,
                nc1(Nc1Convention::Undivided)?,
            ],
            trace_ratio: statistics.trace_ratio()?,
            class_distance_normalized_variance: statistics.class_distance_normalized_variance()?,
            collapse: network_collapse(&minimizer, product.as_ref(), statistics)?,
            disagreement: rules.disagreement(),
            predicted_disagreement: minimizer_disagreement(&minimizer)?,
            accuracy: rules.accuracy(),
            center_accuracy: rules.center_accuracy(),
            objective: objective.map(loss),
            optimum: loss(optimum),
            gap: objective.filter(|_| optimum > 0.0).map(|objective| (objective - optimum) / optimum),
            distance: to_minimizers,
            feature_mean: [
                feature_mean(&statistics.weighted_means(), counts),
                feature_mean(&weighted(minimizer.class_means()?, counts), counts),
            ],
            measured: Classes::new(product, &statistics.centered_means()?)?,
            predicted: predicted_classes(&minimizer)?,
            singular_values: singular_values(network, &minimizer, product, statistics)?,
            minimizer,
        })
    }
}

/// Two passes over the features. Where few classes meet wide features the scatter is cheaper in the second, along the
/// directions that count; elsewhere it is gathered whole in the first.
fn passes(network: &Network, product: &Mat<f64>) -> Result<(FeatureStatistics, NearestCenter), String> {
    let (classes, width) = product.shape();
    let is_narrow = 4 * classes < width;
    let text = |error: Error| error.to_string();
    let first = if is_narrow {
        FeatureAccumulator::new(width, classes)
    } else {
        FeatureAccumulator::with_scatter(width, classes)
    };
    let mut first = first.map_err(text)?;
    stream(&network.features, &network.labels, "class means", |batch, labels| match batch {
        Batch::Single(batch) => first.add(batch, labels),
        Batch::Double(batch) => first.add(batch, labels),
    })?;
    let statistics = first.finish();
    let bias = network.bias.as_ref().map(Col::as_ref);
    let mut rules = NearestCenter::new(product.as_ref(), bias, &statistics).map_err(text)?;
    if is_narrow {
        let mut second = ScatterAccumulator::with_product(statistics, product.as_ref()).map_err(text)?;
        stream(&network.features, &network.labels, "scatter and nearest means", |batch, labels| match batch {
            Batch::Single(batch) => second.add(batch, labels).and_then(|()| rules.add(batch, labels)),
            Batch::Double(batch) => second.add(batch, labels).and_then(|()| rules.add(batch, labels)),
        })?;
        return Ok((second.finish().map_err(text)?, rules));
    }
    stream(&network.features, &network.labels, "nearest means", |batch, labels| match batch {
        Batch::Single(batch) => rules.add(batch, labels),
        Batch::Double(batch) => rules.add(batch, labels),
    })?;
    Ok((statistics, rules))
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
    let size = (BATCH / features.width().max(1)).clamp(1, 1 << 16);
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
    fn new(classifiers: &Mat<f64>, means: &Mat<f64>) -> Result<Self, Error> {
        Ok(Self {
            classifier_gram: classifiers * classifiers.transpose(),
            mean_gram: means.transpose() * means,
            classifiers: frame_distances(classifiers.transpose())?,
            means: frame_distances(means.as_ref())?,
            self_duality: self_duality(classifiers.as_ref(), means.as_ref())?,
        })
    }
}

/// √N ‖h_G‖/‖H̄ D‖ of weighted class means H̄ D: the part of them along (√n_1 ... √n_K)/√N.
fn feature_mean(weighted_means: &Mat<f64>, counts: &ClassCounts) -> Option<f64> {
    let root = |k: usize| (counts.counts()[k] as f64 / counts.samples() as f64).sqrt();
    let size = weighted_means.norm_l2();
    (size > 0.0).then(|| (weighted_means * Col::from_fn(counts.classes(), root)).norm_l2() / size)
}

fn weighted(mut means: Mat<f64>, counts: &ClassCounts) -> Mat<f64> {
    for (mut mean, &count) in means.col_iter_mut().zip(counts.counts()) {
        mean *= Scale((count as f64).sqrt());
    }
    means
}

/// The same at the minimizer, whose class means are centered if there is a bias.
fn predicted_classes(minimizer: &Minimizer) -> Result<Classes, Error> {
    let mut means = minimizer.class_means()?;
    let counts = minimizer.ufm().class_counts().ok_or(Error::NoClassCounts)?;
    let frequencies = Col::from_fn(counts.classes(), |k| counts.counts()[k] as f64 / counts.samples() as f64);
    let center = &means * frequencies;
    for mut mean in means.col_iter_mut() {
        mean -= &center;
    }
    Classes::new(&minimizer.classifiers()?, &means)
}

fn singular_values(
    network: &Network,
    minimizer: &Minimizer,
    product: &Mat<f64>,
    statistics: &FeatureStatistics,
) -> Result<Vec<SingularValues>, Error> {
    let measured = |matrix: &Mat<f64>| Ok::<_, Error>(dense_svd(matrix.as_ref())?.values.iter().copied().collect());
    let mut all = vec![
        SingularValues {
            block: "product".into(),
            measured: measured(product)?,
            predicted: minimizer.singular_values(|direction| direction.product),
        },
        SingularValues {
            block: "features".into(),
            measured: measured(&statistics.weighted_means())?,
            predicted: minimizer.singular_values(|direction| direction.feature),
        },
    ];
    if network.has_all_layers() && network.weights.len() > 1 {
        for (l, weights) in network.weights.iter().enumerate() {
            all.push(SingularValues {
                block: format!("layer {}", l + 1),
                measured: measured(weights)?,
                predicted: minimizer.singular_values(|direction| direction.layers[l]),
            });
        }
    }
    Ok(all)
}

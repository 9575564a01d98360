//! What the theory has in the place of every measured number.

use neural_collapse::{
    ClassCounts, Error, Loss,
    faer::{Col, Mat, Scale},
    linalg::dense_svd,
    metrics::{Collapse, Distance, FeatureStatistics, network_collapse, network_distance, optimum_disagreement},
    theory::Optimum,
};

use super::{Flags, measurement::Classes, network::Network, question::Question};

/// The optimum of the model in question, and the network compared with it.
pub(crate) struct Target {
    pub(crate) optimum: Optimum,
    pub(crate) collapse: Collapse,
    pub(crate) disagreement: f64,
    /// What training minimizes, penalties included: of the network, and the least that it can be.
    pub(crate) objective: Option<f64>,
    pub(crate) least: f64,
    pub(crate) gap: Option<f64>,
    pub(crate) distance: Option<Distance>,
    pub(crate) feature_mean: Option<f64>,
    pub(crate) classes: Classes,
    /// By the names of the measured ones; empty for those that the optimum leaves open.
    pub(crate) singular_values: Vec<Vec<f64>>,
    /// Whether classes share a mean at the optimum: then NC1 and CDNV are ratios of two noises.
    pub(crate) has_collapsed: bool,
    /// CDNV over the pairs of classes that do not.
    pub(crate) variance_apart: Option<f64>,
}

impl Target {
    /// `None` if there is no model, a message if its optimum is not known.
    pub(crate) fn new(
        network: &Network,
        flags: &Flags,
        statistics: &FeatureStatistics,
        question: &Question,
    ) -> Result<Option<Self>, String> {
        let Some((model, _)) = &question.model else { return Ok(None) };
        let optimum = model.optimum().map_err(|error| error.to_string())?;
        Self::of(network, flags, statistics, question, optimum).map(Some).map_err(|error| error.to_string())
    }

    fn of(
        network: &Network,
        flags: &Flags,
        statistics: &FeatureStatistics,
        question: &Question,
        optimum: Optimum,
    ) -> Result<Self, Error> {
        let ufm = optimum.ufm();
        // Cross-entropy is the mean over samples in every framework.
        let is_squared = ufm.loss() == Loss::Squared;
        let loss = |objective| if is_squared { flags.convention().loss(objective, ufm.outputs()) } else { objective };
        let (mut objective, mut distance) = (None, None);
        if question.has_all_layers {
            objective = question.gradient().map(|gradient| gradient.objective(ufm)).transpose()?;
            distance =
                network_distance(&optimum, &network.weights, network.bias.as_ref().map(Col::as_ref), statistics)?;
        }
        let least = optimum.objective();
        let shared = optimum.shared_means()?;
        let has_collapsed = shared.iter().enumerate().any(|(class, &first)| class != first);
        let counts = &network.counts;
        Ok(Self {
            collapse: network_collapse(&optimum, network.product.as_ref(), statistics)?,
            disagreement: optimum_disagreement(&optimum)?,
            objective: objective.map(loss),
            least: loss(least),
            gap: objective.filter(|_| least > 0.0).map(|objective| (objective - least) / least),
            distance,
            feature_mean: feature_mean(&weighted(optimum.class_means()?, counts), counts),
            classes: classes(&optimum, counts)?,
            singular_values: singular_values(&optimum, counts, question.has_all_layers)?,
            variance_apart: has_collapsed
                .then(|| statistics.class_distance_normalized_variance_between(&shared))
                .transpose()?
                .flatten(),
            has_collapsed,
            optimum,
        })
    }
}

/// √N ‖h_G‖/‖H̄ D‖ of weighted class means H̄ D: the part of them along (√n_1 ... √n_K)/√N.
pub(crate) fn feature_mean(weighted_means: &Mat<f64>, counts: &ClassCounts) -> Option<f64> {
    let root = |k: usize| (counts.counts()[k] as f64 / counts.samples() as f64).sqrt();
    let size = weighted_means.norm_l2();
    // faer's operators add up in an order that depends on the number of threads.
    let mut mean = Col::<f64>::zeros(weighted_means.nrows());
    for (k, column) in weighted_means.col_iter().enumerate() {
        mean += Scale(root(k)) * column;
    }
    (size > 0.0).then(|| mean.norm_l2() / size)
}

fn weighted(mut means: Mat<f64>, counts: &ClassCounts) -> Mat<f64> {
    for (mut mean, &count) in means.col_iter_mut().zip(counts.counts()) {
        mean *= Scale((count as f64).sqrt());
    }
    means
}

/// Classifiers and class means of the optimum, about the mean of all features.
fn classes(optimum: &Optimum, counts: &ClassCounts) -> Result<Classes, Error> {
    let mut means = optimum.class_means()?;
    let mut center = Col::<f64>::zeros(means.nrows());
    for (mean, &count) in means.col_iter().zip(counts.counts()) {
        center += Scale(count as f64 / counts.samples() as f64) * mean;
    }
    for mut mean in means.col_iter_mut() {
        mean -= &center;
    }
    Classes::new(&optimum.classifiers()?, &means)
}

/// In the order of the measured ones.
fn singular_values(optimum: &Optimum, counts: &ClassCounts, has_all_layers: bool) -> Result<Vec<Vec<f64>>, Error> {
    let Optimum::Closed(minimizer) = optimum else {
        let values = |matrix: Mat<f64>| {
            let mut values: Vec<f64> = dense_svd(matrix.as_ref())?.values.iter().copied().collect();
            values.resize(counts.classes(), 0.0);
            Ok::<_, Error>(values)
        };
        return Ok(vec![values(optimum.classifiers()?)?, values(weighted(optimum.class_means()?, counts))?]);
    };
    let mut all = vec![
        minimizer.singular_values(|direction| direction.product),
        minimizer.singular_values(|direction| direction.feature),
    ];
    let depth = minimizer.ufm().depth();
    if has_all_layers && depth > 1 {
        all.extend((0..depth).map(|l| minimizer.singular_values(|direction| direction.layers[l])));
    }
    Ok(all)
}

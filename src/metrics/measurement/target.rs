//! What the theory has in the place of every measured number.

use faer::{Col, Mat, Scale};

use super::{
    super::{
        collapse::{Collapse, network_collapse},
        distance::{Distance, network_distance},
        features::FeatureStatistics,
        nearest_center::optimum_disagreement,
    },
    class_geometry::ClassGeometry,
    last_layers::LastLayers,
    layer_metrics::feature_mean,
    question::Question,
};
use crate::{classes::ClassCounts, error::Error, linalg::dense_svd, model::Ufm, parameters::weighted, theory::Optimum};

/// The optimum of the model in question, and the network compared with it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Target {
    /// The optimum.
    pub optimum: Optimum,
    /// NC2, NC3 and alignment, as the theory has them for these counts.
    pub collapse: Collapse,
    /// [`optimum_disagreement`]: NC4 there.
    pub disagreement: f64,
    /// The objective of the network, in the units of the theory; `None` of a product of layers.
    pub objective: Option<f64>,
    /// (f - f*)/f*; `None` without an objective, or if f* is zero.
    pub gap: Option<f64>,
    /// The distance from the closest optimum; `None` if that is not unique, or of a product of layers.
    pub distance: Option<Distance>,
    /// √N ‖h_G‖/‖H̄ D‖ there.
    pub feature_mean: Option<f64>,
    /// Classifiers and class means there, in the space of rank dimensions that they share.
    pub classes: ClassGeometry,
    /// The singular values there, in the order of those that were measured.
    pub singular_values: Vec<Vec<f64>>,
    /// Whether classes share a mean there: then NC1 and CDNV of the network are ratios of two noises.
    pub has_collapsed: bool,
    /// CDNV of the network over the pairs of classes that do not; `None` if no classes share a mean.
    pub variance_apart: Option<f64>,
}

impl Target {
    pub(super) fn new(
        model: &Ufm,
        counts: &ClassCounts,
        layers: &LastLayers,
        statistics: &FeatureStatistics,
        question: &Question,
    ) -> Result<Self, Error> {
        let optimum = model.optimum()?;
        let (mut objective, mut distance) = (None, None);
        if layers.has_all() {
            objective = question.gradient().map(|gradient| gradient.objective(optimum.ufm())).transpose()?;
            distance = network_distance(&optimum, layers.weights(), layers.bias(), statistics)?;
        }
        let least = optimum.objective();
        let shared = optimum.shared_means()?;
        let has_collapsed = shared.iter().enumerate().any(|(class, &first)| class != first);
        let apart = has_collapsed.then(|| statistics.class_distance_normalized_variance_between(&shared));
        Ok(Self {
            collapse: network_collapse(&optimum, layers.product(), statistics)?,
            disagreement: optimum_disagreement(&optimum)?,
            objective,
            gap: objective.filter(|_| least > 0.0).map(|objective| (objective - least) / least),
            distance,
            feature_mean: feature_mean(&weighted(counts, optimum.class_means()?), counts),
            classes: classes(&optimum, counts)?,
            singular_values: singular_values(&optimum, counts, layers.has_all())?,
            variance_apart: apart.transpose()?.flatten(),
            has_collapsed,
            optimum,
        })
    }
}

/// Classifiers and class means of the optimum, about the mean of all features.
fn classes(optimum: &Optimum, counts: &ClassCounts) -> Result<ClassGeometry, Error> {
    let plain = optimum.class_means()?;
    let mut means = plain.clone();
    let mut center = Col::<f64>::zeros(means.nrows());
    for (mean, &count) in plain.col_iter().zip(counts.counts()) {
        center += Scale(count as f64 / counts.samples() as f64) * mean;
    }
    for mut mean in means.col_iter_mut() {
        mean -= &center;
    }
    ClassGeometry::new(Some(optimum.classifiers()?.as_ref()), plain.as_ref(), means)
}

/// In the order of the measured ones.
fn singular_values(optimum: &Optimum, counts: &ClassCounts, has_all_layers: bool) -> Result<Vec<Vec<f64>>, Error> {
    let Optimum::Closed(minimizer) = optimum else {
        let values = |matrix: Mat<f64>| {
            let mut values: Vec<f64> = dense_svd(matrix.as_ref())?.values.iter().copied().collect();
            values.resize(counts.classes(), 0.0);
            Ok::<_, Error>(values)
        };
        return Ok(vec![values(optimum.classifiers()?)?, values(weighted(counts, optimum.class_means()?))?]);
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

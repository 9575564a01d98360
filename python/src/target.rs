//! What the theory has in the place of every measured number.

use neural_collapse::{
    ClassCounts, Error,
    faer::{Col, Mat, Scale},
    linalg::dense_svd,
    metrics::{
        Collapse, Distance, FeatureStatistics, NetworkGradient, network_collapse, network_distance,
        optimum_disagreement,
    },
    theory::Optimum,
};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    dict,
    metrics::{Classes, Network, feature_mean},
};

/// The optimum of the model in question, and the network compared with it.
pub(crate) struct Target {
    pub(crate) optimum: Optimum,
    collapse: Collapse,
    disagreement: f64,
    /// In the theory's units.
    pub(crate) objective: Option<f64>,
    pub(crate) gap: Option<f64>,
    distance: Option<Distance>,
    feature_mean: Option<f64>,
    classes: Classes,
    /// By the names of the measured ones.
    singular_values: Vec<Vec<f64>>,
    /// Whether classes share a mean at the optimum: then NC1 and CDNV are ratios of two noises.
    has_collapsed: bool,
    /// CDNV over the pairs of classes that do not.
    variance_apart: Option<f64>,
}

impl Target {
    pub(crate) fn new(
        optimum: Optimum,
        network: &Network,
        statistics: &FeatureStatistics,
        counts: &ClassCounts,
        gradient: &NetworkGradient,
    ) -> Result<Self, Error> {
        let objective = gradient.objective(optimum.ufm())?;
        let least = optimum.objective();
        let shared = optimum.shared_means()?;
        let has_collapsed = shared.iter().enumerate().any(|(class, &first)| class != first);
        let apart = has_collapsed.then(|| statistics.class_distance_normalized_variance_between(&shared));
        Ok(Self {
            collapse: network_collapse(&optimum, network.product.as_ref(), statistics)?,
            disagreement: optimum_disagreement(&optimum)?,
            objective: Some(objective),
            gap: (least > 0.0).then(|| (objective - least) / least),
            distance: network_distance(&optimum, &network.weights, network.bias(), statistics)?,
            feature_mean: feature_mean(&weighted(optimum.class_means()?, counts), counts),
            classes: classes(&optimum, counts)?,
            singular_values: singular_values(&optimum, counts)?,
            variance_apart: apart.transpose()?.flatten(),
            has_collapsed,
            optimum,
        })
    }

    /// The entries of the dictionary that `measure` gives, among those of what was measured.
    pub(crate) fn fill(&self, dict: &Bound<'_, PyDict>, loss: impl Fn(f64) -> f64, names: &[String]) -> PyResult<()> {
        let (py, Collapse { nc2_classifier, nc2_features, nc3, alignment, .. }) = (dict.py(), self.collapse);
        dict.set_item("rank", self.optimum.rank())?;
        dict.set_item("unique", self.optimum.is_unique())?;
        dict.set_item("nc2", dict!(py, { "classifier": nc2_classifier, "features": nc2_features }))?;
        dict.set_item("nc3", dict!(py, { "product": nc3, "alignment": alignment }))?;
        dict.set_item("nc4_predicted", self.disagreement)?;
        dict.set_item("objective", self.objective.map(&loss))?;
        dict.set_item("optimum", loss(self.optimum.objective()))?;
        dict.set_item("optimum_gap", self.optimum.gap())?;
        dict.set_item("gap", self.gap)?;
        dict.set_item("distance", self.distance.as_ref().map(Distance::largest))?;
        let distances = self.distance.as_ref().map(|distance| {
            Ok::<_, PyErr>(dict!(py, {
                "layers": &distance.layers, "features": distance.features, "bias": distance.bias
            }))
        });
        dict.set_item("distances", distances.transpose()?)?;
        dict.set_item("cdnv_apart", self.variance_apart)?;
        dict.set_item("collapsed", self.has_collapsed)?;
        nested(dict, "feature_mean")?.set_item("predicted", self.feature_mean)?;
        nested(dict, "frames")?.set_item("predicted", self.classes.frames(py)?)?;
        nested(dict, "grams")?.set_item("predicted", self.classes.grams(py)?)?;
        let all = nested(dict, "singular_values")?;
        for (name, values) in names.iter().zip(&self.singular_values) {
            nested(&all, name)?.set_item("predicted", values)?;
        }
        Ok(())
    }
}

fn nested<'py>(dict: &Bound<'py, PyDict>, key: &str) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict.as_any().get_item(key)?.cast_into::<PyDict>()?)
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
    Classes::new(Some(&optimum.classifiers()?), &means)
}

/// In the order of the measured ones.
fn singular_values(optimum: &Optimum, counts: &ClassCounts) -> Result<Vec<Vec<f64>>, Error> {
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
    if depth > 1 {
        all.extend((0..depth).map(|l| minimizer.singular_values(|direction| direction.layers[l])));
    }
    Ok(all)
}

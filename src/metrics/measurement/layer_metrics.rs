//! What class means, scatter and layers tell without a look at single samples.

use faer::{Col, Mat, MatRef, Scale};

use super::{
    super::{
        features::FeatureStatistics,
        frames::{effective_rank, row_sum},
        gradient::ImpliedDecays,
        variability::Nc1Convention,
    },
    class_geometry::ClassGeometry,
    last_layers::LastLayers,
};
use crate::{
    classes::ClassCounts,
    error::Error,
    linalg::dense_svd,
    model::{Layer, Ufm},
};

/// Widths beyond which the features have no effective rank: its decomposition takes d³ operations.
const MOST_RANKED: usize = 1024;

/// The metrics that class means, the scatter within classes and the layers have: NC0 to NC3 of balanced classes, with no
/// optimum to compare with. A number whose definition divides by zero is `None`, and so is one that needs what was not
/// gathered or given.
///
/// # Example
///
/// ```
/// use neural_collapse::{faer::mat, metrics::{FeatureAccumulator, LayerMetrics, Nc1Convention}};
///
/// let mut accumulator = FeatureAccumulator::with_scatter(2, 2)?;
/// accumulator.add(mat![[1.0, 1.0, -1.0], [0.5, -0.5, 0.0]].as_ref(), &[0, 0, 1])?;
/// let metrics = LayerMetrics::new(&accumulator.finish(), None)?;
/// assert_eq!(metrics.nc1(Nc1Convention::Global), Some(0.0));
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LayerMetrics {
    nc1: [Option<f64>; 4],
    /// tr Σ_W/tr Σ_B: [`FeatureStatistics::trace_ratio`].
    pub trace_ratio: Option<f64>,
    /// [`FeatureStatistics::class_distance_normalized_variance`].
    pub class_distance_normalized_variance: Option<f64>,
    /// [`FeatureStatistics::coincident_means`]: for every class the first one with the same mean, compared with the noise.
    pub coincident: Vec<usize>,
    /// CDNV over the pairs of classes whose means do not coincide; `None` if no means do.
    pub variance_apart: Option<f64>,
    /// ‖Wᵀ 1‖/‖W‖, NC0: [`row_sum`].
    pub row_sum: Option<f64>,
    /// √N ‖h_G‖/‖H̄ D‖, from 0 to 1: 0 at the optimum of a model with a bias, which takes the place of the mean.
    pub feature_mean: Option<f64>,
    /// The effective rank of all features about their mean; `None` above a width of 1024, and where the pass gathers neither
    /// the scatter in all directions nor the Gram matrices of all samples.
    pub feature_rank: Option<f64>,
    /// Class means as they are, d × K.
    pub class_means: Mat<f64>,
    /// Classifiers and class means, compared with the frames of balanced classes.
    pub classes: ClassGeometry,
    /// Of the product and of the class means weighted by √n_k, then of all layers, if there is more than one; without
    /// layers of the means alone.
    pub spectra: Vec<BlockSpectrum>,
}

/// The singular values of one block.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BlockSpectrum {
    /// "product", "features", "layer 1" ..
    pub block: String,
    /// By falling value.
    pub values: Vec<f64>,
    /// [`effective_rank`] of them.
    pub effective_rank: Option<f64>,
}

impl LayerMetrics {
    /// Of these statistics, and of the layers that read these features, if they are known. Cost: one thin decomposition of
    /// d × K for each convention of NC1 and for each block, and O(K² d) operations.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples; [`Error::Shape`] if the layers do not read these features, or do
    /// not write an output for each class; [`Error::TooLarge`], [`Error::SvdDidNotConverge`].
    pub fn new(statistics: &FeatureStatistics, layers: Option<&LastLayers>) -> Result<Self, Error> {
        let counts = statistics.class_counts()?;
        let product = layers.map(LastLayers::product);
        let nc1 = |convention| if statistics.has_scatter() { statistics.nc1(convention) } else { Ok(None) };
        let global = nc1(Nc1Convention::Global)?;
        let undivided = global.map(|nc1| counts.classes() as f64 * nc1);
        let weighted_means = statistics.weighted_means();
        let coincident = statistics.coincident_means()?;
        let has_collapsed = coincident.iter().enumerate().any(|(class, &first)| class != first);
        let apart = has_collapsed.then(|| statistics.class_distance_normalized_variance_between(&coincident));
        Ok(Self {
            variance_apart: apart.transpose()?.flatten(),
            coincident,
            feature_rank: if statistics.class_means().nrows() <= MOST_RANKED {
                statistics.effective_rank()?
            } else {
                None
            },
            nc1: [global, nc1(Nc1Convention::UnweightedMean)?, nc1(Nc1Convention::WeightedClasses)?, undivided],
            trace_ratio: statistics.trace_ratio()?,
            class_distance_normalized_variance: statistics.class_distance_normalized_variance()?,
            row_sum: product.map(row_sum).transpose()?.flatten(),
            feature_mean: feature_mean(&weighted_means, &counts),
            class_means: statistics.class_means().to_owned(),
            classes: ClassGeometry::new(product, statistics.class_means(), statistics.centered_means()?)?,
            spectra: spectra(&weighted_means, layers)?,
        })
    }

    /// The classes of every mean that several classes have, compared with the noise.
    #[must_use]
    pub fn collapsed_classes(&self) -> Vec<Vec<usize>> {
        let mut of_first = vec![Vec::new(); self.coincident.len()];
        self.coincident.iter().enumerate().for_each(|(class, &first)| of_first[first].push(class));
        of_first.retain(|group: &Vec<usize>| group.len() > 1);
        of_first
    }

    /// Gram matrices of classifiers and class means, K × K each, by the names that results give them: "classifiers" and
    /// "centered_classifiers", about their mean, if layers were given; "class_means" as they are,
    /// "centered_class_means" about h_G, and "unweighted_centered_class_means" about the mean of the class means. Cost:
    /// 10 K² d operations, 5 K² numbers.
    #[must_use]
    pub fn gram_matrices(&self) -> Vec<(&'static str, Mat<f64>)> {
        let classes = &self.classes;
        let mut all = Vec::new();
        if classes.classifiers.ncols() > 0 {
            all.push(("classifiers", classes.classifier_gram()));
            all.push(("centered_classifiers", classes.centered_classifier_gram()));
        }
        all.push(("class_means", self.class_means.transpose() * &self.class_means));
        all.push(("centered_class_means", classes.mean_gram()));
        all.push(("unweighted_centered_class_means", classes.unweighted_mean_gram()));
        all
    }

    /// NC1; `None` without the scatter, or if all class means are equal.
    #[must_use]
    pub fn nc1(&self, convention: Nc1Convention) -> Option<f64> {
        let place = Nc1Convention::ALL.iter().position(|other| *other == convention);
        place.and_then(|place| self.nc1.get(place).copied().flatten())
    }
}

impl LastLayers {
    /// The decays that class means and the whole scatter imply under squared loss, without a look at single samples: the
    /// misfit of features counts them as of any sign.
    ///
    /// # Errors
    ///
    /// As [`FeatureStatistics::gradient`], [`NetworkGradient::implied_decays`](crate::metrics::NetworkGradient::implied_decays).
    pub fn implied_decays(&self, statistics: &FeatureStatistics) -> Result<ImpliedDecays, Error> {
        let layers: Vec<Layer> = self.weights().iter().map(|layer| Layer::new(layer.ncols(), 1.0)).collect();
        let ufm = Ufm::new(statistics.class_counts()?, layers, 1.0)?.with_bias(self.bias().is_some());
        let (weights, bias) = self.parts();
        statistics.gradient(&ufm, weights, bias)?.implied_decays()
    }
}

/// √N ‖h_G‖/‖H̄ D‖ of weighted class means H̄ D: the part of them along (√n_1 ... √n_K)/√N.
pub(super) fn feature_mean(weighted_means: &Mat<f64>, counts: &ClassCounts) -> Option<f64> {
    let root = |k: usize| (counts.counts()[k] as f64 / counts.samples() as f64).sqrt();
    let size = weighted_means.norm_l2();
    // faer's operators add up in an order that depends on the number of threads.
    let mut mean = Col::<f64>::zeros(weighted_means.nrows());
    for (k, column) in weighted_means.col_iter().enumerate() {
        mean += Scale(root(k)) * column;
    }
    (size > 0.0).then(|| mean.norm_l2() / size)
}

fn spectra(weighted_means: &Mat<f64>, layers: Option<&LastLayers>) -> Result<Vec<BlockSpectrum>, Error> {
    let of = |block: String, matrix: MatRef<'_, f64>| {
        let values: Vec<f64> = dense_svd(matrix)?.values.iter().copied().collect();
        Ok::<_, Error>(BlockSpectrum { block, effective_rank: effective_rank(&values), values })
    };
    let mut all = Vec::new();
    if let Some(layers) = layers {
        all.push(of("product".into(), layers.product())?);
    }
    all.push(of("features".into(), weighted_means.as_ref())?);
    if let Some(layers) = layers.filter(|layers| layers.weights().len() > 1) {
        for (l, weights) in layers.weights().iter().enumerate() {
            all.push(of(format!("layer {}", l + 1), weights.as_ref())?);
        }
    }
    Ok(all)
}

//! The second pass over the samples of few classes: scatter, gradients and decisions, all of deviations from class means.

use std::sync::Arc;

use faer::{Col, Mat, MatRef};

use super::{
    super::{
        features::{FeatureStatistics, differences, share},
        nearest_center::NearestCenter,
    },
    deviation_part::{OfModel, Part, Work},
    from_statistics::multiplied,
    network::{Network, NetworkGradient},
    part::Sums,
    singles::SingleProduct,
};
use crate::{error::Error, linalg::memory::try_zeros, model::Ufm};

/// Gathers in one pass what a [`GradientAccumulator`](super::GradientAccumulator) with decisions and a
/// [`ScatterAccumulator`](super::super::ScatterAccumulator) gather, if class means are known. With E the deviations from
/// class means, B an orthonormal basis of the differences of these, and D_k the sum of D over the samples of class k:
///
/// ```text
/// (BᵀE) (BᵀE)ᵀ,    Z = W_{L:1} E + (W_{L:1} H̄ + b 1ᵀ),    D Hᵀ = D Eᵀ + [D_1 .. D_K] H̄ᵀ
/// ```
///
/// A sample is subtracted once and stays in the cache for all products. What multiplies the same side is one product.
///
/// Cost: 4 N d K operations and N K², 2 N d K more for every model, and again 2 N d K for the misfit of its features, as
/// for a `GradientAccumulator`; d K + K² numbers for every model and the scatter, times one to eight.
#[derive(Clone, Debug)]
pub(in crate::metrics) struct DeviationAccumulator {
    statistics: FeatureStatistics,
    network: Arc<Network>,
    models: Vec<Ufm>,
    decisions: NearestCenter,
    /// B, d × r.
    basis: Mat<f64>,
    /// Bᵀ above W_{L:1}, (r + K) × d.
    directions: Mat<f64>,
    /// W_{L:1} H̄ + b 1ᵀ.
    at_means: Mat<f64>,
    single_product: SingleProduct,
    parts: Vec<Part>,
}

impl DeviationAccumulator {
    /// For layers and a bias that fit the models, and decisions of this network and these statistics.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples; [`Error::TooLarge`], [`Error::SvdDidNotConverge`].
    pub(in crate::metrics) fn new(
        statistics: FeatureStatistics,
        models: Vec<Ufm>,
        (weights, bias): (Vec<Mat<f64>>, Option<Col<f64>>),
        decisions: NearestCenter,
    ) -> Result<Self, Error> {
        let basis = differences(&statistics)?;
        let rules = decisions.rules();
        let (outputs, width) = rules.classifiers.shape();
        let mut directions = try_zeros("directions of the second pass", basis.ncols() + outputs, width as u64)?;
        directions.subrows_mut(0, basis.ncols()).copy_from(basis.transpose());
        directions.subrows_mut(basis.ncols(), outputs).copy_from(&rules.classifiers);
        let network = Arc::new(Network { weights, bias, product: rules.classifiers.clone() });
        let (at_means, parts) = (rules.logits_of_means(), Part::all((width, outputs), basis.ncols(), models.len())?);
        let single_product = SingleProduct::new(rules.classifiers.as_ref());
        Ok(Self { statistics, network, models, decisions, basis, directions, at_means, single_product, parts })
    }

    /// Adds a batch that has passed the checks of all accumulators.
    pub(in crate::metrics) fn add_checked<T: Copy + Into<f64> + Sync>(
        &mut self,
        features: MatRef<'_, T>,
        labels: &[usize],
    ) {
        let work = Work {
            means: self.statistics.class_means(),
            directions: self.directions.as_ref(),
            at_means: self.at_means.as_ref(),
            models: &self.models,
            rules: self.decisions.rules(),
            single_product: &self.single_product,
        };
        share(&mut self.parts, labels.len(), |part, samples, par| {
            part.add(features.subcols(samples.start, samples.len()), &labels[samples], &work, par);
        });
        // Whole numbers, in any order.
        self.parts.iter_mut().for_each(|part| self.decisions.absorb(&std::mem::take(&mut part.tally)));
    }

    /// The statistics with their scatter, the gradients of the models, and the decisions.
    ///
    /// # Errors
    ///
    /// [`Error::Passes`] if the two passes have not seen the same number of samples of every class.
    pub(in crate::metrics) fn finish(self) -> Result<(FeatureStatistics, Vec<NetworkGradient>, NearestCenter), Error> {
        let Self { statistics, network, models, decisions, basis, parts, .. } = self;
        let Part { counts, sums, outer, of_models, scatter, is_nonnegative, logits, .. } = Part::total(parts);
        let (rank, outputs) = (basis.ncols(), counts.len());
        let statistics = statistics.with_scatter_along(basis, &counts, sums.subrows(0, rank).to_owned(), scatter)?;
        let spread = logits.per_sample(counts.iter().map(|&count| count as f64).sum());
        let square = statistics.squared_norm();
        let means = statistics.class_means();
        let gradient = |(m, (model, of_model)): (usize, (Ufm, OfModel))| {
            let of_classes = sums.subrows(rank + m * outputs, outputs);
            let mut outer = outer.subrows(m * outputs, outputs).to_owned();
            outer += multiplied(of_classes, means.transpose())?;
            let mut total = Col::zeros(outputs);
            of_classes.col_iter().for_each(|of_class| total += of_class);
            let OfModel { loss, residual, pulls } = of_model;
            let sums = Sums { loss, outer, total, residual, pulls };
            Ok(NetworkGradient { model, network: Arc::clone(&network), sums, square, is_nonnegative, spread })
        };
        let gradients = models.into_iter().zip(of_models).enumerate().map(gradient).collect::<Result<_, Error>>()?;
        Ok((statistics, gradients, decisions))
    }
}

//! A second pass over the same samples: the scatter, along the directions that it is needed in.

use faer::{Mat, MatRef};

use super::{
    FeatureStatistics, Scatter,
    batch::takes_batches,
    part::{Part, share},
};
use crate::{
    error::{Block, Error},
    linalg::{
        checks::{check_finite, check_shape},
        cores::all_cores,
        dense_svd,
        memory::try_zeros,
        orthonormal::orthonormal,
        product::{add_gram, mirror},
    },
    parameters::unweighted,
};

/// Gathers, in a second pass, the scatter within classes along the K - 1 directions in which the classes differ, which
/// NC1 needs, and along the rows of the layers' product, which the objective needs: 2 N d K operations each.
///
/// # Example
///
/// ```
/// use neural_collapse::{faer::mat, metrics::{FeatureAccumulator, ScatterAccumulator, Nc1Convention}};
///
/// let (features, labels) = (mat![[2.0_f32, 1.0, -1.0, -2.0], [0.0, 0.0, 5.0, 5.0]], [0, 0, 1, 1]);
/// let mut first = FeatureAccumulator::new(2, 2)?;
/// first.add(features.as_ref(), &labels)?;
/// let mut second = ScatterAccumulator::new(first.finish())?;
/// second.add(features.as_ref(), &labels)?; // the same samples again
/// let statistics = second.finish()?;
/// // Means (1.5, 0) and (-1.5, 5) are √34 apart, and samples are ± 0.5 · 3/√34 from theirs along that line.
/// let nc1 = 0.25 * 9.0 / 34.0 / (34.0 / 4.0) / 2.0;
/// assert!((statistics.nc1(Nc1Convention::Global)?.unwrap() - nc1).abs() < 1e-15);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "super::saved::ReadScatter"))]
pub struct ScatterAccumulator {
    pub(super) statistics: FeatureStatistics,
    /// An orthonormal basis of these directions, d × r.
    pub(super) basis: Mat<f64>,
    /// Σ y yᵀ, y = basisᵀ (h - h̄_k), in shares of every batch.
    pub(super) parts: Vec<Part>,
}

takes_batches!(ScatterAccumulator);

impl ScatterAccumulator {
    /// An accumulator for a second pass over the same samples, for NC1.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples; [`Error::TooLarge`], [`Error::SvdDidNotConverge`].
    pub fn new(statistics: FeatureStatistics) -> Result<Self, Error> {
        let basis = differences(&statistics)?;
        Self::along(statistics, basis)
    }

    /// An accumulator for a second pass over the same samples, for NC1 and for [`FeatureStatistics::point`] with layers
    /// of this product W_{L:1}, K × d.
    ///
    /// # Errors
    ///
    /// As [`ScatterAccumulator::new`]; [`Error::Shape`], [`Error::NotFinite`] for the product.
    pub fn with_product(statistics: FeatureStatistics, product: MatRef<'_, f64>) -> Result<Self, Error> {
        let differences = differences(&statistics)?;
        let (width, classes) = statistics.means.shape();
        check_shape(Block::Product, (classes, width), product.shape())?;
        check_finite(Block::Product, product)?;
        let mut spanning = try_zeros("basis", width, (differences.ncols() + classes) as u64)?;
        spanning.subcols_mut(0, differences.ncols()).copy_from(&differences);
        spanning.subcols_mut(differences.ncols(), classes).copy_from(product.transpose());
        // Orthonormal to rounding for any columns; a small column is not lost among larger ones.
        Self::along(statistics, orthonormal(spanning)?)
    }

    fn along(statistics: FeatureStatistics, basis: Mat<f64>) -> Result<Self, Error> {
        let (width, classes) = statistics.means.shape();
        Ok(Self { parts: Part::all(width, classes, basis.ncols())?, statistics, basis })
    }

    /// The width d, and the number of classes.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        self.statistics.means.shape()
    }

    /// Adds a batch that has passed the checks of `add`.
    pub(in crate::metrics) fn add_checked<T: Copy + Into<f64> + Sync>(
        &mut self,
        features: MatRef<'_, T>,
        labels: &[usize],
    ) {
        let means = self.statistics.means.as_ref();
        let basis = Some(self.basis.as_ref());
        share(&mut self.parts, labels.len(), |part, samples, par| {
            let (features, labels) = (features.subcols(samples.start, samples.len()), &labels[samples]);
            part.add(features, labels, means, basis, par);
        });
    }

    /// The statistics of the first pass, with the scatter of the second.
    ///
    /// # Errors
    ///
    /// [`Error::Passes`] if the two passes have not seen the same number of samples of every class.
    pub fn finish(self) -> Result<FeatureStatistics, Error> {
        let Self { statistics, basis, parts } = self;
        let Part { counts: seen, sums, scatter, .. } = Part::total(parts);
        let along = basis.transpose() * sums;
        statistics.with_scatter_along(basis, &seen, along, scatter)
    }
}

impl FeatureStatistics {
    /// With what a second pass has seen along a basis: its samples, Σ y of every class and the lower triangle of Σ y yᵀ,
    /// with y = basisᵀ (h - h̄_k).
    ///
    /// # Errors
    ///
    /// [`Error::Passes`].
    pub(in crate::metrics) fn with_scatter_along(
        self,
        basis: Mat<f64>,
        seen: &[u64],
        sums: Mat<f64>,
        mut scatter: Mat<f64>,
    ) -> Result<Self, Error> {
        if let Some(class) = (0..seen.len()).find(|&class| seen[class] != self.counts[class]) {
            return Err(Error::Passes { class, first: self.counts[class], second: seen[class] });
        }
        // The means of the first pass are rounded: the scatter about them is larger than that about the means.
        let along = unweighted(seen, sums);
        add_gram(scatter.as_mut(), along.as_ref(), -1.0, all_cores());
        mirror(&mut scatter);
        Ok(Self { scatter: Some(Scatter::Along { basis, scatter }), ..self })
    }
}

/// An orthonormal basis of the differences of class means, d × min(d, K - 1).
pub(in crate::metrics) fn differences(statistics: &FeatureStatistics) -> Result<Mat<f64>, Error> {
    statistics.check_counts()?;
    let means = statistics.means.as_ref();
    let first = means.col(0).to_owned();
    let mut differences = try_zeros("differences of class means", means.nrows(), means.ncols() as u64)?;
    for (mut to, mean) in differences.col_iter_mut().zip(means.col_iter()) {
        to.copy_from(mean - &first);
    }
    let rank = means.nrows().min(means.ncols() - 1);
    Ok(dense_svd(differences.as_ref())?.left.subcols(0, rank).to_owned())
}

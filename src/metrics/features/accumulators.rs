//! From batches of samples to statistics, in one pass.

use faer::{Mat, MatRef, Scale};

use super::{
    super::variability::mean_error,
    FeatureStatistics, Scatter,
    batch::takes_batches,
    part::{Part, share},
};
use crate::{
    classes::root,
    error::Error,
    linalg::{
        cores::all_cores,
        memory::try_zeros,
        product::{add_gram, mirror},
    },
    parameters::unweighted,
};

/// Gathers [`FeatureStatistics`] from batches of features and labels, in any order.
///
/// Everything is kept relative to the mean of the first samples of each class (Chan, Golub, LeVeque 1983), so that no
/// digits are lost if features are far from the origin and classes are tight. If those first samples are D from the
/// mean of their class, as a single outlier can be, the scatter has an error of up to n² ε D²: begin with a batch that
/// has several samples of every class, or take a second pass with a
/// [`ScatterAccumulator`](super::ScatterAccumulator), which does not have this error. Sums are in `f64` for features of
/// any type, and bitwise the same for any number of threads.
///
/// Cost: O(N d) operations; with the scatter N d² more. Memory: one to eight parts of d K numbers each, and d² more
/// with the scatter. Above one part, all parts together take at most 64 MiB.
///
/// # Example
///
/// ```
/// use neural_collapse::{faer::mat, metrics::{FeatureAccumulator, Nc1Convention}};
///
/// // Two classes of features in the plane; a column is a sample.
/// let mut accumulator = FeatureAccumulator::with_scatter(2, 2)?;
/// accumulator.add(mat![[1.0_f32, 1.0, -1.0], [0.5, -0.5, 0.0]].as_ref(), &[0, 0, 1])?;
/// accumulator.add(mat![[-1.0_f64], [0.0]].as_ref(), &[1])?;
/// let statistics = accumulator.finish();
/// // They vary in a direction in which the classes do not differ.
/// assert_eq!(statistics.nc1(Nc1Convention::Global)?, Some(0.0));
/// assert_eq!(statistics.trace_ratio()?, Some(0.125)); // 2 · 0.5²/4 over 1
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "super::saved::ReadFeatures"))]
pub struct FeatureAccumulator {
    /// r_k, d × K: the mean of the first samples of class k.
    pub(super) references: Mat<f64>,
    /// The classes that have a reference.
    pub(super) has_reference: Vec<bool>,
    /// Shares of every batch that are worked on at the same time.
    pub(super) parts: Vec<Part>,
}

takes_batches!(FeatureAccumulator);

impl FeatureAccumulator {
    /// An accumulator for features of width d and this number of classes, without the scatter.
    ///
    /// # Errors
    ///
    /// [`Error::NoClasses`], [`Error::Domain`] for a width of zero, [`Error::TooLarge`].
    pub fn new(width: usize, classes: usize) -> Result<Self, Error> {
        Self::gathering(width, classes, false)
    }

    /// An accumulator that also gathers the scatter within classes, which NC1 needs: d² numbers, N d² operations. If K
    /// is much smaller than d a second pass over the samples with a [`ScatterAccumulator`](super::ScatterAccumulator) is
    /// cheaper.
    ///
    /// # Errors
    ///
    /// As [`FeatureAccumulator::new`].
    pub fn with_scatter(width: usize, classes: usize) -> Result<Self, Error> {
        Self::gathering(width, classes, true)
    }

    fn gathering(width: usize, classes: usize, scatter: bool) -> Result<Self, Error> {
        if classes == 0 {
            return Err(Error::NoClasses);
        }
        if width == 0 {
            return Err(Error::Domain { argument: "width of features", value: 0.0, accepted: "at least 1" });
        }
        let references = try_zeros("class means", width, classes as u64)?;
        let parts = Part::all(width, classes, if scatter { width } else { 0 })?;
        Ok(Self { references, has_reference: vec![false; classes], parts })
    }

    /// The width d, and the number of classes.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        self.references.shape()
    }

    /// Whether it gathers the scatter within classes.
    #[must_use]
    pub fn has_scatter(&self) -> bool {
        self.parts[0].scatter.nrows() > 0
    }

    /// The samples of every class so far.
    #[must_use]
    pub fn counts(&self) -> Vec<u64> {
        let of = |k: usize| self.parts.iter().map(|part| part.counts[k]).sum();
        (0..self.has_reference.len()).map(of).collect()
    }

    /// Adds a batch that has passed the checks of `add`.
    pub(in crate::metrics) fn add_checked<T: Copy + Into<f64> + Sync>(
        &mut self,
        features: MatRef<'_, T>,
        labels: &[usize],
    ) {
        self.refer(features, labels);
        let references = self.references.as_ref();
        share(&mut self.parts, labels.len(), |part, samples, par| {
            let (features, labels) = (features.subcols(samples.start, samples.len()), &labels[samples]);
            part.add(features, labels, references, None, par);
        });
    }

    /// The references of classes that the batch is the first to have.
    fn refer<T: Copy + Into<f64>>(&mut self, features: MatRef<'_, T>, labels: &[usize]) {
        let mut new = vec![0_u64; self.has_reference.len()];
        for (sample, &class) in features.col_iter().zip(labels).filter(|(_, class)| !self.has_reference[**class]) {
            new[class] += 1;
            for (to, from) in self.references.col_mut(class).iter_mut().zip(sample.iter()) {
                *to += (*from).into();
            }
        }
        for (mut reference, &count) in self.references.col_iter_mut().zip(&new).filter(|(_, count)| **count > 0) {
            reference /= Scale(count as f64);
        }
        self.has_reference.iter_mut().zip(new).for_each(|(has, count)| *has |= count > 0);
    }

    /// The statistics of everything added so far.
    #[must_use]
    pub fn finish(self) -> FeatureStatistics {
        let mut means = self.references;
        let Part { counts, sums, mut squares, mut scatter, .. } = Part::total(self.parts);
        // Σ (h - h̄)(h - h̄)ᵀ = Σ (h - r)(h - r)ᵀ - s sᵀ/n, s = Σ (h - r): from here on s/√n.
        let sums = unweighted(&counts, sums);
        let mut errors = vec![0.0; counts.len()];
        for (k, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (root, sum) = (root(count), sums.col(k));
            let spread = squares[k].sqrt() / root;
            squares[k] = (squares[k] - sum.squared_norm_l2()).max(0.0);
            let mut mean = means.col_mut(k);
            mean += Scale(1.0 / root) * sum;
            errors[k] = mean_error(mean.norm_l2(), count as f64, spread);
        }
        // A fork has references of classes that it has not seen.
        for (mut mean, _) in means.col_iter_mut().zip(&counts).filter(|(_, count)| **count == 0) {
            mean.fill(0.0);
        }
        let gathered = sums.subrows(0, scatter.nrows());
        add_gram(scatter.as_mut(), gathered, -1.0, all_cores());
        mirror(&mut scatter);
        let scatter = (scatter.nrows() > 0).then_some(Scatter::Full(scatter));
        FeatureStatistics { counts, means, errors, squares, scatter }
    }
}

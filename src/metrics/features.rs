//! What the metrics need to know of a network's features, gathered in one pass over any number of samples.

// pulp compiles its kernels for the registers found at run time only where they are inlined.
#![allow(clippy::inline_always)]

use std::ops::Range;

use faer::{
    Accum, Mat, MatMut, MatRef, Par, Scale,
    linalg::matmul::triangular::{BlockStructure, matmul},
    prelude::{Reborrow, ReborrowMut},
};

use pulp::{Arch, Simd, WithSimd};

use super::variability::{Nc1Convention, nc1, weighted_mean};
use crate::{
    classes::ClassCounts,
    cores::{all_cores, for_each, map_range},
    error::{Block, Error},
    matrices::{slice, slice_mut, try_zeros},
    theory::spectrum::dense_svd,
};

/// Samples that are worked on at a time: short products of long columns run at the full speed of faer's.
const PANEL: usize = 256;
/// Numbers that are summed up beside each other.
const LANES: usize = 8;

/// Gathers [`FeatureStatistics`] from batches of features and labels, in any order.
///
/// Everything is kept relative to the mean of the first samples of each class (Chan, Golub, LeVeque 1983), so that
/// nothing is lost where features are far from the origin and classes are tight. Sums are in `f64`, whatever the
/// features are in, and bitwise the same for any number of threads.
///
/// Cost: 2 d K numbers of memory and O(N d) operations; with the scatter d² numbers and N d² operations more.
///
/// # Example
///
/// ```
/// use neural_collapse::{faer::mat, metrics::{features::FeatureAccumulator, variability::Nc1Convention}};
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
pub struct FeatureAccumulator {
    /// r_k, d × K: the mean of the first samples of class k.
    references: Mat<f64>,
    /// The classes that have a reference.
    has_reference: Vec<bool>,
    /// Shares of every batch that are worked on at the same time.
    parts: Vec<Part>,
}

impl FeatureAccumulator {
    /// For features of this width d and so many classes.
    ///
    /// # Errors
    ///
    /// [`Error::NoClasses`], [`Error::Domain`] for a width of zero, [`Error::TooLarge`].
    pub fn new(width: usize, classes: usize) -> Result<Self, Error> {
        Self::gathering(width, classes, false)
    }

    /// The same, gathering the scatter within classes too, which NC1 needs: d² numbers, N d² operations. Where K is
    /// much smaller than d a second pass over the samples with a [`ScatterAccumulator`] is cheaper.
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
        let side = if scatter { width } else { 0 };
        let numbers = width.saturating_mul(classes).saturating_add(side.saturating_mul(side));
        let parts = (0..parts(numbers)).map(|_| Part::new(width, classes, side));
        Ok(Self { references, has_reference: vec![false; classes], parts: parts.collect::<Result<_, _>>()? })
    }

    /// Takes in a batch: `features` is d × B, a column a sample (the transpose of what frameworks have), `labels` are
    /// their classes from 0. A batch with an error is not taken in at all.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where there are not d rows, or not as many columns as labels; [`Error::LabelOutOfRange`];
    /// [`Error::NotFinite`].
    pub fn add<T: Copy + Into<f64> + Sync>(&mut self, features: MatRef<'_, T>, labels: &[usize]) -> Result<(), Error> {
        check_batch(features, labels, self.references.nrows(), self.has_reference.len())?;
        self.refer(features, labels);
        let references = self.references.as_ref();
        share(&mut self.parts, labels.len(), |part, samples, par| {
            let (features, labels) = (features.subcols(samples.start, samples.len()), &labels[samples]);
            part.add(features, labels, references, None, par);
        });
        Ok(())
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

    /// What has been gathered so far.
    #[must_use]
    pub fn finish(self) -> FeatureStatistics {
        let (mut means, mut parts) = (self.references, self.parts.into_iter());
        let Some(first) = parts.next() else { unreachable!("there is at least one part") };
        let Part { counts, mut sums, mut squares, mut scatter, .. } = parts.fold(first, Part::plus);
        for (k, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            // Σ (h - h̄)(h - h̄)ᵀ = Σ (h - r)(h - r)ᵀ - s sᵀ/n, s = Σ (h - r).
            let root = (count as f64).sqrt();
            let mut sum = sums.col_mut(k);
            sum /= Scale(root);
            squares[k] = (squares[k] - sum.squared_norm_l2()).max(0.0);
            let mut mean = means.col_mut(k);
            mean += Scale(1.0 / root) * sum;
        }
        let gathered = sums.subrows(0, scatter.nrows());
        add_gram(scatter.as_mut(), gathered, -1.0, all_cores());
        mirror(&mut scatter);
        let scatter = (scatter.nrows() > 0).then_some(Scatter::Full(scatter));
        FeatureStatistics { counts, means, squares, scatter }
    }
}

/// Gathers, in a second pass, the scatter within classes along the K - 1 directions in which the classes differ: all
/// that NC1 needs of it, for 2 N d K operations.
#[derive(Clone, Debug)]
pub struct ScatterAccumulator {
    statistics: FeatureStatistics,
    /// An orthonormal basis of the differences of class means, d × r.
    basis: Mat<f64>,
    /// Σ y yᵀ, y = basisᵀ (h - h̄_k), in shares of every batch.
    parts: Vec<Part>,
}

impl ScatterAccumulator {
    /// After a first pass over the same samples.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples; [`Error::TooLarge`], [`Error::SvdDidNotConverge`].
    pub fn new(statistics: FeatureStatistics) -> Result<Self, Error> {
        statistics.check_counts()?;
        let means = statistics.means.as_ref();
        let first = means.col(0).to_owned();
        let mut differences = try_zeros("differences of class means", means.nrows(), means.ncols() as u64)?;
        for (mut to, mean) in differences.col_iter_mut().zip(means.col_iter()) {
            to.copy_from(mean - &first);
        }
        let rank = means.nrows().min(means.ncols() - 1);
        let basis = dense_svd(differences.as_ref())?.left.subcols(0, rank).to_owned();
        let (width, classes) = means.shape();
        let parts = (0..parts(width * classes + rank * rank)).map(|_| Part::new(width, classes, rank));
        Ok(Self { parts: parts.collect::<Result<_, _>>()?, statistics, basis })
    }

    /// Takes in a batch, as [`FeatureAccumulator::add`].
    ///
    /// # Errors
    ///
    /// As [`FeatureAccumulator::add`].
    pub fn add<T: Copy + Into<f64> + Sync>(&mut self, features: MatRef<'_, T>, labels: &[usize]) -> Result<(), Error> {
        let means = self.statistics.means.as_ref();
        check_batch(features, labels, means.nrows(), means.ncols())?;
        let basis = Some(self.basis.as_ref());
        share(&mut self.parts, labels.len(), |part, samples, par| {
            let (features, labels) = (features.subcols(samples.start, samples.len()), &labels[samples]);
            part.add(features, labels, means, basis, par);
        });
        Ok(())
    }

    /// The statistics of the first pass, with the scatter of the second.
    ///
    /// # Errors
    ///
    /// [`Error::Passes`] where the two passes have not seen the same number of samples of every class.
    pub fn finish(self) -> Result<FeatureStatistics, Error> {
        let Self { mut statistics, basis, parts } = self;
        let mut parts = parts.into_iter();
        let Some(first) = parts.next() else { unreachable!("there is at least one part") };
        let Part { counts: seen, mut scatter, .. } = parts.fold(first, Part::plus);
        if let Some(class) = (0..seen.len()).find(|&class| seen[class] != statistics.counts[class]) {
            return Err(Error::Passes { class, first: statistics.counts[class], second: seen[class] });
        }
        mirror(&mut scatter);
        statistics.scatter = Some(Scatter::Along { basis, scatter });
        Ok(statistics)
    }
}

/// Class means of features, and how the features of each class vary about them.
#[derive(Clone, Debug)]
pub struct FeatureStatistics {
    counts: Vec<u64>,
    /// d × K.
    means: Mat<f64>,
    /// Σ ‖h - h̄_k‖² of every class.
    squares: Vec<f64>,
    scatter: Option<Scatter>,
}

/// N Σ_W.
#[derive(Clone, Debug)]
enum Scatter {
    /// All of it, d × d.
    Full(Mat<f64>),
    /// Along a basis of the differences of class means.
    Along { basis: Mat<f64>, scatter: Mat<f64> },
}

impl FeatureStatistics {
    /// The samples of every class.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples.
    pub fn class_counts(&self) -> Result<ClassCounts, Error> {
        ClassCounts::new(self.counts.as_slice())
    }

    /// Class means H̄, d × K; zero for a class without samples.
    #[must_use]
    pub fn means(&self) -> MatRef<'_, f64> {
        self.means.as_ref()
    }

    /// Σ_i ‖h_{k,i} - h̄_k‖²/n_k of every class, NaN for a class without samples.
    #[must_use]
    pub fn variances(&self) -> Vec<f64> {
        self.squares.iter().zip(&self.counts).map(|(square, &count)| square / count as f64).collect()
    }

    /// ‖H‖² of all features.
    #[must_use]
    pub fn squared_norm(&self) -> f64 {
        let means = self.means.col_iter().zip(&self.counts);
        means.map(|(mean, &count)| count as f64 * mean.squared_norm_l2()).sum::<f64>()
            + self.squares.iter().sum::<f64>()
    }

    /// NC1: the variability within classes beside that between them; never negative. None where all class means are
    /// equal. Cost: a thin decomposition of d × K, and d² K operations.
    ///
    /// # Errors
    ///
    /// [`Error::NoScatter`] where the scatter has not been gathered; [`Error::ZeroCount`] for a class without samples;
    /// [`Error::SvdDidNotConverge`], [`Error::TooLarge`].
    pub fn nc1(&self, convention: Nc1Convention) -> Result<Option<f64>, Error> {
        self.check_counts()?;
        let scatter = self.scatter.as_ref().ok_or(Error::NoScatter)?;
        nc1(self.means.as_ref(), &self.counts, convention, |vectors| {
            let quadratic = |scatter: &Mat<f64>, vectors: MatRef<'_, f64>| {
                let product = scatter * vectors;
                // Not negative but for rounding.
                (0..vectors.ncols()).map(|i| (vectors.col(i).transpose() * product.col(i)).max(0.0)).collect()
            };
            Ok(match scatter {
                Scatter::Full(scatter) => quadratic(scatter, vectors),
                Scatter::Along { basis, scatter } => quadratic(scatter, (basis.transpose() * vectors).as_ref()),
            })
        })
    }

    /// tr Σ_W / tr Σ_B with Σ_B = Σ_k (h̄_k - h_G)(h̄_k - h_G)ᵀ/K; none where all class means are equal. Needs no
    /// scatter.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples.
    pub fn trace_ratio(&self) -> Result<Option<f64>, Error> {
        self.check_counts()?;
        let samples: f64 = self.counts.iter().map(|&count| count as f64).sum();
        let global = weighted_mean(self.means.as_ref(), |k| self.counts[k] as f64 / samples);
        let between: f64 = self.means.col_iter().map(|mean| (mean - &global).squared_norm_l2()).sum();
        let within: f64 = self.squares.iter().sum();
        Ok((between > 0.0).then(|| within / samples * self.counts.len() as f64 / between))
    }

    /// The class-distance normalized variance (Galanti, György, Hutter 2022): the mean of (var_k + var_l)/(2 ‖h̄_k - h̄_l‖²)
    /// over pairs of classes; none where two class means are equal, or there is one class. Needs no scatter. Cost:
    /// O(K² d) operations.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples.
    pub fn class_distance_normalized_variance(&self) -> Result<Option<f64>, Error> {
        self.check_counts()?;
        let (variances, classes) = (self.variances(), self.counts.len());
        let (mut sum, mut pairs) = (0.0, 0.0);
        for k in 0..classes {
            for l in 0..k {
                let distance = (self.means.col(k) - self.means.col(l)).squared_norm_l2();
                if distance == 0.0 {
                    return Ok(None);
                }
                sum += (variances[k] + variances[l]) / (2.0 * distance);
                pairs += 1.0;
            }
        }
        Ok((pairs > 0.0).then(|| sum / pairs))
    }

    /// The statistics of the samples of both, of which neither has seen those of the other.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] where widths or numbers of classes differ; [`Error::NoScatter`] where one of the two has the
    /// full scatter and the other has not. What a second pass has gathered is not merged but dropped.
    pub fn merge(mut self, other: &Self) -> Result<Self, Error> {
        if self.means.shape() != other.means.shape() {
            return Err(Error::Shape {
                block: Block::Features,
                expected: self.means.shape(),
                found: other.means.shape(),
            });
        }
        let (width, classes) = self.means.shape();
        // Σ over both about the common mean: both sums, and n_a n_b/(n_a + n_b) δ δᵀ.
        let mut differences = try_zeros("differences of class means", width, classes as u64)?;
        for k in 0..classes {
            let (own, theirs) = (self.counts[k] as f64, other.counts[k] as f64);
            if theirs > 0.0 {
                let difference = other.means.col(k) - self.means.col(k);
                let mut mean = self.means.col_mut(k);
                mean += Scale(theirs / (own + theirs)) * &difference;
                differences.col_mut(k).copy_from(Scale((own * theirs / (own + theirs)).sqrt()) * difference);
            }
            self.counts[k] += other.counts[k];
            self.squares[k] += other.squares[k] + differences.col(k).squared_norm_l2();
        }
        self.scatter = match (self.scatter.take(), &other.scatter) {
            (Some(Scatter::Full(mut scatter)), Some(Scatter::Full(others))) => {
                scatter += others;
                add_gram(scatter.as_mut(), differences.as_ref(), 1.0, all_cores());
                mirror(&mut scatter);
                Some(Scatter::Full(scatter))
            }
            (Some(Scatter::Full(_)), _) | (_, Some(Scatter::Full(_))) => return Err(Error::NoScatter),
            _ => None,
        };
        Ok(self)
    }

    fn check_counts(&self) -> Result<(), Error> {
        match self.counts.iter().position(|&count| count == 0) {
            Some(class) => Err(Error::ZeroCount { class }),
            None => Ok(()),
        }
    }
}

fn check_batch<T: Copy + Into<f64> + Sync>(
    features: MatRef<'_, T>,
    labels: &[usize],
    width: usize,
    classes: usize,
) -> Result<(), Error> {
    let expected = (width, labels.len());
    if features.shape() != expected {
        return Err(Error::Shape { block: Block::Features, expected, found: features.shape() });
    }
    if let Some(index) = labels.iter().position(|&label| label >= classes) {
        return Err(Error::LabelOutOfRange { index, label: labels[index], classes });
    }
    // All cores look for columns that are not finite; where there are any, the first of them is looked up.
    let arch = Arch::new();
    let chunks = labels.len().div_ceil(PANEL);
    let finite = map_range(chunks, 1, |chunk| {
        let columns = chunk * PANEL..labels.len().min((chunk + 1) * PANEL);
        columns.into_iter().all(|col| match features.col(col).try_as_col_major() {
            Some(column) => arch.dispatch(IsFinite { entries: column.as_slice() }),
            None => features.col(col).iter().all(|entry| (*entry).into().is_finite()),
        })
    });
    let Some(chunk) = finite.iter().position(|finite| !finite) else { return Ok(()) };
    for (col, column) in features.col_iter().enumerate().skip(chunk * PANEL) {
        let mut entries = column.iter().map(|entry| (*entry).into()).enumerate();
        if let Some((row, value)) = entries.find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { block: Block::Features, row, col, value });
        }
    }
    Ok(())
}

/// Whether all entries are finite, in registers of the processor's full width.
struct IsFinite<'a, T> {
    entries: &'a [T],
}

impl<T: Copy + Into<f64>> WithSimd for IsFinite<'_, T> {
    type Output = bool;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> bool {
        let (chunks, rest) = self.entries.as_chunks::<LANES>();
        let mut zeros = [0.0; LANES];
        for chunk in chunks {
            for (zero, &entry) in zeros.iter_mut().zip(chunk) {
                // Zero, or NaN where the entry is NaN or infinite.
                *zero += entry.into() * 0.0;
            }
        }
        zeros.iter().all(|zero| *zero == 0.0) && rest.iter().all(|&entry| entry.into().is_finite())
    }
}

/// What one core sums up of its share of every batch.
#[derive(Clone, Debug)]
struct Part {
    counts: Vec<u64>,
    /// Σ (h - r_k), d × K.
    sums: Mat<f64>,
    /// Σ ‖h - r_k‖² of every class.
    squares: Vec<f64>,
    /// Σ (h - r_k)(h - r_k)ᵀ, or the same along a basis, the lower triangle; of side zero where it is not gathered.
    scatter: Mat<f64>,
    /// h - r_k of a panel.
    panel: Mat<f64>,
    /// A sample whose numbers do not lie beside each other.
    gathered: Vec<f64>,
}

impl Part {
    fn new(width: usize, classes: usize, side: usize) -> Result<Self, Error> {
        Ok(Self {
            counts: vec![0; classes],
            sums: try_zeros("class sums", width, classes as u64)?,
            squares: vec![0.0; classes],
            scatter: try_zeros("scatter of features", side, side as u64)?,
            panel: try_zeros("panel of features", width, PANEL as u64)?,
            gathered: vec![0.0; width],
        })
    }

    fn add<T: Copy + Into<f64>>(
        &mut self,
        features: MatRef<'_, T>,
        labels: &[usize],
        references: MatRef<'_, f64>,
        basis: Option<MatRef<'_, f64>>,
        par: Par,
    ) {
        let arch = Arch::new();
        for start in (0..labels.len()).step_by(PANEL) {
            let labels = &labels[start..labels.len().min(start + PANEL)];
            let mut panel = self.panel.as_mut().subcols_mut(0, labels.len());
            for (j, &class) in labels.iter().enumerate() {
                let (reference, sum) = (slice(references.col(class)), slice_mut(self.sums.as_mut().col_mut(class)));
                let (column, to) = (features.col(start + j), slice_mut(panel.rb_mut().col_mut(j)));
                self.counts[class] += 1;
                self.squares[class] += if let Some(from) = column.try_as_col_major() {
                    arch.dispatch(Subtract { from: from.as_slice(), reference, to, sum })
                } else {
                    self.gathered.iter_mut().zip(column.iter()).for_each(|(to, from)| *to = (*from).into());
                    arch.dispatch(Subtract { from: self.gathered.as_slice(), reference, to, sum })
                };
            }
            match basis {
                Some(basis) => {
                    let along = basis.transpose() * panel.rb();
                    add_gram(self.scatter.as_mut(), along.as_ref(), 1.0, par);
                }
                None if self.scatter.nrows() > 0 => add_gram(self.scatter.as_mut(), panel.rb(), 1.0, par),
                None => {}
            }
        }
    }

    fn plus(mut self, other: Self) -> Self {
        self.counts.iter_mut().zip(other.counts).for_each(|(count, others)| *count += others);
        self.squares.iter_mut().zip(other.squares).for_each(|(square, others)| *square += others);
        self.sums += other.sums;
        self.scatter += other.scatter;
        self
    }
}

/// As many parts as memory for eight million numbers allows, each of this many: 64 MiB.
fn parts(numbers: usize) -> usize {
    ((8 << 20) / numbers.max(1)).clamp(1, 8)
}

/// Every part works on its share of the samples; where there is but one, its products are for all cores.
fn share(parts: &mut [Part], samples: usize, work: impl Fn(&mut Part, Range<usize>, Par) + Send + Sync) {
    if let [part] = parts {
        return work(part, 0..samples, all_cores());
    }
    let size = samples.div_ceil(parts.len());
    let shares =
        parts.iter_mut().enumerate().map(|(i, part)| (part, (i * size).min(samples)..((i + 1) * size).min(samples)));
    for_each(shares.collect(), |(part, samples)| work(part, samples, Par::Seq));
}

/// `to` = h - r, added to `sum`; returns ‖h - r‖². In registers of the processor's full width.
struct Subtract<'a, T> {
    from: &'a [T],
    reference: &'a [f64],
    to: &'a mut [f64],
    sum: &'a mut [f64],
}

impl<T: Copy + Into<f64>> WithSimd for Subtract<'_, T> {
    type Output = f64;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> f64 {
        let (from, from_rest) = self.from.as_chunks::<LANES>();
        let (reference, reference_rest) = self.reference.as_chunks::<LANES>();
        let (to, to_rest) = self.to.as_chunks_mut::<LANES>();
        let (sum, sum_rest) = self.sum.as_chunks_mut::<LANES>();
        let mut squares = [0.0; LANES];
        for (((from, reference), to), sum) in from.iter().zip(reference).zip(to).zip(sum) {
            for lane in 0..LANES {
                let difference = from[lane].into() - reference[lane];
                to[lane] = difference;
                sum[lane] += difference;
                squares[lane] += difference * difference;
            }
        }
        for (((from, reference), to), sum) in from_rest.iter().zip(reference_rest).zip(to_rest).zip(sum_rest) {
            *to = (*from).into() - reference;
            *sum += *to;
            squares[0] += *to * *to;
        }
        squares.iter().sum()
    }
}

/// Adds ± X Xᵀ to the lower triangle of a matrix.
fn add_gram(to: MatMut<'_, f64>, columns: MatRef<'_, f64>, sign: f64, par: Par) {
    let (lower, all) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
    matmul(to, lower, Accum::Add, columns, all, columns.transpose(), all, sign, par);
}

/// Makes a matrix symmetric from its lower triangle.
fn mirror(matrix: &mut Mat<f64>) {
    for j in 0..matrix.ncols() {
        for i in 0..j {
            matrix[(i, j)] = matrix[(j, i)];
        }
    }
}

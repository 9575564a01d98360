//! Accumulators and statistics of shards become one: what threads, processes or machines have gathered of their own
//! samples.

use faer::{Mat, Scale};

use super::{
    FeatureStatistics, Scatter, accumulators::FeatureAccumulator, part::Part, second_pass::ScatterAccumulator,
};
use crate::{
    error::{Block, Error},
    linalg::{
        checks::{are_equal, check_shape},
        cores::all_cores,
        memory::try_zeros,
        product::{add_gram, mirror},
    },
    metrics::variability::mean_error,
};

/// The largest number of samples: the largest range of whole numbers that are exact as `f64`.
pub(crate) const MAX_SAMPLES: u64 = 1 << 53;

impl FeatureAccumulator {
    /// An empty accumulator for the same classes and width, with or without scatter, that sums up relative to the same
    /// references: those of classes that this one has seen.
    ///
    /// For shards whose accumulators are merged: let one accumulator take in a batch that has several samples of every
    /// class, and give each shard a fork of it. Then a merge moves no sums from one reference to another, and if no sum
    /// rounds either, as with small whole numbers, it is the batch result to the last bit, however samples are sharded.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`].
    pub fn fork(&self) -> Result<Self, Error> {
        let ((width, classes), side) = (self.references.shape(), self.parts[0].scatter.nrows());
        let parts = Part::all(width, classes, side)?;
        Ok(Self { references: self.references.clone(), has_reference: self.has_reference.clone(), parts })
    }

    /// Takes in the samples of another accumulator, of which this one has seen none. A merge with an error takes in
    /// nothing.
    ///
    /// Sums in floating-point numbers depend on their order, so that this is what is the same to the last bit:
    ///
    /// - The same shards merged in the same order give the same result: on any number of threads, in one process or in
    ///   many, through the saved forms of the feature `serde` or not. A shard is the sequence of its batches, and the
    ///   empty accumulator is neutral.
    /// - An accumulator that is saved, read and given further batches ends like one that has taken in all of them.
    /// - Shards of one [`FeatureAccumulator::fork`] whose sums do not round give the batch result in any order.
    ///
    /// Otherwise a merged result differs from the batch result by rounding, as if batches had come in another order.
    /// Cost: d K operations, and d² K with the scatter.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if widths or numbers of classes differ; [`Error::Unmergeable`] if only one of the two gathers
    /// the scatter; [`Error::TooManySamples`], [`Error::TooLarge`].
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{faer::mat, metrics::FeatureAccumulator};
    ///
    /// let mut first = FeatureAccumulator::new(1, 2)?;
    /// first.add(mat![[1.0, 3.0, 8.0]].as_ref(), &[0, 0, 1])?;
    /// let mut second = FeatureAccumulator::new(1, 2)?;
    /// second.add(mat![[5.0, 4.0]].as_ref(), &[0, 1])?;
    /// first.merge(second)?;
    /// assert_eq!(first.finish().class_means(), mat![[3.0, 6.0]]);
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn merge(&mut self, other: Self) -> Result<(), Error> {
        check_shape(Block::Features, self.references.shape(), other.references.shape())?;
        if self.parts[0].scatter.nrows() != other.parts[0].scatter.nrows() {
            return Err(Error::Unmergeable { what: "what they gather, the scatter or not," });
        }
        let mut shard = Part::total(other.parts);
        check_samples(&self.parts, &shard)?;
        let (width, classes) = self.references.shape();
        let mut shifts = try_zeros("differences of references", width, classes as u64)?;
        for k in (0..classes).filter(|&k| self.has_reference[k] && shard.counts[k] > 0) {
            shifts.col_mut(k).copy_from(other.references.col(k) - self.references.col(k));
        }
        shift(&mut shard, &shifts)?;
        let known = self.has_reference.iter_mut().zip(&other.has_reference).enumerate();
        for (k, (has, _)) in known.filter(|(_, (has, other))| !**has && **other) {
            self.references.col_mut(k).copy_from(other.references.col(k));
            *has = true;
        }
        absorb(&mut self.parts, &shard);
        Ok(())
    }
}

impl ScatterAccumulator {
    /// Takes in the samples of another accumulator after the same first pass, of which this one has seen none in its
    /// second. A merge with an error takes in nothing.
    ///
    /// Give every process the same accumulator, in its saved form or a clone, before the second pass: the basis of a
    /// decomposition made on another processor can differ in its last bits, and is refused. What is the same to the last
    /// bit: as for [`FeatureAccumulator::merge`]; all shards sum up relative to the class means of the first pass.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if widths or numbers of classes differ; [`Error::Unmergeable`] if the statistics of the first
    /// pass or the bases do; [`Error::TooManySamples`].
    pub fn merge(&mut self, other: Self) -> Result<(), Error> {
        check_shape(Block::Features, self.statistics.means.shape(), other.statistics.means.shape())?;
        if self.statistics != other.statistics {
            return Err(Error::Unmergeable { what: "the statistics of the first pass" });
        }
        if !are_equal(self.basis.as_ref(), other.basis.as_ref()) {
            return Err(Error::Unmergeable { what: "the directions of the second pass" });
        }
        let shard = Part::total(other.parts);
        check_samples(&self.parts, &shard)?;
        absorb(&mut self.parts, &shard);
        Ok(())
    }
}

impl FeatureStatistics {
    /// Merges statistics of two disjoint sets of samples.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if widths or numbers of classes differ; [`Error::NoScatter`] if only one of the two has the
    /// full scatter. What a second pass has gathered is dropped, not merged.
    pub fn merge(mut self, other: &Self) -> Result<Self, Error> {
        check_shape(Block::Features, self.means.shape(), other.means.shape())?;
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
                let errors = (own * self.errors[k] + theirs * other.errors[k]) / (own + theirs);
                self.errors[k] = errors + mean_error(self.means.col(k).norm_l2(), 1.0, 0.0);
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
}

/// Whether the samples of all classes together can be counted.
fn check_samples(parts: &[Part], shard: &Part) -> Result<(), Error> {
    let mut samples = 0_u64;
    for class in 0..shard.counts.len() {
        for part in parts.iter().chain([shard]) {
            samples = samples.saturating_add(part.counts[class]);
        }
        if samples > MAX_SAMPLES {
            return Err(Error::TooManySamples { class });
        }
    }
    Ok(())
}

/// Adds a shard to the sum of all parts. In the first part alone, whether it has been merged before or not: then the
/// result depends on the order of the shards only, and not on where a first one comes from.
fn absorb(parts: &mut [Part], shard: &Part) {
    let Some((first, rest)) = parts.split_first_mut() else { unreachable!("there is at least one part") };
    for part in rest {
        first.absorb(part);
        part.clear();
    }
    first.absorb(shard);
}

/// Makes sums about references sums about references that are less by these shifts, d × K. Of a class whose shift is zero
/// no bit changes.
///
/// With s = Σ (h - r) and t = s + n δ: Σ (h - r + δ)(h - r + δ)ᵀ = Σ (h - r)(h - r)ᵀ - s sᵀ/n + t tᵀ/n.
fn shift(part: &mut Part, shifts: &Mat<f64>) -> Result<(), Error> {
    let (width, classes) = shifts.shape();
    let mut before = try_zeros("class sums", width, classes as u64)?;
    let mut after = try_zeros("class sums", width, classes as u64)?;
    let moved: Vec<usize> = (0..classes).filter(|&k| shifts.col(k).norm_max() > 0.0).collect();
    for &k in &moved {
        let count = part.counts[k] as f64;
        let root = Scale(1.0 / count.sqrt());
        before.col_mut(k).copy_from(root * part.sums.col(k));
        let mut sum = part.sums.col_mut(k);
        sum += Scale(count) * shifts.col(k);
        after.col_mut(k).copy_from(root * part.sums.col(k));
        let centered = (part.squares[k] - before.col(k).squared_norm_l2()).max(0.0);
        part.squares[k] = centered + after.col(k).squared_norm_l2();
    }
    if !moved.is_empty() && part.scatter.nrows() > 0 {
        add_gram(part.scatter.as_mut(), before.as_ref(), -1.0, all_cores());
        add_gram(part.scatter.as_mut(), after.as_ref(), 1.0, all_cores());
    }
    Ok(())
}

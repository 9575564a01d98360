//! How many directions the features of each class take.

use faer::{Col, Mat, MatRef};

use super::{features::takes_batches, frames::rank_of_gram};
use crate::{
    error::Error,
    linalg::{cores::all_cores, memory::try_zeros, product::add_gram},
};

/// Gathers the Gram matrix of the features of every class, for their effective ranks: exp(-Σ p_i log p_i) with p_i = s_i/Σ
/// s and the singular values s_i of H_k, d × n_k, as it is. It is 1 if all samples of a class have one direction, as
/// after neural collapse, and d at most.
///
/// Memory: d² numbers for each class. Cost: d² operations for each sample, and one decomposition of d × d for each class.
///
/// # Example
///
/// ```
/// use neural_collapse::{faer::mat, metrics::ClassRanks};
///
/// let mut ranks = ClassRanks::new(2, 2, 100)?;
/// // The first class has one direction, the second two of the same size.
/// ranks.add(mat![[1.0, 2.0, 1.0, 0.0], [1.0, 2.0, 0.0, 1.0]].as_ref(), &[0, 0, 1, 1])?;
/// let ranks = ranks.finish()?;
/// assert!((ranks[0].unwrap() - 1.0).abs() < 1e-7 && (ranks[1].unwrap() - 2.0).abs() < 1e-12);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ClassRanks {
    most: usize,
    seen: Vec<usize>,
    /// Σ h hᵀ, d × d, the lower triangle.
    grams: Vec<Mat<f64>>,
    /// Σ h.
    sums: Vec<Col<f64>>,
    width: usize,
}

takes_batches!(ClassRanks);

impl ClassRanks {
    /// For features of width d and this number of classes, of each of which the first `most` samples count.
    ///
    /// # Errors
    ///
    /// [`Error::NoClasses`], [`Error::Domain`] for a width of zero, [`Error::TooLarge`].
    pub fn new(width: usize, classes: usize, most: usize) -> Result<Self, Error> {
        if classes == 0 {
            return Err(Error::NoClasses);
        }
        if width == 0 {
            return Err(Error::Domain { argument: "width of features", value: 0.0, accepted: "at least 1" });
        }
        let gram = |_| try_zeros("Gram matrix of a class", width, width as u64);
        let grams = (0..classes).map(gram).collect::<Result<_, _>>()?;
        Ok(Self { most, seen: vec![0; classes], grams, sums: vec![Col::zeros(width); classes], width })
    }

    /// The width d, and the number of classes.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        (self.width, self.seen.len())
    }

    /// Adds a batch that has passed the checks of `add`.
    pub(in crate::metrics) fn add_checked<T: Copy + Into<f64> + Sync>(
        &mut self,
        features: MatRef<'_, T>,
        labels: &[usize],
    ) {
        let mut of_class = vec![Vec::new(); self.seen.len()];
        for (sample, &class) in labels.iter().enumerate() {
            if self.seen[class] < self.most {
                self.seen[class] += 1;
                of_class[class].push(sample);
            }
        }
        let sums = self.grams.iter_mut().zip(&mut self.sums);
        for ((gram, sum), samples) in sums.zip(of_class).filter(|(_, samples)| !samples.is_empty()) {
            let own = Mat::from_fn(self.width, samples.len(), |i, j| features[(i, samples[j])].into());
            add_gram(gram.as_mut(), own.as_ref(), 1.0, all_cores());
            for sample in own.col_iter() {
                *sum += sample;
            }
        }
    }

    /// The effective rank of every class; `None` for one without samples, or whose features are all zero. The Gram matrix
    /// squares singular values: those below √(d ε) of the largest are rounding, and count as zero.
    ///
    /// # Errors
    ///
    /// [`Error::SvdDidNotConverge`].
    pub fn finish(self) -> Result<Vec<Option<f64>>, Error> {
        self.grams.into_iter().map(|gram| rank_of_gram(gram, 0.0)).collect()
    }

    /// The effective rank of all features about their mean; `None` if a class has more samples than count.
    pub(super) fn of_all(&self, counts: &[u64]) -> Result<Option<f64>, Error> {
        if self.seen.iter().zip(counts).any(|(&seen, &count)| seen as u64 != count) {
            return Ok(None);
        }
        let mut gram = try_zeros("Gram matrix of features", self.width, self.width as u64)?;
        let mut sum = Col::<f64>::zeros(self.width);
        for (own, of_class) in self.grams.iter().zip(&self.sums) {
            gram += own;
            sum += of_class;
        }
        let samples: f64 = counts.iter().map(|&count| count as f64).sum();
        let largest = gram.diagonal().column_vector().norm_max();
        // Σ h hᵀ - N h_G h_Gᵀ
        add_gram(gram.as_mut(), sum.as_mat(), -1.0 / samples, all_cores());
        rank_of_gram(gram, largest)
    }
}

//! How many directions the features of each class take.

use faer::{Mat, MatRef};

use super::{features::takes_batches, frames::effective_rank};
use crate::{
    error::Error,
    linalg::{cores::all_cores, dense_svd, memory::try_zeros, product::add_gram},
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
        Ok(Self { most, seen: vec![0; classes], grams: (0..classes).map(gram).collect::<Result<_, _>>()?, width })
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
        for (gram, samples) in self.grams.iter_mut().zip(of_class).filter(|(_, samples)| !samples.is_empty()) {
            let own = Mat::from_fn(self.width, samples.len(), |i, j| features[(i, samples[j])].into());
            add_gram(gram.as_mut(), own.as_ref(), 1.0, all_cores());
        }
    }

    /// The effective rank of every class; `None` for one without samples, or whose features are all zero. The Gram matrix
    /// squares singular values: those below √(d ε) of the largest are rounding, and count as zero.
    ///
    /// # Errors
    ///
    /// [`Error::SvdDidNotConverge`].
    pub fn finish(self) -> Result<Vec<Option<f64>>, Error> {
        let rank = |mut gram: Mat<f64>| {
            for j in 0..gram.ncols() {
                for i in 0..j {
                    gram[(i, j)] = gram[(j, i)];
                }
            }
            let squares = dense_svd(gram.as_ref())?.values;
            let rounding = gram.nrows() as f64 * f64::EPSILON * squares.norm_max();
            let root = |square: &f64| if *square > rounding { square.sqrt() } else { 0.0 };
            Ok(effective_rank(&squares.iter().map(root).collect::<Vec<_>>()))
        };
        self.grams.into_iter().map(rank).collect()
    }
}

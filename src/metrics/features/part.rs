//! The work of one core: sums over its share of every batch, in registers of the processor's full width.

// pulp compiles its kernels for the registers found at run time only if they are inlined.
#![allow(clippy::inline_always)]

use std::ops::Range;

use faer::{
    Accum, Mat, MatRef, Par,
    prelude::{Reborrow, ReborrowMut},
};
use pulp::{Arch, Simd, WithSimd};

use crate::{
    error::Error,
    linalg::{
        cores::{all_cores, for_each},
        lanes::LANES,
        memory::{slice, slice_mut, try_zeros},
        product::{add_gram, multiply},
    },
};

/// Samples that are worked on at a time: they stay in the cache from their subtraction to their product. A million of
/// 512 numbers, one pass for K = 1000 and two for K = 10, take 2.41 s and 0.48 s with 64, 2.27 s and 0.50 s with 96,
/// 2.48 s and 0.52 s with 128, 2.77 s and 0.53 s with 256 (medians of two runs, two cores with 2 MiB of cache each).
pub(crate) const PANEL: usize = 96;

/// What one core sums up of its share of every batch.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) counts: Vec<u64>,
    /// Σ (h - r_k), d × K.
    pub(super) sums: Mat<f64>,
    /// Σ ‖h - r_k‖² of every class.
    pub(super) squares: Vec<f64>,
    /// Σ (h - r_k)(h - r_k)ᵀ, or the same along a basis, the lower triangle; of side zero if it is not gathered.
    pub(super) scatter: Mat<f64>,
    /// h - r_k of a panel.
    panel: Mat<f64>,
    /// The same along a basis.
    along: Mat<f64>,
    /// A sample whose numbers are not contiguous in memory.
    gathered: Vec<f64>,
}

impl Part {
    pub(super) fn new(width: usize, classes: usize, side: usize) -> Result<Self, Error> {
        Ok(Self {
            counts: vec![0; classes],
            sums: try_zeros("class sums", width, classes as u64)?,
            squares: vec![0.0; classes],
            scatter: try_zeros("scatter of features", side, side as u64)?,
            panel: try_zeros("panel of features", width, PANEL as u64)?,
            along: try_zeros("panel of features along a basis", side, PANEL as u64)?,
            gathered: vec![0.0; width],
        })
    }

    pub(super) fn all(width: usize, classes: usize, side: usize) -> Result<Vec<Self>, Error> {
        (0..number_of_parts(width, classes, side)).map(|_| Self::new(width, classes, side)).collect()
    }

    /// The sum of all parts.
    pub(super) fn total(parts: Vec<Self>) -> Self {
        sum_of_parts(parts, Self::absorb)
    }

    pub(super) fn add<T: Copy + Into<f64>>(
        &mut self,
        features: MatRef<'_, T>,
        labels: &[usize],
        references: MatRef<'_, f64>,
        basis: Option<MatRef<'_, f64>>,
        par: Par,
    ) {
        let arch = Arch::new();
        // Class by class, so that the numbers of a class are fetched from memory once.
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by_key(|&sample| labels[sample]);
        for samples in order.chunks(PANEL) {
            let mut panel = self.panel.as_mut().subcols_mut(0, samples.len());
            for (j, &sample) in samples.iter().enumerate() {
                let class = labels[sample];
                let (reference, sum) = (slice(references.col(class)), slice_mut(self.sums.as_mut().col_mut(class)));
                let (column, to) = (features.col(sample), slice_mut(panel.rb_mut().col_mut(j)));
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
                    let mut along = self.along.as_mut().subcols_mut(0, samples.len());
                    multiply(along.rb_mut(), Accum::Replace, basis.transpose(), panel.rb(), 1.0, par);
                    add_gram(self.scatter.as_mut(), along.rb(), 1.0, par);
                }
                None if self.scatter.nrows() > 0 => add_gram(self.scatter.as_mut(), panel.rb(), 1.0, par),
                None => {}
            }
        }
    }

    /// Adds what another has summed up about the same references.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, others)| *count += others);
        self.squares.iter_mut().zip(&other.squares).for_each(|(square, others)| *square += others);
        self.sums += &other.sums;
        self.scatter += &other.scatter;
    }

    /// Takes everything back.
    pub(super) fn clear(&mut self) {
        self.counts.fill(0);
        self.squares.fill(0.0);
        self.sums.fill(0.0);
        self.scatter.fill(0.0);
    }
}

/// The sum of all parts, of which there is at least one, from the first to the last.
pub(in crate::metrics) fn sum_of_parts<P>(parts: Vec<P>, absorb: impl Fn(&mut P, &P)) -> P {
    let mut parts = parts.into_iter();
    let Some(first) = parts.next() else { unreachable!("there is at least one part") };
    parts.fold(first, |mut sum, part| {
        absorb(&mut sum, &part);
        sum
    })
}

/// As many parts of d K and s² numbers as memory for eight million numbers allows, 64 MiB, and eight at most.
pub(crate) fn number_of_parts(width: usize, classes: usize, side: usize) -> usize {
    let numbers = width.saturating_mul(classes).saturating_add(side.saturating_mul(side));
    ((8 << 20) / numbers.max(1)).clamp(1, 8)
}

/// Every part works on its share of the samples; if there is but one, its products are for all cores.
pub(crate) fn share<P: Send>(parts: &mut [P], samples: usize, work: impl Fn(&mut P, Range<usize>, Par) + Send + Sync) {
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
            // All is read before anything is written: the compiler does not know that the slices are apart, and would
            // take one number at a time (1.8 times as long).
            let difference: [f64; LANES] = std::array::from_fn(|lane| from[lane].into() - reference[lane]);
            let total = std::array::from_fn(|lane| sum[lane] + difference[lane]);
            squares = std::array::from_fn(|lane| squares[lane] + difference[lane] * difference[lane]);
            (*to, *sum) = (difference, total);
        }
        for (((from, reference), to), sum) in from_rest.iter().zip(reference_rest).zip(to_rest).zip(sum_rest) {
            *to = (*from).into() - reference;
            *sum += *to;
            squares[0] += *to * *to;
        }
        squares.iter().sum()
    }
}

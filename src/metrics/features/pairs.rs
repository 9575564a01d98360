//! Sums over all pairs of classes, a block of one Gram matrix at a time.

use faer::{
    Accum, Mat, MatRef, Par,
    prelude::{Reborrow, ReborrowMut},
};

use crate::{
    error::Error,
    linalg::{
        cores::map_range,
        lanes::LANES,
        memory::{slice, try_zeros},
        product::multiply,
    },
};

/// Classes on each side of a block: its Gram matrix, half a megabyte, stays in the cache while it is used.
const BLOCK: usize = 256;
/// ‖a - b‖² is taken from ‖a‖² + ‖b‖² - 2 aᵀb if that is no smaller than this part of ‖a‖² + ‖b‖²: no more than four
/// bits cancel. Closer pairs are subtracted entry by entry.
const CANCELED: f64 = 1.0 / 16.0;

/// The square of the distance of two class means, relative to the largest from the center, up to which they can coincide.
/// Of minority classes that have collapsed it is 3e-4 to 4e-3 (letters, digits), of other classes 0.02 and more.
const COINCIDENT: f64 = 0.01;
/// The same relative to the sum of the two variances: 0.2 to 2.8 of classes that have collapsed.
const NOISE: f64 = 5.0;

/// Class means, d × K, about a center, with what the pairs need to know of each.
pub(super) struct Pairs<'a> {
    means: MatRef<'a, f64>,
    centered: Mat<f64>,
    /// ‖h̄_k - c‖².
    squares: Vec<f64>,
    /// How far each mean may be from the true one, squared.
    errors: Vec<f64>,
}

impl<'a> Pairs<'a> {
    /// About the center `center`, from which means that are far from the origin lose nothing.
    pub(super) fn new(means: MatRef<'a, f64>, center: faer::ColRef<'_, f64>, errors: &[f64]) -> Result<Self, Error> {
        let mut centered = try_zeros("centered class means", means.nrows(), means.ncols() as u64)?;
        for (mut to, mean) in centered.col_iter_mut().zip(means.col_iter()) {
            to.copy_from(mean - center);
        }
        let squares = centered.col_iter().map(|mean| mean.squared_norm_l2()).collect();
        Ok(Self { means, centered, squares, errors: errors.iter().map(|error| error * error).collect() })
    }

    /// The mean of (var_k + var_l)/(2 ‖h̄_k - h̄_l‖²) over pairs of classes whose marks differ; `None` if two of these
    /// means are equal up to their errors, or there is no pair. On all cores, in a fixed number of blocks that are added
    /// up in order.
    pub(super) fn mean(&self, variances: &[f64], marks: &[usize]) -> Option<f64> {
        let classes = self.squares.len();
        let blocks: Vec<(usize, usize)> =
            (0..classes.div_ceil(BLOCK)).flat_map(|i| (0..=i).map(move |j| (i * BLOCK, j * BLOCK))).collect();
        let sums = map_range(blocks.len(), 1, |block| self.sum(variances, marks, blocks[block]));
        let (mut sum, mut pairs) = (0.0, 0);
        for block in sums {
            let (of_block, number) = block?;
            sum += of_block;
            pairs += number;
        }
        (pairs > 0).then(|| sum / pairs as f64)
    }

    /// The sum over the pairs k > l of a block that begins at these two classes, and their number.
    fn sum(&self, variances: &[f64], marks: &[usize], (first, second): (usize, usize)) -> Option<(f64, u64)> {
        let size = |start: usize| BLOCK.min(self.squares.len() - start);
        let side = |start| self.centered.subcols(start, size(start));
        let mut gram = Mat::<f64>::zeros(size(first), size(second));
        multiply(gram.as_mut(), Accum::Replace, side(first).transpose(), side(second), 1.0, Par::Seq);
        let (mut sum, mut pairs) = (0.0, 0);
        for (l, column) in (second..).zip(gram.col_iter()) {
            for (k, &product) in (first..).zip(slice(column)).filter(|(k, _)| *k > l && marks[*k] != marks[l]) {
                let distance = self.square_of_distance(k, l, product);
                if !(distance > self.errors[k] + self.errors[l]) {
                    return None;
                }
                sum += (variances[k] + variances[l]) / (2.0 * distance);
                pairs += 1;
            }
        }
        Some((sum, pairs))
    }

    /// The distance of every class mean to the nearest other one, less what is not known of the two: 0 if that is all.
    pub(super) fn nearest(&self) -> Vec<f64> {
        let classes = self.squares.len();
        let starts: Vec<usize> = (0..classes).step_by(BLOCK).collect();
        let of_block = |block: usize| {
            let first = starts[block];
            let size = |start: usize| BLOCK.min(classes - start);
            let side = |start| self.centered.subcols(start, size(start));
            let mut nearest = vec![f64::INFINITY; size(first)];
            let mut gram = Mat::<f64>::zeros(size(first), BLOCK);
            for &second in &starts {
                let mut gram = gram.as_mut().subcols_mut(0, size(second));
                multiply(gram.rb_mut(), Accum::Replace, side(first).transpose(), side(second), 1.0, Par::Seq);
                for (l, column) in (second..).zip(gram.rb().col_iter()) {
                    for (k, nearest) in nearest.iter_mut().enumerate().filter(|(k, _)| first + k != l) {
                        let (k, product) = (first + k, column[k]);
                        let error = self.errors[k].sqrt() + self.errors[l].sqrt();
                        *nearest = nearest.min(self.square_of_distance(k, l, product).max(0.0).sqrt() - error);
                    }
                }
            }
            nearest.into_iter().map(|nearest| if nearest.is_finite() { nearest.max(0.0) } else { 0.0 }).collect()
        };
        let blocks: Vec<Vec<f64>> = map_range(starts.len(), 1, of_block);
        blocks.concat()
    }

    /// As `FeatureStatistics::coincident_means`, of these variances. Means whose distance is not above their errors are
    /// the same too, and so are two that are the same as a third.
    pub(super) fn coincident(&self, variances: &[f64]) -> Vec<usize> {
        let classes = self.squares.len();
        // Where all means are within the noise, as those of random labels, none of them has collapsed.
        let apart = self.squares.iter().zip(variances).filter(|(square, variance)| square > variance);
        let most = COINCIDENT * apart.map(|(square, _)| *square).fold(0.0, f64::max);
        let starts: Vec<usize> = (0..classes).step_by(BLOCK).collect();
        let same = |k: usize, l: usize, product: f64| {
            let distance = self.square_of_distance(k, l, product);
            distance <= self.errors[k] + self.errors[l] || distance <= most.min(NOISE * (variances[k] + variances[l]))
        };
        let of_block = |block: usize| {
            let first = starts[block];
            let size = |start: usize| BLOCK.min(classes - start);
            let side = |start| self.centered.subcols(start, size(start));
            let mut found = Vec::new();
            for &second in &starts[..=block] {
                let mut gram = Mat::<f64>::zeros(size(first), size(second));
                multiply(gram.as_mut(), Accum::Replace, side(first).transpose(), side(second), 1.0, Par::Seq);
                for (l, column) in (second..).zip(gram.col_iter()) {
                    let all = (first..).zip(slice(column)).filter(|(k, _)| *k > l);
                    found.extend(all.filter(|&(k, &product)| same(k, l, product)).map(|(k, _)| (l, k)));
                }
            }
            found
        };
        joined(classes, map_range(starts.len(), 1, of_block).concat())
    }

    /// ‖h̄_k - h̄_l‖², of which the inner product of the centered means is known.
    fn square_of_distance(&self, k: usize, l: usize, product: f64) -> f64 {
        let squares = self.squares[k] + self.squares[l];
        let distance = squares - 2.0 * product;
        if distance >= CANCELED * squares {
            return distance;
        }
        // Of the means themselves: centered ones have rounded away the differences of close pairs.
        subtracted(self.means.col(k), self.means.col(l))
    }
}

/// For every class the first one that these pairs join it with.
fn joined(classes: usize, pairs: Vec<(usize, usize)>) -> Vec<usize> {
    let mut first: Vec<usize> = (0..classes).collect();
    let root = |first: &[usize], mut class: usize| {
        while first[class] != class {
            class = first[class];
        }
        class
    };
    for (l, k) in pairs {
        let (l, k) = (root(&first, l), root(&first, k));
        first[l.max(k)] = l.min(k);
    }
    (0..classes).map(|class| root(&first, class)).collect()
}

/// ‖a - b‖², entry by entry.
fn subtracted(a: faer::ColRef<'_, f64>, b: faer::ColRef<'_, f64>) -> f64 {
    let ((a, a_rest), (b, b_rest)) = (slice(a).as_chunks::<LANES>(), slice(b).as_chunks::<LANES>());
    let mut sums = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        sums = std::array::from_fn(|lane| sums[lane] + (a[lane] - b[lane]) * (a[lane] - b[lane]));
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    sums.iter().sum::<f64>() + rest
}

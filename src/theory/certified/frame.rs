//! Directions in the singular vectors of a point, where the curvature of the penalty is diagonal.

use faer::{Accum, Mat};

use super::problem::{Bias, Problem, Variables};
use crate::linalg::{
    Svd,
    lanes::dot,
    memory::{slice, slice_mut},
    product::{cores_for, multiply, replace},
};

/// A direction: Y = Uᵀ B V, Uᵀ B (I - V Vᵀ) if there are more columns than rows, a and b.
#[derive(Clone, Debug)]
pub(super) struct Coordinates {
    pub(super) y: Mat<f64>,
    pub(super) beyond: Option<Mat<f64>>,
    pub(super) contrasts: Vec<f64>,
    pub(super) bias: Vec<f64>,
}

impl Coordinates {
    pub(super) fn zero(problem: &Problem) -> Self {
        let (rows, columns) = (problem.row_count(), problem.column_count());
        Self {
            y: Mat::zeros(rows, rows),
            beyond: (columns > rows).then(|| Mat::zeros(rows, columns)),
            contrasts: vec![0.0; problem.own_targets.len()],
            bias: vec![0.0; rows],
        }
    }

    fn slices(&self) -> impl Iterator<Item = &[f64]> {
        let columns = self.y.col_iter().chain(self.beyond.iter().flat_map(Mat::col_iter));
        columns.map(slice).chain([self.contrasts.as_slice(), self.bias.as_slice()])
    }

    fn slices_mut(&mut self) -> impl Iterator<Item = &mut [f64]> {
        let columns = self.y.col_iter_mut().chain(self.beyond.iter_mut().flat_map(Mat::col_iter_mut));
        columns.map(slice_mut).chain([self.contrasts.as_mut_slice(), self.bias.as_mut_slice()])
    }

    pub(super) fn dot(&self, other: &Self) -> f64 {
        self.slices().zip(other.slices()).map(|(x, y)| dot(x, y)).sum()
    }

    /// Adds `t` times another direction.
    pub(super) fn add(&mut self, t: f64, other: &Self) {
        for (x, y) in self.slices_mut().zip(other.slices()) {
            x.iter_mut().zip(y).for_each(|(x, y)| *x += t * y);
        }
    }

    /// `other` plus `t` times this.
    pub(super) fn scale_and_add(&mut self, t: f64, other: &Self) {
        for (x, y) in self.slices_mut().zip(other.slices()) {
            x.iter_mut().zip(y).for_each(|(x, y)| *x = y + t * *x);
        }
    }

    pub(super) fn negate(&mut self) {
        self.slices_mut().for_each(|slice| slice.iter_mut().for_each(|x| *x = -*x));
    }
}

/// The map that is 2 `even` on the symmetric part of Y and 2 `odd` on the skew part: kept apart, since the one can be far
/// below the rounding of the other.
pub(super) struct Parts {
    pub(super) even: Mat<f64>,
    pub(super) odd: Mat<f64>,
}

impl Parts {
    /// From the factors of the symmetric part and of the skew part. The diagonal has no skew part; its factor there is that
    /// of its neighbors, so that the entries of an inverse have no jump.
    pub(super) fn new(rows: usize, even: impl Fn(usize, usize) -> f64, odd: impl Fn(usize, usize) -> f64) -> Self {
        let mut parts = Self { even: Mat::zeros(rows, rows), odd: Mat::zeros(rows, rows) };
        for j in 0..rows {
            for i in 0..=j {
                let (even, odd) = (0.5 * even(i, j), 0.5 * odd(i, j));
                parts.even[(i, j)] = even;
                parts.even[(j, i)] = even;
                parts.odd[(i, j)] = odd;
                parts.odd[(j, i)] = odd;
            }
        }
        parts
    }

    /// Adds the image of `from`.
    fn add_image(&self, from: &Mat<f64>, to: &mut Mat<f64>) {
        for (j, to) in to.col_iter_mut().enumerate() {
            let parts = slice(self.even.col(j)).iter().zip(slice(self.odd.col(j)));
            let entries = slice(from.col(j)).iter().zip(from.row(j).iter());
            for ((to, (even, odd)), (here, there)) in slice_mut(to).iter_mut().zip(parts).zip(entries) {
                *to += even * (here + there) + odd * (here - there);
            }
        }
    }
}

/// A symmetric map that takes the pair of Y_ij and Y_ji to itself: `own` times the one plus `other` times the other. On
/// the diagonal both are the same entry, and the sum counts.
pub(super) struct Pairs {
    pub(super) own: Mat<f64>,
    pub(super) other: Mat<f64>,
}

impl Pairs {
    /// Adds the image of `from`.
    pub(super) fn add_image(&self, from: &Mat<f64>, to: &mut Mat<f64>) {
        for (j, to) in to.col_iter_mut().enumerate() {
            let pairs = slice(self.own.col(j)).iter().zip(slice(self.other.col(j)));
            let entries = slice(from.col(j)).iter().zip(from.row(j).iter());
            for ((to, (own, other)), (here, there)) in slice_mut(to).iter_mut().zip(pairs).zip(entries) {
                *to += own * here + other * there;
            }
        }
    }
}

/// The curvature of the penalty at a point, in its singular vectors: the derivative of U diag(φ'(σ)) Vᵀ by the singular
/// vectors and values.
pub(super) struct Frame<'a> {
    pub(super) problem: &'a Problem,
    pub(super) svd: &'a Svd,
    pub(super) parts: Parts,
    /// For every row of what is beyond V.
    pub(super) beyond: Vec<f64>,
    pub(super) contrasts: Vec<f64>,
    /// On the manifold of matrices of this rank there is no block of dropped by dropped directions.
    pub(super) rank: Option<usize>,
}

impl Frame<'_> {
    /// From coordinates to variables.
    pub(super) fn variables(&self, direction: &Coordinates) -> Variables {
        let mut variables = self.problem.zero();
        self.to_variables(direction, &mut self.problem.zero().b, &mut variables);
        variables
    }

    /// The same; `half` is memory for Y Vᵀ.
    pub(super) fn to_variables(&self, direction: &Coordinates, half: &mut Mat<f64>, to: &mut Variables) {
        replace(half.as_mut(), direction.y.as_ref(), self.svd.right.transpose());
        if let Some(beyond) = &direction.beyond {
            *half += beyond;
        }
        replace(to.b.as_mut(), self.svd.left.as_ref(), half.as_ref());
        to.contrasts.copy_from_slice(&direction.contrasts);
        to.bias.copy_from_slice(&direction.bias);
    }

    /// From a gradient by variables to one by coordinates.
    pub(super) fn coordinates(&self, gradient: &Variables) -> Coordinates {
        let mut coordinates = Coordinates::zero(self.problem);
        self.to_coordinates(gradient, &mut self.problem.zero().b, &mut coordinates);
        coordinates
    }

    /// The same; `half` is memory for Uᵀ B.
    pub(super) fn to_coordinates(&self, gradient: &Variables, half: &mut Mat<f64>, to: &mut Coordinates) {
        replace(half.as_mut(), self.svd.left.transpose(), gradient.b.as_ref());
        replace(to.y.as_mut(), half.as_ref(), self.svd.right.as_ref());
        if let Some(beyond) = &mut to.beyond {
            beyond.copy_from(&*half);
            let (y, right) = (to.y.as_ref(), self.svd.right.transpose());
            multiply(beyond.as_mut(), Accum::Add, y, right, -1.0, cores_for(y, right));
        }
        to.contrasts.copy_from_slice(&gradient.contrasts);
        to.bias.copy_from_slice(&gradient.bias);
        self.mask(to);
    }

    /// Sets to zero what may not move.
    pub(super) fn mask(&self, direction: &mut Coordinates) {
        if let Some(rank) = self.rank {
            let rows = self.problem.row_count();
            direction.y.as_mut().submatrix_mut(rank, rank, rows - rank, rows - rank).fill(0.0);
            if let Some(beyond) = &mut direction.beyond {
                beyond.as_mut().subrows_mut(rank, rows - rank).fill(0.0);
            }
        }
        if self.problem.bias == Bias::None {
            direction.bias.fill(0.0);
        }
        for (contrast, moves) in direction.contrasts.iter_mut().zip(&self.problem.moves) {
            if !moves {
                *contrast = 0.0;
            }
        }
    }

    /// Sets to zero the map of pairs that may not move.
    pub(super) fn mask_pairs(&self, pairs: &mut Pairs) {
        if let Some(rank) = self.rank {
            let dropped = self.problem.row_count() - rank;
            for matrix in [&mut pairs.own, &mut pairs.other] {
                matrix.as_mut().submatrix_mut(rank, rank, dropped, dropped).fill(0.0);
            }
        }
    }

    /// Adds the curvature of the penalty times a direction.
    pub(super) fn add_penalty(&self, direction: &Coordinates, to: &mut Coordinates) {
        self.parts.add_image(&direction.y, &mut to.y);
        if let (Some(from), Some(to)) = (&direction.beyond, &mut to.beyond) {
            for (to, from) in to.col_iter_mut().zip(from.col_iter()) {
                for ((to, from), curvature) in to.iter_mut().zip(from.iter()).zip(&self.beyond) {
                    *to += curvature * from;
                }
            }
        }
        for ((to, from), curvature) in to.contrasts.iter_mut().zip(&direction.contrasts).zip(&self.contrasts) {
            *to += curvature * from;
        }
    }
}

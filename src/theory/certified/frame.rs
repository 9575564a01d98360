//! Directions in the singular vectors of a point, where the curvature of the penalty is diagonal.

use faer::{Accum, Mat, MatRef, linalg::matmul::matmul};

use super::problem::{Bias, Problem, Variables};
use crate::{
    error::Error,
    linalg::{
        Svd,
        cores::all_cores,
        dense_svd,
        memory::{slice, slice_mut},
    },
};

/// Fewer operations than this are not worth a second thread.
const PARALLEL_PRODUCT: usize = 1 << 21;

/// A B.
pub(super) fn product(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> Mat<f64> {
    let mut to = Mat::zeros(a.nrows(), b.ncols());
    let operations = a.nrows().saturating_mul(a.ncols()).saturating_mul(b.ncols());
    let par = if operations < PARALLEL_PRODUCT { faer::Par::Seq } else { all_cores() };
    matmul(to.as_mut(), Accum::Replace, a, b, 1.0, par);
    to
}

/// U, σ and V of a matrix that has at least as many columns as rows.
pub(super) fn decompose(matrix: &Mat<f64>) -> Result<Svd, Error> {
    dense_svd(matrix.as_ref())
}

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
        self.slices().zip(other.slices()).map(|(x, y)| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>()).sum()
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

/// The curvature of the penalty at a point, in its singular vectors.
///
/// On the symmetric part of Y it is `even`, on the skew part `odd`: the derivative of U diag(φ'(σ)) Vᵀ by the singular
/// vectors and values.
pub(super) struct Frame<'a> {
    pub(super) problem: &'a Problem,
    pub(super) svd: &'a Svd,
    pub(super) even: Mat<f64>,
    pub(super) odd: Mat<f64>,
    /// For every row of what is beyond V.
    pub(super) beyond: Vec<f64>,
    pub(super) contrasts: Vec<f64>,
    /// On the manifold of matrices of this rank there is no block of dropped by dropped directions.
    pub(super) rank: Option<usize>,
}

impl Frame<'_> {
    /// From coordinates to variables.
    pub(super) fn variables(&self, direction: &Coordinates) -> Variables {
        let mut right = product(direction.y.as_ref(), self.svd.right.transpose());
        if let Some(beyond) = &direction.beyond {
            right += beyond;
        }
        Variables {
            b: product(self.svd.left.as_ref(), right.as_ref()),
            contrasts: direction.contrasts.clone(),
            bias: direction.bias.clone(),
        }
    }

    /// From a gradient by variables to one by coordinates.
    pub(super) fn coordinates(&self, gradient: &Variables) -> Coordinates {
        let left = product(self.svd.left.transpose(), gradient.b.as_ref());
        let y = product(left.as_ref(), self.svd.right.as_ref());
        let beyond = (self.problem.column_count() > self.problem.row_count())
            .then(|| &left - product(y.as_ref(), self.svd.right.transpose()));
        let mut coordinates =
            Coordinates { y, beyond, contrasts: gradient.contrasts.clone(), bias: gradient.bias.clone() };
        self.mask(&mut coordinates);
        coordinates
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

    /// Adds the curvature of the penalty times a direction.
    pub(super) fn add_penalty(&self, direction: &Coordinates, to: &mut Coordinates) {
        let rows = self.problem.row_count();
        for j in 0..rows {
            for i in 0..=j {
                let (here, there) = (direction.y[(i, j)], direction.y[(j, i)]);
                let (even, odd) = (0.5 * self.even[(i, j)] * (here + there), 0.5 * self.odd[(i, j)] * (here - there));
                to.y[(i, j)] += even + odd;
                if i < j {
                    to.y[(j, i)] += even - odd;
                }
            }
        }
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

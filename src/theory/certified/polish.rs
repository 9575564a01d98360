//! Newton's method at fixed rank: from the end of the path to the last digit.
//!
//! Near the minimizer the rank does not change, and ‖B‖_* is smooth on the manifold of matrices of that rank. There
//! Newton's method converges quadratically. In the singular vectors, with dropped directions turned to those of E,
//! whose singular values e_j ≤ λ are the duals of the dropped ones, the curvature of the penalty is
//!
//! ```text
//! kept by kept        0 on the symmetric part, 2λ/(σ_i + σ_j) on the skew part
//! kept by dropped     (λ - e_j)/σ_i on the symmetric part, (λ + e_j)/σ_i on the skew part
//! ```

use faer::Mat;

use super::{
    bias,
    certificate::Certificate,
    conjugate::{self, Preconditioner},
    frame::{Coordinates, Frame, Parts},
    problem::{Problem, Variables},
};
use crate::{
    error::Error,
    linalg::{Svd, dense_svd, orthonormal::orthonormal, product::product},
};

const MOST_STEPS: usize = 12;
/// Newton's equation is solved to this share of a gradient in units of λ, since a step squares what is left, but no
/// better than a gradient of [`REST`], and not worse than [`MOST_TOLERANCE`].
const STEP_SHARE: f64 = 0.1;
const REST: f64 = 1e-16;
const MOST_TOLERANCE: f64 = 1e-2;
/// The steps go on until a gradient is this small in units of λ R, or no step gains: a gap of rounding is not enough. At
/// 1e-13, contrasts of 1e-9 of small classes were off by 3e-12.
const SOLVED: f64 = 1e-15;
/// The most that a contrast moves at last, as a part of it.
const SETTLED: f64 = 1e-2;
const MOST_GRADIENTS: usize = 2000;

/// A point of a given rank, as near to stationary there as rounding lets it be.
#[derive(Debug)]
pub(super) struct Polished {
    pub(super) point: Variables,
    pub(super) svd: Svd,
    pub(super) rank: usize,
    pub(super) certificate: Certificate,
}

/// From a point near the minimizer, whose singular values beyond `rank` are to be dropped. The a_r that do not move are
/// zero.
pub(super) fn polish(problem: &Problem, point: &Variables, rank: usize) -> Result<Polished, Error> {
    let mut point = point.clone();
    let mut svd = problem.svd(&point)?;
    // What is left would never move again: 1e-13 of it were a gap of 1e-12.
    let rounding_of_start = if problem.is_cross_entropy { 0.0 } else { svd.rounding() };
    truncate(&mut point, &mut svd, rank, rounding_of_start);
    for s in 0..point.contrasts.len() {
        if !problem.moves[s] {
            point.contrasts[s] = -problem.base_contrasts[s];
        }
    }
    let (mut rank, mut best) = (rank, None::<(f64, Variables, Svd, usize)>);
    for _ in 0..MOST_STEPS {
        let fit = problem.fit(&point);
        let gradient = problem.gradient(&point, &fit);
        let dropped = align(problem, &mut svd, &gradient, rank)?;
        let frame = frame(problem, &svd, &dropped, rank);
        let mut downhill = slope(problem, &point, &frame, &gradient, rank);
        let norm = downhill.dot(&downhill).sqrt();
        if best.as_ref().is_some_and(|(least, _, _, of)| *of == rank && norm >= *least) {
            break;
        }
        best = Some((norm, point.clone(), svd.clone(), rank));
        if norm <= SOLVED * problem.lambda * problem.row_count() as f64 {
            break;
        }
        downhill.negate();
        let relative = norm / problem.lambda;
        let tolerance = (STEP_SHARE * relative).max(REST / relative).min(MOST_TOLERANCE);
        let preconditioner = Preconditioner::new(&frame, &fit);
        let step = conjugate::solve(&preconditioner, &fit, &downhill, tolerance, MOST_GRADIENTS);
        point = point.plus(1.0, &frame.variables(&step));
        let next = problem.svd(&point)?;
        rank -= turned(&svd, &next, rank);
        svd = next;
        let rounding_of_step = svd.rounding();
        truncate(&mut point, &mut svd, rank, rounding_of_step);
    }
    let (_, mut point, svd, rank) = best.unwrap_or((0.0, point, svd, rank));
    settle_contrasts(problem, &mut point);
    bias::settle(problem, &mut point, bias::EXACT);
    let certificate = Certificate::new(problem, &point, &svd)?;
    Ok(Polished { point, svd, rank, certificate })
}

/// Takes out of the point what its decomposition has beyond a rank; it is zero from then on. Errors of squared loss can be
/// far below the rounding of the decomposition, and keep their digits: less than that rounding is left there.
fn truncate(point: &mut Variables, svd: &mut Svd, rank: usize, rounding: f64) {
    let dropped = svd.values.iter().skip(rank).filter(|&&sigma| sigma > rounding).count();
    let scaled = Mat::from_fn(svd.left.nrows(), dropped, |i, j| svd.left[(i, rank + j)] * svd.values[rank + j]);
    point.b -= product(scaled.as_ref(), svd.right.subcols(rank, dropped).transpose());
    svd.values.as_mut().subrows_mut(rank, dropped).fill(0.0);
}

/// Turns the dropped singular vectors to those of E beside the kept ones; the singular values of E there.
fn align(problem: &Problem, svd: &mut Svd, gradient: &Variables, rank: usize) -> Result<Vec<f64>, Error> {
    let count = problem.row_count() - rank;
    if count == 0 {
        return Ok(Vec::new());
    }
    let (left, kept) = (svd.left.subcols(rank, count), svd.right.subcols(0, rank));
    let pulled = product(left.transpose(), gradient.b.as_ref());
    let (inner, right) = if kept.nrows() == problem.row_count() {
        let right = svd.right.subcols(rank, count);
        let inner = dense_svd(product(pulled.as_ref(), right).as_ref())?;
        let right = product(right, inner.right.as_ref());
        (inner, right)
    } else {
        // More columns than rows: right vectors turn in all that is orthogonal to the kept ones.
        let along = product(pulled.as_ref(), kept);
        let inner = dense_svd((pulled - product(along.as_ref(), kept.transpose())).as_ref())?;
        // Those of vanishing duals are any.
        let mut spanning = svd.right.clone();
        spanning.as_mut().subcols_mut(rank, count).copy_from(&inner.right);
        let right = orthonormal(spanning)?.subcols(rank, count).to_owned();
        (inner, right)
    };
    let left = product(left, inner.left.as_ref());
    // E is minus the gradient.
    svd.left.as_mut().subcols_mut(rank, count).copy_from(faer::Scale(-1.0) * left);
    svd.right.as_mut().subcols_mut(rank, count).copy_from(&right);
    Ok(inner.values.iter().map(|dual| dual.min(problem.lambda)).collect())
}

fn frame<'a>(problem: &'a Problem, svd: &'a Svd, dropped: &[f64], rank: usize) -> Frame<'a> {
    let (rows, lambda, sigma) = (problem.row_count(), problem.lambda, &svd.values);
    let mixed = |kept: usize, other: usize, sign: f64| (lambda + sign * dropped[other - rank]) / sigma[kept];
    let entry = |i: usize, j: usize, sign: f64, both: f64| match (i < rank, j < rank) {
        (true, true) => both,
        (true, false) => mixed(i, j, sign),
        (false, true) => mixed(j, i, sign),
        (false, false) => 0.0,
    };
    Frame {
        problem,
        svd,
        parts: Parts::new(
            rows,
            |i, j| entry(i, j, -1.0, 0.0),
            |i, j| {
                let both = if i.max(j) < rank { 2.0 * lambda / (sigma[i] + sigma[j]) } else { 0.0 };
                entry(i, j, 1.0, both)
            },
        ),
        beyond: (0..rows).map(|i| if i < rank { lambda / sigma[i] } else { 0.0 }).collect(),
        contrasts: vec![0.0; problem.own_targets.len()],
        rank: Some(rank),
    }
}

/// The gradient of fit and penalty along the manifold.
fn slope(problem: &Problem, point: &Variables, frame: &Frame<'_>, gradient: &Variables, rank: usize) -> Coordinates {
    let mut slope = frame.coordinates(gradient);
    for i in 0..rank {
        slope.y[(i, i)] += problem.lambda;
    }
    for s in 0..slope.contrasts.len() {
        let sign = problem.contrast(point, s).signum();
        slope.contrasts[s] += sign * problem.lambda * (problem.rows[s] - 1.0) * problem.roots[s];
    }
    frame.mask(&mut slope);
    slope
}

/// Newton's method for each contrast of cross-entropy by itself. Beside all the others the gradient of a small class
/// hardly counts: contrasts of 1e-9 were off by 3e-12 where nothing else was. What moves is far below the rounding of the
/// objective.
fn settle_contrasts(problem: &Problem, point: &mut Variables) {
    if !problem.is_cross_entropy {
        return;
    }
    for _ in 0..2 {
        let fit = problem.fit(point);
        let (gradient, curvature) = (problem.gradient(point, &fit), problem.diagonal(&fit));
        for s in (0..point.contrasts.len()).filter(|&s| problem.moves[s] && problem.rows[s] > 1.0) {
            let contrast = problem.contrast(point, s);
            let penalty = contrast.signum() * problem.lambda * (problem.rows[s] - 1.0) * problem.roots[s];
            let step = (gradient.contrasts[s] + penalty) / curvature.contrasts[s];
            if step.abs() <= SETTLED * contrast.abs() {
                point.contrasts[s] -= step;
            }
        }
    }
}

/// How many of the smallest kept directions a step has taken through zero: their singular vectors point the other way.
fn turned(before: &Svd, after: &Svd, rank: usize) -> usize {
    let small = |sigma: f64| sigma < 1e-3 * after.values[0];
    let overlap = |j: usize| -> f64 {
        let left = before.left.transpose() * after.left.col(j);
        let right = before.right.transpose() * after.right.col(j);
        left.iter().zip(right.iter()).map(|(left, right)| left * right).sum()
    };
    (0..rank).filter(|&j| small(after.values[j]) && overlap(j) < 0.0).count()
}

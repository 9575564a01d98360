//! Newton's equation by conjugate gradients: the curvature of the fit is cheap to apply, and large to form.

use faer::Mat;

use super::{
    fit::Fit,
    frame::{Coordinates, Frame, Pairs, Parts, product},
    problem::Problem,
    spikes::{LEAST_ROWS, Spikes, smooth},
};
use crate::linalg::memory::{slice, slice_mut};

/// What is added to the diagonal, in units of its largest entry: directions in which neither fit nor penalty is curved
/// do not move.
const FLOOR: f64 = 1e-14;

/// Squared residuals rise and fall on their way down, but not by this factor unless rounding has taken over.
const LOST: f64 = 1e8;

/// An approximate inverse: in singular vectors the penalty is a 2 × 2 block of Y_ij and Y_ji, to which the diagonal of
/// the curvature of the fit is added, but for the spikes of own classes.
pub(super) struct Preconditioner<'a> {
    frame: &'a Frame<'a>,
    /// Inverses of the blocks, and reciprocals of all other curvatures.
    pairs: Pairs,
    beyond: Vec<f64>,
    contrasts: Vec<f64>,
    bias: Vec<f64>,
    spikes: Option<Spikes<'a>>,
}

impl<'a> Preconditioner<'a> {
    pub(super) fn new(frame: &'a Frame<'a>, fit: &Fit) -> Self {
        let problem = frame.problem;
        let mut diagonal = problem.diagonal(fit);
        let spikes = take_spikes(problem, &mut diagonal.b);
        let squares = |matrix: &Mat<f64>| Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)].powi(2));
        let left = product(squares(&frame.svd.left).transpose(), diagonal.b.as_ref());
        let mut y = product(left.as_ref(), squares(&frame.svd.right).as_ref());
        if spikes.is_some() {
            y = smooth(&y);
        }
        let columns = problem.column_count() as f64;
        let others = diagonal.contrasts.iter().chain(&diagonal.bias);
        let floor = FLOOR * others.fold(y.norm_max(), |largest, h| largest.max(*h)) + f64::MIN_POSITIVE;
        let penalized = |fit: &[f64], penalty: &[f64]| {
            fit.iter().zip(penalty).map(|(fit, penalty)| 1.0 / (fit + penalty + floor)).collect()
        };
        let beyond: Vec<f64> = left.row_iter().map(|row| row.iter().sum::<f64>() / columns).collect();
        let mut pairs = inverse(&frame.parts, &y, floor);
        frame.mask_pairs(&mut pairs);
        Self {
            frame,
            spikes: spikes.and_then(|spikes| Spikes::new(frame.svd, &pairs, &spikes)),
            pairs,
            beyond: penalized(&beyond, &frame.beyond),
            contrasts: penalized(&diagonal.contrasts, &frame.contrasts),
            bias: diagonal.bias.iter().map(|fit| 1.0 / (fit + floor)).collect(),
        }
    }

    /// The approximate solution for a residual.
    fn apply(&self, residual: &Coordinates, step: &mut Coordinates) {
        step.y.fill(0.0);
        self.pairs.add_image(&residual.y, &mut step.y);
        if let Some(spikes) = &self.spikes {
            spikes.correct(&self.pairs, &mut step.y);
        }
        if let (Some(step), Some(residual)) = (&mut step.beyond, &residual.beyond) {
            for (step, residual) in step.col_iter_mut().zip(residual.col_iter()) {
                multiply(&self.beyond, slice(residual), slice_mut(step));
            }
        }
        multiply(&self.contrasts, &residual.contrasts, &mut step.contrasts);
        multiply(&self.bias, &residual.bias, &mut step.bias);
        self.frame.mask(step);
    }

    /// About where a step of Newton's method leads.
    pub(super) fn guess(&self, gradient: &Coordinates) -> Coordinates {
        let mut step = Coordinates::zero(self.frame.problem);
        self.apply(gradient, &mut step);
        step
    }
}

fn multiply(x: &[f64], y: &[f64], to: &mut [f64]) {
    to.iter_mut().zip(x).zip(y).for_each(|((to, x), y)| *to = x * y);
}

/// Takes out of the curvature by entries of B what own classes have more of it than the others of their column.
fn take_spikes(problem: &Problem, b: &mut Mat<f64>) -> Option<Vec<f64>> {
    let rows = problem.row_count();
    if !problem.is_cross_entropy || !problem.has_labels() || rows < LEAST_ROWS {
        return None;
    }
    let spikes = (0..rows).map(|s| {
        let own = b[(s, s)];
        let others = (b.col(s).iter().sum::<f64>() - own) / (rows as f64 - 1.0);
        b[(s, s)] = own.min(others.max(0.0));
        own - b[(s, s)]
    });
    Some(spikes.collect())
}

/// The inverses of the 2 × 2 blocks of the penalty plus the diagonal of the fit.
fn inverse(penalty: &Parts, fit: &Mat<f64>, floor: f64) -> Pairs {
    let rows = fit.nrows();
    let mut inverse = Pairs { own: Mat::zeros(rows, rows), other: Mat::zeros(rows, rows) };
    for j in 0..rows {
        inverse.own[(j, j)] = 1.0 / (fit[(j, j)] + 2.0 * penalty.even[(j, j)] + floor);
        for i in 0..j {
            let (even, odd) = (penalty.even[(i, j)], penalty.odd[(i, j)]);
            let (one, two) = (fit[(i, j)] + floor, fit[(j, i)] + floor);
            let (same, other) = (even + odd, even - odd);
            // The determinant without a difference, (one+same) (two+same) - other², and by the second entry of the
            // diagonal, since it can leave the range of numbers.
            let below = two + same;
            let own = 1.0 / (one * (two / below) + (one + two) * (same / below) + 4.0 * even * (odd / below));
            let share = other / below;
            inverse.own[(i, j)] = own;
            inverse.own[(j, i)] = (one + same) / below * own;
            inverse.other[(i, j)] = -share * own;
            inverse.other[(j, i)] = -share * own;
        }
    }
    inverse
}

/// An approximate solution of (curvature of fit and penalty) x = `right`, to a relative residual of `tolerance` in the
/// norm of the preconditioner, in at most `most` steps.
pub(super) fn solve(
    preconditioner: &Preconditioner<'_>,
    fit: &Fit,
    right: &Coordinates,
    tolerance: f64,
    most: usize,
) -> Coordinates {
    let (frame, problem) = (preconditioner.frame, preconditioner.frame.problem);
    let mut solution = Coordinates::zero(problem);
    let mut residual = right.clone();
    let mut step = Coordinates::zero(problem);
    preconditioner.apply(&residual, &mut step);
    let mut direction = step.clone();
    let mut square = residual.dot(&step);
    let goal = tolerance * tolerance * square;
    let mut least = square;
    // Memory: of products, of a direction and its image.
    let (mut outputs, mut half) = (problem.no_outputs(), problem.zero().b);
    let (mut variables, mut curved, mut image) = (problem.zero(), problem.zero(), Coordinates::zero(problem));
    for _ in 0..most {
        if !(square > goal) {
            break;
        }
        least = least.min(square);
        frame.to_variables(&direction, &mut half, &mut variables);
        problem.curvature(fit, &variables, &mut outputs, &mut curved);
        frame.to_coordinates(&curved, &mut half, &mut image);
        frame.add_penalty(&direction, &mut image);
        frame.mask(&mut image);
        let bend = direction.dot(&image);
        // Where there is no curvature left but rounding.
        if !(bend > 0.0) {
            break;
        }
        residual.add(-square / bend, &image);
        preconditioner.apply(&residual, &mut step);
        let next = residual.dot(&step);
        // Before a step to nowhere: a free bias has no curvature along its mean, but for rounding.
        if !(next <= LOST * least) {
            break;
        }
        solution.add(square / bend, &direction);
        direction.scale_and_add(next / square, &step);
        square = next;
    }
    solution
}

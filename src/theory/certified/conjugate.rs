//! Newton's equation by conjugate gradients: the curvature of the fit is cheap to apply, and large to form.

use faer::Mat;

use super::{
    fit::Fit,
    frame::{Coordinates, Frame, product},
};

/// What is added to the diagonal, in units of its largest entry: directions in which neither fit nor penalty is curved
/// do not move.
const FLOOR: f64 = 1e-14;

/// Squared residuals rise and fall on their way down, but not by this factor unless rounding has taken over.
const LOST: f64 = 1e8;

/// An approximate inverse: in singular vectors the penalty is a 2 × 2 block of Y_ij and Y_ji, to which the diagonal of
/// the curvature of the fit is added. Where the vectors are localized, as those of long tails are, little is missing.
struct Preconditioner<'a> {
    frame: &'a Frame<'a>,
    y: Mat<f64>,
    beyond: Vec<f64>,
    contrasts: Vec<f64>,
    bias: Vec<f64>,
    floor: f64,
}

impl<'a> Preconditioner<'a> {
    fn new(frame: &'a Frame<'a>, fit: &Fit) -> Self {
        let problem = frame.problem;
        let diagonal = problem.diagonal(fit);
        let squares = |matrix: &Mat<f64>| Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)].powi(2));
        let left = product(squares(&frame.svd.left).transpose(), diagonal.b.as_ref());
        let y = product(left.as_ref(), squares(&frame.svd.right).as_ref());
        let columns = problem.column_count() as f64;
        let beyond = left.row_iter().map(|row| row.iter().sum::<f64>() / columns).collect();
        let others = diagonal.contrasts.iter().chain(&diagonal.bias);
        let floor = FLOOR * others.fold(y.norm_max(), |largest, h| largest.max(*h)) + f64::MIN_POSITIVE;
        Self { frame, y, beyond, contrasts: diagonal.contrasts, bias: diagonal.bias, floor }
    }

    fn apply(&self, residual: &Coordinates) -> Coordinates {
        let mut step = residual.clone();
        let (even, odd, floor) = (&self.frame.even, &self.frame.odd, self.floor);
        for j in 0..self.y.ncols() {
            for i in 0..j {
                let (same, other) = (0.5 * (even[(i, j)] + odd[(i, j)]), 0.5 * (even[(i, j)] - odd[(i, j)]));
                let (one, two) = (self.y[(i, j)] + same + floor, self.y[(j, i)] + same + floor);
                let determinant = one * two - other * other;
                let (here, there) = (residual.y[(i, j)], residual.y[(j, i)]);
                step.y[(i, j)] = (two * here - other * there) / determinant;
                step.y[(j, i)] = (one * there - other * here) / determinant;
            }
            step.y[(j, j)] = residual.y[(j, j)] / (self.y[(j, j)] + even[(j, j)] + floor);
        }
        if let Some(beyond) = &mut step.beyond {
            for column in beyond.col_iter_mut() {
                for ((entry, fit), penalty) in column.iter_mut().zip(&self.beyond).zip(&self.frame.beyond) {
                    *entry /= fit + penalty + floor;
                }
            }
        }
        let curvatures = self.contrasts.iter().zip(&self.frame.contrasts).map(|(fit, penalty)| fit + penalty);
        step.contrasts.iter_mut().zip(curvatures).for_each(|(entry, h)| *entry /= h + floor);
        step.bias.iter_mut().zip(&self.bias).for_each(|(entry, h)| *entry /= h + floor);
        self.frame.mask(&mut step);
        step
    }
}

/// An approximate solution of (curvature of fit and penalty) x = `right`, to a relative residual of `tolerance` in the
/// norm of the preconditioner, in at most `most` steps.
pub(super) fn solve(frame: &Frame<'_>, fit: &Fit, right: &Coordinates, tolerance: f64, most: usize) -> Coordinates {
    let problem = frame.problem;
    let preconditioner = Preconditioner::new(frame, fit);
    let mut solution = Coordinates::zero(problem);
    let mut residual = right.clone();
    let mut step = preconditioner.apply(&residual);
    let mut direction = step.clone();
    let mut square = residual.dot(&step);
    let goal = tolerance * tolerance * square;
    let mut least = square;
    let (mut work, mut curved) = (problem.no_outputs(), problem.zero());
    for _ in 0..most {
        if !(square > goal && square <= LOST * least) {
            break;
        }
        least = least.min(square);
        problem.curvature(fit, &frame.variables(&direction), &mut work, &mut curved);
        let mut image = frame.coordinates(&curved);
        frame.add_penalty(&direction, &mut image);
        frame.mask(&mut image);
        let bend = direction.dot(&image);
        // Where there is no curvature left but rounding.
        if !(bend > 0.0) {
            break;
        }
        solution.add(square / bend, &direction);
        residual.add(-square / bend, &image);
        step = preconditioner.apply(&residual);
        let next = residual.dot(&step);
        direction.scale_and_add(next / square, &step);
        square = next;
    }
    solution
}

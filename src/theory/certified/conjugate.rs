//! Newton's equation by conjugate gradients: the curvature of the fit is cheap to apply, and large to form.

use faer::Mat;

use super::{
    fit::Fit,
    frame::{Coordinates, Frame, Pairs, Parts},
    problem::{Idle, Outputs, Problem, Variables},
    spikes::{Spikes, smooth},
};
use crate::linalg::{
    memory::{slice, slice_mut},
    product::product,
};

/// What is added to the diagonal, in units of its largest entry: directions in which neither fit nor penalty is curved
/// do not move.
const FLOOR: f64 = 1e-14;

/// Squared residuals rise and fall on their way down, but not by this factor unless rounding has taken over.
const LOST: f64 = 1e8;

/// Steps before own classes are put into the preconditioner: that takes about as long as ten of them, and steps take half
/// as long again from then on.
const PATIENCE: usize = 10;
/// Fewer rows are done sooner without.
const LEAST_ROWS: usize = 20;

/// An approximate inverse: in singular vectors the penalty is a 2 × 2 block of Y_ij and Y_ji, to which the diagonal of
/// the curvature of the fit is added; the spikes of own classes apart, if they are known.
pub(super) struct Preconditioner<'a> {
    frame: &'a Frame<'a>,
    /// Inverses of the blocks, and reciprocals of all other curvatures.
    pairs: Pairs,
    beyond: Vec<f64>,
    contrasts: Vec<f64>,
    bias: Vec<f64>,
    idle: Option<Idle>,
    spikes: Option<Spikes<'a>>,
}

impl<'a> Preconditioner<'a> {
    pub(super) fn new(frame: &'a Frame<'a>, fit: &Fit) -> Self {
        Self::from_diagonal(frame, fit, &frame.problem.diagonal(fit), None)
    }

    /// One that also knows the spikes of own classes; `None` if the formula of [`Spikes`] fails.
    fn with_spikes(frame: &'a Frame<'a>, fit: &Fit) -> Option<Self> {
        let mut diagonal = frame.problem.diagonal(fit);
        let spikes = take_spikes(&mut diagonal.b);
        let known = Self::from_diagonal(frame, fit, &diagonal, Some(&spikes));
        known.spikes.is_some().then_some(known)
    }

    fn from_diagonal(frame: &'a Frame<'a>, fit: &Fit, diagonal: &Variables, spikes: Option<&[f64]>) -> Self {
        let squares = |matrix: &Mat<f64>| Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)].powi(2));
        let left = product(squares(&frame.svd.left).transpose(), diagonal.b.as_ref());
        let mut y = product(left.as_ref(), squares(&frame.svd.right).as_ref());
        if spikes.is_some() {
            y = smooth(&y);
        }
        let columns = frame.problem.column_count() as f64;
        let others = diagonal.contrasts.iter().chain(&diagonal.bias);
        let floor = FLOOR * others.fold(y.norm_max(), |largest, h| largest.max(*h)) + f64::MIN_POSITIVE;
        let penalized = |fit: &[f64], penalty: &[f64]| {
            fit.iter().zip(penalty).map(|(fit, penalty)| 1.0 / (fit + penalty + floor)).collect()
        };
        let beyond: Vec<f64> = left.row_iter().map(|row| row.iter().sum::<f64>() / columns).collect();
        let mut pairs = inverse(&frame.parts, &y, floor);
        frame.mask_pairs(&mut pairs);
        let spikes = spikes.and_then(|spikes| Spikes::new(frame.svd, &pairs, spikes));
        Self {
            frame,
            pairs,
            beyond: penalized(&beyond, &frame.beyond),
            contrasts: penalized(&diagonal.contrasts, &frame.contrasts),
            bias: diagonal.bias.iter().map(|fit| 1.0 / (fit + floor)).collect(),
            // Damping bends the fit in every direction: light classes may have to move by pushing heavy ones.
            idle: if fit.damping > 0.0 { None } else { frame.problem.idle_bias() },
            spikes,
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
        step.bias.copy_from_slice(&residual.bias);
        if let Some(idle) = &self.idle {
            idle.take_from_gradient(&mut step.bias);
        }
        step.bias.iter_mut().zip(&self.bias).for_each(|(step, inverse)| *step *= inverse);
        if let Some(idle) = &self.idle {
            idle.take_from(&mut step.bias);
        }
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

/// Whether own classes bend the loss much more than others.
fn has_spikes(problem: &Problem) -> bool {
    problem.is_cross_entropy && problem.has_labels() && problem.row_count() >= LEAST_ROWS
}

/// Takes out of the curvature by entries of B what own classes have more of it than the others of their column.
fn take_spikes(b: &mut Mat<f64>) -> Vec<f64> {
    let rows = b.nrows();
    let spikes = (0..rows).map(|s| {
        let own = b[(s, s)];
        let others = (b.col(s).iter().sum::<f64>() - own) / (rows as f64 - 1.0);
        b[(s, s)] = own.min(others.max(0.0));
        own - b[(s, s)]
    });
    spikes.collect()
}

/// The inverses of the 2 × 2 blocks of the penalty plus the diagonal of the fit.
fn inverse(penalty: &Parts, fit: &Mat<f64>, floor: f64) -> Pairs {
    let rows = fit.nrows();
    let mut inverse = Pairs { own: Mat::zeros(rows, rows), other: Mat::zeros(rows, rows) };
    for j in 0..rows {
        for i in 0..=j {
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
/// norm of the preconditioner, in about `most` steps at most.
pub(super) fn solve(
    preconditioner: &Preconditioner<'_>,
    fit: &Fit,
    right: &Coordinates,
    tolerance: f64,
    most: usize,
) -> Coordinates {
    let frame = preconditioner.frame;
    let mut descent = Descent::new(frame, fit, right);
    if !has_spikes(frame.problem) {
        descent.go(preconditioner, tolerance, most);
    } else if !descent.go(preconditioner, tolerance, PATIENCE) {
        let better = Preconditioner::with_spikes(frame, fit);
        descent.go(better.as_ref().unwrap_or(preconditioner), tolerance, most);
    }
    let mut solution = descent.solution;
    // Without damping no loss changes along it, and a decay is least without it.
    if let Some(idle) = frame.problem.idle_bias().filter(|_| fit.damping > 0.0) {
        idle.take_from(&mut solution.bias);
    }
    solution
}

/// Conjugate gradients, with their memory.
struct Descent<'a> {
    frame: &'a Frame<'a>,
    fit: &'a Fit,
    right: &'a Coordinates,
    solution: Coordinates,
    residual: Coordinates,
    step: Coordinates,
    image: Coordinates,
    outputs: Outputs,
    half: Mat<f64>,
    variables: Variables,
    curved: Variables,
}

impl<'a> Descent<'a> {
    fn new(frame: &'a Frame<'a>, fit: &'a Fit, right: &'a Coordinates) -> Self {
        let problem = frame.problem;
        Self {
            frame,
            fit,
            right,
            solution: Coordinates::zero(problem),
            residual: right.clone(),
            step: Coordinates::zero(problem),
            image: Coordinates::zero(problem),
            outputs: problem.no_outputs(),
            half: problem.zero().b,
            variables: problem.zero(),
            curved: problem.zero(),
        }
    }

    /// Goes on from the solution so far; whether it cannot be made better, or need not.
    fn go(&mut self, preconditioner: &Preconditioner<'_>, tolerance: f64, most: usize) -> bool {
        preconditioner.apply(self.right, &mut self.step);
        let goal = tolerance * tolerance * self.right.dot(&self.step);
        preconditioner.apply(&self.residual, &mut self.step);
        let mut direction = self.step.clone();
        let mut square = self.residual.dot(&self.step);
        let mut least = square;
        for _ in 0..most {
            if !(square > goal) {
                return true;
            }
            least = least.min(square);
            self.curve(&direction);
            let bend = direction.dot(&self.image);
            // Where there is no curvature left but rounding.
            if !(bend > 0.0) {
                return true;
            }
            self.residual.add(-square / bend, &self.image);
            preconditioner.apply(&self.residual, &mut self.step);
            let next = self.residual.dot(&self.step);
            // Before a step to nowhere: rounding is all that is left.
            if !(next <= LOST * least) {
                return true;
            }
            self.solution.add(square / bend, &direction);
            direction.scale_and_add(next / square, &self.step);
            square = next;
        }
        !(square > goal)
    }

    /// The curvature of fit and penalty times a direction.
    fn curve(&mut self, direction: &Coordinates) {
        let (frame, problem) = (self.frame, self.frame.problem);
        frame.to_variables(direction, &mut self.half, &mut self.variables);
        problem.curvature(self.fit, &self.variables, &mut self.outputs, &mut self.curved);
        frame.to_coordinates(&self.curved, &mut self.half, &mut self.image);
        frame.add_penalty(direction, &mut self.image);
        frame.mask(&mut self.image);
    }
}

#[cfg(test)]
mod tests {
    use faer::Mat;

    use super::{Parts, inverse};

    /// On the diagonal an entry of Y is its own partner, and has all of the inverse, 1/y, if the symmetric part costs nothing.
    /// Beside it `own` is (y + q)/(y² + 2yq) with q = λ/(σ_i + σ_j), whose logarithm changes by less than that of σ.
    #[test]
    fn inverses_have_no_jump_on_the_diagonal() {
        let (rows, y) = (20, 0.3);
        let sigma = |i: usize| 1.0 - 0.01 * i as f64;
        let parts = Parts::new(rows, |_, _| 0.0, |i, j| 2.0 / (sigma(i) + sigma(j)));
        let pairs = inverse(&parts, &Mat::full(rows, rows, y), 0.0);
        for j in 0..rows {
            let whole = pairs.own[(j, j)] + pairs.other[(j, j)];
            assert!((whole * y - 1.0).abs() <= 8.0 * f64::EPSILON, "{j}: {whole}");
            for i in j.saturating_sub(1)..j {
                let step = (sigma(i) / sigma(j)).ln();
                assert!((pairs.own[(i, j)] / pairs.own[(j, j)]).ln().abs() <= step);
                assert!((pairs.other[(i, j)] / pairs.other[(j, j)]).ln().abs() <= step);
            }
        }
    }
}

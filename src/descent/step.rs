//! One step of any method: the interface to the loop.

use crate::parameters::Parameters;

/// Differences of the objective below this many epsilons of it are rounding.
pub(crate) const ROUNDING: f64 = 16.0 * f64::EPSILON;

/// A method under way.
pub(crate) trait Walk {
    /// The objective at the point, and the norm of the gradient that the next step uses. This is the gradient at the
    /// point itself if it is no larger than `tolerance` of the objective.
    fn look(&mut self, tolerance: impl Fn(f64) -> f64) -> (f64, f64);

    /// Takes a step and returns its size; `None` if no step lowers the objective significantly.
    fn step(&mut self) -> Option<f64>;

    /// The point, and the one before the last step.
    fn points(&self) -> (&Parameters, &Parameters);

    /// The objective at any point, and the norm of its gradient.
    fn measure(&mut self, point: &Parameters) -> (f64, f64);

    /// Whether a point that a step did not change will never change again, because its gradient stays the same.
    fn stays(&self) -> bool {
        true
    }

    /// Whether no step goes uphill, so that the last point is the best.
    fn goes_downhill(&self) -> bool;

    /// Evaluations of the objective so far.
    fn evaluations(&self) -> usize;
}

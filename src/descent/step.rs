//! One step of any method: what the loop asks of it.

use crate::parameters::Parameters;

/// Differences of the objective below this many epsilons of it are rounding.
pub(crate) const ROUNDING: f64 = 16.0 * f64::EPSILON;

/// A method under way.
pub(crate) trait Walk {
    /// The objective at the point, and the norm of the gradient that the next step is made of, which is the one at the
    /// point itself if it is no larger than `tolerance` of the objective.
    fn look(&mut self, tolerance: impl Fn(f64) -> f64) -> (f64, f64);

    /// Takes a step and returns its size; `None` if no step can be told to lower the objective.
    fn step(&mut self) -> Option<f64>;

    /// The point, and the one before the last step.
    fn points(&self) -> (&Parameters, &Parameters);

    /// The objective at any point, and the norm of its gradient.
    fn measure(&mut self, point: &Parameters) -> (f64, f64);

    /// Whether a point that steps have left as it is stays so for good, the gradient being always the same.
    fn stays(&self) -> bool {
        true
    }

    /// Whether no step goes uphill, so that the last point is the best.
    fn goes_downhill(&self) -> bool;

    /// Evaluations of the objective so far.
    fn evaluations(&self) -> usize;
}

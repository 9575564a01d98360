//! One step of any method: the interface to the loop.

use super::{kernel::Kernel, memory::Memory, method::StepSize, variables::Scales};
use crate::parameters::Parameters;

/// Differences of the objective below this many epsilons of it are rounding.
pub(crate) const ROUNDING: f64 = 16.0 * f64::EPSILON;

/// A method under way.
pub(crate) trait Walk {
    /// The objective at the point. Call it once at every point.
    fn look(&mut self) -> f64;

    /// The norm of the gradient that the next step uses. This is the gradient at the point itself if it is no larger
    /// than `tolerance`. Asked again with the same tolerance it changes nothing.
    fn gradient_norm(&mut self, tolerance: f64) -> f64;

    /// Takes a step and returns its size; `None` if no step lowers the objective significantly.
    fn step(&mut self) -> Option<f64>;

    /// The point, and the one before the last step. Ask for the latter after a step.
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

    /// What a walk that goes on from here needs: the point and the memory.
    fn leave(self) -> (Parameters, Memory);
}

/// What a walk moves on, whichever its method.
pub(crate) struct Ground<'a> {
    pub(crate) kernel: Kernel<'a>,
    pub(crate) scales: Scales,
    pub(crate) step_rule: StepSize,
}

/// Where a walk begins: at a start, or where another one has left off after its look at the point.
pub(crate) struct Stage {
    pub(crate) point: Parameters,
    pub(crate) steps: usize,
    /// Evaluations of the objective so far; 0 at a start alone.
    pub(crate) evaluations: usize,
}

//! Full-batch descent on the objective of a [`Ufm`]: an independent check of the closed forms, which in turn check it.
//!
//! What direction ([`Method`]), in which variables ([`Variables`]), how far ([`StepSize`]) and when to stop ([`Stop`])
//! are separate choices. This module knows nothing of the theory: to stop a run by its gap, the caller gives the
//! optimum.

mod adam;
mod bounded;
mod criteria;
mod departure;
mod entrywise;
mod journal;
pub(crate) mod kernel;
mod layers;
mod lbfgs;
mod line_search;
mod memory;
mod method;
mod momentum;
mod pass;
mod plan;
mod run;
#[cfg(feature = "serde")]
mod saved;
mod stall;
mod state;
mod step;
mod stop;
mod task;
mod trajectory;
mod variables;
mod walk;

use std::ops::ControlFlow;

pub use method::{Method, StepSize};
pub use run::{Progress, Run};
pub use state::State;
pub use stop::Stop;
pub use trajectory::{Record, Trajectory};
pub use variables::Variables;

use self::{criteria::Criteria, departure::Departure, state::Options};
use crate::{
    error::{Error, check_not_negative},
    model::Ufm,
};

/// A descent: a method and its options. It is a small value that can be used for any number of models.
///
/// It takes models of every loss. If features may not be negative, the start is projected, H ← max(H, 0), and so is
/// every step of gradient descent, heavy ball and Nesterov's method (projected and accelerated projected gradient; Beck,
/// Teboulle 2009); other methods refuse such a model. The norm of a gradient then leaves out the part that would only
/// push features of zero below zero: it is zero at the points where no step down is allowed.
///
/// # Example
///
/// Theory and descent agree to eight digits and more:
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Parameters, Ufm, descent::{Descent, Stop}};
/// use neural_collapse::rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
///
/// let ufm = Ufm::new("60x2,20,5".parse::<ClassCounts>()?, [Layer::new(16, 5e-3)], 5e-3)?;
/// let minimizer = ufm.minimizer()?;
/// let start = Parameters::gaussian(&ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0))?;
/// let run = Descent::default().with_optimum(minimizer.objective()).minimize(&ufm, start)?;
/// assert_eq!(run.stop, Stop::Gap);
/// assert!(run.objective - minimizer.objective() <= 1e-10 * minimizer.objective());
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "Read"))]
pub struct Descent {
    method: Method,
    variables: Variables,
    reduced: bool,
    step_size: StepSize,
    criteria: Criteria,
    trajectory: Trajectory,
}

impl Default for Descent {
    /// Nesterov's method with restarts in balanced variables with automatic steps, to a gradient of 1e-9 √f or for
    /// 100,000 steps.
    fn default() -> Self {
        Self {
            method: Method::default(),
            variables: Variables::default(),
            reduced: true,
            step_size: StepSize::default(),
            criteria: Criteria { step_limit: 100_000, gradient_tolerance: 1e-9, optimum: None, gap_tolerance: 1e-10 },
            trajectory: Trajectory::default(),
        }
    }
}

impl Descent {
    /// A descent by this method, with the other options of [`Descent::default`].
    pub fn new(method: Method) -> Self {
        Self { method, ..Self::default() }
    }

    /// Sets the variables that the descent moves in.
    pub fn with_variables(self, variables: Variables) -> Self {
        Self { variables, ..self }
    }

    /// Sets whether to run on K + min(d_1, N - K) columns of features instead of N, by the exact orthogonal reduction.
    /// The trajectory is the same, to rounding, for a fraction of the work. On by default; targets that are a matrix
    /// are not reduced.
    ///
    /// For cross-entropy, class weights or nonnegative features only starts whose features have collapsed are reduced, to
    /// K columns: these losses change if samples are rotated, but equal features of a class remain equal.
    pub fn with_reduction(self, reduced: bool) -> Self {
        Self { reduced, ..self }
    }

    /// Takes steps of this size.
    pub fn with_step_size(self, step_size: StepSize) -> Self {
        Self { step_size, ..self }
    }

    /// Ends with [`Stop::StepLimit`] after this many steps. A run that goes on from a [`State`] counts the steps before
    /// it too.
    pub fn with_step_limit(self, step_limit: usize) -> Self {
        Self { criteria: Criteria { step_limit, ..self.criteria }, ..self }
    }

    /// Ends with [`Stop::Gradient`] once ‖∇f‖ ≤ `tolerance` √f, in the norm of the variables of the descent (with f
    /// replaced by an epsilon of the objective at zero if it is less). Zero requires a gradient of zero, so that a run
    /// continues until [`Stop::Stalled`].
    pub fn with_gradient_tolerance(self, tolerance: f64) -> Self {
        Self { criteria: Criteria { gradient_tolerance: tolerance, ..self.criteria }, ..self }
    }

    /// Measures the relative gap (f - f*)/f* to this optimum f*, and ends with [`Stop::Gap`] once it is at most 1e-10
    /// or the value of [`Descent::with_gap_tolerance`]. If f* = 0 the gap is relative to the objective at zero, 1/2 for
    /// one-hot labels.
    ///
    /// An objective below f* by more than its rounding, 1e-11 of f*, ends the run with [`Stop::BelowOptimum`]: f* is
    /// not the optimum of this model.
    pub fn with_optimum(self, optimum: f64) -> Self {
        Self { criteria: Criteria { optimum: Some(optimum), ..self.criteria }, ..self }
    }

    /// Ends with [`Stop::Gap`] once the relative gap is at most this, if the optimum is given. With zero only the other
    /// criteria end the run.
    pub fn with_gap_tolerance(self, gap_tolerance: f64) -> Self {
        Self { criteria: Criteria { gap_tolerance, ..self.criteria }, ..self }
    }

    /// Keeps the records of these points in [`Run::trajectory`]: all, every n-th, or none.
    pub fn with_trajectory(self, trajectory: Trajectory) -> Self {
        Self { trajectory, ..self }
    }

    /// Descends from `start`: [`Parameters`](crate::Parameters), a [`Point`](crate::Point), or the [`State`] of another
    /// run, which goes on from there to the same bits as if it had not been broken off.
    ///
    /// # Errors
    ///
    /// [`Error::LayerCount`], [`Error::BiasPresence`], [`Error::Shape`], [`Error::ClassCounts`] if the start belongs to
    /// another model, [`Error::NoClassCounts`] if the start has no samples and the targets are not labels;
    /// [`Error::OtherState`] if a state is that of another model, method, or rule of step sizes, or of other variables;
    /// [`Error::Domain`] if an option is out of its range; [`Error::NoProjection`] if the method cannot keep features
    /// nonnegative; [`Error::TooLarge`] if the start does not fit in memory a second time, in the form that the descent
    /// works on. The method's own copies of it are allocated without such a
    /// check.
    pub fn minimize(&self, ufm: &Ufm, start: impl Into<State>) -> Result<Run, Error> {
        self.minimize_observed(ufm, start, |_| ControlFlow::Continue(()))
    }

    /// Descends from `start` and shows the observer every point, including the start. The observer can end the run.
    /// The point at which a [`State`] goes on has been shown before, and is not shown again.
    ///
    /// # Errors
    ///
    /// As [`Descent::minimize`].
    pub fn minimize_observed(
        &self,
        ufm: &Ufm,
        start: impl Into<State>,
        observer: impl FnMut(&Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Run, Error> {
        Ok(self.minimize_until(ufm, start, observer)?.0)
    }

    /// Descends as [`Descent::minimize_observed`]. An observer that ends the run does so with a value, which comes back
    /// with it; `None` if the run ended without the observer.
    ///
    /// # Errors
    ///
    /// As [`Descent::minimize`].
    ///
    /// # Example
    ///
    /// Until the features of every class have nearly met, or a measurement fails:
    ///
    /// ```
    /// use std::ops::ControlFlow;
    /// use neural_collapse::{ClassCounts, Error, Layer, Point, Ufm, descent::{Descent, Stop}, metrics::collapse};
    ///
    /// let ufm = Ufm::new(ClassCounts::balanced(4, 50)?, [Layer::new(16, 5e-3)], 5e-4)?;
    /// let minimizer = ufm.minimizer()?;
    /// let start = Point::gaussian_seeded(&ufm, 1.0, 0)?;
    /// let (run, found) = Descent::default().minimize_until(&ufm, start, |progress| {
    ///     match collapse(&minimizer, &progress.point()) {
    ///         Ok(measured) if measured.nc1.is_some_and(|nc1| nc1 < 1e-3) => ControlFlow::Break(Ok(measured)),
    ///         Ok(_) => ControlFlow::Continue(()),
    ///         Err(error) => ControlFlow::Break(Err(error)),
    ///     }
    /// })?;
    /// let measured = found.transpose()?;
    /// assert!(run.stop == Stop::Observer && measured.is_some_and(|measured| measured.nc1 < Some(1e-3)));
    /// # Ok::<(), Error>(())
    /// ```
    pub fn minimize_until<B>(
        &self,
        ufm: &Ufm,
        start: impl Into<State>,
        observer: impl FnMut(&Progress<'_>) -> ControlFlow<B>,
    ) -> Result<(Run, Option<B>), Error> {
        self.check()?;
        self.method.check_projects(ufm)?;
        Departure::new(ufm, self.options(), start.into())?.run(self.criteria, self.trajectory, observer)
    }

    fn options(&self) -> Options {
        let reduced = self.reduced && self.method.is_equivariant();
        Options { method: self.method, variables: self.variables, reduced, step_size: self.step_size }
    }

    fn check(&self) -> Result<(), Error> {
        self.method.check()?;
        self.step_size.check()?;
        self.trajectory.check()?;
        if let Some(optimum) = self.criteria.optimum {
            check_not_negative("optimum", optimum)?;
        }
        check_not_negative("gap tolerance", self.criteria.gap_tolerance)?;
        check_not_negative("gradient tolerance", self.criteria.gradient_tolerance)
    }
}

/// A descent as it is read, before its checks.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(rename = "Descent", deny_unknown_fields)]
struct Read {
    method: Method,
    variables: Variables,
    reduced: bool,
    step_size: StepSize,
    criteria: Criteria,
    trajectory: Trajectory,
}

#[cfg(feature = "serde")]
impl TryFrom<Read> for Descent {
    type Error = Error;

    fn try_from(read: Read) -> Result<Self, Error> {
        let Read { method, variables, reduced, step_size, criteria, trajectory } = read;
        let descent = Self { method, variables, reduced, step_size, criteria, trajectory };
        descent.check()?;
        Ok(descent)
    }
}

//! Full-batch descent on the objective of a [`Ufm`]: an independent check of the closed forms, which in turn check it.
//!
//! What direction ([`Method`]), in which variables ([`Variables`]), how far ([`StepSize`]) and when to stop ([`Stop`])
//! are separate choices. This module knows nothing of the theory: to stop a run by its gap, the caller gives the
//! optimum.

mod adam;
mod criteria;
mod entrywise;
pub(crate) mod kernel;
mod layers;
mod lbfgs;
mod line_search;
mod method;
mod momentum;
mod pass;
mod plan;
mod run;
mod stall;
mod step;
mod stop;
mod variables;
mod walk;

use std::ops::ControlFlow;

pub use method::{Method, StepSize};
pub use run::{Progress, Record, Run};
pub use stop::Stop;
pub use variables::Variables;

use self::{
    adam::{AdamWalk, Rates},
    criteria::{Criteria, Judge},
    kernel::Kernel,
    lbfgs::LbfgsWalk,
    momentum::MomentumWalk,
    variables::{Scales, longest_step},
};
use crate::{
    error::{Error, check_not_negative},
    model::Ufm,
    point::{Point, PointRef},
};

/// A descent: a method and its options. It is a small value that can be used for any number of models.
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
    pub fn with_reduction(self, reduced: bool) -> Self {
        Self { reduced, ..self }
    }

    /// Takes steps of this size.
    pub fn with_step_size(self, step_size: StepSize) -> Self {
        Self { step_size, ..self }
    }

    /// Ends with [`Stop::StepLimit`] after this many steps.
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

    /// Descends from `start`, [`Parameters`](crate::Parameters) or a [`Point`].
    ///
    /// # Errors
    ///
    /// [`Error::LayerCount`], [`Error::BiasPresence`], [`Error::Shape`], [`Error::ClassCounts`] if the start belongs to
    /// another model, [`Error::NoClassCounts`] if the start has no samples and the targets are not labels;
    /// [`Error::Domain`] if an option is out of its range; [`Error::TooLarge`] if the start does not fit in memory a
    /// second time, in the form that the descent works on. The method's own copies of it are allocated without such a
    /// check.
    pub fn minimize(&self, ufm: &Ufm, start: impl Into<Point>) -> Result<Run, Error> {
        self.minimize_observed(ufm, start, |_| ControlFlow::Continue(()))
    }

    /// Descends from `start` and shows the observer every point, including the start. The observer can end the run.
    ///
    /// # Errors
    ///
    /// As [`Descent::minimize`].
    pub fn minimize_observed(
        &self,
        ufm: &Ufm,
        start: impl Into<Point>,
        observer: impl FnMut(&Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Run, Error> {
        self.check()?;
        self.method.check_projects(ufm)?;
        let start: Point = start.into();
        start.check(ufm)?;
        let is_small = self.reduced && self.method.is_equivariant();
        let start = if is_small { start.smallest(ufm)? } else { start.largest(ufm)? };
        let model = start.model(ufm);
        let kernel = Kernel::new(&model, &PointRef::from(&start).compared_with(ufm));
        // The same scales for any widths: those of the model itself.
        let scales = Scales::new(self.variables, ufm);
        let longest = longest_step(self.variables, ufm);
        let scale = Some(ufm.objective_at_zero()).filter(|scale| *scale > 0.0).unwrap_or(1.0);
        let judge = Judge { criteria: self.criteria, schedule: self.step_size, scale, bound: f64::INFINITY };
        let (rule, first) = (self.step_size, start.parameters.clone());
        Ok(match self.method {
            Method::Lbfgs { memory } => {
                let walk = LbfgsWalk::new(memory, rule, longest, kernel, scales, first);
                walk::run(judge, walk, &start, observer)
            }
            Method::Adam { beta_1, beta_2, epsilon } => {
                let rates = Rates { first: beta_1, second: beta_2, epsilon };
                let walk = AdamWalk::new(rates, rule, kernel, scales, first);
                walk::run(judge, walk, &start, observer)
            }
            method => {
                let walk = MomentumWalk::new(method, rule, longest, kernel, scales, first);
                walk::run(judge, walk, &start, observer)
            }
        })
    }

    fn check(&self) -> Result<(), Error> {
        self.method.check()?;
        self.step_size.check()?;
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
}

#[cfg(feature = "serde")]
impl TryFrom<Read> for Descent {
    type Error = Error;

    fn try_from(Read { method, variables, reduced, step_size, criteria }: Read) -> Result<Self, Error> {
        let descent = Self { method, variables, reduced, step_size, criteria };
        descent.check()?;
        Ok(descent)
    }
}

//! Full-batch descent on the objective of a [`Ufm`]: the judge of the closed forms, and itself judged by them.
//!
//! What direction ([`Method`]), in which variables ([`Variables`]), how far ([`StepSize`]) and when to stop ([`Stop`])
//! are separate choices. This module knows nothing of the theory: the optimum, where a run is to be stopped by its gap,
//! is given by the caller.

mod kernel;
mod method;
mod reduction;
mod variables;

use std::ops::ControlFlow;

pub use method::Method;
pub use variables::Variables;

use self::{
    kernel::{Kernel, sample_columns},
    method::Momentum,
    reduction::{Reduction, reduced_columns},
    variables::{Scales, difference, extrapolate, longest_step, slope},
};
use crate::{
    error::{Error, check_not_negative, check_positive},
    model::Ufm,
    parameters::Parameters,
};

/// How far a step goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum StepSize {
    /// The longest step η, to within a factor of 2, for which the objective is below the quadratic that has curvature
    /// 1/η:
    ///
    /// ```text
    /// f(x + d) ≤ f(y) + <∇f(y), x + d - y> + ‖x + d - y‖²/(2η)
    /// ```
    ///
    /// A step that fails the test is halved; after a step that passes, η grows by a factor of 2 as long as no step has
    /// failed yet, of 1.02 from then on. No tuning is needed.
    #[default]
    Automatic,
    /// This η at every step, in the variables of the descent, for those who study the dynamics.
    Fixed(f64),
}

/// A descent: a method and its options. A small value, to be kept and used for any number of models.
///
/// # Example
///
/// Theory and descent agree to eight digits and more:
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Parameters, Ufm, descent::{Descent, Stop}};
/// use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
///
/// let ufm = Ufm::biased("60x2,20,5".parse::<ClassCounts>()?, [Layer::new(16, 5e-3)], 5e-3)?;
/// let minimizer = ufm.minimizer()?;
/// let start = Parameters::gaussian(&ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0))?;
/// let run = Descent::default().with_optimum(minimizer.objective()).minimize(&ufm, start)?;
/// assert_eq!(run.stop, Stop::Gap);
/// assert!(run.objective - minimizer.objective() <= 1e-10 * minimizer.objective());
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[must_use]
pub struct Descent {
    method: Method,
    variables: Variables,
    reduced: bool,
    step_size: StepSize,
    step_limit: usize,
    gradient_tolerance: f64,
    optimum: Option<f64>,
    gap_tolerance: f64,
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
            step_limit: 100_000,
            gradient_tolerance: 1e-9,
            optimum: None,
            gap_tolerance: 1e-10,
        }
    }
}

impl Descent {
    /// A descent by this method, otherwise as [`Descent::default`].
    pub fn new(method: Method) -> Self {
        Self { method, ..Self::default() }
    }

    /// Moves in these variables.
    pub fn with_variables(self, variables: Variables) -> Self {
        Self { variables, ..self }
    }

    /// Whether to run on K + min(d_1, N - K) columns of features instead of N, by the exact orthogonal reduction: the
    /// same trajectory, to rounding, for a fraction of the work. On by default; targets that are a matrix are not
    /// reduced.
    pub fn with_reduction(self, reduced: bool) -> Self {
        Self { reduced, ..self }
    }

    /// Takes steps of this size.
    pub fn with_step_size(self, step_size: StepSize) -> Self {
        Self { step_size, ..self }
    }

    /// Ends with [`Stop::StepLimit`] after this many steps.
    pub fn with_step_limit(self, step_limit: usize) -> Self {
        Self { step_limit, ..self }
    }

    /// Ends with [`Stop::Gradient`] once ‖∇f‖ ≤ `tolerance` √f, the norm being that of the variables of the descent
    /// (and f no less than an epsilon of the objective at zero). Zero switches this off.
    pub fn with_gradient_tolerance(self, tolerance: f64) -> Self {
        Self { gradient_tolerance: tolerance, ..self }
    }

    /// Measures the relative gap (f - f*)/f* to this optimum f*, and ends with [`Stop::Gap`] once it is at most 1e-10
    /// or what [`Descent::with_gap_tolerance`] asks for. Where f* = 0 the gap is relative to the objective at zero, 1/2
    /// for one-hot labels.
    pub fn with_optimum(self, optimum: f64) -> Self {
        Self { optimum: Some(optimum), ..self }
    }

    /// Ends with [`Stop::Gap`] once the relative gap is at most this, where the optimum is given. Zero lets the run go
    /// on to its other ends.
    pub fn with_gap_tolerance(self, gap_tolerance: f64) -> Self {
        Self { gap_tolerance, ..self }
    }

    /// Descends from `start`.
    ///
    /// # Errors
    ///
    /// [`Error::LayerCount`], [`Error::BiasPresence`], [`Error::Shape`] where the start belongs to another model;
    /// [`Error::Domain`] where an option is no number that it can be; [`Error::TooLarge`] where the features do not fit
    /// in memory once more.
    pub fn minimize(&self, ufm: &Ufm, start: Parameters) -> Result<Run, Error> {
        self.minimize_observed(ufm, start, |_| ControlFlow::Continue(()))
    }

    /// Descends from `start`; the observer is shown every point, the start included, and can end the run.
    ///
    /// # Errors
    ///
    /// As [`Descent::minimize`].
    pub fn minimize_observed(
        &self,
        ufm: &Ufm,
        start: Parameters,
        observer: impl FnMut(&Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Run, Error> {
        self.check()?;
        start.check_shapes(ufm)?;
        let (columns, reduction, start) = match ufm.class_counts().filter(|_| self.reduced) {
            Some(classes) => {
                let (reduction, features) = Reduction::new(classes, start.features.as_ref())?;
                (reduced_columns(classes, features.ncols()), Some(reduction), Parameters { features, ..start })
            }
            None => (sample_columns(ufm), None, start),
        };
        let kernel = Kernel::new(ufm, &columns);
        Walk::new(self, ufm, kernel, start).run(reduction.as_ref(), observer)
    }

    fn check(&self) -> Result<(), Error> {
        self.method.check()?;
        if let StepSize::Fixed(step) = self.step_size {
            check_positive("step size", step)?;
        }
        if let Some(optimum) = self.optimum {
            check_not_negative("optimum", optimum)?;
        }
        check_not_negative("gap tolerance", self.gap_tolerance)?;
        check_not_negative("gradient tolerance", self.gradient_tolerance)
    }
}

/// Why a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Stop {
    /// The relative gap to the optimum given is small enough.
    Gap,
    /// The gradient is small enough: a critical point, not necessarily the global minimum.
    Gradient,
    /// The number of steps has been used up.
    StepLimit,
    /// The objective has left every bound: the start is too large, or a fixed step is and a smaller one, or automatic
    /// steps, will help. The run holds the best point seen.
    Diverged,
    /// The observer has asked for it.
    Observer,
}

/// One point of a trajectory.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Record {
    /// The number of steps taken before this point.
    pub step: usize,
    /// The objective here.
    pub objective: f64,
    /// The norm, in the variables of the descent, of the gradient that the next step is made of: for Nesterov's method
    /// taken a little ahead of the point, but for a last point that ends the run with [`Stop::Gradient`].
    pub gradient_norm: f64,
}

/// What an observer is shown.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The point's record.
    pub record: Record,
    /// The relative gap, where the optimum was given.
    pub gap: Option<f64>,
    /// The size of the step that led here; 0 at the start.
    pub step_size: f64,
    /// The columns of features that the descent works on: N, or K + min(d_1, N - K) after the reduction.
    pub columns: usize,
    point: &'a Parameters,
    reduction: Option<&'a Reduction>,
}

impl Progress<'_> {
    /// The point, with the features of all samples. Cost: that of a copy, and 4 N d_1² operations where the descent is
    /// reduced.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where the features do not fit in memory once more.
    pub fn parameters(&self) -> Result<Parameters, Error> {
        expand(self.point.clone(), self.reduction)
    }
}

/// The parameters with the features of all samples.
fn expand(point: Parameters, reduction: Option<&Reduction>) -> Result<Parameters, Error> {
    Ok(match reduction {
        Some(reduction) => Parameters { features: reduction.expand(point.features.as_ref())?, ..point },
        None => point,
    })
}

/// The result of a descent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Run {
    /// The last point; with a fixed step, the best one.
    pub parameters: Parameters,
    /// The objective there.
    pub objective: f64,
    /// The relative gap there, where the optimum was given.
    pub gap: Option<f64>,
    /// The norm of the gradient there, in the variables of the descent.
    pub gradient_norm: f64,
    /// Steps taken.
    pub steps: usize,
    /// Evaluations of the objective, with or without its gradient.
    pub evaluations: usize,
    /// The columns of features that the descent worked on.
    pub columns: usize,
    /// Why it ended.
    pub stop: Stop,
    /// Objective and gradient norm from the start to the last point.
    pub trajectory: Vec<Record>,
}

/// f beyond this many times the sum of f at the start and at zero means divergence: near a minimum no method here rises
/// by so much.
const DIVERGENCE: f64 = 1e6;

/// Differences of the objective below this many epsilons of it are rounding.
const ROUNDING: f64 = 16.0 * f64::EPSILON;

/// A run under way: x, the last displacement m, β, the gradient at y, and the next point.
struct Walk<'a> {
    descent: &'a Descent,
    kernel: Kernel<'a>,
    scales: Scales,
    momentum: Momentum,
    point: Parameters,
    objective: f64,
    displacement: Parameters,
    beta: f64,
    /// ∇f(y), and f(y).
    gradient: Parameters,
    base: f64,
    next: Parameters,
    next_gradient: Parameters,
    /// The best point, where a fixed step has left it for a worse one.
    best: Option<(f64, Parameters)>,
    /// The objective at zero; 1 where that is zero.
    scale: f64,
    step_size: f64,
    /// The factor by which η grows after a step.
    growth: f64,
}

impl<'a> Walk<'a> {
    fn new(descent: &'a Descent, ufm: &'a Ufm, mut kernel: Kernel<'a>, start: Parameters) -> Self {
        let mut displacement = start.clone();
        displacement.blocks_mut().for_each(|mut block| block.fill(0.0));
        let mut gradient = displacement.clone();
        let objective = kernel.gradient(&start, &mut gradient);
        let step_size = match descent.step_size {
            StepSize::Automatic => longest_step(descent.variables, ufm),
            StepSize::Fixed(step) => step,
        };
        Self {
            descent,
            kernel,
            scales: Scales::new(descent.variables, ufm),
            momentum: Momentum::new(descent.method),
            objective,
            displacement,
            beta: 0.0,
            base: objective,
            next: start.clone(),
            next_gradient: gradient.clone(),
            gradient,
            point: start,
            best: None,
            scale: Some(0.5 * ufm.targets().mean_square()).filter(|scale| *scale > 0.0).unwrap_or(1.0),
            step_size,
            growth: 2.0,
        }
    }

    fn run(
        mut self,
        reduction: Option<&Reduction>,
        mut observer: impl FnMut(&Progress<'_>) -> ControlFlow<()>,
    ) -> Result<Run, Error> {
        let mut trajectory = Vec::new();
        let mut last_step = 0.0;
        let bound = DIVERGENCE * (self.objective + self.scale);
        loop {
            let step = trajectory.len();
            self.look();
            let tolerance = self.descent.gradient_tolerance * self.objective.max(f64::EPSILON * self.scale).sqrt();
            let mut gradient_norm = self.scales.gradient_square(&self.gradient).sqrt();
            if gradient_norm <= tolerance && self.beta > 0.0 {
                // The gradient ahead is small: what counts is the one at the point itself, and the next step starts
                // from rest.
                self.rest();
                gradient_norm = self.scales.gradient_square(&self.gradient).sqrt();
            }
            let record = Record { step, objective: self.objective, gradient_norm };
            trajectory.push(record);
            let gap = self.gap();
            let (columns, point) = (self.point.features.ncols(), &self.point);
            let progress = Progress { record, gap, step_size: last_step, columns, point, reduction };
            let asked_to_stop = observer(&progress).is_break();
            // Negated comparisons: NaN has diverged.
            let stop = if !(self.objective <= bound && self.objective.is_finite()) {
                Some(Stop::Diverged)
            } else if gap.is_some_and(|gap| gap <= self.descent.gap_tolerance) {
                Some(Stop::Gap)
            } else if gradient_norm <= tolerance {
                Some(Stop::Gradient)
            } else if asked_to_stop {
                Some(Stop::Observer)
            } else if step == self.descent.step_limit {
                Some(Stop::StepLimit)
            } else {
                None
            };
            if let Some(stop) = stop {
                return self.finish(stop, trajectory, reduction);
            }
            last_step = self.step(gradient_norm * gradient_norm);
        }
    }

    /// Chooses β, and takes the gradient ahead where the method asks for it; elsewhere it is known already.
    fn look(&mut self) {
        self.beta = self.momentum.next();
        if self.descent.method.looks_ahead() && self.beta > 0.0 {
            extrapolate(&mut self.next, &self.point, self.beta, &self.displacement);
            self.base = self.kernel.gradient(&self.next, &mut self.gradient);
        }
    }

    /// Gives up the momentum, and takes the gradient at the point.
    fn rest(&mut self) {
        if self.descent.method.looks_ahead() {
            self.momentum.stop();
            self.beta = self.momentum.next();
            self.base = self.kernel.gradient(&self.point, &mut self.gradient);
        }
    }

    /// Takes one step and returns its size.
    fn step(&mut self, gradient_square: f64) -> f64 {
        let ahead = self.descent.method.looks_ahead();
        let automatic = self.descent.step_size == StepSize::Automatic;
        let along = if self.beta > 0.0 { slope(&self.gradient, &self.displacement) } else { 0.0 };
        // With d = x + β m - η g - y the quadratic is f(y) - η ‖g‖²/2, and β² ‖m‖²/(2η) more where y = x.
        let carried = if self.beta > 0.0 && !ahead {
            self.beta * self.beta * self.scales.displacement_square(&self.displacement)
        } else {
            0.0
        };
        let rounding = ROUNDING * self.base;
        let (taken, objective) = loop {
            let eta = self.step_size;
            let momentum = (self.beta, &self.displacement);
            self.scales.advance(&mut self.next, &self.point, momentum, (eta, &self.gradient));
            let objective = if ahead {
                self.kernel.objective(&self.next)
            } else {
                self.kernel.gradient(&self.next, &mut self.next_gradient)
            };
            let promised = 0.5 * eta * gradient_square;
            let quadratic = self.base - promised + carried / (2.0 * eta);
            if !automatic || objective <= quadratic + rounding || eta < f64::MIN_POSITIVE {
                // Where the decrease drowns in rounding the test says nothing, and a longer step has not earned it.
                if automatic && promised > 100.0 * rounding {
                    self.step_size *= self.growth;
                }
                break (eta, objective);
            }
            self.step_size *= 0.5;
            self.growth = 1.02;
        };
        self.momentum.stepped(self.beta * along - taken * gradient_square);
        if !automatic && !(objective <= self.objective) && self.best.as_ref().is_none_or(|best| self.objective < best.0)
        {
            self.best = Some((self.objective, self.point.clone()));
        }
        difference(&mut self.displacement, &self.next, &self.point);
        std::mem::swap(&mut self.point, &mut self.next);
        if ahead && self.momentum.at_rest() {
            // The next gradient is taken at the point itself: β = 0.
            self.kernel.gradient(&self.point, &mut self.gradient);
        } else if !ahead {
            std::mem::swap(&mut self.gradient, &mut self.next_gradient);
        }
        self.objective = objective;
        self.base = objective;
        taken
    }

    fn gap(&self) -> Option<f64> {
        self.descent
            .optimum
            .map(|optimum| (self.objective - optimum) / if optimum > 0.0 { optimum } else { self.scale })
    }

    fn finish(mut self, stop: Stop, trajectory: Vec<Record>, reduction: Option<&Reduction>) -> Result<Run, Error> {
        if let Some((objective, point)) = self.best.take()
            && !(self.objective <= objective)
        {
            (self.objective, self.point) = (objective, point);
        }
        self.kernel.gradient(&self.point, &mut self.gradient);
        Ok(Run {
            objective: self.objective,
            gap: self.gap(),
            gradient_norm: self.scales.gradient_square(&self.gradient).sqrt(),
            steps: trajectory.len() - 1,
            evaluations: self.kernel.evaluations,
            columns: self.point.features.ncols(),
            stop,
            trajectory,
            parameters: expand(self.point, reduction)?,
        })
    }
}

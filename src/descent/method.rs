//! Methods and step sizes: what direction, and how far.

use std::{fmt, str::FromStr};

use crate::{
    error::{Error, check_positive},
    model::Ufm,
};

/// A method of descent. With x the point, m the last displacement and η the step size, the next point is
///
/// ```text
/// x + β m - η ∇f(y)
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Method {
    /// β = 0, y = x.
    GradientDescent,
    /// β fixed, y = x (Polyak 1964).
    HeavyBall {
        /// β in [0, 1).
        momentum: f64,
    },
    /// β_k = (t_k - 1)/t_{k+1}, t_{k+1} = (1 + √(1 + 4 t_k²))/2, y = x + β m (Nesterov 1983), with t back to 1 whenever
    /// the step points uphill, <∇f(y), x_{k+1} - x_k> > 0 (O'Donoghue, Candès 2015), or, if features may not be negative,
    /// <y - x_{k+1}, x_{k+1} - x_k> > 0.
    #[default]
    Nesterov,
    /// x - t B ∇f(x), where B approximates the inverse of the Hessian from the last steps (Nocedal 1980), and t is
    /// found by a line search for the strong Wolfe conditions. It needs few steps. Each step reads all parameters 4 ×
    /// `memory` times.
    ///
    /// Lengths to try begin at t = 1, or at 2 f/|<∇f, d>| along d = -B ∇f if that is less. If no length satisfies the
    /// conditions, the lowest point found is taken; if there is none, the negative gradient is tried instead of d.
    Lbfgs {
        /// How many steps are remembered; 0 is steepest descent with a line search.
        memory: usize,
    },
    /// Adam (Kingma, Ba 2015), for comparison with frameworks. It is not equivariant under rotations, and works on the
    /// features of all samples. Its automatic step size is the usual 0.001. It is halved permanently, and the running
    /// means start again, whenever the objective at the next point would be above that at the start: decays can be so
    /// small that the minimizer itself is less than 0.001 wide.
    Adam {
        /// The decay rate of the running mean of the gradient, in [0, 1): usually 0.9.
        beta_1: f64,
        /// The decay rate of the running mean of its square, in [0, 1): usually 0.999.
        beta_2: f64,
        /// What is added to the root of that mean: usually 1e-8.
        epsilon: f64,
    },
}

impl Method {
    /// Heavy ball with its usual momentum, 0.9.
    pub const HEAVY_BALL: Self = Self::HeavyBall { momentum: 0.9 };

    /// Adam with its usual rates.
    pub const ADAM: Self = Self::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e-8 };

    /// L-BFGS with a memory of ten steps.
    pub const LBFGS: Self = Self::Lbfgs { memory: 10 };

    /// All methods with their customary parameters.
    pub const ALL: &'static [Self] =
        &[Self::GradientDescent, Self::HEAVY_BALL, Self::Nesterov, Self::LBFGS, Self::ADAM];

    /// One word for the method, without its parameters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::GradientDescent => "gd",
            Self::HeavyBall { .. } => "heavy-ball",
            Self::Nesterov => "nesterov",
            Self::Lbfgs { .. } => "lbfgs",
            Self::Adam { .. } => "adam",
        }
    }

    /// Whether steps depend on inner products alone, so that features may be rotated and reduced.
    #[must_use]
    pub fn is_equivariant(self) -> bool {
        !matches!(self, Self::Adam { .. })
    }

    pub(super) fn check(self) -> Result<(), Error> {
        match self {
            Self::HeavyBall { momentum } if !(0.0..1.0).contains(&momentum) => {
                Err(Error::Domain { argument: "momentum", value: momentum, accepted: "0 <= momentum < 1" })
            }
            Self::Adam { beta_1, beta_2, epsilon } => {
                for (argument, value) in [("beta_1", beta_1), ("beta_2", beta_2)] {
                    if !(0.0..1.0).contains(&value) {
                        return Err(Error::Domain { argument, value, accepted: "0 <= rate < 1" });
                    }
                }
                check_positive("epsilon", epsilon)
            }
            _ => Ok(()),
        }
    }

    /// Whether the method can keep features nonnegative if the model wants it.
    pub(super) fn check_projects(self, ufm: &Ufm) -> Result<(), Error> {
        match self {
            Self::Lbfgs { .. } | Self::Adam { .. } if ufm.has_nonnegative_features() => {
                Err(Error::NoProjection { method: self.name() })
            }
            _ => Ok(()),
        }
    }

    /// Whether the gradient is taken at x + β m instead of x.
    pub(super) fn looks_ahead(self) -> bool {
        matches!(self, Self::Nesterov)
    }
}

impl fmt::Display for Method {
    /// The method's [`name`](Method::name), without its parameters.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Method {
    type Err = Error;

    /// The method of this name with its customary parameters: one of [`Method::ALL`].
    ///
    /// # Errors
    ///
    /// [`Error::UnknownName`] for any other word.
    fn from_str(word: &str) -> Result<Self, Error> {
        let found = Self::ALL.iter().find(|method| method.name() == word).copied();
        found.ok_or_else(|| Error::UnknownName {
            what: "method",
            word: word.to_owned(),
            accepted: &["gd", "heavy-ball", "nesterov", "lbfgs", "adam"],
        })
    }
}

/// How far a step goes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum StepSize {
    /// The longest step η, to within a factor of 2, for which the objective is below the quadratic that has curvature
    /// 1/η:
    ///
    /// ```text
    /// f(x + d) ≤ f(y) + <∇f(y), x + d - y> + ‖x + d - y‖²/(2η)
    /// ```
    ///
    /// A step that fails the test is halved; after a step that passes, η grows by a factor of 2 as long as no step has
    /// failed yet, of 1.02 from then on. The first step is no longer than 2 f/‖∇f‖², because f is never negative and no
    /// longer step can pass. So starts of any size go down from the first step on, without tuning.
    ///
    /// If features may not be negative, d is the step after its projection.
    ///
    /// For L-BFGS and Adam see [`Method`]. A run ends with [`Stop::Stalled`](super::Stop::Stalled) if no such step,
    /// however short, lowers the objective by more than rounding.
    #[default]
    Automatic,
    /// This η at every step, in the variables of the descent, for those who study the dynamics: small steps of gradient
    /// descent follow the gradient flow, t = η k.
    ///
    /// Steps too short to change the point in any bit end the run with [`Stop::Stalled`](super::Stop::Stalled), after
    /// 1000 of them.
    Fixed(f64),
    /// `initial` times `factor` for each whole period of `every` steps that has passed: the step schedule of training
    /// code. If η rounds to zero, the run ends with [`Stop::ScheduleEnd`](super::Stop::ScheduleEnd).
    Stepwise {
        /// The first η.
        initial: f64,
        /// What η is multiplied by after every period.
        factor: f64,
        /// Steps in a period.
        every: usize,
    },
    /// From `initial` to zero along half a cosine over `steps` steps, where the run ends with
    /// [`Stop::ScheduleEnd`](super::Stop::ScheduleEnd).
    Cosine {
        /// The first η.
        initial: f64,
        /// Steps until η is zero.
        steps: usize,
    },
}

impl StepSize {
    /// η of the step after this number of steps; `None` if the run finds it.
    pub(super) fn at(self, step: usize) -> Option<f64> {
        match self {
            Self::Automatic => None,
            Self::Fixed(eta) => Some(eta),
            Self::Stepwise { initial, factor, every } => {
                let periods = i32::try_from(step / every).unwrap_or(i32::MAX);
                Some(initial * factor.powi(periods))
            }
            Self::Cosine { initial, steps } => {
                let share = (step as f64 / steps as f64).min(1.0);
                Some(0.5 * initial * (1.0 + (std::f64::consts::PI * share).cos()))
            }
        }
    }

    /// Whether η is zero after this number of steps, and stays zero: both schedules that reach zero never rise.
    pub(super) fn has_ended(self, step: usize) -> bool {
        self.at(step) == Some(0.0)
    }

    pub(super) fn check(self) -> Result<(), Error> {
        let at_least_one = |argument, value: usize| {
            if value > 0 { Ok(()) } else { Err(Error::Domain { argument, value: 0.0, accepted: "at least 1" }) }
        };
        match self {
            Self::Automatic => Ok(()),
            Self::Fixed(eta) => check_positive("step size", eta),
            Self::Stepwise { initial, factor, every } => {
                check_positive("step size", initial)?;
                check_positive("factor of the step size", factor)?;
                at_least_one("period of the step size", every)
            }
            Self::Cosine { initial, steps } => {
                check_positive("step size", initial)?;
                at_least_one("steps of the schedule", steps)
            }
        }
    }
}

/// The momentum of a method from step to step.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(crate) struct Momentum {
    t: f64,
}

impl Momentum {
    pub(super) fn new() -> Self {
        Self { t: 1.0 }
    }

    #[cfg(feature = "serde")]
    pub(super) fn t(&self) -> f64 {
        self.t
    }

    /// β of the next step.
    pub(super) fn next(&mut self, method: Method) -> f64 {
        match method {
            Method::HeavyBall { momentum } => momentum,
            Method::Nesterov => {
                let t = self.t;
                self.t = 0.5 * (1.0 + (1.0 + 4.0 * t * t).sqrt());
                (t - 1.0) / self.t
            }
            _ => 0.0,
        }
    }

    /// Starts from rest again.
    pub(super) fn stop(&mut self) {
        self.t = 1.0;
    }

    /// Takes in the slope <∇f(y), x_{k+1} - x_k> of the step taken. Call it after every step.
    pub(super) fn stepped(&mut self, method: Method, slope: f64) {
        if method.looks_ahead() && slope > 0.0 {
            self.stop();
        }
    }
}

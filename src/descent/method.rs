//! First-order methods: where the gradient is taken and how much of the last displacement is added to the step.

use crate::error::Error;

/// A method of descent. With x the point, m the last displacement and η the step size, the next point is
///
/// ```text
/// x + β m - η ∇f(y)
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum Method {
    /// β = 0, y = x.
    GradientDescent,
    /// β fixed, y = x (Polyak 1964).
    HeavyBall {
        /// β in [0, 1).
        momentum: f64,
    },
    /// β_k = (t_k - 1)/t_{k+1}, t_{k+1} = (1 + √(1 + 4 t_k²))/2, y = x + β m (Nesterov 1983), with t back to 1 whenever
    /// the step points uphill, <∇f(y), x_{k+1} - x_k> > 0 (O'Donoghue, Candès 2015).
    #[default]
    Nesterov,
}

impl Method {
    pub(super) fn check(self) -> Result<(), Error> {
        match self {
            Self::HeavyBall { momentum } if !(0.0..1.0).contains(&momentum) => {
                Err(Error::Domain { argument: "momentum", value: momentum, accepted: "0 <= momentum < 1" })
            }
            _ => Ok(()),
        }
    }

    /// Whether the gradient is taken at x + β m instead of x.
    pub(super) fn looks_ahead(self) -> bool {
        matches!(self, Self::Nesterov)
    }
}

/// The momentum of a method from step to step.
#[derive(Debug)]
pub(super) struct Momentum {
    method: Method,
    t: f64,
}

impl Momentum {
    pub(super) fn new(method: Method) -> Self {
        Self { method, t: 1.0 }
    }

    /// β of the next step.
    pub(super) fn next(&mut self) -> f64 {
        match self.method {
            Method::GradientDescent => 0.0,
            Method::HeavyBall { momentum } => momentum,
            Method::Nesterov => {
                let t = self.t;
                self.t = 0.5 * (1.0 + (1.0 + 4.0 * t * t).sqrt());
                (t - 1.0) / self.t
            }
        }
    }

    /// Whether the next β is zero.
    pub(super) fn at_rest(&self) -> bool {
        match self.method {
            Method::GradientDescent => true,
            Method::HeavyBall { momentum } => momentum == 0.0,
            Method::Nesterov => self.t == 1.0,
        }
    }

    /// Starts from rest again.
    pub(super) fn stop(&mut self) {
        self.t = 1.0;
    }

    /// To be told the slope <∇f(y), x_{k+1} - x_k> of the step taken.
    pub(super) fn stepped(&mut self, slope: f64) {
        if self.method.looks_ahead() && slope > 0.0 {
            self.stop();
        }
    }
}

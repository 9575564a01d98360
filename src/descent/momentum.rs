//! Gradient descent, heavy ball and Nesterov's method: a gradient step and a share of the last displacement.

use super::{
    Method, StepSize,
    entrywise::Carry,
    kernel::Kernel,
    method::Momentum,
    variables::Scales,
    walk::{ROUNDING, Walk},
};
use crate::parameters::Parameters;

/// x, the point before it, and the next one, which is made in the same pass as the gradient.
pub(crate) struct MomentumWalk<'a> {
    method: Method,
    step_rule: StepSize,
    kernel: Kernel<'a>,
    scales: Scales,
    momentum: Momentum,
    point: Parameters,
    previous: Parameters,
    next: Parameters,
    /// The objective at x, where it is known.
    objective: Option<f64>,
    /// Steps taken.
    steps: usize,
    step_size: f64,
    /// The factor by which η grows after a step.
    growth: f64,
    /// ‖x - p‖² in the variables of the descent.
    displacement_square: f64,
    /// What the last look has found.
    carry: Carry,
    base: f64,
    gradient_square: f64,
    slope: f64,
}

impl<'a> MomentumWalk<'a> {
    /// `longest` is the first step to try where steps are automatic.
    pub(crate) fn new(
        method: Method,
        step_rule: StepSize,
        longest: f64,
        kernel: Kernel<'a>,
        scales: Scales,
        start: Parameters,
    ) -> Self {
        Self {
            method,
            step_rule,
            kernel,
            scales,
            momentum: Momentum::new(method),
            previous: start.clone(),
            next: start.clone(),
            point: start,
            objective: None,
            steps: 0,
            step_size: step_rule.at(0).unwrap_or(longest),
            growth: 2.0,
            displacement_square: 0.0,
            carry: Carry { momentum: 0.0, ahead: method.looks_ahead() },
            base: 0.0,
            gradient_square: 0.0,
            slope: 0.0,
        }
    }

    /// Takes the gradient, and makes the next point with the current step size.
    fn advance(&mut self) {
        let look =
            self.kernel.advance(&self.scales, self.carry, self.step_size, &self.point, &self.previous, &mut self.next);
        (self.base, self.gradient_square, self.slope) = (look.objective, look.gradient_square, look.slope);
    }

    fn look_with(&mut self, momentum: f64) {
        self.carry.momentum = momentum;
        self.advance();
        if !self.carry.is_ahead() {
            self.objective = Some(self.base);
        }
    }
}

impl Walk for MomentumWalk<'_> {
    fn look(&mut self, tolerance: impl Fn(f64) -> f64) -> (f64, f64) {
        // The first step has nothing to carry over.
        let momentum = self.momentum.next();
        self.look_with(if self.steps == 0 { 0.0 } else { momentum });
        let objective = match self.objective {
            Some(objective) => objective,
            None => self.kernel.objective(&self.point),
        };
        self.objective = Some(objective);
        if self.gradient_square.sqrt() <= tolerance(objective) && self.carry.is_ahead() {
            // The gradient ahead is small: what counts is the one at the point itself, and the next step starts from
            // rest.
            self.momentum.stop();
            let momentum = self.momentum.next();
            self.look_with(momentum);
        }
        (objective, self.gradient_square.sqrt())
    }

    fn step(&mut self) -> Option<f64> {
        // With d = x + β m - η g - y the quadratic is f(y) - η ‖g‖²/2, and β² ‖m‖²/(2η) more where y = x.
        let beta = self.carry.momentum;
        let carried = if self.carry.ahead { 0.0 } else { beta * beta * self.displacement_square };
        let rounding = ROUNDING * self.base;
        let mut objective = None;
        if self.step_rule == StepSize::Automatic {
            loop {
                let eta = self.step_size;
                let next = self.kernel.objective(&self.next);
                let promised = 0.5 * eta * self.gradient_square;
                if next <= self.base - promised + carried / (2.0 * eta) + rounding {
                    objective = Some(next);
                    break;
                }
                if eta < f64::MIN_POSITIVE {
                    return None;
                }
                self.step_size *= 0.5;
                self.growth = 1.02;
                self.advance();
            }
        }
        let eta = self.step_size;
        let Self { gradient_square, slope, .. } = *self;
        self.displacement_square =
            (beta * beta * self.displacement_square - 2.0 * beta * eta * slope + eta * eta * gradient_square).max(0.0);
        self.momentum.stepped(beta * slope - eta * gradient_square);
        std::mem::swap(&mut self.previous, &mut self.point);
        std::mem::swap(&mut self.point, &mut self.next);
        self.objective = objective;
        self.steps += 1;
        match self.step_rule.at(self.steps) {
            Some(step) => self.step_size = step,
            // Where the decrease drowns in rounding the test says nothing, and a longer step has not earned it.
            None if 0.5 * eta * gradient_square > 100.0 * rounding => self.step_size *= self.growth,
            None => {}
        }
        Some(eta)
    }

    fn points(&self) -> (&Parameters, &Parameters) {
        (&self.point, &self.previous)
    }

    fn measure(&mut self, point: &Parameters) -> (f64, f64) {
        let rest = Carry { momentum: 0.0, ahead: self.method.looks_ahead() };
        let look = self.kernel.advance(&self.scales, rest, 0.0, point, point, &mut self.next);
        (look.objective, look.gradient_square.sqrt())
    }

    fn evaluations(&self) -> usize {
        self.kernel.evaluations
    }
}

//! Gradient descent, heavy ball and Nesterov's method: a gradient step and a share of the last displacement.

use super::{
    entrywise::{Carry, Moved},
    kernel::Kernel,
    method::{Method, Momentum, StepSize},
    step::{ROUNDING, Walk},
    variables::Scales,
};
use crate::parameters::Parameters;

/// A decrease by more than this number of roundings is significant.
const TOLD: f64 = 100.0;

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
    /// The objective at x, if it is known.
    objective: Option<f64>,
    /// Steps taken.
    steps: usize,
    step_size: f64,
    /// The factor by which η grows after a step.
    growth: f64,
    /// η and β that the next point is made with.
    made_with: (f64, f64),
    /// The last η that was tested against more than rounding.
    told_step: f64,
    /// Consecutive steps whose promise was below rounding.
    drowned: usize,
    /// The objective at the start, which automatic steps never exceed.
    bound: f64,
    /// ‖x - p‖² in the variables of the descent.
    displacement_square: f64,
    /// What the last look has found.
    carry: Carry,
    base: f64,
    gradient_square: f64,
    slope: f64,
    moved: Moved,
}

impl<'a> MomentumWalk<'a> {
    /// `longest` is the first step to try if steps are automatic.
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
            made_with: (0.0, 0.0),
            told_step: f64::INFINITY,
            drowned: 0,
            bound: f64::INFINITY,
            displacement_square: 0.0,
            carry: Carry { momentum: 0.0, ahead: method.looks_ahead() },
            base: 0.0,
            gradient_square: 0.0,
            slope: 0.0,
            moved: Moved::default(),
        }
    }

    /// Takes the gradient, and makes the next point with the current step size and momentum.
    fn advance(&mut self) {
        self.made_with = (self.step_size, self.carry.momentum);
        let look =
            self.kernel.advance(&self.scales, self.carry, self.step_size, &self.point, &self.previous, &mut self.next);
        (self.base, self.gradient_square, self.slope) = (look.objective, look.gradient_square, look.slope);
        self.moved = look.moved;
    }

    /// The next objective, if it passes the test of [`StepSize::Automatic`].
    ///
    /// With d = x + β m - η g - y the quadratic is f(y) - η ‖g‖²/2, and β² ‖m‖²/(2η) more if y = x. With a projection behind
    /// the step it has to be summed up from d.
    fn passing(&mut self) -> Option<f64> {
        let (beta, eta) = (self.carry.momentum, self.step_size);
        let is_bounded = self.kernel.is_bounded();
        if is_bounded && self.made_with != (eta, beta) {
            self.advance();
        }
        let carried = if self.carry.ahead || is_bounded { 0.0 } else { beta * beta * self.displacement_square };
        let quadratic = self.base - self.promised() + carried / (2.0 * eta);
        let limit = quadratic + ROUNDING * self.base;
        // No objective is negative: a step beyond 2 f/‖g‖² fails, without evaluating the objective there. From a start
        // that is far too large this leaves out all but the last few of hundreds of halvings.
        if !(limit >= 0.0) {
            return None;
        }
        if self.made_with != (eta, beta) {
            self.advance();
        }
        let next = self.kernel.objective(&self.next);
        (next <= limit && next <= self.bound).then_some(next)
    }

    /// Halves the step until it passes; the objective at the next point, or `None` if no step is short enough.
    fn shorten(&mut self) -> Option<f64> {
        let first = self.step_size;
        loop {
            if let Some(next) = self.passing() {
                return Some(next);
            }
            // A gradient step that promises less than rounding does not fail, but the momentum does: continue without
            // it.
            let is_tiny = self.promised() < ROUNDING * self.base;
            if is_tiny && self.carry.momentum > 0.0 {
                self.momentum.stop();
                self.carry.momentum = 0.0;
                self.step_size = first;
                self.advance();
                continue;
            }
            if self.step_size < f64::MIN_POSITIVE {
                return None;
            }
            self.step_size *= 0.5;
            self.growth = 1.02;
        }
    }

    /// Tries a longer step now and then, while the promise of a step is below rounding. Such steps always pass the
    /// test, and so must not grow. Near a minimum a longer one fails. But if the step comes from a region of far larger
    /// gradients, it would never grow again.
    ///
    /// It tries a step that promises up to half of f, since f has far fewer correct digits than its size suggests if
    /// products of large weights cancel; one that promises enough to be significant; and one that promises four
    /// roundings.
    fn leap(&mut self) -> Option<f64> {
        let told = TOLD * ROUNDING * self.base;
        if self.promised() > told {
            self.drowned = 0;
            return None;
        }
        // They must not be longer than a step that was tested either: steps of 2/c, where c is the curvature, swing
        // between x and -x.
        self.step_size = self.step_size.min(self.told_step);
        self.drowned += 1;
        if self.drowned < 8 || !self.drowned.is_power_of_two() {
            return None;
        }
        let short = self.step_size;
        for promise in [[1e3, 1e6, 1e9, f64::INFINITY][self.drowned.ilog2() as usize % 4], 1.0, 1.0 / TOLD] {
            self.step_size = 2.0 * (4.0 * told * promise).min(0.5 * self.base) / self.gradient_square;
            if let Some(next) = self.passing() {
                (self.growth, self.told_step) = (2.0, self.step_size);
                return Some(next);
            }
        }
        self.step_size = short;
        None
    }

    /// The amount by which the gradient step would lower a quadratic of curvature 1/η; with a projection, by which the
    /// step last made does, momentum included.
    fn promised(&self) -> f64 {
        if self.kernel.is_bounded() {
            return -self.moved.along - self.moved.square / (2.0 * self.made_with.0);
        }
        0.5 * self.step_size * self.gradient_square
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
        if self.steps == 0 {
            self.bound = objective * (1.0 + ROUNDING);
        }
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
        let objective = match self.step_rule {
            StepSize::Automatic => Some(match self.leap() {
                Some(next) => next,
                None => self.shorten()?,
            }),
            _ => None,
        };
        let beta = self.carry.momentum;
        let eta = self.step_size;
        let Self { gradient_square, slope, .. } = *self;
        self.displacement_square =
            (beta * beta * self.displacement_square - 2.0 * beta * eta * slope + eta * eta * gradient_square).max(0.0);
        let bounded = self.kernel.is_bounded().then_some(self.moved.uphill);
        self.momentum.stepped(bounded.unwrap_or(beta * slope - eta * gradient_square));
        std::mem::swap(&mut self.previous, &mut self.point);
        std::mem::swap(&mut self.point, &mut self.next);
        self.objective = objective;
        self.steps += 1;
        match self.step_rule.at(self.steps) {
            Some(step) => self.step_size = step,
            // If the decrease is below rounding, the test proves nothing, and the step must not grow.
            None if self.promised() > TOLD * ROUNDING * self.base => {
                self.told_step = eta;
                self.step_size *= self.growth;
            }
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

    fn goes_downhill(&self) -> bool {
        self.step_rule == StepSize::Automatic
    }

    fn evaluations(&self) -> usize {
        self.kernel.evaluations
    }
}

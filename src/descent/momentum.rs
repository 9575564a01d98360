//! Gradient descent, heavy ball and Nesterov's method: a gradient step and a share of the last displacement.

use super::{
    bounded::Moved,
    entrywise::Carry,
    kernel::Kernel,
    memory::{Memory, MomentumMemory},
    method::{Method, StepSize},
    step::{Ground, ROUNDING, Stage, Walk},
    variables::Scales,
};
use crate::parameters::Parameters;

/// A decrease by more than this number of roundings is significant.
const TOLD: f64 = 100.0;

/// x, the point before it in the memory, and the next one, which is made in the same pass as the gradient.
pub(crate) struct MomentumWalk<'a> {
    method: Method,
    step_rule: StepSize,
    kernel: Kernel<'a>,
    scales: Scales,
    memory: MomentumMemory,
    point: Parameters,
    next: Parameters,
    /// The objective at x, if it is known.
    objective: Option<f64>,
    /// Steps taken.
    steps: usize,
    /// η and β that the next point is made with.
    made_with: (f64, f64),
    /// What the last look has found.
    base: f64,
    gradient_square: f64,
    slope: f64,
    moved: Moved,
}

impl<'a> MomentumWalk<'a> {
    pub(crate) fn new(method: Method, ground: Ground<'a>, stage: Stage, memory: MomentumMemory) -> Self {
        let Ground { kernel, scales, step_rule } = ground;
        let Stage { point, steps, evaluations } = stage;
        let mut walk = Self {
            method,
            step_rule,
            kernel,
            scales,
            memory,
            next: point.clone(),
            point,
            objective: None,
            steps,
            made_with: (0.0, 0.0),
            base: 0.0,
            gradient_square: 0.0,
            slope: 0.0,
            moved: Moved::default(),
        };
        // Another walk has looked at this point: what it has found, and the next point, are made again.
        if evaluations > 0 {
            walk.advance();
            walk.kernel.evaluations = evaluations;
        }
        walk
    }

    /// How the next step carries the last displacement over.
    fn carry(&self) -> Carry {
        Carry { momentum: self.memory.beta, ahead: self.method.looks_ahead() }
    }

    /// Takes the gradient, and makes the next point with the current step size and momentum.
    fn advance(&mut self) {
        let (carry, eta) = (self.carry(), self.memory.step_size);
        self.made_with = (eta, carry.momentum);
        let look = self.kernel.advance(&self.scales, carry, eta, &self.point, &self.memory.previous, &mut self.next);
        (self.base, self.gradient_square, self.slope) = (look.objective, look.gradient_square, look.slope);
        self.moved = look.moved;
    }

    /// The next objective, if it passes the test of [`StepSize::Automatic`].
    ///
    /// With d = x + β m - η g - y the quadratic is f(y) - η ‖g‖²/2, and β² ‖m‖²/(2η) more if y = x. With a projection behind
    /// the step it has to be summed up from d.
    fn passing(&mut self) -> Option<f64> {
        let (beta, eta) = (self.memory.beta, self.memory.step_size);
        let is_bounded = self.kernel.is_bounded();
        if is_bounded && self.made_with != (eta, beta) {
            self.advance();
        }
        let is_exact = self.method.looks_ahead() || is_bounded;
        let carried = if is_exact { 0.0 } else { beta * beta * self.memory.displacement_square };
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
        (next <= limit && next <= self.memory.bound).then_some(next)
    }

    /// Halves the step until it passes; the objective at the next point, or `None` if no step is short enough.
    fn shorten(&mut self) -> Option<f64> {
        let first = self.memory.step_size;
        loop {
            if let Some(next) = self.passing() {
                return Some(next);
            }
            // A gradient step that promises less than rounding does not fail, but the momentum does: continue without
            // it.
            let is_tiny = self.promised() < ROUNDING * self.base;
            if is_tiny && self.memory.beta > 0.0 {
                self.memory.momentum.stop();
                self.memory.beta = 0.0;
                self.memory.step_size = first;
                self.advance();
                continue;
            }
            if self.memory.step_size < f64::MIN_POSITIVE {
                return None;
            }
            self.memory.step_size *= 0.5;
            self.memory.growth = 1.02;
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
            self.memory.drowned = 0;
            return None;
        }
        // They must not be longer than a step that was tested either: steps of 2/c, where c is the curvature, swing
        // between x and -x.
        self.memory.step_size = self.memory.step_size.min(self.memory.told_step);
        self.memory.drowned += 1;
        if self.memory.drowned < 8 || !self.memory.drowned.is_power_of_two() {
            return None;
        }
        let short = self.memory.step_size;
        for promise in [[1e3, 1e6, 1e9, f64::INFINITY][self.memory.drowned.ilog2() as usize % 4], 1.0, 1.0 / TOLD] {
            self.memory.step_size = 2.0 * (4.0 * told * promise).min(0.5 * self.base) / self.gradient_square;
            if let Some(next) = self.passing() {
                (self.memory.growth, self.memory.told_step) = (2.0, self.memory.step_size);
                return Some(next);
            }
        }
        self.memory.step_size = short;
        None
    }

    /// The amount by which the gradient step would lower a quadratic of curvature 1/η; with a projection, by which the
    /// step last made does, momentum included.
    fn promised(&self) -> f64 {
        if self.kernel.is_bounded() {
            return -self.moved.along - self.moved.square / (2.0 * self.made_with.0);
        }
        0.5 * self.memory.step_size * self.gradient_square
    }

    fn look_with(&mut self, momentum: f64) {
        self.memory.beta = momentum;
        self.advance();
        if !self.carry().is_ahead() {
            self.objective = Some(self.base);
        }
    }
}

impl Walk for MomentumWalk<'_> {
    fn look(&mut self) -> f64 {
        // The first step has nothing to carry over.
        let momentum = self.memory.momentum.next(self.method);
        self.look_with(if self.steps == 0 { 0.0 } else { momentum });
        let objective = match self.objective {
            Some(objective) => objective,
            None => self.kernel.objective(&self.point),
        };
        self.objective = Some(objective);
        if self.steps == 0 {
            self.memory.bound = objective * (1.0 + ROUNDING);
        }
        objective
    }

    fn gradient_norm(&mut self, tolerance: f64) -> f64 {
        if self.gradient_square.sqrt() <= tolerance && self.carry().is_ahead() {
            // The gradient ahead is small: what counts is the one at the point itself, and the next step starts from
            // rest.
            self.memory.momentum.stop();
            let momentum = self.memory.momentum.next(self.method);
            self.look_with(momentum);
        }
        self.gradient_square.sqrt()
    }

    fn step(&mut self) -> Option<f64> {
        let objective = match self.step_rule {
            StepSize::Automatic => Some(match self.leap() {
                Some(next) => next,
                None => self.shorten()?,
            }),
            _ => None,
        };
        let beta = self.memory.beta;
        let eta = self.memory.step_size;
        let Self { gradient_square, slope, .. } = *self;
        let before = self.memory.displacement_square;
        self.memory.displacement_square =
            (beta * beta * before - 2.0 * beta * eta * slope + eta * eta * gradient_square).max(0.0);
        let bounded = self.kernel.is_bounded().then_some(self.moved.uphill);
        self.memory.momentum.stepped(self.method, bounded.unwrap_or(beta * slope - eta * gradient_square));
        std::mem::swap(&mut self.memory.previous, &mut self.point);
        std::mem::swap(&mut self.point, &mut self.next);
        self.objective = objective;
        self.steps += 1;
        match self.step_rule.at(self.steps) {
            Some(step) => self.memory.step_size = step,
            // If the decrease is below rounding, the test proves nothing, and the step must not grow.
            None if self.promised() > TOLD * ROUNDING * self.base => {
                self.memory.told_step = eta;
                self.memory.step_size *= self.memory.growth;
            }
            None => {}
        }
        Some(eta)
    }

    fn points(&self) -> (&Parameters, &Parameters) {
        (&self.point, &self.memory.previous)
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

    fn leave(self) -> (Parameters, Memory) {
        (self.point, Memory::Momentum(self.memory))
    }
}

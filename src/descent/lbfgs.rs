//! L-BFGS with a line search that ends in the strong Wolfe conditions.

use std::collections::VecDeque;

use super::{
    StepSize,
    kernel::Kernel,
    variables::{Scales, add_scaled, inner_product},
    walk::{ROUNDING, Walk},
};
use crate::parameters::Parameters;

/// f(x + t d) ≤ f(x) + `SUFFICIENT` t <g, d> and |<∇f(x + t d), d>| ≤ `CURVATURE` |<g, d>|: the values of Nocedal and
/// Wright for quasi-Newton methods.
const SUFFICIENT: f64 = 1e-4;
const CURVATURE: f64 = 0.9;
/// Points that a line search looks at before it gives up.
const TRIALS: usize = 40;

/// A displacement s, the change y of the gradient along it, and 1/<s, y>.
struct Pair {
    displacement: Parameters,
    change: Parameters,
    inverse: f64,
}

pub(crate) struct LbfgsWalk<'a> {
    memory: usize,
    step_rule: StepSize,
    longest: f64,
    kernel: Kernel<'a>,
    scales: Scales,
    pairs: VecDeque<Pair>,
    point: Parameters,
    gradient: Parameters,
    objective: f64,
    direction: Parameters,
    /// The point of a trial step, and after the step the point before it.
    trial: Parameters,
    trial_gradient: Parameters,
    steps: usize,
}

/// One look along the line: the length t, the objective there, and its slope.
#[derive(Clone, Copy)]
struct Trial {
    length: f64,
    objective: f64,
    slope: f64,
}

impl<'a> LbfgsWalk<'a> {
    pub(crate) fn new(
        memory: usize,
        step_rule: StepSize,
        longest: f64,
        mut kernel: Kernel<'a>,
        scales: Scales,
        start: Parameters,
    ) -> Self {
        let mut gradient = start.clone();
        let objective = kernel.gradient(&start, &mut gradient);
        Self {
            memory,
            step_rule,
            longest,
            kernel,
            scales,
            pairs: VecDeque::new(),
            direction: gradient.clone(),
            trial: start.clone(),
            trial_gradient: gradient.clone(),
            gradient,
            objective,
            point: start,
            steps: 0,
        }
    }

    /// d = -B g by the two loops over the pairs, from γ times the identity in the variables of the descent; its slope
    /// <g, d>.
    fn choose_direction(&mut self) -> f64 {
        let Self { direction, gradient, pairs, scales, .. } = self;
        for (mut to, from) in direction.blocks_mut().zip(gradient.blocks()) {
            to.copy_from(from);
        }
        let mut weights = Vec::with_capacity(pairs.len());
        for pair in pairs.iter().rev() {
            let weight = pair.inverse * inner_product(&pair.displacement, direction);
            add_scaled(direction, -weight, &pair.change);
            weights.push(weight);
        }
        // γ = <s, y>/‖y‖² of the last pair; without one, the step that steepest descent would try first.
        let gamma =
            pairs.back().map_or(self.longest, |pair| 1.0 / (pair.inverse * scales.gradient_square(&pair.change)));
        for (mut block, scale) in direction.blocks_mut().zip(scales.blocks()) {
            block *= faer::Scale(gamma * scale);
        }
        for (pair, weight) in pairs.iter().zip(weights.into_iter().rev()) {
            let correction = weight - pair.inverse * inner_product(&pair.change, direction);
            add_scaled(direction, correction, &pair.displacement);
        }
        for mut block in direction.blocks_mut() {
            block *= faer::Scale(-1.0);
        }
        inner_product(gradient, direction)
    }

    /// Looks at x + t d.
    fn look_along(&mut self, length: f64) -> Trial {
        let blocks = self.trial.blocks_mut().zip(self.point.blocks()).zip(self.direction.blocks());
        for ((mut to, from), direction) in blocks {
            to.copy_from(from);
            faer::zip!(to, direction).for_each(|faer::unzip!(to, direction)| *to += length * direction);
        }
        let objective = self.kernel.gradient(&self.trial, &mut self.trial_gradient);
        Trial { length, objective, slope: inner_product(&self.trial_gradient, &self.direction) }
    }

    /// A length that satisfies the strong Wolfe conditions, up to rounding of the objective: brackets, then narrows by
    /// cubic interpolation (Nocedal, Wright 2006, algorithms 3.5 and 3.6). None where rounding leaves no such length.
    fn search(&mut self, first: f64, slope: f64) -> Option<Trial> {
        let (start, rounding) = (self.objective, ROUNDING * self.objective);
        let too_high = |trial: &Trial| !(trial.objective <= start + SUFFICIENT * trial.length * slope + rounding);
        let flat = |trial: &Trial| trial.slope.abs() <= CURVATURE * slope.abs();
        let mut low = Trial { length: 0.0, objective: start, slope };
        let mut high: Option<Trial> = None;
        let mut length = first;
        for _ in 0..TRIALS {
            let trial = self.look_along(length);
            if too_high(&trial) || (low.length > 0.0 && trial.objective > low.objective + rounding) {
                high = Some(trial);
            } else if flat(&trial) {
                return Some(trial);
            } else {
                // Downhill beyond the trial, or back towards the other end of the bracket.
                let towards = high.map_or(1.0, |high| high.length - low.length);
                if trial.slope * towards >= 0.0 {
                    high = Some(low);
                }
                low = trial;
            }
            length = match high {
                None => 4.0 * low.length,
                Some(high) => between(&low, &high),
            };
            if !length.is_finite() || length == low.length {
                return None;
            }
        }
        None
    }
}

/// The minimum of the cubic through the values and slopes of two trials, kept away from their ends.
fn between(low: &Trial, high: &Trial) -> f64 {
    let width = high.length - low.length;
    let d1 = low.slope + high.slope - 3.0 * (high.objective - low.objective) / width;
    let d2 = (d1 * d1 - low.slope * high.slope).sqrt().copysign(width);
    let cubic = high.length - width * (high.slope + d2 - d1) / (high.slope - low.slope + 2.0 * d2);
    let share = (cubic - low.length) / width;
    // NaN, where there is no such cubic, takes the middle.
    low.length + width * if share.is_nan() { 0.5 } else { share.clamp(0.1, 0.9) }
}

impl Walk for LbfgsWalk<'_> {
    fn look(&mut self, _tolerance: impl Fn(f64) -> f64) -> (f64, f64) {
        (self.objective, self.scales.gradient_square(&self.gradient).sqrt())
    }

    fn step(&mut self) -> Option<f64> {
        let fixed = self.step_rule.at(self.steps);
        let trial = loop {
            let slope = self.choose_direction();
            let found = match fixed {
                Some(length) => Some(self.look_along(length)),
                None if slope < 0.0 => self.search(1.0, slope),
                None => None,
            };
            match found {
                Some(trial) => break trial,
                // A direction that leads nowhere: start again from steepest descent, once.
                None if self.pairs.is_empty() => return None,
                None => self.pairs.clear(),
            }
        };
        self.remember();
        std::mem::swap(&mut self.point, &mut self.trial);
        std::mem::swap(&mut self.gradient, &mut self.trial_gradient);
        self.objective = trial.objective;
        self.steps += 1;
        Some(trial.length)
    }

    fn points(&self) -> (&Parameters, &Parameters) {
        (&self.point, &self.trial)
    }

    fn measure(&mut self, point: &Parameters) -> (f64, f64) {
        let objective = self.kernel.gradient(point, &mut self.trial_gradient);
        (objective, self.scales.gradient_square(&self.trial_gradient).sqrt())
    }

    fn evaluations(&self) -> usize {
        self.kernel.evaluations
    }
}

impl LbfgsWalk<'_> {
    /// Keeps s and y of the step to the trial point, in the memory of the oldest pair where that is full.
    fn remember(&mut self) {
        if self.memory == 0 {
            return;
        }
        let oldest = if self.pairs.len() == self.memory { self.pairs.pop_front() } else { None };
        let mut pair = oldest.unwrap_or_else(|| Pair {
            displacement: self.point.clone(),
            change: self.gradient.clone(),
            inverse: 0.0,
        });
        let points = pair.displacement.blocks_mut().zip(self.trial.blocks()).zip(self.point.blocks());
        let gradients = pair.change.blocks_mut().zip(self.trial_gradient.blocks()).zip(self.gradient.blocks());
        for ((to, a), b) in points.chain(gradients) {
            faer::zip!(to, a, b).for_each(|faer::unzip!(to, a, b)| *to = a - b);
        }
        let curvature = inner_product(&pair.displacement, &pair.change);
        // Positive where the strong Wolfe conditions hold; else the pair would spoil the model of the curvature.
        if curvature > f64::EPSILON * self.scales.gradient_square(&pair.change) && curvature.is_finite() {
            pair.inverse = 1.0 / curvature;
            self.pairs.push_back(pair);
        }
    }
}

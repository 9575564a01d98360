//! L-BFGS with a line search that ends in the strong Wolfe conditions.

use super::{
    kernel::Kernel,
    line_search::{Trial, scan, search},
    memory::{LbfgsMemory, Memory, Pair},
    method::StepSize,
    step::{Ground, Stage, Walk},
    variables::{Scales, add_scaled, inner_product},
};
use crate::parameters::Parameters;

pub(crate) struct LbfgsWalk<'a> {
    /// Pairs to remember at most.
    most: usize,
    step_rule: StepSize,
    kernel: Kernel<'a>,
    scales: Scales,
    memory: LbfgsMemory,
    point: Parameters,
    gradient: Parameters,
    objective: f64,
    direction: Parameters,
    /// The point of a trial step, and after the step the point before it.
    trial: Parameters,
    trial_gradient: Parameters,
    steps: usize,
}

impl<'a> LbfgsWalk<'a> {
    pub(crate) fn new(most: usize, ground: Ground<'a>, stage: Stage, memory: LbfgsMemory) -> Self {
        let Ground { mut kernel, scales, step_rule } = ground;
        let Stage { point, steps, evaluations } = stage;
        let mut gradient = point.clone();
        let objective = kernel.gradient(&point, &mut gradient);
        // Where a walk goes on, this gradient has been counted.
        kernel.evaluations = evaluations.max(1);
        Self {
            most,
            step_rule,
            kernel,
            scales,
            memory,
            direction: gradient.clone(),
            trial: point.clone(),
            trial_gradient: gradient.clone(),
            gradient,
            objective,
            point,
            steps,
        }
    }

    /// d = -B g by the two loops over the pairs, from γ times the identity in the variables of the descent; its slope
    /// <g, d>.
    fn choose_direction(&mut self) -> f64 {
        let Self { direction, gradient, memory: LbfgsMemory { pairs, .. }, .. } = self;
        for (mut to, from) in direction.blocks_mut().zip(gradient.blocks()) {
            to.copy_from(from);
        }
        let mut weights = Vec::with_capacity(pairs.len());
        for pair in pairs.iter().rev() {
            let weight = pair.inverse * inner_product(&pair.displacement, direction);
            add_scaled(direction, -weight, &pair.change);
            weights.push(weight);
        }
        let gamma = self.scale_of_pairs();
        let Self { direction, gradient, memory: LbfgsMemory { pairs, .. }, scales, .. } = self;
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

    /// γ = <s, y>/‖y‖² of the last pair; without one, the step along the negative gradient to try first.
    fn scale_of_pairs(&self) -> f64 {
        let scale = |pair: &Pair| 1.0 / (pair.inverse * self.scales.gradient_square(&pair.change));
        self.memory.pairs.back().map_or(self.memory.steepest, scale)
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

    /// A step down: along the direction of the pairs, or else along the negative gradient; `None` if neither lowers the
    /// objective by more than its rounding.
    fn search_down(&mut self) -> Option<Trial> {
        loop {
            let slope = self.choose_direction();
            let start = Trial { length: 0.0, objective: self.objective, slope };
            let found = if slope < 0.0 { search(start, |length| self.look_along(length)) } else { None };
            if found.is_some() {
                return found;
            }
            if self.memory.pairs.is_empty() {
                return if slope < 0.0 { scan(start, |length| self.look_along(length)) } else { None };
            }
            // A direction without progress: start again from the negative gradient, once.
            self.memory.steepest = self.scale_of_pairs();
            self.memory.pairs.clear();
        }
    }
}

impl Walk for LbfgsWalk<'_> {
    fn look(&mut self) -> f64 {
        self.objective
    }

    fn gradient_norm(&mut self, _tolerance: f64) -> f64 {
        self.scales.gradient_square(&self.gradient).sqrt()
    }

    fn step(&mut self) -> Option<f64> {
        let trial = match self.step_rule.at(self.steps) {
            Some(length) => {
                self.choose_direction();
                self.look_along(length)
            }
            None => self.search_down()?,
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

    fn goes_downhill(&self) -> bool {
        self.step_rule == StepSize::Automatic
    }

    fn evaluations(&self) -> usize {
        self.kernel.evaluations
    }

    fn leave(self) -> (Parameters, Memory) {
        (self.point, Memory::Lbfgs(self.memory))
    }
}

impl LbfgsWalk<'_> {
    /// Keeps s and y of the step to the trial point, in the memory of the oldest pair if that is full.
    fn remember(&mut self) {
        if self.most == 0 {
            return;
        }
        let pairs = &mut self.memory.pairs;
        let oldest = if pairs.len() == self.most { pairs.pop_front() } else { None };
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
        // Positive if the strong Wolfe conditions hold; else the pair would spoil the model of the curvature. A cosine,
        // since far from a minimum curvatures can be a hundred orders of magnitude from 1.
        let change = self.scales.gradient_square(&pair.change).sqrt();
        let cosine = curvature / change / self.scales.displacement_square(&pair.displacement).sqrt();
        if cosine > f64::EPSILON && curvature.is_finite() {
            pair.inverse = 1.0 / curvature;
            pairs.push_back(pair);
        }
    }
}

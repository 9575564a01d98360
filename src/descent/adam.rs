//! Adam, on the features of all samples: it is not equivariant under rotations of them.

use faer::{unzip, zip};

use super::{
    kernel::Kernel,
    memory::{AdamMemory, Memory},
    method::StepSize,
    step::{Ground, ROUNDING, Stage, Walk},
    variables::Scales,
};
use crate::parameters::Parameters;

/// The decay rates of Adam's moments, and ε.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) first: f64,
    pub(crate) second: f64,
    pub(crate) epsilon: f64,
}

pub(crate) struct AdamWalk<'a> {
    rates: Rates,
    step_rule: StepSize,
    kernel: Kernel<'a>,
    scales: Scales,
    point: Parameters,
    previous: Parameters,
    gradient: Parameters,
    objective: f64,
    memory: AdamMemory,
    steps: usize,
}

impl<'a> AdamWalk<'a> {
    pub(crate) fn new(rates: Rates, ground: Ground<'a>, stage: Stage, mut memory: AdamMemory) -> Self {
        let Ground { mut kernel, scales, step_rule } = ground;
        let Stage { point, steps, evaluations } = stage;
        let mut gradient = point.clone();
        let objective = kernel.gradient(&point, &mut gradient);
        // Where a walk goes on, this gradient has been counted.
        kernel.evaluations = evaluations.max(1);
        if steps == 0 {
            memory.bound = objective * (1.0 + ROUNDING);
        }
        let previous = point.clone();
        Self { rates, step_rule, kernel, scales, point, previous, gradient, objective, memory, steps }
    }
}

impl AdamWalk<'_> {
    /// m ← β_1 m + (1-β_1) g, v ← β_2 v + (1-β_2) g², g being √s times the plain gradient.
    fn update_moments(&mut self) {
        self.memory.age += 1;
        let Rates { first, second, .. } = self.rates;
        let moments = self.memory.first.blocks_mut().zip(self.memory.second.blocks_mut());
        for ((mean, square), (gradient, scale)) in moments.zip(self.gradient.blocks().zip(self.scales.blocks())) {
            let root = scale.sqrt();
            zip!(mean, square, gradient).for_each(|unzip!(mean, square, gradient)| {
                let g = root * gradient;
                *mean = first * *mean + (1.0 - first) * g;
                *square = second * *square + (1.0 - second) * g * g;
            });
        }
    }

    /// The next point x - η (m/(1-β_1^t)) / (√(v/(1-β_2^t)) + ε), x moving √s times as far, and the objective and the
    /// gradient there.
    fn advance(&mut self, eta: f64) {
        let t = i32::try_from(self.memory.age).unwrap_or(i32::MAX);
        let Rates { first, second, epsilon } = self.rates;
        let (first_bias, second_bias) = (1.0 - first.powi(t), 1.0 - second.powi(t));
        let moments = self.memory.first.blocks().zip(self.memory.second.blocks());
        let points = self.previous.blocks_mut().zip(self.point.blocks());
        for (((to, from), (mean, square)), scale) in points.zip(moments).zip(self.scales.blocks()) {
            let root = scale.sqrt();
            zip!(to, from, mean, square).for_each(|unzip!(to, from, mean, square)| {
                *to = from - eta * root * (*mean / first_bias) / ((*square / second_bias).sqrt() + epsilon);
            });
        }
        self.objective = self.kernel.gradient(&self.previous, &mut self.gradient);
    }
}

impl AdamWalk<'_> {
    /// Halves the automatic step until the objective at the next point is no longer above the bound; `None` if no step is
    /// short enough. The means start anew: what they remember may lead up, and then no step would be short enough for
    /// good.
    fn shorten(&mut self) -> Option<f64> {
        self.kernel.gradient(&self.point, &mut self.gradient);
        let AdamMemory { first, second, age, .. } = &mut self.memory;
        first.blocks_mut().chain(second.blocks_mut()).for_each(|mut block| block.fill(0.0));
        *age = 0;
        self.update_moments();
        while self.memory.automatic >= f64::MIN_POSITIVE {
            self.memory.automatic *= 0.5;
            self.advance(self.memory.automatic);
            if self.objective <= self.memory.bound {
                return Some(self.memory.automatic);
            }
        }
        None
    }
}

impl Walk for AdamWalk<'_> {
    fn look(&mut self) -> f64 {
        self.objective
    }

    fn gradient_norm(&mut self, _tolerance: f64) -> f64 {
        self.scales.gradient_square(&self.gradient).sqrt()
    }

    fn step(&mut self) -> Option<f64> {
        self.update_moments();
        let given = self.step_rule.at(self.steps);
        self.steps += 1;
        let mut eta = given.unwrap_or(self.memory.automatic);
        self.advance(eta);
        if given.is_none() && !(self.objective <= self.memory.bound) {
            eta = self.shorten()?;
        }
        std::mem::swap(&mut self.point, &mut self.previous);
        Some(eta)
    }

    fn points(&self) -> (&Parameters, &Parameters) {
        (&self.point, &self.previous)
    }

    fn measure(&mut self, point: &Parameters) -> (f64, f64) {
        let mut gradient = point.clone();
        let objective = self.kernel.gradient(point, &mut gradient);
        (objective, self.scales.gradient_square(&gradient).sqrt())
    }

    /// Under a gradient that is always the same m becomes g and √v becomes |g|, in 1e5 steps after a start with
    /// gradients of 1e26. Then every variable moves by η |g|/(|g| + ε).
    fn stays(&self) -> bool {
        let eta = self.step_rule.at(self.steps).unwrap_or(self.memory.automatic);
        self.point.blocks().zip(self.gradient.blocks()).zip(self.scales.blocks()).all(|((point, gradient), scale)| {
            let root = scale.sqrt();
            let stays = |(x, g): (&f64, &f64)| {
                let step = eta * root * (root * g) / ((root * g).abs() + self.rates.epsilon);
                x - step == *x
            };
            point.col_iter().zip(gradient.col_iter()).all(|(x, g)| x.iter().zip(g.iter()).all(stays))
        })
    }

    fn goes_downhill(&self) -> bool {
        false
    }

    fn evaluations(&self) -> usize {
        self.kernel.evaluations
    }

    fn leave(self) -> (Parameters, Memory) {
        (self.point, Memory::Adam(self.memory))
    }
}

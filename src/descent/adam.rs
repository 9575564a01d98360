//! Adam, on the features of all samples: it is not equivariant under rotations of them.

use faer::{unzip, zip};

use super::{StepSize, kernel::Kernel, variables::Scales, walk::Walk};
use crate::parameters::Parameters;

/// The decay rates of Adam's moments, and ε.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) first: f64,
    pub(crate) second: f64,
    pub(crate) epsilon: f64,
}

/// The step size of Adam where none is given.
const CUSTOMARY_STEP: f64 = 1e-3;

pub(crate) struct AdamWalk<'a> {
    rates: Rates,
    step_rule: StepSize,
    kernel: Kernel<'a>,
    scales: Scales,
    point: Parameters,
    previous: Parameters,
    gradient: Parameters,
    /// The running means of the gradient and of its square, in the variables of the descent.
    first: Parameters,
    second: Parameters,
    steps: usize,
}

impl<'a> AdamWalk<'a> {
    pub(crate) fn new(
        rates: Rates,
        step_rule: StepSize,
        kernel: Kernel<'a>,
        scales: Scales,
        start: Parameters,
    ) -> Self {
        let mut zero = start.clone();
        zero.blocks_mut().for_each(|mut block| block.fill(0.0));
        Self {
            rates,
            step_rule,
            kernel,
            scales,
            previous: start.clone(),
            gradient: zero.clone(),
            first: zero.clone(),
            second: zero,
            point: start,
            steps: 0,
        }
    }
}

impl Walk for AdamWalk<'_> {
    fn look(&mut self, _tolerance: impl Fn(f64) -> f64) -> (f64, f64) {
        let objective = self.kernel.gradient(&self.point, &mut self.gradient);
        (objective, self.scales.gradient_square(&self.gradient).sqrt())
    }

    /// m ← β_1 m + (1-β_1) g, v ← β_2 v + (1-β_2) g², x ← x - η (m/(1-β_1^t)) / (√(v/(1-β_2^t)) + ε), g being √s times
    /// the plain gradient and x moving √s times as far.
    fn step(&mut self) -> Option<f64> {
        let eta = self.step_rule.at(self.steps).unwrap_or(CUSTOMARY_STEP);
        self.steps += 1;
        let t = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let Rates { first, second, epsilon } = self.rates;
        let (first_bias, second_bias) = (1.0 - first.powi(t), 1.0 - second.powi(t));
        let moments = self.first.blocks_mut().zip(self.second.blocks_mut());
        let points = self.previous.blocks_mut().zip(self.point.blocks());
        let blocks = points.zip(moments).zip(self.gradient.blocks()).zip(self.scales.blocks());
        for ((((to, from), (mean, square)), gradient), scale) in blocks {
            let root = scale.sqrt();
            zip!(to, from, mean, square, gradient).for_each(|unzip!(to, from, mean, square, gradient)| {
                let g = root * gradient;
                *mean = first * *mean + (1.0 - first) * g;
                *square = second * *square + (1.0 - second) * g * g;
                *to = from - eta * root * (*mean / first_bias) / ((*square / second_bias).sqrt() + epsilon);
            });
        }
        std::mem::swap(&mut self.point, &mut self.previous);
        Some(eta)
    }

    fn points(&self) -> (&Parameters, &Parameters) {
        (&self.point, &self.previous)
    }

    fn measure(&mut self, point: &Parameters) -> (f64, f64) {
        let objective = self.kernel.gradient(point, &mut self.gradient);
        (objective, self.scales.gradient_square(&self.gradient).sqrt())
    }

    fn evaluations(&self) -> usize {
        self.kernel.evaluations
    }
}

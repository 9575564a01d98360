//! The rules by which weights move: Adam and AdamW in one pass over the numbers of a parameter, and SGD.

use std::{fmt, str::FromStr};

use anyhow::{Error, bail};
use burn::{
    optim::{
        Adam, AdamConfig, AdamState, AdamW, AdamWConfig, AdaptiveMomentumState, LearningRate, ModuleOptimizer,
        Optimizer, Sgd, SgdConfig, decay::WeightDecayConfig, momentum::MomentumConfig,
    },
    tensor::{Device, Tensor, TensorData},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Numbers that one core works on at a time: three arrays and a gradient of them stay in its cache.
const CHUNK: usize = 1 << 14;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
/// That of the paper and of PyTorch; burn's is 1e-5, as large as the gradients of small weights.
pub const EPSILON: f64 = 1e-8;
/// The customary one of SGD.
const MOMENTUM: f64 = 0.9;

/// How weights move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rule {
    /// Adam (Kingma, Ba 2015) with its customary constants; a decay enters the gradient.
    #[default]
    Adam,
    /// The same, where a decay shrinks the weights instead (Loshchilov, Hutter 2019).
    AdamW,
    /// Stochastic gradient descent with a momentum of 0.9; a decay enters the gradient.
    Sgd,
}

impl Rule {
    const NAMES: [(Self, &str); 3] = [(Self::Adam, "adam"), (Self::AdamW, "adamw"), (Self::Sgd, "sgd")];
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::NAMES.iter().find(|(rule, _)| rule == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for Rule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match Self::NAMES.iter().find(|(_, name)| *name == text) {
            Some((rule, _)) => Ok(*rule),
            None => bail!("{text:?} given, adam, adamw and sgd are accepted"),
        }
    }
}

/// The optimizer of a rule, with the ε of Adam and a decay of all weights and biases or 0. Adam goes in one pass where numbers are in the
/// memory of this program, and by the library where they are on another device. The state is the library's.
#[must_use]
pub fn optimizer(rule: Rule, epsilon: f64, decay: f64, device: &Device) -> ModuleOptimizer {
    #[allow(clippy::cast_possible_truncation)]
    let (epsilon, decay) = (epsilon as f32, decay as f32);
    match rule {
        Rule::Sgd => ModuleOptimizer::from(sgd(decay)),
        Rule::Adam if is_here(device) => ModuleOptimizer::from(OnePass { epsilon, coupled: decay, decoupled: 0.0 }),
        Rule::AdamW if is_here(device) => ModuleOptimizer::from(OnePass { epsilon, coupled: 0.0, decoupled: decay }),
        Rule::Adam => ModuleOptimizer::from(adam(epsilon, decay)),
        Rule::AdamW => ModuleOptimizer::from(adam_w(epsilon, decay)),
    }
}

fn is_here(device: &Device) -> bool {
    device.clone().inner() == Device::flex()
}

fn sgd(decay: f32) -> Sgd {
    // As PyTorch's, whose momentum is not dampened.
    let momentum = MomentumConfig::new().with_momentum(MOMENTUM).with_dampening(0.0);
    SgdConfig::new().with_momentum(Some(momentum)).with_weight_decay(Some(WeightDecayConfig::new(decay))).build()
}

fn adam(epsilon: f32, decay: f32) -> Adam {
    let decay = Some(WeightDecayConfig::new(decay));
    AdamConfig::new().with_beta_1(BETA_1).with_beta_2(BETA_2).with_epsilon(epsilon).with_weight_decay(decay).build()
}

fn adam_w(epsilon: f32, decay: f32) -> AdamW {
    AdamWConfig::new().with_beta_1(BETA_1).with_beta_2(BETA_2).with_epsilon(epsilon).with_weight_decay(decay).build()
}

/// The library makes a dozen whole arrays a step; at batches of 128 that is half of the time of training.
#[derive(Clone, Debug)]
struct OnePass {
    epsilon: f32,
    /// A decay that enters the gradient.
    coupled: f32,
    /// One that shrinks the weights.
    decoupled: f32,
}

impl Optimizer for OnePass {
    type State<const D: usize> = AdamState<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let device = tensor.device();
        let zeros = || Tensor::zeros(tensor.dims(), &device);
        let mut momentum =
            state.map_or_else(|| AdaptiveMomentumState::new(0, zeros(), zeros()), |state| state.momentum);
        momentum.time += 1;
        let mut arrays = [tensor, momentum.moment_1, momentum.moment_2].map(Tensor::into_data);
        self.update(&mut arrays, &gradient.into_data(), momentum.time, rate);
        let [tensor, first, second] = arrays.map(|data| Tensor::from_data(data, &device));
        (momentum.moment_1, momentum.moment_2) = (first, second);
        (tensor, Some(AdamState::new(momentum)))
    }

    fn to_device<const D: usize>(mut state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.momentum = state.momentum.to_device(device);
        state
    }
}

impl OnePass {
    /// g ← g + D x with a coupled decay D; m ← β_1 m + (1-β_1) g, v ← β_2 v + (1-β_2) g²; x ← (1 - r D') x with a
    /// decoupled decay D'; x ← x - r · m̂/(√v̂ + ε), with m̂ = m/(1-β_1^t) and v̂ = v/(1-β_2^t).
    fn update(&self, [x, first, second]: &mut [TensorData; 3], gradient: &TensorData, time: usize, rate: f64) {
        let time = i32::try_from(time).unwrap_or(i32::MAX);
        let corrections = [BETA_1, BETA_2].map(|beta| 1.0 - f64::from(beta).powi(time));
        #[allow(clippy::cast_possible_truncation)]
        let kept = (1.0 - rate * f64::from(self.decoupled)) as f32;
        #[allow(clippy::cast_possible_truncation)]
        let (rate, root) = ((rate / corrections[0]) as f32, (1.0 / corrections[1].sqrt()) as f32);
        let arrays = (x.as_mut_slice::<f32>(), first.as_mut_slice::<f32>(), second.as_mut_slice::<f32>());
        let (Ok(x), Ok(first), Ok(second)) = arrays else { unreachable!("weights and moments are 32-bit floats") };
        let Ok(gradient) = gradient.as_slice::<f32>() else { unreachable!("gradients are 32-bit floats") };
        let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
        x.par_chunks_mut(CHUNK).zip(moments).zip(gradient.par_chunks(CHUNK)).for_each(
            |((x, (first, second)), gradient)| {
                for (((x, first), second), &gradient) in x.iter_mut().zip(first).zip(second).zip(gradient) {
                    let gradient = gradient + self.coupled * *x;
                    *first = BETA_1 * *first + (1.0 - BETA_1) * gradient;
                    *second = BETA_2 * *second + (1.0 - BETA_2) * gradient * gradient;
                    *x = kept * *x - rate * *first / (second.sqrt() * root + self.epsilon);
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::numbers;

    /// How far each number has moved in 50 steps of an optimizer.
    fn moved<O: Optimizer>(optimizer: &O) -> Vec<f32> {
        let device = Device::flex();
        let start = Tensor::<1>::from_floats([1.0, -2.0, 0.5, 3.0], &device);
        let mut at = (start.clone(), None);
        for step in 0..50_u8 {
            // Gradients of several sizes, one of them far below the library's own epsilon.
            let gradient = start.clone() * Tensor::from_floats([1.0, 1e-3, 1e-7, f32::from(step % 3)], &device);
            at = optimizer.step(0.01, at.0, gradient, at.1);
        }
        numbers(at.0 - start).unwrap()
    }

    #[test]
    fn one_pass_and_the_library_agree() {
        let one = |epsilon, coupled, decoupled| moved(&OnePass { epsilon, coupled, decoupled });
        let plain = one(1e-8, 0.0, 0.0);
        for (name, one, other) in [
            ("adam", plain.clone(), moved(&adam(1e-8, 0.0))),
            ("adam with a large epsilon", one(1e-2, 0.0, 0.0), moved(&adam(1e-2, 0.0))),
            ("adam with decay", one(1e-8, 0.1, 0.0), moved(&adam(1e-8, 0.1))),
            ("adamw", one(1e-8, 0.0, 0.1), moved(&adam_w(1e-8, 0.1))),
        ] {
            assert!(
                name == "adam" || one.iter().zip(&plain).any(|(a, b)| (a - b).abs() > 1e-3),
                "{name} moves as adam does"
            );
            for (one, other) in one.into_iter().zip(other) {
                assert!(one.abs() > 0.1 || other.abs() < 0.1);
                // Each of 50 steps rounds a number of 3 at most, and a handful of factors.
                assert!((one - other).abs() < 50.0 * 4.0 * f32::EPSILON, "{name}: {one} {other}");
            }
        }
    }

    /// v ← 0.9 v + g + D x and x ← x - r v, as PyTorch's.
    #[test]
    fn sgd_has_momentum_and_decay() {
        let device = Device::flex();
        let (mut x, mut v) = (2.0_f32, 0.0_f32);
        let sgd = sgd(0.1);
        let mut at = (Tensor::<1>::from_floats([x], &device), None);
        for _ in 0..10 {
            at = sgd.step(0.1, at.0, Tensor::from_floats([0.5], &device), at.1);
            v = 0.9 * v + 0.5 + 0.1 * x;
            x -= 0.1 * v;
        }
        // Ten steps, each of which rounds a handful of numbers of at most 3.
        assert!((numbers(at.0).unwrap()[0] - x).abs() < 10.0 * 4.0 * f32::EPSILON * 3.0);
    }

    #[test]
    fn rules_are_read_as_they_are_written() {
        for (rule, name) in Rule::NAMES {
            assert_eq!((rule.to_string().as_str(), name.parse::<Rule>().unwrap()), (name, rule));
        }
        assert!("lion".parse::<Rule>().unwrap_err().to_string().contains("adam, adamw and sgd"));
    }
}

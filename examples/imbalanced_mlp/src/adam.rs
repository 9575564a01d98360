//! Adam in one pass over the numbers of a parameter.

use burn::{
    optim::{Adam, AdamConfig, AdamState, AdaptiveMomentumState, LearningRate, ModuleOptimizer, Optimizer},
    tensor::{Device, Tensor, TensorData},
};
use rayon::prelude::*;

/// Numbers that one core works on at a time: three arrays and a gradient of them stay in its cache.
const CHUNK: usize = 1 << 14;

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
/// That of the paper and of PyTorch; burn's is 1e-5, as large as the gradients of small weights.
const EPSILON: f32 = 1e-8;

/// Adam with its customary constants (Kingma, Ba 2015): in one pass where numbers are in the memory of this program, by
/// the library where they are on another device. The state is the library's, so that a checkpoint fits both.
#[must_use]
pub fn optimizer(device: &Device) -> ModuleOptimizer {
    if is_here(device) { ModuleOptimizer::from(OnePass) } else { ModuleOptimizer::from(library()) }
}

fn is_here(device: &Device) -> bool {
    device.clone().inner() == Device::flex()
}

fn library() -> Adam {
    AdamConfig::new().with_beta_1(BETA_1).with_beta_2(BETA_2).with_epsilon(EPSILON).build()
}

/// The library makes a dozen whole arrays a step; at batches of 128 that is half of the time of training.
#[derive(Clone, Debug)]
struct OnePass;

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
        update(&mut arrays, &gradient.into_data(), momentum.time, rate);
        let [tensor, first, second] = arrays.map(|data| Tensor::from_data(data, &device));
        (momentum.moment_1, momentum.moment_2) = (first, second);
        (tensor, Some(AdamState::new(momentum)))
    }

    fn to_device<const D: usize>(mut state: Self::State<D>, device: &Device) -> Self::State<D> {
        state.momentum = state.momentum.to_device(device);
        state
    }
}

/// m ← β_1 m + (1-β_1) g, v ← β_2 v + (1-β_2) g², x ← x - r · m̂/(√v̂ + ε), with m̂ = m/(1-β_1^t) and v̂ = v/(1-β_2^t).
fn update([x, first, second]: &mut [TensorData; 3], gradient: &TensorData, time: usize, rate: f64) {
    let time = i32::try_from(time).unwrap_or(i32::MAX);
    let corrections = [BETA_1, BETA_2].map(|beta| 1.0 - f64::from(beta).powi(time));
    #[allow(clippy::cast_possible_truncation)]
    let (rate, root) = ((rate / corrections[0]) as f32, (1.0 / corrections[1].sqrt()) as f32);
    let arrays = (x.as_mut_slice::<f32>(), first.as_mut_slice::<f32>(), second.as_mut_slice::<f32>());
    let (Ok(x), Ok(first), Ok(second)) = arrays else { unreachable!("weights and moments are 32-bit floats") };
    let Ok(gradient) = gradient.as_slice::<f32>() else { unreachable!("gradients are 32-bit floats") };
    let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
    x.par_chunks_mut(CHUNK).zip(moments).zip(gradient.par_chunks(CHUNK)).for_each(
        |((x, (first, second)), gradient)| {
            for (((x, first), second), &gradient) in x.iter_mut().zip(first).zip(second).zip(gradient) {
                *first = BETA_1 * *first + (1.0 - BETA_1) * gradient;
                *second = BETA_2 * *second + (1.0 - BETA_2) * gradient * gradient;
                *x -= rate * *first / (second.sqrt() * root + EPSILON);
            }
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::numbers;

    #[test]
    fn one_pass_and_the_library_agree() {
        let device = Device::flex();
        let start = || Tensor::<1>::from_floats([1.0, -2.0, 0.5, 3.0], &device);
        let (mut one, mut other) = ((start(), None), (start(), None));
        for step in 0..50_u8 {
            // Gradients of several sizes, one of them far below the library's own epsilon.
            let gradient = start() * Tensor::from_floats([1.0, 1e-3, 1e-7, f32::from(step % 3)], &device);
            one = OnePass.step(0.01, one.0, gradient.clone(), one.1);
            other = library().step(0.01, other.0, gradient, other.1);
        }
        let moved = |tensor: Tensor<1>| numbers(tensor - start()).unwrap();
        for (one, other) in moved(one.0).into_iter().zip(moved(other.0)) {
            assert!(one.abs() > 0.1 || other == 0.0);
            // Each of 50 steps rounds a number of 3 at most, and a handful of factors.
            assert!((one - other).abs() < 50.0 * 4.0 * f32::EPSILON, "{one} {other}");
        }
    }
}

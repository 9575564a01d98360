//! Training, a step at a time.

use std::fmt;

use anyhow::{Result, anyhow};
use burn::{
    module::Module,
    optim::{GradientsParams, ModuleOptimizer},
    tensor::{Device, Int, Tensor, TensorData},
};
use neural_collapse::Ufm;

use crate::{
    configuration::Configuration,
    data::TrainingSet,
    measure::State,
    network::{Network, Shape, numbers},
    objective::{Objective, Penalties},
    optimizer::optimizer,
};

/// Samples whose features are computed at a time for a measurement.
const PANEL: usize = 1024;

/// A network on its way, with the data it learns.
pub struct Trainer {
    /// The network.
    pub network: Network,
    /// The rule by which weights move, with its moments.
    pub optimizer: ModuleOptimizer,
    /// Steps done.
    pub step: u64,
    objective: Objective,
    images: Tensor<2>,
    labels: Tensor<1, Int>,
    /// The order of the samples in an epoch.
    order: (u64, Vec<usize>),
}

impl fmt::Debug for Trainer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trainer").field("step", &self.step).field("network", &self.network).finish_non_exhaustive()
    }
}

impl Trainer {
    /// A network at its start, on a device.
    #[must_use]
    pub fn new(configuration: &Configuration, shape: &Shape, ufm: &Ufm, set: &TrainingSet, device: &Device) -> Self {
        let device = device.clone().autodiff();
        let samples = set.labels.len();
        let penalties = match configuration {
            Configuration { weight_decay: Some(_), .. } => Penalties::None,
            Configuration { feature_decay: None, .. } => Penalties::Layers,
            _ => Penalties::All,
        };
        Self {
            network: shape.start(configuration.seed, &device),
            optimizer: optimizer(
                configuration.optimizer,
                configuration.epsilon,
                configuration.weight_decay.unwrap_or(0.0),
                &device,
            ),
            step: 0,
            objective: Objective::new(ufm, penalties, &device),
            images: Tensor::from_data(TensorData::new(set.images.clone(), [samples, set.inputs]), &device),
            labels: integers(&set.labels, &device),
            order: (0, configuration.order(0, samples)),
        }
    }

    /// One step on the next batch. By value: what is owned once is changed in place.
    #[must_use]
    pub fn step(mut self, configuration: &Configuration) -> Self {
        let (epoch, images, labels) = self.batch(configuration);
        let objective = self.objective.with_penalties(configuration.penalty_share(epoch));
        let value = objective.value(&self.network, images, labels);
        let gradients = GradientsParams::from_grads(value.backward(), &self.network);
        // The graph holds the weights as long as its value is there.
        drop(value);
        self.network = self.optimizer.step(configuration.rate(epoch), self.network, gradients);
        self.step += 1;
        self
    }

    /// The epoch, from 0, and the samples of the next step.
    fn batch(&mut self, configuration: &Configuration) -> (u64, Tensor<2>, Tensor<1, Int>) {
        let [samples, _] = self.images.dims();
        let steps = configuration.steps_per_epoch(samples);
        let (epoch, index) = (self.step / steps, self.step % steps);
        if steps == 1 {
            return (epoch, self.images.clone(), self.labels.clone());
        }
        if self.order.0 != epoch {
            self.order = (epoch, configuration.order(epoch, samples));
        }
        // Both are below the number of samples.
        let start = usize::try_from(index).unwrap_or(0) * configuration.batch;
        let chosen = &self.order.1[start..(start + configuration.batch).min(samples)];
        let chosen = integers(chosen, &self.images.device());
        (epoch, self.images.clone().select(0, chosen.clone()), self.labels.clone().select(0, chosen))
    }

    /// Waits until the device has done all steps.
    ///
    /// # Errors
    ///
    /// Where the device fails.
    pub fn wait(&self) -> Result<()> {
        self.images.device().sync().map_err(|error| anyhow!("training: {error}"))
    }

    /// The objective on all samples at once, as training computes it.
    ///
    /// # Errors
    ///
    /// Where the device fails.
    pub fn objective(&self) -> Result<f64> {
        let network = self.network.valid();
        let value = self.objective.inner().value(&network, self.images.clone().inner(), self.labels.clone().inner());
        let value = numbers(value)?;
        Ok(value.first().copied().map_or(f64::NAN, f64::from))
    }

    /// The last layers, and the features of all samples.
    ///
    /// # Errors
    ///
    /// Where the device fails.
    pub fn state(&self) -> Result<State> {
        let network = self.network.valid();
        let images = self.images.clone().inner();
        let [samples, _] = images.dims();
        let mut features = Vec::new();
        for start in (0..samples).step_by(PANEL) {
            let panel = images.clone().narrow(0, start, PANEL.min(samples - start));
            features.extend(numbers(network.features(panel))?);
        }
        Ok(State { layers: network.linear_layers()?, bias: network.bias()?, features })
    }
}

/// Whole numbers on a device; those of samples and classes are small.
fn integers(numbers: &[usize], device: &Device) -> Tensor<1, Int> {
    let numbers: Vec<i64> = numbers.iter().map(|&number| i64::try_from(number).unwrap_or(0)).collect();
    let length = numbers.len();
    Tensor::from_data(TensorData::new(numbers, [length]), device)
}

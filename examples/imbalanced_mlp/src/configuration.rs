//! Everything that decides what a run does: a checkpoint of one configuration is of no use to another.

use anyhow::{Context, Result, bail, ensure};
use neural_collapse::{
    ClassCounts, ClassWeights, Layer, Loss, Targets, Ufm,
    rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom},
};
use serde::{Deserialize, Serialize};

use crate::{data::TrainingSet, network::Shape, optimizer::Rule};

/// Numbers that a network may have: with their gradients and moments 16 GB.
const MOST_WEIGHTS: usize = 1 << 30;

/// What a run does. Its data are identified by a checksum, not by the path of their files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Configuration {
    pub counts: String,
    pub data_checksum: u32,
    pub width: usize,
    /// λ_l; with a weight decay that, for each layer.
    pub layer_decay: Vec<f64>,
    /// `None` if features are not penalized.
    pub feature_decay: Option<f64>,
    pub bias: bool,
    /// 0 if the bias is free.
    pub bias_decay: f64,
    /// Whether there is a ReLU after the layer that makes the features.
    pub relu_features: bool,
    /// Its name in the library.
    pub loss: String,
    /// α, one for each class; none if all are 1.
    pub class_weights: Vec<f64>,
    pub label_smoothing: f64,
    pub logit_adjustment: f64,
    /// C of the margins C n_k^(-1/4).
    pub ldam: f64,
    /// γ of the temperatures (n_k/n_max)^γ.
    pub cdt: f64,
    pub optimizer: Rule,
    /// The ε of Adam.
    pub epsilon: f64,
    /// The decay of all weights and biases by the optimizer, in the place of penalties.
    pub weight_decay: Option<f64>,
    /// The share of the run over which penalties grow from a tenth.
    pub decay_ramp: f64,
    pub learning_rate: f64,
    /// The shares of the run after which the learning rate falls to a tenth.
    pub drop_at: Vec<f64>,
    /// Samples of a step, at most N.
    pub batch: usize,
    pub epochs: u64,
    pub interval: u64,
    pub seed: u64,
}

impl Configuration {
    /// The unconstrained features model of the linear layers. If features are not penalized their decay is 1 there, and
    /// means nothing.
    ///
    /// # Errors
    ///
    /// Decays that are not positive, a width of zero, no layers, a loss that does not exist.
    pub fn ufm(&self, counts: &ClassCounts) -> Result<Ufm> {
        self.ufm_with(counts, &self.layer_decay, self.feature_decay.unwrap_or(1.0))
    }

    /// The same with these decays. The bias is decayed like the last layer if the optimizer decays everything.
    ///
    /// # Errors
    ///
    /// As [`Configuration::ufm`].
    pub fn ufm_with(&self, counts: &ClassCounts, layer_decays: &[f64], feature_decay: f64) -> Result<Ufm> {
        let layers: Vec<_> = layer_decays.iter().map(|&decay| Layer::new(self.width, decay)).collect();
        let targets = Targets::smoothed(counts.clone(), self.label_smoothing).context("--label-smoothing")?;
        let mut ufm = Ufm::new(targets, layers, feature_decay)
            .map(|ufm| ufm.with_bias(self.bias))
            .context("--width, --layer-decay, --feature-decay")?
            .with_loss(self.loss.parse::<Loss>()?)?;
        if !self.class_weights.is_empty() {
            ufm = ufm.with_class_weights(ClassWeights::Given(self.class_weights.clone())).context("--class-weights")?;
        }
        if self.logit_adjustment != 0.0 {
            ufm = ufm.with_logit_adjustment(self.logit_adjustment).context("--logit-adjustment")?;
        }
        if self.ldam != 0.0 {
            ufm = ufm.with_ldam(self.ldam).context("--ldam")?;
        }
        if self.cdt != 0.0 {
            ufm = ufm.with_cdt(self.cdt).context("--cdt")?;
        }
        if self.bias_decay != 0.0 {
            ufm = ufm.with_bias_decay(self.bias_decay).context("--bias-decay")?;
        }
        if let (true, Some(_), Some(&decay)) = (self.bias, self.weight_decay, layer_decays.last()) {
            ufm = ufm.with_bias_decay(decay).context("--weight-decay")?;
        }
        Ok(if self.relu_features { ufm.with_nonnegative_features() } else { ufm })
    }

    /// Whether the decays that the network should be compared with are only known from its arrays.
    #[must_use]
    pub fn implies_decays(&self) -> bool {
        self.feature_decay.is_none()
    }

    /// The network for these data.
    ///
    /// # Errors
    ///
    /// More weights than fit in memory.
    pub fn shape(&self, set: &TrainingSet) -> Result<Shape> {
        let shape = Shape {
            inputs: set.inputs,
            width: self.width,
            layers: self.layer_decay.len(),
            classes: set.counts.classes(),
            bias: self.bias,
            relu_features: self.relu_features,
        };
        match shape.weights() {
            Some(weights) if weights <= MOST_WEIGHTS => Ok(shape),
            _ => bail!(
                "--width {}, --layers {}: the network would have more than the {MOST_WEIGHTS} weights that are \
                 accepted",
                shape.width,
                shape.layers
            ),
        }
    }

    /// Steps of an epoch over so many samples: the last one has what is left.
    #[must_use]
    pub fn steps_per_epoch(&self, samples: usize) -> u64 {
        samples.div_ceil(self.batch) as u64
    }

    /// The learning rate of an epoch, from 0.
    #[must_use]
    pub fn rate(&self, epoch: u64) -> f64 {
        let passed = |share: &&f64| epoch as f64 >= **share * self.epochs as f64;
        let drops = self.drop_at.iter().filter(passed).count();
        (0..drops).fold(self.learning_rate, |rate, _| rate / 10.0)
    }

    /// The share of the penalties that an epoch, from 0, is trained with: from a tenth on by equal factors, then 1.
    #[must_use]
    pub fn penalty_share(&self, epoch: u64) -> f64 {
        let (epoch, length) = (epoch as f64, self.decay_ramp * self.epochs as f64);
        if epoch < length { 0.1_f64.powf(1.0 - epoch / length) } else { 1.0 }
    }

    /// The order of the samples in an epoch: a matter of the seed and the epoch alone, so that a run that goes on
    /// sees what it would have seen.
    #[must_use]
    pub fn order(&self, epoch: u64, samples: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..samples).collect();
        if self.batch < samples {
            // Another generator than that of the weights, and from it the seed of the epoch.
            let mut seeds = Xoshiro256PlusPlus::seed_from_u64(!self.seed);
            let seed = (0..epoch).fold(seeds.next_u64(), |_, _| seeds.next_u64());
            order.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
        }
        order
    }

    /// Whether a checkpoint of `other` can go on as this.
    ///
    /// # Errors
    ///
    /// Names the first entry that differs.
    pub fn check_same(&self, other: &Self) -> Result<()> {
        let entries = |configuration: &Self| serde_json::to_value(configuration);
        let (own, others) = (entries(self)?, entries(other)?);
        let (Some(own), Some(others)) = (own.as_object(), others.as_object()) else { return Ok(()) };
        for (name, value) in own {
            let theirs = others.get(name).unwrap_or(&serde_json::Value::Null);
            ensure!(
                theirs == value,
                "the checkpoint is of another configuration: {name} is {theirs} there and {value} here"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn configuration() -> Configuration {
        Configuration {
            counts: "4,2".into(),
            data_checksum: 0,
            width: 8,
            layer_decay: vec![1e-3; 2],
            feature_decay: Some(1e-4),
            bias: true,
            bias_decay: 0.0,
            relu_features: false,
            loss: "squared".into(),
            class_weights: Vec::new(),
            label_smoothing: 0.0,
            logit_adjustment: 0.0,
            ldam: 0.0,
            cdt: 0.0,
            optimizer: Rule::Adam,
            epsilon: 1e-8,
            weight_decay: None,
            decay_ramp: 0.0,
            learning_rate: 1e-4,
            drop_at: vec![0.5, 0.75],
            batch: 4,
            epochs: 8,
            interval: 1,
            seed: 0,
        }
    }

    #[test]
    fn rates_fall_to_a_tenth() {
        let configuration = configuration();
        for (epoch, rate) in [(0, 1e-4), (3, 1e-4), (4, 1e-5), (5, 1e-5), (6, 1e-6), (7, 1e-6)] {
            // Two divisions, each rounded once.
            assert!((configuration.rate(epoch) / rate - 1.0_f64).abs() <= 2.0 * f64::EPSILON);
        }
    }

    #[test]
    fn penalties_grow_from_a_tenth() {
        let ramp = Configuration { decay_ramp: 0.5, ..configuration() };
        for (epoch, share) in [(0, 0.1), (2, 0.1_f64.sqrt()), (4, 1.0), (7, 1.0)] {
            // A power, rounded once or twice.
            assert!((ramp.penalty_share(epoch) / share - 1.0).abs() <= 2.0 * f64::EPSILON);
            assert_eq!(configuration().penalty_share(epoch), 1.0);
        }
    }

    #[test]
    fn an_epoch_has_every_sample_once_in_its_own_order() {
        let configuration = configuration();
        let (mut first, second) = (configuration.order(0, 100), configuration.order(1, 100));
        assert_ne!(first, second);
        assert_eq!(second, configuration.order(1, 100));
        first.sort_unstable();
        assert_eq!(first, (0..100).collect::<Vec<_>>());
        assert_eq!(configuration.steps_per_epoch(6), 2);
    }

    #[test]
    fn what_differs_is_named() {
        let configuration = configuration();
        assert!(configuration.check_same(&configuration.clone()).is_ok());
        let other = Configuration { width: 9, ..configuration.clone() };
        let message = configuration.check_same(&other).unwrap_err().to_string();
        assert!(message.ends_with("width is 9 there and 8 here"), "{message}");
    }
}

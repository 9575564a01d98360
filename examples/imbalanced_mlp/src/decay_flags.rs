//! The flags of the decays. Their conventions are those of `neural-collapse predict`, whose conversions are in the library.

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use neural_collapse::{ClassCounts, FeatureConvention, Loss, LossConvention, TrainingConvention};

use crate::optimizer::Rule;

/// Decays on the command line.
#[derive(Args, Clone, Debug)]
pub struct DecayFlags {
    /// Decays lambda_1,...,lambda_L of the linear layers; one value serves all layers
    #[arg(long, allow_hyphen_values = true, value_delimiter = ',', default_value = "5e-4")]
    layer_decay: Vec<f64>,
    /// Decay lambda_H of the features
    #[arg(long, allow_hyphen_values = true, default_value = "1e-5")]
    feature_decay: f64,
    /// How the loss that the decays belong to scales the squared error: mean (over samples and outputs, as MSELoss),
    /// half-mean, sum (over outputs, averaged over samples), or half-sum, as the theory has it
    ///
    /// The decays of layers, features and bias are converted, the defaults too. The objective that is trained and shown
    /// is that of the theory, which is your loss divided by a constant: 2/K for mean, 1/K for half-mean, 2 for sum. Adam
    /// trains the same network under both, up to its epsilon; multiply the learning rate of sgd by that constant.
    #[arg(long, default_value_t = LossConvention::HalfSum, conflicts_with = "weight_decay")]
    loss_convention: LossConvention,
    /// How that loss scales the penalty of the features: total, mu_H/2 |H|^2 over all samples, as the theory has it, or
    /// mean, mu_H/(2N) |H|^2, averaged over samples
    #[arg(
        long,
        default_value_t = FeatureConvention::Total,
        conflicts_with_all = ["no_feature_decay", "weight_decay"]
    )]
    feature_convention: FeatureConvention,
    /// No penalty of the features: the network is compared with the theory at the decay that its arrays imply
    #[arg(long, conflicts_with = "feature_decay")]
    no_feature_decay: bool,
    /// No penalties: the optimizer decays all weights and biases, as frameworks do; decays of the theory are then those
    /// that the arrays imply
    #[arg(
        long,
        value_name = "DECAY",
        allow_hyphen_values = true,
        conflicts_with_all = ["layer_decay", "feature_decay", "no_feature_decay"]
    )]
    pub(crate) weight_decay: Option<f64>,
    /// The share of the run over which decays grow from a tenth to their values: classes that the theory keeps apart
    /// are then told apart before decays are strong
    #[arg(
        long,
        value_name = "SHARE",
        allow_hyphen_values = true,
        default_value_t = 0.0,
        conflicts_with = "weight_decay"
    )]
    decay_ramp: f64,
    /// Decay mu of the bias, mu/2 |b|^2, scaled like the decays of layers; 0 is a free bias, as without the flag
    #[arg(
        long,
        value_name = "MU",
        allow_hyphen_values = true,
        default_value = "0",
        conflicts_with_all = ["no_bias", "weight_decay"]
    )]
    bias_decay: f64,
}

/// The decays of a run, in the units of the theory.
pub(crate) struct Decays {
    pub(crate) layers: Vec<f64>,
    pub(crate) features: Option<f64>,
    pub(crate) bias: f64,
    pub(crate) ramp: f64,
}

impl DecayFlags {
    /// The decays for so many layers, converted to the units of the theory.
    ///
    /// # Errors
    ///
    /// Names the flag and what it accepts.
    pub(crate) fn decays(&self, layers: usize, loss: Loss, counts: &ClassCounts) -> Result<Decays> {
        let ramp = self.decay_ramp;
        ensure!((0.0..1.0).contains(&ramp), "--decay-ramp: {ramp} given, 0 <= SHARE < 1 is accepted");
        ensure!(
            loss == Loss::Squared || self.loss_convention == LossConvention::HalfSum,
            "--loss-convention: {} given, which scales the squared error; --loss {loss} is the mean over samples in \
             every framework: leave --loss-convention out",
            self.loss_convention
        );
        let convention = TrainingConvention::new(self.loss_convention, self.feature_convention);
        let classes = counts.classes();
        let layer = |decay: f64| convention.layer_decay(decay, classes);
        let is_penalized = !self.no_feature_decay && self.weight_decay.is_none();
        let features =
            is_penalized.then(|| convention.feature_decay(self.feature_decay, classes, counts.samples())).transpose();
        Ok(Decays {
            layers: self
                .layer_decays(layers)?
                .into_iter()
                .map(layer)
                .collect::<Result<_, _>>()
                .context("--layer-decay")?,
            features: features.context("--feature-decay")?,
            bias: layer(self.bias_decay).context("--bias-decay")?,
            ramp,
        })
    }

    /// The decays as they were given, if that was not in the units of the theory.
    pub(crate) fn given(&self) -> Option<String> {
        let theory = (LossConvention::HalfSum, FeatureConvention::Total);
        if (self.loss_convention, self.feature_convention) == theory {
            return None;
        }
        let layers = self.layer_decay.iter().map(|decay| format!("{decay:e}")).collect::<Vec<_>>().join(", ");
        let features =
            if self.no_feature_decay { String::new() } else { format!(", features {:e}", self.feature_decay) };
        let bias = if self.bias_decay == 0.0 { String::new() } else { format!(", bias {:e}", self.bias_decay) };
        let (loss, scale) = (self.loss_convention, self.feature_convention);
        Some(format!("given as layers {layers}{features}{bias}; loss convention {loss}, feature convention {scale}"))
    }

    /// As they are given, one for each layer.
    fn layer_decays(&self, layers: usize) -> Result<Vec<f64>> {
        if let Some(decay) = self.weight_decay {
            ensure!(
                decay > 0.0 && decay.is_finite(),
                "--weight-decay: {decay} given, positive finite numbers are accepted"
            );
            return Ok(vec![decay; layers]);
        }
        match self.layer_decay[..] {
            [decay] => Ok(vec![decay; layers]),
            _ if self.layer_decay.len() == layers => Ok(self.layer_decay.clone()),
            _ => bail!(
                "--layer-decay: {} values given for --layers {layers}, one value or one a layer is accepted",
                self.layer_decay.len()
            ),
        }
    }

    /// Refuses a rule that needs a decay of the optimizer without one.
    ///
    /// # Errors
    ///
    /// Names both flags.
    pub(crate) fn check_optimizer(&self, optimizer: Rule) -> Result<()> {
        ensure!(
            optimizer != Rule::AdamW || self.weight_decay.is_some(),
            "--optimizer adamw: --weight-decay is needed; without it this is adam"
        );
        Ok(())
    }
}

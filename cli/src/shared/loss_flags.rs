//! The flags that say which loss, which weights and adjustments, and which penalty of the bias.

use clap::{Args, builder::TypedValueParser};
use neural_collapse::{
    ClassCounts, ClassWeights, Error, Loss, LossConvention, Targets, TrainingConvention, Ufm, WeightConvention,
    metrics::Training,
};

use super::{conventions::choice, terminal::note};

/// What `--help` puts these flags under: a heading of the group would take the flags after it as well.
const HEADING: &str = "Loss";

/// A loss on the command line.
#[derive(Args)]
pub(crate) struct LossFlags {
    /// The loss of one sample [default: squared; for `measure` the one that fits the arrays]
    #[arg(long, help_heading = HEADING, value_parser = losses())]
    pub(crate) loss: Option<Loss>,
    /// How the loss of a sample is weighted by its class: none, inverse, inverse-root, effective:BETA, or a list
    ///
    /// inverse is 1/n, inverse-root is 1/root(n), effective:BETA is (1-BETA)/(1-BETA^n), the inverse of the effective
    /// number of samples (Cui et al. 2019). These rules have mean 1 over all samples. A list has one weight for each
    /// class, in the order of the counts; 0.5,2x3 is one class of weight 0.5 and three of weight 2.
    #[arg(
        long,
        help_heading = HEADING,
        value_name = "RULE|W1,W2xM,...",
        allow_hyphen_values = true,
        default_value_t = ClassWeights::None,
        hide_default_value = true
    )]
    class_weights: ClassWeights,
    /// What the weighted sum of losses is divided by
    #[arg(long, help_heading = HEADING, value_parser = weight_conventions(), default_value = "samples")]
    weight_convention: WeightConvention,
    /// Label smoothing E, 0 <= E < 1: targets are (1-E) for the own class, and E/K is added for each
    #[arg(long, help_heading = HEADING, value_name = "E", allow_hyphen_values = true, default_value_t = 0.0, hide_default_value = true)]
    label_smoothing: f64,
    /// Logit adjustment: TAU log(n_k/N) is added to logit k (Menon et al. 2021); 1 is balanced softmax
    #[arg(long, help_heading = HEADING, value_name = "TAU", allow_hyphen_values = true)]
    logit_adjustment: Option<f64>,
    /// Margins: C n_k^(-1/4) is subtracted from the logit of the own class (LDAM, Cao et al. 2019)
    #[arg(long, help_heading = HEADING, value_name = "C", allow_hyphen_values = true)]
    ldam: Option<f64>,
    /// Class-dependent temperatures: logit k is multiplied by (n_k/n_max)^GAMMA (CDT, Ye et al. 2020)
    #[arg(long, help_heading = HEADING, value_name = "GAMMA", allow_hyphen_values = true)]
    cdt: Option<f64>,
    /// No bias
    #[arg(long, help_heading = HEADING)]
    no_bias: bool,
    /// Decay MU of the bias, MU/2 |b|^2, scaled like the decays of layers; 0 is a free bias, as without the flag
    #[arg(long, help_heading = HEADING, value_name = "MU", allow_hyphen_values = true, conflicts_with = "no_bias")]
    bias_decay: Option<f64>,
    /// Features that may not be negative, as after a ReLU; `measure` sees it in the arrays
    #[arg(long, help_heading = HEADING)]
    nonnegative_features: bool,
}

/// The values of `--loss`.
fn losses() -> impl TypedValueParser<Value = Loss> {
    choice(Loss::ALL, Loss::name, |loss| match loss {
        Loss::Squared => "Half the squared error",
        Loss::CrossEntropy => "Cross-entropy of the softmax",
        _ => "",
    })
}

/// The values of `--weight-convention`.
fn weight_conventions() -> impl TypedValueParser<Value = WeightConvention> {
    choice(WeightConvention::ALL, WeightConvention::name, |convention| match convention {
        WeightConvention::Samples => "The number of samples, as TensorFlow's class_weight: weights as they are given",
        WeightConvention::Weights => {
            "The sum of the weights of all samples, as PyTorch's weight. With label smoothing PyTorch weights the \
             targets as well, which is another loss than any of these"
        }
        _ => "",
    })
}

impl LossFlags {
    /// The labels, smoothed if that is asked for.
    pub(crate) fn targets(&self, classes: ClassCounts) -> Result<Targets, String> {
        Targets::smoothed(classes, self.label_smoothing).map_err(|error| format!("--label-smoothing: {error}"))
    }

    /// The loss of one sample: squared if nothing is said.
    fn kind(&self) -> Loss {
        self.loss.unwrap_or_default()
    }

    /// What these flags say of a training.
    pub(crate) fn training(&self) -> Training {
        Training::default()
            .with_loss(self.loss)
            .with_class_weights(self.class_weights.clone(), self.weight_convention)
            .with_label_smoothing(self.label_smoothing)
            .with_logit_adjustment(self.logit_adjustment)
            .with_ldam(self.ldam)
            .with_cdt(self.cdt)
            .with_bias_decay(self.bias_decay)
    }

    /// Whether features may not be negative, whatever the arrays say.
    pub(crate) fn has_nonnegative_features(&self) -> bool {
        self.nonnegative_features
    }

    /// Refuses what is said of a bias that is not there, or the other way round.
    pub(crate) fn check_bias(&self, has_bias: bool) -> Result<(), String> {
        match (self.no_bias, self.bias_decay) {
            (true, _) if has_bias => Err("--no-bias: --bias is given".into()),
            (_, Some(_)) if !has_bias => Err("--bias-decay: --bias is needed with it".into()),
            _ => Ok(()),
        }
    }

    /// Refuses a scale of the squared error for another loss.
    pub(crate) fn check_convention(&self, convention: LossConvention) -> Result<(), String> {
        if self.kind() == Loss::Squared || convention == LossConvention::HalfSum {
            return Ok(());
        }
        Err(format!(
            "--loss-convention: {convention} given, which scales the squared error; --loss {} is the mean over samples \
             in every framework: leave --loss-convention out",
            self.kind()
        ))
    }

    /// The model with this loss, or a message that names the flag.
    pub(super) fn apply(&self, ufm: Ufm, training: TrainingConvention) -> Result<Ufm, String> {
        self.note_free_bias();
        self.apply_to(ufm.with_bias(!self.no_bias), self.kind(), training)
    }

    /// Says, once, that a decay of zero is no decay.
    pub(crate) fn note_free_bias(&self) {
        if self.bias_decay == Some(0.0) {
            note("--bias-decay 0: the bias is free, as without the flag; --no-bias leaves it out");
        }
    }

    /// The model with these flags and another loss than theirs, and the bias that it has.
    pub(crate) fn apply_to(&self, ufm: Ufm, loss: Loss, training: TrainingConvention) -> Result<Ufm, String> {
        let named = |flag: &'static str| move |error: Error| format!("{flag}: {error}");
        let (counts, classes) = (ufm.class_counts().cloned(), ufm.outputs());
        let mut ufm = ufm.with_loss(loss).map_err(named("--loss"))?;
        if let Some(counts) = counts.filter(|_| self.class_weights != ClassWeights::None) {
            let weights = self.weight_convention.class_weights(&self.class_weights, &counts);
            let weights = weights.and_then(|weights| ufm.with_class_weights(ClassWeights::Given(weights)));
            ufm = weights.map_err(named("--class-weights"))?;
        }
        if let Some(tau) = self.logit_adjustment {
            ufm = ufm.with_logit_adjustment(tau).map_err(named("--logit-adjustment"))?;
        }
        if let Some(constant) = self.ldam {
            ufm = ufm.with_ldam(constant).map_err(named("--ldam"))?;
        }
        if let Some(gamma) = self.cdt {
            ufm = ufm.with_cdt(gamma).map_err(named("--cdt"))?;
        }
        if let Some(decay) = self.bias_decay {
            let decay = training.layer_decay(decay, classes).map_err(named("--bias-decay"))?;
            ufm = ufm.with_bias_decay(decay).map_err(named("--bias-decay"))?;
        }
        Ok(if self.nonnegative_features { ufm.with_nonnegative_features() } else { ufm })
    }
}

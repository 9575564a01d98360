//! What is known of how a network was trained, and the models that follow from it.

use super::{super::gradient::ImpliedDecays, last_layers::LastLayers};
use crate::{
    classes::ClassCounts,
    conventions::{FeatureConvention, LossConvention, TrainingConvention, WeightConvention},
    error::Error,
    loss::{ClassWeights, Loss},
    model::{Layer, Ufm},
    targets::Targets,
};

/// What is known of how a network was trained: as much or as little as there is to say.
///
/// By default nothing is known, and the arrays tell: which of the losses, and which decays. Class weights, label smoothing
/// and adjustments of logits are not looked for, but for weights that balance the classes: a training that had them is
/// read under them only if they are given here.
///
/// # Example
///
/// `MSELoss`, a `weight_decay` of 5e-4, and a penalty of 1e-3 times the mean of ‖h‖²/2:
///
/// ```
/// use neural_collapse::{FeatureConvention, Loss, LossConvention, metrics::Training};
///
/// let training = Training::default()
///     .with_loss(Loss::Squared)
///     .with_convention(LossConvention::Mean, FeatureConvention::Mean)
///     .with_decays([5e-4], 1e-3);
/// # let _ = training;
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Training {
    loss: Option<Loss>,
    scale: LossConvention,
    feature_scale: FeatureConvention,
    decays: Option<(Vec<f64>, f64)>,
    class_weights: ClassWeights,
    weight_convention: WeightConvention,
    label_smoothing: f64,
    logit_adjustment: Option<f64>,
    ldam: Option<f64>,
    cdt: Option<f64>,
    bias_decay: Option<f64>,
    is_compared_anyway: bool,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            loss: None,
            scale: LossConvention::HalfSum,
            feature_scale: FeatureConvention::Total,
            decays: None,
            class_weights: ClassWeights::None,
            weight_convention: WeightConvention::Samples,
            label_smoothing: 0.0,
            logit_adjustment: None,
            ldam: None,
            cdt: None,
            bias_decay: None,
            is_compared_anyway: false,
        }
    }
}

impl Training {
    /// With this loss; `None` for what the arrays say.
    #[must_use]
    pub fn with_loss(self, loss: impl Into<Option<Loss>>) -> Self {
        Self { loss: loss.into(), ..self }
    }

    /// With a loss and a penalty of the features that are scaled like this: what decays are decays of. By default as in
    /// the theory, half of the sum over outputs and all samples. Cross-entropy is the mean over samples everywhere.
    #[must_use]
    pub fn with_convention(self, loss: LossConvention, features: FeatureConvention) -> Self {
        Self { scale: loss, feature_scale: features, ..self }
    }

    /// With these decays μ of the layers, one for each or one for all of them, and μ_H of the features, which is 0 if they
    /// are not penalized: then decays are compared with those of the arrays, and there is no optimum to compare with.
    #[must_use]
    pub fn with_decays(self, layers: impl Into<Vec<f64>>, features: f64) -> Self {
        Self { decays: Some((layers.into(), features)), ..self }
    }

    /// With class weights, and what the framework divides the weighted sum of losses by.
    #[must_use]
    pub fn with_class_weights(self, weights: impl Into<ClassWeights>, convention: WeightConvention) -> Self {
        Self { class_weights: weights.into(), weight_convention: convention, ..self }
    }

    /// With targets (1 - ε) e_k + ε/K, as [`Targets::smoothed`].
    #[must_use]
    pub fn with_label_smoothing(self, smoothing: f64) -> Self {
        Self { label_smoothing: smoothing, ..self }
    }

    /// As [`Ufm::with_logit_adjustment`].
    #[must_use]
    pub fn with_logit_adjustment(self, tau: impl Into<Option<f64>>) -> Self {
        Self { logit_adjustment: tau.into(), ..self }
    }

    /// As [`Ufm::with_ldam`].
    #[must_use]
    pub fn with_ldam(self, constant: impl Into<Option<f64>>) -> Self {
        Self { ldam: constant.into(), ..self }
    }

    /// As [`Ufm::with_cdt`].
    #[must_use]
    pub fn with_cdt(self, gamma: impl Into<Option<f64>>) -> Self {
        Self { cdt: gamma.into(), ..self }
    }

    /// With a penalty of the bias, scaled as that of a layer; 0 is a free bias.
    #[must_use]
    pub fn with_bias_decay(self, decay: impl Into<Option<f64>>) -> Self {
        Self { bias_decay: decay.into(), ..self }
    }

    /// Compared with the optimum of the decays that are known even if the arrays deny the model: a network whose training
    /// has not ended. There are no verdicts then.
    #[must_use]
    pub fn with_comparison_anyway(self, is_compared_anyway: bool) -> Self {
        Self { is_compared_anyway, ..self }
    }

    /// Whether the network is compared with an optimum that the arrays deny.
    #[must_use]
    pub fn is_compared_anyway(&self) -> bool {
        self.is_compared_anyway
    }

    /// The loss, if it is known.
    #[must_use]
    pub fn loss(&self) -> Option<Loss> {
        self.loss
    }

    /// The decays of the layers and of the features, in the units of the training, if they are known.
    #[must_use]
    pub fn decays(&self) -> Option<(&[f64], f64)> {
        self.decays.as_ref().map(|(layers, features)| (&layers[..], *features))
    }

    /// The class weights.
    #[must_use]
    pub fn class_weights(&self) -> &ClassWeights {
        &self.class_weights
    }

    /// How the squared error is scaled.
    #[must_use]
    pub fn loss_convention(&self) -> LossConvention {
        self.scale
    }

    /// How the penalty of the features is scaled.
    #[must_use]
    pub fn feature_convention(&self) -> FeatureConvention {
        self.feature_scale
    }

    /// Both.
    #[must_use]
    pub fn convention(&self) -> TrainingConvention {
        TrainingConvention::new(self.scale, self.feature_scale)
    }

    /// The labels, smoothed if that is known.
    ///
    /// # Errors
    ///
    /// As [`Targets::smoothed`].
    pub fn targets(&self, counts: ClassCounts) -> Result<Targets, Error> {
        Targets::smoothed(counts, self.label_smoothing)
    }

    /// A model under this loss, with the class weights, the adjustments of logits and the decay of the bias that are known
    /// of the training.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets of the model are a matrix; [`Error::PerClass`], [`Error::OfClass`],
    /// [`Error::Domain`] for weights, adjustments and the decay of the bias.
    pub fn apply_to(&self, ufm: Ufm, loss: Loss) -> Result<Ufm, Error> {
        let counts = ufm.class_counts().cloned().ok_or(Error::NoClassCounts)?;
        let mut ufm = ufm.with_loss(loss)?;
        if self.class_weights != ClassWeights::None {
            let weights = self.weight_convention.class_weights(&self.class_weights, &counts)?;
            ufm = ufm.with_class_weights(ClassWeights::Given(weights))?;
        }
        if let Some(tau) = self.logit_adjustment {
            ufm = ufm.with_logit_adjustment(tau)?;
        }
        if let Some(constant) = self.ldam {
            ufm = ufm.with_ldam(constant)?;
        }
        if let Some(gamma) = self.cdt {
            ufm = ufm.with_cdt(gamma)?;
        }
        if let Some(decay) = self.bias_decay {
            ufm = ufm.with_bias_decay(self.convention().layer_decay(decay, counts.classes())?)?;
        }
        Ok(ufm)
    }

    /// A model of these layers under this loss, with the weights of the training or with others.
    fn model(
        &self,
        (counts, has_bias): (&ClassCounts, bool),
        layers: Vec<Layer>,
        feature_decay: f64,
        loss: Loss,
        weights: &ClassWeights,
    ) -> Result<Ufm, Error> {
        let ufm = Ufm::new(self.targets(counts.clone())?, layers, feature_decay)?.with_bias(has_bias);
        let ufm = self.apply_to(ufm, loss)?;
        if *weights == ClassWeights::None { Ok(ufm) } else { ufm.with_class_weights(weights.clone()) }
    }

    /// Models of the arrays as they are, one for each loss, whose decays say nothing.
    pub(super) fn readings(
        &self,
        counts: &ClassCounts,
        layers: &LastLayers,
        weights: &ClassWeights,
    ) -> Result<Vec<Ufm>, Error> {
        let ones: Vec<Layer> = layers.weights().iter().map(|layer| Layer::new(layer.ncols(), 1.0)).collect();
        let of = |&loss| self.model((counts, layers.bias().is_some()), ones.clone(), 1.0, loss, weights);
        Loss::ALL.iter().map(of).collect()
    }

    /// Whether it is known how the bias is penalized. `weight_decay` on everything has the bias in it.
    pub(super) fn says_bias(&self) -> bool {
        self.bias_decay.is_some() || self.penalizes_features()
    }

    /// Whether a penalty of the features is known.
    pub(super) fn penalizes_features(&self) -> bool {
        self.decays.as_ref().is_some_and(|(_, features)| *features != 0.0)
    }

    /// The model with the decays that are known, if any are. Features without a penalty have a decay of 1, in the units of
    /// the training, which says nothing.
    pub(super) fn given_model(&self, counts: &ClassCounts, layers: &LastLayers) -> Result<Option<Ufm>, Error> {
        let Some((decays, features)) = &self.decays else { return Ok(None) };
        let (depth, convention, classes) = (layers.depth(), self.convention(), counts.classes());
        if decays.len() != 1 && decays.len() != depth {
            let (argument, accepted) = ("number of decays of layers", "one, or one for each layer");
            return Err(Error::Domain { argument, value: decays.len() as f64, accepted });
        }
        let layer = |(l, &width): (usize, &usize)| {
            let decay = decays[if decays.len() == 1 { 0 } else { l }];
            Ok(Layer::new(width, convention.layer_decay(decay, classes)?))
        };
        let all = layers.widths().iter().enumerate().map(layer).collect::<Result<Vec<_>, Error>>()?;
        let features = if self.penalizes_features() { *features } else { 1.0 };
        let features = convention.feature_decay(features, classes, counts.samples())?;
        let loss = self.loss.unwrap_or_default();
        self.model((counts, layers.bias().is_some()), all, features, loss, &ClassWeights::None).map(Some)
    }

    /// The model with the decays that the arrays imply; `None` if they imply none.
    pub(super) fn implied_model(
        &self,
        counts: &ClassCounts,
        layers: &LastLayers,
        loss: Loss,
        implied: &ImpliedDecays,
        weights: &ClassWeights,
    ) -> Result<Option<Ufm>, Error> {
        let all: Option<Vec<Layer>> = (layers.weights().iter().zip(&implied.layers))
            .map(|(weights, implied)| implied.map(|implied| Layer::new(weights.ncols(), implied.decay)))
            .collect();
        let Some((all, features)) = all.zip(implied.features) else { return Ok(None) };
        let model = self.model((counts, layers.bias().is_some()), all, features.decay, loss, weights)?;
        match implied.penalized_bias().filter(|_| model.bias_decay() == 0.0) {
            Some(bias) => model.with_bias_decay(bias.decay).map(Some),
            None => Ok(Some(model)),
        }
    }

    /// What training minimizes at an objective of a model, penalties included: in its own units if decays are known.
    pub(super) fn loss_at(&self, model: &Ufm, objective: f64) -> f64 {
        // Cross-entropy is the mean over samples everywhere.
        let is_scaled = self.decays.is_some() && model.loss() == Loss::Squared;
        if is_scaled { self.convention().loss(objective, model.outputs()) } else { objective }
    }
}

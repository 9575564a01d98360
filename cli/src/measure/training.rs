//! What the flags say of the training.

use neural_collapse::{
    Error, FeatureConvention, Layer, Loss, LossConvention, TrainingConvention, Ufm,
    metrics::{LastLayers, Measuring, Training},
};

use super::{Flags, network::Network};
use crate::shared::conventions::{MOST_LAYERS, explained};

impl Flags {
    pub(crate) fn has_decays(&self) -> bool {
        !self.layer_decay.is_empty()
    }

    /// How training scales its loss and the penalty of features; as the theory does if nothing is said, or if there are no
    /// decays to scale.
    fn scales(&self) -> (LossConvention, FeatureConvention) {
        let scaled = self.loss_convention.filter(|_| self.has_decays());
        (scaled.unwrap_or(LossConvention::HalfSum), self.feature_convention.unwrap_or(FeatureConvention::Total))
    }

    fn training(&self) -> Training {
        let (loss, features) = self.scales();
        let training = self.loss.training().with_convention(loss, features);
        if self.has_decays() {
            let features = self.feature_decay.unwrap_or(0.0);
            training.with_decays(self.layer_decay.clone(), features).with_comparison_anyway(self.anyway)
        } else {
            training
        }
    }

    /// Whether conventions are given with decays, and what is said of the bias is true.
    pub(crate) fn check_decays(&self) -> Result<(), String> {
        self.loss.check_bias(self.bias.is_some())?;
        self.loss.note_free_bias();
        match (self.has_decays(), self.feature_decay) {
            (false, Some(_)) => return Err("--feature-decay: --layer-decay is needed with it".into()),
            (false, None) => return Ok(()),
            (true, _) => {}
        }
        let is_squared = self.loss.loss.is_none_or(|loss| loss == Loss::Squared);
        if is_squared && self.loss_convention.is_none() {
            return Err(
                "--layer-decay: --loss-convention is needed with it: mean, half-mean, sum or half-sum says how \
                        the loss scales the squared error"
                    .into(),
            );
        }
        if self.feature_decay.is_some_and(|decay| decay != 0.0) && self.feature_convention.is_none() {
            return Err(
                "--feature-decay: --feature-convention is needed with it: total or mean says how the loss scales \
                        the penalty of the features"
                    .into(),
            );
        }
        self.loss.check_convention(self.loss_convention.unwrap_or(LossConvention::HalfSum))
    }

    /// The number of layers: that of the arrays, or of their product as the flags say.
    fn depth(&self, layers: &LastLayers) -> Result<usize, String> {
        let (given, decays) = (layers.weights().len(), self.layer_decay.len());
        let depth = self.layers.unwrap_or(given.max(decays));
        if !(1..=MOST_LAYERS).contains(&depth) {
            return Err(format!("--layers: {depth} given, 1 to {MOST_LAYERS} are accepted"));
        }
        if given != 1 && given != depth {
            return Err(format!(
                "--weights: {given} files given for {depth} layers; accepted are all of them, or their product"
            ));
        }
        if decays > 1 && decays != depth {
            return Err(format!(
                "--layer-decay: {decays} values given for {depth} layers; accepted are one, or one a layer"
            ));
        }
        if let Some(widths) = &self.widths
            && (widths.len() != depth || widths[0] != layers.width() || given == depth)
        {
            return Err(format!(
                "--widths: {widths:?} given; accepted, with the product of several layers, are {depth} numbers, the \
                 first {}",
                layers.width()
            ));
        }
        Ok(depth)
    }

    /// Before the first pass: what is wrong with the flags is said at once, by the flag.
    pub(crate) fn measuring(&self, network: &Network) -> Result<Measuring, String> {
        let depth = self.depth(&network.layers)?;
        let layers = match &self.widths {
            Some(widths) => network.layers.clone().with_widths(widths.clone()),
            None => network.layers.clone().with_depth(depth),
        };
        let targets = self.loss.targets(network.counts.clone())?;
        let ufm = Ufm::new(targets, [Layer::new(1, 1.0)], 1.0).map_err(named)?.with_bias(self.bias.is_some());
        let (loss, features) = self.scales();
        self.loss.apply_to(ufm, self.loss.loss.unwrap_or_default(), TrainingConvention::new(loss, features))?;
        Measuring::with_counts(layers.map_err(named)?, self.training(), network.counts.clone()).map_err(named)
    }
}

/// What the model refuses: a decay by the flag that it comes from.
fn named(error: Error) -> String {
    match error {
        Error::Domain { argument: "weight decay", .. } => format!("--layer-decay: {error}"),
        Error::Domain { argument: "feature decay", .. } => format!("--feature-decay: {error}"),
        error => explained(error),
    }
}

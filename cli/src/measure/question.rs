//! Which model a network is compared with: the one that the flags name, or the one that its arrays imply.

use neural_collapse::{
    ClassWeights, FeatureConvention, Layer, Loss, LossConvention, Targets, TrainingConvention, Ufm,
    faer::Mat,
    metrics::{Assessment, Finding, ImpliedDecays, NetworkGradient},
};

use super::{Flags, contradictions, network::Network};
use crate::shared::conventions::{MOST_LAYERS, explained};

/// The losses that arrays are read under, in this order.
pub(crate) const LOSSES: [Loss; 2] = [Loss::Squared, Loss::CrossEntropy];

/// Where the decays come from.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Source {
    Flags,
    Arrays,
}

/// What a network is compared with, and what speaks for it and against it.
pub(crate) struct Question {
    /// The model, and where its decays come from; `None` if there are no decays.
    pub(crate) model: Option<(Ufm, Source)>,
    /// Under each of [`LOSSES`].
    pub(crate) gradients: Vec<NetworkGradient>,
    pub(crate) assessment: Assessment,
    /// The loss that fits: of several the one of the flags, or none if there is none.
    pub(crate) fits: Option<Loss>,
    /// The class weights that the arrays were read with.
    pub(crate) weights: String,
    /// The number of layers.
    pub(crate) depth: usize,
    /// Whether all layers are there, and not their product alone.
    pub(crate) has_all_layers: bool,
    /// Sentences about decays that are given and others that the arrays imply.
    pub(crate) notes: Vec<String>,
}

impl Flags {
    pub(crate) fn has_decays(&self) -> bool {
        !self.layer_decay.is_empty()
    }

    /// How training scales its loss and the penalty of features; as the theory does if nothing is said, or if there are no
    /// decays to scale.
    pub(crate) fn convention(&self) -> TrainingConvention {
        let scaled = self.loss_convention.filter(|_| self.has_decays());
        TrainingConvention::new(
            scaled.unwrap_or(LossConvention::HalfSum),
            self.feature_convention.unwrap_or(FeatureConvention::Total),
        )
    }

    /// Whether decays and conventions are given together, and what is said of the bias is true.
    pub(crate) fn check_decays(&self) -> Result<(), String> {
        self.loss.check_bias(self.bias.is_some())?;
        let together = |flag: &str, other: &str| Err(format!("{flag} is given without {other}: give both, or neither"));
        self.loss.note_free_bias();
        match (self.has_decays(), self.feature_decay.is_some()) {
            (true, false) => return together("--layer-decay", "--feature-decay"),
            (false, true) => return together("--feature-decay", "--layer-decay"),
            (false, false) => return Ok(()),
            (true, true) => {}
        }
        let is_squared = self.loss.loss.is_none_or(|loss| loss == Loss::Squared);
        if is_squared && self.loss_convention.is_none() {
            return Err(
                "--layer-decay: --loss-convention is needed with it: mean, half-mean, sum or half-sum says how \
                        the loss scales the squared error"
                    .into(),
            );
        }
        if self.feature_convention.is_none() {
            return Err(
                "--feature-decay: --feature-convention is needed with it: total or mean says how the loss scales \
                        the penalty of the features"
                    .into(),
            );
        }
        self.loss.check_convention(self.loss_convention.unwrap_or(LossConvention::HalfSum))
    }
}

impl Network {
    /// The number of layers: that of the arrays, or of their product as the flags say.
    pub(crate) fn depth(&self, flags: &Flags) -> Result<usize, String> {
        let (given, decays) = (self.weights.len(), flags.layer_decay.len());
        let depth = flags.layers.unwrap_or(given.max(decays));
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
        if let Some(widths) = &flags.widths
            && (widths.len() != depth || widths[0] != self.product.ncols() || given == depth)
        {
            return Err(format!(
                "--widths: {widths:?} given; accepted, with the product of several layers, are {depth} numbers, the \
                 first {}",
                self.product.ncols()
            ));
        }
        Ok(depth)
    }

    pub(crate) fn has_all_layers(&self, flags: &Flags) -> Result<bool, String> {
        Ok(self.depth(flags)? == self.weights.len())
    }

    /// A model of these layers with the loss and the weights of the flags, or with other weights.
    fn model(
        &self,
        flags: &Flags,
        layers: Vec<Layer>,
        feature_decay: f64,
        loss: Loss,
        weights: &ClassWeights,
    ) -> Result<Ufm, String> {
        let targets: Targets = flags.loss.targets(self.counts.clone())?;
        let ufm = Ufm::new(targets, layers, feature_decay).map_err(explained)?.with_bias(self.bias.is_some());
        let ufm = flags.loss.apply_to(ufm, loss, flags.convention())?;
        if *weights == ClassWeights::None {
            return Ok(ufm);
        }
        ufm.with_class_weights(weights.clone()).map_err(|error| error.to_string())
    }

    /// Models of the arrays as they are, one for each of [`LOSSES`], whose decays say nothing.
    pub(crate) fn readings(&self, flags: &Flags, weights: &ClassWeights) -> Result<Vec<Ufm>, String> {
        let layers: Vec<Layer> = self.weights.iter().map(|weights| Layer::new(weights.ncols(), 1.0)).collect();
        LOSSES.iter().map(|&loss| self.model(flags, layers.clone(), 1.0, loss, weights)).collect()
    }

    /// The model with the decays of the flags, if there are any.
    pub(crate) fn given_model(&self, flags: &Flags) -> Result<Option<Ufm>, String> {
        if !flags.has_decays() {
            self.depth(flags)?;
            return Ok(None);
        }
        let loss = flags.loss.loss.unwrap_or_default();
        let (depth, convention, classes) = (self.depth(flags)?, flags.convention(), self.counts.classes());
        let decays = &flags.layer_decay;
        let width = |l: usize| match &flags.widths {
            Some(widths) => widths[l],
            // A product does not tell the widths inside: wide enough, if nothing else is said.
            None => self.weights.get(l).map_or_else(|| self.product.ncols().max(classes), Mat::ncols),
        };
        let layer = |l: usize| {
            let decay = convention.layer_decay(decays[if decays.len() == 1 { 0 } else { l }], classes);
            Ok(Layer::new(width(l), decay.map_err(|error| format!("--layer-decay: {error}"))?))
        };
        let layers = (0..depth).map(layer).collect::<Result<Vec<_>, String>>()?;
        let feature_decay = convention
            .feature_decay(flags.feature_decay.unwrap_or_default(), classes, self.counts.samples())
            .map_err(|error| format!("--feature-decay: {error}"))?;
        self.model(flags, layers, feature_decay, loss, &ClassWeights::None).map(Some)
    }

    /// The model with the decays that the arrays imply.
    fn implied_model(
        &self,
        flags: &Flags,
        loss: Loss,
        implied: &ImpliedDecays,
        weights: &ClassWeights,
    ) -> Result<Option<Ufm>, String> {
        let layers: Option<Vec<Layer>> = (self.weights.iter().zip(&implied.layers))
            .map(|(weights, implied)| implied.map(|implied| Layer::new(weights.ncols(), implied.decay)))
            .collect();
        let Some((layers, features)) = layers.zip(implied.features) else { return Ok(None) };
        let model = self.model(flags, layers, features.decay, loss, weights)?;
        Ok(Some(match implied.penalized_bias().filter(|_| model.bias_decay() == 0.0) {
            Some(bias) => model.with_bias_decay(bias.decay).map_err(|error| error.to_string())?,
            None => model,
        }))
    }
}

impl Question {
    pub(crate) fn new(
        network: &Network,
        flags: &Flags,
        given: Option<Ufm>,
        gradients: Vec<NetworkGradient>,
        assessment: Assessment,
        weights: &ClassWeights,
        mut notes: Vec<String>,
    ) -> Result<Self, String> {
        let has_all_layers = network.has_all_layers(flags)?;
        let is_nonnegative = gradients.first().is_some_and(NetworkGradient::has_nonnegative_features);
        if flags.loss.has_nonnegative_features() && !is_nonnegative {
            return Err("--nonnegative-features: some features are negative".into());
        }
        let finish = |ufm: Ufm| if is_nonnegative { ufm.with_nonnegative_features() } else { ufm };
        let (depth, fits) = (network.depth(flags)?, assessment.fits().filter(|_| has_all_layers));
        let model = match (given, flags.loss.loss.or(fits.map(|fit| LOSSES[fit]))) {
            (Some(given), _) => Some((finish(given), Source::Flags)),
            (None, Some(loss)) if assessment.applies() && fits == Some(index(loss)) => {
                let model = network.implied_model(flags, loss, &assessment.implied[index(loss)], weights)?;
                model.map(|model| (finish(model), Source::Arrays))
            }
            _ => None,
        };
        let fits = fits.map(|fit| LOSSES[fit]);
        let weights =
            if *weights == ClassWeights::None { flags.loss.class_weights().to_string() } else { weights.to_string() };
        let mut question =
            Self { model, gradients, assessment, fits, weights, depth, has_all_layers, notes: Vec::new() };
        notes.extend(question.compare(flags));
        question.notes = notes;
        Ok(question)
    }

    /// The gradient under the loss of the model.
    pub(crate) fn gradient(&self) -> Option<&NetworkGradient> {
        self.model.as_ref().map(|(model, _)| &self.gradients[index(model.loss())])
    }

    /// Whether verdicts make sense: the model and its decays are those that fit. Of a product of layers the features say
    /// whether they were penalized.
    pub(crate) fn applies(&self) -> bool {
        let Some((model, _)) = &self.model else { return false };
        if !self.notes.is_empty() {
            return false;
        }
        if self.has_all_layers {
            return self.assessment.applies() && self.fits == Some(model.loss());
        }
        self.assessment.implied[index(model.loss())].penalized_features().is_some()
    }

    /// What was found about the arrays; of a product of layers only what does not need each of them.
    pub(crate) fn findings(&self) -> impl Iterator<Item = &Finding> {
        let is_about_order = |finding: &Finding| {
            matches!(
                finding,
                Finding::LabelsAtChance { .. }
                    | Finding::OutputsReordered { .. }
                    | Finding::ClassesReordered { .. }
                    | Finding::OutputsConstant { .. }
            )
        };
        // Decays that are given, and are those of the arrays, test the sizes.
        let is_tested = self.are_decays_given() && self.notes.is_empty();
        self.assessment
            .findings
            .iter()
            .filter(move |finding| self.has_all_layers || is_about_order(finding))
            .filter(move |finding| !(is_tested && **finding == Finding::SizesUntested))
    }

    /// Whether the sizes of the layers are tested by nothing.
    pub(crate) fn are_sizes_untested(&self) -> bool {
        self.findings().any(|finding| *finding == Finding::SizesUntested)
    }

    pub(crate) fn are_decays_given(&self) -> bool {
        self.model.as_ref().is_some_and(|(_, source)| *source == Source::Flags)
    }

    /// Sentences about what the flags say and the arrays do not.
    fn compare(&self, flags: &Flags) -> Vec<String> {
        let fits = self.fits.filter(|_| self.has_all_layers);
        let given = self.model.as_ref().filter(|(_, source)| *source == Source::Flags).map(|(model, _)| model);
        if let Some(note) = contradictions::of_loss(given.map(Ufm::loss).or(flags.loss.loss), fits) {
            return vec![note];
        }
        let Some(model) = given.filter(|_| fits.is_some() || !self.has_all_layers) else { return Vec::new() };
        contradictions::of_decays(flags, model, &self.assessment.implied[index(model.loss())], self.has_all_layers)
    }
}

pub(crate) fn loss_name(loss: Loss) -> String {
    if loss == Loss::Squared { "squared loss".into() } else { loss.to_string() }
}

pub(crate) fn index(loss: Loss) -> usize {
    LOSSES.iter().position(|&other| other == loss).unwrap_or(0)
}

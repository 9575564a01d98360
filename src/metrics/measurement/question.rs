//! Which model a network is compared with: the one that is said, or the one that its arrays imply.

use super::{
    super::{
        assessment::{Assessment, Finding},
        gradient::{ImpliedDecays, NetworkGradient},
    },
    contradiction::Contradiction,
    last_layers::LastLayers,
    training::Training,
};
use crate::{
    classes::ClassCounts,
    error::Error,
    loss::{ClassWeights, Loss},
    model::Ufm,
    names::named,
};

/// Where the decays of a model come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DecaySource {
    /// From what is known of the training.
    Training,
    /// From the arrays, which imply them.
    Arrays,
}

named!(DecaySource, "source of decays": Training = "training", Arrays = "arrays");

/// What a network is compared with, and what speaks for it and against it: a verdict on the question, before any on the
/// answers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Question {
    /// The model; `None` if neither the training nor the arrays say which one.
    pub model: Option<Ufm>,
    /// Where its decays come from.
    pub source: Option<DecaySource>,
    /// Under each loss of [`Loss::ALL`], in that order.
    pub gradients: Vec<NetworkGradient>,
    /// What the arrays say, with the implied decays in the order of the gradients.
    pub assessment: Assessment,
    /// The loss that fits: of several the one that is said, and `None` if none is. Of a product of layers `None`.
    pub fits: Option<Loss>,
    /// The class weights that the arrays were read with.
    pub class_weights: ClassWeights,
    /// What is said of the training, and the arrays deny.
    pub contradictions: Vec<Contradiction>,
    /// Whether all layers are there, and not their product alone.
    has_all_layers: bool,
}

/// What several passes have gathered for the question.
pub(super) struct Reading {
    pub(super) gradients: Vec<NetworkGradient>,
    pub(super) assessment: Assessment,
    /// The weights of a third pass, if the arrays are read with them.
    pub(super) weights: ClassWeights,
    pub(super) contradictions: Vec<Contradiction>,
}

impl Question {
    pub(super) fn new(
        training: &Training,
        counts: &ClassCounts,
        layers: &LastLayers,
        reading: Reading,
    ) -> Result<Self, Error> {
        let Reading { gradients, assessment, weights, mut contradictions } = reading;
        let is_nonnegative = gradients.first().is_some_and(NetworkGradient::has_nonnegative_features);
        let finish = |ufm: Ufm| if is_nonnegative { ufm.with_nonnegative_features() } else { ufm };
        let fits = assessment.fits().filter(|_| layers.has_all()).map(|fit| Loss::ALL[fit]);
        let (model, source) = match (training.given_model(counts, layers)?, training.loss().or(fits)) {
            (Some(given), _) => (Some(finish(given)), Some(DecaySource::Training)),
            (None, Some(loss)) if assessment.applies() && fits == Some(loss) => {
                let implied = &assessment.implied[place(loss)];
                let model = training.implied_model(counts, layers, loss, implied, &weights)?;
                let source = model.as_ref().map(|_| DecaySource::Arrays);
                (model.map(finish), source)
            }
            _ => (None, None),
        };
        let class_weights = if weights == ClassWeights::None { training.class_weights().clone() } else { weights };
        let given = model.as_ref().filter(|_| source == Some(DecaySource::Training));
        contradictions.extend(contradict(training, layers, given, fits, &assessment));
        let has_all_layers = layers.has_all();
        Ok(Self { model, source, gradients, assessment, fits, class_weights, contradictions, has_all_layers })
    }

    /// The decays that the arrays imply under a loss.
    #[must_use]
    pub fn implied(&self, loss: Loss) -> &ImpliedDecays {
        &self.assessment.implied[place(loss)]
    }

    /// The gradient under the loss of the model; `None` without one.
    #[must_use]
    pub fn gradient(&self) -> Option<&NetworkGradient> {
        self.model.as_ref().map(|model| &self.gradients[place(model.loss())])
    }

    /// Whether no feature is negative, as after a ReLU.
    #[must_use]
    pub fn has_nonnegative_features(&self) -> bool {
        self.gradients.iter().any(NetworkGradient::has_nonnegative_features)
    }

    /// Whether the model and its decays are those that fit. Of a product of layers the features say whether they were
    /// penalized.
    #[must_use]
    pub fn applies(&self) -> bool {
        let Some(model) = self.model.as_ref().filter(|_| self.contradictions.is_empty()) else { return false };
        if self.has_all_layers {
            return self.assessment.applies() && self.fits == Some(model.loss());
        }
        self.implied(model.loss()).penalized_features().is_some()
    }

    /// What was found about the arrays; of a product of layers only what does not need each of them.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
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
        let is_tested = self.source == Some(DecaySource::Training) && self.contradictions.is_empty();
        let all = self.assessment.findings.iter();
        all.filter(move |finding| self.has_all_layers || is_about_order(finding))
            .filter(move |finding| !(is_tested && **finding == Finding::SizesUntested))
    }

    /// Whether the sizes of the layers are tested by nothing: layers like these are at rest at any size.
    #[must_use]
    pub fn are_sizes_untested(&self) -> bool {
        self.findings().any(|finding| *finding == Finding::SizesUntested)
    }
}

/// The place of a loss among all.
pub(super) fn place(loss: Loss) -> usize {
    Loss::ALL.iter().position(|&other| other == loss).unwrap_or(0)
}

/// What is said of the training, and the arrays deny.
fn contradict(
    training: &Training,
    layers: &LastLayers,
    given: Option<&Ufm>,
    fits: Option<Loss>,
    assessment: &Assessment,
) -> Vec<Contradiction> {
    if let Some(of_loss) = Contradiction::of_loss(given.map(Ufm::loss).or(training.loss()), fits) {
        return vec![of_loss];
    }
    let Some(model) = given.filter(|_| fits.is_some() || !layers.has_all()) else { return Vec::new() };
    Contradiction::of_decays(training, layers, model, &assessment.implied[place(model.loss())])
}

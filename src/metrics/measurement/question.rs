//! Which model a network is compared with: the one that is said, or the one that its arrays imply.

use super::{
    super::{
        assessment::{Assessment, Finding, STATIONARY, layer_misfit},
        gradient::{ImpliedDecay, ImpliedDecays, NetworkGradient},
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

/// Layers up to which the product of several is tried.
const MOST_TRIED: usize = 4;

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
    /// In the order of the gradients, if their product alone is there.
    products: Vec<Option<ImpliedDecay>>,
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
        let Reading { gradients, mut assessment, weights, mut contradictions } = reading;
        let is_nonnegative = gradients.first().is_some_and(NetworkGradient::has_nonnegative_features);
        let finish = |ufm: Ufm| if is_nonnegative { ufm.with_nonnegative_features() } else { ufm };
        let fits = assessment.fits().filter(|_| layers.has_all()).map(|fit| Loss::ALL[fit]);
        let said = training.given_model(counts, layers)?;
        let (model, source) = match (&said, training.loss().or(fits)) {
            (Some(_), _) if !training.penalizes_features() => (None, None),
            (Some(said), _) => (Some(finish(said.clone())), Some(DecaySource::Training)),
            (None, Some(loss)) if assessment.applies() && fits == Some(loss) => {
                let implied = &assessment.implied[place(loss)];
                let model = training.implied_model(counts, layers, loss, implied, &weights)?;
                let source = model.as_ref().map(|_| DecaySource::Arrays);
                (model.map(finish), source)
            }
            _ => (None, None),
        };
        let class_weights = if weights == ClassWeights::None { training.class_weights().clone() } else { weights };
        let loss = said.as_ref().map(Ufm::loss).or(training.loss());
        let has_all_layers = layers.has_all();
        let product = |gradient: &NetworkGradient| {
            if has_all_layers { Ok(None) } else { gradient.product_decay(layers.depth()) }
        };
        let products = gradients.iter().map(product).collect::<Result<Vec<_>, Error>>()?;
        if let Some(of_depth) = depth_denied(layers, loss, &products, &assessment) {
            contradictions.push(of_depth);
        } else {
            contradictions.extend(contradict(training, layers, said.as_ref(), fits, &assessment, &products));
            product_moving(layers, &products, &mut assessment);
        }
        name_product(layers, &gradients, &mut assessment)?;
        Ok(Self { model, source, gradients, assessment, fits, class_weights, contradictions, has_all_layers, products })
    }

    /// The decays that the arrays imply under a loss.
    #[must_use]
    pub fn implied(&self, loss: Loss) -> &ImpliedDecays {
        &self.assessment.implied[place(loss)]
    }

    /// The geometric mean of the decays of layers whose product alone is there, under a loss: what the product implies;
    /// `None` with all layers.
    #[must_use]
    pub fn implied_product(&self, loss: Loss) -> Option<ImpliedDecay> {
        self.products[place(loss)]
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

    /// Whether the model and its decays are those that fit. A product of layers must be at rest as one, and the features say
    /// whether they were penalized.
    #[must_use]
    pub fn applies(&self) -> bool {
        let Some(model) = self.model.as_ref().filter(|_| self.contradictions.is_empty()) else { return false };
        if self.has_all_layers {
            return self.assessment.applies() && self.fits == Some(model.loss());
        }
        let is_moving = self.findings().any(|finding| matches!(finding, Finding::NotStationary { .. }));
        !is_moving && self.implied(model.loss()).penalized_features().is_some()
    }

    /// What was found about the arrays; of a product of layers only what does not need each of them.
    pub fn findings(&self) -> impl Iterator<Item = &Finding> {
        // That of a product is about the product.
        let needs_no_layers = |finding: &Finding| {
            finding.is_about_outputs()
                || matches!(finding, Finding::MeansCoincide { .. } | Finding::NotStationary { .. })
        };
        // Decays that are given, and are those of the arrays, test the sizes.
        let is_tested = self.source == Some(DecaySource::Training) && self.contradictions.is_empty();
        let all = self.assessment.findings.iter();
        all.filter(move |finding| self.has_all_layers || needs_no_layers(finding))
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

/// That one matrix is said to be the product of several layers, and is at rest as one layer alone, under this loss or
/// under any.
fn depth_denied(
    layers: &LastLayers,
    loss: Option<Loss>,
    products: &[Option<ImpliedDecay>],
    assessment: &Assessment,
) -> Option<Contradiction> {
    if layers.has_all() {
        return None;
    }
    let mut all = Loss::ALL.iter().zip(products.iter().zip(&assessment.implied));
    all.find_map(|(&of, (product, implied))| {
        let one = layer_misfit(&implied.layers);
        let product = product.map_or(1.0, |product| product.misfit);
        let is_denied = loss.is_none_or(|loss| loss == of) && one <= STATIONARY && product > STATIONARY;
        is_denied.then(|| Contradiction::Depth { said: layers.depth(), one, product })
    })
}

/// Whether a product is at rest under no loss: that its one matrix is not at rest as a layer says nothing.
fn product_moving(layers: &LastLayers, products: &[Option<ImpliedDecay>], assessment: &mut Assessment) {
    if layers.has_all() {
        return;
    }
    let positive = products.iter().flatten().filter(|product| product.decay > 0.0);
    let misfit = positive.map(|product| product.misfit).fold(1.0, f64::min);
    assessment.findings.retain(|finding| !matches!(finding, Finding::NotStationary { .. }));
    let is_explained = assessment.findings.iter().any(Finding::is_about_outputs);
    if misfit > STATIONARY && !is_explained {
        assessment.findings.push(Finding::NotStationary { misfit });
    }
}

/// Says so if one layer that is not at rest is the product of layers that are.
fn name_product(layers: &LastLayers, gradients: &[NetworkGradient], assessment: &mut Assessment) -> Result<(), Error> {
    let place = assessment.findings.iter().position(|finding| matches!(finding, Finding::NotStationary { .. }));
    let Some(place) = place.filter(|_| layers.has_all() && layers.depth() == 1) else { return Ok(()) };
    let mut best: Option<Finding> = None;
    let mut least = STATIONARY;
    for (gradient, implied) in gradients.iter().zip(&assessment.implied) {
        for depth in 2..=MOST_TRIED {
            let product = gradient.product_decay(depth)?.filter(|product| product.decay > 0.0);
            if let Some(product) = product.filter(|product| product.misfit < least) {
                least = product.misfit;
                let as_one = layer_misfit(&implied.layers);
                best = Some(Finding::ProductOfLayers { depth, misfit: product.misfit, as_one });
            }
        }
    }
    if let Some(best) = best {
        assessment.findings[place] = best;
    }
    Ok(())
}

/// What is said of the training, and the arrays deny.
fn contradict(
    training: &Training,
    layers: &LastLayers,
    given: Option<&Ufm>,
    fits: Option<Loss>,
    assessment: &Assessment,
    products: &[Option<ImpliedDecay>],
) -> Vec<Contradiction> {
    if let Some(of_loss) = Contradiction::of_loss(given.map(Ufm::loss).or(training.loss()), fits) {
        return vec![of_loss];
    }
    let Some(model) = given.filter(|_| fits.is_some() || !layers.has_all()) else { return Vec::new() };
    let place = place(model.loss());
    // Of layers that are not at rest it says nothing.
    let product = products[place].filter(|product| product.decay > 0.0 && product.misfit <= STATIONARY);
    Contradiction::of_decays(training, layers, model, &assessment.implied[place], product)
}

//! Whether the theory applies to a network at all, as its arrays tell: a verdict on the question before any on answers.

mod features;
mod finding;
mod order;
mod thresholds;

pub use self::finding::Finding;
pub(super) use self::thresholds::STATIONARY;
use self::{
    features::{Read, about_features, contradiction},
    order::{order, reordered},
    thresholds::{BETTER, CONSTANT, CONTRADICTED, FREE, PENALIZED},
};
use super::{
    gradient::{ImpliedDecay, ImpliedDecays, NetworkGradient},
    nearest_center::NearestCenter,
};
use crate::{error::Error, loss::Loss};

/// What the arrays of a network say about the question: which loss fits, and what speaks against comparing the network
/// with an optimum.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Assessment {
    /// The decays that the arrays imply under each model, in the order of the gradients.
    pub implied: Vec<ImpliedDecays>,
    /// The models that fit, in the order of the gradients: layers at rest with positive decays, a bias that is at rest as
    /// well, free or penalized, and features that do not contradict. Equal counts and two classes can be at rest under
    /// both losses.
    pub fitting: Vec<usize>,
    /// What was found, about the model that [`Assessment::fits`].
    pub findings: Vec<Finding>,
    fits: Option<usize>,
}

impl Assessment {
    /// Assesses a network from its gradients under several models, and from its decisions on the same samples.
    ///
    /// # Errors
    ///
    /// As [`NetworkGradient::implied_decays`].
    pub fn new(gradients: &[NetworkGradient], decisions: &NearestCenter) -> Result<Self, Error> {
        Self::of(gradients, decisions, None)
    }

    /// The same for a network whose training is said to have minimized this loss: if several fit, it is the one.
    ///
    /// # Errors
    ///
    /// As [`Assessment::new`].
    pub fn with_loss(gradients: &[NetworkGradient], decisions: &NearestCenter, loss: Loss) -> Result<Self, Error> {
        Self::of(gradients, decisions, Some(loss))
    }

    fn of(gradients: &[NetworkGradient], decisions: &NearestCenter, said: Option<Loss>) -> Result<Self, Error> {
        let implied = gradients.iter().map(NetworkGradient::implied_decays).collect::<Result<Vec<_>, _>>()?;
        let evidence = Evidence { gradients, implied: &implied, decisions };
        let (fitting, against) = evidence.fitting()?;
        let losses = evidence.losses(&fitting);
        let of_loss = |loss| fitting.iter().copied().find(|&model| gradients[model].model().loss() == loss);
        let fits = said.and_then(of_loss).or_else(|| fitting.first().copied().filter(|_| losses.len() == 1));
        let mut findings = Vec::new();
        match fits {
            Some(model) => findings.extend(evidence.of_model(model)?),
            None if fitting.is_empty() => findings.extend(evidence.without_model(against)?),
            None => findings.push(Finding::LossUndecided { losses }),
        }
        if !fitting.is_empty() {
            findings.extend(evidence.counts().and_then(|counts| reordered(counts, decisions)));
            findings.extend(evidence.is_at_rest_at_any_size().then_some(Finding::SizesUntested));
        }
        Ok(Self { implied, fitting, findings, fits })
    }

    /// The model that fits: the first of those of one loss, or of the loss that is said; `None` if several losses fit and
    /// nothing tells which one it was.
    #[must_use]
    pub fn fits(&self) -> Option<usize> {
        self.fits
    }

    /// Whether layers are at rest under a model that the class means contradict.
    #[must_use]
    pub fn is_contradicted(&self) -> bool {
        self.findings.iter().any(|finding| matches!(finding, Finding::FeaturesContradict { .. }))
    }

    /// Whether the network can be compared with the optimum of the model that fits.
    #[must_use]
    pub fn applies(&self) -> bool {
        self.fits.is_some() && self.findings.iter().all(Finding::allows_comparison)
    }
}

/// What findings are made from.
struct Evidence<'a> {
    gradients: &'a [NetworkGradient],
    implied: &'a [ImpliedDecays],
    decisions: &'a NearestCenter,
}

impl Evidence<'_> {
    fn counts(&self) -> Option<&[u64]> {
        Some(self.gradients.first()?.model().class_counts()?.counts())
    }

    /// The models that fit, and what speaks against one whose layers are at rest.
    fn fitting(&self) -> Result<(Vec<usize>, Option<Finding>), Error> {
        let (mut at_rest, mut against) = (Vec::new(), None::<f64>);
        for model in (0..self.implied.len()).filter(|&model| layer_misfit(&self.implied[model].layers) <= STATIONARY) {
            match contradiction(self.network(model))? {
                None => at_rest.push(model),
                Some(misfit) => against = Some(against.map_or(misfit, |other| other.min(misfit))),
            }
        }
        let with_bias: Vec<usize> = at_rest.iter().copied().filter(|&model| self.is_bias_at_rest(model)).collect();
        let mut against = against.map(|misfit| Finding::FeaturesContradict { misfit });
        let fitting = match at_rest.first() {
            // Layers that are at rest under any loss say nothing of the loss, and neither does this bias.
            Some(&model) if with_bias.is_empty() && self.is_at_rest_at_any_size() => {
                against.get_or_insert(Finding::BiasNotAtRest { pull: self.gradients[model].bias_pull() });
                Vec::new()
            }
            _ if with_bias.is_empty() => at_rest,
            _ => with_bias,
        };
        Ok((self.with_sum_explained(fitting), against))
    }

    fn network(&self, model: usize) -> Read<'_> {
        Read { gradient: &self.gradients[model], implied: &self.implied[model], rules: self.decisions.rules() }
    }

    /// Whether there is no bias, or one that is at rest, free or penalized.
    fn is_bias_at_rest(&self, model: usize) -> bool {
        let gradient = &self.gradients[model];
        let is_free = gradient.bias_pull() <= STATIONARY;
        !gradient.model().has_bias() || is_free || self.implied[model].penalized_bias().is_some()
    }

    /// Squared loss with a bias makes the outputs of every sample sum up to what the targets do. Cross-entropy does not
    /// change that sum: it stays what it was at the start, or decays to zero. So the sum decides between the two.
    fn with_sum_explained(&self, fitting: Vec<usize>) -> Vec<usize> {
        let is_squared = |model: &usize| self.gradients[*model].model().loss() == Loss::Squared;
        let (squared, others): (Vec<usize>, Vec<usize>) = fitting.iter().copied().partition(is_squared);
        let Some(&first) = squared.first().filter(|_| !others.is_empty()) else { return fitting };
        if !self.gradients[first].model().has_bias() {
            return fitting;
        }
        if self.gradients[first].output_sum_error() <= STATIONARY { squared } else { others }
    }

    fn losses(&self, models: &[usize]) -> Vec<Loss> {
        let mut losses = Vec::new();
        for &model in models {
            let loss = self.gradients[model].model().loss();
            if !losses.contains(&loss) {
                losses.push(loss);
            }
        }
        losses
    }

    /// Findings about a model that fits.
    fn of_model(&self, model: usize) -> Result<Vec<Finding>, Error> {
        let implied = &self.implied[model];
        let mut findings = Vec::new();
        if !self.is_bias_at_rest(model) {
            findings.push(Finding::BiasNotAtRest { pull: self.gradients[model].bias_pull() });
        }
        let missing = if implied.features.is_some_and(|features| features.misfit > CONTRADICTED) {
            self.missing_bias(&[model])?
        } else {
            None
        };
        findings.extend(match missing {
            Some(missing) => Some(missing),
            None => about_features(self.network(model))?,
        });
        findings.extend(implied.penalized_bias().map(|implied| Finding::BiasPenalized { implied }));
        Ok(findings)
    }

    /// Why no model fits.
    fn without_model(&self, against: Option<Finding>) -> Result<Option<Finding>, Error> {
        let (Some(gradient), Some(counts)) = (self.gradients.first(), self.counts()) else { return Ok(None) };
        let spread = gradient.output_spread();
        if spread <= CONSTANT {
            return Ok(Some(Finding::OutputsConstant { spread }));
        }
        if let Some(finding) = order(counts, self.decisions) {
            return Ok(Some(finding));
        }
        let every: Vec<usize> = (0..self.gradients.len()).collect();
        if let Some(finding) = self.missing_bias(&every)? {
            return Ok(Some(finding));
        }
        let least = self.implied.iter().map(|implied| layer_misfit(&implied.layers)).fold(f64::INFINITY, f64::min);
        let moving = Finding::NotStationary { misfit: least };
        Ok(Some(against.unwrap_or(moving)))
    }

    /// Whether a constant in the outputs brings layers and class means of one of these models to rest.
    fn missing_bias(&self, models: &[usize]) -> Result<Option<Finding>, Error> {
        let rules = self.decisions.rules();
        let misfit = |layers: &[Option<ImpliedDecay>], features: Option<ImpliedDecay>| {
            let of_features = features.filter(|own| own.decay > 0.0).map_or(1.0, |own| own.misfit);
            (layer_misfit(layers), of_features)
        };
        let mut best: Option<(f64, f64)> = None;
        for &model in models {
            let gradient = &self.gradients[model];
            let Some(implied) = gradient.with_constant(rules)? else { continue };
            let without = misfit(&self.implied[model].layers, gradient.mean_features(rules)?);
            let with = misfit(&implied.layers, implied.features);
            let brings_layers = without.0 > STATIONARY && with.0 <= STATIONARY;
            let is_better = without.1 > CONTRADICTED && with.1 <= CONTRADICTED.min(without.1 / BETTER);
            let brings_means = with.0 <= STATIONARY && is_better;
            if brings_layers || brings_means {
                let pair = if brings_means { (without.1, with.1) } else { (without.0, with.0) };
                best = Some(best.filter(|best| best.1 <= pair.1).unwrap_or(pair));
            }
        }
        Ok(best.map(|(without, with)| Finding::BiasMissing { without, with }))
    }

    /// Whether the gradient of every layer is parallel to the layer under every loss: then residuals of any profile are,
    /// and so those at any other size.
    fn is_at_rest_at_any_size(&self) -> bool {
        let every: Vec<usize> = (0..self.gradients.len()).collect();
        let is_parallel = |layer: &Option<ImpliedDecay>| layer.is_some_and(|layer| layer.misfit <= STATIONARY);
        self.losses(&every).len() > 1 && self.implied.iter().all(|implied| implied.layers.iter().all(is_parallel))
    }
}

/// The largest misfit of the layers: 1 if one is zero, or if a decay is not positive.
pub(super) fn layer_misfit(layers: &[Option<ImpliedDecay>]) -> f64 {
    let misfit =
        |layer: &Option<ImpliedDecay>| layer.filter(|layer| layer.decay > 0.0).map_or(1.0, |layer| layer.misfit);
    layers.iter().map(misfit).fold(0.0, f64::max)
}

impl ImpliedDecays {
    /// The decay of features that were penalized: those whose misfit is at most 0.5.
    #[must_use]
    pub fn penalized_features(&self) -> Option<ImpliedDecay> {
        self.features.filter(|features| features.misfit <= PENALIZED && features.decay > 0.0)
    }

    /// The decay of a bias that is at rest with one; `None` if it is free, or not at rest. The bias of two classes is
    /// parallel to its gradient wherever it is: there the decay must be that of a layer, as `weight_decay` on everything
    /// has it.
    #[must_use]
    pub fn penalized_bias(&self) -> Option<ImpliedDecay> {
        let decays = || self.layers.iter().flatten().map(|layer| layer.decay);
        let least = decays().fold(f64::INFINITY, f64::min);
        let is_shared = |bias: &ImpliedDecay| decays().any(|decay| (bias.decay / decay - 1.0).abs() <= STATIONARY);
        let is_told = |bias: &ImpliedDecay| self.outputs > 2 || is_shared(bias);
        self.bias.filter(|bias| bias.misfit <= STATIONARY && bias.decay >= FREE * least && is_told(bias))
    }
}

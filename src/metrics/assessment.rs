//! Whether the theory applies to a network at all, as its arrays tell: a verdict on the question before any on answers.

use std::fmt;

use super::{
    gradient::{ImpliedDecay, ImpliedDecays, NetworkGradient},
    nearest_center::NearestCenter,
};
use crate::error::Error;

/// The misfit up to which layers are stationary. On trained networks: penalties 1e-4 to 1e-3, SGD's `weight_decay` 0.02;
/// AdamW 0.3, batch norm 0.4, a loss that it was not trained with from 0.15 on.
const STATIONARY: f64 = 0.05;
/// The misfit up to which features have been penalized. On trained networks: with a penalty 0.01 to 0.2, since features
/// of single samples settle last; without one 0.98.
const PENALIZED: f64 = 0.5;
/// Standard deviations from chance.
const BEYOND_CHANCE: f64 = 4.0;
/// The part of samples that is nearest to the own class mean, from which on labels belong to the features.
const SEPARATED: f64 = 0.5;

/// A decay of the bias below this part of the layers' is that of a free bias: its gradient is rounding, of any direction.
const FREE: f64 = 0.05;
/// Outputs that differ by less from sample to sample are the same: targets are of size 1, and logits of 0.01 are odds of
/// 1 %.
const CONSTANT: f64 = 0.01;

/// Samples a class, in the mean, from which on chance is told from labels: with two, a sample is half of its own class
/// mean.
const TELLING: f64 = 8.0;

/// What the arrays of a network say about the question: which loss fits, and what speaks against comparing the network
/// with an optimum.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Assessment {
    /// The decays that the arrays imply under each model, in the order of the gradients.
    pub implied: Vec<ImpliedDecays>,
    /// The models that fit, in the order of the gradients: layers at rest with positive decays, and a bias that is at rest
    /// as well, free or penalized. Equal counts and two classes can be at rest under both losses.
    pub fitting: Vec<usize>,
    /// What was found.
    pub findings: Vec<Finding>,
}

/// Something that the arrays of a network tell about the question.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Finding {
    /// The network is right about no more samples than chance is: the labels belong to other features.
    LabelsAtChance {
        /// The part of the samples that it is right about.
        accuracy: f64,
        /// Σ (n_k/N)².
        chance: f64,
    },
    /// Features are nearest to the means of their own classes, and the outputs name other classes: outputs and labels are
    /// in different orders.
    OutputsReordered {
        /// The part of the samples that the network is right about.
        accuracy: f64,
        /// The part that is nearest to the mean of its class.
        center_accuracy: f64,
    },
    /// Outputs are the same for all samples: what is left is noise.
    OutputsConstant {
        /// By how much they differ, in the quadratic mean.
        spread: f64,
    },
    /// Under none of the models are the layers at rest with a penalty: training is still moving, or their decay is not a
    /// penalty (AdamW), or something between layers and features has a say (batch norm after the features).
    NotStationary {
        /// The least misfit of the layers among the models.
        misfit: f64,
    },
    /// The layers are at rest and the features are not: they were not penalized, and there is no optimum of this kind.
    FeaturesNotPenalized {
        /// What the balance with the layers implies.
        implied: ImpliedDecay,
    },
    /// The bias was penalized as well.
    BiasPenalized {
        /// Its decay.
        implied: ImpliedDecay,
    },
}

impl Assessment {
    /// Assesses a network from its gradients under several models and from its decisions.
    ///
    /// # Errors
    ///
    /// As [`NetworkGradient::implied_decays`].
    pub fn new(gradients: &[NetworkGradient], decisions: &NearestCenter) -> Result<Self, Error> {
        let implied = gradients.iter().map(NetworkGradient::implied_decays).collect::<Result<Vec<_>, _>>()?;
        let at_rest: Vec<usize> =
            (0..implied.len()).filter(|&model| layer_misfit(&implied[model]) <= STATIONARY).collect();
        let with_bias: Vec<usize> = (at_rest.iter().copied())
            .filter(|&model| gradients[model].bias_pull() <= STATIONARY || implied[model].penalized_bias().is_some())
            .collect();
        let fitting = if with_bias.is_empty() { at_rest } else { with_bias };
        let mut findings = Vec::new();
        if let Some(&model) = fitting.first() {
            let ImpliedDecays { features, .. } = &implied[model];
            if let Some(implied) = features.filter(|implied| !(implied.misfit <= PENALIZED && implied.decay > 0.0)) {
                findings.push(Finding::FeaturesNotPenalized { implied });
            }
            findings.extend(implied[model].penalized_bias().map(|implied| Finding::BiasPenalized { implied }));
        } else if let Some(gradient) = gradients.first() {
            let spread = gradient.output_spread();
            let counts = gradient.model().class_counts();
            let misfit = implied.iter().map(layer_misfit).fold(f64::INFINITY, f64::min);
            findings.push(if spread <= CONSTANT {
                Finding::OutputsConstant { spread }
            } else {
                let labels = counts.and_then(|counts| labels(counts.counts(), decisions));
                labels.unwrap_or(Finding::NotStationary { misfit })
            });
        }
        Ok(Self { implied, fitting, findings })
    }

    /// The first of the models that fit.
    #[must_use]
    pub fn fits(&self) -> Option<usize> {
        self.fitting.first().copied()
    }

    /// Whether the network can be compared with the optimum of the model that fits.
    #[must_use]
    pub fn applies(&self) -> bool {
        self.fits().is_some() && self.findings.iter().all(|finding| matches!(finding, Finding::BiasPenalized { .. }))
    }
}

/// The largest misfit of the layers: 1 if one is zero, or if a decay is not positive.
fn layer_misfit(implied: &ImpliedDecays) -> f64 {
    let misfit =
        |layer: &Option<ImpliedDecay>| layer.filter(|layer| layer.decay > 0.0).map_or(1.0, |layer| layer.misfit);
    implied.layers.iter().map(misfit).fold(0.0, f64::max)
}

impl ImpliedDecays {
    /// The decay of a bias that is at rest with one; `None` if it is free, or not at rest.
    #[must_use]
    pub fn penalized_bias(&self) -> Option<ImpliedDecay> {
        let least = self.layers.iter().flatten().map(|layer| layer.decay).fold(f64::INFINITY, f64::min);
        self.bias.filter(|bias| bias.misfit <= STATIONARY && bias.decay >= FREE * least)
    }
}

/// Whether labels belong to features and outputs.
fn labels(counts: &[u64], decisions: &NearestCenter) -> Option<Finding> {
    let (accuracy, center_accuracy) = (decisions.accuracy()?, decisions.center_accuracy()?);
    let samples: f64 = counts.iter().map(|&count| count as f64).sum();
    let chance: f64 = counts.iter().map(|&count| (count as f64 / samples).powi(2)).sum();
    let deviation = (chance * (1.0 - chance) / samples).sqrt();
    // Of few samples, or of one class that has almost all, chance is too close to perfection to tell.
    let beyond = (chance + BEYOND_CHANCE * deviation).min(f64::midpoint(1.0, chance));
    let per_class = samples / counts.len() as f64;
    if counts.len() < 2 || per_class < TELLING || accuracy > beyond {
        None
    } else if center_accuracy >= SEPARATED.max(beyond) {
        Some(Finding::OutputsReordered { accuracy, center_accuracy })
    } else {
        Some(Finding::LabelsAtChance { accuracy, chance })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LabelsAtChance { accuracy, chance } => write!(
                f,
                "labels do not belong to the outputs: the network is right about {:.1} % of the samples, and chance about \
                 {:.1} %; are labels and features in the same order, and is the network trained?",
                100.0 * accuracy,
                100.0 * chance
            ),
            Self::OutputsReordered { accuracy, center_accuracy } => write!(
                f,
                "outputs and labels are in different orders: {:.1} % of the samples are nearest to the mean of their \
                 class, and the outputs are right about {:.1} %",
                100.0 * center_accuracy,
                100.0 * accuracy
            ),
            Self::OutputsConstant { spread } => {
                write!(f, "outputs are the same for all samples, up to {spread:.1e}: the arrays do not tell the decays")
            }
            Self::NotStationary { misfit } => write!(
                f,
                "the layers are not at rest under any of these losses with any decay (misfit {misfit:.2}): training is \
                 still moving, its decay is not a penalty (AdamW), these are not all of its samples, or the loss is another \
                 one (class weights, label smoothing, logit adjustment)"
            ),
            Self::FeaturesNotPenalized { implied: ImpliedDecay { decay, misfit } } => write!(
                f,
                "features were not penalized (misfit {misfit:.2}): there is no optimum of this kind; the balance with \
                 the layers implies {decay:.3e}"
            ),
            Self::BiasPenalized { implied: ImpliedDecay { decay, .. } } => {
                write!(f, "the bias was penalized as well, with {decay:.3e}")
            }
        }
    }
}

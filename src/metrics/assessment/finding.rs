//! What may be found, in words.

use std::fmt;

use super::{super::gradient::ImpliedDecay, thresholds::CONTRADICTED};
use crate::loss::Loss;

/// Classes that a sentence names.
const MOST_NAMED: usize = 10;

/// Something that the arrays of a network tell about the question.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Finding {
    /// The network is right about no more samples than chance is: the labels belong to other features.
    LabelsAtChance {
        /// The part of the samples that it is right about.
        accuracy: f64,
        /// What its decisions are right about if the labels are in random order: Σ p_k n_k/N, for decisions for class k in
        /// a part p_k of the samples.
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
    /// The same for some classes only: the outputs of each name another one of them.
    ClassesReordered {
        /// Each class with the one that the network decides at its mean.
        classes: Vec<(usize, usize)>,
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
    /// The layer is at rest as a product of several layers, and not as one.
    ProductOfLayers {
        /// How many layers fit best.
        depth: usize,
        /// The misfit as their product.
        misfit: f64,
        /// As one layer.
        as_one: f64,
    },
    /// Some classes have one mean, compared with how their samples vary and with how far apart other classes are.
    MeansCoincide {
        /// The classes of each such mean.
        classes: Vec<Vec<usize>>,
    },
    /// The layers are at rest under a model, and features that have collapsed are not: the loss is another one.
    FeaturesContradict {
        /// The misfit of the class means.
        misfit: f64,
    },
    /// The arrays are at rest only if the outputs have a constant, and the network has no bias.
    BiasMissing {
        /// The misfit of layers, or of class means if that is larger, without the constant.
        without: f64,
        /// With it.
        with: f64,
    },
    /// Several losses fit, and nothing in the arrays tells which one it was.
    LossUndecided {
        /// The losses.
        losses: Vec<Loss>,
    },
    /// Layers like these are at rest at any size: with two classes, with equal counts, or with one direction left. The
    /// decays are those of a training that has ended, which the arrays cannot confirm.
    SizesUntested,
    /// The layers are at rest and the features are not, nor are class means anywhere near it: they were not penalized, or
    /// what is before them could not follow. There is no optimum of this kind.
    FeaturesNotPenalized {
        /// What the balance with the layers implies.
        implied: ImpliedDecay,
    },
    /// Class means are at rest with a penalty, or near it, and features are not: single samples are still moving, or what
    /// is before the features has a say as well, as its own decays or its activation.
    FeaturesNotAtRest {
        /// Of all samples.
        implied: ImpliedDecay,
        /// The misfit of class means.
        means: f64,
    },
    /// Class means are at rest with a penalty where they are positive, and not where they are negative, and small: an
    /// activation holds negative features back, as LeakyReLU, whose slope there is small, or GELU, which has a least value.
    NegativeFeaturesHeld {
        /// The misfit of class means.
        means: f64,
        /// The largest misfit of one over its positive entries.
        positive: f64,
    },
    /// The layers are at rest and the bias is not, free or penalized: classes have other frequencies here than in training,
    /// by their samples or by class weights, or the bias was not trained.
    BiasNotAtRest {
        /// [`NetworkGradient::bias_pull`](super::super::NetworkGradient::bias_pull).
        pull: f64,
    },
    /// The bias was penalized as well.
    BiasPenalized {
        /// Its decay.
        implied: ImpliedDecay,
    },
}

impl Finding {
    /// Whether it is about outputs and labels alone, whatever the loss and the layers: then no class weights explain it.
    pub(in crate::metrics) fn is_about_outputs(&self) -> bool {
        matches!(
            self,
            Self::LabelsAtChance { .. }
                | Self::OutputsReordered { .. }
                | Self::ClassesReordered { .. }
                | Self::OutputsConstant { .. }
        )
    }

    /// Whether a network of which this was found can be compared with an optimum.
    #[must_use]
    pub fn allows_comparison(&self) -> bool {
        matches!(self, Self::BiasPenalized { .. } | Self::SizesUntested | Self::MeansCoincide { .. })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LabelsAtChance { accuracy, chance } => write!(
                f,
                "labels do not belong to the outputs: the network is right about {:.1} % of the samples, and its decisions \
                 would be about {:.1} % by chance; are labels and features in the same order, and is the network trained?",
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
            Self::ClassesReordered { classes } => {
                let named = classes.iter().take(MOST_NAMED).map(|(class, other)| format!("{class} as {other}"));
                let named = named.collect::<Vec<_>>().join(", ");
                let more = match classes.len().saturating_sub(MOST_NAMED) {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                write!(
                    f,
                    "outputs of some classes are in another order than the labels: samples near their own class mean \
                     are decided for another class, {named}{more} (counted from 0)"
                )
            }
            Self::OutputsConstant { spread } => {
                write!(f, "outputs are the same for all samples, up to {spread:.1e}: the arrays do not tell the decays")
            }
            Self::NotStationary { misfit } => write!(
                f,
                "the layers are not at rest under any of these losses with any decay (misfit {misfit:.2}): training is \
                 still moving, its decay is not a penalty (AdamW), these are not all of its samples, or the loss is another \
                 one (class weights, label smoothing, logit adjustment)"
            ),
            Self::ProductOfLayers { depth, misfit, as_one } => write!(
                f,
                "the weights are not at rest as one layer (misfit {as_one:.2}), and they are as the product of {depth} \
                 layers (misfit {misfit:.1e})"
            ),
            Self::MeansCoincide { classes } => write!(
                f,
                "classes have collapsed into one mean, compared with how their samples vary: {} (counted from 0); \
                 between them NC1 and CDNV divide noise by noise",
                groups(classes)
            ),
            Self::FeaturesContradict { misfit } => write!(
                f,
                "the layers are at rest, and class means are not (misfit {misfit:.2}), though the features have collapsed: \
                 the loss is another one (logit adjustment, label smoothing, margins, other class weights), or the \
                 features come from an activation whose optimum is not known (LeakyReLU, GELU, tanh)"
            ),
            Self::BiasMissing { without, with } => write!(
                f,
                "the arrays are at rest if a constant is added to the outputs (misfit {with:.1e}), and not without \
                 (misfit {without:.2}): the network was trained with a bias, which is missing"
            ),
            Self::LossUndecided { losses } => {
                let names: Vec<&str> = losses.iter().map(|loss| loss.name()).collect();
                write!(
                    f,
                    "several losses fit: {}; with two classes, or with equal counts, layers can be at rest under both, \
                     and nothing else tells which one it was",
                    names.join(" and ")
                )
            }
            Self::SizesUntested => write!(
                f,
                "layers like these are at rest at any size (two classes, equal counts, or one direction left): the \
                 decays are those of a training that has ended, and its misfit does not test whether it has"
            ),
            Self::FeaturesNotPenalized { implied: ImpliedDecay { decay, misfit } } => write!(
                f,
                "features were not penalized, or could not follow (misfit {misfit:.2}): there is no optimum of this kind; \
                 the balance with the layers implies {decay:.3e}"
            ),
            Self::FeaturesNotAtRest { implied, means } => not_at_rest(f, implied.misfit, *means),
            Self::NegativeFeaturesHeld { means, positive } => write!(
                f,
                "class means are at rest with a penalty where they are positive (misfit {positive:.1e}), and not where \
                 they are negative (misfit of all {means:.2}): the features come from an activation that holds negative \
                 ones back (LeakyReLU, GELU), and are neither free nor nonnegative"
            ),
            Self::BiasNotAtRest { pull } => write!(
                f,
                "the layers are at rest, and the bias is not (pull {pull:.2}): these are not all samples of training, \
                 its classes were weighted, or its bias was not trained"
            ),
            Self::BiasPenalized { implied: ImpliedDecay { decay, .. } } => {
                write!(f, "the bias was penalized as well, with {decay:.3e}")
            }
        }
    }
}

/// Of features that look penalized.
fn not_at_rest(f: &mut fmt::Formatter<'_>, misfit: f64, means: f64) -> fmt::Result {
    if means <= CONTRADICTED {
        return write!(
            f,
            "class means are at rest with a penalty of the features (misfit {means:.2}), and single samples are not \
             (misfit {misfit:.2}): training has not ended, or what is before the features holds them back"
        );
    }
    write!(
        f,
        "features look penalized, and not by that alone (misfit {misfit:.2}, of class means {means:.2}): the layers \
         before them have decays of their own, or training has not ended"
    )
}

/// The classes of each group.
fn groups(classes: &[Vec<usize>]) -> String {
    let listed = |group: &Vec<usize>| {
        let named: Vec<String> = group.iter().take(MOST_NAMED).map(usize::to_string).collect();
        let more = group.len().saturating_sub(MOST_NAMED);
        named.join(", ") + &if more > 0 { format!(" and {more} more") } else { String::new() }
    };
    classes.iter().take(MOST_NAMED).map(listed).collect::<Vec<_>>().join("; ")
}

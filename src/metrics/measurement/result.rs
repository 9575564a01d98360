//! A network measured as a whole.

use super::{
    super::{assessment::Finding, features::FeatureStatistics, nearest_center::NearestCenter},
    last_layers::LastLayers,
    layer_metrics::LayerMetrics,
    question::{Question, Reading},
    target::Target,
    training::Training,
};
use crate::{classes::ClassCounts, error::Error};

/// Everything that is measured of a network, which theory applies to it, and what that theory has in the place of every
/// number.
///
/// [`Measurement::of`] goes through the samples, two or three times; [`Measuring`](super::Measuring) leaves the loop to the
/// caller.
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Error, Layer, Ufm, metrics::{LastLayers, Measurement, Training}};
///
/// // Weights, features, a column for each sample, and a bias of a network: here of the optimum.
/// let ufm = Ufm::new(ClassCounts::new([5, 3, 2])?, [Layer::new(4, 1e-2)], 1e-3)?;
/// let (weights, features, bias) = ufm.minimizer()?.parameters()?.into_parts();
/// let labels = [0, 0, 0, 0, 0, 1, 1, 1, 2, 2];
///
/// let layers = LastLayers::new(weights, bias)?;
/// let measured = Measurement::of(layers, Training::default(), |pass| pass.add(features.as_ref(), &labels))?;
/// let model = measured.question.model.as_ref().unwrap(); // no decays were given: the arrays imply them
/// assert!((model.layers()[0].decay / 1e-2 - 1.0).abs() < 1e-12);
/// assert!(measured.applies() && measured.target.unwrap().gap.unwrap().abs() < 1e-12);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Measurement {
    /// The layers that were measured.
    pub layers: LastLayers,
    /// What is known of their training.
    pub training: Training,
    /// The samples of every class.
    pub counts: ClassCounts,
    /// What the network is compared with, and what speaks against that.
    pub question: Question,
    /// Metrics of class means, scatter and layers.
    pub metrics: LayerMetrics,
    /// NC4, and the accuracy of the network and of the nearest class mean.
    pub decisions: NearestCenter,
    /// By groups of classes of equal counts, the largest first.
    pub groups: Vec<GroupAccuracy>,
    /// The effective rank of the features of each class ([`ClassRanks`](crate::metrics::ClassRanks) of 1024 samples each);
    /// `None` above 2^22 = d² K numbers.
    pub class_ranks: Option<Vec<Option<f64>>>,
    /// The optimum of the model in question; `None` without a model, if the arrays deny the model (but for
    /// [`Training::with_comparison_anyway`]), or if its optimum is not known.
    pub target: Option<Target>,
    /// Why it is not known.
    pub without_target: Option<Error>,
}

/// How many samples of a group of classes are decided right.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GroupAccuracy {
    /// The samples of each class.
    pub count: u64,
    /// The classes.
    pub classes: Vec<usize>,
    /// [`NearestCenter::accuracy_of`].
    pub accuracy: Option<f64>,
    /// [`NearestCenter::center_accuracy_of`].
    pub center_accuracy: Option<f64>,
}

/// What all passes have gathered.
#[derive(Clone, Debug)]
pub(super) struct Gathered {
    pub(super) statistics: FeatureStatistics,
    pub(super) decisions: NearestCenter,
    pub(super) class_ranks: Option<Vec<Option<f64>>>,
    /// The effective rank of all features, if the ranks of classes have seen all samples.
    pub(super) feature_rank: Option<f64>,
}

impl Measurement {
    pub(super) fn new(
        (layers, training, counts): (LastLayers, Training, ClassCounts),
        gathered: Gathered,
        reading: Reading,
    ) -> Result<Self, Error> {
        let Gathered { statistics, decisions, class_ranks, feature_rank } = gathered;
        let mut question = Question::new(&training, &counts, &layers, reading)?;
        // Targets of a theory that does not apply would say nothing.
        let is_compared = question.applies() || training.is_compared_anyway();
        let target = question.model.as_ref().filter(|_| is_compared);
        let target = target.map(|model| Target::new(model, &counts, &layers, &statistics, &question));
        let (target, without_target) = match target.transpose() {
            Ok(target) => (target, None),
            Err(why) => (None, Some(why)),
        };
        let mut metrics = LayerMetrics::new(&statistics, Some(&layers))?;
        metrics.feature_rank = metrics.feature_rank.or(feature_rank);
        let classes = metrics.collapsed_classes();
        // Of labels in another order the means say nothing.
        let is_told = !classes.is_empty() && !question.findings().any(Finding::is_about_outputs);
        if is_told && !target.as_ref().is_some_and(|target| target.has_collapsed) {
            question.assessment.findings.push(Finding::MeansCoincide { classes });
        }
        Ok(Self {
            metrics,
            groups: groups(&counts, &decisions),
            layers,
            training,
            counts,
            question,
            decisions,
            class_ranks,
            target,
            without_target,
        })
    }

    /// Whether verdicts make sense: the model is the one that fits, and its optimum is known.
    #[must_use]
    pub fn applies(&self) -> bool {
        self.question.applies() && self.target.is_some()
    }

    /// What training minimizes at an objective of the model in question, penalties included: in the units of the training
    /// if its decays are known, else in those of the theory.
    #[must_use]
    pub fn training_loss(&self, objective: f64) -> f64 {
        self.question.model.as_ref().map_or(objective, |model| self.training.loss_at(model, objective))
    }
}

fn groups(counts: &ClassCounts, decisions: &NearestCenter) -> Vec<GroupAccuracy> {
    let of = |group: crate::classes::Group<'_>| {
        let classes = group.classes.to_vec();
        let (accuracy, center_accuracy) = (decisions.accuracy_of(&classes), decisions.center_accuracy_of(&classes));
        GroupAccuracy { count: group.count, classes, accuracy, center_accuracy }
    };
    counts.groups().map(of).collect()
}

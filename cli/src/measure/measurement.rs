//! What is measured of a network.

use neural_collapse::{
    ClassWeights, Error, Ufm,
    faer::Mat,
    linalg::dense_svd,
    metrics::{
        Assessment, FeatureStatistics, FrameDistances, Nc1Convention, NearestCenter, NetworkGradient, effective_rank,
        frame_distances, row_sum, self_duality,
    },
};

use super::{
    Flags, contradictions,
    network::Network,
    passes::{Passes, passes, third_pass},
    question::Question,
    target::{Target, feature_mean},
};

/// Everything that is measured, and what the theory has in its place.
pub(crate) struct Measurement {
    pub(crate) question: Question,
    pub(crate) nc1: [Option<f64>; 4],
    pub(crate) trace_ratio: Option<f64>,
    pub(crate) class_distance_normalized_variance: Option<f64>,
    pub(crate) disagreement: Option<f64>,
    pub(crate) accuracy: Option<f64>,
    pub(crate) center_accuracy: Option<f64>,
    /// By groups of classes of equal counts, the largest first.
    pub(crate) groups: Vec<GroupAccuracy>,
    /// Of the features of each class, where they are not too many numbers to gather.
    pub(crate) class_ranks: Option<Vec<Option<f64>>>,
    pub(crate) row_sum: Option<f64>,
    /// √N ‖h_G‖/‖H̄ D‖: 0 at the optimum of a model with a bias, which takes the place of the mean.
    pub(crate) feature_mean: Option<f64>,
    pub(crate) classes: Classes,
    /// Class means that are not centered.
    pub(crate) plain_means: FrameDistances,
    /// Gram matrices, K x K: of class means that are not centered, and of classifiers about their mean.
    pub(crate) plain_mean_gram: Mat<f64>,
    pub(crate) centered_classifier_gram: Mat<f64>,
    /// Of the product, of the class means weighted by √n_k, and of all layers, if there is more than one.
    pub(crate) singular_values: Vec<SingularValues>,
    pub(crate) target: Option<Target>,
    /// Why there is none, if there is a model.
    pub(crate) without_target: Option<String>,
}

/// How many samples of a group of classes are decided right.
pub(crate) struct GroupAccuracy {
    pub(crate) count: u64,
    pub(crate) classes: Vec<usize>,
    pub(crate) accuracy: Option<f64>,
    pub(crate) center_accuracy: Option<f64>,
}

/// Classifiers and class means, with what the theory of balanced classes asks of them.
pub(crate) struct Classes {
    /// Gram matrices, K x K.
    pub(crate) classifier_gram: Mat<f64>,
    pub(crate) mean_gram: Mat<f64>,
    pub(crate) classifiers: FrameDistances,
    pub(crate) means: FrameDistances,
    pub(crate) self_duality: Option<f64>,
}

/// Of one block, by falling value.
pub(crate) struct SingularValues {
    pub(crate) block: String,
    pub(crate) values: Vec<f64>,
    pub(crate) effective_rank: Option<f64>,
}

impl Measurement {
    pub(crate) fn new(network: &Network, flags: &Flags) -> Result<Self, String> {
        // What is wrong with the flags is said before the passes.
        let given = network.given_model(flags)?;
        let said = given.as_ref().map(Ufm::loss).or(flags.loss.loss);
        let mut gathered = passes(network, network.readings(flags, &ClassWeights::None)?)?;
        let (mut weights, mut notes) = (ClassWeights::None, Vec::new());
        let assess = |gradients: &[NetworkGradient], rules: &NearestCenter| {
            let assessment = match said {
                Some(loss) => Assessment::with_loss(gradients, rules, loss),
                None => Assessment::new(gradients, rules),
            };
            assessment.map_err(|error| error.to_string())
        };
        let mut assessment = assess(&gathered.gradients, &gathered.rules)?;
        // No loss fits: perhaps its samples were weighted, as `class_weight="balanced"` does.
        let balanced = ClassWeights::Inverse;
        let is_open = assessment.fitting.is_empty() && *flags.loss.class_weights() == ClassWeights::None;
        if is_open && network.counts.imbalance_ratio() > 1.0 && network.has_all_layers(flags)? {
            let again = third_pass(network, network.readings(flags, &balanced)?)?;
            let other = assess(&again, &gathered.rules)?;
            match (other.fitting.is_empty(), &given) {
                (false, None) => (gathered.gradients, assessment, weights) = (again, other, balanced),
                (false, Some(_)) => notes.push(contradictions::of_weights(&balanced)),
                // What speaks against the weights is what can be said of this network.
                (true, _) if other.is_contradicted() => assessment.findings = other.findings,
                _ => {}
            }
        }
        let Passes { statistics, rules, gradients, class_ranks } = gathered;
        let question = Question::new(network, flags, given, gradients, assessment, &weights, notes)?;
        Self::of(network, flags, &statistics, &rules, class_ranks, question).map_err(|error| error.to_string())
    }

    fn of(
        network: &Network,
        flags: &Flags,
        statistics: &FeatureStatistics,
        rules: &NearestCenter,
        class_ranks: Option<Vec<Option<f64>>>,
        question: Question,
    ) -> Result<Self, Error> {
        let nc1 = |convention| statistics.nc1(convention);
        let (target, without_target) = match Target::new(network, flags, statistics, &question) {
            Ok(target) => (target, None),
            Err(why) => (None, Some(why)),
        };
        Ok(Self {
            nc1: [
                nc1(Nc1Convention::Global)?,
                nc1(Nc1Convention::UnweightedMean)?,
                nc1(Nc1Convention::WeightedClasses)?,
                nc1(Nc1Convention::Undivided)?,
            ],
            trace_ratio: statistics.trace_ratio()?,
            class_distance_normalized_variance: statistics.class_distance_normalized_variance()?,
            disagreement: rules.disagreement(),
            accuracy: rules.accuracy(),
            center_accuracy: rules.center_accuracy(),
            groups: groups(network, rules),
            class_ranks,
            row_sum: row_sum(network.product.as_ref())?,
            feature_mean: feature_mean(&statistics.weighted_means(), &network.counts),
            classes: Classes::new(&network.product, &statistics.centered_means()?)?,
            plain_means: frame_distances(statistics.class_means())?,
            plain_mean_gram: statistics.class_means().transpose() * statistics.class_means(),
            centered_classifier_gram: centered_gram(&network.product),
            singular_values: singular_values(network, statistics)?,
            target,
            without_target,
            question,
        })
    }

    /// Whether verdicts make sense: the model is the one that fits, and its optimum is known.
    pub(crate) fn applies(&self) -> bool {
        self.question.applies() && self.target.is_some()
    }
}

fn groups(network: &Network, rules: &NearestCenter) -> Vec<GroupAccuracy> {
    let of = |group: neural_collapse::Group<'_>| {
        let classes = group.classes.to_vec();
        let (accuracy, center_accuracy) = (rules.accuracy_of(&classes), rules.center_accuracy_of(&classes));
        GroupAccuracy { count: group.count, classes, accuracy, center_accuracy }
    };
    network.counts.groups().map(of).collect()
}

/// The Gram matrix of the classifiers about their mean, K x K.
fn centered_gram(classifiers: &Mat<f64>) -> Mat<f64> {
    let mean = |j: usize| classifiers.col(j).iter().sum::<f64>() / classifiers.nrows() as f64;
    let means: Vec<f64> = (0..classifiers.ncols()).map(mean).collect();
    let centered = Mat::from_fn(classifiers.nrows(), classifiers.ncols(), |i, j| classifiers[(i, j)] - means[j]);
    &centered * centered.transpose()
}

impl Classes {
    /// Of classifiers, K x d, and class means about their center, d x K.
    pub(crate) fn new(classifiers: &Mat<f64>, means: &Mat<f64>) -> Result<Self, Error> {
        Ok(Self {
            classifier_gram: classifiers * classifiers.transpose(),
            mean_gram: means.transpose() * means,
            classifiers: frame_distances(classifiers.transpose())?,
            means: frame_distances(means.as_ref())?,
            self_duality: self_duality(classifiers.as_ref(), means.as_ref())?,
        })
    }
}

fn singular_values(network: &Network, statistics: &FeatureStatistics) -> Result<Vec<SingularValues>, Error> {
    let of = |block: String, matrix: &Mat<f64>| {
        let values: Vec<f64> = dense_svd(matrix.as_ref())?.values.iter().copied().collect();
        Ok::<_, Error>(SingularValues { block, effective_rank: effective_rank(&values), values })
    };
    let mut all = vec![of("product".into(), &network.product)?, of("features".into(), &statistics.weighted_means())?];
    if network.weights.len() > 1 {
        for (l, weights) in network.weights.iter().enumerate() {
            all.push(of(format!("layer {}", l + 1), weights)?);
        }
    }
    Ok(all)
}

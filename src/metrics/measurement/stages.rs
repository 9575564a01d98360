//! What each pass gathers, and what comes of it.

use faer::MatRef;

use super::{
    super::{
        assessment::{Assessment, Finding},
        class_ranks::ClassRanks,
        features::{FeatureAccumulator, FeatureStatistics},
        gradient::{DeviationAccumulator, GradientAccumulator, NetworkGradient},
        nearest_center::NearestCenter,
    },
    contradiction::Contradiction,
    last_layers::LastLayers,
    question::Reading,
    result::{Gathered, Measurement},
    training::Training,
};
use crate::{
    classes::ClassCounts,
    error::Error,
    loss::{ClassWeights, Loss},
    model::Ufm,
};

/// Numbers of the Gram matrices of all classes, 32 MiB, beyond which their effective ranks are not gathered.
const MOST_RANKED: usize = 1 << 22;
/// Samples of each class that its effective rank is of.
const RANKED_SAMPLES: usize = 1024;

/// What is known in all stages; the counts are those of the caller before the first pass is over.
pub(super) type Known = (LastLayers, Training, Option<ClassCounts>);

/// What comes after a stage.
// There is one of it at a time.
#[allow(clippy::large_enum_variant)]
pub(super) enum Next {
    Stage(Known, Stage),
    Done(Measurement),
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub(super) enum Stage {
    First(First),
    Second(Second),
    Third(Third),
}

#[derive(Clone, Debug)]
pub(super) struct First {
    pub(super) features: FeatureAccumulator,
    pub(super) ranks: Option<ClassRanks>,
    /// Whether no feature has been negative; false from the start where it does not count.
    pub(super) is_nonnegative: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Second {
    pub(super) gathering: Gathering,
    ranks: Option<ClassRanks>,
}

/// What the second pass gathers.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
pub(super) enum Gathering {
    /// The gradients that do not follow from the statistics, which have the whole scatter.
    Gradients { statistics: FeatureStatistics, known: Vec<NetworkGradient>, gradients: GradientAccumulator },
    /// All gradients, and the scatter along some directions.
    Deviations(DeviationAccumulator),
}

#[derive(Clone, Debug)]
pub(super) struct Third {
    gathered: Gathered,
    /// Without class weights.
    gradients: Vec<NetworkGradient>,
    assessment: Assessment,
    pub(super) weighted: GradientAccumulator,
}

impl First {
    pub(super) fn new(layers: &LastLayers) -> Result<Self, Error> {
        let (width, classes) = (layers.width(), layers.outputs());
        let is_narrow = is_narrow(layers);
        let features = if is_narrow { FeatureAccumulator::new } else { FeatureAccumulator::with_scatter };
        let is_small = width.saturating_mul(width).saturating_mul(classes) <= MOST_RANKED;
        let ranks = is_small.then(|| ClassRanks::new(width, classes, RANKED_SAMPLES)).transpose()?;
        Ok(Self { features: features(width, classes)?, ranks, is_nonnegative: !is_narrow })
    }
}

/// Whether few classes meet wide features: then the scatter is cheaper in the second pass, along the directions that
/// count, than whole in the first.
fn is_narrow(layers: &LastLayers) -> bool {
    4 * layers.outputs() < layers.width()
}

pub(super) fn has_no_negative<T: Copy + Into<f64>>(features: MatRef<'_, T>) -> bool {
    features.col_iter().all(|sample| sample.iter().all(|&entry| entry.into() >= 0.0))
}

impl First {
    pub(super) fn end(self, (layers, training, known): Known) -> Result<Next, Error> {
        let Self { features, ranks, is_nonnegative } = self;
        let statistics = features.finish();
        let counts = statistics.class_counts()?;
        if let Some(known) = known {
            known.check_same(counts.counts())?;
        }
        // What is wrong with it is said before the next pass.
        training.given_model(&counts, &layers)?;
        let rules = NearestCenter::new(layers.product(), layers.bias(), &statistics)?;
        let readings = training.readings(&counts, &layers, &ClassWeights::None)?;
        let gathering = if statistics.has_scatter() {
            Gathering::with_scatter(statistics, readings, &layers, rules, is_nonnegative)?
        } else {
            Gathering::Deviations(DeviationAccumulator::new(statistics, readings, layers.parts(), rules)?)
        };
        let stage = Stage::Second(Second { gathering, ranks });
        Ok(Next::Stage((layers, training, Some(counts)), stage))
    }
}

impl Gathering {
    fn with_scatter(
        statistics: FeatureStatistics,
        readings: Vec<Ufm>,
        layers: &LastLayers,
        rules: NearestCenter,
        is_nonnegative: bool,
    ) -> Result<Self, Error> {
        // Class means and the whole scatter have the gradient of squared loss, but for what a ReLU holds at zero.
        let is_known = |reading: &Ufm| {
            let is_plain = reading.loss() == Loss::Squared && reading.class_weights().is_none();
            is_plain && !is_nonnegative
        };
        let (known, readings): (Vec<Ufm>, Vec<Ufm>) = readings.into_iter().partition(is_known);
        let gradient = |reading: &Ufm| {
            let (weights, bias) = layers.parts();
            statistics.gradient(reading, weights, bias)
        };
        let known = known.iter().map(gradient).collect::<Result<_, _>>()?;
        Ok(Self::Gradients { known, gradients: gradients(layers, readings)?.with_decisions(rules)?, statistics })
    }

    /// Statistics with their scatter, the gradients under each loss, and the decisions.
    fn finish(self) -> Result<(FeatureStatistics, Vec<NetworkGradient>, NearestCenter), Error> {
        let (statistics, mut known, gradients) = match self {
            Self::Deviations(deviations) => return deviations.finish(),
            Self::Gradients { statistics, known, gradients } => (statistics, known, gradients),
        };
        let (others, decisions) = gradients.finish_with_decisions()?;
        let Some(decisions) = decisions else { unreachable!("the pass began with decisions") };
        known.extend(others);
        Ok((statistics, known, decisions))
    }
}

impl Second {
    pub(super) fn end(self, (layers, training, counts): Known) -> Result<Next, Error> {
        let Self { gathering, ranks } = self;
        let counts = counts.ok_or(Error::NoClassCounts)?;
        let (statistics, all, decisions) = gathering.finish()?;
        let assessment = assess(&training, &all, &decisions)?;
        let feature_rank = ranks.as_ref().map(|ranks| ranks.of_all(counts.counts())).transpose()?.flatten();
        let class_ranks = ranks.map(ClassRanks::finish).transpose()?;
        let gathered = Gathered { statistics, decisions, class_ranks, feature_rank };
        // No loss fits: perhaps its samples were weighted, as `class_weight="balanced"` does.
        let is_open = assessment.fitting.is_empty() && *training.class_weights() == ClassWeights::None;
        let is_open = is_open && !assessment.findings.iter().any(Finding::is_about_outputs);
        if is_open && counts.imbalance_ratio() > 1.0 && layers.has_all() {
            let weighted = gradients(&layers, training.readings(&counts, &layers, &BALANCED)?)?;
            let stage = Stage::Third(Third { gathered, gradients: all, assessment, weighted });
            return Ok(Next::Stage((layers, training, Some(counts)), stage));
        }
        let (weights, contradictions) = (ClassWeights::None, Vec::new());
        let reading = Reading { gradients: all, assessment, weights, contradictions };
        Measurement::new((layers, training, counts), gathered, reading).map(Next::Done)
    }
}

/// The class weights that are tried.
const BALANCED: ClassWeights = ClassWeights::Inverse;

impl Third {
    pub(super) fn end(self, (layers, training, counts): Known) -> Result<Next, Error> {
        let Self { gathered, gradients, mut assessment, weighted } = self;
        let counts = counts.ok_or(Error::NoClassCounts)?;
        let weighted = weighted.finish()?;
        let other = assess(&training, &weighted, &gathered.decisions)?;
        let mut contradictions = Vec::new();
        let reading = match (other.fitting.is_empty(), training.decays()) {
            (false, None) => Reading { gradients: weighted, assessment: other, weights: BALANCED, contradictions },
            (is_empty, _) => {
                if !is_empty {
                    contradictions.push(Contradiction::ClassWeights { implied: BALANCED });
                } else if other.is_contradicted() {
                    // What speaks against the weights is what can be said of this network.
                    assessment.findings = other.findings;
                }
                Reading { gradients, assessment, weights: ClassWeights::None, contradictions }
            }
        };
        Measurement::new((layers, training, counts), gathered, reading).map(Next::Done)
    }
}

fn gradients(layers: &LastLayers, readings: Vec<Ufm>) -> Result<GradientAccumulator, Error> {
    let (weights, bias) = layers.parts();
    GradientAccumulator::new(readings, weights, bias)
}

/// Under the loss that is said, or under that of the decays that are.
fn assess(training: &Training, gradients: &[NetworkGradient], rules: &NearestCenter) -> Result<Assessment, Error> {
    let of_decays = training.decays().map(|_| Loss::default());
    match training.loss().or(of_decays) {
        Some(loss) => Assessment::with_loss(gradients, rules, loss),
        None => Assessment::new(gradients, rules),
    }
}

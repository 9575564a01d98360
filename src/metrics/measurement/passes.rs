//! The passes over the samples: two, and a third one where only class weights can explain the arrays.

use std::fmt;

use faer::MatRef;

use super::{
    super::{
        assessment::Assessment,
        class_ranks::ClassRanks,
        features::{FeatureAccumulator, FeatureStatistics, ScatterAccumulator, takes_batches},
        gradient::{GradientAccumulator, NetworkGradient},
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

/// Measures a network in passes over its samples, which the caller drives: every pass must show the same samples, in any
/// batches and in any order.
///
/// The first pass gathers class means and, unless K is less than a quarter of the width, the scatter within classes. The
/// second one gathers the gradients of both losses, what the network and the nearest class mean decide, and the scatter
/// where the first has not. If no loss fits and counts differ, a third one looks whether class weights explain that.
///
/// Cost: N d² or 2 N d K operations for the scatter, about 8 N d K for the rest, and 4 N d K for a third pass; memory is
/// that of the accumulators, and no sample is kept.
///
/// # Example
///
/// ```
/// use neural_collapse::{faer::{col, mat}, metrics::{LastLayers, Measuring, Step, Training}};
///
/// // Rows of numbers as frameworks have them, in two batches.
/// let batches = [([2.0_f32, 0.1, 1.9, 0.0], [0, 0]), ([-2.0, 0.1, -2.1, -0.1], [1, 1])];
/// let layers = LastLayers::new([mat![[0.5, 0.0], [-0.5, 0.0]]], Some(col![0.5, 0.5]))?;
///
/// let mut measuring = Measuring::new(layers, Training::default())?;
/// let measured = loop {
///     for (features, labels) in &batches {
///         measuring.add_rows(features, labels)?;
///     }
///     match measuring.end_pass()? {
///         Step::Pass(next) => measuring = next,
///         Step::Done(measured) => break measured,
///     }
/// };
/// assert_eq!(measured.decisions.accuracy(), Some(1.0));
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Measuring {
    layers: LastLayers,
    training: Training,
    /// Those of the caller before the first pass is over, which finds them.
    counts: Option<ClassCounts>,
    stage: Stage,
}

/// What comes after a pass.
#[derive(Clone, Debug)]
// There is one of it at a time.
#[allow(clippy::large_enum_variant)]
pub enum Step {
    /// Another pass over the same samples.
    Pass(Measuring),
    /// Nothing more is needed.
    Done(Measurement),
}

/// What a pass is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Pass {
    /// The first: class means.
    Means,
    /// The second: gradients and decisions.
    Gradients,
    /// The third: gradients with class weights.
    ClassWeights,
}

impl fmt::Display for Pass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Means => "class means",
            Self::Gradients => "gradients and nearest means",
            Self::ClassWeights => "gradients with class weights",
        })
    }
}

#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant)]
enum Stage {
    First(First),
    Second(Second),
    Third(Third),
}

#[derive(Clone, Debug)]
struct First {
    features: FeatureAccumulator,
    ranks: Option<ClassRanks>,
    /// Whether no feature has been negative; false from the start where it does not count.
    is_nonnegative: bool,
}

#[derive(Clone, Debug)]
struct Second {
    statistics: Statistics,
    ranks: Option<ClassRanks>,
    /// Gradients that follow from the statistics.
    known: Vec<NetworkGradient>,
    gradients: GradientAccumulator,
}

/// With the whole scatter after the first pass, or with that along some directions after the second.
#[derive(Clone, Debug)]
enum Statistics {
    Whole(FeatureStatistics),
    Along(ScatterAccumulator),
}

#[derive(Clone, Debug)]
struct Third {
    gathered: Gathered,
    /// Without class weights.
    gradients: Vec<NetworkGradient>,
    assessment: Assessment,
    weighted: GradientAccumulator,
}

impl First {
    fn new(layers: &LastLayers) -> Result<Self, Error> {
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

fn has_no_negative<T: Copy + Into<f64>>(features: MatRef<'_, T>) -> bool {
    features.col_iter().all(|sample| sample.iter().all(|&entry| entry.into() >= 0.0))
}

takes_batches!(Measuring);

impl Measuring {
    /// Begins the first pass.
    ///
    /// # Errors
    ///
    /// [`Error::NoClasses`] if the layers have no output; [`Error::TooLarge`].
    pub fn new(layers: LastLayers, training: Training) -> Result<Self, Error> {
        let stage = Stage::First(First::new(&layers)?);
        Ok(Self { layers, training, counts: None, stage })
    }

    /// The same for samples whose class counts are known: what is wrong with the training is said before the first pass.
    ///
    /// # Errors
    ///
    /// As [`Measuring::new`]; [`Error::PerClass`] unless there is a count for each output; [`Error::Domain`],
    /// [`Error::Decay`], [`Error::OfClass`] and others for what is said of the training.
    pub fn with_counts(layers: LastLayers, training: Training, counts: ClassCounts) -> Result<Self, Error> {
        if counts.classes() != layers.outputs() {
            let (argument, expected, found) = ("class counts", layers.outputs(), counts.classes());
            return Err(Error::PerClass { argument, expected, found });
        }
        training.given_model(&counts, &layers)?;
        training.readings(&counts, &layers, &ClassWeights::None)?;
        Ok(Self { counts: Some(counts), ..Self::new(layers, training)? })
    }

    /// The width d, and the number of classes.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        (self.layers.width(), self.layers.outputs())
    }

    /// What this pass is for.
    #[must_use]
    pub fn pass(&self) -> Pass {
        match self.stage {
            Stage::First(_) => Pass::Means,
            Stage::Second(_) => Pass::Gradients,
            Stage::Third(_) => Pass::ClassWeights,
        }
    }

    /// Adds a batch that has passed the checks of `add`.
    fn add_checked<T: Copy + Into<f64> + Sync>(&mut self, features: MatRef<'_, T>, labels: &[usize]) {
        match &mut self.stage {
            Stage::First(First { features: sums, ranks, is_nonnegative }) => {
                *is_nonnegative = *is_nonnegative && has_no_negative(features);
                if let Some(ranks) = ranks {
                    ranks.add_checked(features, labels);
                }
                sums.add_checked(features, labels);
            }
            Stage::Second(Second { statistics, gradients, .. }) => {
                if let Statistics::Along(scatter) = statistics {
                    scatter.add_checked(features, labels);
                }
                gradients.add_checked(features, labels);
            }
            Stage::Third(Third { weighted, .. }) => weighted.add_checked(features, labels),
        }
    }

    /// Ends a pass, and begins the next one if there is one.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples; [`Error::ClassCounts`], [`Error::Passes`] if passes differ in the
    /// samples of a class, or if they are not those that are known; as [`Measuring::with_counts`];
    /// [`Error::MatrixNotFinite`], [`Error::TooLarge`], [`Error::SvdDidNotConverge`].
    pub fn end_pass(self) -> Result<Step, Error> {
        let Self { layers, training, counts, stage } = self;
        match stage {
            Stage::First(first) => first.end(layers, training, counts),
            Stage::Second(second) => second.end(layers, training, counts),
            Stage::Third(third) => third.end(layers, training, counts),
        }
    }
}

impl First {
    fn end(self, layers: LastLayers, training: Training, known: Option<ClassCounts>) -> Result<Step, Error> {
        let Self { features, ranks, is_nonnegative } = self;
        let statistics = features.finish();
        let counts = statistics.class_counts()?;
        if let Some(known) = known {
            known.check_same(counts.counts())?;
        }
        // What is wrong with it is said before the next pass.
        training.given_model(&counts, &layers)?;
        let rules = NearestCenter::new(layers.product(), layers.bias(), &statistics)?;
        // Class means and the whole scatter have the gradient of squared loss, but for what a ReLU holds at zero.
        let is_known = |reading: &Ufm| {
            let is_plain = reading.loss() == Loss::Squared && reading.class_weights().is_none();
            is_plain && statistics.has_scatter() && !is_nonnegative
        };
        let readings = training.readings(&counts, &layers, &ClassWeights::None)?;
        let (known, readings): (Vec<Ufm>, Vec<Ufm>) = readings.into_iter().partition(is_known);
        let gradient = |reading: &Ufm| {
            let (weights, bias) = layers.parts();
            statistics.gradient(reading, weights, bias)
        };
        let known = known.iter().map(gradient).collect::<Result<_, _>>()?;
        let gradients = gradients(&layers, readings)?.with_decisions(rules)?;
        let statistics = if statistics.has_scatter() {
            Statistics::Whole(statistics)
        } else {
            Statistics::Along(ScatterAccumulator::new(statistics)?)
        };
        let stage = Stage::Second(Second { statistics, ranks, known, gradients });
        Ok(Step::Pass(Measuring { layers, training, counts: Some(counts), stage }))
    }
}

impl Second {
    fn end(self, layers: LastLayers, training: Training, counts: Option<ClassCounts>) -> Result<Step, Error> {
        let Self { statistics, ranks, known: mut all, gradients: pass } = self;
        let counts = counts.ok_or(Error::NoClassCounts)?;
        let statistics = match statistics {
            Statistics::Whole(statistics) => statistics,
            Statistics::Along(scatter) => scatter.finish()?,
        };
        let (others, decisions) = pass.finish_with_decisions()?;
        let Some(decisions) = decisions else { unreachable!("the pass began with decisions") };
        all.extend(others);
        let assessment = assess(&training, &all, &decisions)?;
        let class_ranks = ranks.map(ClassRanks::finish).transpose()?;
        let gathered = Gathered { statistics, decisions, class_ranks };
        // No loss fits: perhaps its samples were weighted, as `class_weight="balanced"` does.
        let is_open = assessment.fitting.is_empty() && *training.class_weights() == ClassWeights::None;
        if is_open && counts.imbalance_ratio() > 1.0 && layers.has_all() {
            let weighted = gradients(&layers, training.readings(&counts, &layers, &BALANCED)?)?;
            let stage = Stage::Third(Third { gathered, gradients: all, assessment, weighted });
            return Ok(Step::Pass(Measuring { layers, training, counts: Some(counts), stage }));
        }
        let (weights, contradictions) = (ClassWeights::None, Vec::new());
        let reading = Reading { gradients: all, assessment, weights, contradictions };
        Measurement::new((layers, training, counts), gathered, reading).map(Step::Done)
    }
}

/// The class weights that are tried.
const BALANCED: ClassWeights = ClassWeights::Inverse;

impl Third {
    fn end(self, layers: LastLayers, training: Training, counts: Option<ClassCounts>) -> Result<Step, Error> {
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
        Measurement::new((layers, training, counts), gathered, reading).map(Step::Done)
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

impl Measurement {
    /// Measures a network whose samples `stream` shows to each pass: it is called two or three times, and must add the same
    /// samples each time. Without what the caller does, as [`Measuring`] costs.
    ///
    /// # Errors
    ///
    /// Those of `stream`; as [`Measuring::new`], [`Measuring::end_pass`].
    pub fn of<E: From<Error>>(
        layers: LastLayers,
        training: Training,
        mut stream: impl FnMut(&mut Measuring) -> Result<(), E>,
    ) -> Result<Self, E> {
        let mut measuring = Measuring::new(layers, training)?;
        loop {
            stream(&mut measuring)?;
            match measuring.end_pass()? {
                Step::Pass(next) => measuring = next,
                Step::Done(measured) => return Ok(measured),
            }
        }
    }
}

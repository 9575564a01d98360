//! The passes over the samples: two, and a third one where only class weights can explain the arrays.

use std::fmt;

use faer::MatRef;

use super::{
    super::features::takes_batches,
    last_layers::LastLayers,
    result::Measurement,
    stages::{First, Gathering, Next, Second, Stage, Third, has_no_negative},
    training::Training,
};
use crate::{classes::ClassCounts, error::Error, loss::ClassWeights};

/// Measures a network in passes over its samples, which the caller drives: every pass must show the same samples, in any
/// batches and in any order.
///
/// The first pass gathers class means and, unless K is less than a quarter of the width, the scatter within classes. The
/// second one gathers the gradients of both losses, what the network and the nearest class mean decide, and the scatter
/// where the first has not. If no loss fits and counts differ, a third one looks whether class weights explain that.
///
/// Where 4 K < d and numbers have at most four bytes, products of deviations from class means are of single precision in
/// the gradients, which is no more than the samples themselves are rounded by. Decisions and scatter are not.
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
            Stage::Second(Second { gathering: Gathering::Gradients { gradients, .. }, .. }) => {
                gradients.add_checked(features, labels);
            }
            Stage::Second(Second { gathering: Gathering::Deviations(deviations), .. }) => {
                deviations.add_checked(features, labels);
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
        let known = (layers, training, counts);
        let next = match stage {
            Stage::First(first) => first.end(known)?,
            Stage::Second(second) => second.end(known)?,
            Stage::Third(third) => third.end(known)?,
        };
        Ok(match next {
            Next::Stage((layers, training, counts), stage) => Step::Pass(Self { layers, training, counts, stage }),
            Next::Done(measured) => Step::Done(measured),
        })
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

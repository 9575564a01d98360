//! Where a descent begins: at a point, or where another run has stopped.

use super::{
    journal::Journal,
    memory::Memory,
    method::{Method, StepSize},
    variables::Variables,
};
use crate::{error::Error, model::Ufm, parameters::Parameters, point::Point};

/// Where a descent begins: a start, or the state in which a run has been broken off.
///
/// [`Parameters`] and [`Point`] convert into it: a start is the state of a run that has taken no step. A run that ends at
/// its step limit or is ended by an observer gives its state as [`Run::state`](super::Run::state): point, momentum, step
/// size, memory and trajectory. From there [`Descent::minimize`](super::Descent::minimize) goes on as if the run had not
/// been broken off: point, objective, gradient norm, steps, evaluations, trajectory and stop are the same to the last bit,
/// on the same kind of processor.
///
/// The model, the method, the variables, the reduction and the rule of step sizes must be those of the run so far. Step
/// limit, tolerances, optimum and trajectory may be others.
///
/// Memory, in units of the point in the form that the descent works on: 2 for gradient descent, heavy ball and Nesterov's
/// method, 3 for Adam, 1 + 2 m for L-BFGS with m pairs; one more if steps have risen, for the best point; and the
/// trajectory. With the feature `serde` a state can be saved and read, with a version, and still goes on to the same bits.
///
/// # Example
///
/// In portions of 50 steps, between which a program can save the state, or end:
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Point, Ufm, descent::{Descent, State}};
///
/// let ufm = Ufm::new("60x2,20,5".parse::<ClassCounts>()?, [Layer::new(16, 5e-3)], 5e-3)?;
/// let start = Point::gaussian_seeded(&ufm, 1.0, 0)?;
/// let descent = Descent::default().with_optimum(ufm.minimizer()?.objective());
/// let unbroken = descent.minimize(&ufm, start.clone())?;
///
/// let mut run = descent.with_step_limit(50).minimize(&ufm, start)?;
/// while let Some(state) = run.state {
///     let limit = state.steps() + 50;
///     run = descent.with_step_limit(limit).minimize(&ufm, state)?;
/// }
/// assert_eq!(run, unbroken);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "super::saved::Read"))]
pub struct State {
    pub(super) inner: Inner,
}

#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
pub(super) enum Inner {
    Start(Point),
    UnderWay(Box<UnderWay>),
}

/// A run that has looked at a point and has not taken the next step.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(super) struct UnderWay {
    pub(super) ufm: Ufm,
    pub(super) options: Options,
    pub(super) point: Point,
    pub(super) memory: Memory,
    pub(super) journal: Journal,
    pub(super) evaluations: usize,
}

/// What two parts of one run have in common, besides the model.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(deny_unknown_fields))]
pub(crate) struct Options {
    pub(super) method: Method,
    pub(super) variables: Variables,
    pub(super) reduced: bool,
    pub(super) step_size: StepSize,
}

impl State {
    /// The steps taken so far; 0 for a start.
    #[must_use]
    pub fn steps(&self) -> usize {
        match &self.inner {
            Inner::Start(_) => 0,
            Inner::UnderWay(run) => run.journal.last.step,
        }
    }

    /// The point that the next step starts from. [`Run::point`](super::Run::point) is another one if that is lower.
    #[must_use]
    pub fn point(&self) -> &Point {
        match &self.inner {
            Inner::Start(point) => point,
            Inner::UnderWay(run) => &run.point,
        }
    }
}

impl From<Point> for State {
    fn from(start: Point) -> Self {
        Self { inner: Inner::Start(start) }
    }
}

impl From<Parameters> for State {
    fn from(start: Parameters) -> Self {
        Point::from(start).into()
    }
}

impl From<&Parameters> for State {
    fn from(start: &Parameters) -> Self {
        Point::from(start).into()
    }
}

impl From<UnderWay> for State {
    fn from(run: UnderWay) -> Self {
        Self { inner: Inner::UnderWay(Box::new(run)) }
    }
}

impl UnderWay {
    /// Whether a descent with these options on this model can go on from here.
    pub(super) fn check_belongs(&self, ufm: &Ufm, options: &Options) -> Result<(), Error> {
        // Counts, layers and shapes have errors of their own.
        self.point.check(ufm)?;
        if self.ufm != *ufm {
            return Err(other_model(ufm, &self.ufm));
        }
        let other = |what, expected, found| Err(Error::OtherState { what, expected, found });
        let found = &self.options;
        if options.method != found.method {
            other("method", format!("{:?}", options.method), format!("{:?}", found.method))
        } else if options.variables != found.variables {
            other("variables", options.variables.to_string(), found.variables.to_string())
        } else if options.reduced != found.reduced {
            other("reduction", options.reduced.to_string(), found.reduced.to_string())
        } else if options.step_size != found.step_size {
            other("step size", format!("{:?}", options.step_size), format!("{:?}", found.step_size))
        } else {
            Ok(())
        }
    }
}

/// What differs between two models of the same shape.
fn other_model(expected: &Ufm, found: &Ufm) -> Error {
    let other = |what, expected: String, found: String| Error::OtherState { what, expected, found };
    if expected.layers() != found.layers() {
        other("layers", format!("{:?}", expected.layers()), format!("{:?}", found.layers()))
    } else if expected.feature_decay() != found.feature_decay() {
        other("feature decay", format!("{:?}", expected.feature_decay()), format!("{:?}", found.feature_decay()))
    } else if expected.targets() != found.targets() {
        other("targets", "those of the model".to_owned(), "others".to_owned())
    } else {
        other("model", "this one".to_owned(), "another".to_owned())
    }
}

#[cfg(feature = "serde")]
impl UnderWay {
    /// Whether a run can have left this: its parts fit each other, and every number is one that a run can have.
    pub(super) fn check(&self) -> Result<(), Error> {
        let Self { ufm, options, point, memory, journal, evaluations } = self;
        let Options { method, step_size, reduced, .. } = *options;
        method.check()?;
        step_size.check()?;
        point.check(ufm)?;
        let has_all_samples = !point.is_reduced();
        if (reduced && !method.is_equivariant()) || (!reduced && !has_all_samples) {
            let (expected, found) = ("false".to_owned(), "true".to_owned());
            return Err(Error::OtherState { what: "reduction", expected, found });
        }
        let (model, columns) = (point.model(ufm), point.columns());
        for other in memory.points().into_iter().chain(journal.points()) {
            other.check_blocks(&model, columns)?;
            if other.classes != point.parameters.classes {
                let (expected, found) = ("those of the point".to_owned(), "others".to_owned());
                return Err(Error::OtherState { what: "class counts", expected, found });
            }
        }
        journal.check()?;
        memory.check(method, journal.last.step)?;
        // A step takes at least one evaluation, and none takes many.
        let steps = journal.last.step;
        if !(steps..=usize::MAX / 2).contains(evaluations) {
            let accepted = "at least the steps of the run";
            return Err(Error::Domain { argument: "evaluations", value: *evaluations as f64, accepted });
        }
        Ok(())
    }
}

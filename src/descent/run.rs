//! What a run shows an observer, and its result.

use super::{state::State, stop::Stop, trajectory::Record};
use crate::{error::Error, parameters::Parameters, point::Point};

/// What an observer is shown.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Progress<'a> {
    /// The point's record.
    pub record: Record,
    /// The relative gap; `None` if no optimum was given.
    pub gap: Option<f64>,
    /// The size of the step that led here; 0 at the start.
    pub step_size: f64,
    /// The columns of features that the descent works on: N, or K + min(d_1, N - K) after the reduction.
    pub columns: usize,
    pub(super) here: &'a Parameters,
    pub(super) shape: &'a Point,
}

impl Progress<'_> {
    /// The point, in the form that the descent works on. Cost: that of a copy.
    #[must_use]
    pub fn point(&self) -> Point {
        self.shape.at(self.here.clone())
    }

    /// The point, with the features of all samples. Cost: that of a copy, and 4 N d_1² operations if the descent is
    /// reduced.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the features do not fit in memory a second time.
    pub fn parameters(&self) -> Result<Parameters, Error> {
        self.point().into_parameters()
    }
}

/// The result of a descent.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Run {
    /// The last point; with steps that are not automatic, or Adam's, the best one if it is lower by more than rounding.
    pub point: Point,
    /// The objective there.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub objective: f64,
    /// The relative gap there; `None` if no optimum was given. Only rounding, about 1e-15 of f*, can make it negative.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub gap: Option<f64>,
    /// The norm of the gradient there, in the variables of the descent.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub gradient_norm: f64,
    /// Steps taken, those before the run was broken off and went on included.
    pub steps: usize,
    /// Evaluations of the objective, with or without its gradient.
    pub evaluations: usize,
    /// The columns of features that the descent worked on.
    pub columns: usize,
    /// Why it ended.
    pub stop: Stop,
    /// Objective and gradient norm from the start to the last point, as [`Descent::with_trajectory`] asks.
    ///
    /// [`Descent::with_trajectory`]: super::Descent::with_trajectory
    pub trajectory: Vec<Record>,
    /// What a descent goes on from to the same bits as an unbroken run, if more steps could bring it further
    /// ([`Stop::can_go_on`]): after a step limit and after an observer. `None` after every other end.
    pub state: Option<State>,
}

impl Run {
    /// The last point, with the features of all samples. Cost: as [`Point::into_parameters`].
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the features do not fit in memory.
    pub fn parameters(&self) -> Result<Parameters, Error> {
        self.point.clone().into_parameters()
    }
}

//! The records of a run: of all points, of every n-th, or of none.

use crate::error::Error;

/// One point of a trajectory.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Record {
    /// The number of steps taken before this point.
    pub step: usize,
    /// The objective here.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub objective: f64,
    /// The norm, in the variables of the descent, of the gradient that the next step uses. Nesterov's method takes it a
    /// little ahead of the point, except at a last point that ends the run with
    /// [`Stop::Gradient`](super::Stop::Gradient).
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub gradient_norm: f64,
}

/// Which points of a run have a record in [`Run::trajectory`](super::Run::trajectory). A record takes 24 bytes.
///
/// An observer is shown every point in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Trajectory {
    /// All points: a run of k steps has k + 1 records.
    #[default]
    All,
    /// Those after 0, n, 2 n, .. steps, and the last one: ⌈k/n⌉ + 1 records.
    Every(usize),
    /// None: the trajectory is empty.
    Off,
}

impl Trajectory {
    /// Adds the record of the point that the run has come to.
    pub(super) fn keep(self, records: &mut Vec<Record>, record: Record) {
        let stride = match self {
            Self::All => 1,
            Self::Every(stride) => stride,
            Self::Off => return,
        };
        // The one before may have been kept only because it was the last.
        if records.last().is_some_and(|before| !before.step.is_multiple_of(stride)) {
            records.pop();
        }
        records.push(record);
    }

    pub(super) fn check(self) -> Result<(), Error> {
        match self {
            Self::Every(0) => {
                Err(Error::Domain { argument: "stride of the trajectory", value: 0.0, accepted: "at least 1" })
            }
            _ => Ok(()),
        }
    }
}

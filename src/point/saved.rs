//! Points as they are read: their parts fit each other before there is a point.

use faer::Mat;
use serde::{Deserialize, Deserializer, de::Error as _};

use super::{Point, reduction::Reduction};
use crate::{
    error::Error,
    linalg::saved::check_orthonormal,
    parameters::{self, Parameters},
};

/// A point before its checks.
#[derive(Deserialize)]
#[serde(rename = "Point", deny_unknown_fields)]
pub(super) struct Read {
    parameters: parameters::Read,
    reduction: Option<Reduction>,
    #[serde(with = "crate::linalg::saved")]
    frames: Option<Vec<Mat<f64>>>,
}

impl TryFrom<Read> for Point {
    type Error = String;

    fn try_from(Read { parameters, reduction, frames }: Read) -> Result<Self, String> {
        let parameters = check_parameters(parameters, reduction.as_ref())?;
        if let Some(frames) = &frames {
            check_frames(&parameters, frames)?;
        }
        Ok(Self { parameters, reduction, frames })
    }
}

/// Reads blocks that fit each other, with any number of columns of features: that of a point which whoever reads them
/// compares them with.
pub(crate) fn read_blocks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Parameters, D::Error> {
    let read = parameters::Read::deserialize(deserializer)?;
    let columns = read.columns();
    read.check(columns).map_err(D::Error::custom)
}

fn check_parameters(read: parameters::Read, reduction: Option<&Reduction>) -> Result<Parameters, String> {
    let message = |error: Error| error.to_string();
    let Some(reduction) = reduction else { return Parameters::try_from(read).map_err(message) };
    let counts = read.class_counts().ok_or("point: reduced features need class counts")?.counts();
    reduction.classes().check_same(counts).map_err(message)?;
    let columns = read.columns();
    let parameters = read.check(columns).map_err(message)?;
    if reduction.fits(columns) {
        Ok(parameters)
    } else {
        Err(format!("point: {columns} columns of reduced features given, its reduction has another number"))
    }
}

/// Whether each layer has a frame of orthonormal columns, as many as it is wide.
fn check_frames(parameters: &Parameters, frames: &[Mat<f64>]) -> Result<(), String> {
    let (layers, found) = (parameters.weights.len(), frames.len());
    if layers != found {
        return Err(format!("point: {found} frames given for {layers} layers"));
    }
    for (l, (frame, weights)) in frames.iter().zip(&parameters.weights).enumerate() {
        if frame.ncols() != weights.ncols() {
            let (rows, cols) = frame.shape();
            return Err(format!("point: frame {l} (counted from 0) of {rows} x {cols} does not fit its layer"));
        }
        check_orthonormal(&format!("point: frame {l} (counted from 0)"), frame.as_ref())?;
    }
    Ok(())
}

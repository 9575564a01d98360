//! Parameters as they are read, before their checks.

use faer::{Col, Mat};

use super::Parameters;
use crate::{
    classes::ClassCounts,
    error::{Block, Error},
    linalg::checks::check_shape,
};

/// Parameters as they are read, before their checks.
#[derive(serde::Deserialize)]
#[serde(rename = "Parameters", deny_unknown_fields)]
pub(crate) struct Read {
    #[serde(with = "crate::linalg::saved")]
    weights: Vec<Mat<f64>>,
    #[serde(with = "crate::linalg::saved")]
    features: Mat<f64>,
    #[serde(with = "crate::linalg::saved")]
    bias: Option<Col<f64>>,
    classes: Option<ClassCounts>,
}

impl Read {
    /// Blocks that fit each other, with this many columns of features. Entries are finite since matrices are read so.
    pub(crate) fn check(self, columns: usize) -> Result<Parameters, Error> {
        let Self { weights, features, bias, classes } = self;
        let Some(last) = weights.last() else { return Err(Error::NoLayers) };
        let outputs = classes.as_ref().map_or(last.nrows(), ClassCounts::classes);
        for (l, matrix) in weights.iter().enumerate() {
            let rows = weights.get(l + 1).map_or(outputs, Mat::ncols);
            check_shape(Block::Weights(l), (rows.max(1), matrix.ncols().max(1)), matrix.shape())?;
        }
        check_shape(Block::Features, (weights[0].ncols(), columns.max(1)), features.shape())?;
        if let Some(bias) = &bias {
            check_shape(Block::Bias, (outputs, 1), (bias.nrows(), 1))?;
        }
        Ok(Parameters { weights, features, bias, classes })
    }

    pub(crate) fn columns(&self) -> usize {
        self.features.ncols()
    }

    pub(crate) fn class_counts(&self) -> Option<&ClassCounts> {
        self.classes.as_ref()
    }
}

impl TryFrom<Read> for Parameters {
    type Error = Error;

    fn try_from(read: Read) -> Result<Self, Error> {
        let samples = read.class_counts().map(|classes| usize::try_from(classes.samples()).unwrap_or(usize::MAX));
        let columns = samples.unwrap_or(read.columns());
        read.check(columns)
    }
}

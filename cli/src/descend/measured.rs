//! What is measured at a point of a descent.

use neural_collapse::{
    Error, PointRef,
    metrics::{Collapse, collapse, distance},
};

use super::optimum::Optimum;

/// A point compared with the minimizers of the closed form.
#[derive(Default)]
pub(super) struct Measured {
    pub(super) distance: Option<f64>,
    pub(super) collapse: Option<Collapse>,
}

impl Measured {
    pub(super) fn new<'a>(optimum: &Optimum, point: impl Into<PointRef<'a>>) -> Result<Self, Error> {
        let point = point.into();
        let Some(minimizer) = optimum.closed() else { return Ok(Self::default()) };
        Ok(Self { distance: distance(minimizer, point)?, collapse: Some(collapse(minimizer, point)?) })
    }

    /// Their names, as in the table and in the figure, and their colors.
    pub(super) fn lines(&self) -> [(&'static str, &'static str, Option<f64>); 5] {
        let of = |number: fn(&Collapse) -> Option<f64>| self.collapse.as_ref().and_then(number);
        [
            ("distance", "#444444", self.distance),
            ("NC1", "#cc3344", of(|collapse| collapse.nc1)),
            ("NC2 classifier", "#22aa66", of(|collapse| collapse.nc2_classifier)),
            ("NC2 features", "#88bb22", of(|collapse| collapse.nc2_features)),
            ("NC3", "#8844aa", of(|collapse| collapse.nc3)),
        ]
    }
}

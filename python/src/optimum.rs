//! The optimum of a model.

use neural_collapse::{
    Error,
    theory::{Direction, Optimum},
};
use pyo3::{prelude::*, types::PyDict};

use crate::{dict, groups::has_closed_geometry, model::Model};

/// The optimum of a model, whatever its loss.
pub(crate) fn optimum(model: &Model) -> Result<Optimum, Error> {
    let ufm = &model.ufm;
    if ufm.has_closed_form() && !has_closed_geometry(ufm) && ufm.depth() == 1 {
        return ufm.certified_minimizer().map(Optimum::from);
    }
    ufm.optimum()
}

/// What becomes of a singular value of the target, as a dictionary.
pub(crate) fn direction<'py>(py: Python<'py>, direction: &Direction) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict!(py, {
        "multiplicity": direction.multiplicity,
        "target": direction.target,
        "shrinkage": direction.shrinkage,
        "prediction": direction.prediction,
        "product": direction.product,
        "feature": direction.feature,
        "layers": &direction.layers,
        "fate": direction.fate.name(),
        "critical_scale": direction.critical_scale,
    }))
}

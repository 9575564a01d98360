//! Results as plain objects of Python: dictionaries, lists, arrays.

use neural_collapse::{
    faer::{ColRef, MatRef},
    metrics::{FrameDistances, ImpliedDecay, ImpliedDecays},
};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::{prelude::*, types::PyDict};

/// A dictionary with these entries.
#[macro_export]
macro_rules! dict {
    ($py:expr, { $($key:literal: $value:expr),* $(,)? }) => {{
        let dict = pyo3::types::PyDict::new($py);
        $(dict.set_item($key, $value)?;)*
        dict
    }};
}

/// A matrix as an array in C order.
pub(crate) fn array2<'py>(py: Python<'py>, matrix: MatRef<'_, f64>) -> PyResult<Bound<'py, PyArray2<f64>>> {
    let numbers = matrix.row_iter().flat_map(|row| row.iter().copied()).collect();
    PyArray1::from_vec(py, numbers).reshape([matrix.nrows(), matrix.ncols()])
}

pub(crate) fn array1<'py>(py: Python<'py>, column: ColRef<'_, f64>) -> Bound<'py, PyArray1<f64>> {
    PyArray1::from_vec(py, column.iter().copied().collect())
}

/// Counts, which are below 2^53, as the integers that NumPy prefers.
pub(crate) fn counts<'py>(py: Python<'py>, counts: &[u64]) -> Bound<'py, PyArray1<i64>> {
    PyArray1::from_vec(py, counts.iter().map(|count| count.cast_signed()).collect())
}

/// Implied decays, with a list for the layers: empty if only their product is known, which implies nothing about each.
pub(crate) fn decays<'py>(py: Python<'py>, implied: &ImpliedDecays, has_all: bool) -> PyResult<Bound<'py, PyDict>> {
    let decay = |implied: &Option<ImpliedDecay>| implied.map(|implied| implied.decay);
    let misfit = |implied: &Option<ImpliedDecay>| implied.map(|implied| implied.misfit);
    let layers: &[Option<ImpliedDecay>] = if has_all { &implied.layers } else { &[] };
    Ok(dict!(py, {
        "layer_decay": layers.iter().map(decay).collect::<Vec<_>>(),
        "layer_misfit": layers.iter().map(misfit).collect::<Vec<_>>(),
        "feature_decay": decay(&implied.features),
        "feature_misfit": misfit(&implied.features),
        "bias_decay": decay(&implied.bias),
        "bias_misfit": misfit(&implied.bias),
    }))
}

pub(crate) fn frame<'py>(py: Python<'py>, distances: &FrameDistances) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict!(py, {
        "equinorm": distances.equinorm,
        "equiangularity": distances.equiangularity,
        "maximal_angle": distances.maximal_angle,
        "simplex": distances.simplex,
        "orthogonal": distances.orthogonal,
    }))
}

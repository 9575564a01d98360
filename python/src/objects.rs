//! Objects of Python as arrays: which of them are tensors, and whether all of their numbers are there.

use pyo3::{exceptions::PyValueError, intern, prelude::*, types::PyString};

use crate::{errors::refuse, keywords::wrong_type};

/// A tensor without its history; anything else as it is, or as NumPy makes an array of it. Refuses arrays whose numbers
/// are not all there.
pub(crate) fn plain_array<'py>(what: &str, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    if is_tensor(object)? {
        check_storage(what, object)?;
        let mut tensor = object.call_method0(intern!(py, "detach"))?;
        // Marks on a tensor that DLPack does not carry over: its numbers have another sign in memory.
        for resolve in [intern!(py, "resolve_conj"), intern!(py, "resolve_neg")] {
            if tensor.hasattr(resolve)? {
                tensor = tensor.call_method0(resolve)?;
            }
        }
        return Ok(tensor);
    }
    if object.hasattr(intern!(py, "shape"))? && object.hasattr(intern!(py, "dtype"))? {
        check_mask(what, object)?;
        return Ok(object.clone());
    }
    if object.is_none() || object.is_instance_of::<PyString>() {
        return Err(wrong_type(what, object, "an array, or lists of numbers"));
    }
    numpy(py)?.call_method1(intern!(py, "asarray"), (object,)).map_err(|error| {
        let is_ragged = error.is_instance_of::<PyValueError>(py);
        if is_ragged { refuse(format!("{what}: NumPy makes no array of this: {}", error.value(py))) } else { error }
    })
}

/// Refuses tensors without a number in memory for each entry.
fn check_storage(what: &str, tensor: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = tensor.py();
    if tensor.hasattr(intern!(py, "layout"))? {
        let layout = tensor.getattr(intern!(py, "layout"))?.str()?.to_string();
        if layout != "torch.strided" {
            return Err(refuse(format!(
                "{what}: a tensor of layout {layout} given, dense tensors are accepted: take its `to_dense()`"
            )));
        }
    }
    if tensor.hasattr(intern!(py, "is_meta"))? && tensor.getattr(intern!(py, "is_meta"))?.is_truthy()? {
        return Err(refuse(format!("{what}: a tensor on the device meta given, which has a shape but no numbers")));
    }
    Ok(())
}

/// Refuses arrays of `numpy.ma` of which entries are masked: below a mask there can be any number.
fn check_mask(what: &str, array: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = array.py();
    if !array.hasattr(intern!(py, "mask"))? || !array.hasattr(intern!(py, "filled"))? {
        return Ok(());
    }
    let masks = numpy(py)?.getattr(intern!(py, "ma"))?.call_method1(intern!(py, "getmaskarray"), (array,))?;
    let masked: usize = masks.call_method0(intern!(py, "sum"))?.extract()?;
    if masked == 0 {
        return Ok(());
    }
    Err(refuse(format!(
        "{what}: an array with {masked} masked entries given, arrays without masked entries are accepted: leave these \
         samples out, or fill them"
    )))
}

pub(crate) fn is_tensor(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = object.py();
    Ok(object.hasattr(intern!(py, "detach"))? && object.hasattr(intern!(py, "cpu"))?)
}

pub(crate) fn numpy(py: Python<'_>) -> PyResult<Bound<'_, PyModule>> {
    py.import(intern!(py, "numpy"))
}

//! Objects of Python as arrays: which of them are tensors, and whether all of their numbers are there.

use numpy::{PyArrayDescrMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    intern,
    prelude::*,
    types::PyString,
};

use crate::{errors::refuse, keywords::wrong_type};

pub(crate) const ACCEPTED: &str = "an array, or lists of numbers";
const IN_MEMORY: &str = "arrays in memory and tensors of PyTorch";

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
    check_device(what, object)?;
    check_dense(what, object)?;
    if object.hasattr(intern!(py, "shape"))? && object.hasattr(intern!(py, "dtype"))? {
        check_mask(what, object)?;
        return Ok(object.clone());
    }
    if object.is_none() || object.is_instance_of::<PyString>() {
        return Err(wrong_type(what, object, ACCEPTED));
    }
    shared(what, object)
}

/// An array of NumPy, which shares its memory with the object if it can.
pub(crate) fn shared<'py>(what: &str, object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    let numpy = numpy(py)?;
    if !object.is_instance_of::<PyUntypedArray>() && object.hasattr(intern!(py, "__dlpack__"))? {
        // NumPy has it from 1.22 on; what it does not take as it is, `asarray` does.
        if let Ok(array) = numpy.call_method1(intern!(py, "from_dlpack"), (object,)) {
            return Ok(array);
        }
    }
    let array = numpy.call_method1(intern!(py, "asarray"), (object,)).map_err(|error| {
        let text = || format!("{what}: NumPy makes no array of this: {}", error.value(py));
        if error.is_instance_of::<PyValueError>(py) {
            refuse(text())
        } else if error.is_instance_of::<PyTypeError>(py) {
            // As arrays on a device have it, which are not copied by chance.
            PyTypeError::new_err(format!("{}; accepted: {IN_MEMORY}", text()))
        } else {
            error
        }
    })?;
    // Of an object that it knows nothing of, NumPy makes an array of this one object.
    let is_unknown =
        array.cast::<PyUntypedArray>().is_ok_and(|array| array.ndim() == 0 && array.dtype().kind() == b'O');
    if is_unknown { Err(wrong_type(what, object, ACCEPTED)) } else { Ok(array) }
}

/// Whether the processor can read the memory of an array: what kind of device it is on, by DLPack, if not.
fn device(object: &Bound<'_, PyAny>) -> PyResult<Option<i64>> {
    let py = object.py();
    if object.is_instance_of::<PyUntypedArray>() || !object.hasattr(intern!(py, "__dlpack_device__"))? {
        return Ok(None);
    }
    let (kind, _): (i64, i64) = object.call_method0(intern!(py, "__dlpack_device__"))?.extract()?;
    // Memory of the processor, pinned or not.
    Ok(Some(kind).filter(|kind| !matches!(kind, 1 | 3)))
}

pub(crate) fn is_on_host(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(device(object)?.is_none())
}

/// Refuses arrays on a device that nothing copies from there.
fn check_device(what: &str, object: &Bound<'_, PyAny>) -> PyResult<()> {
    let Some(kind) = device(object)? else { return Ok(()) };
    Err(refuse(format!(
        "{what}: an array on a device (DLPack's type {kind}) that has no method `cpu` given, accepted are {IN_MEMORY}: copy \
         it first"
    )))
}

/// Refuses sparse arrays, of SciPy and others.
fn check_dense(what: &str, object: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = object.py();
    if object.is_instance_of::<PyUntypedArray>() || !object.hasattr(intern!(py, "nnz"))? {
        return Ok(());
    }
    for dense in ["toarray", "todense"] {
        if object.hasattr(dense)? {
            let name = object.get_type().name()?;
            return Err(refuse(format!(
                "{what}: a sparse array of type {name} given, dense arrays are accepted: take its `{dense}()`"
            )));
        }
    }
    Ok(())
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

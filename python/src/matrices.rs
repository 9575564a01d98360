//! Small arrays that are copied: layers, biases, class counts, class weights.

use neural_collapse::{
    ClassCounts, ClassWeights, Error,
    faer::{Col, Mat},
};
use numpy::{PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::{
    intern,
    prelude::*,
    types::{PyBool, PyString},
};

use crate::{
    errors::{refuse, refused},
    keywords::wrong_type,
    objects::{is_tensor, plain_array, shared},
};

/// Any array of real numbers as float64 of NumPy.
fn doubles<'py>(what: &str, object: &Bound<'py, PyAny>) -> PyResult<PyReadonlyArrayDyn<'py, f64>> {
    let py = object.py();
    let mut object = plain_array(what, object)?;
    if is_tensor(&object)? {
        // NumPy has no bfloat16.
        object = object.call_method0(intern!(py, "double"))?.call_method0(intern!(py, "cpu"))?;
    }
    let array = shared(what, &object)?;
    let dtype = array.getattr(intern!(py, "dtype"))?;
    let kind: String = dtype.getattr(intern!(py, "kind"))?.extract()?;
    if matches!(kind.as_str(), "O" | "c" | "U" | "S" | "M" | "m") {
        return Err(refuse(format!("{what}: dtype {dtype} given, accepted are real numbers")));
    }
    let array = array.call_method1(intern!(py, "astype"), ("float64",))?;
    array.cast::<PyArrayDyn<f64>>()?.try_readonly().map_err(|error| refuse(format!("{what}: {error}")))
}

/// A matrix, (out, in) as frameworks have layers. Sides of 1 after the second are left out, as of a 1 x 1 convolution.
pub(crate) fn matrix(what: &str, object: &Bound<'_, PyAny>) -> PyResult<Mat<f64>> {
    let array = doubles(what, object)?;
    let (rows, cols) = match *array.shape() {
        [rows, cols, ref rest @ ..] if rest.iter().all(|side| *side == 1) => (rows, cols),
        ref shape => return Err(refuse(format!("{what}: shape {shape:?} given, a matrix is needed, (out, in)"))),
    };
    let view = array.as_array();
    let mut numbers = view.iter().copied();
    let mut matrix = Mat::zeros(rows, cols);
    for i in 0..rows {
        for j in 0..cols {
            matrix[(i, j)] = numbers.next().unwrap_or_default();
        }
    }
    for i in 0..rows {
        if let Some(j) = (0..cols).find(|&j| !matrix[(i, j)].is_finite()) {
            let value = matrix[(i, j)];
            return Err(refuse(format!("{what}: entry ({i}, {j}) is {value:?}, finite numbers are needed")));
        }
    }
    Ok(matrix)
}

/// A list of numbers.
pub(crate) fn vector(what: &str, object: &Bound<'_, PyAny>) -> PyResult<Vec<f64>> {
    let array = doubles(what, object)?;
    if array.shape().iter().filter(|side| **side != 1).count() > 1 {
        return Err(refuse(format!("{what}: shape {:?} given, a list of numbers is needed", array.shape())));
    }
    Ok(array.as_array().iter().copied().collect())
}

/// A number, or one for each layer.
pub(crate) fn one_or_more(what: &str, object: &Bound<'_, PyAny>) -> PyResult<Vec<f64>> {
    let accepted = "a number, or one for each layer";
    if object.is_none() || object.is_instance_of::<PyString>() || object.is_instance_of::<PyBool>() {
        return Err(wrong_type(what, object, accepted));
    }
    let values = vector(what, object)?;
    if values.is_empty() {
        return Err(refuse(format!("{what}: an empty list given, accepted: {accepted}")));
    }
    Ok(values)
}

/// A bias of one number for each output.
pub(crate) fn bias(values: &[f64], outputs: usize) -> PyResult<Col<f64>> {
    if values.len() != outputs {
        return Err(refuse(format!("bias: {} numbers given, the last layer has {outputs} outputs", values.len())));
    }
    if let Some(k) = values.iter().position(|value| !value.is_finite()) {
        return Err(refuse(format!("bias: entry {k} is {:?}, finite numbers are needed", values[k])));
    }
    Ok(Col::from_fn(outputs, |k| values[k]))
}

/// One layer, or a list of layers, W_1 first.
pub(crate) fn layers(object: &Bound<'_, PyAny>) -> PyResult<Vec<Mat<f64>>> {
    if object.is_none() || object.is_instance_of::<PyString>() {
        return Err(wrong_type("weights", object, "an array (K, d), or a list of the layers"));
    }
    let layers = if object.is_instance_of::<pyo3::types::PyList>() || object.is_instance_of::<pyo3::types::PyTuple>() {
        let first_is_row =
            object.get_item(0).and_then(|row| row.get_item(0)).is_ok_and(|entry| entry.extract::<f64>().is_ok());
        if first_is_row && !object.get_item(0)?.hasattr("shape")? {
            // Rows of one layer, as lists.
            vec![matrix("weights", object)?]
        } else {
            let all = object.try_iter()?.enumerate();
            all.map(|(l, layer)| matrix(&format!("weights of layer {}", l + 1), &layer?)).collect::<PyResult<_>>()?
        }
    } else {
        vec![matrix("weights", object)?]
    };
    for l in 1..layers.len() {
        let ((writes, _), (rows, reads)) = (layers[l - 1].shape(), layers[l].shape());
        if writes != reads {
            return Err(refuse(format!(
                "weights of layer {}: a layer of {rows} x {reads} reads {reads} numbers, but layer {l} writes {writes}; \
                 layers are (out, in), the first one first",
                l + 1
            )));
        }
    }
    if layers.is_empty() {
        return Err(refuse("weights: an empty list given, at least one layer is needed"));
    }
    Ok(layers)
}

/// Class counts: a list, an array, or text such as `500,600x5,20`.
pub(crate) fn counts(object: &Bound<'_, PyAny>) -> PyResult<ClassCounts> {
    let py = object.py();
    if let Ok(text) = object.cast::<PyString>() {
        return text.to_cow()?.parse().map_err(of_counts);
    }
    let is_array = object.hasattr(intern!(py, "dtype"))? || object.hasattr(intern!(py, "__dlpack__"))?;
    if !is_array && object.len().is_err() {
        return Err(wrong_type("counts", object, "a list, an array, or text such as 500,600x2"));
    }
    let mut object = plain_array("counts", object)?;
    if is_tensor(&object)? {
        object = object.call_method0(intern!(py, "cpu"))?;
    }
    let array = shared("counts", &object)?;
    let dtype = array.getattr(intern!(py, "dtype"))?;
    let kind: String = dtype.getattr(intern!(py, "kind"))?.extract()?;
    let shape: Vec<usize> = array.getattr(intern!(py, "shape"))?.extract()?;
    if shape.len() != 1 {
        return Err(refuse(format!("counts: shape {shape:?} given, a list of whole numbers is needed")));
    }
    if !matches!(kind.as_str(), "i" | "u") && shape[0] > 0 {
        let hint = if kind == "f" { ": take `counts.astype(int)`, or `int` of each" } else { "" };
        return Err(refuse(format!("counts: dtype {dtype} given, a list of whole numbers is needed{hint}")));
    }
    let all: Vec<i128> = array.call_method0(intern!(py, "tolist"))?.extract()?;
    let count = |(class, count): (usize, i128)| {
        u64::try_from(count).map_err(|_| {
            refuse(format!("counts: class {class} (counted from 0) has {count} samples, at least 1 is needed"))
        })
    };
    let all = all.into_iter().enumerate().map(count).collect::<PyResult<Vec<u64>>>()?;
    ClassCounts::new(all).map_err(of_counts)
}

/// The error of class counts that the caller has given as `counts`.
fn of_counts(error: Error) -> PyErr {
    refuse(error.to_string().replacen("class counts:", "counts:", 1))
}

/// Class weights: a rule such as `inverse-root`, or one number for each class.
pub(crate) fn class_weights(object: Option<&Bound<'_, PyAny>>) -> PyResult<ClassWeights> {
    let Some(object) = object else { return Ok(ClassWeights::None) };
    if let Ok(text) = object.cast::<PyString>() {
        return text.to_cow()?.parse().map_err(refused);
    }
    vector("class_weights", object).map(ClassWeights::Given)
}

//! Labels: integers of any type, one for each sample.

use numpy::{PyArray1, PyArrayMethods, PyReadonlyArray1};
use pyo3::{intern, prelude::*};

use crate::{
    errors::refuse,
    objects::{is_tensor, numpy, plain_array, shared},
};

/// Class numbers in memory.
#[derive(Debug)]
pub(crate) enum Labels<'py> {
    Signed(PyReadonlyArray1<'py, i64>),
    /// Of 64 bits: all others fit in the signed ones.
    Unsigned(PyReadonlyArray1<'py, u64>),
}

/// What is done with labels of either type.
#[macro_export]
macro_rules! with_labels {
    ($labels:expr, $slice:ident => $work:expr) => {
        match $labels {
            $crate::labels::Slice::Signed($slice) => $work,
            $crate::labels::Slice::Unsigned($slice) => $work,
        }
    };
}

/// Labels of some samples.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Slice<'a> {
    Signed(&'a [i64]),
    Unsigned(&'a [u64]),
}

impl Slice<'_> {
    pub(crate) fn contains(self, class: u8) -> bool {
        match self {
            Self::Signed(labels) => labels.contains(&class.into()),
            Self::Unsigned(labels) => labels.contains(&class.into()),
        }
    }

    pub(crate) fn range(self, start: usize, length: usize) -> Self {
        match self {
            Self::Signed(labels) => Self::Signed(&labels[start..start + length]),
            Self::Unsigned(labels) => Self::Unsigned(&labels[start..start + length]),
        }
    }
}

impl<'py> Labels<'py> {
    pub(crate) fn new(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let mut object = plain_array("labels", object)?;
        if is_tensor(&object)? {
            object = object.call_method0(intern!(py, "cpu"))?;
        }
        let numpy = numpy(py)?;
        let array = shared("labels", &object)?;
        let shape: Vec<usize> = array.getattr(intern!(py, "shape"))?.extract()?;
        let long = shape.iter().filter(|side| **side != 1).count();
        if shape.is_empty() || long > 1 {
            return Err(refuse(format!(
                "labels: shape {shape:?} given, one label for each sample is needed; of one-hot rows or scores take the \
                 argmax"
            )));
        }
        let dtype = array.getattr(intern!(py, "dtype"))?;
        let kind: String = dtype.getattr(intern!(py, "kind"))?.extract()?;
        // An empty list is one of floats.
        let is_empty = shape.contains(&0);
        if !matches!(kind.as_str(), "i" | "u" | "b") && !is_empty {
            return Err(refuse(format!("labels: dtype {dtype} given, accepted are integers of any type")));
        }
        let item: usize = dtype.getattr(intern!(py, "itemsize"))?.extract()?;
        let target = if kind == "u" && item == 8 { "uint64" } else { "int64" };
        let flat = array.call_method1(intern!(py, "reshape"), (-1,))?;
        let flat = numpy.call_method1(intern!(py, "require"), (flat, target, ["C_CONTIGUOUS", "ALIGNED"]))?;
        let shared = |error: numpy::BorrowError| refuse(format!("labels: {error}"));
        if target == "uint64" {
            return Ok(Self::Unsigned(flat.cast::<PyArray1<u64>>()?.try_readonly().map_err(shared)?));
        }
        Ok(Self::Signed(flat.cast::<PyArray1<i64>>()?.try_readonly().map_err(shared)?))
    }

    pub(crate) fn slice(&self) -> PyResult<Slice<'_>> {
        let contiguous = |error: numpy::AsSliceError| refuse(format!("labels: {error}"));
        Ok(match self {
            Self::Signed(labels) => Slice::Signed(labels.as_slice().map_err(contiguous)?),
            Self::Unsigned(labels) => Slice::Unsigned(labels.as_slice().map_err(contiguous)?),
        })
    }

    pub(crate) fn len(&self) -> PyResult<usize> {
        Ok(match self.slice()? {
            Slice::Signed(labels) => labels.len(),
            Slice::Unsigned(labels) => labels.len(),
        })
    }
}

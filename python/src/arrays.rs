//! Features as arrays of NumPy, PyTorch and others have them: float32 and float64 in C or Fortran order are read where
//! they lie, everything else is copied in chunks.
//!
//! PyTorch is never imported. A tensor is what has `detach` and `cpu`; it comes by DLPack, or by `__array__`.

use neural_collapse::{Error, faer::MatRef};
use numpy::{PyArray2, PyArrayMethods, PyReadonlyArray2, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::{exceptions::PyTypeError, intern, prelude::*, types::PyTuple};

use crate::{
    errors::{refuse, refused_at},
    keywords::wrong_type,
    labels::Slice,
    objects::{ACCEPTED, is_on_host, is_tensor, numpy, plain_array, shared},
    threads::detached,
};

/// Numbers of a chunk that is copied.
const CHUNK: usize = 1 << 24;

/// Features with a row for each sample.
#[derive(Debug)]
pub(crate) struct Features<'py> {
    source: Source<'py>,
    pub(crate) samples: usize,
    pub(crate) width: usize,
}

#[derive(Debug)]
enum Source<'py> {
    Single(PyReadonlyArray2<'py, f32>),
    Double(PyReadonlyArray2<'py, f64>),
    /// Anything whose rows can be sliced.
    Copied(Bound<'py, PyAny>),
}

/// Rows of features as the library takes them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Batch<'a> {
    Single(MatRef<'a, f32>),
    Double(MatRef<'a, f64>),
}

/// A number of samples, and what is done with a batch of them.
#[macro_export]
macro_rules! with_rows {
    ($batch:expr, $rows:ident => $work:expr) => {
        match $batch {
            $crate::arrays::Batch::Single($rows) => $work,
            $crate::arrays::Batch::Double($rows) => $work,
        }
    };
}

impl<'py> Features<'py> {
    /// Looks at an object without copying it.
    pub(crate) fn new(object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let object = squeezed(&plain_array("features", object)?)?;
        let (samples, width): (usize, usize) = object.getattr(intern!(object.py(), "shape"))?.extract()?;
        let source = match in_memory(&object)? {
            Some(array) => Source::of(&array)?,
            None => Source::Copied(object),
        };
        Ok(Self { source, samples, width })
    }

    /// Whether everything is read where it lies.
    pub(crate) fn is_in_memory(&self) -> bool {
        !matches!(self.source, Source::Copied(_))
    }

    /// Rows that are copied at a time.
    pub(crate) fn chunk(&self) -> usize {
        (CHUNK / self.width.max(1)).max(1)
    }

    /// Refuses another number of labels, or another width.
    pub(crate) fn check_shape(&self, samples: usize, width: usize) -> PyResult<()> {
        if self.samples != samples {
            return Err(refuse(format!("labels: {samples} given, the features have {} rows", self.samples)));
        }
        if self.width != width {
            let transposed = if self.samples == width { ": is it the transpose?" } else { "" };
            return Err(refuse(format!(
                "shape of features: {} x {} given, {samples} x {width} is needed, a row for each sample{transposed}",
                self.samples, self.width
            )));
        }
        Ok(())
    }

    /// Shows `work` all rows, which have these labels, in batches of `size`, in the pool, without the lock of the
    /// interpreter. It is told where each batch begins. Ctrl-C ends it between two batches.
    pub(crate) fn batches(
        &self,
        py: Python<'py>,
        size: usize,
        labels: Slice<'_>,
        mut work: impl FnMut(usize, Batch<'_>) -> Result<(), Error> + Send,
    ) -> PyResult<()> {
        let mut start = 0_usize;
        loop {
            let end = self.samples.min(start.saturating_add(size));
            self.rows(py, start, end, |batch| work(start, batch))?.map_err(|error| refused_at(start, error, labels))?;
            start = end;
            if start >= self.samples {
                return Ok(());
            }
            py.check_signals()?;
        }
    }

    /// Shows `work` the rows from `start` to `end`.
    fn rows(
        &self,
        py: Python<'py>,
        start: usize,
        end: usize,
        work: impl FnOnce(Batch<'_>) -> Result<(), Error> + Send,
    ) -> PyResult<Result<(), Error>> {
        match &self.source {
            Source::Single(array) => {
                let rows = view(array)?.subrows(start, end - start);
                detached(py, move || work(Batch::Single(rows)))
            }
            Source::Double(array) => {
                let rows = view(array)?.subrows(start, end - start);
                detached(py, move || work(Batch::Double(rows)))
            }
            Source::Copied(object) => {
                let slice = pyo3::types::PySlice::new(py, start.cast_signed(), end.cast_signed(), 1);
                let chunk = object.get_item(slice).map_err(|error| {
                    let has_none = error.is_instance_of::<PyTypeError>(py);
                    if has_none { wrong_type("features", object, ACCEPTED) } else { error }
                })?;
                let copy = Source::of(&copied(&chunk)?)?;
                Self { source: copy, samples: end - start, width: self.width }.rows(py, 0, end - start, work)
            }
        }
    }
}

impl<'py> Source<'py> {
    /// A contiguous array of NumPy of one of the two types.
    fn of(array: &Bound<'py, PyAny>) -> PyResult<Self> {
        if let Ok(single) = array.cast::<PyArray2<f32>>() {
            return Ok(Self::Single(single.try_readonly().map_err(|error| refuse(format!("features: {error}")))?));
        }
        let double = array.cast::<PyArray2<f64>>()?;
        Ok(Self::Double(double.try_readonly().map_err(|error| refuse(format!("features: {error}")))?))
    }
}

/// A contiguous array as a matrix of one row for each sample.
fn view<'a, T: numpy::Element>(array: &'a PyReadonlyArray2<'_, T>) -> PyResult<MatRef<'a, T>> {
    let [rows, cols] = [array.shape()[0], array.shape()[1]];
    let numbers = array.as_slice().map_err(|error| refuse(format!("features: {error}")))?;
    Ok(if array.is_c_contiguous() {
        MatRef::from_row_major_slice(numbers, rows, cols)
    } else {
        MatRef::from_column_major_slice(numbers, rows, cols)
    })
}

/// N x C x 1 x 1 as N x C.
fn squeezed<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    let shape: Vec<usize> = object.getattr(intern!(py, "shape"))?.extract()?;
    match shape[..] {
        [_, _] => Ok(object.clone()),
        [rows, cols, ref rest @ ..] if rest.iter().all(|side| *side == 1) => {
            object.call_method1(intern!(py, "reshape"), (PyTuple::new(py, [rows, cols])?,))
        }
        [_, _, ..] => Err(refuse(format!(
            "features: shape {shape:?} given, accepted are (samples, width) and (samples, width, 1, 1): take the mean over \
             the places of an image first"
        ))),
        _ => Err(refuse(format!("features: shape {shape:?} given, accepted is (samples, width)"))),
    }
}

/// A contiguous array of NumPy of float32 or float64, if the object is one or shares its memory with one.
fn in_memory<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = object.py();
    check_type(object)?;
    if !is_on_host(object)? {
        return Ok(None);
    }
    let name = object.getattr(intern!(py, "dtype"))?.str()?.to_string();
    if !matches!(name.trim_start_matches("torch."), "float32" | "float64") {
        return Ok(None);
    }
    let array = shared("features", object)?;
    let Ok(untyped) = array.cast::<PyUntypedArray>() else { return Ok(None) };
    // What is not contiguous, or is in the other order of bytes, is copied in chunks.
    let is_typed = array.cast::<PyArray2<f32>>().is_ok() || array.cast::<PyArray2<f64>>().is_ok();
    let is_aligned: bool = array.getattr(intern!(py, "flags"))?.get_item(intern!(py, "ALIGNED"))?.extract()?;
    Ok((is_typed && is_aligned && untyped.is_contiguous()).then_some(array))
}

/// Refuses numbers that are not real.
fn check_type(object: &Bound<'_, PyAny>) -> PyResult<()> {
    let dtype = object.getattr(intern!(object.py(), "dtype"))?;
    let name = dtype.str()?.to_string();
    let plain = name.trim_start_matches("torch.");
    let is_real = ["float", "bfloat", "int", "uint", "bool", ">f", "<f", ">i", "<i", ">u", "<u", "half", "longdouble"]
        .iter()
        .any(|kind| plain.starts_with(kind));
    if is_real { Ok(()) } else { Err(refuse(format!("features: dtype {name} given, accepted are real numbers"))) }
}

/// A chunk as a contiguous array of NumPy of float32 or float64.
fn copied<'py>(chunk: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = chunk.py();
    let mut chunk = chunk.clone();
    let name = chunk.getattr(intern!(py, "dtype"))?.str()?.to_string();
    let plain = name.trim_start_matches("torch.");
    // What has 16 bits and fewer is exact in 32.
    let is_short = ["float16", "bfloat16", "float8"].iter().any(|kind| plain.starts_with(kind));
    let target = if is_short || plain.ends_with("float32") || plain.ends_with("f4") { "float32" } else { "float64" };
    if is_tensor(&chunk)? {
        if is_short {
            chunk = chunk.call_method0(intern!(py, "float"))?;
        }
        chunk = chunk.call_method0(intern!(py, "cpu"))?;
    }
    let numpy = numpy(py)?;
    let array = shared("features", &chunk)?;
    numpy.call_method1(intern!(py, "require"), (array, target, ["C_CONTIGUOUS", "ALIGNED"]))
}

//! Arguments of Python as numbers, words and switches. A wrong type is a `TypeError`, a wrong value a `ValueError`; both
//! name the keyword, what was given, and what is accepted.

use std::{fmt::Display, ops::RangeInclusive};

use pyo3::{
    exceptions::{PyOverflowError, PyTypeError},
    intern,
    prelude::*,
    types::{PyBool, PyDict, PyFloat, PyString},
};

use crate::errors::refuse;

/// Whole numbers of any size.
pub(crate) const ANY: RangeInclusive<u64> = 0..=u64::MAX;
/// Whole numbers from 1 on.
pub(crate) const POSITIVE: RangeInclusive<u64> = 1..=u64::MAX;
/// Characters of an argument that a message repeats.
const LONGEST: usize = 60;

/// The keywords of a call, by their names in Python. A keyword that is not there counts as `None`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Keywords<'a, 'py>(&'a Bound<'py, PyDict>);

impl<'a, 'py> Keywords<'a, 'py> {
    pub(crate) fn new(object: &'a Bound<'py, PyAny>) -> PyResult<Self> {
        object.cast().map(Self).map_err(|_| wrong_type("keywords", object, "a dictionary of the keywords of a call"))
    }

    pub(crate) fn copy(self) -> PyResult<Bound<'py, PyDict>> {
        self.0.copy()
    }

    /// The argument, unless it is `None`.
    pub(crate) fn given(self, keyword: &str) -> PyResult<Option<Bound<'py, PyAny>>> {
        Ok(self.0.get_item(keyword)?.filter(|value| !value.is_none()))
    }

    pub(crate) fn needed(self, keyword: &str, accepted: &str) -> PyResult<Bound<'py, PyAny>> {
        let missing = || PyTypeError::new_err(format!("{keyword}: None given, accepted: {accepted}"));
        self.given(keyword)?.ok_or_else(missing)
    }

    pub(crate) fn whole(self, keyword: &str, range: RangeInclusive<u64>) -> PyResult<u64> {
        whole(keyword, &self.needed(keyword, &whole_numbers(&range))?, range)
    }

    pub(crate) fn size(self, keyword: &str, range: RangeInclusive<u64>) -> PyResult<usize> {
        size(keyword, &self.needed(keyword, &whole_numbers(&range))?, range)
    }

    pub(crate) fn size_if_given(self, keyword: &str, range: RangeInclusive<u64>) -> PyResult<Option<usize>> {
        self.given(keyword)?.map(|value| size(keyword, &value, range)).transpose()
    }

    pub(crate) fn real(self, keyword: &str) -> PyResult<f64> {
        real(keyword, &self.needed(keyword, "a number")?)
    }

    pub(crate) fn real_if_given(self, keyword: &str) -> PyResult<Option<f64>> {
        self.given(keyword)?.map(|value| real(keyword, &value)).transpose()
    }

    /// A finite number that is not negative.
    pub(crate) fn size_of_penalty(self, keyword: &str) -> PyResult<Option<f64>> {
        match self.real_if_given(keyword)? {
            Some(value) if !(value >= 0.0 && value.is_finite()) => {
                Err(refuse(format!("{keyword}: {value:?} given, finite numbers from 0 on are accepted")))
            }
            value => Ok(value),
        }
    }

    pub(crate) fn flag(self, keyword: &str) -> PyResult<bool> {
        flag(keyword, &self.needed(keyword, "True or False")?)
    }

    /// A word, of which `accepted` are the ones that are.
    pub(crate) fn word(self, keyword: &str, accepted: &str) -> PyResult<String> {
        word(keyword, &self.needed(keyword, accepted)?, accepted)
    }

    pub(crate) fn word_if_given(self, keyword: &str, accepted: &str) -> PyResult<Option<String>> {
        self.given(keyword)?.map(|value| word(keyword, &value, accepted)).transpose()
    }
}

/// The `TypeError` of an argument.
pub(crate) fn wrong_type(keyword: &str, value: &Bound<'_, PyAny>, accepted: impl Display) -> PyErr {
    PyTypeError::new_err(format!("{keyword}: {} given, accepted: {accepted}", shown(value)))
}

/// An argument as a message repeats it, with its type.
fn shown(value: &Bound<'_, PyAny>) -> String {
    if value.is_none() {
        return "None".into();
    }
    let name = value.get_type().name().map_or_else(|_| "?".into(), |name| name.to_string());
    match value.repr().map(|text| text.to_string()) {
        Ok(text) if text.chars().count() <= LONGEST && !text.contains('\n') => format!("{text} ({name})"),
        _ => format!("an object of type {name}"),
    }
}

fn whole_numbers(range: &RangeInclusive<u64>) -> String {
    match (*range.start(), *range.end()) {
        (0, u64::MAX) => "a whole number".into(),
        (low, u64::MAX) => format!("a whole number from {low} on"),
        (low, high) => format!("a whole number from {low} to {high}"),
    }
}

/// True or False of Python or NumPy, which count as numbers elsewhere.
fn is_flag(value: &Bound<'_, PyAny>) -> bool {
    let of_numpy = || matches!(value.get_type().name(), Ok(name) if name == "bool_" || name == "bool");
    value.is_instance_of::<PyBool>() || of_numpy()
}

pub(crate) fn whole(keyword: &str, value: &Bound<'_, PyAny>, range: RangeInclusive<u64>) -> PyResult<u64> {
    let wrong = || wrong_type(keyword, value, whole_numbers(&range));
    if is_flag(value) {
        return Err(wrong());
    }
    let index = value.call_method0(intern!(value.py(), "__index__")).map_err(|_| wrong())?;
    let number = index.extract::<u64>().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| {
        let (low, high) = (*range.start(), *range.end());
        let accepted = match high {
            u64::MAX if index.lt(0).unwrap_or(false) || low > 0 => format!("whole numbers from {low} on"),
            _ => format!("{low} to {high}"),
        };
        refuse(format!("{keyword}: {index} given, {accepted} are accepted"))
    })
}

pub(crate) fn size(keyword: &str, value: &Bound<'_, PyAny>, range: RangeInclusive<u64>) -> PyResult<usize> {
    let number = whole(keyword, value, range)?;
    usize::try_from(number).map_err(|_| refuse(format!("{keyword}: {number} given, which does not fit in memory")))
}

/// A whole number, or a list of them.
pub(crate) fn sizes(keyword: &str, value: &Bound<'_, PyAny>) -> PyResult<Vec<usize>> {
    let is_list = !value.is_instance_of::<PyString>() && value.len().is_ok();
    if !is_list {
        let wrong = |error: PyErr| {
            let is_type = error.is_instance_of::<PyTypeError>(value.py());
            if is_type { wrong_type(keyword, value, "a whole number or a list of them") } else { error }
        };
        return size(keyword, value, ANY).map(|size| vec![size]).map_err(wrong);
    }
    value.try_iter()?.enumerate().map(|(l, entry)| size(&format!("{keyword}[{l}]"), &entry?, ANY)).collect()
}

pub(crate) fn real(keyword: &str, value: &Bound<'_, PyAny>) -> PyResult<f64> {
    let wrong = || wrong_type(keyword, value, "a number");
    if is_flag(value) {
        return Err(wrong());
    }
    // A subclass of float need not be asked.
    if let Ok(number) = value.cast::<PyFloat>() {
        return Ok(number.value());
    }
    value.extract::<f64>().map_err(|error| {
        if error.is_instance_of::<PyOverflowError>(value.py()) {
            return refuse(format!("{keyword}: a number beyond 1.8e308 given, which does not fit in float64"));
        }
        wrong()
    })
}

pub(crate) fn flag(keyword: &str, value: &Bound<'_, PyAny>) -> PyResult<bool> {
    if is_flag(value) { value.is_truthy() } else { Err(wrong_type(keyword, value, "True or False")) }
}

pub(crate) fn word(keyword: &str, value: &Bound<'_, PyAny>, accepted: &str) -> PyResult<String> {
    let text = value.cast::<PyString>().map_err(|_| wrong_type(keyword, value, accepted))?;
    Ok(text.to_cow()?.into_owned())
}

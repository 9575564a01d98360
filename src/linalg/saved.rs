//! Matrices and numbers in the saved form of the feature `serde`: exact to the last bit, and checked when read.
//!
//! A matrix is `{rows, cols, numbers}`, column after column; faer has no saved form of its own. Numbers are written as the
//! format writes numbers. Formats for people to read, as JSON, have none for infinity and NaN: there they are words.

use std::{fmt, sync::Arc};

use faer::{Col, Mat, MatRef};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, Visitor},
    ser::{Error as _, SerializeSeq, SerializeStruct},
};

use super::{checks::first_not_finite, memory::try_zeros};

/// What `#[serde(with = "crate::linalg::saved")]` can write and read.
pub(crate) trait Saved: Sized {
    fn save<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

pub(crate) fn serialize<T: Saved, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    value.save(serializer)
}

pub(crate) fn deserialize<'de, T: Saved, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::read(deserializer)
}

/// A value that serde can write.
pub(crate) struct Writing<'a, T>(pub(crate) &'a T);

impl<T: Saved> Serialize for Writing<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.save(serializer)
    }
}

/// A value that serde can read.
struct Reading<T>(T);

impl<'de, T: Saved> Deserialize<'de> for Reading<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Self)
    }
}

impl<T: Saved> Saved for Option<T> {
    fn save<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_ref().map(Writing).serialize(serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::<Reading<T>>::deserialize(deserializer)?.map(|Reading(value)| value))
    }
}

impl<T: Saved> Saved for Vec<T> {
    fn save<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Writing))
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // serde lets a vector grow as entries arrive, whatever length has been announced.
        let read = Vec::<Reading<T>>::deserialize(deserializer)?;
        Ok(read.into_iter().map(|Reading(value)| value).collect())
    }
}

impl<T: Saved> Saved for Arc<T> {
    fn save<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.as_ref().save(serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Self::new)
    }
}

impl Saved for f64 {
    fn save<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.is_finite() || !serializer.is_human_readable() {
            serializer.serialize_f64(*self)
        } else {
            serializer.collect_str(self)
        }
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_any(NumberOrWord)
        } else {
            Self::deserialize(deserializer)
        }
    }
}

struct NumberOrWord;

impl Visitor<'_> for NumberOrWord {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a number, "inf", "-inf" or "NaN""#)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<f64, E> {
        Ok(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<f64, E> {
        Ok(value as f64)
    }

    fn visit_str<E: serde::de::Error>(self, word: &str) -> Result<f64, E> {
        match word {
            "inf" => Ok(f64::INFINITY),
            "-inf" => Ok(f64::NEG_INFINITY),
            "NaN" => Ok(f64::NAN),
            _ => Err(E::invalid_value(serde::de::Unexpected::Str(word), &self)),
        }
    }
}

/// The entries of a matrix, column after column.
struct Entries<'a>(MatRef<'a, f64>);

impl Serialize for Entries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut entries = serializer.serialize_seq(Some(self.0.nrows() * self.0.ncols()))?;
        for column in self.0.col_iter() {
            column.iter().try_for_each(|entry| entries.serialize_element(entry))?;
        }
        entries.end()
    }
}

impl Saved for Mat<f64> {
    fn save<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // What cannot be read is not written.
        check_finite(self.as_ref()).map_err(S::Error::custom)?;
        let mut matrix = serializer.serialize_struct("Matrix", 3)?;
        matrix.serialize_field("rows", &self.nrows())?;
        matrix.serialize_field("cols", &self.ncols())?;
        matrix.serialize_field("numbers", &Entries(self.as_ref()))?;
        matrix.end()
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(rename = "Matrix", deny_unknown_fields)]
        struct Announced {
            rows: usize,
            cols: usize,
            numbers: Vec<f64>,
        }

        let Announced { rows, cols, numbers } = Announced::deserialize(deserializer)?;
        // Room is asked for only once the numbers are there. A side of zero needs none, whatever the other one is.
        if rows.checked_mul(cols) != Some(numbers.len()) || rows.max(cols) > u32::MAX as usize {
            let found = numbers.len();
            return Err(D::Error::custom(format_args!("matrix: {rows} x {cols} announced, {found} numbers given")));
        }
        let mut matrix = try_zeros("saved matrix", rows, cols as u64).map_err(D::Error::custom)?;
        for (column, numbers) in matrix.col_iter_mut().zip(numbers.chunks_exact(rows.max(1))) {
            column.iter_mut().zip(numbers).for_each(|(to, from)| *to = *from);
        }
        check_finite(matrix.as_ref()).map_err(D::Error::custom)?;
        Ok(matrix)
    }
}

fn check_finite(matrix: MatRef<'_, f64>) -> Result<(), String> {
    match first_not_finite(matrix) {
        None => Ok(()),
        Some((row, col, value)) => {
            Err(format!("matrix: entry ({row}, {col}) (counted from 0) is {value:?}, finite numbers are needed"))
        }
    }
}

impl Saved for Col<f64> {
    fn save<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        check_finite(self.as_mat()).map_err(S::Error::custom)?;
        Entries(self.as_mat()).serialize(serializer)
    }

    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let numbers = Vec::<f64>::deserialize(deserializer)?;
        let column: Self = numbers.into_iter().collect();
        check_finite(column.as_mat()).map_err(D::Error::custom)?;
        Ok(column)
    }
}

/// Whether columns that have been read are orthonormal.
pub(crate) fn check_orthonormal(what: &str, frame: MatRef<'_, f64>) -> Result<(), String> {
    let (rows, cols) = frame.shape();
    // Householder reflections: rows · cols^(3/2) epsilons, with a small factor (Higham 2002, Theorem 19.4).
    let rounding = 16.0 * rows as f64 * (cols as f64).powf(1.5) * f64::EPSILON;
    let is_orthonormal =
        cols <= rows && (frame.transpose() * frame - Mat::<f64>::identity(cols, cols)).norm_l2() <= rounding;
    is_orthonormal.then_some(()).ok_or_else(|| format!("{what}: its columns are not orthonormal"))
}

/// The number of a saved form, written before all else: a file of another form is refused by its number, and not by the
/// first field that is missing.
pub(crate) struct Version<const VERSION: u32>;

impl<const VERSION: u32> Serialize for Version<VERSION> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(VERSION)
    }
}

impl<'de, const VERSION: u32> Deserialize<'de> for Version<VERSION> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            found if found == VERSION => Ok(Self),
            found => Err(D::Error::custom(format_args!(
                "version {found} of the saved form given, this version of the crate reads version {VERSION}"
            ))),
        }
    }
}

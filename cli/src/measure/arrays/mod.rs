//! Arrays on disk, as NumPy and safetensors write them: headers by their crates, data in batches of rows.
//!
//! `value` reads what stands after a flag, `npy` and `safetensors` the header of a file, `input` its bytes, `number`
//! its numbers. `features` has several arrays as one.

mod features;
mod input;
mod npy;
mod number;
mod safetensors;
mod tensor_names;
mod value;

use std::{
    io::{Read, Seek, SeekFrom},
    sync::mpsc,
    thread,
};

use neural_collapse::faer::{Col, Mat, MatRef};

use input::Source;
use number::{Float, Number};
use value::Named;

pub(crate) use features::Features;
pub(crate) use number::Entry;

/// Bytes of labels that are in memory at a time.
const BATCH: usize = 1 << 22;

/// One array of a file, its data still there.
#[derive(Debug)]
pub(crate) struct Array {
    /// What a person calls it: the flag and its value.
    pub(crate) name: String,
    found: Found,
}

/// What a header says, and where the data are.
#[derive(Debug)]
struct Found {
    shape: Vec<usize>,
    number: Number,
    big_endian: bool,
    fortran: bool,
    source: Source,
    /// Where the data begin.
    offset: u64,
}

/// Rows of a matrix of floats: a column a row of the array, as this crate has samples.
pub(crate) enum Batch<'a> {
    Single(MatRef<'a, f32>),
    Double(MatRef<'a, f64>),
}

impl Array {
    /// Looks at the array that a flag names: `FILE.npy`, `FILE.safetensors:TENSOR`, or a tensor of a model in several
    /// files, `model.safetensors.index.json:TENSOR`.
    pub(crate) fn open(flag: &str, value: &str) -> Result<Self, String> {
        let name = format!("{flag} {value}");
        let found = match value::split(value) {
            Named::Npy(file) => npy::open(file),
            Named::Tensor(file, tensor) => safetensors::open(file, tensor),
            Named::Indexed(file, tensor) => safetensors::open_indexed(file, tensor),
        };
        let found = found.map_err(|message| format!("{name}: {message}"))?;
        let array = Self { name, found };
        if array.found.shape.contains(&0) {
            let kind = if array.found.shape.len() == 2 { "matrix" } else { "array" };
            return Err(array.says(&format_args!("an empty {kind} of {}", sides(&array.found.shape))));
        }
        Ok(array)
    }

    /// All arrays of a flag: its values in order, and for a pattern the files that match it, in natural order.
    pub(crate) fn open_all(flag: &str, values: &[String]) -> Result<Vec<Self>, String> {
        let mut all = Vec::new();
        for value in values {
            for value in value::expand(flag, value)? {
                all.push(Self::open(flag, &value)?);
            }
        }
        Ok(all)
    }

    /// The shape in words.
    pub(crate) fn shape(&self) -> String {
        sides(&self.found.shape)
    }

    /// The sides that are longer than 1.
    pub(crate) fn long_sides(&self) -> Vec<usize> {
        self.found.shape.iter().copied().filter(|&side| side > 1).collect()
    }

    /// Rows and columns of a matrix, whose rows go by the first side. Sides of 1 say nothing: features after a global
    /// pooling are N x C x 1 x 1, and so are weights of a 1 x 1 convolution.
    pub(crate) fn sides(&self) -> Result<(usize, usize), String> {
        let shape = &self.found.shape[..];
        let long: Vec<usize> = shape.iter().skip(1).copied().filter(|&side| side > 1).collect();
        match (shape, &long[..]) {
            ([rows, _, ..], []) => Ok((*rows, 1)),
            ([rows, _, ..], [cols]) => Ok((*rows, *cols)),
            _ => {
                let hint = if self.long_sides().len() > 2 {
                    ": flatten or average the sides after the first, as the network does before this layer"
                } else if long.len() == 2 {
                    ": drop the first side, of 1"
                } else {
                    ""
                };
                Err(self.says(&format_args!("it has the shape {}, a matrix is needed{hint}", self.shape())))
            }
        }
    }

    /// A matrix of floats.
    pub(crate) fn matrix(&self) -> Result<Mat<f64>, String> {
        let (rows, cols) = self.sides()?;
        self.read(rows, cols)
    }

    /// A vector of floats, or a matrix of one row or one column.
    pub(crate) fn vector(&self) -> Result<Col<f64>, String> {
        let long = self.long_sides();
        if self.found.shape.is_empty() || long.len() > 1 {
            return Err(self.says(&format_args!("it has the shape {}, a vector is needed", self.shape())));
        }
        Ok(self.read(1, long.first().copied().unwrap_or(1))?.row(0).transpose().to_owned())
    }

    fn read(&self, rows: usize, cols: usize) -> Result<Mat<f64>, String> {
        let mut matrix = Mat::zeros(rows, cols);
        self.float_batches((rows, cols), rows, |start, batch| {
            let mut rows = matrix.subrows_mut(start, batch.len());
            match batch {
                Batch::Single(batch) => {
                    for (row, column) in rows.row_iter_mut().zip(batch.col_iter()) {
                        row.iter_mut().zip(column.iter()).for_each(|(to, from)| *to = f64::from(*from));
                    }
                }
                Batch::Double(batch) => rows.copy_from(batch.transpose()),
            }
            Ok(())
        })?;
        Ok(matrix)
    }

    /// Shows the rows of a matrix of floats in batches of `size`, each with the index of its first row. The next batch is
    /// read meanwhile.
    pub(crate) fn batches(
        &self,
        size: usize,
        visit: impl FnMut(usize, Batch<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        self.float_batches(self.sides()?, size, visit)
    }

    fn float_batches(
        &self,
        (rows, cols): (usize, usize),
        size: usize,
        mut visit: impl FnMut(usize, Batch<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let Found { number, big_endian, fortran, .. } = self.found;
        let Number::Float(float) = number else {
            let given = if number == Number::Bool { "bools" } else { "integers" };
            return Err(
                self.says(&format_args!("{given} given, floats are needed: float16, bfloat16, float32 or float64"))
            );
        };
        thread::scope(|scope| {
            // Nothing is kept between the two: one batch is worked on, while the next one is read and waits.
            let (filled, batches) = mpsc::sync_channel(0);
            let (used, spare) = mpsc::channel::<Numbers>();
            let reader = scope.spawn(move || {
                self.bytes((rows, cols), size, |start, here, data| {
                    let mut numbers = spare.try_recv().unwrap_or_default();
                    numbers.decode(float, big_endian, data);
                    // Nobody takes it where the visitor has refused a batch, with an error that says why.
                    filled.send((start, here, numbers)).map_err(|_| String::new())
                })
            });
            for (start, here, numbers) in batches {
                visit(start, numbers.columns(float, cols, here, fortran))?;
                // After the last batch the reader is gone.
                let _ = used.send(numbers);
            }
            reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Shows every number of a matrix with these numbers of rows and columns, row after row in batches, with its place.
    pub(crate) fn entries(
        &self,
        (rows, cols): (usize, usize),
        mut visit: impl FnMut(usize, usize, Entry) -> Result<(), String>,
    ) -> Result<(), String> {
        let Found { number, big_endian, fortran, .. } = self.found;
        let bytes = number.bytes();
        let size = (BATCH / bytes / cols).max(1);
        self.bytes((rows, cols), size, |start, here, data| {
            for row in 0..here {
                for col in 0..cols {
                    let at = if fortran { col * here + row } else { row * cols + col };
                    let mut word = [0; 8];
                    let word = &mut word[..bytes];
                    word.copy_from_slice(&data[at * bytes..][..bytes]);
                    if big_endian {
                        word.reverse();
                    }
                    let entry = number.entry(word).ok_or_else(|| {
                        let index = (start + row) * cols + col;
                        self.says(&format_args!(
                            "entry {index} (counted from 0) is the byte {}, a bool is 0 or 1",
                            word[0]
                        ))
                    })?;
                    visit(start + row, col, entry)?;
                }
            }
            Ok(())
        })
    }

    /// Shows the bytes of a matrix in batches of rows: the index of the first row, how many, and their bytes row after
    /// row, or column after column of a file in Fortran order.
    fn bytes(
        &self,
        (rows, cols): (usize, usize),
        size: usize,
        mut visit: impl FnMut(usize, usize, &[u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let Found { number, fortran, offset, .. } = self.found;
        let bytes = number.bytes();
        let mut file = self.found.source.at(offset).map_err(|error| self.says(&error))?;
        let mut data = Vec::new();
        for start in (0..rows).step_by(size) {
            let here = size.min(rows - start);
            data.resize(here * cols * bytes, 0);
            if fortran {
                // A stretch of every column.
                for (col, stretch) in data.chunks_exact_mut(here * bytes).enumerate() {
                    let from = offset + ((col * rows + start) * bytes) as u64;
                    let read = file.seek(SeekFrom::Start(from)).and_then(|_| file.read_exact(stretch));
                    read.map_err(|error| self.says(&error))?;
                }
            } else {
                file.read_exact(&mut data).map_err(|error| self.says(&error))?;
            }
            visit(start, here, &data)?;
        }
        Ok(())
    }

    /// A message with the name of the array before it.
    pub(crate) fn says(&self, message: &dyn std::fmt::Display) -> String {
        format!("{}: {message}", self.name)
    }
}

/// The numbers of a batch, of one of the two types.
#[derive(Default)]
struct Numbers {
    singles: Vec<f32>,
    doubles: Vec<f64>,
}

impl Numbers {
    fn decode(&mut self, float: Float, big_endian: bool, data: &[u8]) {
        if float == Float::F64 {
            number::doubles(data, big_endian, &mut self.doubles);
        } else {
            float.singles(data, big_endian, &mut self.singles);
        }
    }

    fn columns(&self, float: Float, width: usize, rows: usize, fortran: bool) -> Batch<'_> {
        if float == Float::F64 {
            Batch::Double(columns(&self.doubles, width, rows, fortran))
        } else {
            Batch::Single(columns(&self.singles, width, rows, fortran))
        }
    }
}

impl Batch<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Single(batch) => batch.ncols(),
            Self::Double(batch) => batch.ncols(),
        }
    }
}

/// What to call the arrays of one flag: the only one, or the first of several.
pub(crate) fn name(flag: &str, arrays: &[Array]) -> String {
    match arrays {
        [] => flag.to_owned(),
        [only] => only.name.clone(),
        [first, rest @ ..] => format!("{} and {} more", first.name, rest.len()),
    }
}

/// A dtype that is not among those supported.
fn supported(dtype: &str) -> String {
    format!(
        "the dtype {dtype} is not supported: float32 and float64 are, float16, bfloat16 and in safetensors F8_E4M3 and \
         F8_E5M2, `.float()` in PyTorch, and for labels bools and integers of 8 to 64 bits too"
    )
}

/// A shape in words.
fn sides(shape: &[usize]) -> String {
    match shape {
        [] => "()".into(),
        [length] => format!("({length},)"),
        _ => shape.iter().map(usize::to_string).collect::<Vec<_>>().join(" x "),
    }
}

/// The rows of a batch as columns.
fn columns<T>(data: &[T], width: usize, rows: usize, fortran: bool) -> MatRef<'_, T> {
    if fortran {
        MatRef::from_row_major_slice(data, width, rows)
    } else {
        MatRef::from_column_major_slice(data, width, rows)
    }
}

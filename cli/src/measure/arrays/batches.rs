//! The numbers of an array, row after row.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    ops::Range,
    sync::mpsc,
    thread,
};

use neural_collapse::faer::{Col, Mat, MatRef};

use super::{
    Array, Found,
    number::{self, Entry, Float, Number},
};

/// Bytes of labels that are in memory at a time.
const BATCH: usize = 1 << 22;

/// Rows of a matrix of floats: a column a row of the array, as this crate has samples.
pub(crate) enum Batch<'a> {
    Single(MatRef<'a, f32>),
    Double(MatRef<'a, f64>),
}

impl Array {
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
                let mut file = self.file()?;
                for start in (0..rows).step_by(size) {
                    let here = size.min(rows - start);
                    let mut numbers = spare.try_recv().unwrap_or_default();
                    numbers.read(float, big_endian, here * cols, |data| {
                        self.fill(&mut file, (rows, cols), start..start + here, data)
                    })?;
                    // Nobody takes it where the visitor has refused a batch, with an error that says why.
                    filled.send((start, here, numbers)).map_err(|_| String::new())?;
                }
                Ok(())
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
        let bytes = self.found.number.bytes();
        let mut file = self.file()?;
        let mut data = Vec::new();
        for start in (0..rows).step_by(size) {
            let here = size.min(rows - start);
            data.resize(here * cols * bytes, 0);
            self.fill(&mut file, (rows, cols), start..start + here, &mut data)?;
            visit(start, here, &data)?;
        }
        Ok(())
    }

    /// The file, where the data begin.
    fn file(&self) -> Result<File, String> {
        self.found.source.at(self.found.offset).map_err(|error| self.says(&error))
    }

    /// The bytes of these rows, which follow those that were read before.
    fn fill(
        &self,
        file: &mut File,
        (rows, cols): (usize, usize),
        here: Range<usize>,
        data: &mut [u8],
    ) -> Result<(), String> {
        let Found { number, fortran, offset, .. } = self.found;
        let bytes = number.bytes();
        if !fortran {
            return file.read_exact(data).map_err(|error| self.says(&error));
        }
        // A stretch of every column.
        for (col, stretch) in data.chunks_exact_mut(here.len() * bytes).enumerate() {
            let from = offset + ((col * rows + here.start) * bytes) as u64;
            let read = file.seek(SeekFrom::Start(from)).and_then(|_| file.read_exact(stretch));
            read.map_err(|error| self.says(&error))?;
        }
        debug_assert_eq!(data.len(), here.len() * cols * bytes);
        Ok(())
    }
}

/// The numbers of a batch, of one of the two types.
#[derive(Default)]
struct Numbers {
    singles: Vec<f32>,
    doubles: Vec<f64>,
    /// The bytes of numbers that this machine writes otherwise.
    data: Vec<u8>,
}

impl Numbers {
    /// Reads so many numbers: what this machine would write as the file has it goes where it stays.
    fn read(
        &mut self,
        float: Float,
        big_endian: bool,
        numbers: usize,
        fill: impl FnOnce(&mut [u8]) -> Result<(), String>,
    ) -> Result<(), String> {
        let is_native = big_endian == cfg!(target_endian = "big");
        match float {
            Float::F32 if is_native => {
                self.singles.resize(numbers, 0.0);
                fill(bytemuck::cast_slice_mut(&mut self.singles))
            }
            Float::F64 if is_native => {
                self.doubles.resize(numbers, 0.0);
                fill(bytemuck::cast_slice_mut(&mut self.doubles))
            }
            _ => {
                self.data.resize(numbers * Number::Float(float).bytes(), 0);
                fill(&mut self.data)?;
                match float {
                    Float::F64 => number::doubles(&self.data, big_endian, &mut self.doubles),
                    _ => float.singles(&self.data, big_endian, &mut self.singles),
                }
                Ok(())
            }
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

/// The rows of a batch as columns.
fn columns<T>(data: &[T], width: usize, rows: usize, fortran: bool) -> MatRef<'_, T> {
    if fortran {
        MatRef::from_row_major_slice(data, width, rows)
    } else {
        MatRef::from_column_major_slice(data, width, rows)
    }
}

//! Arrays on disk, as NumPy and safetensors write them: headers by their crates, data in batches of rows.

use std::{
    fs::File,
    io::{BufRead, BufReader, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use neural_collapse::faer::{Col, Mat, MatRef};
use npyz::{DType, Endianness, NpyHeader, Order, TypeChar};
use safetensors::{Dtype, tensor::Metadata};

/// What an .npy file begins with.
const MAGIC: &[u8] = b"\x93NUMPY";

/// The longest .npy header that is read, a limit of NumPy's own, and its most brackets: the parser takes
/// twice as long for every one that is not closed. Plain arrays have two.
const LONGEST_NPY_HEADER: usize = 10_000;
const MOST_BRACKETS: usize = 12;

/// Characters of a header that an error shows.
const MOST_SHOWN: usize = 100;

/// The longest header that is read of a safetensors file: 100 MB, the limit of its crate.
const LONGEST_HEADER: u64 = 100_000_000;

/// A number on disk.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Number {
    Float { bytes: usize },
    Integer { bytes: usize, signed: bool },
}

/// One array of a file, its data still there.
#[derive(Debug)]
pub(crate) struct Array {
    /// What a person calls it: the flag and its value.
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
    path: PathBuf,
    number: Number,
    big_endian: bool,
    fortran: bool,
    /// Where its data begin.
    offset: u64,
}

/// Rows of a matrix of floats: a column a row of the array, as this crate has samples.
pub(crate) enum Batch<'a> {
    Single(MatRef<'a, f32>),
    Double(MatRef<'a, f64>),
}

impl Array {
    /// Looks at the array that a flag names: `FILE.npy`, or `FILE.safetensors:TENSOR`.
    pub(crate) fn open(flag: &str, value: &str) -> Result<Self, String> {
        let name = format!("{flag} {value}");
        let parsed = match split_tensor(value) {
            Some((file, tensor)) => open_tensor(Path::new(file), tensor),
            None => open_npy(Path::new(value)),
        };
        let array = parsed.map_err(|message| format!("{name}: {message}"))?;
        let array = Self { name, ..array };
        array.check_size()?;
        Ok(array)
    }

    /// Whether the file is as long as its header says.
    fn check_size(&self) -> Result<(), String> {
        let length = std::fs::metadata(&self.path).map_err(|error| self.says(&error))?.len();
        let bytes = self.shape.iter().try_fold(self.number.bytes(), |bytes, &side| bytes.checked_mul(side));
        let needed = bytes.and_then(|bytes| self.offset.checked_add(bytes as u64));
        match needed {
            Some(needed) if needed <= length => Ok(()),
            _ => Err(self.says(&format!(
                "the file is truncated: it has {length} bytes, an array of {} needs {}",
                sides(&self.shape),
                needed.map_or("more than there can be".into(), |needed| needed.to_string())
            ))),
        }
    }

    /// A matrix of floats.
    pub(crate) fn matrix(&self) -> Result<Mat<f64>, String> {
        let (rows, cols) = self.sides()?;
        let mut matrix = Mat::zeros(rows, cols);
        self.batches(rows.max(1), |start, batch| {
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

    /// A vector of floats.
    pub(crate) fn vector(&self) -> Result<Col<f64>, String> {
        let [length] = self.shape[..] else {
            return Err(self.says(&format!("it has the shape {}, a vector is needed", sides(&self.shape))));
        };
        let row = Self { shape: vec![1, length], path: self.path.clone(), name: self.name.clone(), ..*self };
        Ok(row.matrix()?.row(0).transpose().to_owned())
    }

    /// A vector of integers, or a matrix of one column.
    pub(crate) fn integers(&self) -> Result<Integers, String> {
        let Number::Integer { bytes, signed } = self.number else {
            return Err(self.says(&"floats given, labels are integers: int64, uint8 and the like"));
        };
        let ([length] | [length, 1]) = self.shape[..] else {
            return Err(self.says(&format!("it has the shape {}, one label a sample is needed", sides(&self.shape))));
        };
        let mut data = Vec::new();
        let mut file = self.data()?.take((length * bytes) as u64);
        file.read_to_end(&mut data).map_err(|error| self.says(&error))?;
        Ok(Integers { data, bytes, signed, big_endian: self.big_endian })
    }

    /// Rows and columns of a matrix.
    pub(crate) fn sides(&self) -> Result<(usize, usize), String> {
        match self.shape[..] {
            [rows, cols] => Ok((rows, cols)),
            _ => Err(self.says(&format!("it has the shape {}, a matrix is needed", sides(&self.shape)))),
        }
    }

    /// Shows the rows of a matrix of floats in batches of `size`, each with the index of its first row.
    pub(crate) fn batches(
        &self,
        size: usize,
        mut visit: impl FnMut(usize, Batch<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let (rows, cols) = self.sides()?;
        let Number::Float { bytes } = self.number else {
            return Err(self.says(&"integers given, floats are needed: float32 or float64"));
        };
        let mut file = self.data()?;
        let (mut data, mut singles, mut doubles) = (Vec::new(), Vec::new(), Vec::new());
        for start in (0..rows).step_by(size) {
            let here = size.min(rows - start);
            data.resize(here * cols * bytes, 0);
            if self.fortran {
                // A stretch of every column.
                for (col, stretch) in data.chunks_exact_mut(here * bytes).enumerate() {
                    let from = self.offset + ((col * rows + start) * bytes) as u64;
                    let read = file.seek(SeekFrom::Start(from)).and_then(|_| file.read_exact(stretch));
                    read.map_err(|error| self.says(&error))?;
                }
            } else {
                file.read_exact(&mut data).map_err(|error| self.says(&error))?;
            }
            if bytes == 4 {
                decode(&data, &mut singles, if self.big_endian { f32::from_be_bytes } else { f32::from_le_bytes });
                visit(start, Batch::Single(columns(&singles, cols, here, self.fortran)))?;
            } else {
                decode(&data, &mut doubles, if self.big_endian { f64::from_be_bytes } else { f64::from_le_bytes });
                visit(start, Batch::Double(columns(&doubles, cols, here, self.fortran)))?;
            }
        }
        Ok(())
    }

    /// A message with the name of the array before it.
    pub(crate) fn says(&self, message: &dyn std::fmt::Display) -> String {
        format!("{}: {message}", self.name)
    }

    /// The file, where the data begin.
    fn data(&self) -> Result<File, String> {
        let mut file = File::open(&self.path).map_err(|error| self.says(&error))?;
        file.seek(SeekFrom::Start(self.offset)).map_err(|error| self.says(&error))?;
        Ok(file)
    }
}

/// Integers of any width, as they are on disk.
pub(crate) struct Integers {
    data: Vec<u8>,
    bytes: usize,
    signed: bool,
    big_endian: bool,
}

impl Integers {
    pub(crate) fn iter(&self) -> impl ExactSizeIterator<Item = i128> {
        self.data.chunks_exact(self.bytes).map(|word| {
            let digit = |value: i128, byte: &u8| value << 8 | i128::from(*byte);
            let value = if self.big_endian { word.iter().fold(0, digit) } else { word.iter().rev().fold(0, digit) };
            // The sign of two's complement.
            let beyond = 1 << (8 * self.bytes);
            if self.signed && value >= beyond / 2 { value - beyond } else { value }
        })
    }
}

impl Batch<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Single(batch) => batch.ncols(),
            Self::Double(batch) => batch.ncols(),
        }
    }
}

impl Number {
    fn bytes(self) -> usize {
        match self {
            Self::Float { bytes } | Self::Integer { bytes, .. } => bytes,
        }
    }
}

/// `FILE.safetensors` and, after a colon, the name of a tensor.
fn split_tensor(value: &str) -> Option<(&str, Option<&str>)> {
    const ENDING: &str = ".safetensors";
    let end = value.find(ENDING)? + ENDING.len();
    match value[end..].strip_prefix(':') {
        Some(tensor) => Some((&value[..end], Some(tensor))),
        None => value[end..].is_empty().then_some((value, None)),
    }
}

fn open_npy(path: &Path) -> Result<Array, String> {
    let mut file = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
    let mut magic = [0; MAGIC.len()];
    let read = file.read_exact(&mut magic);
    if read.is_err() || magic != MAGIC {
        return Err("no .npy file, which begins with \\x93NUMPY: write it with numpy.save, or give \
                    FILE.safetensors:TENSOR"
            .into());
    }
    let text = npy_header(&mut file)?;
    file.rewind().map_err(|error| error.to_string())?;
    let header =
        NpyHeader::from_reader(&mut file).map_err(|error| format!("unreadable .npy header {text}: {error}"))?;
    let offset = file.stream_position().map_err(|error| error.to_string())?;
    // A header by itself tells neither type nor shape; a file of it does.
    let file = npyz::NpyFile::with_header(header, file);
    let DType::Plain(dtype) = file.dtype() else {
        return Err(unsupported(&file.dtype().descr()));
    };
    let bytes = dtype.num_bytes().unwrap_or(0);
    let number = match (dtype.type_char(), bytes) {
        (TypeChar::Float, 4 | 8) => Number::Float { bytes },
        (TypeChar::Int, 1 | 2 | 4 | 8) => Number::Integer { bytes, signed: true },
        (TypeChar::Uint, 1 | 2 | 4 | 8) => Number::Integer { bytes, signed: false },
        _ => return Err(unsupported(&file.dtype().descr())),
    };
    Ok(Array {
        name: String::new(),
        shape: file.shape().iter().map(|&side| usize::try_from(side).unwrap_or(usize::MAX)).collect(),
        path: path.to_owned(),
        number,
        big_endian: dtype.endianness() == Endianness::Big,
        fortran: file.order() == Order::Fortran,
        offset,
    })
}

/// The header, a Python literal up to the end of its line, where it is one to parse.
fn npy_header(file: &mut impl BufRead) -> Result<String, String> {
    let mut line = Vec::new();
    file.take(LONGEST_NPY_HEADER as u64).read_until(b'\n', &mut line).map_err(|error| error.to_string())?;
    if line.len() == LONGEST_NPY_HEADER {
        return Err(format!("a header of {LONGEST_NPY_HEADER} bytes and more: shorter ones are accepted"));
    }
    let brackets = line.iter().filter(|byte| b"([{".contains(byte)).count();
    if brackets > MOST_BRACKETS {
        return Err(format!("{brackets} brackets in its header: at most {MOST_BRACKETS} are accepted"));
    }
    let start = line.iter().position(|&byte| byte == b'{').unwrap_or(line.len());
    Ok(String::from_utf8_lossy(&line[start..]).trim().chars().filter(|c| !c.is_control()).take(MOST_SHOWN).collect())
}

fn open_tensor(path: &Path, tensor: Option<&str>) -> Result<Array, String> {
    let unreadable = |error: &dyn std::fmt::Display| format!("unreadable safetensors header: {error}");
    let mut file = BufReader::new(File::open(path).map_err(|error| error.to_string())?);
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|error| unreadable(&error))?;
    let length = u64::from_le_bytes(length);
    if length > LONGEST_HEADER {
        return Err(unreadable(&format_args!("{length} bytes long, at most {LONGEST_HEADER} are accepted")));
    }
    let mut header = Vec::new();
    file.take(length).read_to_end(&mut header).map_err(|error| unreadable(&error))?;
    let metadata: Metadata = serde_json::from_slice(&header).map_err(|error| unreadable(&error))?;
    let mut names: Vec<String> = metadata.tensors().into_keys().collect();
    names.sort();
    let name = match (tensor, &names[..]) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, _) => return Err(format!("which tensor? After a colon name one of {}", names.join(", "))),
    };
    let info = metadata.info(name).ok_or_else(|| format!("no tensor {name:?}: there are {}", names.join(", ")))?;
    let number = match info.dtype {
        Dtype::F32 => Number::Float { bytes: 4 },
        Dtype::F64 => Number::Float { bytes: 8 },
        Dtype::I8 => Number::Integer { bytes: 1, signed: true },
        Dtype::I16 => Number::Integer { bytes: 2, signed: true },
        Dtype::I32 => Number::Integer { bytes: 4, signed: true },
        Dtype::I64 => Number::Integer { bytes: 8, signed: true },
        Dtype::U8 => Number::Integer { bytes: 1, signed: false },
        Dtype::U16 => Number::Integer { bytes: 2, signed: false },
        Dtype::U32 => Number::Integer { bytes: 4, signed: false },
        Dtype::U64 => Number::Integer { bytes: 8, signed: false },
        other => return Err(unsupported(&format!("{other:?}"))),
    };
    let offset = 8 + length + info.data_offsets.0 as u64;
    let path = path.to_owned();
    let shape = info.shape.clone();
    Ok(Array { name: String::new(), shape, path, number, big_endian: false, fortran: false, offset })
}

fn unsupported(dtype: &str) -> String {
    format!(
        "the dtype {dtype} is not supported: float32 and float64 are, `.float()` in PyTorch, and for labels integers of 8 to 64 bits"
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

fn decode<const BYTES: usize, T>(data: &[u8], to: &mut Vec<T>, number: fn([u8; BYTES]) -> T) {
    to.clear();
    to.extend(data.as_chunks::<BYTES>().0.iter().map(|word| number(*word)));
}

/// The rows of a batch as columns.
fn columns<T>(data: &[T], width: usize, rows: usize, fortran: bool) -> MatRef<'_, T> {
    if fortran {
        MatRef::from_row_major_slice(data, width, rows)
    } else {
        MatRef::from_column_major_slice(data, width, rows)
    }
}

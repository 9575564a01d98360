//! Arrays on disk, as NumPy and safetensors write them: headers by their crates, data in batches of rows.
//!
//! `value` reads what stands after a flag, `npy` and `safetensors` the header of a file, `input` its bytes, `number`
//! its numbers, `batches` all of them row after row. `features` has several arrays as one.

mod batches;
mod features;
mod input;
mod npy;
mod number;
mod safetensors;
mod tensor_names;
mod value;

use input::Source;
use number::Number;
use value::Named;

pub(crate) use batches::Batch;
pub(crate) use features::Features;
pub(crate) use number::Entry;

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

    /// A message with the name of the array before it.
    pub(crate) fn says(&self, message: &dyn std::fmt::Display) -> String {
        format!("{}: {message}", self.name)
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

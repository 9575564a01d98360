//! The header of safetensors files, parsed and checked by their crate, and the index of a model in several of them.

use std::{
    fmt,
    marker::PhantomData,
    path::{Component, Path},
};

use safetensors::{Dtype, tensor::Metadata};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};

use super::{
    Found,
    input::{Input, Rest},
    number::{Float, Number},
    supported,
    tensor_names::{missing, which},
};

/// The longest header that is read: 100 MB, the limit of its crate.
const LONGEST_HEADER: u64 = 100_000_000;

pub(super) fn open(path: &Path, tensor: Option<&str>) -> Result<Found, String> {
    let mut input = Input::open(path)?;
    let (metadata, names) = header(&mut input).map_err(|error| format!("unreadable safetensors header: {error}"))?;
    let name = match (tensor, &names[..]) {
        (Some(name), _) => name,
        (None, [only]) => only,
        (None, _) => return Err(which(&names)),
    };
    let info = metadata.info(name).ok_or_else(|| missing(name, &names))?;
    let number = number(info.dtype).ok_or_else(|| supported(&format!("{:?}", info.dtype)))?;
    let bytes = metadata.data_len() as u64;
    let (source, begin) = input.data(Some(bytes), Rest::Exactly, "what its header announces")?;
    let (shape, offset) = (info.shape.clone(), begin + info.data_offsets.0 as u64);
    Ok(Found { shape, number, big_endian: false, fortran: false, source, offset })
}

/// What the header says, and the names of the tensors in order.
fn header(input: &mut Input) -> Result<(Metadata, Vec<String>), String> {
    let length = input.read_exactly(8, "a length")?;
    let length = length.iter().rev().fold(0, |length, &byte| length << 8 | u64::from(byte));
    if length > LONGEST_HEADER {
        return Err(format!("{length} bytes long, at most {LONGEST_HEADER} are accepted"));
    }
    let header = input.read_exactly(length, "a header")?;
    // Its crate takes the last of two tensors of one name.
    let Entries(all) = serde_json::from_slice::<Entries<IgnoredAny>>(&header).map_err(|error| error.to_string())?;
    // It checks that tensors follow each other without a gap and are as long as their shapes.
    let metadata = serde_json::from_slice(&header).map_err(|error| error.to_string())?;
    let names = all.into_iter().map(|(name, _)| name).filter(|name| name != "__metadata__");
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    Ok((metadata, names))
}

fn number(dtype: Dtype) -> Option<Number> {
    let integer = |bytes, signed| Number::Integer { bytes, signed };
    Some(match dtype {
        Dtype::F64 => Number::Float(Float::F64),
        Dtype::F32 => Number::Float(Float::F32),
        Dtype::F16 => Number::Float(Float::F16),
        Dtype::BF16 => Number::Float(Float::Bf16),
        Dtype::F8_E4M3 => Number::Float(Float::F8E4m3),
        Dtype::F8_E5M2 => Number::Float(Float::F8E5m2),
        Dtype::BOOL => Number::Bool,
        Dtype::I8 => integer(1, true),
        Dtype::I16 => integer(2, true),
        Dtype::I32 => integer(4, true),
        Dtype::I64 => integer(8, true),
        Dtype::U8 => integer(1, false),
        Dtype::U16 => integer(2, false),
        Dtype::U32 => integer(4, false),
        Dtype::U64 => integer(8, false),
        _ => return None,
    })
}

/// What `model.safetensors.index.json` says of a model in several files.
#[derive(Deserialize)]
struct Index {
    /// The file of every tensor.
    weight_map: Entries<String>,
}

/// A tensor of a model in several files, through the index in the same folder.
pub(super) fn open_indexed(path: &Path, tensor: Option<&str>) -> Result<Found, String> {
    let unreadable = |error: &dyn fmt::Display| {
        format!("unreadable index, which is {{\"weight_map\": {{TENSOR: FILE.safetensors, ...}}}}: {error}")
    };
    let json = Input::open(path)?.read(LONGEST_HEADER + 1)?;
    if json.len() as u64 > LONGEST_HEADER {
        return Err(unreadable(&format_args!("more than {LONGEST_HEADER} bytes")));
    }
    let Index { weight_map: Entries(mut all) } = serde_json::from_slice(&json).map_err(|error| unreadable(&error))?;
    all.sort_unstable();
    let names: Vec<_> = all.iter().map(|(name, _)| name.clone()).collect();
    let (name, shard) = match (tensor, &all[..]) {
        (Some(tensor), _) => {
            let found = all.iter().find(|(name, _)| name == tensor);
            found.ok_or_else(|| missing(tensor, &names))?
        }
        (None, [only]) => only,
        (None, _) => return Err(which(&names)),
    };
    if !Path::new(shard).components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(format!("the index has tensor {name:?} in {shard:?}, files in its own folder are accepted"));
    }
    open(&path.with_file_name(shard), Some(name)).map_err(|error| format!("in {shard}: {error}"))
}

/// The entries of a JSON object, each name once.
struct Entries<V>(Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for Entries<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each<V>(PhantomData<V>);

        impl<'de, V: Deserialize<'de>> Visitor<'de> for Each<V> {
            type Value = Entries<V>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<V>, A::Error> {
                let mut names = std::collections::HashSet::new();
                let mut all = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, V>()? {
                    if !names.insert(name.clone()) {
                        return Err(A::Error::custom(format_args!("{name:?} is there twice")));
                    }
                    all.push((name, value));
                }
                Ok(Entries(all))
            }
        }

        deserializer.deserialize_map(Each(PhantomData))
    }
}

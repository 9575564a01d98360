//! The header of .npy files, versions 1, 2 and 3: a Python dictionary, parsed by `py_literal`.

use std::path::Path;

use py_literal::Value;

use super::{
    Found,
    input::{Input, Rest},
    number::{Float, Number},
    sides, supported,
};

/// What an .npy file begins with.
const MAGIC: &[u8] = b"\x93NUMPY";

/// The longest header that is read, a limit of NumPy's own.
const LONGEST_HEADER: u64 = 10_000;

/// The most brackets in a header, of the dictionary, of the shape and of the unit of a date: the parser takes up to
/// three times as long for every one of them.
const MOST_BRACKETS: usize = 3;

/// Characters of a header that an error shows.
const MOST_SHOWN: usize = 100;

pub(super) fn open(path: &Path) -> Result<Found, String> {
    let mut input = Input::open(path)?;
    check_magic(&input.read(MAGIC.len() as u64)?)?;
    let text = header(&mut input)?;
    let shown: String = text.trim().chars().filter(|c| !c.is_control()).take(MOST_SHOWN).collect();
    let unreadable = |message: &str| format!("unreadable .npy header {shown}: {message}");
    if let Some(kind) = not_plain(&text) {
        return Err(kind.into());
    }
    let brackets = text.chars().filter(|&c| "([{".contains(c)).count();
    if brackets > MOST_BRACKETS {
        return Err(format!("{brackets} brackets in its header: at most {MOST_BRACKETS} are accepted"));
    }
    let header = without_long_integers(text.trim()).parse().map_err(|error: py_literal::ParseError| {
        // The parser draws a picture of several lines; its last one says what it expected.
        unreadable(error.to_string().lines().last().unwrap_or_default().trim_start_matches([' ', '=']))
    })?;
    let [descr, order, shape] = entries(&header).map_err(|message| unreadable(&message))?;
    let (number, big_endian) =
        number(descr).map_err(|message| message.unwrap_or_else(|| supported(&descr.to_string())))?;
    let Value::Boolean(fortran) = *order else {
        return Err(unreadable("fortran_order is True or False"));
    };
    let shape = shape_of(shape).map_err(|message| unreadable(&message))?;
    // A side of 0 first: the product of the others need not fit.
    let product = || shape.iter().try_fold(number.bytes(), |bytes, &side| bytes.checked_mul(side));
    let needed = if shape.contains(&0) { Some(0) } else { product().map(|bytes| bytes as u64) };
    let (source, offset) = input.data(needed, Rest::AtLeast, &format!("an array of {}", sides(&shape)))?;
    Ok(Found { shape, number, big_endian, fortran, source, offset })
}

fn check_magic(magic: &[u8]) -> Result<(), String> {
    match magic {
        MAGIC => Ok(()),
        [b'P', b'K', ..] => Err("no .npy file but an archive, as of numpy.savez or torch.save: load it, and write \
                                 each array with numpy.save"
            .into()),
        _ => Err("no .npy file, which begins with \\x93NUMPY: write it with numpy.save, or give \
                  FILE.safetensors:TENSOR"
            .into()),
    }
}

/// Exactly the bytes that the length field announces, which may themselves look like a length or a line end.
fn header(input: &mut Input) -> Result<String, String> {
    let version = input.read_exactly(2, "unreadable .npy header: a version")?;
    let field = match version[..] {
        [1, 0] => 2,
        [2 | 3, 0] => 4,
        _ => {
            let (major, minor) = (version[0], version[1]);
            return Err(format!("version {major}.{minor} of the .npy format: 1.0, 2.0 and 3.0 are accepted"));
        }
    };
    let length = input.read_exactly(field, "unreadable .npy header: a length")?;
    let length = length.iter().rev().fold(0, |length, &byte| length << 8 | u64::from(byte));
    if length >= LONGEST_HEADER {
        return Err(format!("a header of {LONGEST_HEADER} bytes and more: shorter ones are accepted"));
    }
    let text = input.read_exactly(length, "unreadable .npy header: a header")?;
    if version[0] == 3 {
        return String::from_utf8(text).map_err(|_| "unreadable .npy header: it is not UTF-8".into());
    }
    // Versions 1 and 2 are in Latin-1, whose characters are the first of Unicode.
    Ok(text.iter().map(|&byte| char::from(byte)).collect())
}

/// Arrays of anything but numbers, whose headers may be long and nested: recognized before they are parsed.
fn not_plain(text: &str) -> Option<&'static str> {
    let descr = text.split_once("'descr'").or_else(|| text.split_once("\"descr\""))?.1;
    let descr = descr.trim_start().strip_prefix(':')?.trim_start();
    if descr.starts_with(['[', '(', '{']) {
        return Some("a structured array, with named fields: save one of the fields, numpy.save(path, x['field'])");
    }
    let descr = descr.strip_prefix(['\'', '"'])?.trim_start_matches(['|', '<', '>', '=']);
    let is_object = descr.starts_with(['O']) || descr.starts_with("object");
    is_object.then_some(
        "an object array, of Python objects and not of numbers: save it as numbers, numpy.stack(list(x)) or \
         x.astype(numpy.float32)",
    )
}

/// Python 2 ended long integers with an L.
fn without_long_integers(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let is_suffix = c == 'L' && plain.ends_with(|c: char| c.is_ascii_digit());
        if !(is_suffix && rest.peek().is_none_or(|next| ",) ]".contains(*next))) {
            plain.push(c);
        }
    }
    plain
}

/// The three entries of the dictionary; NumPy writes no others.
fn entries(header: &Value) -> Result<[&Value; 3], String> {
    let Value::Dict(pairs) = header else {
        return Err("it is not a dictionary".into());
    };
    let entry = |key: &str| {
        let mut values = pairs.iter().filter(|(name, _)| name.as_string().is_some_and(|name| name == key));
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Ok(value),
            (None, _) => Err(format!("{key} is missing")),
            (Some(_), Some(_)) => Err(format!("{key} is there twice")),
        }
    };
    let three = [entry("descr")?, entry("fortran_order")?, entry("shape")?];
    if pairs.len() == 3 { Ok(three) } else { Err(format!("it has {} entries, 3 are accepted", pairs.len())) }
}

fn shape_of(value: &Value) -> Result<Vec<usize>, String> {
    let (Value::Tuple(all) | Value::List(all)) = value else {
        return Err(format!("the shape {value} is not a tuple"));
    };
    let side = |side: &Value| match side {
        Value::Integer(integer) if integer.sign() == num_bigint::Sign::Minus => Err(format!("a side of {integer}")),
        // What does not fit is longer than any file.
        Value::Integer(integer) => Ok(usize::try_from(integer).unwrap_or(usize::MAX)),
        other => Err(format!("a side of {other}, which is not an integer")),
    };
    all.iter().map(side).collect()
}

/// The type of the numbers and whether their most significant byte comes first; `Err(None)` if it is not supported.
fn number(descr: &Value) -> Result<(Number, bool), Option<String>> {
    let Value::String(descr) = descr else {
        return Err(None);
    };
    let (order, name) = match descr.chars().next() {
        Some(order @ ('<' | '>' | '=' | '|')) => (Some(order), &descr[1..]),
        _ => (None, descr.as_str()),
    };
    let integer = |bytes, signed| Number::Integer { bytes, signed };
    let number = match name {
        "f8" | "float64" => Number::Float(Float::F64),
        "f4" | "float32" => Number::Float(Float::F32),
        "f2" | "float16" => Number::Float(Float::F16),
        // Two bytes of NumPy's own have no order: |V2.
        "V2" if matches!(order, Some('<' | '>')) => Number::Float(Float::Bf16),
        "bfloat16" => Number::Float(Float::Bf16),
        "i1" | "int8" => integer(1, true),
        "i2" | "int16" => integer(2, true),
        "i4" | "int32" => integer(4, true),
        "i8" | "int64" => integer(8, true),
        "u1" | "uint8" => integer(1, false),
        "u2" | "uint16" => integer(2, false),
        "u4" | "uint32" => integer(4, false),
        "u8" | "uint64" => integer(8, false),
        "b1" | "bool" | "?" => Number::Bool,
        "V2" => {
            return Err(Some(format!(
                "two bytes an entry that NumPy does not know, '{descr}': if they are bfloat16, save \
                 x.view(ml_dtypes.bfloat16).astype(numpy.float32)"
            )));
        }
        "V1" | "f1" => {
            return Err(Some(format!(
                "one byte an entry, '{descr}', which is any of several float8 and int4 types: save \
                 x.astype(numpy.float32), or safetensors, which tell F8_E4M3 from F8_E5M2"
            )));
        }
        _ => return Err(None),
    };
    // The order of one byte is none; where it is missing elsewhere, the machine's own was meant, little-endian.
    if order == Some('|') && number.bytes() > 1 {
        return Err(None);
    }
    Ok((number, order == Some('>')))
}

//! The readers of arrays that `measure` is made of: every narrow float against its definition, and any bytes.

// The program uses what these tests do not.
#[allow(dead_code, unused_imports)]
#[path = "../src/measure/arrays/mod.rs"]
mod arrays;
#[path = "program/measure.rs"]
mod measure;
mod program;

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use arrays::{Array, Batch};
use measure::{folder, npy, npy_start, tensors};
use proptest::{collection::vec, prelude::*, sample::select};

/// The value of a float by its definition, with no conversion but that of integers: (-1)^s 2^(e - bias) (1 + f), or
/// without the 1 and with the least exponent where e is 0.
fn value(bits: u32, exponent_bits: u32, fraction_bits: u32, has_infinity: bool) -> f64 {
    let (exponents, fractions) = (1 << exponent_bits, 1 << fraction_bits);
    let fraction = bits % fractions;
    let exponent = bits / fractions % exponents;
    let sign = if bits / fractions / exponents == 1 { -1.0 } else { 1.0 };
    if exponent == exponents - 1 {
        if has_infinity {
            return if fraction == 0 { sign * f64::INFINITY } else { f64::NAN };
        }
        if fraction == fractions - 1 {
            return f64::NAN;
        }
    }
    let bias = exponents / 2 - 1;
    let whole = if exponent == 0 { fraction } else { fraction + fractions };
    // Powers of two of f64, which has room for all of them.
    sign * f64::from(whole) * (f64::from(exponent.max(1)) - f64::from(bias) - f64::from(fraction_bits)).exp2()
}

/// Equal, of the same sign, or both not a number.
fn check(bits: u32, ours: f64, expected: f64) {
    let same = if expected.is_nan() { ours.is_nan() } else { ours.to_bits() == expected.to_bits() };
    assert!(same, "{bits:#x}: {ours} {expected}");
}

/// All numbers of an array, read in batches that do not divide its rows.
fn all(path: &Path, tensor: &str) -> Vec<f64> {
    let array = Array::open("--features", &format!("{}{tensor}", path.display())).unwrap();
    let mut numbers = Vec::new();
    let add = |_, batch: Batch<'_>| {
        match batch {
            Batch::Single(batch) => batch.col_iter().for_each(|row| numbers.extend(row.iter().map(|&x| f64::from(x)))),
            Batch::Double(batch) => batch.col_iter().for_each(|row| numbers.extend(row.iter())),
        }
        Ok(())
    };
    array.batches(7, add).unwrap();
    numbers
}

#[test]
fn all_floats_of_sixteen_bits_are_what_their_definition_says() {
    let folder = folder("sixteen");
    let path = folder.join("all.npy");
    for (name, exponent_bits, dtype) in [("f2", 5, "F16"), ("V2", 8, "BF16")] {
        let expected = |bits| value(bits, exponent_bits, 15 - exponent_bits, true);
        for order in ["<", ">"] {
            let word = |bits: u16| if order == "<" { bits.to_le_bytes() } else { bits.to_be_bytes() };
            let data: Vec<u8> = (0..=u16::MAX).flat_map(word).collect();
            fs::write(&path, npy(&format!("{order}{name}"), false, "(256, 256)", &data)).unwrap();
            let numbers = all(&path, "");
            assert_eq!(numbers.len(), 1 << 16);
            numbers.iter().zip(0..).for_each(|(&ours, bits)| check(bits, ours, expected(bits)));
        }
        let data: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
        let header = format!(r#"{{"h":{{"dtype":"{dtype}","shape":[256,256],"data_offsets":[0,131072]}}}}"#);
        let path = folder.join("all.safetensors");
        fs::write(&path, tensors(&header, &data)).unwrap();
        all(&path, ":h").iter().zip(0..).for_each(|(&ours, bits)| check(bits, ours, expected(bits)));
    }
}

#[test]
fn all_floats_of_eight_bits_are_what_their_definition_says() {
    let path = folder("eight").join("all.safetensors");
    let data: Vec<u8> = (0..=u8::MAX).collect();
    for (dtype, exponent_bits, has_infinity) in [("F8_E4M3", 4, false), ("F8_E5M2", 5, true)] {
        let header = format!(r#"{{"h":{{"dtype":"{dtype}","shape":[16,16],"data_offsets":[0,256]}}}}"#);
        fs::write(&path, tensors(&header, &data)).unwrap();
        let numbers = all(&path, ":h");
        assert_eq!(numbers.len(), 256);
        let expected = |bits| value(bits, exponent_bits, 7 - exponent_bits, has_infinity);
        numbers.iter().zip(0..).for_each(|(&ours, bits)| check(bits, ours, expected(bits)));
    }
    // The largest numbers of the two, as the paper of the formats has them (Micikevicius et al. 2022, table 1).
    assert_eq!([value(0x7e, 4, 3, false), value(0x7b, 5, 2, true)], [448.0, 57344.0]);
}

/// What a reader says of these bytes: a message with the name of the file, or numbers of the size of the file.
fn read(ending: &str, bytes: &[u8]) {
    let path = folder(&format!("any-{ending}-{:?}", std::thread::current().id())).join(format!("any.{ending}"));
    fs::write(&path, bytes).unwrap();
    let start = Instant::now();
    let value = path.display().to_string();
    match Array::open("--features", &value) {
        Err(message) => assert!(message.starts_with(&format!("--features {value}: ")), "{message}"),
        Ok(array) => {
            let (mut seen, vector) = (0, array.vector().map(|vector| vector.nrows()));
            let count = |_, batch: Batch<'_>| {
                seen += batch.len();
                Ok(())
            };
            if array.batches(3, count).is_ok() {
                assert!(seen <= bytes.len() && array.sides().unwrap().0 == seen);
            }
            assert!(vector.unwrap_or(0) <= bytes.len());
            let (rows, cols) = array.sides().unwrap_or((1, 1));
            let mut entries = 0;
            let count = |row, col, _| {
                assert!(row < rows && col < cols);
                entries += 1;
                Ok(())
            };
            if array.entries((rows, cols), count).is_ok() {
                assert_eq!(entries, rows * cols);
            }
        }
    }
    // Files of some hundred bytes; a parser that is led astray takes years.
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

/// Pieces that headers are made of.
const PIECES: [&str; 24] = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ",",
    ":",
    " ",
    "'",
    "\"",
    "'descr'",
    "'<f8'",
    "'<f2'",
    "'fortran_order'",
    "True",
    "False",
    "'shape'",
    "5",
    "2L",
    "-",
    "1e9",
    "\n",
    "b'",
];

proptest! {
    #[test]
    fn any_header_of_npy_is_read_or_refused_at_once(
        version in 0_u8..5,
        pieces in vec(select(&PIECES[..]), 0..200),
        length in prop_oneof![Just(None), any::<u16>().prop_map(Some)],
        data in vec(any::<u8>(), 0..100),
    ) {
        let header = pieces.concat();
        let start = npy_start(version, length.map_or(header.len(), usize::from));
        read("npy", &[&start[..], header.as_bytes(), &data].concat());
    }

    #[test]
    fn any_change_of_a_file_is_read_or_refused_at_once(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        is_cut: bool,
    ) {
        let header = r#"{"h":{"dtype":"F32","shape":[5,2],"data_offsets":[0,40]},"x":{"dtype":"BOOL","shape":[],"data_offsets":[40,41]}}"#;
        for (ending, mut file) in [("npy", npy(">f4", true, "(5, 2)", &[1; 40])), ("safetensors", tensors(header, &[1; 41]))] {
            for (place, byte) in &changes {
                let place = place.index(file.len());
                file[place] = *byte;
            }
            let end = if is_cut { cut.index(file.len()) } else { file.len() };
            read(ending, &file[..end]);
        }
    }
}

/// The longest headers that are accepted, of what takes a parser longest.
#[test]
fn the_longest_headers_are_read_or_refused_at_once() {
    let fills =
        ["9", "-", "1+", "'", "\"", "\\", "b'", "0x", "1_", "'a',", "1:1,", "1e9,", "True,", "((", "{'a':", "L", "٣"];
    for fill in fills {
        for brackets in ["", "{", "{{", "{[", "{(("] {
            for end in ["", "}"] {
                let mut header = brackets.to_owned();
                while header.len() + fill.len() + end.len() < 9_900 {
                    header += fill;
                }
                header += end;
                let start = Instant::now();
                read("npy", &[&npy_start(3, header.len())[..], header.as_bytes()].concat());
                assert!(start.elapsed() < Duration::from_secs(5), "{brackets}{fill}{end}: {:?}", start.elapsed());
            }
        }
    }
}

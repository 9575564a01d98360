//! Numbers on disk: how many bytes each one has, and its value, which is never rounded.

use half::{bf16, f16};

/// The type of the numbers of an array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Float(Float),
    Integer { bytes: usize, signed: bool },
    Bool,
}

/// The types of floats: every value of all but the first is an f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Float {
    F64,
    F32,
    F16,
    Bf16,
    /// `float8_e4m3fn` of PyTorch: no infinities, so that 448 is the largest.
    F8E4m3,
    F8E5m2,
}

/// One number, exactly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Entry {
    Float(f64),
    Integer(i128),
}

impl Number {
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::Float(Float::F64) => 8,
            Self::Float(Float::F32) => 4,
            Self::Float(Float::F16 | Float::Bf16) => 2,
            Self::Float(Float::F8E4m3 | Float::F8E5m2) | Self::Bool => 1,
            Self::Integer { bytes, .. } => bytes,
        }
    }

    /// The number that these bytes are, least significant byte first; `None` if they are none.
    pub(super) fn entry(self, word: &[u8]) -> Option<Entry> {
        match self {
            Self::Float(Float::F64) => word.try_into().ok().map(f64::from_le_bytes).map(Entry::Float),
            Self::Float(float) => float.single(word).map(f64::from).map(Entry::Float),
            Self::Bool => word.first().filter(|&&byte| byte <= 1).map(|&byte| Entry::Integer(i128::from(byte))),
            Self::Integer { bytes, signed } => {
                let value = word.iter().rev().fold(0_i128, |value, &byte| value << 8 | i128::from(byte));
                // The sign of two's complement.
                let beyond = 1 << (8 * bytes);
                Some(Entry::Integer(if signed && value >= beyond / 2 { value - beyond } else { value }))
            }
        }
    }
}

impl Float {
    /// The f32 that these bytes are, least significant byte first.
    fn single(self, word: &[u8]) -> Option<f32> {
        match (self, word) {
            (Self::F32, &[a, b, c, d]) => Some(f32::from_le_bytes([a, b, c, d])),
            (Self::F16, &[a, b]) => Some(f16::from_le_bytes([a, b]).to_f32()),
            (Self::Bf16, &[a, b]) => Some(bf16::from_le_bytes([a, b]).to_f32()),
            (Self::F8E4m3, &[byte]) => Some(e4m3(byte)),
            (Self::F8E5m2, &[byte]) => Some(e5m2(byte)),
            _ => None,
        }
    }

    /// All numbers of `data` as f32, which every type but F64 fits into.
    pub(super) fn singles(self, data: &[u8], big_endian: bool, to: &mut Vec<f32>) {
        match self {
            Self::F64 => to.clear(),
            Self::F32 => decode(data, big_endian, to, f32::from_le_bytes),
            Self::F16 => decode(data, big_endian, to, |word| f16::from_le_bytes(word).to_f32()),
            Self::Bf16 => decode(data, big_endian, to, |word| bf16::from_le_bytes(word).to_f32()),
            Self::F8E4m3 => decode(data, big_endian, to, |[byte]| e4m3(byte)),
            Self::F8E5m2 => decode(data, big_endian, to, |[byte]| e5m2(byte)),
        }
    }
}

/// All doubles of `data`.
pub(super) fn doubles(data: &[u8], big_endian: bool, to: &mut Vec<f64>) {
    decode(data, big_endian, to, f64::from_le_bytes);
}

fn decode<const BYTES: usize, T>(data: &[u8], big_endian: bool, to: &mut Vec<T>, number: impl Fn([u8; BYTES]) -> T) {
    let words = data.as_chunks::<BYTES>().0.iter().copied();
    to.clear();
    if big_endian {
        to.extend(words.map(|mut word| {
            word.reverse();
            number(word)
        }));
    } else {
        to.extend(words.map(number));
    }
}

/// Sign, four bits of exponent, three of mantissa: those of an f16 whose exponent counts from 8 less.
fn e4m3(byte: u8) -> f32 {
    if byte & 0x7f == 0x7f {
        return f32::NAN;
    }
    let (sign, rest) = (u16::from(byte & 0x80) << 8, u16::from(byte & 0x7f) << 7);
    256.0 * f16::from_bits(sign | rest).to_f32()
}

/// The upper byte of an f16.
fn e5m2(byte: u8) -> f32 {
    f16::from_bits(u16::from(byte) << 8).to_f32()
}

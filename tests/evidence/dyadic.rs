//! Numbers m 2^e of any length: what doubles are, and what sums and products of them are, without rounding.

use std::{
    cmp::Ordering,
    ops::{Add, Mul, Neg, Sub},
};

use num_bigint::BigInt;

#[derive(Clone, Debug)]
pub(crate) struct Dyadic {
    pub(crate) mantissa: BigInt,
    pub(crate) exponent: i64,
}

impl Dyadic {
    pub(crate) fn new(mantissa: impl Into<BigInt>, exponent: i64) -> Self {
        Self { mantissa: mantissa.into(), exponent }
    }

    pub(crate) fn pow(&self, power: u32) -> Self {
        Self::new(self.mantissa.pow(power), self.exponent * i64::from(power))
    }

    /// The mantissa for a smaller exponent.
    fn at(&self, exponent: i64) -> BigInt {
        &self.mantissa << usize::try_from(self.exponent - exponent).unwrap()
    }

    pub(crate) fn cmp(&self, other: &Self) -> Ordering {
        let exponent = self.exponent.min(other.exponent);
        self.at(exponent).cmp(&other.at(exponent))
    }

    pub(crate) fn is_below(&self, other: &Self) -> bool {
        self.cmp(other) != Ordering::Greater
    }

    /// This times 1 + parts · 2^-56: a sixteenth of an epsilon is one part.
    pub(crate) fn stretched(&self, parts: i64) -> Self {
        Self::new(&self.mantissa * ((1_i64 << 56) + parts), self.exponent - 56)
    }
}

impl From<f64> for Dyadic {
    fn from(value: f64) -> Self {
        assert!(value.is_finite());
        let bits = value.to_bits();
        let (exponent, fraction) = ((bits >> 52 & 0x7ff).cast_signed(), (bits & ((1 << 52) - 1)).cast_signed());
        let mantissa = if exponent == 0 { fraction } else { fraction | 1 << 52 };
        Self::new(if value < 0.0 { -mantissa } else { mantissa }, exponent.max(1) - 1075)
    }
}

impl From<u64> for Dyadic {
    fn from(value: u64) -> Self {
        Self::new(value, 0)
    }
}

impl Add for &Dyadic {
    type Output = Dyadic;

    fn add(self, other: Self) -> Dyadic {
        let exponent = self.exponent.min(other.exponent);
        Dyadic::new(self.at(exponent) + other.at(exponent), exponent)
    }
}

impl Neg for &Dyadic {
    type Output = Dyadic;

    fn neg(self) -> Dyadic {
        Dyadic::new(-&self.mantissa, self.exponent)
    }
}

impl Sub for &Dyadic {
    type Output = Dyadic;

    fn sub(self, other: Self) -> Dyadic {
        self + &-other
    }
}

impl Mul for &Dyadic {
    type Output = Dyadic;

    fn mul(self, other: Self) -> Dyadic {
        Dyadic::new(&self.mantissa * &other.mantissa, self.exponent + other.exponent)
    }
}

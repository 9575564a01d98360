//! Positive numbers whose exponent cannot overflow, for products of decays.

/// The positive number mantissa · 2^exponent with 1 ≤ mantissa < 2.
///
/// Decays of 1e-150 and 1e+140 have a moderate product, but its partial products leave the range of `f64`. Every
/// operation rounds once, as in `f64`; [`Wide::power`] rounds once a multiplication.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wide {
    mantissa: f64,
    exponent: i64,
}

/// The bits of the mantissa of an `f64`, and the exponent that makes it a number in [1, 2).
const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;
const BIAS: i64 = f64::MAX_EXP as i64 - 1;

impl Wide {
    pub(crate) const ONE: Self = Self { mantissa: 1.0, exponent: 0 };

    /// `value` must be positive and finite.
    pub(crate) fn new(value: f64) -> Self {
        debug_assert!(value > 0.0 && value.is_finite());
        // A subnormal number has no leading one: bring it into the normal range first.
        let (value, shift) = if value < f64::MIN_POSITIVE { (value * 2_f64.powi(64), -64) } else { (value, 0) };
        let bits = value.to_bits();
        let one = 1.0_f64.to_bits();
        let mantissa = f64::from_bits(bits & ((1 << MANTISSA_BITS) - 1) | one);
        let exponent = (bits >> MANTISSA_BITS).cast_signed() - BIAS;
        Self { mantissa, exponent: exponent + shift }
    }

    pub(crate) fn times(self, other: Self) -> Self {
        let product = Self::new(self.mantissa * other.mantissa);
        Self { exponent: product.exponent + self.exponent + other.exponent, ..product }
    }

    pub(crate) fn over(self, other: Self) -> Self {
        let quotient = Self::new(self.mantissa / other.mantissa);
        Self { exponent: quotient.exponent + self.exponent - other.exponent, ..quotient }
    }

    /// self^n, with a relative error of at most about n rounding errors.
    pub(crate) fn power(self, mut n: usize) -> Self {
        let (mut square, mut power) = (self, Self::ONE);
        while n > 0 {
            if n % 2 == 1 {
                power = power.times(square);
            }
            square = square.times(square);
            n /= 2;
        }
        power
    }

    /// The n-th root, n ≥ 1: relative errors of `self` are divided by n, and at most two rounding errors are added.
    #[allow(clippy::cast_possible_wrap)]
    pub(crate) fn root(self, n: usize) -> Self {
        let quotient = self.exponent.div_euclid(n as i64);
        let remainder = self.exponent.rem_euclid(n as i64);
        // (m · 2^r)^(1/n) with m < 2, r < n lies in [1, 2) for every n: log₂ of it is exact enough, since r + log₂ m is
        // divided by n.
        let root = match n {
            1 => self.mantissa,
            2 => (self.mantissa * (1 + remainder) as f64).sqrt(),
            _ => ((remainder as f64 + self.mantissa.log2()) / n as f64).exp2(),
        };
        let root = Self::new(root);
        Self { exponent: root.exponent + quotient, ..root }
    }

    /// The nearest `f64`: infinite or zero if the exponent is out of range.
    #[allow(clippy::cast_possible_truncation)]
    pub(crate) fn to_f64(self) -> f64 {
        // Two exact factors, since 2^-1074 is reached from a normal number only in two steps.
        let exponent = self.exponent.clamp(-2200, 2200) as i32;
        self.mantissa * 2_f64.powi(exponent / 2) * 2_f64.powi(exponent - exponent / 2)
    }
}

/// The largest power of two that is no larger than a positive normal number; 1 for others.
pub(crate) fn power_of_two(value: f64) -> f64 {
    if value >= f64::MIN_POSITIVE { f64::from_bits(value.to_bits() & f64::INFINITY.to_bits()) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::Wide;

    #[test]
    fn every_kind_of_number_comes_back() {
        for value in [1.0, 0.1, 3.0, 1e-150, 1e140, f64::MIN_POSITIVE, f64::MAX, 5e-324, 2.5e-310] {
            assert_eq!(Wide::new(value).to_f64(), value);
        }
    }

    #[test]
    fn products_beyond_the_range_of_f64_come_back_into_it() {
        let tiny = Wide::new(1e-300);
        assert_eq!(tiny.times(tiny).to_f64(), 0.0);
        assert_eq!(Wide::ONE.over(tiny.times(tiny)).to_f64(), f64::INFINITY);
        // (2^-1000)^7 has the seventh root 2^-1000, exactly.
        let exact = Wide::new(2_f64.powi(-1000));
        assert_eq!(exact.power(7).root(7).to_f64(), 2_f64.powi(-1000));
    }

    #[test]
    fn roots_undo_powers_to_rounding() {
        for n in 1..40 {
            for value in [1.1, 1.999_999, 3e-200, 7e180] {
                let back = Wide::new(value).power(n).root(n).to_f64();
                // n rounding errors of half an epsilon in the power, divided by n in the root; two in the root.
                assert!((back / value - 1.0).abs() <= 1.5 * f64::EPSILON + f64::EPSILON, "{value} {n} {back}");
            }
        }
    }
}

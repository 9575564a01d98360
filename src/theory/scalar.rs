//! The scalar problem of one singular value (Liu 2024, Lemma A.2), in two forms: scalars in, scalars out.
//!
//! The paper asks for the minimizer x of g(x) = 1/(x^L + 1) + β x. The better-conditioned unknown is the relative
//! shrinkage e of a singular value σ, the smaller root of e (1-e)^((L-1)/(L+1)) = q. The two are related by
//!
//! ```text
//! x^L = (1 - e)/e,      (β/L)^(L/(L+1)) = q
//! ```
//!
//! Both are found by a Newton iteration that rises monotonically from the left of the root, in the logarithm of the
//! unknown, and ends with one correction whose residual is computed in double-double arithmetic: an integer power,
//! without logarithms, so that the last digits do not depend on the platform's mathematical library.

use qd::Quad;

use crate::error::{Error, check_not_negative, check_positive};

/// The global minimizers of g(x) = 1/(x^L + 1) + β x over x ≥ 0.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum ScalarMinimizer {
    /// Only zero: β > β_L (or L = 1 and β = 1).
    Zero,
    /// Zero and this positive number cost the same: L ≥ 2 and β = β_L to the last digit.
    Both(f64),
    /// Only this positive number: β < β_L.
    Positive(f64),
}

/// The relative shrinkage e of a singular value: σ becomes σ (1-e).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Shrinkage {
    /// e in [0, 1/L]: the direction is kept.
    Partial(f64),
    /// Keeping the direction, with this e = 1/L, costs the same as giving it up: L ≥ 2 and q = q_L to the last digit.
    Both(f64),
    /// e = 1: the direction collapses to zero.
    Complete,
}

impl Shrinkage {
    /// The relative shrinkage e; if there are two, the smaller.
    #[must_use]
    pub fn relative(self) -> f64 {
        match self {
            Self::Partial(e) | Self::Both(e) => e,
            Self::Complete => 1.0,
        }
    }
}

/// The threshold of β beyond which zero minimizes 1/(x^L + 1) + β x, correctly rounded:
///
/// ```text
/// β_L = (L-1)^((L-1)/L) / L,      β_1 = 1
/// ```
///
/// # Errors
///
/// [`Error::NoLayers`] for L = 0, [`Error::Domain`] for L above 2^53.
///
/// # References
///
/// Liu 2024, Lemma A.2; Dang et al. 2023, D.2.1.
pub fn scalar_threshold(layers: usize) -> Result<f64, Error> {
    check_layers(layers)?;
    Ok(critical_beta(layers))
}

/// The threshold of q beyond which a direction collapses, correctly rounded:
///
/// ```text
/// q_L = 1/L (1 - 1/L)^((L-1)/(L+1)),      q_1 = 1
/// ```
///
/// # Errors
///
/// [`Error::NoLayers`] for L = 0, [`Error::Domain`] for L above 2^53.
pub fn shrinkage_threshold(layers: usize) -> Result<f64, Error> {
    check_layers(layers)?;
    Ok(critical_q(layers))
}

/// The global minimizers of g(x) = 1/(x^L + 1) + β x over x ≥ 0.
///
/// Beyond the threshold β_L of [`scalar_threshold`] the minimizer is zero. At the threshold zero and (L-1)^(1/L) both
/// minimize. Below it the minimizer is the largest root of
///
/// ```text
/// β = L x^(L-1) / (x^L + 1)²
/// ```
///
/// A positive root exists for some β above β_L too, but there it is not the global minimizer. The result is within one
/// unit in the last place for normal β.
///
/// # Errors
///
/// [`Error::NoLayers`] for L = 0, [`Error::Domain`] for L above 2^53 and unless β is positive and finite.
///
/// # Example
///
/// ```
/// use neural_collapse::theory::scalar::{ScalarMinimizer, scalar_minimizer};
///
/// assert_eq!(scalar_minimizer(0.25, 1)?, ScalarMinimizer::Positive(1.0)); // 1/√β - 1
/// assert_eq!(scalar_minimizer(0.505, 2)?, ScalarMinimizer::Zero); // although 0.505 = 2x/(x² + 1)² has a root near 0.99
/// assert_eq!(scalar_minimizer(0.5, 2)?, ScalarMinimizer::Both(1.0));
/// # Ok::<(), neural_collapse::Error>(())
/// ```
///
/// # References
///
/// Liu 2024, Lemma A.2; Dang et al. 2023, D.2.1.
pub fn scalar_minimizer(beta: f64, layers: usize) -> Result<ScalarMinimizer, Error> {
    check_layers(layers)?;
    check_positive("beta", beta)?;
    let threshold = critical_beta(layers);
    Ok(if beta > threshold || (layers == 1 && beta == threshold) {
        ScalarMinimizer::Zero
    } else if beta == threshold {
        ScalarMinimizer::Both(largest_root(beta, layers))
    } else {
        ScalarMinimizer::Positive(largest_root(beta, layers))
    })
}

/// The relative shrinkage e of a singular value σ whose decays give q = N (λ_H λ_1 ··· λ_L)^(1/(L+1)) σ^(-2L/(L+1)).
///
/// The smaller root of
///
/// ```text
/// e (1-e)^((L-1)/(L+1)) = q      in (0, 1/L]
/// ```
///
/// up to the threshold q_L of [`shrinkage_threshold`], and 1 beyond it. For L = 1 this is soft thresholding, e = q. The
/// result is within one unit in the last place for every q ≥ 0, however small.
///
/// # Errors
///
/// [`Error::NoLayers`] for L = 0, [`Error::Domain`] for L above 2^53 and unless q is finite and not negative.
///
/// # Example
///
/// ```
/// use neural_collapse::theory::scalar::{Shrinkage, shrinkage};
///
/// assert_eq!(shrinkage(0.3, 1)?, Shrinkage::Partial(0.3));
/// let e = shrinkage(0.3, 2)?.relative();
/// assert!((e * (1.0 - e).cbrt() - 0.3).abs() < 1e-16);
/// assert_eq!(shrinkage(0.4, 2)?, Shrinkage::Complete); // q_2 = 0.3968...
/// # Ok::<(), neural_collapse::Error>(())
/// ```
pub fn shrinkage(q: f64, layers: usize) -> Result<Shrinkage, Error> {
    check_layers(layers)?;
    check_not_negative("q", q)?;
    let threshold = critical_q(layers);
    Ok(if q > threshold || (layers == 1 && q == threshold) {
        Shrinkage::Complete
    } else if q == threshold {
        Shrinkage::Both(smaller_root(q, layers))
    } else {
        Shrinkage::Partial(smaller_root(q, layers))
    })
}

fn check_layers(layers: usize) -> Result<(), Error> {
    match layers {
        0 => Err(Error::NoLayers),
        // Beyond, L is no longer exact as a number; no model comes near it.
        layers if layers as u64 > 1 << 53 => {
            Err(Error::Domain { argument: "layers", value: layers as f64, accepted: "1 to 2^53" })
        }
        _ => Ok(()),
    }
}

/// Relative steps below this are followed by the final correction: its error is about their square, 1e-24.
const CLOSE: f64 = 1e-12;

/// The smaller root e of e (1-e)^p = q, p = (L-1)/(L+1), for 0 ≤ q ≤ q_L.
///
/// φ(ln e) = ln(e/q) + p ln(1-e) is concave and rises up to e = (L+1)/(2L); its slope there on [0, 1/L] is at least
/// L/(L+1). Newton's method from e = q, where φ ≤ 0, therefore rises to the root and never passes it.
pub(crate) fn smaller_root(q: f64, layers: usize) -> f64 {
    // e = q (1 + p q + O(q²)): q itself is correctly rounded here, and for L = 1 everywhere.
    if layers == 1 || q < f64::EPSILON / 4.0 {
        return q;
    }
    let p = (layers - 1) as f64 / (layers + 1) as f64;
    let slope = |e: f64| 1.0 - p * e / (1.0 - e);
    let mut e = q;
    loop {
        let step = -((e / q).ln() + p * (-e).ln_1p()) / slope(e);
        e += e * step;
        // Not `<`: rounding can make the step negative or, for no known q, NaN.
        if !(step > CLOSE) {
            break;
        }
    }
    // ((e/q) (1-e)^p)^(L+1) - 1 without a root, exact to about L 2^-104.
    let ratio = Quad::from(e) / Quad::from(q);
    let power = power(ratio, layers + 1) * power(Quad::ONE - Quad::from(e), layers - 1);
    let residual = (power - Quad::ONE).0;
    e - e * residual / ((layers + 1) as f64 * slope(e))
}

/// The largest root x of β = L x^(L-1)/(x^L + 1)², for 0 < β ≤ β_L.
///
/// With u = 1/x, u^L ≤ 1/(L-1): χ(ln u) = ln(L u^(L+1) / ((1 + u^L)² β)) is concave and rises there, its slope being
/// ((L+1) - (L-1) u^L)/(1 + u^L) ≥ L - 1. Newton's method from u = (β/L)^(1/(L+1)), where χ ≤ 0, rises to the root and
/// never passes it; nothing in it overflows.
fn largest_root(beta: f64, layers: usize) -> f64 {
    let l = layers as f64;
    let slope = |a: f64| ((l + 1.0) - (l - 1.0) * a) / (1.0 + a);
    let x = if layers == 1 {
        // 1/√β - 1 without cancellation: 1 - β is exact for β ≥ 1/2.
        let root = beta.sqrt();
        (1.0 - beta) / (root * (1.0 + root))
    } else {
        // The logarithms keep their relative accuracy to 1e-13 even at β = 1e-308; the final correction does the rest.
        let target = beta.ln() - l.ln();
        let mut log = target / (l + 1.0);
        loop {
            let a = (l * log).exp();
            let step = -((l + 1.0) * log - 2.0 * a.ln_1p() - target) / slope(a);
            log += step;
            if !(step > CLOSE) {
                break;
            }
        }
        (-log).exp()
    };
    // β (1 + x^L) · x (1 + x^-L) / L - 1 = 1/(the ratio under the logarithm above) - 1, every factor moderate.
    let power = power(Quad::from(x), layers);
    let ratio =
        (Quad::from(beta) * (Quad::ONE + power)) * (Quad::from(x) * (Quad::ONE + Quad::ONE / power) / Quad::from(l));
    let correction = (ratio - Quad::ONE).0 / slope(1.0 / power.0);
    // x^L overflows only for β below 1e-300 and L in the hundreds: the iterate itself is then all there is.
    if correction.is_finite() { x - x * correction } else { x }
}

/// q_L = y with (y L)^(L+1) (L/(L-1))^(L-1) = 1: the correction to a first value is computed in double-double
/// arithmetic.
pub(crate) fn critical_q(layers: usize) -> f64 {
    if layers == 1 {
        return 1.0;
    }
    let l = layers as f64;
    let first = ((l - 1.0) / (l + 1.0) * (-1.0 / l).ln_1p()).exp() / l;
    let scaled = power(Quad::from(first) * Quad::from(l), layers + 1);
    let rest = power(Quad::from(l) / Quad::from(l - 1.0), layers - 1);
    first - first * (scaled * rest - Quad::ONE).0 / (l + 1.0)
}

/// β_L = y with (y L/(L-1))^L (L-1) = 1, as [`critical_q`].
fn critical_beta(layers: usize) -> f64 {
    if layers == 1 {
        return 1.0;
    }
    let l = layers as f64;
    // The exponent of exp(-(ln L - (L-1) ln(1-1/L))/L) is small, and the correction below is not small enough.
    if layers as u64 > 1 << 40 {
        return ((-l.ln() + (l - 1.0) * (-1.0 / l).ln_1p()) / l).exp();
    }
    let first = ((l - 1.0) / l * (l - 1.0).ln()).exp() / l;
    let scaled = power(Quad::from(first) * Quad::from(l) / Quad::from(l - 1.0), layers);
    first - first * (scaled * Quad::from(l - 1.0) - Quad::ONE).0 / l
}

/// base^n by repeated squaring, with a relative error of about n 2^-104.
fn power(base: Quad, mut n: usize) -> Quad {
    let (mut square, mut power) = (base, Quad::ONE);
    while n > 0 {
        if n % 2 == 1 {
            power *= square;
        }
        n /= 2;
        if n > 0 {
            square *= square;
        }
    }
    power
}

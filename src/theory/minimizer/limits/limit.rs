//! Up to which decay something holds.

use std::fmt;

/// Up to which decay, or which factor on all decays, a minimizer keeps what it is asked for.
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Ufm, theory::{Goal, Limit}};
///
/// let rank = |widths: usize| {
///     let ufm = Ufm::new("80,20".parse::<ClassCounts>()?, [Layer::new(widths, 1e-3)], 1e-3)?.without_bias();
///     ufm.minimizer()?.largest_scale(Goal::Rank(2))
/// };
/// // q = N √(λ_1 λ_H)/√n = s · 0.1/√20 reaches 1 at s = √20/0.1, and one width has no room for two directions.
/// assert!(matches!(rank(2)?, Limit::Below(scale) if (scale / (20.0_f64.sqrt() / 0.1) - 1.0).abs() < 1e-15));
/// assert_eq!(rank(1)?, Limit::Never);
/// assert_eq!(rank(1)?.to_string(), "never");
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Limit {
    /// At no positive decay, however small: a width is too narrow, or the targets do not give it.
    Never,
    /// Below this number, and not above it. It is 0 or infinite if it is beyond the range of `f64`.
    Below(#[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))] f64),
    /// At any decay, however large: there is nothing that a decay could take.
    Always,
}

impl Limit {
    /// The number of [`Limit::Below`]; `None` if it is never or always kept.
    #[must_use]
    pub fn value(self) -> Option<f64> {
        match self {
            Self::Below(value) => Some(value),
            Self::Never | Self::Always => None,
        }
    }

    /// The same limit for another quantity, which grows with this one.
    pub(in crate::theory) fn map(self, to: impl FnOnce(f64) -> f64) -> Self {
        match self {
            Self::Below(value) => Self::Below(to(value)),
            Self::Never | Self::Always => self,
        }
    }
}

impl fmt::Display for Limit {
    /// `never`, `below` and the number, in the format that is asked for (`{:.3}`), or `always`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("never"),
            Self::Below(value) => {
                f.write_str("below ")?;
                fmt::Display::fmt(value, f)
            }
            Self::Always => f.write_str("always"),
        }
    }
}

//! A singular value and how often it occurs.

/// A singular value and how often it occurs.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Level {
    /// The singular value σ.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub value: f64,
    /// The number of equal singular values in this level.
    pub multiplicity: usize,
    /// The group of classes of equal counts that the vectors of this level distinguish, from 0 by falling count; `None`
    /// for the levels between groups and for the zero of the centered label matrix.
    pub group: Option<usize>,
}

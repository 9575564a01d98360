//! What is minimized over the outputs: squared error or cross-entropy, class weights, adjustments of logits.
//!
//! This is the one place that knows a loss. For a sample of class k with outputs z, and y its target:
//!
//! ```text
//! u = δ z + ι + m_k       δ: scales of the logits, ι: shifts, the same for all samples, m_k: -margin on the own class
//! squared error    l = 1/2 ‖u - y‖²                  p = u
//! cross-entropy    l = log Σ_i exp(u_i) - yᵀu        p = softmax(u)
//! α_k l is added up over samples; its gradient by z is α_k δ (p - y).
//! ```

mod column;
mod weights;

use std::sync::Arc;

pub use self::weights::ClassWeights;
pub(crate) use self::{column::Label, weights::normalized};
use crate::{error::Error, names::named};

/// The loss of one sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Loss {
    /// Half of the squared error, ½ ‖z - y‖².
    #[default]
    Squared,
    /// Cross-entropy of the softmax, log Σ_i exp(z_i) - yᵀz, or -yᵀ log p if y sums to 1 only to rounding.
    CrossEntropy,
}

named!(Loss, "loss": Squared = "squared", CrossEntropy = "cross-entropy");

/// A loss with its class weights and adjustments, checked. What does nothing is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(default, deny_unknown_fields))]
pub(crate) struct OutputLoss {
    pub(crate) kind: Loss,
    /// α, one a class.
    weights: Option<Arc<[f64]>>,
    /// δ, one an output.
    scales: Option<Arc<[f64]>>,
    /// ι, one an output.
    shifts: Option<Arc<[f64]>>,
    /// What the own class has to be ahead by, one a class.
    margins: Option<Arc<[f64]>>,
}

/// A list in which every entry does nothing is no list.
fn unless_all(neutral: f64, values: Vec<f64>) -> Option<Arc<[f64]>> {
    values.iter().any(|value| *value != neutral).then(|| values.into())
}

fn check(
    argument: &'static str,
    values: &[f64],
    classes: usize,
    accepted: &'static str,
    is_accepted: impl Fn(f64) -> bool,
) -> Result<(), Error> {
    if values.len() != classes {
        return Err(Error::PerClass { argument, expected: classes, found: values.len() });
    }
    match values.iter().position(|value| !is_accepted(*value)) {
        Some(class) => Err(Error::OfClass { argument, class, value: values[class], accepted }),
        None => Ok(()),
    }
}

impl OutputLoss {
    pub(crate) fn set_weights(&mut self, weights: Vec<f64>, classes: usize) -> Result<(), Error> {
        check("class weights", &weights, classes, "positive finite numbers", |weight| {
            weight > 0.0 && weight.is_finite()
        })?;
        self.weights = unless_all(1.0, weights);
        Ok(())
    }

    pub(crate) fn set_scales(&mut self, scales: Vec<f64>, classes: usize) -> Result<(), Error> {
        check("scales of logits", &scales, classes, "positive finite numbers", |scale| {
            scale > 0.0 && scale.is_finite()
        })?;
        self.scales = unless_all(1.0, scales);
        Ok(())
    }

    pub(crate) fn set_shifts(&mut self, shifts: Vec<f64>, classes: usize) -> Result<(), Error> {
        check("shifts of logits", &shifts, classes, "finite numbers", f64::is_finite)?;
        self.shifts = unless_all(0.0, shifts);
        Ok(())
    }

    pub(crate) fn set_margins(&mut self, margins: Vec<f64>, classes: usize) -> Result<(), Error> {
        let accepted = "finite numbers >= 0";
        check("margins", &margins, classes, accepted, |margin| margin >= 0.0 && margin.is_finite())?;
        self.margins = unless_all(0.0, margins);
        Ok(())
    }

    /// Whether this is ½ ‖z - y‖² for every sample.
    pub(crate) fn is_plain_squared(&self) -> bool {
        self.kind == Loss::Squared && self.weights.is_none() && !self.adjusts()
    }

    /// Whether the loss of all samples together stays the same if samples are rotated among each other, and their
    /// targets with them: then deviations from class means can be reduced.
    ///
    /// Squared error without class weights is 1/2 ‖Δ (Z + b 1ᵀ) - Y'‖², Y' being Y without shifts and with margins. For an
    /// orthogonal N × N matrix Q it is the same at Z Q, 1ᵀQ and Y' Q. Scales act on rows, shifts and margins are equal
    /// within a class, so that Y' Q = [Y'_K D, 0] for the Q that takes class means to the first K columns. Class weights
    /// would weight a column that mixes classes; and the softmax of a mixture of samples is not a mixture of theirs.
    pub(crate) fn is_rotation_invariant(&self) -> bool {
        self.kind == Loss::Squared && self.weights.is_none()
    }

    /// Whether logits are scaled, shifted or given a margin.
    pub(crate) fn adjusts(&self) -> bool {
        self.scales.is_some() || self.shifts.is_some() || self.margins.is_some()
    }

    pub(crate) fn weights(&self) -> Option<&[f64]> {
        self.weights.as_deref()
    }

    pub(crate) fn scales(&self) -> Option<&[f64]> {
        self.scales.as_deref()
    }

    pub(crate) fn shifts(&self) -> Option<&[f64]> {
        self.shifts.as_deref()
    }

    pub(crate) fn margins(&self) -> Option<&[f64]> {
        self.margins.as_deref()
    }

    /// α of a class.
    pub(crate) fn weight(&self, class: usize) -> f64 {
        self.weights.as_ref().map_or(1.0, |weights| weights[class])
    }

    /// δ of an output.
    pub(crate) fn scale(&self, output: usize) -> f64 {
        self.scales.as_ref().map_or(1.0, |scales| scales[output])
    }

    /// ι of an output.
    pub(crate) fn shift(&self, output: usize) -> f64 {
        self.shifts.as_ref().map_or(0.0, |shifts| shifts[output])
    }

    /// The margin of a class.
    pub(crate) fn margin(&self, class: usize) -> f64 {
        self.margins.as_ref().map_or(0.0, |margins| margins[class])
    }
}

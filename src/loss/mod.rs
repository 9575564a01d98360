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

mod weights;

use std::sync::Arc;

pub use self::weights::ClassWeights;
pub(crate) use self::weights::normalized;
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
    /// Cross-entropy of the softmax, log Σ_i exp(z_i) - yᵀz.
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

    /// α_k l_k of a sample of class k whose target is (1-ε) e_k + ε/K 1, and its gradient α_k δ (p - y) in the place of
    /// its outputs.
    pub(crate) fn of_label(&self, class: usize, smoothing: f64, outputs: &mut [f64]) -> f64 {
        let everywhere = smoothing / outputs.len() as f64;
        self.adjust(outputs);
        outputs[class] -= self.margin(class);
        let value = match self.kind {
            Loss::Squared => {
                outputs[class] -= 1.0 - smoothing;
                outputs.iter_mut().for_each(|output| *output -= everywhere);
                0.5 * outputs.iter().map(|error| error * error).sum::<f64>()
            }
            Loss::CrossEntropy => cross_entropy_of_label(class, everywhere, outputs),
        };
        let weight = self.weight(class);
        self.unadjust(weight, outputs);
        weight * value
    }

    /// The same for a target of any kind, whose weight is 1.
    pub(crate) fn of_target<'a>(&self, target: impl Iterator<Item = &'a f64> + Clone, outputs: &mut [f64]) -> f64 {
        self.adjust(outputs);
        let value = match self.kind {
            Loss::Squared => {
                outputs.iter_mut().zip(target).for_each(|(output, y)| *output -= y);
                0.5 * outputs.iter().map(|error| error * error).sum::<f64>()
            }
            Loss::CrossEntropy => {
                let largest = outputs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = outputs.iter().map(|u| (u - largest).exp()).sum();
                // Every term is positive: y sums to 1.
                let terms = outputs.iter().zip(target.clone()).map(|(u, y)| y * (largest - u));
                let value = sum.ln() + terms.sum::<f64>();
                for (output, y) in outputs.iter_mut().zip(target) {
                    *output = (*output - largest).exp() / sum - y;
                }
                value
            }
        };
        self.unadjust(1.0, outputs);
        value
    }

    /// From z to δ z + ι.
    fn adjust(&self, outputs: &mut [f64]) {
        if let Some(scales) = &self.scales {
            outputs.iter_mut().zip(scales.iter()).for_each(|(output, scale)| *output *= scale);
        }
        if let Some(shifts) = &self.shifts {
            outputs.iter_mut().zip(shifts.iter()).for_each(|(output, shift)| *output += shift);
        }
    }

    /// From the gradient by u to α times that by z.
    fn unadjust(&self, weight: f64, gradient: &mut [f64]) {
        if let Some(scales) = &self.scales {
            gradient.iter_mut().zip(scales.iter()).for_each(|(entry, scale)| *entry *= scale);
        }
        if weight != 1.0 {
            gradient.iter_mut().for_each(|entry| *entry *= weight);
        }
    }
}

/// log Σ_i exp(u_i) - yᵀu with y = (1-ε) e_k + ε/K 1, and p - y in the place of u.
///
/// Digits are kept where the fit is almost perfect: the loss of the label is log(1 + Σ_{i≠k} exp(u_i - u_k)), and p_k - 1
/// is minus the sum of the others.
fn cross_entropy_of_label(class: usize, everywhere: f64, logits: &mut [f64]) -> f64 {
    let own = logits[class];
    let others = || logits.iter().enumerate().filter(|(i, _)| *i != class).map(|(_, u)| *u);
    let largest = others().fold(f64::NEG_INFINITY, f64::max).max(own);
    let rest: f64 = others().map(|u| (u - largest).exp()).sum();
    let mine = (own - largest).exp();
    let fit = if own == largest { rest.ln_1p() } else { (largest - own) + (rest + mine).ln() };
    let spread = if everywhere == 0.0 { 0.0 } else { everywhere * others().map(|u| own - u).sum::<f64>() };
    let (sum, classes) = (rest + mine, logits.len() as f64);
    for (i, logit) in logits.iter_mut().enumerate() {
        *logit = if i == class {
            (classes - 1.0) * everywhere - rest / sum
        } else {
            (*logit - largest).exp() / sum - everywhere
        };
    }
    fit + spread
}

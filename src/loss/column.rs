//! The value and the gradient of a loss, one column of outputs at a time.

// pulp compiles its kernels for the registers found at run time only if they are inlined.
#![allow(clippy::inline_always)]

use pulp::{Arch, Simd, WithSimd};

use super::{Loss, OutputLoss};
use crate::linalg::lanes::{largest, square, sum};

/// What a column of outputs is compared with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Label<'a> {
    /// (1-ε) e_k + ε/K 1 for the class k.
    Class(usize, f64),
    /// Any target y.
    Target(&'a [f64]),
    /// A deviation from class means, which the target does not see.
    Zero,
}

impl OutputLoss {
    /// The loss of s² samples whose features are g/s, as one column of weight s with outputs o = W g:
    ///
    /// ```text
    /// s² α l(o/s + b),      its gradient by o:  s α δ (p - y),      by b: s times that
    /// ```
    ///
    /// The gradient by o takes the place of the outputs. A deviation has weight zero, and is exact only for losses that
    /// are invariant under rotations of the samples.
    pub(crate) fn of_column(&self, label: Label<'_>, weight: f64, bias: &[f64], outputs: &mut [f64]) -> f64 {
        if weight != 1.0 && weight != 0.0 {
            for output in outputs.iter_mut() {
                *output /= weight;
            }
        }
        if weight != 0.0 {
            outputs.iter_mut().zip(bias).for_each(|(output, bias)| *output += bias);
        }
        let value = match label {
            Label::Class(class, smoothing) => self.of_label(class, smoothing, outputs),
            Label::Target(target) => self.of_target(target, outputs),
            Label::Zero => return self.of_deviation(outputs),
        };
        if weight == 1.0 {
            return value;
        }
        for entry in outputs.iter_mut() {
            *entry *= weight;
        }
        weight * weight * value
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
                for output in outputs.iter_mut() {
                    *output -= everywhere;
                }
                half_square(outputs)
            }
            Loss::CrossEntropy => cross_entropy_of_label(class, everywhere, outputs),
        };
        let weight = self.weight(class);
        self.unadjust(weight, outputs);
        weight * value
    }

    /// The same for a target of any kind, whose weight is 1.
    pub(crate) fn of_target(&self, target: &[f64], outputs: &mut [f64]) -> f64 {
        self.adjust(outputs);
        let value = match self.kind {
            Loss::Squared => {
                outputs.iter_mut().zip(target).for_each(|(output, y)| *output -= y);
                half_square(outputs)
            }
            Loss::CrossEntropy => cross_entropy_of_target(target, outputs),
        };
        self.unadjust(1.0, outputs);
        value
    }

    /// ½ ‖δ o‖² of a deviation, and its gradient δ² o.
    fn of_deviation(&self, outputs: &mut [f64]) -> f64 {
        self.scale_by(outputs);
        let value = half_square(outputs);
        self.scale_by(outputs);
        value
    }

    /// From z to δ z + ι.
    fn adjust(&self, outputs: &mut [f64]) {
        self.scale_by(outputs);
        if let Some(shifts) = &self.shifts {
            outputs.iter_mut().zip(shifts.iter()).for_each(|(output, shift)| *output += shift);
        }
    }

    /// From the gradient by u to α times that by z.
    fn unadjust(&self, weight: f64, gradient: &mut [f64]) {
        self.scale_by(gradient);
        if weight != 1.0 {
            for entry in gradient.iter_mut() {
                *entry *= weight;
            }
        }
    }

    /// Times δ.
    fn scale_by(&self, outputs: &mut [f64]) {
        if let Some(scales) = &self.scales {
            outputs.iter_mut().zip(scales.iter()).for_each(|(output, scale)| *output *= scale);
        }
    }
}

fn half_square(errors: &[f64]) -> f64 {
    0.5 * square(errors)
}

/// Replaces logits by exp(u - `largest`), and adds them up. Exponentials need clear registers: pulp leaves them so.
fn exponentials(logits: &mut [f64], largest: f64) -> f64 {
    Arch::new().dispatch(Lower { logits, by: largest });
    for logit in logits.iter_mut() {
        *logit = logit.exp();
    }
    sum(logits)
}

/// Takes a number from all logits.
struct Lower<'a> {
    logits: &'a mut [f64],
    by: f64,
}

impl WithSimd for Lower<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        for logit in self.logits {
            *logit -= self.by;
        }
    }
}

/// log Σ_i exp(u_i) - yᵀu with y = (1-ε) e_k + ε/K 1, and p - y in the place of u; `everywhere` is ε/K.
///
/// With m the largest logit this is log Σ_i exp(u_i - m) + Σ_i y_i (m - u_i): no term is negative or overflows. Digits
/// are kept if the fit is almost perfect: the sum without the own class goes through log(1 + x), and p_k - 1 is minus
/// that sum divided by the whole.
fn cross_entropy_of_label(class: usize, everywhere: f64, logits: &mut [f64]) -> f64 {
    let own = logits[class];
    let others = (logits.len() - 1) as f64 * everywhere;
    // Without the own class: exp(-∞) = 0.
    logits[class] = f64::NEG_INFINITY;
    let rival = largest(logits);
    let top = if rival > own { rival } else { own };
    let mut value = (1.0 - others) * (top - own);
    if everywhere > 0.0 {
        logits[class] = top;
        value += everywhere * logits.iter().map(|logit| top - logit).sum::<f64>();
        logits[class] = f64::NEG_INFINITY;
    }
    let rest = exponentials(logits, top);
    let mine = (own - top).exp();
    value += if mine == 1.0 { rest.ln_1p() } else { (rest + mine).ln() };
    let inverse = 1.0 / (rest + mine);
    for logit in logits.iter_mut() {
        *logit = *logit * inverse - everywhere;
    }
    logits[class] = others - rest * inverse;
    value
}

/// -yᵀ log p with p = softmax(u), and its gradient (Σ y) p - y in the place of u. Targets sum to 1 except for rounding,
/// perhaps that of single precision; this form is bounded below for any sum.
fn cross_entropy_of_target(target: &[f64], logits: &mut [f64]) -> f64 {
    let top = largest(logits);
    let index = logits.iter().position(|logit| *logit == top).unwrap_or(0);
    let value: f64 = logits.iter().zip(target).map(|(logit, y)| y * (top - logit)).sum();
    // Without the largest logit, as above; its exponential is 1.
    logits[index] = if logits[index] == top { f64::NEG_INFINITY } else { f64::NAN };
    let rest = exponentials(logits, top);
    let others: f64 = target.iter().enumerate().filter(|(i, _)| *i != index).map(|(_, y)| y).sum();
    let mass = others + target[index];
    let inverse = mass / (1.0 + rest);
    logits.iter_mut().zip(target).for_each(|(logit, y)| *logit = *logit * inverse - y);
    logits[index] = others - rest * inverse;
    value + mass * rest.ln_1p()
}

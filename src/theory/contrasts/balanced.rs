//! Cross-entropy of balanced classes, in closed form.

use super::{Contrast, grouped::Grouped, law};

/// The global minimizer of cross-entropy for classes that are one group: equal counts, weights and adjustments.
///
/// Class means and classifiers are a simplex equiangular tight frame, W h_k + b = a (e_k - 1/K) up to a common number:
///
/// ```text
/// a = log(1/(λ √n) - K + 1),  or 0 from λ √n = 1/K on,      λ = √(λ_W λ_H)
/// f* = log(1 + (K-1) e^(-a)) + λ √n (K-1) a
/// ```
///
/// and accordingly with weights, scales, margins and smoothing.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct BalancedCrossEntropy {
    /// The logit of the own class minus that of any other, a.
    pub logit_gap: f64,
    /// The probability of the own class.
    pub probability_own: f64,
    /// The least objective, f*.
    pub objective: f64,
}

pub(super) fn minimizer(grouped: &Grouped) -> Option<BalancedCrossEntropy> {
    if grouped.count() != 1 || !grouped.is_cross_entropy {
        return None;
    }
    let others = grouped.outputs() - 1.0;
    let group = law::group(grouped, 0);
    let logit_gap = if group.contrast == Contrast::Single { 0.0 } else { group.logit_gap? };
    // How far the own class is ahead after the adjustments.
    let ahead = grouped.scales[0] * logit_gap - grouped.margins[0];
    let rest = others * (-ahead).exp();
    let fit = rest.ln_1p() + grouped.everywhere * others * ahead;
    Some(BalancedCrossEntropy {
        logit_gap,
        probability_own: 1.0 / (1.0 + rest),
        objective: grouped.total_weight() * fit + grouped.lambda * grouped.roots[0] * others * logit_gap,
    })
}

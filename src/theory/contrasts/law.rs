//! The law of one group.

use super::{super::group_classes::GroupClasses, grouped::Grouped};
use crate::names::named;

/// What the law of contrasts says of the classes of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Contrast {
    /// Every class has a classifier of its own.
    Apart,
    /// All classes share one classifier, which may be zero: minority collapse.
    Coincident,
    /// The group has one class.
    Single,
    /// The law leaves it open: it depends on the other groups (cross-entropy with margins, near the threshold).
    Open,
}

named!(
    Contrast, "contrast of a group of classes":
    Apart = "apart", Coincident = "coincident", Single = "single", Open = "open",
);

/// The law of contrasts for one group of classes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct GroupContrast {
    /// The samples of each class, c_r.
    pub count: u64,
    /// The class weight α_r.
    pub weight: f64,
    /// The classes, in rising order.
    pub classes: GroupClasses,
    /// q_r = N √(λ_W λ_H)/(δ_r α_r √c_r (1-ε)).
    pub q: f64,
    /// Below or at the first q (below, if both are equal) the classes are apart, from the second on they coincide;
    /// `None` for one class. Both are 1 without a margin m_r, and 1 + m_r/(1-ε) for squared loss. For cross-entropy
    /// with a margin, they are equal only if all classes are one group.
    pub coincidence_q: Option<(f64, f64)>,
    /// What becomes of the classes at these decays.
    pub contrast: Contrast,
    /// p_own - p_sibling, of probabilities, or of outputs for squared loss; `None` for one class, or if it depends on
    /// the other groups (cross-entropy with a margin, beyond q = 1).
    pub probability_gap: Option<f64>,
    /// The logit of a sample's own class minus that of a sibling, a_r: W h + b before any adjustment of the loss.
    /// `None` for one class, or if it depends on the other groups (cross-entropy, several groups).
    pub logit_gap: Option<f64>,
    /// A lower bound of the logit gap: all probability that siblings can have. `None` as `probability_gap`.
    pub least_logit_gap: Option<f64>,
}

impl GroupContrast {
    /// The number of classes in the group, m_r.
    #[must_use]
    pub fn multiplicity(&self) -> usize {
        self.classes.len()
    }
}

pub(super) fn group(grouped: &Grouped, r: usize) -> GroupContrast {
    let group = &grouped.groups[r];
    let q = grouped.lambda / grouped.critical_lambda(r);
    let coincidence_q = (group.classes.len() > 1).then(|| coincidence_q(grouped, r));
    let contrast = match coincidence_q {
        None => Contrast::Single,
        Some((_, high)) if q >= high => Contrast::Coincident,
        Some((low, _)) if q <= low => Contrast::Apart,
        Some(_) => Contrast::Open,
    };
    let probability_gap = probability_gap(grouped, r, q, contrast);
    let least_logit_gap = match contrast {
        Contrast::Coincident => Some(0.0),
        _ => probability_gap.map(|gap| least_logit_gap(grouped, r, gap)),
    };
    let is_known = !grouped.is_cross_entropy || grouped.count() == 1 || contrast == Contrast::Coincident;
    GroupContrast {
        count: group.count,
        weight: group.weight,
        classes: group.classes.clone(),
        q,
        coincidence_q,
        contrast,
        probability_gap,
        logit_gap: least_logit_gap.filter(|_| is_known),
        least_logit_gap,
    }
}

/// Between which q the classes of a group come to coincide.
///
/// Squared error: a_r = ((1-ε) (1-q) + m)/δ reaches zero. Cross-entropy: with a_r = 0 the own class has e^(-m) of the
/// probability of a sibling, and q = 1 + p_sibling (1 - e^(-m))/(1-ε), where the siblings have at most all of it.
fn coincidence_q(grouped: &Grouped, r: usize) -> (f64, f64) {
    let (margin, label) = (grouped.margins[r], 1.0 - grouped.smoothing);
    if margin == 0.0 {
        (1.0, 1.0)
    } else if grouped.is_cross_entropy {
        let most = 1.0 - coincident_sibling(grouped, r) * (-margin).exp_m1() / label;
        (if grouped.count() == 1 { most } else { 1.0 }, most)
    } else {
        (1.0 + margin / label, 1.0 + margin / label)
    }
}

/// p_sibling of classes that coincide, if no other group has a share.
fn coincident_sibling(grouped: &Grouped, r: usize) -> f64 {
    1.0 / (grouped.sizes[r] - 1.0 + (-grouped.margins[r]).exp())
}

fn probability_gap(grouped: &Grouped, r: usize, q: f64, contrast: Contrast) -> Option<f64> {
    let margin = grouped.margins[r];
    match contrast {
        Contrast::Single | Contrast::Open => None,
        Contrast::Apart => Some((1.0 - grouped.smoothing) * (1.0 - q)),
        Contrast::Coincident if margin == 0.0 => Some(0.0),
        Contrast::Coincident if !grouped.is_cross_entropy => Some(-margin),
        Contrast::Coincident => (grouped.count() == 1).then(|| coincident_sibling(grouped, r) * (-margin).exp_m1()),
    }
}

/// The logit gap of classes that are apart. Cross-entropy: (log(p_own/p_sibling) + m)/δ with the largest p_sibling that
/// leaves the other groups nothing, (1 - gap)/m_r.
fn least_logit_gap(grouped: &Grouped, r: usize, gap: f64) -> f64 {
    let (scale, margin) = (grouped.scales[r], grouped.margins[r]);
    if grouped.is_cross_entropy {
        ((grouped.sizes[r] * gap / (1.0 - gap)).ln_1p() + margin) / scale
    } else {
        (gap + margin) / scale
    }
}

//! The law of contrasts: at which decay the classes of a group come to share one classifier, for one layer and any loss.

use neural_collapse::{Loss, Ufm, theory::CertifiedGroup};

/// q of a class, from which on the classes of its group coincide where nothing is said of their own logit:
///
/// ```text
/// q = N √(λ_W λ_H) / (δ α √n (1-ε))
/// ```
pub(crate) fn contrast_q(ufm: &Ufm, class: usize) -> Option<f64> {
    let count = *ufm.class_counts()?.counts().get(class)?;
    let of = |values: Option<&[f64]>| values.map_or(1.0, |values| values[class]);
    let decay = ufm.layers()[0].decay.sqrt() * ufm.feature_decay().sqrt();
    let pull = of(ufm.class_weights()) * of(ufm.logit_scales()) * (1.0 - ufm.targets().smoothing());
    Some(ufm.samples() as f64 * decay / (count as f64).sqrt() / pull)
}

/// Whether the prediction is diagonal, so that a class collapses by itself and to zero.
pub(crate) fn is_diagonal(ufm: &Ufm) -> bool {
    let is_plain = ufm.targets().smoothing() == 0.0 && ufm.logit_shifts().is_none();
    ufm.loss() == Loss::Squared && !ufm.has_bias() && is_plain
}

/// The factor on all decays together from which on the classes of a group coincide, or a single class of a diagonal
/// prediction vanishes. `None` if there is no such decay, or no formula: the margins of cross-entropy.
pub(crate) fn collapse_scale(ufm: &Ufm, group: &CertifiedGroup) -> Option<f64> {
    if group.multiplicity() < 2 && !is_diagonal(ufm) {
        return None;
    }
    let class = group.classes[0];
    let margin = ufm.margins().map_or(0.0, |margins| margins[class]);
    if margin > 0.0 && ufm.loss() == Loss::CrossEntropy {
        return None;
    }
    let threshold = 1.0 + margin / (1.0 - ufm.targets().smoothing());
    Some(threshold / contrast_q(ufm, class)?)
}

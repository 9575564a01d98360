//! At which decays something else happens than at the ones given.

use neural_collapse::{
    Error, Loss, Ufm,
    theory::{Certified, CertifiedGroup, Goal, Limit},
};

use super::certified::name;
use crate::shared::{contrasts::collapse_scale, numbers::short};

/// The rank is followed by bisection, some 25 minimizers, for so many groups at most: a tenth of a second.
const MOST_GROUPS: usize = 12;

/// Closer than this to the collapse of a group, a direction is lost with it: bisections end 2e-6 apart.
const BISECTED: f64 = 1e-5;

/// `from a decay of the layer of 0.02, 4 times this one`: that at which √(λ_W λ_H) is `scale` times what it is.
pub(super) fn from_decay(ufm: &Ufm, scale: f64, side: &str) -> String {
    let factor = scale * scale;
    let decay = short(ufm.layers()[0].decay * factor);
    format!("{side} a decay of the layer of {decay}, {} times this one", short(factor))
}

/// Which group collapses next, which comes apart first, when a direction is lost and from where on nothing is left.
pub(super) fn next_decays(
    minimizer: &Certified,
    is_collapsed: impl Fn(&CertifiedGroup) -> bool,
) -> Result<Vec<String>, Error> {
    let (ufm, groups) = (minimizer.ufm(), minimizer.groups());
    let decay = |scale: f64, side: &str| from_decay(ufm, scale, side);
    let (mut lines, mut first) = (Vec::new(), f64::INFINITY);
    if ufm.loss() == Loss::CrossEntropy && ufm.margins().is_some() {
        let words = "with margins no formula says at which decay: predict again at another --layer-decay";
        lines.push(format!("next to collapse     {words}"));
    } else {
        let scaled = groups.iter().filter_map(|group| Some((collapse_scale(ufm, group)?, group)));
        let (collapsed, apart): (Vec<_>, Vec<_>) = scaled.partition(|(_, group)| is_collapsed(group));
        first = apart.iter().fold(first, |first, (scale, _)| first.min(*scale));
        let next = apart.into_iter().min_by(|one, other| one.0.total_cmp(&other.0));
        lines.push(match next {
            Some((scale, group)) => {
                format!("next to collapse     {}: {}", name(minimizer, group), decay(scale, "from"))
            }
            None => "next to collapse     none: no two classes that are apart have the same count and weight".into(),
        });
        if let Some((scale, group)) = collapsed.into_iter().max_by(|one, other| one.0.total_cmp(&other.0)) {
            lines.push(format!("first to come apart  {}: {}", name(minimizer, group), decay(scale, "below")));
        }
    }
    let contrasts = ufm.contrasts()?;
    // A class that is alone with its count has no sibling to coincide with, but can lose its direction.
    if minimizer.rank() == contrasts.full_rank() && minimizer.rank() > 1 && groups.len() <= MOST_GROUPS {
        // At another decay there may be no minimizer to be found: the line is left out then.
        let lost = ufm.certified_largest_scale(Goal::AllDirections).ok();
        if let Some(scale) = lost.and_then(Limit::value).filter(|scale| *scale < first * (1.0 - BISECTED)) {
            lines.push(format!("first direction lost {}", decay(scale, "just above")));
        }
    }
    if let Some(scale) = contrasts.vanishing_scale()?.value() {
        lines.push(format!("all is zero          {}", decay(scale, "from")));
    }
    Ok(lines)
}

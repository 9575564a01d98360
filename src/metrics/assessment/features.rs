//! Whether features are where a penalty would have them, and what else may hold them.

use super::{
    super::{
        gradient::{ImpliedDecays, NetworkGradient},
        nearest_center::Rules,
    },
    finding::Finding,
    thresholds::{BENT, BETTER, COLLAPSED, CONTRADICTED, PENALIZED},
};
use crate::error::Error;

/// A network as one model reads it.
#[derive(Clone, Copy)]
pub(super) struct Read<'a> {
    pub(super) gradient: &'a NetworkGradient,
    pub(super) implied: &'a ImpliedDecays,
    pub(super) rules: &'a Rules,
}

/// The misfit of class means, if features look penalized and have collapsed, so that no noise of single samples explains
/// it.
pub(super) fn contradiction(read: Read<'_>) -> Result<Option<f64>, Error> {
    let Read { gradient, implied, rules } = read;
    let Some(features) = implied.penalized_features() else { return Ok(None) };
    if features.misfit <= CONTRADICTED || !(gradient.scatter_ratio(rules) <= COLLAPSED) {
        return Ok(None);
    }
    let misfit = gradient.mean_features(rules)?.map_or(features.misfit, |means| means.misfit.min(features.misfit));
    // Where positive entries are at rest it is the right loss.
    Ok((misfit > CONTRADICTED && held_back(read, misfit)?.is_none()).then_some(misfit))
}

/// What speaks against features that are at rest with a penalty, and with nothing else.
pub(super) fn about_features(read: Read<'_>) -> Result<Option<Finding>, Error> {
    let Some(implied) = read.implied.features else { return Ok(None) };
    if implied.decay > 0.0 && implied.misfit <= CONTRADICTED {
        return Ok(None);
    }
    let means = read.gradient.mean_features(read.rules)?.filter(|means| means.decay > 0.0);
    let means = means.map_or(1.0, |means| means.misfit);
    Ok(match held_back(read, means)? {
        Some(positive) => Some(Finding::NegativeFeaturesHeld { means, positive }),
        None if read.implied.penalized_features().is_some() => None,
        None if means <= PENALIZED => Some(Finding::FeaturesNotAtRest { implied, means }),
        None => Some(Finding::FeaturesNotPenalized { implied }),
    })
}

/// The largest misfit of a class mean over its positive entries, if it is small there and `misfit`, that of all, is not, while
/// negative entries are small: an activation holds them back, as LeakyReLU and GELU do.
fn held_back(Read { gradient, rules, .. }: Read<'_>, misfit: f64) -> Result<Option<f64>, Error> {
    if misfit <= CONTRADICTED || gradient.has_nonnegative_features() {
        return Ok(None);
    }
    let Some((positive, negative)) = gradient.positive_mean_features(rules)? else { return Ok(None) };
    let is_at_rest = positive.decay > 0.0 && positive.misfit <= CONTRADICTED.min(misfit / BETTER);
    Ok((is_at_rest && negative > 0.0 && negative <= BENT).then_some(positive.misfit))
}

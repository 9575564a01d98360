//! The prediction as one JSON object.

use neural_collapse::{
    Error,
    theory::{Goal, Limit, Minimizer},
};
use serde_json::{Value, json};

use super::{groups::Groups, report::Report};

pub(crate) fn as_json(minimizer: &Minimizer, groups: &Groups<'_>, angle: f64) -> Result<Value, Error> {
    let directions = minimizer.directions().iter().map(|direction| {
        json!({
            "multiplicity": direction.multiplicity,
            "target": direction.target,
            "shrinkage": direction.shrinkage,
            "prediction": direction.prediction,
            "product": direction.product,
            "feature": direction.feature,
            "layers": direction.layers,
        })
    });
    let report = Report {
        ufm: minimizer.ufm(),
        objective: minimizer.objective(),
        // The closed form is the exact minimum.
        lower_bound: minimizer.objective(),
        gap: 0.0,
        rank: minimizer.rank(),
        is_unique: Some(minimizer.is_unique()),
        directions: directions.collect(),
        limits: limits(minimizer)?,
        angle,
        groups: groups.as_json()?,
        clusters: groups.clusters_as_json(),
    };
    Ok(report.into_json())
}

/// The largest decays that keep every direction: numbers if `kept` is "below", null if no decay does or any does.
fn limits(minimizer: &Minimizer) -> Result<Value, Error> {
    let goal = Goal::AllDirections;
    let scale = minimizer.largest_scale(goal)?;
    let kept = match scale {
        Limit::Never => "never",
        Limit::Below(_) => "below",
        Limit::Always => "always",
    };
    let layers = (0..minimizer.ufm().depth()).map(|l| Ok(minimizer.largest_layer_decay(goal, l)?.value()));
    Ok(json!({
        "kept": kept,
        "scale": scale.value(),
        "feature_decay": minimizer.largest_feature_decay(goal)?.value(),
        "layer_decays": layers.collect::<Result<Vec<_>, Error>>()?,
    }))
}

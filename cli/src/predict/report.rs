//! What the closed form and the certified minimizer are reported in: the keys of the JSON, the first lines of the table.

use neural_collapse::{Ufm, theory::GroupFate};
use serde_json::{Value, json};

use crate::shared::numbers::{digits, short};

/// The numbers of a minimizer. What does not exist is `None` or null.
pub(super) struct Report<'a> {
    pub(super) ufm: &'a Ufm,
    pub(super) objective: f64,
    pub(super) lower_bound: f64,
    pub(super) gap: f64,
    pub(super) rank: usize,
    pub(super) is_unique: Option<bool>,
    pub(super) directions: Vec<Value>,
    pub(super) limits: Value,
    pub(super) angle: f64,
    pub(super) groups: Vec<Value>,
    pub(super) clusters: Option<Vec<Value>>,
}

impl Report<'_> {
    /// The limits that have no formula.
    pub(super) fn no_limits() -> Value {
        json!({ "kept": null, "scale": null, "feature_decay": null, "layer_decays": [null] })
    }

    pub(super) fn into_json(self) -> Value {
        json!({
            "classes": self.ufm.outputs(),
            "samples": self.ufm.samples(),
            "layers": self.ufm.depth(),
            "bias": self.ufm.has_bias(),
            "loss": self.ufm.loss().name(),
            "objective": self.objective,
            "lower_bound": self.lower_bound,
            "gap": self.gap,
            "rank": self.rank,
            "unique": self.is_unique,
            "directions": self.directions,
            "limits": self.limits,
            "angle": self.angle,
            "groups": self.groups,
            "clusters": self.clusters,
        })
    }
}

/// The numbers of a group of classes.
pub(super) struct GroupReport {
    pub(super) count: u64,
    pub(super) classes: usize,
    pub(super) first_class: usize,
    pub(super) weight: f64,
    pub(super) fate: GroupFate,
    pub(super) is_merged: Option<bool>,
    pub(super) probability_own: Option<f64>,
    pub(super) probability_sibling: Option<f64>,
    pub(super) classifier_norm: Option<f64>,
    pub(super) mean_norm: Option<f64>,
    pub(super) bias: Option<f64>,
    /// The class, its count, and the angle in degrees.
    pub(super) nearest: Option<(usize, u64, f64)>,
    pub(super) coincidence_scale: Option<f64>,
    pub(super) vanishing_scale: Option<f64>,
}

impl GroupReport {
    pub(super) fn as_json(&self) -> Value {
        let nearest =
            self.nearest.map(|(class, count, degrees)| json!({ "class": class, "count": count, "degrees": degrees }));
        json!({
            "count": self.count,
            "classes": self.classes,
            "multiplicity": self.classes,
            "first_class": self.first_class,
            "weight": self.weight,
            "fate": self.fate.name(),
            "merged": self.is_merged,
            "probability_own": self.probability_own,
            "probability_sibling": self.probability_sibling,
            "norm": self.classifier_norm,
            "classifier_norm": self.classifier_norm,
            "mean_norm": self.mean_norm,
            "bias": self.bias,
            "nearest": nearest,
            "coincidence_scale": self.coincidence_scale,
            "vanishing_scale": self.vanishing_scale,
        })
    }
}

pub(super) fn plural(count: usize, one: &str, many: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { many })
}

/// Two decimals, or, where these are zero and the angle is not, its power of ten; 1e-12 is rounding.
pub(super) fn degrees(angle: f64) -> String {
    if angle > 1e-12 && angle < 0.005 { format!("{angle:.1e}°") } else { format!("{angle:.2}°") }
}

/// Which model, in two lines, and in a third its loss if that is not the plain squared one.
pub(super) fn model_lines(ufm: &Ufm) -> Vec<String> {
    let decays: Vec<_> = ufm.layers().iter().map(|layer| digits(layer.decay)).collect();
    let bias = if ufm.has_bias() { "with bias" } else { "no bias" };
    let mut lines = vec![
        format!(
            "{}, {} samples, imbalance ratio {:.4}, {}, {bias}",
            plural(ufm.outputs(), "class", "classes"),
            ufm.samples(),
            ufm.class_counts().map_or(1.0, neural_collapse::ClassCounts::imbalance_ratio),
            plural(ufm.depth(), "linear layer", "linear layers"),
        ),
        format!(
            "decays as the theory has them: layers {}, features {}{}",
            decays.join(", "),
            digits(ufm.feature_decay()),
            if ufm.bias_decay() > 0.0 { format!(", bias {}", digits(ufm.bias_decay())) } else { String::new() },
        ),
    ];
    let adjustments = adjustments(ufm);
    if ufm.loss() != neural_collapse::Loss::Squared || !adjustments.is_empty() {
        lines.push([vec![format!("loss: {}", ufm.loss())], adjustments].concat().join(", "));
    }
    lines
}

/// What the loss has beyond its name.
fn adjustments(ufm: &Ufm) -> Vec<String> {
    let smoothing = ufm.targets().smoothing();
    let range = |name: &str, values: Option<&[f64]>| {
        let values = values?;
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(format!("{name} {} to {}", short(least), short(largest)))
    };
    [
        range("class weights", ufm.class_weights()),
        (smoothing > 0.0).then(|| format!("label smoothing {}", digits(smoothing))),
        range("shifts of logits", ufm.logit_shifts()),
        range("margins", ufm.margins()),
        range("scales of logits", ufm.logit_scales()),
    ]
    .into_iter()
    .flatten()
    .collect()
}

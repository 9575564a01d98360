//! A measurement as JSON for scripts.

use neural_collapse::{
    Loss, Ufm,
    faer::Mat,
    metrics::{
        ClassGeometry, Contradiction, DecaySource, Distance, Finding, FrameDistances, GroupAccuracy, ImpliedDecay,
        ImpliedDecays, Measurement, Nc1Convention,
    },
};
use serde_json::{Value, json};

/// With Gram matrices of at most this many classes.
pub(crate) fn as_json(measurement: &Measurement, most_grams: usize) -> Value {
    let Measurement { question, metrics, decisions, target, .. } = measurement;
    let (target, model) = (target.as_ref(), question.model.as_ref());
    let nc1 = |convention| metrics.nc1(convention);
    let collapse = target.map(|target| &target.collapse);
    let distance = target.and_then(|target| target.distance.as_ref());
    let values = metrics.spectra.iter().enumerate().map(|(place, of)| {
        let predicted = target.and_then(|target| target.singular_values.get(place));
        let value = json!({ "measured": of.values, "predicted": predicted, "effective_rank": of.effective_rank });
        (of.block.clone(), value)
    });
    json!({
        "counts": measurement.counts.counts(),
        "implied": implied(measurement),
        "applies": measurement.applies(),
        "findings": findings(measurement),
        "model": model.map(described),
        "decays_from": question.source.map(|source| if source == DecaySource::Training { "flags" } else { "arrays" }),
        "layer_decays": model.map(|model| model.layers().iter().map(|layer| layer.decay).collect::<Vec<_>>()),
        "feature_decay": model.map(Ufm::feature_decay),
        "rank": target.map(|target| target.optimum.rank()),
        "unique": target.and_then(|target| target.optimum.is_unique()),
        "nc1": {
            "paper": nc1(Nc1Convention::Global),
            "unweighted": nc1(Nc1Convention::UnweightedMean),
            "weighted": nc1(Nc1Convention::WeightedClasses),
            "undivided": nc1(Nc1Convention::Undivided),
        },
        "nc2": {
            "classifier": collapse.and_then(|collapse| collapse.nc2_classifier),
            "features": collapse.and_then(|collapse| collapse.nc2_features),
        },
        "nc3": {
            "product": collapse.and_then(|collapse| collapse.nc3),
            "alignment": collapse.and_then(|collapse| collapse.alignment),
        },
        "nc4": decisions.disagreement(),
        "nc4_predicted": target.map(|target| target.disagreement),
        "objective": target.and_then(|target| target.objective).map(|objective| measurement.training_loss(objective)),
        "optimum": target.map(|target| measurement.training_loss(target.optimum.objective())),
        "optimum_gap": target.map(|target| target.optimum.gap()),
        "gap": target.and_then(|target| target.gap),
        "distance": distance.map(Distance::largest),
        "distances": distance.map(|distance| {
            json!({ "layers": distance.layers, "features": distance.features, "bias": distance.bias })
        }),
        "trace_ratio": metrics.trace_ratio,
        "cdnv": metrics.class_distance_normalized_variance,
        "cdnv_apart": measurement.variance_apart(),
        "collapsed": target.map(|target| target.has_collapsed),
        "collapsed_classes": metrics.collapsed_classes(),
        "row_sum": metrics.row_sum,
        "accuracy": decisions.accuracy(),
        "nearest_center_accuracy": decisions.center_accuracy(),
        "accuracy_by_group": groups(measurement),
        "class_effective_ranks": measurement.class_ranks,
        "feature_effective_rank": metrics.feature_rank,
        "gram_matrices": gram_matrices(measurement, most_grams),
        "feature_mean": { "measured": metrics.feature_mean, "predicted": target.and_then(|target| target.feature_mean) },
        "frames": {
            "measured": frames(&metrics.classes),
            "predicted": target.map(|target| frames(&target.classes)),
        },
        "singular_values": values.collect::<serde_json::Map<_, _>>(),
    })
}

fn groups(measurement: &Measurement) -> Vec<Value> {
    let group = |group: &GroupAccuracy| {
        json!({
            "count": group.count,
            "classes": group.classes,
            "accuracy": group.accuracy,
            "nearest_center_accuracy": group.center_accuracy,
        })
    };
    measurement.groups.iter().map(group).collect()
}

/// K x K numbers each: null for more classes than a script would want in one line.
fn gram_matrices(measurement: &Measurement, most: usize) -> Option<Value> {
    let rows = |gram: Mat<f64>| -> Vec<Vec<f64>> { gram.row_iter().map(|row| row.iter().copied().collect()).collect() };
    let all =
        || measurement.metrics.gram_matrices().into_iter().map(|(name, gram)| (name.to_owned(), json!(rows(gram))));
    (measurement.counts.classes() <= most).then(|| Value::Object(all().collect()))
}

/// Everything that the table says about the question, as sentences.
pub(super) fn findings(measurement: &Measurement) -> Vec<String> {
    let question = &measurement.question;
    let mut all: Vec<String> = question.contradictions.iter().map(contradiction).collect();
    all.extend(question.findings().map(|finding| match finding {
        Finding::BiasMissing { .. } => format!("{finding}: was --bias forgotten?"),
        Finding::LossUndecided { .. } => format!("{finding}: say it with --loss"),
        Finding::SizesUntested => format!("{finding}: give the decays of training to test it"),
        Finding::FeaturesContradict { .. } => {
            format!("{finding}: try --logit-adjustment, --label-smoothing, --ldam or --class-weights")
        }
        Finding::ProductOfLayers { .. } => format!(
            "{finding}: give all of them, --weights W1.npy W2.npy, or say so with --layers, or with a --layer-decay for each"
        ),
        finding => finding.to_string(),
    }));
    all.extend(measurement.without_target.iter().map(|why| format!("the optimum is not known: {why}")));
    all
}

/// A contradiction, with the flag that would end it.
fn contradiction(contradiction: &Contradiction) -> String {
    match contradiction {
        Contradiction::Depth { .. } => format!("{contradiction}: give one --layer-decay, and no --layers"),
        Contradiction::ClassWeights { implied } => format!("{contradiction}: give --class-weights {implied}"),
        Contradiction::BiasDecay { .. } => format!("{contradiction} (--bias-decay, in the theory's units)"),
        contradiction => contradiction.to_string(),
    }
}

fn described(model: &Ufm) -> Value {
    json!({
        "loss": model.loss().to_string(),
        "bias": model.has_bias(),
        "bias_decay": model.bias_decay(),
        "class_weights": model.class_weights(),
        "nonnegative_features": model.has_nonnegative_features(),
    })
}

fn implied(measurement: &Measurement) -> Value {
    let question = &measurement.question;
    let of = |loss: Loss| {
        let product = question.implied_product(loss);
        decays(question.implied(loss), product, measurement.layers.has_all())
    };
    json!({
        "loss": question.fits.map(|loss| loss.to_string()),
        "class_weights": question.class_weights.to_string(),
        "nonnegative_features": question.has_nonnegative_features(),
        "squared": of(Loss::Squared),
        "cross_entropy": of(Loss::CrossEntropy),
    })
}

/// A product of layers implies the geometric mean of their decays, and nothing about each of them.
fn decays(implied: &ImpliedDecays, product: Option<ImpliedDecay>, has_all_layers: bool) -> Value {
    let decay = |implied: &Option<ImpliedDecay>| implied.map(|implied| implied.decay);
    let misfit = |implied: &Option<ImpliedDecay>| implied.map(|implied| implied.misfit);
    let layers: &[Option<ImpliedDecay>] = if has_all_layers { &implied.layers } else { &[] };
    json!({
        "layer_decay": layers.iter().map(decay).collect::<Vec<_>>(),
        "layer_misfit": layers.iter().map(misfit).collect::<Vec<_>>(),
        "product_decay": decay(&product),
        "product_misfit": misfit(&product),
        "feature_decay": decay(&implied.features),
        "feature_misfit": misfit(&implied.features),
        "bias_decay": decay(&implied.bias),
        "bias_misfit": misfit(&implied.bias),
    })
}

fn frames(classes: &ClassGeometry) -> Value {
    json!({
        "classifiers": frame(&classes.classifier_frames),
        "means": frame(&classes.mean_frames),
        "unweighted_means": frame(&classes.unweighted_mean_frames),
        "uncentered_means": frame(&classes.plain_mean_frames),
        "self_duality": classes.self_duality,
        "unweighted_self_duality": classes.unweighted_self_duality,
    })
}

fn frame(distances: &FrameDistances) -> Value {
    json!({
        "equinorm": distances.equinorm,
        "equiangularity": distances.equiangularity,
        "maximal_angle": distances.maximal_angle,
        "simplex": distances.simplex,
        "orthogonal": distances.orthogonal,
    })
}

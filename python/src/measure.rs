//! Has my training got there? A network from its features, labels and last layers, compared with its optimum.

use neural_collapse::{
    Loss, Ufm,
    metrics::{Collapse, DecaySource, Distance, Finding, GroupAccuracy, Line, Measurement, Measuring, Target, Verdict},
};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    dict,
    errors::refused,
    given::given,
    layers::{check_width, last_layers},
    metrics,
    output::decays,
    samples::Samples,
};

/// A network compared with its optimum, as a dictionary with the keys of `neural-collapse measure --json`.
#[pyfunction]
pub(crate) fn measure<'py>(
    py: Python<'py>,
    features: &Bound<'py, PyAny>,
    labels: Option<&Bound<'py, PyAny>>,
    weights: &Bound<'py, PyAny>,
    bias: Option<&Bound<'py, PyAny>>,
    keywords: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let (layers, training) = given(keywords, last_layers(weights, bias)?)?;
    let samples = Samples::new(features, labels)?;
    if let Samples::Arrays(features, _) = &samples {
        check_width(&layers, features.width)?;
    }
    let measuring = Measuring::new(layers, training).map_err(refused)?;
    describe(py, &samples.measure(py, measuring)?)
}

/// Everything in a dictionary.
fn describe<'py>(py: Python<'py>, measured: &Measurement) -> PyResult<Bound<'py, PyDict>> {
    let Measurement { question, decisions, counts, .. } = measured;
    let model = question.model.as_ref();
    let source = |source| if source == DecaySource::Training { "arguments" } else { "arrays" };
    let dict = dict!(py, {
        "counts": counts.counts().to_vec(),
        "implied": implied(py, measured)?,
        "applies": measured.applies(),
        "has_reached": measured.has_reached(),
        "is_below_optimum": measured.is_below_target(),
        "findings": findings(measured),
        "model": model.map(|model| described(py, model)).transpose()?,
        "decays_from": question.source.map(source),
        "layer_decays": model.map(|model| model.layers().iter().map(|layer| layer.decay).collect::<Vec<_>>()),
        "feature_decay": model.map(Ufm::feature_decay),
        "nc4": decisions.disagreement(),
        "accuracy": decisions.accuracy(),
        "nearest_center_accuracy": decisions.center_accuracy(),
        "accuracy_by_group": measured.groups.iter().map(|of| group(py, of)).collect::<PyResult<Vec<_>>>()?,
        "class_effective_ranks": measured.class_ranks.clone(),
        "verdicts": measured.lines().iter().map(|line| verdict(py, line)).collect::<PyResult<Vec<_>>>()?,
    });
    metrics::fill(&dict, &measured.metrics, true)?;
    compared(&dict, measured)?;
    if let Some(target) = &measured.target {
        predicted(&dict, target)?;
    }
    Ok(dict)
}

/// What only an optimum has, or nothing.
fn compared(dict: &Bound<'_, PyDict>, measured: &Measurement) -> PyResult<()> {
    let (py, target) = (dict.py(), measured.target.as_ref());
    let collapse = |of: fn(&Collapse) -> Option<f64>| target.and_then(|target| of(&target.collapse));
    let training_loss = |objective| measured.training_loss(objective);
    let distance = target.and_then(|target| target.distance.as_ref());
    let distances = distance.map(|distance| {
        Ok::<_, PyErr>(dict!(py, {
            "layers": &distance.layers, "features": distance.features, "bias": distance.bias
        }))
    });
    let entries = dict!(py, {
        "nc2": dict!(py, {
            "classifier": collapse(|of| of.nc2_classifier), "features": collapse(|of| of.nc2_features)
        }),
        "nc3": dict!(py, { "product": collapse(|of| of.nc3), "alignment": collapse(|of| of.alignment) }),
        "rank": target.map(|target| target.optimum.rank()),
        "is_proved": target.map(|target| target.optimum.is_proved()),
        "is_unique": target.and_then(|target| target.optimum.is_unique()),
        "nc4_predicted": target.map(|target| target.disagreement),
        "objective": target.and_then(|target| target.objective).map(training_loss),
        "optimum": target.map(|target| training_loss(target.optimum.objective())),
        "optimum_gap": target.map(|target| target.optimum.gap()),
        "gap": target.and_then(|target| target.gap),
        "distance": distance.map(Distance::largest),
        "distances": distances.transpose()?,
        "cdnv_apart": target.and_then(|target| target.variance_apart),
        "collapsed": target.map(|target| target.has_collapsed),
    });
    dict.update(entries.as_mapping())
}

/// What the optimum has in the place of what was measured.
fn predicted(dict: &Bound<'_, PyDict>, target: &Target) -> PyResult<()> {
    let py = dict.py();
    nested(dict, "feature_mean")?.set_item("predicted", target.feature_mean)?;
    nested(dict, "frames")?.set_item("predicted", metrics::frames(py, &target.classes, true)?)?;
    nested(dict, "grams")?.set_item("predicted", metrics::grams(py, &target.classes, true)?)?;
    let all = nested(dict, "singular_values")?;
    // In the order of the blocks.
    for (block, values) in all.values().iter().zip(&target.singular_values) {
        block.cast_into::<PyDict>()?.set_item("predicted", values)?;
    }
    Ok(())
}

fn nested<'py>(dict: &Bound<'py, PyDict>, key: &str) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict.as_any().get_item(key)?.cast_into::<PyDict>()?)
}

/// What speaks against a comparison, with the argument that would end it.
fn findings(measured: &Measurement) -> Vec<String> {
    let question = &measured.question;
    let mut all: Vec<String> = question.contradictions.iter().map(ToString::to_string).collect();
    all.extend(question.findings().map(|finding| match finding {
        Finding::BiasMissing { .. } => format!("{finding}: was bias forgotten?"),
        Finding::LossUndecided { .. } => format!("{finding}: say it with loss"),
        Finding::SizesUntested => format!("{finding}: give the decays of training to test it"),
        Finding::FeaturesContradict { .. } => {
            format!("{finding}: try logit_adjustment, label_smoothing, ldam or class_weights")
        }
        finding => finding.to_string(),
    }));
    all.extend(measured.without_target.iter().map(|why| format!("the optimum is not known: {why}")));
    all
}

pub(crate) fn described<'py>(py: Python<'py>, model: &Ufm) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict!(py, {
        "loss": model.loss().name(),
        "bias": model.has_bias(),
        "bias_decay": model.bias_decay(),
        "class_weights": model.class_weights().map(<[f64]>::to_vec),
        "nonnegative_features": model.has_nonnegative_features(),
    }))
}

fn implied<'py>(py: Python<'py>, measured: &Measurement) -> PyResult<Bound<'py, PyDict>> {
    let (question, has_all) = (&measured.question, measured.layers.has_all());
    let of = |loss| {
        let (dict, product) = (decays(py, question.implied(loss), has_all)?, question.implied_product(loss));
        dict.set_item("product_decay", product.map(|product| product.decay))?;
        dict.set_item("product_misfit", product.map(|product| product.misfit))?;
        Ok::<_, PyErr>(dict)
    };
    Ok(dict!(py, {
        "loss": question.fits.map(Loss::name),
        "class_weights": question.class_weights.to_string(),
        "nonnegative_features": question.has_nonnegative_features(),
        "squared": of(Loss::Squared)?,
        "cross_entropy": of(Loss::CrossEntropy)?,
    }))
}

fn group<'py>(py: Python<'py>, group: &GroupAccuracy) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict!(py, {
        "count": group.count,
        "classes": &group.classes,
        "accuracy": group.accuracy,
        "nearest_center_accuracy": group.center_accuracy,
    }))
}

fn verdict<'py>(py: Python<'py>, line: &Line) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict!(py, {
        "name": line.name,
        "measured": line.measured,
        "target": line.target,
        "verdict": line.verdict.map_or("-", Verdict::name),
    }))
}

//! Has my training got there? A network from its features, labels and last layers, compared with its optimum.

use neural_collapse::{
    ClassCounts, ClassWeights, Error, Loss, Ufm,
    metrics::{Assessment, NearestCenter, NetworkGradient},
};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    dict,
    errors::refused,
    metrics::{Measured, Network},
    output::decays,
    passes::{Passes, Samples, passes, third_pass},
    question::{Given, LOSSES, Question, index},
    target::Target,
    threads::detached,
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
    let network = Network::new(weights, bias)?;
    let given = Given::new(keywords, &network)?;
    let samples = Samples::new(features, labels)?;
    if let Samples::Arrays(features, _) = &samples {
        network.check_width(features.width)?;
    }
    let none = ClassWeights::None;
    let read = |counts: &ClassCounts| given.readings(counts, &network, &none).map_err(refused);
    let Passes { statistics, counts, rules, mut gradients } = passes(py, &network, &samples, read)?;
    let mut assessment = Assessment::new(&gradients, &rules).map_err(refused)?;
    let (mut class_weights, mut notes) = (ClassWeights::None, Vec::new());
    // Neither loss fits: perhaps its samples were weighted, as `class_weight="balanced"` does.
    let is_open = assessment.fits().is_none() && given.options.class_weights == ClassWeights::None;
    if is_open && counts.imbalance_ratio() > 1.0 {
        let balanced = ClassWeights::Inverse;
        let readings = given.readings(&counts, &network, &balanced).map_err(refused)?;
        let again = third_pass(py, &network, &samples, readings)?;
        let other = Assessment::new(&again, &rules).map_err(refused)?;
        match (other.fits(), given.decays.is_some()) {
            (Some(_), false) => (gradients, assessment, class_weights) = (again, other, balanced),
            (Some(_), true) => notes.push("you give no class weights; the arrays say inverse".into()),
            _ => {}
        }
    }
    let question = Question::new(&given, &counts, &network, gradients, assessment, class_weights, notes);
    let question = question.map_err(refused)?;
    let (measured, target) = detached(py, || {
        let target = question.model.as_ref().map(|(model, _)| {
            let gradient = &question.gradients[index(model.loss())];
            Target::new(model.optimum()?, &network, &statistics, &counts, gradient)
        });
        Ok((Measured::new(&statistics, Some(&network))?, target.transpose()))
    })?
    .map_err(refused)?;
    describe(py, &given, &question, &counts, &rules, &measured, target)
}

/// Everything in a dictionary.
fn describe<'py>(
    py: Python<'py>,
    given: &Given,
    question: &Question,
    counts: &ClassCounts,
    rules: &NearestCenter,
    measured: &Measured,
    target: Result<Option<Target>, Error>,
) -> PyResult<Bound<'py, PyDict>> {
    let mut findings = question.notes.clone();
    findings.extend(question.assessment.findings.iter().map(ToString::to_string));
    if let Err(why) = &target {
        findings.push(format!("the optimum is not known: {why}"));
    }
    let model = question.model.as_ref().map(|(model, _)| model);
    let source = question.model.as_ref().map(|(_, is_given)| if *is_given { "arguments" } else { "arrays" });
    let none = py.None();
    let dict = dict!(py, {
        "counts": counts.counts().to_vec(),
        "implied": implied(py, given, question)?,
        "applies": question.applies(),
        "findings": findings,
        "model": model.map(|model| described(py, model)).transpose()?,
        "decays_from": source,
        "layer_decays": model.map(|model| model.layers().iter().map(|layer| layer.decay).collect::<Vec<_>>()),
        "feature_decay": model.map(Ufm::feature_decay),
        "nc4": rules.disagreement(),
        "accuracy": rules.accuracy(),
        "nearest_center_accuracy": rules.center_accuracy(),
        "nc2": dict!(py, { "classifier": &none, "features": &none }),
        "nc3": dict!(py, { "product": &none, "alignment": &none }),
    });
    for key in [
        "rank",
        "unique",
        "nc4_predicted",
        "objective",
        "optimum",
        "optimum_gap",
        "gap",
        "distance",
        "distances",
        "cdnv_apart",
        "collapsed",
    ] {
        dict.set_item(key, &none)?;
    }
    measured.fill(&dict)?;
    if let Ok(Some(target)) = &target {
        let names: Vec<String> = measured.spectra.iter().map(|spectrum| spectrum.block.clone()).collect();
        let outputs = counts.classes();
        // Without decays of the caller there is no scale but that of the theory.
        let has_scale = given.decays.is_some() && model.is_some_and(|model| model.loss() == Loss::Squared);
        let convention = given.options.convention;
        target.fill(&dict, |at| if has_scale { convention.loss(at, outputs) } else { at }, &names)?;
    }
    Ok(dict)
}

fn described<'py>(py: Python<'py>, model: &Ufm) -> PyResult<Bound<'py, PyDict>> {
    Ok(dict!(py, {
        "loss": model.loss().name(),
        "bias": model.has_bias(),
        "bias_decay": model.bias_decay(),
        "class_weights": model.class_weights().map(<[f64]>::to_vec),
        "nonnegative_features": model.has_nonnegative_features(),
    }))
}

fn implied<'py>(py: Python<'py>, given: &Given, question: &Question) -> PyResult<Bound<'py, PyDict>> {
    let said = &given.options.class_weights;
    let weights = if question.weights == ClassWeights::None { said } else { &question.weights };
    Ok(dict!(py, {
        "loss": question.fits.map(|fit| LOSSES[fit].name()),
        "class_weights": weights.to_string(),
        "nonnegative_features": question.gradients.iter().any(NetworkGradient::has_nonnegative_features),
        "squared": decays(py, &question.assessment.implied[0])?,
        "cross_entropy": decays(py, &question.assessment.implied[1])?,
    }))
}

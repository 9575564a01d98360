//! The largest decays that keep what a network needs, and the class weights that do.

use neural_collapse::{
    ClassWeights, Error, Ufm,
    theory::{Goal, Limit},
};
use numpy::PyArray1;
use pyo3::{prelude::*, types::PyDict};

use crate::{
    dict,
    errors::{refuse, refused},
    groups::{has_closed_geometry, number},
    keywords::{Keywords, POSITIVE},
    model::Model,
    threads::detached,
};

/// What has to be kept, by the keywords of Python.
struct Wanted {
    rank: Option<usize>,
    norm_ratio: Option<f64>,
    largest_q: f64,
}

impl Wanted {
    fn new(keywords: Keywords<'_, '_>) -> PyResult<Self> {
        Ok(Self {
            rank: keywords.size_if_given("rank", POSITIVE)?,
            norm_ratio: keywords.real_if_given("norm_ratio")?,
            largest_q: keywords.real("largest_q")?,
        })
    }
}

/// In the theory's units.
struct Limits {
    scale: Option<Limit>,
    layers: Vec<Option<Limit>>,
    features: Option<Limit>,
    separable_scale: Option<Limit>,
    weights: Option<ClassWeights>,
}

fn goal(keywords: &Wanted) -> PyResult<Goal> {
    match (keywords.rank, keywords.norm_ratio) {
        (Some(_), Some(_)) => Err(refuse("rank and norm_ratio: both given, accepted is one of them, or neither")),
        (Some(rank), None) => Ok(Goal::Rank(rank)),
        (None, Some(ratio)) => Ok(Goal::NormRatio(ratio)),
        (None, None) => Ok(Goal::AllDirections),
    }
}

/// The error of a model without a law of its limits.
fn unknown(error: Error) -> PyErr {
    let Error::NoCertificate { because } = error else { return refused(error) };
    refuse(format!(
        "limits: none are known, there is no certificate of a global minimum for {because}; ncollapse.descend with \
         several decays shows which classes stay apart"
    ))
}

fn find(ufm: &Ufm, goal: Goal, largest_q: f64) -> Result<Limits, Error> {
    let one_layer = ufm.depth() == 1 && !ufm.has_nonnegative_features();
    let separable_scale = one_layer.then(|| ufm.separable_scale()).transpose()?;
    let weights = match one_layer.then(|| ufm.separating_weights(largest_q)).transpose() {
        Err(Error::NoSeparatingWeights { .. }) => None,
        weights => weights?,
    };
    if has_closed_geometry(ufm) {
        let minimizer = ufm.minimizer()?;
        let layers = (0..ufm.depth()).map(|l| minimizer.largest_layer_decay(goal, l).map(Some));
        return Ok(Limits {
            scale: Some(minimizer.largest_scale(goal)?),
            layers: layers.collect::<Result<_, _>>()?,
            features: Some(minimizer.largest_feature_decay(goal)?),
            separable_scale,
            weights,
        });
    }
    let contrasts = ufm.contrasts()?;
    let scale = match goal {
        // The law of contrasts, for one layer and any loss. It says nothing of classes that are alone in their group.
        Goal::AllDirections => contrasts.largest_scale().filter(|scale| *scale != Limit::Always || ufm.outputs() == 1),
        goal => Some(ufm.certified_largest_scale(goal)?),
    };
    Ok(Limits {
        scale,
        layers: vec![scale.map(|scale| contrasts.layer_decay(scale))],
        features: scale.map(|scale| contrasts.feature_decay(scale)),
        separable_scale,
        weights,
    })
}

/// Groups of classes that a search for a rank takes seconds for. It cannot be interrupted.
const MOST_GROUPS: usize = 50;

/// Whether what has no closed form is found in a few seconds.
fn check_groups(ufm: &Ufm, goal: Goal) -> PyResult<()> {
    if goal == Goal::AllDirections || has_closed_geometry(ufm) {
        return Ok(());
    }
    match ufm.contrasts().map_err(unknown)?.groups().len() {
        ..=MOST_GROUPS => Ok(()),
        groups => Err(refuse(format!(
            "rank: the classes have {groups} different counts or weights, at most {MOST_GROUPS} are accepted for this \
             loss: a rank is searched for with certified minimizers"
        ))),
    }
}

/// The largest decays as a dictionary, in the caller's units.
#[pyfunction]
pub(crate) fn limits<'py>(
    py: Python<'py>,
    keywords: &Bound<'py, PyAny>,
    wanted: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyDict>> {
    let model = Model::new(keywords)?;
    let wanted = Wanted::new(Keywords::new(wanted)?)?;
    let goal = goal(&wanted)?;
    check_groups(&model.ufm, goal)?;
    let found = detached(py, || find(&model.ufm, goal, wanted.largest_q))?.map_err(unknown)?;
    let kept = found.scale.map(|scale| match scale {
        Limit::Never => "never",
        Limit::Below(_) => "below",
        Limit::Always => "always",
    });
    let layers: Vec<Option<f64>> = (found.layers.iter())
        .map(|limit| limit.map(|limit| model.layer_decay(number(limit))).transpose())
        .collect::<PyResult<_>>()?;
    let features = found.features.map(|limit| model.feature_decay(number(limit))).transpose()?;
    let counts = model.ufm.class_counts();
    let weights = found.weights.zip(counts).map(|(weights, counts)| weights.of(counts)).transpose().map_err(refused)?;
    Ok(dict!(py, {
        "kept": kept,
        "scale": found.scale.map(number),
        "layer_decays": layers,
        "feature_decay": features,
        "separable_scale": found.separable_scale.map(number),
        "class_weights": weights.map(|weights| PyArray1::from_vec(py, weights)),
    }))
}

//! The numbers of neural collapse from an accumulator, and from layers if they are given.

use neural_collapse::{
    faer::Mat,
    metrics::{ClassGeometry, LastLayers, LayerMetrics, Nc1Convention},
};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    accumulator::Accumulator,
    dict,
    errors::{refuse, refused},
    keywords::wrong_type,
    layers::{check_shape, last_layers},
    output::{array2, decays, frame},
    threads::detached,
};

/// Classes beyond which Gram matrices are not kept for a figure.
const MOST_DRAWN: usize = 2048;

/// Classes beyond which Gram matrices are not part of a result.
const MOST_GRAMS: usize = 100;

/// Distances from frames, of classifiers only if there are layers.
pub(crate) fn frames<'py>(py: Python<'py>, of: &ClassGeometry, has_layers: bool) -> PyResult<Bound<'py, PyDict>> {
    let classifiers = has_layers.then(|| frame(py, &of.classifier_frames)).transpose()?;
    Ok(dict!(py, {
        "classifiers": classifiers,
        "means": frame(py, &of.mean_frames)?,
        "unweighted_means": frame(py, &of.unweighted_mean_frames)?,
        "uncentered_means": frame(py, &of.plain_mean_frames)?,
        "self_duality": of.self_duality,
        "unweighted_self_duality": of.unweighted_self_duality,
    }))
}

/// Gram matrices, if they are few enough for a figure.
pub(crate) fn grams<'py>(py: Python<'py>, of: &ClassGeometry, has_layers: bool) -> PyResult<Bound<'py, PyDict>> {
    let is_drawn = of.means.ncols() <= MOST_DRAWN;
    let array = |gram: Mat<f64>| array2(py, gram.as_ref());
    Ok(dict!(py, {
        "classifiers": (is_drawn && has_layers).then(|| array(of.classifier_gram())).transpose()?,
        "means": is_drawn.then(|| array(of.mean_gram())).transpose()?,
    }))
}

/// Gram matrices by their names, if there are few classes.
fn gram_matrices<'py>(py: Python<'py>, metrics: &LayerMetrics) -> PyResult<Option<Bound<'py, PyDict>>> {
    if metrics.class_means.ncols() > MOST_GRAMS {
        return Ok(None);
    }
    let all = PyDict::new(py);
    for (name, gram) in metrics.gram_matrices() {
        all.set_item(name, array2(py, gram.as_ref())?)?;
    }
    Ok(Some(all))
}

/// The entries of the dictionary that `metrics` gives, and `measure` among others.
pub(crate) fn fill(dict: &Bound<'_, PyDict>, metrics: &LayerMetrics, has_layers: bool) -> PyResult<()> {
    let py = dict.py();
    let nc1 = |convention| metrics.nc1(convention);
    let all = PyDict::new(py);
    for spectrum in &metrics.spectra {
        let of = dict!(py, { "measured": &spectrum.values, "effective_rank": spectrum.effective_rank });
        all.set_item(&spectrum.block, of)?;
    }
    let entries = dict!(py, {
        "nc1": dict!(py, {
            "paper": nc1(Nc1Convention::Global),
            "unweighted": nc1(Nc1Convention::UnweightedMean),
            "weighted": nc1(Nc1Convention::WeightedClasses),
            "undivided": nc1(Nc1Convention::Undivided),
        }),
        "trace_ratio": metrics.trace_ratio,
        "cdnv": metrics.class_distance_normalized_variance,
        "row_sum": metrics.row_sum,
        "feature_mean": dict!(py, { "measured": metrics.feature_mean }),
        "frames": dict!(py, {
            "measured": frames(py, &metrics.classes, has_layers)?,
        }),
        "gram_matrices": gram_matrices(py, metrics)?,
        "grams": dict!(py, { "measured": grams(py, &metrics.classes, has_layers)? }),
        "singular_values": all,
    });
    dict.update(entries.as_mapping())
}

/// The metrics of an accumulator as a dictionary.
#[pyfunction]
#[pyo3(signature = (accumulator, weights=None, bias=None))]
pub(crate) fn metrics<'py>(
    py: Python<'py>,
    accumulator: &Bound<'py, PyAny>,
    weights: Option<&Bound<'py, PyAny>>,
    bias: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    if weights.is_none() && bias.is_some() {
        return Err(refuse("bias: given without weights: give both, or neither"));
    }
    let wrong = |_| wrong_type("accumulator", accumulator, "an Accumulator");
    let accumulator = accumulator.cast::<Accumulator>().map_err(wrong)?;
    let (statistics, counts) = accumulator.get().statistics(py)?;
    if counts.iter().all(|&count| count == 0) {
        return Err(refuse("accumulator: it is empty; samples of every class are needed"));
    }
    let layers = weights.map(|weights| last_layers(weights, bias)).transpose()?;
    if let Some(layers) = &layers {
        let (width, classes) = statistics.class_means().shape();
        check_shape(layers, classes, width)?;
    }
    let (metrics, implied) = detached(py, || {
        let metrics = LayerMetrics::new(&statistics, layers.as_ref())?;
        let gathered = layers.as_ref().filter(|_| statistics.has_scatter());
        Ok((metrics, gathered.map(|layers: &LastLayers| layers.implied_decays(&statistics)).transpose()?))
    })?
    .map_err(refused)?;
    let dict = dict!(py, { "counts": counts, "implied": PyDict::new(py) });
    fill(&dict, &metrics, layers.is_some())?;
    if let Some(implied) = &implied {
        dict.set_item("implied", dict!(py, { "squared": decays(py, implied, true)? }))?;
    }
    Ok(dict)
}

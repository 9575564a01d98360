//! Where the last layers must end.

use std::sync::OnceLock;

use neural_collapse::{Error, faer::Mat, theory::Optimum};
use numpy::{PyArray1, PyArray2};
use pyo3::{
    prelude::*,
    types::{PyDict, PyList},
};

use crate::{
    blocks, dict,
    errors::{refuse, refused},
    groups::{Group, groups, has_closed_geometry},
    keywords::Keywords,
    measure::described,
    model::Model,
    optimum::{direction, optimum},
    output::{array1, array2, counts},
    threads::detached,
    vectors::{self, Which},
};

/// Where the last layers of a classifier must end: what ``ncollapse.predict`` gives.
#[pyclass(frozen, module = "ncollapse", name = "Prediction")]
#[derive(Debug)]
pub(crate) struct Prediction {
    /// What it was computed of, in plain objects: what pickle keeps.
    keywords: Py<PyDict>,
    model: Model,
    optimum: Optimum,
    /// Computed when asked for: norms, logits and nearest classes of R groups take longer than the minimizer.
    groups: OnceLock<Vec<Py<Group>>>,
}

impl Prediction {
    fn matrix(&self, py: Python<'_>, word: &str) -> PyResult<Mat<f64>> {
        let which = Which::new(word)?;
        detached(py, || which.rows(&self.optimum))?.map_err(refused)
    }

    fn gram_of(&self, py: Python<'_>, word: &str) -> PyResult<Mat<f64>> {
        vectors::gram(py, &self.model.ufm, &self.optimum, Which::new(word)?)
    }

    /// The prediction for the keywords of a model.
    fn make(py: Python<'_>, keywords: &Bound<'_, PyAny>) -> PyResult<Self> {
        let model = Model::new(keywords)?;
        let optimum = detached(py, || optimum(&model))?.map_err(refused)?;
        let keywords = model.keywords(Keywords::new(keywords)?)?.unbind();
        Ok(Self { keywords, model, optimum, groups: OnceLock::new() })
    }

    fn all_groups(&self, py: Python<'_>) -> PyResult<&Vec<Py<Group>>> {
        if let Some(groups) = self.groups.get() {
            return Ok(groups);
        }
        // Of smoothed labels without a bias, and more than one layer, the objective alone is known.
        let is_open = matches!(self.optimum, Optimum::Closed(_)) && !has_closed_geometry(&self.model.ufm);
        let found = if is_open { Vec::new() } else { detached(py, || groups(&self.optimum))?.map_err(refused)? };
        let found = found.into_iter().map(|group| Py::new(py, group)).collect::<PyResult<_>>()?;
        Ok(self.groups.get_or_init(|| found))
    }
}

#[pymethods]
impl Prediction {
    #[new]
    fn new(py: Python<'_>, keywords: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::make(py, keywords)
    }

    /// The least objective if ``is_proved``, otherwise that of the best point known; in the theory's units: half the
    /// squared error summed over classes, or the cross-entropy, mean over samples; penalties included.
    #[getter]
    fn objective(&self) -> f64 {
        self.optimum.objective()
    }

    /// The same in the units of ``reduction``, penalties included: what training can reach.
    #[getter]
    fn loss(&self) -> f64 {
        self.model.loss(self.optimum.objective())
    }

    /// What no point has a lower objective than; the objective itself for a closed form.
    #[getter]
    fn lower_bound(&self) -> f64 {
        self.optimum.lower_bound()
    }

    /// (objective - lower_bound)/objective.
    #[getter]
    fn gap(&self) -> f64 {
        self.optimum.gap()
    }

    /// The rank of the prediction, of every layer and of the class means.
    #[getter]
    fn rank(&self) -> usize {
        self.optimum.rank()
    }

    /// Whether the objective is proved to be the least one. If it is not, as of some nonnegative features, the least one
    /// lies between ``lower_bound`` and ``objective``, and groups, norms and angles are those of the best point with
    /// orthogonal features.
    #[getter]
    fn is_proved(&self) -> bool {
        self.optimum.is_proved()
    }

    /// Whether the minimizer is unique up to rotations of the features; None if it is not proved to be one.
    #[getter]
    fn is_unique(&self) -> Option<bool> {
        self.optimum.is_unique()
    }

    /// "closed form", "certified", "nonnegative features", or "interval" if the objective is not proved to be the least.
    #[getter]
    fn method(&self) -> &'static str {
        match self.optimum {
            Optimum::Closed(_) => "closed form",
            Optimum::Certified(_) => "certified",
            _ if self.is_proved() => "nonnegative features",
            _ => "interval",
        }
    }

    /// The model: loss, bias and penalties, the number of layers and of samples.
    #[getter]
    fn model<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let (ufm, model) = (&self.model.ufm, described(py, &self.model.ufm)?);
        model.set_item("layers", ufm.depth())?;
        model.set_item("samples", ufm.samples())?;
        Ok(model)
    }

    /// The number of classes K.
    #[getter]
    fn num_classes(&self) -> usize {
        self.model.ufm.outputs()
    }

    /// The samples of each class, (K,).
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        counts(py, self.model.ufm.class_counts().map_or(&[], |counts| counts.counts()))
    }

    /// The optimal bias, (K,); None without one.
    #[getter]
    fn bias<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyArray1<f64>>> {
        self.optimum.bias().map(|bias| array1(py, bias.as_ref()))
    }

    /// What becomes of the classes, one Group for each count and weight, by falling count.
    #[getter]
    fn groups<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.all_groups(py)?.iter().map(|group| group.bind(py)))
    }

    /// The distinct singular values of the target with what becomes of them, a dictionary each; None without a closed
    /// form.
    #[getter]
    fn directions<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        let Optimum::Closed(minimizer) = &self.optimum else { return Ok(None) };
        let all = minimizer.directions().iter().map(|of| direction(py, of)).collect::<PyResult<Vec<_>>>()?;
        PyList::new(py, all).map(Some)
    }

    /// Singular values of ``of`` = "classifiers", "class_means" (weighted by the roots of the counts) or "prediction",
    /// by falling value, (K,).
    #[pyo3(signature = (of="prediction"))]
    fn singular_values<'py>(&self, py: Python<'py>, of: &str) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let classes = self.model.ufm.outputs();
        let mut values = match (&self.optimum, of) {
            (Optimum::Closed(minimizer), "prediction") => minimizer.singular_values(|direction| direction.prediction),
            (Optimum::Closed(minimizer), "classifiers") => minimizer.singular_values(|direction| direction.product),
            (Optimum::Closed(minimizer), "class_means") => minimizer.singular_values(|direction| direction.feature),
            (optimum, "prediction" | "classifiers" | "class_means") => {
                let all = || -> Result<_, Error> {
                    let (classifiers, mut means) = (optimum.classifiers()?, optimum.class_means()?);
                    let counts = optimum.ufm().class_counts().ok_or(Error::NoClassCounts)?;
                    for (mut mean, &count) in means.col_iter_mut().zip(counts.counts()) {
                        mean *= neural_collapse::faer::Scale((count as f64).sqrt());
                    }
                    match of {
                        "classifiers" => blocks::singular_values(classifiers.as_ref()),
                        "class_means" => blocks::singular_values(means.as_ref()),
                        _ => blocks::singular_values((classifiers * means).as_ref()),
                    }
                };
                detached(py, all)?.map_err(refused)?
            }
            _ => {
                return Err(refuse(format!("of: {of:?} given, accepted: prediction, classifiers, class_means")));
            }
        };
        values.resize(classes, 0.0);
        Ok(PyArray1::from_vec(py, values))
    }

    /// The classifiers, rows of W, in the space of rank dimensions that they share with the class means, (K, rank).
    fn classifiers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        array2(py, self.matrix(py, "classifiers")?.as_ref())
    }

    /// The class means as rows, in the same space, (K, rank).
    fn class_means<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        array2(py, self.matrix(py, "class_means")?.as_ref())
    }

    /// Inner products between the ``of`` = "classifiers" or "class_means" of all classes, (K, K); NaN if a tie leaves
    /// them open.
    #[pyo3(signature = (of="classifiers"))]
    fn gram<'py>(&self, py: Python<'py>, of: &str) -> PyResult<Bound<'py, PyArray2<f64>>> {
        array2(py, self.gram_of(py, of)?.as_ref())
    }

    /// Angles in degrees between the ``of`` = "classifiers" or "class_means" of all classes, (K, K); NaN for zeros.
    #[pyo3(signature = (of="classifiers"))]
    fn angles<'py>(&self, py: Python<'py>, of: &str) -> PyResult<Bound<'py, PyArray2<f64>>> {
        array2(py, vectors::angles(py, &self.model.ufm, &self.optimum, Which::new(of)?)?.as_ref())
    }

    /// Norms of the ``of`` = "classifiers" or "class_means" of all classes, (K,); NaN if a tie leaves them open.
    #[pyo3(signature = (of="classifiers"))]
    fn norms<'py>(&self, py: Python<'py>, of: &str) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let groups = self.all_groups(py)?;
        if groups.is_empty() {
            let norms = self.matrix(py, of)?.row_iter().map(|row| row.norm_l2()).collect();
            return Ok(PyArray1::from_vec(py, norms));
        }
        let (which, mut norms) = (Which::new(of)?, vec![f64::NAN; self.num_classes()]);
        for group in groups {
            let (classes, norm) = group.get().norms(which);
            for &class in classes {
                norms[class] = norm;
            }
        }
        Ok(PyArray1::from_vec(py, norms))
    }

    /// Everything but matrices as a dictionary of plain objects, by the names of the attributes, ready for JSON: None
    /// for a number that is infinite.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let groups = self.all_groups(py)?.iter().map(|group| group.get().to_dict(py)).collect::<PyResult<Vec<_>>>()?;
        let directions = self.directions(py)?;
        for direction in directions.iter().flatten() {
            let scale = direction.get_item("critical_scale")?;
            if !scale.extract::<f64>().is_ok_and(f64::is_finite) {
                direction.set_item("critical_scale", py.None())?;
            }
        }
        Ok(dict!(py, {
            "model": self.model(py)?,
            "num_classes": self.num_classes(),
            "counts": self.model.ufm.class_counts().map_or(&[][..], |counts| counts.counts()).to_vec(),
            "bias": self.optimum.bias().map(|bias| bias.iter().copied().collect::<Vec<f64>>()),
            "objective": self.objective(),
            "loss": self.loss(),
            "lower_bound": self.lower_bound(),
            "gap": self.gap(),
            "rank": self.rank(),
            "is_proved": self.is_proved(),
            "is_unique": self.is_unique(),
            "method": self.method(),
            "directions": directions,
            "groups": groups,
        }))
    }

    fn __repr__(&self) -> String {
        let (objective, rank, classes) = (self.objective(), self.rank(), self.model.ufm.outputs());
        if self.is_proved() {
            return format!("Prediction({}: objective {objective:.15e}, rank {rank} of {classes})", self.method());
        }
        let least = self.lower_bound();
        format!(
            "Prediction(interval: objective from {least:.4e} to {objective:.15e}, rank {rank} of {classes} at the upper end)"
        )
    }

    /// What it was computed of: it is computed again, which gives the same bits.
    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyDict>,))> {
        Ok((slf.get_type().into_any(), (slf.get().keywords.bind(slf.py()).copy()?,)))
    }

    /// Itself: nothing of it changes.
    fn __copy__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[expect(unused_variables, reason = "there is nothing to copy")]
    fn __deepcopy__<'py>(slf: Bound<'py, Self>, memo: &Bound<'py, PyAny>) -> Bound<'py, Self> {
        slf
    }
}

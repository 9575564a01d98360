//! What becomes of the classes that a minimizer cannot tell apart.

use neural_collapse::{
    Error, Ufm,
    theory::{Certified, CertifiedGeometry, Geometry, GroupFate, Limit, Minimizer, NonnegativeMinimizer, Optimum},
};
use pyo3::{prelude::*, types::PyDict};

use crate::{
    dict,
    errors::refuse,
    keywords::{ANY, Keywords, sizes},
    vectors::Which,
};

/// A group of classes that the minimizer cannot tell apart: of one count, one weight and one adjustment of logits.
///
/// What does not exist, or is left open by a tie, is ``None``.
#[pyclass(frozen, get_all, module = "ncollapse")]
#[derive(Debug)]
pub(crate) struct Group {
    /// The samples of each class.
    count: u64,
    /// The classes, in rising order.
    classes: Vec<usize>,
    /// The class weight.
    weight: f64,
    /// "distinct", "single" (no other class of its count and weight), "coincident" (one classifier for all: minority
    /// collapse), "vanished" (zero), or "ambiguous" (a tie).
    fate: &'static str,
    /// The norm of each classifier, a row of W.
    classifier_norm: Option<f64>,
    /// The norm of each class mean.
    mean_norm: Option<f64>,
    /// Of a sample, the probability of its own class; for squared loss the output.
    probability_own: Option<f64>,
    /// The same of another class of the group.
    probability_sibling: Option<f64>,
    /// The class with the nearest classifier.
    nearest_class: Option<usize>,
    /// The angle to it, in degrees.
    nearest_angle: Option<f64>,
    /// The factor on all decays together from which on the classes share one classifier: 0 if they do at any decay,
    /// infinite if they never do before they vanish, ``None`` if no formula says so.
    coincidence_scale: Option<f64>,
    /// The factor from which on their classifiers are zero; ``None`` without a closed form.
    vanishing_scale: Option<f64>,
}

/// What becomes of a group, in the words of the library.
const FATES: [GroupFate; 5] =
    [GroupFate::Distinct, GroupFate::Single, GroupFate::Coincident, GroupFate::Vanished, GroupFate::Ambiguous];

#[pymethods]
impl Group {
    /// From what pickle has kept.
    #[new]
    fn new(fields: &Bound<'_, PyAny>) -> PyResult<Self> {
        let fields = Keywords::new(fields)?;
        let accepted = FATES.map(GroupFate::name).join(", ");
        let fate = fields.word("fate", &accepted)?;
        let known = FATES.map(GroupFate::name).into_iter().find(|name| *name == fate);
        let classes = fields.needed("classes", "a list of classes")?;
        Ok(Self {
            count: fields.whole("count", ANY)?,
            classes: sizes("classes", &classes)?,
            weight: fields.real("weight")?,
            fate: known.ok_or_else(|| refuse(format!("fate: {fate} given, accepted: {accepted}")))?,
            classifier_norm: fields.real_if_given("classifier_norm")?,
            mean_norm: fields.real_if_given("mean_norm")?,
            probability_own: fields.real_if_given("probability_own")?,
            probability_sibling: fields.real_if_given("probability_sibling")?,
            nearest_class: fields.size_if_given("nearest_class", ANY)?,
            nearest_angle: fields.real_if_given("nearest_angle")?,
            coincidence_scale: fields.real_if_given("coincidence_scale")?,
            vanishing_scale: fields.real_if_given("vanishing_scale")?,
        })
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyDict>,))> {
        let group = slf.get();
        let fields = group.to_dict(slf.py())?;
        // These can be infinite.
        fields.set_item("coincidence_scale", group.coincidence_scale)?;
        fields.set_item("vanishing_scale", group.vanishing_scale)?;
        Ok((slf.get_type().into_any(), (fields,)))
    }

    /// The number of classes.
    #[getter]
    fn multiplicity(&self) -> usize {
        self.classes.len()
    }

    /// Everything as a dictionary, ready for JSON: None for a number that is infinite.
    pub(crate) fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        Ok(dict!(py, {
            "count": self.count,
            "multiplicity": self.classes.len(),
            "classes": &self.classes,
            "weight": self.weight,
            "fate": self.fate,
            "classifier_norm": self.classifier_norm,
            "mean_norm": self.mean_norm,
            "probability_own": self.probability_own,
            "probability_sibling": self.probability_sibling,
            "nearest_class": self.nearest_class,
            "nearest_angle": self.nearest_angle,
            "coincidence_scale": self.coincidence_scale.filter(|scale| scale.is_finite()),
            "vanishing_scale": self.vanishing_scale.filter(|scale| scale.is_finite()),
        }))
    }

    fn __repr__(&self) -> String {
        let classes =
            if self.classes.len() == 1 { "1 class".into() } else { format!("{} classes", self.classes.len()) };
        format!("Group({classes} of {} samples: {})", self.count, self.fate)
    }
}

impl Group {
    /// The classes, and the norm of each classifier or class mean; NaN if a tie leaves it open.
    pub(crate) fn norms(&self, which: Which) -> (&[usize], f64) {
        let norm = match which {
            Which::Classifiers => self.classifier_norm,
            Which::ClassMeans => self.mean_norm,
        };
        (&self.classes, norm.unwrap_or(f64::NAN))
    }
}

pub(crate) fn number(limit: Limit) -> f64 {
    match limit {
        Limit::Never => 0.0,
        Limit::Below(value) => value,
        Limit::Always => f64::INFINITY,
    }
}

/// The groups of an optimum.
pub(crate) fn groups(optimum: &Optimum) -> Result<Vec<Group>, Error> {
    match optimum {
        Optimum::Closed(minimizer) => closed(minimizer),
        Optimum::Certified(minimizer) => certified(minimizer),
        Optimum::Nonnegative(minimizer) => Ok(nonnegative(minimizer)),
        _ => Ok(Vec::new()),
    }
}

fn closed(minimizer: &Minimizer) -> Result<Vec<Group>, Error> {
    let counts = minimizer.ufm().class_counts().ok_or(Error::NoClassCounts)?;
    let (geometry, fates, bias): (Geometry, _, _) = (minimizer.geometry()?, minimizer.group_fates()?, minimizer.bias());
    let of = |(r, fate): (usize, GroupFate)| {
        let group = counts.group(r);
        let class = group.classes[0];
        let output = |k: usize| Some(geometry.logit(k, class)? + bias.as_ref().map_or(0.0, |bias| bias[k]));
        let nearest = geometry.nearest(class);
        Ok(Group {
            count: group.count,
            classes: group.classes.to_vec(),
            weight: 1.0,
            fate: fate.name(),
            classifier_norm: geometry.classifiers().norm(class),
            mean_norm: geometry.class_means().norm(class),
            probability_own: output(class),
            probability_sibling: group.classes.get(1).and_then(|&sibling| output(sibling)),
            nearest_class: nearest.map(|nearest| nearest.class),
            nearest_angle: nearest.map(|nearest| nearest.angle.to_degrees()),
            coincidence_scale: Some(number(minimizer.coincidence_scale(r)?)),
            vanishing_scale: Some(minimizer.vanishing_scale(r)?),
        })
    };
    fates.into_iter().enumerate().map(of).collect()
}

fn certified(minimizer: &Certified) -> Result<Vec<Group>, Error> {
    let (geometry, contrasts) = (minimizer.geometry()?, minimizer.ufm().contrasts()?);
    let of = |(r, group): (usize, &neural_collapse::theory::CertifiedGroup)| {
        let nearest = nearest(minimizer, &geometry, r);
        Group {
            count: group.count,
            classes: group.classes.to_vec(),
            weight: group.weight,
            fate: group.fate.name(),
            classifier_norm: Some(group.classifier_norm),
            mean_norm: Some(group.mean_norm),
            probability_own: Some(group.probability_own),
            probability_sibling: group.probability_sibling,
            nearest_class: nearest.map(|(class, _)| class),
            nearest_angle: nearest.map(|(_, angle)| angle),
            coincidence_scale: contrasts.coincidence_scale(r).map(number),
            vanishing_scale: None,
        }
    };
    Ok(minimizer.groups().iter().enumerate().map(of).collect())
}

/// The nearest classifier to that of the first class of group `r`, and the angle in degrees.
fn nearest(minimizer: &Certified, geometry: &CertifiedGeometry, r: usize) -> Option<(usize, f64)> {
    let groups = minimizer.groups();
    let class = groups[r].classes[0];
    let angle = |t: usize| {
        let other = *groups[t].classes.get(usize::from(t == r))?;
        if t == r && groups[r].fate == GroupFate::Coincident {
            return Some((other, 0.0));
        }
        if [r, t].iter().any(|&r| groups[r].fate == GroupFate::Vanished) {
            return None;
        }
        Some((other, geometry.classifiers().cosine(class, other)?.acos().to_degrees()))
    };
    (0..groups.len()).filter_map(angle).min_by(|one, other| one.1.total_cmp(&other.1))
}

fn nonnegative(minimizer: &NonnegativeMinimizer) -> Vec<Group> {
    let of = |group: &neural_collapse::theory::NonnegativeGroup| Group {
        count: group.count,
        classes: group.classes.to_vec(),
        weight: group.weight,
        fate: group.fate().name(),
        classifier_norm: Some(group.classifier_norm),
        mean_norm: Some(group.mean_norm),
        probability_own: Some(group.probability_own),
        probability_sibling: group.probability_sibling,
        nearest_class: None,
        nearest_angle: None,
        coincidence_scale: None,
        vanishing_scale: group.vanishing_scale,
    };
    minimizer.groups().iter().map(of).collect()
}

/// Whether the closed form is one for groups of classes: smoothed labels without a bias have one for the objective alone.
pub(crate) fn has_closed_geometry(ufm: &Ufm) -> bool {
    ufm.has_closed_form() && (ufm.has_bias() || ufm.targets().smoothing() == 0.0)
}

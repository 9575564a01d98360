//! Classifiers and class means of an optimum, and what lies between them.

use neural_collapse::{Error, Ufm, faer::Mat, theory::Optimum};
use pyo3::prelude::*;

use crate::{
    blocks,
    errors::{refuse, refused},
    groups::has_closed_geometry,
    threads::detached,
};

/// Rows of classifiers, or class means as rows.
#[derive(Clone, Copy)]
pub(crate) enum Which {
    Classifiers,
    ClassMeans,
}

impl Which {
    pub(crate) fn new(word: &str) -> PyResult<Self> {
        match word {
            "classifiers" => Ok(Self::Classifiers),
            "class_means" => Ok(Self::ClassMeans),
            _ => Err(refuse(format!("of: {word:?} given, accepted: classifiers, class_means"))),
        }
    }

    pub(crate) fn rows(self, optimum: &Optimum) -> Result<Mat<f64>, Error> {
        match self {
            Self::Classifiers => optimum.classifiers(),
            Self::ClassMeans => Ok(optimum.class_means()?.transpose().to_owned()),
        }
    }
}

/// Their inner products, K x K.
pub(crate) fn gram(py: Python<'_>, ufm: &Ufm, optimum: &Optimum, which: Which) -> PyResult<Mat<f64>> {
    let groups = blocks::groups(optimum);
    match optimum {
        Optimum::Closed(minimizer) if has_closed_geometry(ufm) => {
            let geometry = minimizer.geometry().map_err(refused)?;
            let gram = match which {
                Which::Classifiers => geometry.classifiers(),
                Which::ClassMeans => geometry.class_means(),
            };
            detached(py, || blocks::expand(&groups, |k, l| gram.inner_product(k, l)))?
        }
        Optimum::Certified(minimizer) => {
            let geometry = minimizer.geometry().map_err(refused)?;
            let gram = match which {
                Which::Classifiers => geometry.classifiers(),
                Which::ClassMeans => geometry.class_means(),
            };
            detached(py, || blocks::expand(&groups, |k, l| Some(gram.inner_product(k, l))))?
        }
        optimum => {
            blocks::check_room(ufm.outputs())?;
            detached(py, || which.rows(optimum).map(|rows| blocks::gram(rows.as_ref())))?.map_err(refused)
        }
    }
}

/// The angles between them in degrees, K x K.
pub(crate) fn angles(py: Python<'_>, ufm: &Ufm, optimum: &Optimum, which: Which) -> PyResult<Mat<f64>> {
    let Optimum::Closed(minimizer) = optimum else { return Ok(blocks::angles(&gram(py, ufm, optimum, which)?)) };
    if !has_closed_geometry(ufm) {
        return Ok(blocks::angles(&gram(py, ufm, optimum, which)?));
    }
    // However small an angle is: an arc cosine would lose it.
    let geometry = minimizer.geometry().map_err(refused)?;
    let gram = match which {
        Which::Classifiers => geometry.classifiers(),
        Which::ClassMeans => geometry.class_means(),
    };
    let groups = blocks::groups(optimum);
    detached(py, || blocks::expand(&groups, |k, l| gram.angle(k, l).map(f64::to_degrees)))?
}

//! Classifiers and class means of an optimum, and what lies between them.

use neural_collapse::{
    Error, Ufm,
    faer::Mat,
    theory::{Geometry, Gram, Optimum},
};
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

/// What the closed form says of the inner products of one of the two.
fn closed(geometry: &Geometry, which: Which) -> &Gram {
    match which {
        Which::Classifiers => geometry.classifiers(),
        Which::ClassMeans => geometry.class_means(),
    }
}

/// Their inner products, K x K.
pub(crate) fn gram(py: Python<'_>, ufm: &Ufm, optimum: &Optimum, which: Which) -> PyResult<Mat<f64>> {
    blocks::check_room(ufm.outputs())?;
    let groups = blocks::groups(optimum);
    let all = || match optimum {
        Optimum::Closed(minimizer) if has_closed_geometry(ufm) => {
            let geometry = minimizer.geometry()?;
            let gram = closed(&geometry, which);
            // All at once: one by one, those of a thousand groups take seconds.
            let products = gram.inner_products_of_groups();
            let own = |r: usize| gram.inner_product(groups[r][0], groups[r][0]);
            Ok(blocks::expand(&groups, |r, t| Some(products[(r, t)]), own))
        }
        Optimum::Certified(minimizer) => {
            let geometry = minimizer.geometry()?;
            let gram = match which {
                Which::Classifiers => geometry.classifiers(),
                Which::ClassMeans => geometry.class_means(),
            };
            let between = |r: usize, t: usize| {
                groups[t].get(usize::from(r == t)).map(|&other| gram.inner_product(groups[r][0], other))
            };
            Ok(blocks::expand(&groups, between, |r| Some(gram.inner_product(groups[r][0], groups[r][0]))))
        }
        optimum => which.rows(optimum).map(|rows| blocks::gram(rows.as_ref())),
    };
    detached(py, all)?.map_err(refused)
}

/// The angles between them in degrees, K x K.
pub(crate) fn angles(py: Python<'_>, ufm: &Ufm, optimum: &Optimum, which: Which) -> PyResult<Mat<f64>> {
    let Optimum::Closed(minimizer) = optimum else { return Ok(blocks::angles(&gram(py, ufm, optimum, which)?)) };
    if !has_closed_geometry(ufm) {
        return Ok(blocks::angles(&gram(py, ufm, optimum, which)?));
    }
    blocks::check_room(ufm.outputs())?;
    let groups = blocks::groups(optimum);
    let all = || {
        let geometry = minimizer.geometry()?;
        let gram = closed(&geometry, which);
        // However small an angle is: an arc cosine would lose it.
        let angles = gram.angles_of_groups();
        let own = |r: usize| gram.angle(groups[r][0], groups[r][0]).map(f64::to_degrees);
        Ok(blocks::expand(&groups, |r, t| Some(angles[(r, t)].to_degrees()), own))
    };
    detached(py, all)?.map_err(refused)
}

//! Classifiers and class means compared with the frames of balanced classes, under each convention of the field.

use faer::{Col, Mat, MatRef, Scale};

use super::super::frames::{FrameDistances, frame_distances, self_duality};
use crate::error::Error;

/// Classes beyond which distances from frames, which take several times K² numbers, are left out: 2 GB.
const MOST_FRAMED: usize = 8192;

/// Classifiers and class means of a network, or of an optimum, with what the theory of balanced classes asks of them.
///
/// The field centers class means at one of two points, which are the same for equal counts: at the mean h_G of all
/// features, or at the mean of the class means, where classes have equal weight. The orthogonal frame is that of means
/// that are not centered at all.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClassGeometry {
    /// Rows of W_{L:1}, K × d, or K × rank of an optimum; no columns if no layers were given.
    pub classifiers: Mat<f64>,
    /// Class means about the mean h_G of all features, d × K or rank × K.
    pub means: Mat<f64>,
    /// Distances of the classifiers from the frames; as all distances here without numbers beyond 8192 classes.
    pub classifier_frames: FrameDistances,
    /// The same of the class means about h_G.
    pub mean_frames: FrameDistances,
    /// The same of the class means about their own mean, in which classes have equal weight.
    pub unweighted_mean_frames: FrameDistances,
    /// The same of class means that are not centered.
    pub plain_mean_frames: FrameDistances,
    /// [`self_duality`] of classifiers and class means about h_G.
    pub self_duality: Option<f64>,
    /// The same about the mean of the class means.
    pub unweighted_self_duality: Option<f64>,
}

impl ClassGeometry {
    /// Of classifiers, K × d, of class means as they are, d × K, and of the same about h_G.
    pub(super) fn new(
        classifiers: Option<MatRef<'_, f64>>,
        plain: MatRef<'_, f64>,
        means: Mat<f64>,
    ) -> Result<Self, Error> {
        let duality = |means: MatRef<'_, f64>| {
            Ok::<_, Error>(match classifiers {
                Some(own) => self_duality(own, means)?,
                None => None,
            })
        };
        let unweighted = about_their_mean(means.as_ref());
        Ok(Self {
            classifier_frames: classifiers.map_or(Ok(NO_FRAMES), |classifiers| frames(classifiers.transpose()))?,
            mean_frames: frames(means.as_ref())?,
            unweighted_mean_frames: frames(unweighted.as_ref())?,
            plain_mean_frames: frames(plain)?,
            self_duality: duality(means.as_ref())?,
            unweighted_self_duality: duality(unweighted.as_ref())?,
            classifiers: classifiers.map_or_else(|| Mat::zeros(means.ncols(), 0), |classifiers| classifiers.to_owned()),
            means,
        })
    }

    /// Inner products of the classifiers, K × K. Cost: 2 K² d operations.
    #[must_use]
    pub fn classifier_gram(&self) -> Mat<f64> {
        &self.classifiers * self.classifiers.transpose()
    }

    /// The same of the classifiers about their mean.
    #[must_use]
    pub fn centered_classifier_gram(&self) -> Mat<f64> {
        let centered = about_their_mean(self.classifiers.transpose());
        centered.transpose() * &centered
    }

    /// Inner products of the class means about h_G, K × K.
    #[must_use]
    pub fn mean_gram(&self) -> Mat<f64> {
        self.means.transpose() * &self.means
    }

    /// The same about the mean of the class means.
    #[must_use]
    pub fn unweighted_mean_gram(&self) -> Mat<f64> {
        let centered = about_their_mean(self.means.as_ref());
        centered.transpose() * &centered
    }
}

/// Columns minus their mean.
fn about_their_mean(vectors: MatRef<'_, f64>) -> Mat<f64> {
    // faer's operators add up in an order that depends on the number of threads.
    let mut center = Col::<f64>::zeros(vectors.nrows());
    vectors.col_iter().for_each(|vector| center += vector);
    let center = Scale(1.0 / vectors.ncols().max(1) as f64) * center;
    let mut centered = vectors.to_owned();
    centered.col_iter_mut().for_each(|mut vector| vector -= &center);
    centered
}

/// Distances that are not known.
const NO_FRAMES: FrameDistances =
    FrameDistances { equinorm: None, equiangularity: None, maximal_angle: None, simplex: None, orthogonal: None };

/// Distances of columns from the frames, of as many of them as memory allows.
fn frames(vectors: MatRef<'_, f64>) -> Result<FrameDistances, Error> {
    if vectors.ncols() <= MOST_FRAMED { frame_distances(vectors) } else { Ok(NO_FRAMES) }
}

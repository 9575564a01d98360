//! The classical metrics for balanced classes: simplex equiangular tight frames, orthogonal frames and self-duality.
//!
//! With balanced classes the minimizer is a simplex frame with a bias and an orthogonal frame without, and all numbers
//! here are zero at it. Under imbalance they are not; the metrics of [`collapse`](super::collapse) are. Their values at
//! the minimizer follow from [`Minimizer::classifiers`](crate::theory::Minimizer::classifiers) and
//! [`Minimizer::class_means`](crate::theory::Minimizer::class_means).

use faer::{Col, Mat, MatRef, Scale};

use crate::{
    error::{Block, Error},
    linalg::{
        checks::{check_shape, first_not_finite},
        dense_svd,
        memory::try_zeros,
        product::mirror,
    },
};

/// How far a set of vectors, one for each class, is from the frames of balanced neural collapse.
///
/// With v_k the vectors of K classes, G = VᵀV their Gram matrix, ⟨A⟩ = A/‖A‖, and means and standard deviations over
/// classes, or over pairs of them, as of a whole population:
///
/// ```text
/// equinorm         =  std ‖v_k‖ / mean ‖v_k‖
/// equiangularity   =  std cos(v_k, v_l)
/// maximal_angle    =  mean |cos(v_k, v_l) + 1/(K-1)|
/// simplex          =  ‖⟨G⟩ - (I - 1 1ᵀ/K)/√(K-1)‖
/// orthogonal       =  ‖⟨G⟩ - I/√K‖
/// ```
///
/// equinorm is at least 0, equiangularity at most 1, maximal_angle at most 2, and so are the last two. A number whose
/// definition divides by zero is `None`: the cosines of a vector of zero, and with them both angles; all but the first
/// and the last if there is one class; all if all vectors are zero.
///
/// # References
///
/// Papyan, Han, Donoho 2020, figures 2 to 4, for the first three, of centered class means and of classifiers; Zhu et
/// al. 2021 for the simplex; Tirer, Bruna 2022 and Dang et al. 2023 for the orthogonal frame.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct FrameDistances {
    /// How much norms differ.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub equinorm: Option<f64>,
    /// How much angles differ.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub equiangularity: Option<f64>,
    /// How far angles are from the largest that all pairs can have at once.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub maximal_angle: Option<f64>,
    /// The distance of the Gram matrix from that of a simplex equiangular tight frame.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub simplex: Option<f64>,
    /// The distance of the Gram matrix from that of an orthogonal frame.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub orthogonal: Option<f64>,
}

/// The distances of `vectors`, d × K, with one column for each class, from the frames: the transpose of W_{L:1}, or
/// class means. For the simplex give [centered](super::features::FeatureStatistics::centered_means) means. Cost: 2 K² d
/// operations, K² numbers.
///
/// # Errors
///
/// [`Error::NoClasses`] if there is no column; [`Error::MatrixNotFinite`]; [`Error::TooLarge`].
///
/// # Example
///
/// ```
/// use neural_collapse::{faer::mat, metrics::frame_distances};
///
/// let triangle = mat![[1.0, -0.5, -0.5], [0.0, 0.75_f64.sqrt(), -0.75_f64.sqrt()]];
/// let distances = frame_distances(triangle.as_ref())?;
/// assert!(distances.simplex.unwrap() < 1e-15 && distances.maximal_angle.unwrap() < 1e-15);
/// assert!(distances.orthogonal.unwrap() > 0.5);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
pub fn frame_distances(vectors: MatRef<'_, f64>) -> Result<FrameDistances, Error> {
    if vectors.ncols() == 0 {
        return Err(Error::NoClasses);
    }
    let mut gram = gram(vectors)?;
    let norms: Vec<f64> = (0..gram.ncols()).map(|k| gram[(k, k)].sqrt()).collect();
    let equinorm = mean(&norms).filter(|mean| *mean > 0.0).and_then(|mean| Some(deviation(&norms)? / mean));
    let cosines = cosines(vectors)?;
    let classes = norms.len() as f64;
    let rest = |cosine: &f64| (cosine + 1.0 / (classes - 1.0)).abs();
    let size = gram.norm_l2();
    if size > 0.0 {
        gram *= Scale(1.0 / size);
    }
    // ‖⟨G⟩ - (δ I - c 1 1ᵀ)‖.
    let distance = |diagonal: f64, other: f64| {
        let target = |i, j| if i == j { diagonal } else { other };
        let differences = Mat::from_fn(gram.nrows(), gram.ncols(), |i, j| gram[(i, j)] - target(i, j));
        (size > 0.0).then(|| differences.norm_l2())
    };
    let root = (classes - 1.0).sqrt();
    Ok(FrameDistances {
        equinorm,
        equiangularity: cosines.as_ref().and_then(|cosines| deviation(cosines)),
        maximal_angle: cosines.and_then(|cosines| mean(&cosines.iter().map(rest).collect::<Vec<_>>())),
        simplex: distance(root / classes, -1.0 / (classes * root)).filter(|_| classes > 1.0),
        orthogonal: distance(1.0 / classes.sqrt(), 0.0),
    })
}

/// Self-duality: the square of the distance ‖⟨W⟩ - ⟨Mᵀ⟩‖ of the classifiers W, K × d, from the class means M, d × K,
/// centered for the simplex; from 0 to 4. `None` if one of the two is zero. Cost: O(K d) operations.
///
/// # Errors
///
/// [`Error::Shape`] if the shapes do not match, with the shape that fits the means; [`Error::MatrixNotFinite`].
///
/// # Example
///
/// ```
/// use neural_collapse::{faer::mat, metrics::self_duality};
///
/// let (classifiers, means) = (mat![[1.0, 0.0], [0.0, 1.0]], mat![[3.0, 0.0], [0.0, 3.0]]);
/// assert!(self_duality(classifiers.as_ref(), means.as_ref())?.unwrap() < 1e-30);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
///
/// # References
///
/// Papyan, Han, Donoho 2020, figure 5.
pub fn self_duality(classifiers: MatRef<'_, f64>, means: MatRef<'_, f64>) -> Result<Option<f64>, Error> {
    check_shape(Block::Product, (means.ncols(), means.nrows()), classifiers.shape())?;
    for matrix in [classifiers, means] {
        check_matrix(matrix)?;
    }
    let (classifiers, means) = (unit(classifiers), unit(means.transpose()));
    Ok(classifiers.zip(means).map(|(classifiers, means)| (classifiers - means).squared_norm_l2()))
}

/// The row sum of the classifiers W, K × d, beside their size: ‖Wᵀ 1‖/‖W‖, from 0 to √K (NC0). It is 0 at every
/// stationary point of cross-entropy with a decay of W and without scales of the logits, and at every optimum of plain
/// squared loss with a free bias. `None` if W is zero.
///
/// # Errors
///
/// [`Error::MatrixNotFinite`].
pub fn row_sum(classifiers: MatRef<'_, f64>) -> Result<Option<f64>, Error> {
    check_matrix(classifiers)?;
    let unit = unit(classifiers);
    Ok(unit.map(|unit| (unit.transpose() * Col::<f64>::ones(unit.nrows())).norm_l2()))
}

/// The effective rank of singular values: exp(-Σ p_i log p_i) with p_i = s_i/Σ s, from 1 to their number. `None` if all
/// are zero, or if one is negative or not finite.
///
/// # References
///
/// Roy, Vetterli 2007, *The effective rank: a measure of effective dimensionality*, EUSIPCO.
#[must_use]
pub fn effective_rank(singular_values: &[f64]) -> Option<f64> {
    let largest = singular_values.iter().copied().fold(0.0, f64::max);
    let is_accepted = |value: &f64| *value >= 0.0 && value.is_finite();
    if !(largest > 0.0 && singular_values.iter().all(is_accepted)) {
        return None;
    }
    let total: f64 = singular_values.iter().map(|value| value / largest).sum();
    let parts = singular_values.iter().map(|value| value / largest / total).filter(|part| *part > 0.0);
    Some((-parts.map(|part| part * part.ln()).sum::<f64>()).exp())
}

/// The effective rank of singular values whose squares are those of a Gram matrix, of which the lower triangle is read, and
/// whose entries are rounded relative to `size`, if that is larger than itself.
pub(super) fn rank_of_gram(mut gram: Mat<f64>, size: f64) -> Result<Option<f64>, Error> {
    mirror(&mut gram);
    let squares = dense_svd(gram.as_ref())?.values;
    let rounding = gram.nrows() as f64 * f64::EPSILON * squares.norm_max().max(size);
    let root = |square: &f64| if *square > rounding { square.sqrt() } else { 0.0 };
    Ok(effective_rank(&squares.iter().map(root).collect::<Vec<_>>()))
}

/// The matrix over its norm, whose square may be beyond the range of `f64`.
fn unit(matrix: MatRef<'_, f64>) -> Option<Mat<f64>> {
    let largest = matrix.norm_max();
    (largest > 0.0).then(|| {
        let scaled = Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)] / largest);
        Scale(1.0 / scaled.norm_l2()) * scaled
    })
}

/// VᵀV in units of the square of the largest entry.
fn gram(vectors: MatRef<'_, f64>) -> Result<Mat<f64>, Error> {
    check_matrix(vectors)?;
    let mut gram = try_zeros("Gram matrix", vectors.ncols(), vectors.ncols() as u64)?;
    if let Some(vectors) = unit(vectors) {
        gram.copy_from(vectors.transpose() * &vectors);
    }
    Ok(gram)
}

fn check_matrix(matrix: MatRef<'_, f64>) -> Result<(), Error> {
    match first_not_finite(matrix) {
        Some((row, col, value)) => Err(Error::MatrixNotFinite { row, col, value }),
        None => Ok(()),
    }
}

/// The cosines of all pairs; `None` if a vector is zero. Each vector is taken to norm 1 first: its square may be out of
/// range if those of others are not.
fn cosines(vectors: MatRef<'_, f64>) -> Result<Option<Vec<f64>>, Error> {
    let mut units = try_zeros("unit vectors", vectors.nrows(), vectors.ncols() as u64)?;
    for (mut to, vector) in units.col_iter_mut().zip(vectors.col_iter()) {
        let Some(unit) = unit(vector.as_mat()) else { return Ok(None) };
        to.copy_from(unit.col(0));
    }
    let gram = gram(units.as_ref())?;
    // In units of the largest entry again, which cancels.
    let norm = |k: usize| gram[(k, k)].sqrt();
    let pairs = (0..units.ncols()).flat_map(|k| (0..k).map(move |l| (k, l)));
    Ok(Some(pairs.map(|(k, l)| gram[(k, l)] / norm(k) / norm(l)).collect()))
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// The standard deviation of a population.
fn deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: Vec<f64> = values.iter().map(|value| (value - mean).powi(2)).collect();
    Some(self::mean(&squares)?.sqrt())
}

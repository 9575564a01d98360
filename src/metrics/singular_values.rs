//! The singular values of the layers and of the weighted class means at any point, compared with those of the
//! minimizer.

use faer::Mat;

use crate::{
    error::Error,
    linalg::dense_svd,
    model::Ufm,
    point::PointRef,
    theory::{Direction, Minimizer},
};

/// Singular values by falling value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct SingularValues {
    /// Singular values of W_1 .. W_L, min(d_l, d_{l+1}) each. A narrow start has fewer; the rest are zero.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub layers: Vec<Vec<f64>>,
    /// Singular values of the product W_{L:1}, min(K, d_1).
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub product: Vec<f64>,
    /// Singular values of the weighted class means H̄ D, min(K, d_1), or of H if the targets are a matrix.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub features: Vec<f64>,
}

/// The singular values at a point. Cost: one dense decomposition a block.
///
/// # Errors
///
/// As [`Ufm::objective`](crate::Ufm::objective) if the parameters belong to another model; [`Error::MatrixNotFinite`]
/// if a product of the blocks leaves the range of `f64`; [`Error::SvdDidNotConverge`].
pub fn singular_values<'a>(ufm: &Ufm, point: impl Into<PointRef<'a>>) -> Result<SingularValues, Error> {
    let point = point.into();
    let features = values(&point.weighted_features(ufm)?)?;
    let layers = point.framed_weights().iter().map(values).collect::<Result<_, _>>()?;
    Ok(SingularValues { layers, product: values(&point.framed_product())?, features })
}

/// The largest error of the singular values of any layer, of the product and of the weighted class means, each relative
/// to the largest singular value that the theory predicts for that block.
///
/// If every direction has collapsed, the prediction is zero. Then the error is that of the balanced variables √λ_l W_l,
/// √λ_H H̄ D: relative to the level of a direction that does not shrink. The product then has no scale and is left out.
///
/// # Errors
///
/// As [`singular_values`].
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Ufm, metrics::singular_value_error};
///
/// let ufm = Ufm::new(ClassCounts::paper_cifar10(), [Layer::new(16, 5e-3)], 1e-4)?;
/// let minimizer = ufm.minimizer()?;
/// assert!(singular_value_error(&minimizer, &minimizer.parameters()?)? < 1e-14);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
pub fn singular_value_error<'a>(minimizer: &Minimizer, point: impl Into<PointRef<'a>>) -> Result<f64, Error> {
    let ufm = minimizer.ufm();
    let measured = singular_values(ufm, point)?;
    let error = |measured: &[f64], promised: &dyn Fn(&Direction) -> f64, decay: f64| {
        let promised = minimizer.singular_values(promised);
        let scale = if promised[0] > 0.0 { promised[0] } else { ufm.balanced_level_root() / decay.sqrt() };
        // The longer of the two lists ends in zeros of the other.
        let at = |values: &[f64], i: usize| values.get(i).copied().unwrap_or(0.0);
        let length = measured.len().max(promised.len());
        let differences = (0..length).map(|i| (at(measured, i) - at(&promised, i)).abs());
        differences.fold(0.0, f64::max) / scale
    };
    let mut worst = error(&measured.features, &|direction| direction.feature, ufm.feature_decay());
    for (l, layer) in measured.layers.iter().enumerate() {
        worst = worst.max(error(layer, &|direction| direction.layers[l], ufm.layers()[l].decay));
    }
    if minimizer.rank() > 0 {
        worst = worst.max(error(&measured.product, &|direction| direction.product, 1.0));
    }
    Ok(worst)
}

fn values(matrix: &Mat<f64>) -> Result<Vec<f64>, Error> {
    Ok(dense_svd(matrix.as_ref())?.values.iter().copied().collect())
}

//! Neural collapse metrics of Liu 2024 at any point, against the minimizer of its model.

use faer::Mat;

use super::variability::{Nc1Convention, nc1};
use crate::{
    classes::ClassCounts,
    descent::PointRef,
    error::Error,
    theory::minimizer::{Direction, Minimizer},
};

/// How far a point is from neural collapse, as the theory describes it for its class counts; zero at every minimizer
/// that is unique up to the gauge.
///
/// With ⟨A⟩ = A/‖A‖, and A = Uᵀ W_{L:1} and B = H̄ D V in the singular vectors of the target T = U diag(σ) Vᵀ:
///
/// ```text
/// nc1             =  tr(Σ_W Σ_B⁺)/K,   Σ_W = Σ (h - h̄_k)(h - h̄_k)ᵀ/N,   Σ_B = Σ (h̄_k - h_G)(h̄_k - h_G)ᵀ/K
/// nc2_classifier  =  ‖⟨A Aᵀ⟩ - ⟨diag(w²)⟩‖
/// nc2_features    =  ‖⟨Bᵀ B⟩ - ⟨diag(h²)⟩‖
/// nc3             =  ‖⟨A B⟩ - ⟨diag(z)⟩‖
/// ```
///
/// h_G is the mean of all features, so that frequent classes weigh more. nc1 is not negative, the others lie between 0
/// and 2. A number whose definition divides by zero is `None`: nc1 where all class means are equal, and the others
/// where the point or the minimizer is zero.
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Ufm, metrics::collapse::collapse};
///
/// let ufm = Ufm::biased(ClassCounts::paper_cifar10(), [Layer::new(16, 5e-3)], 1e-4)?;
/// let minimizer = ufm.minimizer()?;
/// let collapse = collapse(&minimizer, &minimizer.parameters()?)?;
/// assert_eq!(collapse.nc1, Some(0.0));
/// assert!(collapse.nc3.unwrap() < 1e-14);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
///
/// # References
///
/// Liu 2024, section 5; Zhu et al. 2021 and Dang et al. 2023 for nc1.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Collapse {
    /// Variability within classes, beside that between them.
    pub nc1: Option<f64>,
    /// The distance of the classifiers' Gram matrix from that of the theory.
    pub nc2_classifier: Option<f64>,
    /// The distance of the class means' Gram matrix from that of the theory.
    pub nc2_features: Option<f64>,
    /// The distance of the prediction from that of the theory.
    pub nc3: Option<f64>,
}

/// The metrics at a point of the model of `minimizer`. Cost: O(K² d_1 + N K d_1) operations for parameters, O(K² d_1 +
/// K d_1²) for points whose samples are reduced.
///
/// # Errors
///
/// [`Error::NoClassCounts`] where the targets are no labels; as [`Parameters::new`](crate::Parameters::new) where the
/// point belongs to another model; [`Error::MatrixNotFinite`], [`Error::TooLarge`], [`Error::SvdDidNotConverge`].
pub fn collapse<'a>(minimizer: &Minimizer, point: impl Into<PointRef<'a>>) -> Result<Collapse, Error> {
    let (point, ufm) = (point.into(), minimizer.ufm());
    let classes = ufm.class_counts().ok_or(Error::NoClassCounts)?;
    let features = point.weighted_features(ufm)?;
    let spectrum = minimizer.spectrum();
    let classifiers = spectrum.left_transposed_times(point.product().as_ref());
    let means = spectrum.right_transposed_times(features.transpose());
    let distance =
        |gram: Mat<f64>, promised: &dyn Fn(&Direction) -> f64| distance_to_diagonal(gram, minimizer.expanded(promised));
    Ok(Collapse {
        nc1: variability(point, classes, features)?,
        nc2_classifier: distance(&classifiers * classifiers.transpose(), &|direction| direction.product.powi(2)),
        nc2_features: distance(&means * means.transpose(), &|direction| direction.feature.powi(2)),
        nc3: distance(classifiers * means.transpose(), &|direction| direction.prediction),
    })
}

/// ‖⟨A⟩ - ⟨diag(values)⟩‖; none where one of the two is zero.
fn distance_to_diagonal(mut matrix: Mat<f64>, values: Vec<f64>) -> Option<f64> {
    let (size, promised) = (matrix.norm_l2(), values.iter().map(|value| value * value).sum::<f64>().sqrt());
    if !(size > 0.0 && promised > 0.0) {
        return None;
    }
    matrix *= faer::Scale(1.0 / size);
    for (k, value) in values.into_iter().enumerate() {
        matrix[(k, k)] -= value / promised;
    }
    Some(matrix.norm_l2())
}

/// NC1 of the paper. `means` are the weighted class means H̄ D.
fn variability(point: PointRef<'_>, classes: &ClassCounts, mut means: Mat<f64>) -> Result<Option<f64>, Error> {
    for (mut mean, &count) in means.col_iter_mut().zip(classes.counts()) {
        mean /= faer::Scale((count as f64).sqrt());
    }
    nc1(means.as_ref(), classes.counts(), Nc1Convention::Global, |vectors| {
        let mut within = vec![0.0; vectors.ncols()];
        point.visit_deviations(classes, |deviations| {
            let along = vectors.transpose() * deviations;
            within.iter_mut().zip(along.row_iter()).for_each(|(sum, row)| *sum += row.squared_norm_l2());
        })?;
        Ok(within)
    })
}

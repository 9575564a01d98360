//! Neural collapse metrics of Liu 2024, at any point of a model or for a network's last layers, compared with the
//! minimizer.

use faer::{Accum, Col, ColRef, Mat, MatRef, Scale};

use super::{
    features::FeatureStatistics,
    variability::{Nc1Convention, mean_error, nc1},
};
use crate::{
    classes::ClassCounts,
    error::{Block, Error},
    linalg::{
        checks::{check_finite, check_shape, first_not_finite},
        cores::all_cores,
        memory::try_zeros,
        product::multiply,
    },
    parameters::{unweighted, weighted},
    point::PointRef,
    theory::{Direction, Minimizer, Optimum},
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
/// alignment       =  ‖⟨A⟩ - ⟨diag((w² + N λ_H)/σ) Bᵀ⟩‖     over the directions that the minimizer keeps
/// ```
///
/// h_G is the mean of all features, so that frequent classes weigh more. nc1 is not negative, the others lie between 0
/// and 2, and they do not depend on the gauge or on the choice of U and V inside equal singular values. A number whose
/// definition divides by zero is `None`: nc1 if all class means are equal, and the others if the point or the minimizer
/// is zero.
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Ufm, metrics::collapse};
///
/// let ufm = Ufm::new(ClassCounts::paper_cifar10(), [Layer::new(16, 5e-3)], 1e-4)?;
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Collapse {
    /// Variability within classes, compared with that between classes.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub nc1: Option<f64>,
    /// The distance of the classifiers' Gram matrix from that of the theory.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub nc2_classifier: Option<f64>,
    /// The distance of the class means' Gram matrix from that of the theory.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub nc2_features: Option<f64>,
    /// The distance of the prediction from that of the theory.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub nc3: Option<f64>,
    /// The distance of the classifiers from the class means, as the theory aligns them.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub alignment: Option<f64>,
}

/// The metrics at a point of the model of `minimizer`. Cost: O(K² d_1 + N K d_1) operations for parameters, O(K² d_1 +
/// K d_1²) for points whose samples are reduced.
///
/// # Errors
///
/// [`Error::NoClassCounts`] if the targets are not labels; as [`Ufm::objective`](crate::Ufm::objective) if the point
/// belongs to another model; [`Error::MatrixNotFinite`], [`Error::TooLarge`], [`Error::SvdDidNotConverge`].
pub fn collapse<'a>(minimizer: &Minimizer, point: impl Into<PointRef<'a>>) -> Result<Collapse, Error> {
    let (point, ufm) = (point.into(), minimizer.ufm());
    let classes = ufm.class_counts().ok_or(Error::NoClassCounts)?;
    let features = point.weighted_features(ufm)?;
    let in_class_space = in_class_space(minimizer, point.framed_product().as_ref(), features.as_ref())?;
    Ok(Collapse { nc1: variability(point, classes, features)?, ..in_class_space })
}

/// The metrics of a network's last layers, whose `product` W_{L:1} is K × d_1, compared with the optimum of a model with
/// its class counts, depth, decays, bias and loss. Cost: O(K² d_1) operations, and those of [`FeatureStatistics::nc1`].
///
/// nc1 is also `None` if the statistics have no scatter. If there is no closed form, the metrics compare W_{L:1} and
/// H̄ D with those of the optimum by the same formulas, without singular vectors, and alignment is `None`.
///
/// # Errors
///
/// [`Error::NoClassCounts`] if the targets of the model are not labels, [`Error::ClassCounts`] if they are those of
/// other class counts; [`Error::Shape`]; [`Error::NotFinite`] for the product; [`Error::MatrixNotFinite`],
/// [`Error::TooLarge`], [`Error::SvdDidNotConverge`].
///
/// # Example
///
/// ```
/// use neural_collapse::{Layer, Ufm, faer::mat, metrics::{network_collapse, FeatureAccumulator}};
///
/// // What a framework gives: features, one column for each sample, their labels, and a layer.
/// let features = mat![[1.0_f32, 1.1, -2.0], [0.0, 0.1, 0.1]];
/// let weights = mat![[0.3, 0.0], [-0.3, 0.0]];
/// let mut accumulator = FeatureAccumulator::with_scatter(2, 2)?;
/// accumulator.add(features.as_ref(), &[0, 0, 1])?;
/// let statistics = accumulator.finish();
///
/// let ufm = Ufm::new(statistics.class_counts()?, [Layer::new(2, 5e-3)], 5e-3)?;
/// let collapse = network_collapse(&ufm.optimum()?, weights.as_ref(), &statistics)?;
/// assert!(collapse.nc2_classifier.unwrap() < 1e-15); // the classifiers are where they must be
/// assert!(collapse.nc3.unwrap() > 1e-2); // the features are not yet
/// # Ok::<(), neural_collapse::Error>(())
/// ```
pub fn network_collapse(
    optimum: &Optimum,
    product: MatRef<'_, f64>,
    statistics: &FeatureStatistics,
) -> Result<Collapse, Error> {
    let ufm = optimum.ufm();
    statistics.check_belongs_to(ufm)?;
    check_shape(Block::Product, (ufm.outputs(), ufm.feature_width()), product.shape())?;
    check_finite(Block::Product, product)?;
    let means = statistics.weighted_means();
    let in_class_space = match optimum {
        Optimum::Closed(minimizer) => in_class_space(minimizer, product, means.as_ref())?,
        _ => compared(optimum, product, means)?,
    };
    let nc1 = if statistics.has_scatter() { statistics.nc1(Nc1Convention::Global)? } else { None };
    Ok(Collapse { nc1, ..in_class_space })
}

/// All but nc1 and alignment, of W_{L:1} and H̄ D.
fn compared(optimum: &Optimum, product: MatRef<'_, f64>, weighted_means: Mat<f64>) -> Result<Collapse, Error> {
    let counts = optimum.ufm().class_counts().ok_or(Error::NoClassCounts)?.counts();
    let ours = [to_unit_size(product.to_owned())?, to_unit_size(weighted_means)?];
    let theirs = [to_unit_size(optimum.classifiers()?)?, to_unit_size(weighted(counts, optimum.class_means()?))?];
    let distance = |of: &dyn Fn(&[Mat<f64>; 2]) -> Mat<f64>| {
        let [ours, theirs] = [&ours, &theirs].map(|both| {
            let matrix = of(both);
            let size = matrix.norm_l2();
            (size > 0.0).then(|| Scale(1.0 / size) * matrix)
        });
        ours.zip(theirs).map(|(ours, theirs)| (ours - theirs).norm_l2())
    };
    Ok(Collapse {
        nc1: None,
        nc2_classifier: distance(&|[classifiers, _]| classifiers * classifiers.transpose()),
        nc2_features: distance(&|[_, means]| means.transpose() * means),
        nc3: distance(&|[classifiers, means]| classifiers * means),
        alignment: None,
    })
}

/// All but nc1, of W_{L:1} and H̄ D.
fn in_class_space(
    minimizer: &Minimizer,
    product: MatRef<'_, f64>,
    weighted_means: MatRef<'_, f64>,
) -> Result<Collapse, Error> {
    let spectrum = minimizer.spectrum();
    let classifiers = to_unit_size(spectrum.left_transposed_times(product))?;
    let means = to_unit_size(spectrum.right_transposed_times(weighted_means.transpose()))?;
    // In units of the largest, so that no square leaves the range of `f64`.
    let distance = |matrix: Mat<f64>, promised: &dyn Fn(&Direction) -> f64, power| {
        let values = minimizer.singular_values(promised);
        let largest = values.iter().copied().fold(0.0, f64::max);
        distance_to_diagonal(matrix, values.into_iter().map(|value| (value / largest).powi(power)).collect())
    };
    let product = |left: &Mat<f64>, right: &Mat<f64>| {
        let mut product = try_zeros("product in class space", left.nrows(), right.nrows() as u64)?;
        multiply(product.as_mut(), Accum::Replace, left.as_ref(), right.transpose(), 1.0, all_cores());
        Ok(product)
    };
    Ok(Collapse {
        nc1: None,
        nc2_classifier: distance(product(&classifiers, &classifiers)?, &|direction| direction.product, 2),
        nc2_features: distance(product(&means, &means)?, &|direction| direction.feature, 2),
        nc3: distance(product(&classifiers, &means)?, &|direction| direction.prediction, 1),
        alignment: alignment(minimizer, classifiers.as_ref(), means.as_ref()),
    })
}

/// A multiple of the matrix whose largest entry is 1, so that no product leaves the range of `f64`: the metrics do not
/// depend on sizes. Zero stays zero.
fn to_unit_size(mut matrix: Mat<f64>) -> Result<Mat<f64>, Error> {
    if let Some((row, col, value)) = first_not_finite(matrix.as_ref()) {
        return Err(Error::MatrixNotFinite { row, col, value });
    }
    scale_to_unit(&mut matrix);
    Ok(matrix)
}

fn scale_to_unit(matrix: &mut Mat<f64>) {
    let largest = matrix.norm_max();
    if largest > 0.0 {
        matrix.col_iter_mut().for_each(|column| column.iter_mut().for_each(|entry| *entry /= largest));
    }
}

/// ‖⟨A⟩ - ⟨diag((w² + N λ_H)/σ) Bᵀ⟩‖ over the directions kept, of A and Bᵀ up to their sizes.
///
/// (w² + N λ_H)/σ = w/h, each in units of the largest: so the quotient stays in the range of `f64`.
fn alignment(minimizer: &Minimizer, classifiers: MatRef<'_, f64>, means: MatRef<'_, f64>) -> Option<f64> {
    let rank = minimizer.rank();
    let (classifiers, means) = (classifiers.subrows(0, rank), means.subrows(0, rank));
    let largest = |of: fn(&Direction) -> f64| minimizer.directions().iter().map(of).fold(0.0, f64::max);
    let (product, feature) = (largest(|direction| direction.product), largest(|direction| direction.feature));
    let factors = minimizer.kept(|direction| (direction.product / product) / (direction.feature / feature));
    let aligned = factors.as_diagonal() * means;
    let (size, aligned_size) = (classifiers.norm_l2(), aligned.norm_l2());
    (size > 0.0 && aligned_size > 0.0)
        .then(|| (Scale(1.0 / size) * classifiers - Scale(1.0 / aligned_size) * aligned).norm_l2())
}

/// ‖⟨A⟩ - ⟨diag(values)⟩‖; `None` if one of the two is zero.
fn distance_to_diagonal(mut matrix: Mat<f64>, values: Vec<f64>) -> Option<f64> {
    scale_to_unit(&mut matrix);
    let (size, promised) = (matrix.norm_l2(), values.iter().copied().collect::<Col<f64>>().norm_l2());
    if !(size > 0.0 && promised > 0.0) {
        return None;
    }
    matrix *= Scale(1.0 / size);
    for (k, value) in values.into_iter().enumerate() {
        matrix[(k, k)] -= value / promised;
    }
    Some(matrix.norm_l2())
}

/// NC1 of the paper, of a point whose weighted class means H̄ D are at hand.
fn variability(point: PointRef<'_>, classes: &ClassCounts, weighted_means: Mat<f64>) -> Result<Option<f64>, Error> {
    let means = unweighted(classes, weighted_means);
    // Reduced features have class means that were not summed up.
    let mut spreads = Vec::new();
    if !point.is_reduced() {
        let spread = |deviations: MatRef<'_, f64>| (deviations.squared_norm_l2() / deviations.ncols() as f64).sqrt();
        point.visit_deviations(classes, |deviations| spreads.push(spread(deviations)))?;
    }
    let sizes = means.col_iter().zip(classes.counts()).enumerate();
    let error = |(k, (mean, &count)): (usize, (ColRef<'_, f64>, &u64))| {
        mean_error(mean.norm_l2(), count as f64, spreads.get(k).copied().unwrap_or(0.0))
    };
    let errors: Vec<f64> = sizes.map(error).collect();
    nc1(means.as_ref(), classes.counts(), Nc1Convention::Global, &errors, |vectors| {
        let mut within = vec![0.0; vectors.ncols()];
        point.visit_deviations(classes, |deviations| {
            let along = vectors.transpose() * deviations;
            for (sum, row) in within.iter_mut().zip(along.row_iter()) {
                // About the true mean of a class, from which the rounded one differs.
                let total = if point.is_reduced() { 0.0 } else { row.iter().sum::<f64>() };
                *sum += (row.squared_norm_l2() - total * total / row.ncols().max(1) as f64).max(0.0);
            }
        })?;
        Ok(within)
    })
}

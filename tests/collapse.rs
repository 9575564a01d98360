//! The metrics of neural collapse, against their definitions with dense pseudo-inverses and singular vectors.

use neural_collapse::{
    ClassCounts, Error, Layer, Parameters, Point, Targets, Ufm,
    descent::Descent,
    faer::{Col, Mat, Scale},
    linalg::dense_svd,
    metrics::{Collapse, collapse},
    theory::centered_label_matrix,
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

fn model(counts: Vec<u64>, widths: &[usize], decay: f64, bias: bool) -> Ufm {
    let layers = widths.iter().enumerate().map(|(l, &width)| Layer::new(width, decay * (1.0 + l as f64)));
    Ufm::new(ClassCounts::new(counts).unwrap(), layers.collect::<Vec<_>>(), decay / 3.0).unwrap().with_bias(bias)
}

fn mean(matrix: &Mat<f64>, columns: impl ExactSizeIterator<Item = usize>) -> Col<f64> {
    let size = columns.len() as f64;
    let mut sum = Col::<f64>::zeros(matrix.nrows());
    columns.for_each(|column| sum += matrix.col(column));
    Scale(1.0 / size) * sum
}

/// The largest entry of the difference of ⟨A⟩ and ⟨B⟩, as a norm.
fn difference(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    (Scale(1.0 / a.norm_l2()) * a - Scale(1.0 / b.norm_l2()) * b).norm_l2()
}

/// Everything by definition: scatter matrices of d_1 × d_1, their dense pseudo-inverse, U and V from a dense
/// decomposition.
fn by_definition(ufm: &Ufm, point: &Parameters) -> [f64; 5] {
    let classes = ufm.class_counts().unwrap();
    let (k, samples, features) = (classes.classes(), classes.samples() as f64, point.features().to_owned());
    let global = mean(&features, 0..features.ncols());
    let width = features.nrows();
    let (mut within, mut between) = (Mat::<f64>::zeros(width, width), Mat::<f64>::zeros(width, width));
    let mut weighted_means = Mat::<f64>::zeros(width, k);
    let mut start = 0;
    for (class, &count) in classes.counts().iter().enumerate() {
        let range = start..start + usize::try_from(count).unwrap();
        start = range.end;
        let class_mean = mean(&features, range.clone());
        for sample in range {
            let deviation = features.col(sample) - &class_mean;
            within += Scale(1.0 / samples) * (&deviation * deviation.transpose());
        }
        let deviation = &class_mean - &global;
        between += Scale(1.0 / k as f64) * (&deviation * deviation.transpose());
        weighted_means.col_mut(class).copy_from(Scale((count as f64).sqrt()) * &class_mean);
    }
    let svd = dense_svd(between.as_ref()).unwrap();
    let rank = svd.values.iter().filter(|value| **value > 1e-10 * svd.values[0]).count();
    let mut inverse = Mat::<f64>::zeros(width, width);
    for i in 0..rank {
        inverse += Scale(1.0 / svd.values[i]) * (svd.right.col(i) * svd.left.col(i).transpose());
    }
    let product = within * inverse;
    let nc1 = (0..width).map(|i| product[(i, i)]).sum::<f64>() / k as f64;

    let target = if ufm.has_bias() {
        centered_label_matrix(classes).unwrap()
    } else {
        Mat::from_fn(k, k, |i, j| if i == j { (classes.counts()[i] as f64).sqrt() } else { 0.0 })
    };
    let svd = dense_svd(target.as_ref()).unwrap();
    let (a, b) = (svd.left.transpose() * point.product(), weighted_means * &svd.right);
    let minimizer = ufm.minimizer().unwrap();
    let diagonal = |value: &dyn Fn(usize) -> f64| {
        let values: Vec<f64> = minimizer
            .directions()
            .iter()
            .enumerate()
            .flat_map(|(i, direction)| vec![value(i); direction.multiplicity])
            .collect();
        Mat::from_fn(k, k, |i, j| if i == j { values[i] } else { 0.0 })
    };
    let direction = |i: usize| &minimizer.directions()[i];
    let kept = minimizer.rank();
    let factor = |i: usize| (direction(i).product.powi(2) + samples * ufm.feature_decay()) / direction(i).target;
    let aligned = diagonal(&|i| if direction(i).shrinkage < 1.0 { factor(i) } else { 0.0 }) * b.transpose();
    let alignment = difference(&a.subrows(0, kept).to_owned(), &aligned.subrows(0, kept).to_owned());
    [
        nc1,
        difference(&(&a * a.transpose()), &diagonal(&|i| direction(i).product.powi(2))),
        difference(&(b.transpose() * &b), &diagonal(&|i| direction(i).feature.powi(2))),
        difference(&(&a * &b), &diagonal(&|i| direction(i).prediction)),
        alignment,
    ]
}

fn numbers(collapse: Collapse) -> [f64; 5] {
    let Collapse { nc1, nc2_classifier, nc2_features, nc3, alignment, .. } = collapse;
    [nc1, nc2_classifier, nc2_features, nc3, alignment].map(Option::unwrap)
}

proptest! {
    /// At random points, by definition; and the same for points whose samples are reduced.
    #[test]
    fn metrics_are_what_they_are_defined_to_be(
        counts in prop::collection::vec(1_u64..30, 2..6),
        widths in prop::collection::vec(6_usize..20, 1..4),
        bias: bool,
        seed: u64,
    ) {
        let ufm = model(counts, &widths, 1e-3, bias);
        let minimizer = ufm.minimizer().unwrap();
        prop_assume!(minimizer.rank() > 0);
        let start = Parameters::gaussian(&ufm, 1.0, &mut rng(seed)).unwrap();
        let ours = numbers(collapse(&minimizer, &start).unwrap());
        let reduced = Descent::default().with_step_limit(0).minimize(&ufm, start.clone()).unwrap().point;
        let reduced = numbers(collapse(&minimizer, &reduced).unwrap());
        // Products of matrices of side 150 at most. The definition of NC1 inverts a matrix whose condition is the
        // square of that of the class means: that of a random one of 6 × 5 or wider, 1e5 once in a while, squared.
        let rounding = 150.0 * f64::EPSILON;
        for (i, (definition, (ours, reduced))) in by_definition(&ufm, &start).into_iter().zip(ours.into_iter().zip(reduced)).enumerate() {
            let allowed = if i == 0 { 1e-6 * definition } else { rounding };
            prop_assert!((ours - definition).abs() <= allowed, "{i}: {ours} {definition}");
            let allowed = if i == 0 { 1e5 * rounding * ours } else { rounding };
            prop_assert!((ours - reduced).abs() <= allowed, "{i}: {ours} {reduced}");
        }
    }

    /// Zero at every minimizer, in any gauge.
    #[test]
    fn minimizers_are_collapsed(
        counts in prop::collection::vec(1_u64..30, 1..6),
        widths in prop::collection::vec(1_usize..12, 1..4),
        bias: bool,
        seed: u64,
    ) {
        let ufm = model(counts, &widths, 1e-2, bias);
        let minimizer = ufm.minimizer().unwrap();
        let point = minimizer.random_parameters(&mut rng(seed)).unwrap();
        let collapse = collapse(&minimizer, &point).unwrap();
        prop_assert!(collapse.nc1.is_none_or(|nc1| nc1 == 0.0), "{collapse:?}");
        prop_assert_eq!(collapse.nc3.is_some(), minimizer.rank() > 0);
        // Frames of side 12, U and V of side 5.
        let Collapse { nc2_classifier, nc2_features, nc3, alignment, .. } = collapse;
        for number in [nc2_classifier, nc2_features, nc3, alignment].into_iter().flatten() {
            prop_assert!(number <= 50.0 * f64::EPSILON, "{collapse:?}");
        }
    }
}

#[test]
fn what_divides_by_zero_is_none() {
    // One class has no means to differ, and with a bias nothing to predict.
    let ufm = model(vec![5], &[3], 1e-2, true);
    let point = Parameters::gaussian(&ufm, 1.0, &mut rng(0)).unwrap();
    let of = |ufm: &Ufm, point: &Parameters| collapse(&ufm.minimizer().unwrap(), point).unwrap();
    let all = of(&ufm, &point);
    assert_eq!((all.nc1, all.nc2_classifier, all.nc2_features, all.nc3, all.alignment), (None, None, None, None, None));
    let ufm = model(vec![5], &[3], 1e-2, false);
    let all = of(&ufm, &point_of(&ufm));
    assert!(all.nc1.is_none() && all.nc2_classifier.is_some() && all.nc3.is_some());
    // Zero features.
    let ufm = model(vec![5, 3], &[3], 1e-2, false);
    let all = of(&ufm, &Parameters::zeros(&ufm).unwrap());
    assert_eq!((all.nc1, all.nc2_classifier, all.nc2_features, all.nc3, all.alignment), (None, None, None, None, None));
    // Means that are equal but for rounding.
    let (weights, _, _) = point_of(&ufm).into_parts();
    let features = Mat::from_fn(3, 8, |i, j| 0.1 + i as f64 + f64::EPSILON * (j % 2) as f64);
    let all = of(&ufm, &Parameters::new(&ufm, weights, features, None).unwrap());
    assert_eq!(all.nc1, None);
    // No labels, no classes.
    let ufm =
        Ufm::new(Targets::matrix(Mat::identity(3, 3)).unwrap(), [Layer::new(4, 1e-3)], 1e-3).unwrap().without_bias();
    let minimizer = ufm.minimizer().unwrap();
    assert_eq!(collapse(&minimizer, &minimizer.parameters().unwrap()), Err(Error::NoClassCounts));
    // A point of another model.
    let ufm = model(vec![5, 3], &[4], 1e-2, false);
    assert!(matches!(collapse(&ufm.minimizer().unwrap(), &point), Err(Error::BiasPresence { .. })));
}

/// Decays so far apart that squares of the features' singular values are beyond the range of `f64`.
#[test]
fn squares_may_leave_the_range_of_floats() {
    let counts: ClassCounts = "2,1x2".parse().unwrap();
    let minimizer = Ufm::new(counts, [Layer::new(3, 8.4e298)], 3.2e-322).unwrap().minimizer().unwrap();
    let feature = minimizer.directions()[0].feature;
    assert!(minimizer.rank() == 2 && feature.is_finite() && feature.powi(2).is_infinite());
    // The metrics do not depend on sizes.
    let (weights, features, bias) = minimizer.parameters().unwrap().into_parts();
    let point = Parameters::new(minimizer.ufm(), weights, Scale(1e-155) * features, bias).unwrap();
    let collapse = collapse(&minimizer, &point).unwrap();
    // Numbers of order one after a dozen operations.
    for metric in [collapse.nc2_classifier, collapse.nc2_features, collapse.nc3, collapse.alignment] {
        assert!(metric.unwrap() < 16.0 * f64::EPSILON, "{collapse:?}");
    }
}

/// Classifiers and class means whose product is below the normal numbers.
#[test]
fn tiny_products_have_no_nan() {
    let ufm = model(vec![2, 1], &[2], 1e-3, false);
    let weights = Mat::from_fn(2, 2, |i, j| [[1.0, 0.0], [0.0, 1e-310]][i][j]);
    let features = Mat::from_fn(2, 3, |i, _| [0.0, 1.0][i]);
    let nearly = Mat::from_fn(2, 3, |i, j| features[(i, j)] + if i == 0 { 1e-310 } else { 0.0 });
    for features in [features, nearly] {
        let point = Parameters::new(&ufm, vec![weights.clone()], features, None).unwrap();
        let nc3 = collapse(&ufm.minimizer().unwrap(), &point).unwrap().nc3.unwrap();
        assert!((0.0..=2.0).contains(&nc3), "{nc3}");
    }
}

fn point_of(ufm: &Ufm) -> Parameters {
    Parameters::gaussian(ufm, 1.0, &mut rng(0)).unwrap()
}

/// NC1 falls from its start to rounding along a descent, and is never negative.
#[test]
fn variability_collapses_along_a_descent() {
    let ufm = model(vec![60, 60, 20, 5], &[16], 1e-3, true);
    let minimizer = ufm.minimizer().unwrap();
    let start = Point::gaussian(&ufm, 1.0, &mut rng(0)).unwrap();
    let mut seen = Vec::new();
    Descent::default()
        .minimize_observed(&ufm, start, |progress| {
            seen.push(collapse(&minimizer, &progress.point()).unwrap().nc1.unwrap());
            std::ops::ControlFlow::Continue(())
        })
        .unwrap();
    assert!(seen.iter().all(|nc1| *nc1 >= 0.0));
    assert!(seen[seen.len() - 1] < 1e-12 * seen[0], "{} {}", seen[0], seen[seen.len() - 1]);
}

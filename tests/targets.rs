//! Targets that are not one-hot labels: theory against the label path, a published formula, the objective and descent.

use faer::{Col, Mat};
use neural_collapse::{
    ClassCounts, Error, Layer, Parameters, Targets, Ufm,
    descent::{Descent, Stop},
    metrics::singular_value_error,
    theory::{Fate, Minimizer, Tie},
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, StandardNormal};

fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

fn gaussian(rows: usize, cols: usize, seed: u64) -> Mat<f64> {
    let mut rng = rng(seed);
    Mat::from_fn(rows, cols, |_, _| StandardNormal.sample(&mut rng))
}

/// A model whose largest direction has about this q.
fn model(targets: Targets, size: f64, depth: usize, width: usize, q: f64, bias: bool) -> Ufm {
    let l = depth as f64;
    let c = q * size.powf(2.0 * l / (l + 1.0)) / targets.samples() as f64;
    Ufm::new(targets, vec![Layer::new(width, c); depth], c).unwrap().with_bias(bias)
}

/// Smoothed labels of every sample, in an order mixed up by `stride`.
fn label_matrix(classes: &ClassCounts, smoothing: f64, stride: usize) -> Mat<f64> {
    let k = classes.classes();
    let sorted: Vec<usize> =
        classes.counts().iter().enumerate().flat_map(|(class, &n)| (0..n).map(move |_| class)).collect();
    let constant = smoothing / k as f64;
    Mat::from_fn(k, sorted.len(), |i, j| {
        let class = sorted[(j * stride) % sorted.len()];
        constant + if class == i { 1.0 - smoothing } else { 0.0 }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    /// Labels given as a matrix, smoothed or not, in any order of samples, have the minimizer of their counts.
    #[test]
    fn label_matrices_agree_with_class_counts(
        counts in prop::collection::vec(1_u64..30, 1..8),
        smoothing in prop_oneof![Just(0.0), 0.0..0.9_f64],
        depth in 1_usize..4,
        width in 1_usize..10,
        log_q in -2.0..0.3_f64,
        bias: bool,
    ) {
        let classes = ClassCounts::new(counts).unwrap();
        // 991 is a prime: a stride that meets every sample.
        let matrix = label_matrix(&classes, smoothing, 991);
        let largest = classes.group(0).count as f64;
        let labels = Targets::smoothed(classes, smoothing).unwrap();
        let by_counts = model(labels, largest.sqrt(), depth, width, 10_f64.powf(log_q), bias);
        let by_matrix = Ufm::new(Targets::matrix(matrix).unwrap(), by_counts.layers(), by_counts.feature_decay()).unwrap().with_bias(bias);
        let (ours, theirs) = (by_counts.minimizer().unwrap(), by_matrix.minimizer().unwrap());
        // Dense decompositions of matrices of up to 8 rows and 240 columns, of labels whose squares sum to N.
        let rounding = 300.0 * f64::EPSILON;
        prop_assert!((ours.objective() - theirs.objective()).abs() <= rounding, "{} {}", ours.objective(), theirs.objective());
        // Where a direction is at its threshold to within rounding, one path may keep it and the other not.
        let clear = ours.directions().iter().all(|direction| (direction.critical_scale - 1.0).abs() > 1e-9);
        if clear {
            prop_assert_eq!(ours.rank(), theirs.rank());
            let predictions = |minimizer: &Minimizer| minimizer.singular_values(|direction| direction.prediction);
            for (a, b) in predictions(&ours).iter().zip(predictions(&theirs)) {
                // z is of degree 1 in σ, but for e, which is steeper by up to L+1 next to its threshold.
                prop_assert!((a - b).abs() <= 100.0 * rounding * largest.sqrt());
            }
        }
        prop_assert!((ours.bias().unwrap_or(Col::zeros(1)) - theirs.bias().unwrap_or(Col::zeros(1))).norm_max() <= rounding);
    }

    /// f(Parameters) = f*, gradient = 0, and no other point is lower: any K and N, N < K included.
    #[test]
    fn parameters_attain_the_minimum(
        outputs in 1_usize..8,
        samples in 1_usize..30,
        depth in 1_usize..4,
        width in 1_usize..10,
        log_q in -2.0..0.3_f64,
        bias: bool,
        seed: u64,
    ) {
        let targets = gaussian(outputs, samples, seed);
        let size = targets.norm_l2();
        let model = model(Targets::matrix(targets).unwrap(), size, depth, width, 10_f64.powf(log_q), bias);
        let minimizer = model.minimizer().unwrap();
        let scale = size * size / samples as f64;
        let rounding = 300.0 * f64::EPSILON * (scale + minimizer.objective());
        for parameters in [minimizer.parameters().unwrap(), minimizer.random_parameters(&mut rng(seed)).unwrap()] {
            let (objective, gradient) = model.objective_and_gradient(&parameters).unwrap();
            prop_assert!((objective - minimizer.objective()).abs() <= rounding);
            // The gradient in balanced variables, against the terms it is the difference of, magnified by 1/min(e).
            let decay = model.feature_decay();
            let norm = (gradient.weights().iter().map(Mat::squared_norm_l2).sum::<f64>() / decay
                + gradient.features().squared_norm_l2() / decay).sqrt();
            let smallest = minimizer.directions().iter().map(|direction| direction.shrinkage).fold(1.0, f64::min);
            prop_assert!(norm <= 300.0 * f64::EPSILON / smallest * (1.0 + scale), "{} {}", norm, smallest);
            if let Some(bias) = gradient.bias() {
                prop_assert!(bias.norm_max() <= 300.0 * f64::EPSILON * (1.0 + scale));
            }
        }
        let other = Parameters::gaussian(&model, 0.5, &mut rng(seed)).unwrap();
        prop_assert!(model.objective(&other).unwrap() >= minimizer.objective());
    }

    /// Andriopoulos et al. 2024, Theorem 4.1 (biased regression, L = 1, feature decay averaged over samples): with Σ
    /// the covariance of the targets and c = λ_W λ_H below its least eigenvalue, A = Σ^(1/2) - √c I and W =
    /// (λ_H/λ_W)^(1/4) A^(1/2) R, H = (λ_W/λ_H)^(1/4) Rᵀ A^(1/2) Σ^(-1/2) (Y - ȳ 1ᵀ), b = ȳ.
    #[test]
    fn regression_collapses_as_published(outputs in 1_usize..5, samples in 20_usize..60, ratio in 0.1..10.0_f64, part in 0.01..0.9_f64, seed: u64) {
        let targets = gaussian(outputs, samples, seed);
        let n = samples as f64;
        let mean = Col::from_fn(outputs, |k| targets.row(k).iter().sum::<f64>() / n);
        let centered = Mat::from_fn(outputs, samples, |i, j| targets[(i, j)] - mean[i]);
        let covariance = &centered * centered.transpose() * faer::Scale(1.0 / n);
        let eigen = covariance.self_adjoint_eigen(faer::Side::Lower).unwrap();
        let values: Vec<f64> = eigen.S().column_vector().iter().copied().collect();
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let c = part * least;
        let (weight_decay, feature_decay) = ((c * ratio).sqrt(), (c / ratio).sqrt());
        let of_covariance = |f: &dyn Fn(f64) -> f64| {
            let mapped: Col<f64> = values.iter().map(|&value| f(value)).collect();
            eigen.U() * mapped.as_diagonal() * eigen.U().transpose()
        };
        let quarter = (feature_decay / weight_decay).sqrt().sqrt();
        let weights = faer::Scale(quarter) * of_covariance(&|s| (s.sqrt() - c.sqrt()).sqrt());
        let features = faer::Scale(1.0 / quarter) * of_covariance(&|s| ((s.sqrt() - c.sqrt()) / s).sqrt()) * &centered;
        let model = Ufm::new(Targets::matrix(targets).unwrap(), [Layer::new(outputs, weight_decay)], feature_decay / n).unwrap();
        let published = Parameters::new(&model, vec![weights.clone()], features, Some(mean)).unwrap();
        let minimizer = model.minimizer().unwrap();
        let ours = minimizer.parameters().unwrap();
        let condition = (values.iter().copied().fold(0.0, f64::max) / least).sqrt();
        let rounding = 300.0 * f64::EPSILON * condition;
        prop_assert!((model.objective(&published).unwrap() - minimizer.objective()).abs() <= rounding);
        let gram = ours.product() * ours.product().transpose();
        prop_assert!((&gram - &weights * weights.transpose()).norm_l2() <= rounding * gram.norm_l2());
        let predictions = (ours.product() * ours.features(), published.product() * published.features());
        prop_assert!((&predictions.0 - &predictions.1).norm_l2() <= rounding * predictions.0.norm_l2());
    }
}

#[test]
fn descent_meets_theory_on_any_targets() {
    let classes = ClassCounts::new([12, 8, 5]).unwrap();
    let cases = [
        (Targets::matrix(gaussian(4, 50, 1)).unwrap(), 8.0),
        (Targets::matrix(gaussian(6, 4, 2)).unwrap(), 4.0),
        (Targets::matrix(gaussian(3, 400, 3)).unwrap(), 20.0),
        (Targets::smoothed(classes, 0.2).unwrap(), 3.0),
    ];
    for (targets, size) in cases {
        for bias in [true, false] {
            for depth in [1, 2] {
                let model = model(targets.clone(), size, depth, 40, 0.02, bias);
                let minimizer = model.minimizer().unwrap();
                let start = Parameters::gaussian(&model, 1.0, &mut rng(0)).unwrap();
                for reduced in [true, false] {
                    let descent = Descent::default().with_optimum(minimizer.objective()).with_reduction(reduced);
                    let run = descent.minimize(&model, start.clone()).unwrap();
                    assert_eq!(run.stop, Stop::Gap, "{bias} {depth}");
                    assert!(singular_value_error(&minimizer, &run.point).unwrap() < 1e-3);
                    let reached = model.objective(&run.parameters().unwrap()).unwrap();
                    assert!((reached / run.objective - 1.0).abs() < 1e-13);
                }
            }
        }
    }
}

#[test]
fn targets_without_variation_collapse() {
    // All targets equal, and a constant row among others: the bias takes them, and what is left is right, not a
    // failure.
    let equal = Targets::matrix(Mat::from_fn(3, 10, |i, _| 0.1 * (i + 1) as f64)).unwrap();
    let model = Ufm::new(equal.clone(), [Layer::new(5, 1e-3)], 1e-3).unwrap();
    let minimizer = model.minimizer().unwrap();
    assert_eq!((minimizer.objective(), minimizer.rank(), minimizer.is_unique()), (0.0, 0, true));
    assert_eq!(minimizer.bias().unwrap(), Col::from_fn(3, |i| 0.1 * (i + 1) as f64));
    assert!(minimizer.directions().iter().all(|direction| direction.fate == Fate::Collapsed));
    // Descent has only the mean to learn, and a gap relative to the objective at zero.
    let start = Parameters::gaussian(&model, 1.0, &mut rng(0)).unwrap();
    let run = Descent::default().with_optimum(0.0).minimize(&model, start).unwrap();
    assert_eq!(run.stop, Stop::Gap);
    // Without a bias they are one direction.
    let model = Ufm::new(equal, [Layer::new(5, 1e-3)], 1e-3).unwrap().without_bias();
    assert_eq!(model.minimizer().unwrap().rank(), 1);

    let mut constant_row = gaussian(3, 10, 0);
    constant_row.row_mut(1).fill(7.0);
    let model = Ufm::new(Targets::matrix(constant_row).unwrap(), [Layer::new(5, 1e-300)], 1e-3).unwrap();
    // However small the decay, rounding is not a direction.
    assert_eq!(model.minimizer().unwrap().rank(), 2);
    assert!(model.minimizer().unwrap().parameters().is_ok());

    let zero =
        Ufm::new(Targets::matrix(Mat::zeros(2, 3)).unwrap(), [Layer::new(2, 1e-3)], 1e-3).unwrap().without_bias();
    assert_eq!((zero.minimizer().unwrap().objective(), zero.minimizer().unwrap().rank()), (0.0, 0));
}

#[test]
fn equal_targets_at_the_width_are_a_tie_though_rounding_tells_them_apart() {
    // An orthogonal matrix: all singular values are 1, to rounding.
    let orthogonal = gaussian(5, 5, 4).qr().compute_thin_Q();
    let model = Ufm::new(Targets::matrix(orthogonal).unwrap(), [Layer::new(3, 1e-3)], 1e-3).unwrap().without_bias();
    let minimizer = model.minimizer().unwrap();
    assert_eq!((minimizer.rank(), minimizer.ties()), (3, [Tie::Width { direction: 2 }].as_slice()));
}

#[test]
fn targets_that_cannot_be_are_refused() {
    assert_eq!(Targets::matrix(Mat::zeros(0, 3)), Err(Error::EmptyTargets { rows: 0, cols: 3 }));
    assert_eq!(Targets::matrix(Mat::zeros(3, 0)), Err(Error::EmptyTargets { rows: 3, cols: 0 }));
    let mut matrix = gaussian(2, 3, 0);
    matrix[(1, 2)] = f64::NAN;
    assert!(matches!(Targets::matrix(matrix), Err(Error::MatrixNotFinite { row: 1, col: 2, .. })));
    for smoothing in [-0.1, 1.0, f64::NAN, f64::INFINITY] {
        let classes = ClassCounts::balanced(2, 3).unwrap();
        assert!(matches!(
            Targets::smoothed(classes, smoothing),
            Err(Error::Domain { argument: "label smoothing", .. })
        ));
    }
    // Questions about classes, where there are none.
    let model = Ufm::new(Targets::matrix(gaussian(2, 9, 0)).unwrap(), [Layer::new(2, 1e-3)], 1e-3).unwrap();
    let minimizer = model.minimizer().unwrap();
    assert_eq!(minimizer.group_fates(), Err(Error::NoClassCounts));
    assert_eq!(minimizer.geometry().unwrap_err(), Error::NoClassCounts);
    assert_eq!(Parameters::zeros(&model).unwrap().class_means(&model), Err(Error::NoClassCounts));
}

/// Targets whose squares leave the range of `f64`: bias-free and diagonal, every entry is a target with q = N √(λ_1 λ_H)/σ.
#[test]
fn targets_beyond_the_range_of_squares_have_minimizers() {
    let of = |entries: [f64; 2], decay: f64| {
        let targets = Mat::from_fn(2, 2, |i, j| if i == j { entries[i] } else { 0.0 });
        let ufm = Ufm::new(Targets::matrix(targets).unwrap(), [Layer::new(2, decay)], decay).unwrap().without_bias();
        ufm.minimizer().unwrap()
    };
    for (entries, decay) in
        [([1e-170, 1e-175], 1e-180), ([1e160, 1e150], 1e-10), ([1e-158, 1e-161], 1e-170), ([1e155, 1e155], 1.0)]
    {
        let minimizer = of(entries, decay);
        assert_eq!(minimizer.rank(), 2);
        let mut expected = 0.0;
        for (direction, target) in minimizer.directions().iter().zip(entries) {
            let q = 2.0 * decay / target;
            assert!((direction.shrinkage / q - 1.0).abs() <= 16.0 * f64::EPSILON, "{direction:?} {q:e}");
            // σ²/(2N) e (2 - e), without the square.
            expected += 0.5 * decay * target * (2.0 - q);
        }
        assert!(
            minimizer.objective() == expected || (minimizer.objective() / expected - 1.0).abs() <= 32.0 * f64::EPSILON
        );
    }
    // A target of little more than the rounding of the largest, far below its threshold: its q is uncertain, its fate is not.
    let targets = Mat::from_fn(2, 2, |i, j| if i == j { [1.0, 1e-15][i] } else { 0.0 });
    let ufm = Ufm::new(Targets::matrix(targets).unwrap(), [Layer::new(2, 1e-40); 2], 1e-40).unwrap().without_bias();
    let minimizer = ufm.minimizer().unwrap();
    assert!(minimizer.is_unique());
    assert!(minimizer.directions()[1].shrinkage < 1e-18);
}

/// Targets far from zero are centered to twice the precision: three columns have two directions about their mean.
#[test]
fn a_large_mean_makes_no_directions() {
    for offset in [1e6, 1e8, 1e10] {
        let rows = [[1.1, 0.0, 0.0], [0.0, 1.2, 0.3], [0.0, 0.0, 1.7]];
        let targets = Mat::from_fn(3, 3, |i, j| rows[i][j] + offset);
        let ufm = Ufm::new(Targets::matrix(targets).unwrap(), [Layer::new(3, 1e-14); 2], 1e-14).unwrap();
        assert_eq!(ufm.minimizer().unwrap().rank(), 2);
    }
}

//! Descents on every loss: they follow the reference, go down, and end where the theory says.

mod models;

use neural_collapse::{
    ClassCounts, ClassWeights, Error, Layer, Loss, Parameters, Point, Targets, Ufm,
    critical::escape,
    descent::{Descent, Method, Record, Run, StepSize, Stop, Variables},
    faer::{Mat, MatRef},
    metrics::FeatureAccumulator,
    theory::Spectrum,
};
use proptest::prelude::*;
use rand_distr::{Distribution, StandardNormal};

use self::models::{Options, labels, rng};

/// Methods that keep features nonnegative.
const PROJECTED: [Method; 3] = [Method::GradientDescent, Method::HeavyBall { momentum: 0.8 }, Method::Nesterov];

/// Methods that follow rotations.
const EQUIVARIANT: [Method; 4] =
    [Method::GradientDescent, Method::HeavyBall { momentum: 0.8 }, Method::Nesterov, Method::LBFGS];

/// Differences of objectives below this share of them are rounding: that of the descent, 16 epsilons, at the point and
/// at the one beyond, and that of the reference, which sums at most a hundred terms.
const ROUNDING: f64 = (2.0 * 16.0 + 2.0 * 32.0) * f64::EPSILON;

fn blocks(parameters: &Parameters) -> Vec<Mat<f64>> {
    let bias = parameters.bias().map(|bias| bias.as_mat().to_owned());
    parameters.weights().iter().cloned().chain([parameters.features().to_owned()]).chain(bias).collect()
}

/// max(x, 0) of the features.
fn projected(ufm: &Ufm, parameters: Parameters) -> Parameters {
    if !ufm.has_nonnegative_features() {
        return parameters;
    }
    let (weights, features, bias) = parameters.into_parts();
    let features = Mat::from_fn(features.nrows(), features.ncols(), |i, j| features[(i, j)].max(0.0));
    Parameters::new(ufm, weights, features, bias).unwrap()
}

/// The norm of the gradient, in plain variables, without what would only push features of zero below zero.
fn gradient_norm(ufm: &Ufm, x: &Parameters, gradient: &Parameters) -> f64 {
    let weights = gradient.weights().iter().map(Mat::squared_norm_l2).sum::<f64>();
    let bias = gradient.bias().map_or(0.0, |bias| bias.squared_norm_l2());
    let (x, gradient) = (x.features(), gradient.features());
    let is_held = |i, j| ufm.has_nonnegative_features() && x[(i, j)] <= 0.0 && gradient[(i, j)] > 0.0;
    let free = Mat::from_fn(x.nrows(), x.ncols(), |i, j| if is_held(i, j) { 0.0 } else { gradient[(i, j)] });
    (weights + bias + free.squared_norm_l2()).sqrt()
}

/// The models of a strategy, with soft targets if these are asked for.
fn model(options: &Options, soft: bool) -> Ufm {
    if soft { options.soft_model() } else { options.model() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, ..ProptestConfig::default() })]

    /// A step of gradient descent on all samples is one along the gradient of the reference, and a look gives its
    /// objective and the norm of its gradient.
    #[test]
    fn a_step_is_that_of_the_reference(options in labels(1..=3, false), nonnegative: bool, soft: bool, eta in 0.01..1.0_f64) {
        let options = Options { nonnegative, ..options };
        let ufm = model(&options, soft);
        let start = options.start(&ufm, 1.5);
        let x = projected(&ufm, start.clone());
        let (objective, gradient) = ufm.objective_and_gradient(&x).unwrap();
        let descent = Descent::new(Method::GradientDescent).with_variables(Variables::Plain).with_reduction(false);
        let run = descent.with_step_size(StepSize::Fixed(eta)).with_step_limit(1).minimize(&ufm, start).unwrap();
        let first = run.trajectory[0];
        // Sums of at most a hundred terms, of the size of the objective times the norms of the other factors.
        let size: f64 = blocks(&x).iter().map(|block| 1.0 + block.norm_l2()).product();
        let rounding = 100.0 * f64::EPSILON * size * (1.0 + objective) * 25.0;
        prop_assert!((first.objective - objective).abs() <= rounding);
        let norm = gradient_norm(&ufm, &x, &gradient);
        prop_assert!((first.gradient_norm - norm).abs() <= rounding, "{} {}", first.gradient_norm, norm);
        // What rises keeps the best point, which is the start.
        prop_assume!(run.trajectory[1].objective <= first.objective);
        let reached = run.parameters().unwrap();
        let expected = blocks(&x).iter().zip(blocks(&gradient)).map(|(x, g)| x - faer::Scale(eta) * g).collect::<Vec<_>>();
        for (l, (mut expected, found)) in expected.into_iter().zip(blocks(&reached)).enumerate() {
            if nonnegative && l == ufm.depth() {
                expected = Mat::from_fn(expected.nrows(), expected.ncols(), |i, j| expected[(i, j)].max(0.0));
            }
            prop_assert!((expected - found).norm_l2() <= eta * rounding);
        }
    }

    /// Descents of all methods go down, whatever the loss, and end at a small gradient, at the limit of their steps or
    /// where rounding lets them no further; what they say of their end is what the reference says.
    #[test]
    fn descents_go_down(options in labels(1..=3, false), nonnegative: bool, soft: bool, plain: bool, scale in 0.1..3.0_f64) {
        let options = Options { nonnegative, ..options };
        let ufm = model(&options, soft);
        let start = options.start(&ufm, scale);
        let first = ufm.objective(&projected(&ufm, start.clone())).unwrap();
        let variables = if plain { Variables::Plain } else { Variables::Balanced };
        let methods = if nonnegative { &PROJECTED[..] } else { Method::ALL };
        for &method in methods {
            let descent = Descent::new(method).with_variables(variables).with_step_limit(500);
            let run = descent.minimize(&ufm, start.clone()).unwrap();
            prop_assert!(matches!(run.stop, Stop::Gradient | Stop::StepLimit | Stop::Stalled), "{:?} {:?}", method, run.stop);
            let falls = |from: f64, to: f64| to <= from * (1.0 + ROUNDING);
            prop_assert!(falls(first, run.objective), "{:?}", method);
            // Still in the second half of the steps, but for rounding of numbers as large as those of the start. Heavy ball
            // and Adam's fixed steps swing about a minimum.
            let swings = matches!(method, Method::HeavyBall { .. } | Method::Adam { .. });
            let least = |records: &[Record]| records.iter().map(|record| record.objective).fold(f64::INFINITY, f64::min);
            let (early, late) = run.trajectory.split_at(run.steps / 2 + 1);
            let falls_on = late.is_empty() || falls(least(early) + f64::EPSILON * first, least(late));
            let lows = (least(early), least(late), run.stop, run.steps);
            prop_assert!(falls_on || swings, "{:?} {:?}", method, lows);
            if method == Method::GradientDescent {
                prop_assert!(run.trajectory.windows(2).all(|pair| falls(pair[0].objective, pair[1].objective)));
            }
            let end = run.parameters().unwrap();
            prop_assert!(!nonnegative || end.features().col_iter().all(|column| column.iter().all(|entry| *entry >= 0.0)));
            let (objective, gradient) = ufm.objective_and_gradient(&end).unwrap();
            // Squared errors near zero are differences, rounded to an epsilon of what they are differences of.
            let size: f64 = blocks(&end).iter().map(|block| 1.0 + block.norm_l2()).product();
            let error = 25.0 * f64::EPSILON * size;
            let rounding = ROUNDING * objective + (2.0 * objective).sqrt() * error + error * error;
            prop_assert!((run.objective - objective).abs() <= rounding, "{:?}", method);
            if plain {
                let rounding = 100.0 * f64::EPSILON * size * (1.0 + objective) * 25.0;
                let norm = gradient_norm(&ufm, &end, &gradient);
                prop_assert!((run.gradient_norm - norm).abs() <= rounding, "{:?} {} {}", method, run.gradient_norm, norm);
                prop_assert!(run.stop != Stop::Gradient || norm <= 1e-9 * objective.sqrt() + rounding);
            }
        }
    }

    /// A start whose features have collapsed is K columns for every loss, and its run is that on all samples.
    #[test]
    fn collapsed_runs_are_those_of_all_samples(options in labels(1..=3, false), nonnegative: bool, scale in 0.3..2.0_f64) {
        let ufm = Options { nonnegative, ..options.clone() }.model();
        let start = collapsed(&ufm, &options.start(&ufm, scale));
        for method in if nonnegative { &PROJECTED[..] } else { &EQUIVARIANT[..] } {
            let descent = Descent::new(*method).with_gradient_tolerance(0.0).with_step_limit(25);
            let few = descent.minimize(&ufm, start.clone()).unwrap();
            prop_assert_eq!(few.columns, options.counts.len());
            assert_same(&ufm, descent, &start, &few)?;
        }
    }

    /// Deviations from class means are reduced exactly for the squared loss with smoothed labels, shifts, margins and
    /// scales, and for no other loss: there the descent works on all samples.
    #[test]
    fn deviations_are_reduced_where_the_loss_can_be_rotated(options in labels(1..=3, false), scale in 0.3..2.0_f64) {
        let ufm = options.model();
        let start = options.start(&ufm, scale);
        let samples = usize::try_from(ufm.samples()).unwrap();
        let k = options.counts.len();
        let can_rotate = !options.cross_entropy && ufm.class_weights().is_none();
        let deviations = samples - k;
        for method in EQUIVARIANT {
            let descent = Descent::new(method).with_gradient_tolerance(0.0).with_step_limit(25);
            let run = descent.minimize(&ufm, start.clone()).unwrap();
            // Without deviations every form is collapsed.
            let reduced = if can_rotate { k + deviations.min(ufm.feature_width()) } else { samples };
            prop_assert_eq!(run.columns, reduced);
            assert_same(&ufm, descent, &start, &run)?;
        }
    }

    /// Points of every form have the objective of their parameters, also where the loss cannot be rotated.
    #[test]
    fn points_of_any_form_have_the_objective_of_their_parameters(options in labels(1..=2, false), nonnegative: bool) {
        let plain = Options { cross_entropy: false, weights: false, ..options.clone() }.model();
        let ufm = Options { nonnegative, ..options }.model();
        for (point, ufm) in [
            (Point::gaussian(&plain, 1.0, &mut rng(0)).unwrap(), &plain),
            // Reduced with deviations, as a plain model draws it.
            (Point::gaussian(&plain, 1.0, &mut rng(0)).unwrap(), &ufm),
            (Point::gaussian(&ufm, 1.0, &mut rng(0)).unwrap(), &ufm),
            (Point::collapsed(&ufm, 1.0, &mut rng(0)).unwrap(), &ufm),
        ] {
            let expected = ufm.objective(&point.clone().into_parameters().unwrap()).unwrap();
            prop_assert!((point.objective(ufm).unwrap() / expected - 1.0).abs() <= ROUNDING);
            // The descent sees the same, after its projection.
            let method = if nonnegative { Method::Nesterov } else { Method::LBFGS };
            let run = Descent::new(method).with_step_limit(0).minimize(ufm, point.clone()).unwrap();
            let expected = ufm.objective(&projected(ufm, point.into_parameters().unwrap())).unwrap();
            prop_assert!((run.objective / expected - 1.0).abs() <= ROUNDING);
        }
    }
}

/// The same parameters with the first feature of a class as all of its features.
fn collapsed(ufm: &Ufm, parameters: &Parameters) -> Parameters {
    let (weights, mut features, bias) = parameters.clone().into_parts();
    let mut start = 0;
    for &count in ufm.class_counts().unwrap().counts() {
        let count = usize::try_from(count).unwrap();
        let first = features.col(start).to_owned();
        (start..start + count).for_each(|column| features.col_mut(column).copy_from(&first));
        start += count;
    }
    Parameters::new(ufm, weights, features, bias).unwrap()
}

/// Perturbations that show how much a trajectory amplifies rounding. Of several sizes: one that has grown until it cannot
/// grow any more shows too little, and a small one is itself no more than a few thousand roundings.
const PERTURBATIONS: [f64; 3] = [1e-7, 1e-9, 1e-11];

/// Steps that are compared where only perturbations of the start show what grows.
const FIRST_STEPS: usize = 3;

/// The run on reduced columns is the same as on all samples but for rounding, which steps amplify, and the quotients of
/// L-BFGS: by as much as they do small perturbations of the start, or as what they make of the same start in turned
/// features and in another order of samples, which only rounds differently. Three of each, since one could miss what
/// grows; a hundred times what they have shown so far, and a hundred roundings of the objective at the start, since steps
/// subtract numbers of that size. Once a run converges rounding decides what it does next: there the comparison ends.
fn assert_same(ufm: &Ufm, descent: Descent, start: &Parameters, ours: &Run) -> Result<(), TestCaseError> {
    let run = |weights, features| {
        let start = Parameters::new(ufm, weights, features, start.bias().map(|bias| bias.to_owned())).unwrap();
        descent.with_reduction(false).minimize(ufm, start).unwrap()
    };
    let full = run(start.weights().to_vec(), start.features().to_owned());
    let mut others = Vec::new();
    for (seed, perturbation) in (0..).zip(PERTURBATIONS) {
        let size = perturbation * start.features().norm_max();
        let noise = Parameters::gaussian_with_deviations(ufm, size, size, &mut rng(seed)).unwrap();
        let (weights, noise, _) = noise.into_parts();
        let weights = start.weights().iter().zip(weights).map(|(a, b)| a + b).collect();
        others.push((f64::EPSILON / perturbation, run(weights, start.features() + noise)));
        let turn = turn(ufm, seed);
        let mut weights = start.weights().to_vec();
        weights[0] = &weights[0] * turn.transpose();
        others.push((1.0, run(weights, &turn * shifted(ufm, start.features(), 1 + seed))));
    }
    let (first, mut shown) = (full.trajectory[0].objective, 0.0);
    for (step, (a, b)) in ours.trajectory.iter().zip(&full.trajectory).enumerate() {
        if b.gradient_norm <= 1e-5 * b.objective.sqrt() {
            return Ok(());
        }
        // Features of width 1 cannot be turned: nothing shows what becomes of the rounding of later steps.
        if ufm.feature_width() == 1 && step > FIRST_STEPS {
            return Ok(());
        }
        let of =
            |run: &Run| run.trajectory.get(step).map_or(f64::INFINITY, |record| (record.objective - b.objective).abs());
        shown = others.iter().map(|(share, run)| share * of(run)).fold(shown, f64::max);
        let allowed = 100.0 * (f64::EPSILON * first + shown);
        prop_assert!((a.objective - b.objective).abs() <= allowed, "step {}: {:?} {:?} {:e}", step, a, b, allowed);
    }
    Ok(())
}

/// The samples of each class in another order: features of width 1 cannot be turned.
fn shifted(ufm: &Ufm, features: MatRef<'_, f64>, by: u64) -> Mat<f64> {
    let mut columns = Vec::new();
    for &count in ufm.class_counts().unwrap().counts() {
        let start = columns.len();
        columns.extend((0..count).map(|j| start + usize::try_from((j + by) % count).unwrap()));
    }
    Mat::from_fn(features.nrows(), features.ncols(), |i, j| features[(i, columns[j])])
}

/// An orthogonal matrix that the features may be turned by: if they are nonnegative, a cyclic permutation.
fn turn(ufm: &Ufm, seed: u64) -> Mat<f64> {
    let width = ufm.feature_width();
    if ufm.has_nonnegative_features() {
        let shift = 1 + usize::try_from(seed).unwrap();
        return Mat::from_fn(width, width, |i, j| f64::from(u8::from((i + shift) % width == j)));
    }
    let mut random = rng(seed);
    Mat::<f64>::from_fn(width, width, |_, _| StandardNormal.sample(&mut random)).qr().compute_Q()
}

/// The level of a start is a logarithm of decays: the own class is as good as certain, and 1 - q is 1.
#[test]
fn descents_of_cross_entropy_start_at_any_decay() {
    for decay in [1e-16, 1e-18, 1e-100, 1e-150] {
        let classes = ClassCounts::new([30, 20, 10]).unwrap();
        let ufm = Ufm::new(classes, [Layer::new(5, decay)], decay).unwrap().with_loss(Loss::CrossEntropy).unwrap();
        for start in [Point::gaussian(&ufm, 1.0, &mut rng(0)), Point::collapsed(&ufm, 1.0, &mut rng(0))] {
            let run = Descent::default().with_step_limit(50).minimize(&ufm, start.unwrap()).unwrap();
            assert!(run.objective < run.trajectory[0].objective, "{decay:e}");
        }
    }
}

#[test]
fn too_many_samples_for_a_loss_name_the_collapsed_start() {
    let classes = ClassCounts::balanced(10, 1 << 49).unwrap();
    let plain = Ufm::new(classes, [Layer::new(32, 1e-3)], 1e-18).unwrap();
    let reduced = Point::gaussian(&plain, 1.0, &mut rng(0)).unwrap();
    let models = [
        plain.clone().with_loss(Loss::CrossEntropy).unwrap(),
        plain.clone().with_class_weights(ClassWeights::Given((1..=10).map(f64::from).collect())).unwrap(),
        plain.clone().with_nonnegative_features(),
    ];
    for ufm in models {
        let error = Point::gaussian(&ufm, 1.0, &mut rng(0)).unwrap_err();
        assert!(matches!(error, Error::TooLarge { cols, .. } if cols == ufm.samples()), "{error}");
        assert!(error.to_string().contains("Point::collapsed"), "{error}");
        let error = Descent::default().minimize(&ufm, reduced.clone()).unwrap_err();
        assert!(error.to_string().contains("Point::collapsed"), "{error}");
        let start = Point::collapsed(&ufm, 1.0, &mut rng(0)).unwrap();
        let run = Descent::default().with_step_limit(5).minimize(&ufm, start).unwrap();
        assert_eq!(run.columns, 10);
        assert!(run.objective < run.trajectory[0].objective);
    }
}

/// n samples in each of K classes and one layer: with λ = √(λ_W λ_H) logits differ by log(1/(λ √n) - K + 1), and not at
/// all from λ √n = 1/K on.
#[test]
fn balanced_cross_entropy_has_the_logits_of_its_closed_form() {
    for (classes, count, width) in [(2, 10_u32, 4), (5, 7, 8), (10, 20, 16)] {
        for share in [1e-3, 0.1, 0.5, 0.9, 1.1, 2.0] {
            for bias in [false, true] {
                let k = classes as f64;
                let lambda = share / (k * f64::from(count).sqrt());
                let counts = ClassCounts::balanced(classes, u64::from(count)).unwrap();
                let ufm = Ufm::new(counts, [Layer::new(width, 2.0 * lambda)], 0.5 * lambda).unwrap();
                let ufm = ufm.with_bias(bias).with_loss(Loss::CrossEntropy).unwrap();
                let start = Point::collapsed(&ufm, 1.0, &mut rng(1)).unwrap();
                let run = Descent::default().minimize(&ufm, start).unwrap();
                assert_eq!(run.stop, Stop::Gradient, "{classes} {share}");
                let gap = (1.0 / (lambda * f64::from(count).sqrt()) - k + 1.0).ln().max(0.0);
                let outputs = run.point.product() * run.point.class_means(&ufm).unwrap();
                for j in 0..classes {
                    for i in (0..classes).filter(|&i| i != j) {
                        let found = outputs[(j, j)] - outputs[(i, j)];
                        // The gradient is 1e-9 √f; logits are quadratic in the blocks where they are zero.
                        assert!((found - gap).abs() <= 1e-6 * (1.0 + gap), "{classes} {share} {bias}: {found} {gap}");
                    }
                }
                // Its objective, section by section: cross-entropy, and λ times the nuclear norm, √n (K-1) gap.
                let optimum = ((k - 1.0) * (-gap).exp()).ln_1p() + lambda * f64::from(count).sqrt() * (k - 1.0) * gap;
                assert!((run.objective / optimum - 1.0).abs() <= 1e-12, "{} {optimum}", run.objective);
                let start = Point::collapsed(&ufm, 1.0, &mut rng(2)).unwrap();
                let run = Descent::default().with_optimum(optimum).minimize(&ufm, start).unwrap();
                assert_eq!(run.stop, Stop::Gap);
            }
        }
    }
}

/// Without a bias the weighted squared loss of one layer has singular values s_k = max(√n_k/δ_k - N λ/(α_k δ_k²), 0).
#[test]
fn weighted_squared_loss_has_the_singular_values_of_its_closed_form() {
    let counts = [50_u64, 20, 8, 3];
    let (weights, scales) = ([0.5, 1.0, 3.0, 0.6], [1.0, 0.8, 1.25, 1.0]);
    let samples = counts.iter().sum::<u64>() as f64;
    for lambda in [1e-3, 0.01, 0.03] {
        for scaled in [false, true] {
            let ufm = Ufm::new(ClassCounts::new(counts).unwrap(), [Layer::new(6, 3.0 * lambda)], lambda / 3.0).unwrap();
            let mut ufm = ufm.without_bias().with_class_weights(ClassWeights::Given(weights.to_vec())).unwrap();
            if scaled {
                ufm = ufm.with_logit_scales(scales).unwrap();
            }
            let run = Descent::default().minimize(&ufm, Parameters::gaussian(&ufm, 1.0, &mut rng(0)).unwrap()).unwrap();
            assert_eq!((run.stop, run.columns), (Stop::Gradient, 81));
            let outputs = run.point.product() * run.point.class_means(&ufm).unwrap();
            for (k, &count) in counts.iter().enumerate() {
                let (root, scale) = ((count as f64).sqrt(), if scaled { scales[k] } else { 1.0 });
                let expected = (root / scale - samples * lambda / (weights[k] * scale * scale)).max(0.0);
                for i in 0..4 {
                    let expected = if i == k { expected } else { 0.0 };
                    assert!((root * outputs[(i, k)] - expected).abs() <= 1e-6 * root, "{lambda} {k} {i}");
                }
            }
        }
    }
}

/// Nonnegative features and one layer without a bias: class means are orthogonal, and the minimum is a sum over classes
/// (Dang et al. 2024 for cross-entropy).
#[test]
fn projected_descents_reach_the_orthogonal_minimum() {
    let counts = [50.0_f64, 20.0, 8.0, 3.0];
    let (samples, k, lambda) = (81.0, 4.0, (0.02_f64 * 0.003).sqrt());
    let of_cross_entropy = |n: f64| {
        let own = 1.0 - samples * lambda * ((k - 1.0) / (k * n)).sqrt();
        let logit = ((k - 1.0) * own / (1.0 - own)).ln();
        n / samples * ((k - 1.0) * (-logit).exp()).ln_1p() + lambda * (n * (k - 1.0) / k).sqrt() * logit
    };
    let of_squared = |n: f64| {
        let s = (n.sqrt() - samples * lambda).max(0.0);
        (s - n.sqrt()).powi(2) / (2.0 * samples) + lambda * s
    };
    let optimum = |of: &dyn Fn(f64) -> f64| counts.iter().map(|&n| of(n)).sum::<f64>();
    assert!((optimum(&of_cross_entropy) - 0.448_653_146_741_023_1).abs() <= 1e-15);
    for (loss, optimum) in [(Loss::CrossEntropy, optimum(&of_cross_entropy)), (Loss::Squared, optimum(&of_squared))] {
        let ufm = Ufm::new(ClassCounts::new([50, 20, 8, 3]).unwrap(), [Layer::new(24, 0.02)], 0.003).unwrap();
        let ufm = ufm.without_bias().with_loss(loss).unwrap().with_nonnegative_features();
        for method in PROJECTED {
            for collapsed in [true, false] {
                let start = if collapsed { Point::collapsed } else { Point::gaussian }(&ufm, 1.0, &mut rng(3)).unwrap();
                let run = Descent::new(method).with_optimum(optimum).minimize(&ufm, start).unwrap();
                assert_eq!(run.stop, Stop::Gap, "{loss} {method} {collapsed}: {:e}", run.gap.unwrap());
                assert_eq!(run.columns, if collapsed { 4 } else { 81 });
                let means = run.point.class_means(&ufm).unwrap();
                assert!(means.col_iter().all(|mean| mean.iter().all(|entry| *entry >= 0.0)));
                let run = Descent::new(method).minimize(&ufm, run.point).unwrap();
                assert_eq!(run.stop, Stop::Gradient, "{loss} {method} {collapsed}");
                assert!(run.objective >= optimum * (1.0 - ROUNDING));
            }
        }
    }
}

#[test]
fn what_needs_the_squared_loss_refuses_others() {
    let classes = || ClassCounts::new([4, 2]).unwrap();
    let plain = Ufm::new(classes(), [Layer::new(3, 0.1)], 0.1).unwrap();
    let models = [
        (plain.clone().with_loss(Loss::CrossEntropy).unwrap(), "cross-entropy"),
        (plain.clone().with_class_weights(ClassWeights::Inverse).unwrap(), "class weights"),
        (plain.clone().with_logit_adjustment(1.0).unwrap(), "adjusted logits"),
        (plain.clone().with_bias_decay(0.1).unwrap(), "a bias that decays"),
        (plain.clone().with_nonnegative_features(), "nonnegative features"),
    ];
    let mut features = FeatureAccumulator::with_scatter(3, 2).unwrap();
    let columns = Mat::from_fn(3, 6, |i, j| (i * j % 5) as f64);
    features.add(columns.as_ref(), &[0, 0, 0, 0, 1, 1]).unwrap();
    let features = features.finish();
    for (ufm, because) in models {
        let refused = Error::NoClosedForm { because };
        let start = Parameters::gaussian(&ufm, 1.0, &mut rng(0)).unwrap();
        assert_eq!(ufm.minimizer().unwrap_err(), refused);
        assert_eq!(Spectrum::new(&ufm).unwrap_err(), refused);
        assert_eq!(escape(&ufm, &start).unwrap_err(), refused);
        let bias = Some(neural_collapse::faer::Col::zeros(2));
        let point = features.point(&ufm, vec![Mat::zeros(2, 3)], bias);
        // Class means and scatter are enough where samples can be rotated.
        if ["adjusted logits", "a bias that decays"].contains(&because) {
            let objective = point.unwrap().objective(&ufm).unwrap();
            let zero = Descent::default().with_step_limit(0).minimize(&ufm, Parameters::zeros(&ufm).unwrap()).unwrap();
            let penalty = 0.05 * columns.squared_norm_l2();
            assert!((objective - zero.objective - penalty).abs() <= ROUNDING * objective, "{because}");
        } else {
            assert_eq!(point.unwrap_err(), Error::NeedsSamples);
        }
        // A run on one loss is not that of the minimizer of another.
        let run = Descent::default().with_step_limit(3).minimize(&ufm, start).unwrap();
        let minimizer = plain.minimizer().unwrap();
        let ending = neural_collapse::critical::ending(&minimizer, &run);
        assert!(matches!(ending, Err(Error::OtherObjective { .. })) || ufm.has_nonnegative_features(), "{because}");
    }
    let bounded = plain.with_nonnegative_features();
    for method in [Method::LBFGS, Method::ADAM] {
        let error = Descent::new(method).minimize(&bounded, Parameters::zeros(&bounded).unwrap()).unwrap_err();
        assert_eq!(error, Error::NoProjection { method: method.name() });
        assert!(error.to_string().contains("nesterov"), "{error}");
    }
}

/// A gap relative to an optimum of zero, and divergence, are measured by the objective at zero of the loss itself.
#[test]
fn gaps_to_zero_are_relative_to_the_objective_at_zero() {
    let classes = ClassCounts::new([6, 3, 1]).unwrap();
    let ufm = Ufm::new(classes.clone(), [Layer::new(4, 0.1)], 0.1).unwrap();
    let soft = Targets::matrix(Mat::from_fn(3, 4, |i, j| f64::from(u8::from(i == j % 3)))).unwrap();
    let soft = Ufm::new(soft, [Layer::new(4, 0.1)], 0.1).unwrap();
    let adjusted = ufm.clone().with_logit_adjustment(1.0).unwrap();
    let weighted = ufm.clone().with_class_weights(ClassWeights::Given(vec![1.0, 2.0, 5.0])).unwrap();
    let cross_entropy = |ufm: &Ufm| ufm.clone().with_loss(Loss::CrossEntropy).unwrap();
    for ufm in [&ufm, &soft, &adjusted, &weighted].into_iter().flat_map(|ufm| [ufm.clone(), cross_entropy(ufm)]) {
        let zero = Parameters::zeros(&ufm).unwrap();
        let run = Descent::default().with_optimum(0.0).with_step_limit(0).minimize(&ufm, zero.clone()).unwrap();
        let expected = ufm.objective(&zero).unwrap();
        assert!((run.gap.unwrap() - 1.0).abs() <= ROUNDING && (run.objective / expected - 1.0).abs() <= ROUNDING);
    }
    // log K of cross-entropy without adjustments.
    let value = cross_entropy(&ufm).objective(&Parameters::zeros(&ufm).unwrap()).unwrap();
    assert!((value - 3_f64.ln()).abs() <= ROUNDING);
}

/// More samples than a panel and than a part: the same bits for any number of threads, and those of the reference.
#[test]
fn many_samples_are_the_same_for_any_number_of_threads() {
    let classes = ClassCounts::new([700, 250, 50, 7]).unwrap();
    let layers = [Layer::new(300, 0.01), Layer::new(2, 0.02), Layer::new(9, 0.01)];
    let hard = Ufm::new(&classes, layers, 1e-4).unwrap().with_bias_decay(0.1).unwrap();
    let hard = hard.with_class_weights(ClassWeights::InverseRoot).unwrap();
    let soft = Targets::matrix(Mat::from_fn(4, 1007, |i, j| f64::from(u8::from(i == j * j % 4)))).unwrap();
    let soft = Ufm::new(soft, layers, 1e-4).unwrap();
    for ufm in [hard.clone(), soft, hard.with_nonnegative_features()] {
        let ufm = ufm.with_loss(Loss::CrossEntropy).unwrap();
        let start = Parameters::gaussian(&ufm, 1.0, &mut rng(4)).unwrap();
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let descent = Descent::default().with_variables(Variables::Plain).with_step_limit(20);
            pool.install(|| descent.minimize(&ufm, start.clone()).unwrap())
        };
        let one = with(1);
        for threads in [2, 16] {
            let other = with(threads);
            assert!(one.point == other.point && one.trajectory == other.trajectory, "{threads}");
        }
        let end = one.parameters().unwrap();
        let (objective, gradient) = ufm.objective_and_gradient(&end).unwrap();
        // Sums of a thousand terms.
        assert!((one.objective / objective - 1.0).abs() <= 1000.0 * f64::EPSILON);
        let norm = gradient_norm(&ufm, &end, &gradient);
        let size: f64 = blocks(&end).iter().map(|block| 1.0 + block.norm_l2()).product();
        assert!((one.gradient_norm - norm).abs() <= 1000.0 * f64::EPSILON * size, "{} {norm}", one.gradient_norm);
    }
}

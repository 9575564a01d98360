//! Theory against descent: it reaches f*, never goes below it, and says honestly where it has come to.

use std::ops::ControlFlow;

use neural_collapse::{
    Block, ClassCounts, Error, Layer, Parameters, Point, Ufm,
    critical::{Difference, Ending, difference, ending},
    descent::{Descent, Method, Run, StepSize, Stop, Variables},
    faer::Mat,
    metrics::singular_value_error,
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, StandardNormal};

const METHODS: [Method; 4] =
    [Method::GradientDescent, Method::HeavyBall { momentum: 0.8 }, Method::Nesterov, Method::LBFGS];

fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// A model whose largest class has q = `q`, with unequal decays of its blocks.
fn model(counts: Vec<u64>, depth: usize, width: usize, q: f64, bias: bool) -> Ufm {
    let classes = ClassCounts::new(counts).unwrap();
    let l = depth as f64;
    let c = q * (classes.group(0).count as f64).powf(l / (l + 1.0)) / classes.samples() as f64;
    let layers: Vec<Layer> = (0..depth).map(|l| Layer::new(width, c * 3_f64.powf(l as f64))).collect();
    let feature_decay = c.powf(l + 1.0) / layers.iter().map(|layer| layer.decay).product::<f64>();
    Ufm::new(classes, layers, feature_decay).unwrap().with_bias(bias)
}

/// Gradients at which trajectories are compared no longer: nearer to the minimum rounding decides whether Nesterov's method
/// restarts, and two runs part there. Here the objective is still 1e-10 of itself above the minimum.
const DECIDED: f64 = 1e-5;

/// The size of the perturbations that tell how much a trajectory amplifies rounding.
const PERTURBATION: f64 = 1e-7;

/// Two runs of one descent from one start are the same up to rounding, which steps away from a saddle amplify, and the
/// quotients of L-BFGS: by as much as they do small perturbations of the start, or as what they make of the same start
/// in rotated features, which only rounds differently. Three random ones of each, since one could miss what grows; a
/// hundred times what they show, and a hundred roundings of its own.
fn assert_same_trajectory(model: &Ufm, descent: &Descent, start: &Parameters, ours: &Run, full: &Run) {
    let size = start.features().norm_l2() / (start.features().ncols() as f64 * start.features().nrows() as f64).sqrt();
    let run = |weights, features| {
        let start = Parameters::new(model, weights, features, start.bias().map(|bias| bias.to_owned())).unwrap();
        descent.with_reduction(false).minimize(model, start).unwrap()
    };
    let mut others = Vec::new();
    for seed in 0..3 {
        let noise =
            Parameters::gaussian_with_deviations(model, PERTURBATION * size, PERTURBATION * size, &mut rng(seed))
                .unwrap();
        let (weights, features, _) = noise.into_parts();
        let weights = start.weights().iter().zip(weights).map(|(a, b)| a + b).collect();
        others.push((f64::EPSILON / PERTURBATION, run(weights, start.features() + features)));
        let width = model.feature_width();
        let mut random = rng(seed);
        let rotation = Mat::<f64>::from_fn(width, width, |_, _| StandardNormal.sample(&mut random)).qr().compute_Q();
        let mut weights = start.weights().to_vec();
        weights[0] = &weights[0] * rotation.transpose();
        let mut rotated = run(weights, &rotation * start.features());
        let (weights, features, bias) = rotated.parameters().unwrap().into_parts();
        rotated.point = Parameters::new(model, weights, rotation.transpose() * features, bias).unwrap().into();
        others.push((1.0, rotated));
    }
    assert_eq!(ours.steps, full.steps);
    let allowed = |size: f64, distance: &dyn Fn(&Run) -> f64| {
        let shown = others.iter().map(|(share, run)| share * distance(run)).fold(0.0, f64::max);
        100.0 * (f64::EPSILON * size + shown)
    };
    for (step, (a, b)) in ours.trajectory.iter().zip(&full.trajectory).enumerate() {
        let allowed = allowed(b.objective.max(0.5), &|run| (run.trajectory[step].objective - b.objective).abs());
        assert!((a.objective - b.objective).abs() <= allowed, "{a:?} {b:?} {allowed:e}");
    }
    let features = |run: &Run| run.parameters().unwrap().features().to_owned();
    let (a, b) = (features(ours), features(full));
    let allowed = allowed(b.norm_l2().max(start.features().norm_l2()), &|run| (features(run) - &b).norm_l2());
    let error = (a - &b).norm_l2();
    assert!(error <= allowed, "{error:e} {allowed:e}");
}

/// Differences of objectives below this are rounding: they are sums of terms of at most 1/2 in all.
const ROUNDING: f64 = 64.0 * f64::EPSILON;

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    /// L = 1: every critical point but the global minima is a strict saddle, so that a random start leads to f*, any
    /// width.
    #[test]
    fn one_layer_always_reaches_the_minimum(
        counts in prop::collection::vec(1_u64..30, 1..7),
        width in 1_usize..9,
        log_q in -2.0..0.2_f64,
        bias: bool,
        scale in 0.1..2.0_f64,
        seed: u64,
    ) {
        let model = model(counts, 1, width, 10_f64.powf(log_q), bias);
        let minimizer = model.minimizer().unwrap();
        // A direction within 1 % of its threshold, or targets within 1 % of each other at the width, make the valley
        // arbitrarily flat.
        let flat = minimizer.directions().iter().any(|direction| (direction.critical_scale - 1.0).abs() < 0.01);
        let targets = minimizer.singular_values(|direction| direction.target);
        prop_assume!(!flat && (width >= targets.len() || targets[width] < 0.99 * targets[width - 1]));
        let start = Parameters::gaussian(&model, scale, &mut rng(seed)).unwrap();
        let run = Descent::default().with_optimum(minimizer.objective()).minimize(&model, start).unwrap();
        prop_assert_eq!(run.stop, Stop::Gap);
        prop_assert!((run.objective / minimizer.objective() - 1.0).abs() <= 1e-9 || minimizer.objective() == 0.0);
        prop_assert_eq!(ending(&minimizer, &run).unwrap(), Ending::GlobalMinimum);
    }

    /// L >= 2 from a start above the balanced level, widths several times K, decays well below the thresholds.
    #[test]
    fn deep_models_reach_the_minimum_from_above_the_balanced_level(
        counts in prop::collection::vec(5_u64..30, 2..5),
        depth in 2_usize..4,
        log_q in -2.5..-1.5_f64,
        bias: bool,
        seed: u64,
    ) {
        let model = model(counts, depth, 40, 10_f64.powf(log_q), bias);
        let minimizer = model.minimizer().unwrap();
        let start = Parameters::gaussian(&model, 1.5, &mut rng(seed)).unwrap();
        let run = Descent::default().with_optimum(minimizer.objective()).minimize(&model, start).unwrap();
        prop_assert_eq!(run.stop, Stop::Gap);
        // The objective is quadratic about the minimum, with a curvature of at least about e: errors are below
        // √(gap/e).
        prop_assert!(singular_value_error(&minimizer, &run.point).unwrap() <= 1e-3);
    }

    /// No descent goes below f*, whatever it is and wherever it starts, and gradient descent never rises.
    #[test]
    fn no_descent_goes_below_the_minimum(
        counts in prop::collection::vec(1_u64..20, 1..6),
        depth in 1_usize..5,
        width in 1_usize..8,
        log_q in -2.0..0.3_f64,
        bias: bool,
        scale in 0.1..4.0_f64,
        plain: bool,
        seed: u64,
    ) {
        let model = model(counts, depth, width, 10_f64.powf(log_q), bias);
        let minimum = model.minimizer().unwrap().objective();
        let start = Parameters::gaussian(&model, scale, &mut rng(seed)).unwrap();
        let variables = if plain { Variables::Plain } else { Variables::Balanced };
        for method in METHODS {
            let descent = Descent::new(method).with_variables(variables).with_step_limit(300);
            let run = descent.minimize(&model, start.clone()).unwrap();
            prop_assert!(run.trajectory.iter().all(|record| record.objective >= minimum - ROUNDING));
            prop_assert_eq!(run.trajectory.len(), run.steps + 1);
            if method == Method::GradientDescent || method == Method::LBFGS {
                let falling = run.trajectory.windows(2).all(|pair| pair[1].objective <= pair[0].objective * (1.0 + ROUNDING));
                prop_assert!(falling);
            }
            let reached = model.objective(&run.parameters().unwrap()).unwrap();
            prop_assert!((reached - run.objective).abs() <= ROUNDING * run.objective.max(1.0));
        }
    }

    /// The reduction changes the work and not the trajectory: N below and above d_1, every method, both kinds of
    /// variables.
    #[test]
    fn reduced_and_full_trajectories_agree(
        counts in prop::collection::vec(1_u64..12, 1..5),
        depth in 1_usize..4,
        width in 1_usize..16,
        bias: bool,
        plain: bool,
        seed: u64,
    ) {
        let model = model(counts, depth, width, 0.1, bias);
        let start = Parameters::gaussian(&model, 1.0, &mut rng(seed)).unwrap();
        let variables = if plain { Variables::Plain } else { Variables::Balanced };
        for method in METHODS {
            // Fixed steps: an automatic step may be halved on one side of a rounding error and not on the other. Those
            // of L-BFGS are shares of its direction, and few: its curvatures are quotients that amplify rounding.
            let (step, limit) = match (method, plain) {
                (Method::Lbfgs { .. }, _) => (0.5, 6),
                (_, true) => (0.01, 60),
                (_, false) => (0.02, 60),
            };
            let descent = Descent::new(method)
                .with_variables(variables)
                .with_step_size(StepSize::Fixed(step))
                .with_step_limit(limit)
                .with_gradient_tolerance(DECIDED);
            let reduced = descent.minimize(&model, start.clone()).unwrap();
            let full = descent.with_reduction(false).minimize(&model, start.clone()).unwrap();
            prop_assert!(reduced.columns <= full.columns);
            assert_same_trajectory(&model, &descent, &start, &reduced, &full);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    /// A start that spans few dimensions stays in them: the trajectory is that of the same start in full.
    #[test]
    fn narrow_and_full_trajectories_agree(
        counts in prop::collection::vec(1_u64..12, 1..4),
        depth in 1_usize..4,
        width in 1_usize..16,
        bias: bool,
        seed: u64,
    ) {
        let model = model(counts, depth, width, 0.1, bias);
        let collapsed = Point::collapsed(&model, 1.0, &mut rng(seed)).unwrap();
        let everything = collapsed.clone().into_parameters().unwrap();
        // The same features, and layers that span everything.
        let (_, features, bias) = everything.clone().into_parts();
        let (weights, _, _) = Parameters::gaussian(&model, 1.0, &mut rng(seed)).unwrap().into_parts();
        let mixed = Parameters::new(&model, weights, features, bias).unwrap();
        let classes = model.class_counts().unwrap().classes();
        for (start, full) in [(collapsed, everything), (Point::from(mixed.clone()), mixed)] {
            let descent =
                Descent::new(Method::GradientDescent).with_step_size(StepSize::Fixed(0.02)).with_step_limit(60);
            let narrow = descent.minimize(&model, start).unwrap();
            let everything = full.clone();
            let full = descent.with_reduction(false).minimize(&model, full).unwrap();
            prop_assert_eq!(narrow.columns, classes);
            assert_same_trajectory(&model, &descent, &everything, &narrow, &full);
            // Measured on either form.
            let minimizer = model.minimizer().unwrap();
            let (short, long) = (singular_value_error(&minimizer, &narrow.point), singular_value_error(&minimizer, &full.point));
            let (short, long) = (short.unwrap(), long.unwrap());
            prop_assert!((short - long).abs() <= 1e-7 * long.max(1.0), "{} {}", short, long);
        }
    }
}

#[test]
fn starts_without_samples_are_distributed_as_those_with() {
    // Few samples for the width, and many.
    for (counts, width) in [(vec![9, 5, 1], 30), (vec![400, 200, 1], 20)] {
        let model = model(counts, 1, width, 0.1, true);
        let (d, k, n) = (width as f64, 3.0, model.samples() as f64);
        let entry = {
            let parameters = Parameters::gaussian(&model, 1.0, &mut rng(0)).unwrap();
            parameters.features().squared_norm_l2() / (d * n)
        };
        let (mut means, mut deviations) = (0.0, 0.0);
        let draws = 200.0;
        for seed in 0..200 {
            let point = Point::gaussian(&model, 1.0, &mut rng(seed)).unwrap();
            assert_eq!(point.columns(), 3 + width.min(usize::try_from(model.samples()).unwrap() - 3));
            let parameters = point.into_parameters().unwrap();
            let all = parameters.features().squared_norm_l2();
            let class_means = parameters.class_means(&model).unwrap();
            let between: f64 = class_means
                .col_iter()
                .zip(model.class_counts().unwrap().counts())
                .map(|(mean, &count)| count as f64 * mean.squared_norm_l2())
                .sum();
            means += between;
            deviations += all - between;
        }
        // Sums of d K and of d (N - K) squares of normal deviates, times the number of draws, and the one that they are
        // compared with: five standard deviations of each.
        let allowed = |squares: f64| 5.0 * ((2.0 / (squares * draws)).sqrt() + (2.0 / (d * n)).sqrt());
        assert!((means / (draws * d * k * entry) - 1.0).abs() <= allowed(d * k));
        assert!((deviations / (draws * d * (n - k) * entry) - 1.0).abs() <= allowed(d * (n - k)));
    }
}

#[test]
fn adam_takes_the_steps_of_its_definition() {
    let model = model(vec![5, 3, 2], 2, 4, 0.1, true);
    let start = Parameters::gaussian(&model, 1.0, &mut rng(0)).unwrap();
    let rule = StepSize::Stepwise { initial: 0.01, factor: 0.5, every: 8 };
    let descent = Descent::new(Method::ADAM).with_variables(Variables::Plain).with_step_size(rule).with_step_limit(20);
    let run = descent.minimize(&model, start.clone()).unwrap();
    assert_eq!(run.columns, 10);
    let flatten = |parameters: &Parameters| -> Vec<f64> {
        let weights = parameters.weights().iter().map(Mat::as_ref);
        let blocks = weights.chain([parameters.features(), parameters.bias().unwrap().as_mat()]);
        blocks
            .flat_map(|block| block.col_iter().flat_map(|column| column.iter().copied()).collect::<Vec<_>>())
            .collect()
    };
    let restore = |values: &[f64]| {
        let mut values = values.iter().copied();
        let (mut weights, mut features, bias) = start.clone().into_parts();
        for block in weights.iter_mut().chain([&mut features]) {
            block.col_iter_mut().for_each(|column| column.iter_mut().for_each(|entry| *entry = values.next().unwrap()));
        }
        Parameters::new(
            &model,
            weights,
            features,
            bias.map(|bias| bias.iter().map(|_| values.next().unwrap()).collect()),
        )
        .unwrap()
    };
    let mut x = flatten(&start);
    let (mut m, mut v) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    for (t, record) in (0..20).zip(&run.trajectory) {
        let (objective, gradient) = model.objective_and_gradient(&restore(&x)).unwrap();
        assert!((objective / record.objective - 1.0).abs() <= 1e-12);
        let eta = 0.01 * 0.5_f64.powi(t / 8);
        for (i, g) in flatten(&gradient).into_iter().enumerate() {
            m[i] = 0.9 * m[i] + 0.1 * g;
            v[i] = 0.999 * v[i] + 0.001 * g * g;
            let power = t + 1;
            let (mean, square) = (m[i] / (1.0 - 0.9_f64.powi(power)), v[i] / (1.0 - 0.999_f64.powi(power)));
            x[i] -= eta * mean / (square.sqrt() + 1e-8);
        }
    }
    // Adam's first steps are signs of the gradient: rounding matters where an entry of it is about zero, and there is
    // none.
    let last = flatten(&run.parameters().unwrap());
    assert!(x.iter().zip(&last).all(|(a, b)| (a - b).abs() <= 1e-10));
}

#[test]
fn schedules_are_followed() {
    let model = model(vec![5, 3, 2], 1, 4, 0.1, true);
    let start = Parameters::gaussian(&model, 1.0, &mut rng(0)).unwrap();
    let seen = |rule: StepSize| {
        let mut sizes = Vec::new();
        let descent = Descent::new(Method::GradientDescent).with_step_size(rule).with_step_limit(6);
        let observe = |progress: &neural_collapse::descent::Progress<'_>| {
            sizes.push(progress.step_size);
            ControlFlow::Continue(())
        };
        descent.minimize_observed(&model, start.clone(), observe).unwrap();
        sizes
    };
    let halves = seen(StepSize::Stepwise { initial: 0.01, factor: 0.5, every: 2 });
    assert_eq!(halves, [0.0, 0.01, 0.01, 0.005, 0.005, 0.0025, 0.0025]);
    let cosine = seen(StepSize::Cosine { initial: 0.01, steps: 4 });
    // Its end ends the run.
    assert_eq!((cosine[1], cosine.len()), (0.01, 5));
    assert!((cosine[3] - 0.005).abs() <= 0.01 * f64::EPSILON);
}

#[test]
fn few_steps_of_lbfgs_do_what_many_of_others_do() {
    let model = Ufm::new(ClassCounts::paper_cifar10(), [Layer::new(32, 5e-3)], 1e-4).unwrap();
    let optimum = model.minimizer().unwrap().objective();
    let start = Point::gaussian(&model, 1.0, &mut rng(0)).unwrap();
    let steps = |method| Descent::new(method).with_optimum(optimum).minimize(&model, start.clone()).unwrap().steps;
    assert!(steps(Method::LBFGS) < steps(Method::Nesterov) && steps(Method::Nesterov) < steps(Method::GradientDescent));
}

#[test]
fn a_billion_samples_are_as_many_as_few() {
    let classes = ClassCounts::balanced(20, 50_000_000).unwrap();
    let model = Ufm::new(classes, [Layer::new(48, 1e-3)], 5e-12).unwrap();
    let minimizer = model.minimizer().unwrap();
    let start = Point::gaussian(&model, 1.0, &mut rng(0)).unwrap();
    let run = Descent::default().with_optimum(minimizer.objective()).minimize(&model, start).unwrap();
    assert_eq!((run.stop, run.columns), (Stop::Gap, 68));
    assert_eq!(ending(&minimizer, &run).unwrap(), Ending::GlobalMinimum);
}

#[test]
fn every_method_reaches_the_minimum_of_the_paper_profile() {
    let model = Ufm::new(ClassCounts::paper_cifar10(), [Layer::new(32, 5e-3)], 1e-4).unwrap();
    let minimizer = model.minimizer().unwrap();
    for method in METHODS {
        for variables in [Variables::Balanced, Variables::Plain] {
            let start = Parameters::gaussian(&model, 1.0, &mut rng(3)).unwrap();
            let run = Descent::new(method)
                .with_variables(variables)
                .with_optimum(minimizer.objective())
                .minimize(&model, start)
                .unwrap();
            assert_eq!(run.stop, Stop::Gap, "{method:?} {variables:?}");
            assert!(singular_value_error(&minimizer, &run.point).unwrap() < 1e-4);
        }
    }
}

#[test]
fn a_start_at_the_minimizer_stays_there() {
    let model = model(vec![20, 10, 10, 5], 3, 8, 0.05, true);
    let minimizer = model.minimizer().unwrap();
    let start = minimizer.random_parameters(&mut rng(0)).unwrap();
    let run = Descent::default()
        .with_optimum(minimizer.objective())
        .with_gap_tolerance(1e-13)
        .minimize(&model, start.clone())
        .unwrap();
    assert_eq!((run.stop, run.steps), (Stop::Gap, 0));
    // Without an optimum the gradient tells: rounding of the gradient is 1/e times an epsilon.
    let run = Descent::default().minimize(&model, start).unwrap();
    assert_eq!((run.stop, run.steps), (Stop::Gradient, 0));
    assert_eq!(ending(&minimizer, &run).unwrap(), Ending::GlobalMinimum);
}

#[test]
fn endings_distinguish_critical_points_from_minima() {
    // Zero: a saddle for L = 1, a local minimum for L = 2. All directions are missing, those of equal classes together.
    for depth in [1, 2] {
        let model = model(vec![20, 10, 10, 10], depth, 8, 0.05, false);
        let minimizer = model.minimizer().unwrap();
        let run = Descent::default().minimize(&model, Parameters::zeros(&model).unwrap()).unwrap();
        assert_eq!((run.stop, run.steps), (Stop::Gradient, 0));
        assert!((run.objective - 0.5).abs() <= ROUNDING);
        let missing = match ending(&minimizer, &run).unwrap() {
            Ending::StrictSaddle(Difference { missing, .. }) if depth == 1 => missing,
            Ending::LocalMinimizer(Difference { missing, .. }) if depth == 2 => missing,
            other => panic!("{other}"),
        };
        assert_eq!(missing.iter().map(|&(_, count)| count).collect::<Vec<_>>(), [1, 3]);
    }
    // L = 3 from a start below the balanced level: descent itself ends at zero.
    let model = model(vec![20, 10, 10, 10], 3, 8, 0.05, true);
    let minimizer = model.minimizer().unwrap();
    let start = Parameters::gaussian(&model, 0.05, &mut rng(1)).unwrap();
    let run = Descent::default().with_optimum(minimizer.objective()).minimize(&model, start).unwrap();
    let Ending::LocalMinimizer(Difference { missing, .. }) = ending(&minimizer, &run).unwrap() else {
        panic!("zero is not a minimum")
    };
    assert_eq!(missing.iter().map(|&(_, count)| count).sum::<usize>(), 3);
    assert_eq!(
        ending(&minimizer, &run).unwrap().to_string(),
        "local minimizer above the global minimum: directions missing 3, in excess 0"
    );
}

#[test]
fn a_local_minimum_beyond_the_threshold_is_not_the_global_one() {
    // L = 2, q = 1.02 q_2: the minimizer is zero, but a warm start from smaller decays stays at the positive critical
    // point.
    let at = |scale: f64| {
        Ufm::new(ClassCounts::new([10; 4]).unwrap(), [Layer::new(6, 0.01 * scale); 2], 0.01 * scale)
            .unwrap()
            .without_bias()
    };
    let critical = at(1.0).minimizer().unwrap().directions()[0].critical_scale;
    let (below, beyond) = (at(0.99 * critical), at(1.02 * critical));
    let start = below.minimizer().unwrap().parameters().unwrap();
    let (weights, features, bias) = start.into_parts();
    let start = Parameters::new(&beyond, weights, features, bias).unwrap();
    let run = Descent::default().minimize(&beyond, start).unwrap();
    let minimizer = beyond.minimizer().unwrap();
    assert_eq!((minimizer.rank(), run.stop), (0, Stop::Gradient));
    assert!(run.objective > 1.01 * minimizer.objective());
    let Ending::LocalMinimizer(difference) = ending(&minimizer, &run).unwrap() else { panic!("a local minimum") };
    assert_eq!((difference.missing, difference.excess), (vec![], vec![0]));
}

#[test]
fn endings_do_not_trust_the_optimum_that_is_given() {
    let model = model(vec![20, 10, 5], 1, 8, 0.05, true);
    let minimizer = model.minimizer().unwrap();
    let start = Parameters::gaussian(&model, 1.0, &mut rng(0)).unwrap();
    let wrong = Descent::default().with_optimum(10.0 * minimizer.objective()).minimize(&model, start.clone()).unwrap();
    assert_eq!(ending(&minimizer, &wrong).unwrap(), Ending::Unfinished(Stop::BelowOptimum));
    let loose = Descent::default().with_optimum(minimizer.objective()).with_gap_tolerance(0.5);
    let run = loose.minimize(&model, start).unwrap();
    assert_eq!(ending(&minimizer, &run).unwrap(), Ending::Unfinished(Stop::Gap));
    // At a minimizer nothing is missing and nothing in excess, whatever the width cuts.
    for width in 1..4 {
        let narrow =
            Ufm::new(ClassCounts::new([9, 9, 4]).unwrap(), [Layer::new(width, 0.01)], 0.01).unwrap().without_bias();
        let minimizer = narrow.minimizer().unwrap();
        assert_eq!(difference(&minimizer, &minimizer.parameters().unwrap()).unwrap(), Difference::default());
    }
}

#[test]
fn the_gradient_that_stops_a_run_is_that_of_its_last_point() {
    for (seed, (depth, biased)) in (0..).zip([(1, true), (2, false), (1, false), (2, true)]) {
        let model = model(vec![20, 10, 5, 3], depth, 12, 0.03, biased);
        let start = Parameters::gaussian(&model, 1.0, &mut rng(seed)).unwrap();
        for method in METHODS {
            let run = Descent::new(method).with_gradient_tolerance(1e-7).minimize(&model, start.clone()).unwrap();
            assert_eq!(run.stop, Stop::Gradient);
            assert!(run.gradient_norm <= 1e-7 * run.objective.sqrt());
            assert_eq!(run.gradient_norm, run.trajectory[run.steps].gradient_norm);
        }
    }
}

#[test]
fn a_saddle_between_the_minima_is_recognized_by_what_it_misses() {
    // The minimizer of the same model of width 1, in a corner of the wide one: critical, with one direction of three.
    let wide = model(vec![20, 10, 10, 10], 1, 8, 0.05, true);
    let narrow =
        Ufm::new(wide.class_counts().unwrap().clone(), [Layer::new(1, wide.layers()[0].decay)], wide.feature_decay())
            .unwrap();
    let corner = narrow.minimizer().unwrap().parameters().unwrap();
    let (mut weights, mut features, bias) = Parameters::zeros(&wide).unwrap().into_parts();
    weights[0].col_mut(0).copy_from(corner.weights()[0].col(0));
    features.row_mut(0).copy_from(corner.features().row(0));
    let saddle = Parameters::new(&wide, weights, features, bias.map(|_| corner.bias().unwrap().to_owned())).unwrap();
    let run = Descent::default().minimize(&wide, saddle).unwrap();
    assert_eq!((run.stop, run.steps), (Stop::Gradient, 0));
    let Ending::StrictSaddle(Difference { missing, .. }) = ending(&wide.minimizer().unwrap(), &run).unwrap() else {
        panic!("a saddle")
    };
    assert_eq!(missing.iter().map(|&(_, count)| count).sum::<usize>(), 2);
}

#[test]
fn a_step_that_diverges_is_detected_and_the_best_point_kept() {
    let model = model(vec![20, 10, 5], 1, 8, 0.01, true);
    let start = Parameters::gaussian(&model, 1.0, &mut rng(0)).unwrap();
    let first = model.objective(&start).unwrap();
    for method in METHODS {
        let run = Descent::new(method).with_step_size(StepSize::Fixed(1.0)).minimize(&model, start.clone()).unwrap();
        assert_eq!(run.stop, Stop::Diverged, "{method:?}");
        let best = run.trajectory.iter().map(|record| record.objective).fold(f64::INFINITY, f64::min);
        assert_eq!(run.objective, best);
        assert!(run.objective <= first * (1.0 + ROUNDING));
        let reached = model.objective(&run.parameters().unwrap()).unwrap();
        assert!((reached / best - 1.0).abs() <= ROUNDING);
        assert_eq!(ending(&model.minimizer().unwrap(), &run).unwrap(), Ending::Unfinished(Stop::Diverged));
    }
}

#[test]
fn starts_beyond_all_bounds_diverge_at_once() {
    let model = model(vec![20, 10, 5], 1, 8, 0.01, true);
    let start = Parameters::gaussian_with_deviations(&model, 1e200, 1e200, &mut rng(0)).unwrap();
    let run = Descent::default().minimize(&model, start).unwrap();
    assert_eq!((run.stop, run.steps), (Stop::Diverged, 0));
}

#[test]
fn observers_see_every_step_and_can_stop() {
    let model = model(vec![20, 10, 5], 2, 8, 0.01, true);
    let start = Parameters::gaussian(&model, 1.0, &mut rng(0)).unwrap();
    let mut seen = Vec::new();
    let run = Descent::default()
        .minimize_observed(&model, start.clone(), |progress| {
            seen.push(progress.record);
            let parameters = progress.parameters().unwrap();
            let objective = model.objective(&parameters).unwrap();
            assert!((objective - progress.record.objective).abs() <= ROUNDING * objective.max(1.0));
            if progress.record.step == 7 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap();
    assert_eq!((run.stop, run.steps), (Stop::Observer, 7));
    assert_eq!(run.trajectory, seen);
    let limited = Descent::default().with_step_limit(7).minimize(&model, start).unwrap();
    assert_eq!((limited.stop, limited.objective), (Stop::StepLimit, run.objective));
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let model =
        Ufm::new(ClassCounts::paper_emnist_letters(), [Layer::new(48, 5e-4), Layer::new(40, 5e-4)], 1e-5).unwrap();
    let start = Parameters::gaussian(&model, 1.0, &mut rng(0)).unwrap();
    for reduced in [true, false] {
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let descent = Descent::default().with_step_limit(30).with_reduction(reduced);
            pool.install(|| descent.minimize(&model, start.clone()).unwrap())
        };
        let one = with(1);
        for threads in [2, 16] {
            let other = with(threads);
            assert!(one.point == other.point && one.trajectory == other.trajectory, "{threads} {reduced}");
        }
    }
}

#[test]
fn options_that_cannot_be_are_refused() {
    let model = model(vec![2, 1], 1, 2, 0.1, true);
    let other = self::model(vec![2, 1], 1, 2, 0.1, false);
    let start = || Parameters::zeros(&model).unwrap();
    assert_eq!(Descent::default().minimize(&other, start()).unwrap_err(), Error::BiasPresence { expected: false });
    let refused = |descent: Descent, name: &str| {
        let error = descent.minimize(&model, start()).unwrap_err();
        assert!(matches!(error, Error::Domain { argument, .. } if argument == name), "{error}");
    };
    for bad in [f64::NAN, f64::INFINITY, -1.0] {
        refused(Descent::default().with_step_size(StepSize::Fixed(bad)), "step size");
        refused(Descent::new(Method::HeavyBall { momentum: bad }), "momentum");
        refused(Descent::default().with_optimum(bad).with_gap_tolerance(0.1), "optimum");
        refused(Descent::default().with_optimum(0.1).with_gap_tolerance(bad), "gap tolerance");
        refused(Descent::default().with_gradient_tolerance(bad), "gradient tolerance");
    }
    refused(Descent::default().with_step_size(StepSize::Fixed(0.0)), "step size");
    refused(Descent::new(Method::HeavyBall { momentum: 1.0 }), "momentum");
    refused(Descent::new(Method::Adam { beta_1: 1.0, beta_2: 0.9, epsilon: 1e-8 }), "beta_1");
    refused(Descent::new(Method::Adam { beta_1: 0.9, beta_2: f64::NAN, epsilon: 1e-8 }), "beta_2");
    refused(Descent::new(Method::Adam { beta_1: 0.9, beta_2: 0.9, epsilon: 0.0 }), "epsilon");
    let stepwise =
        |factor, every| Descent::default().with_step_size(StepSize::Stepwise { initial: 1.0, factor, every });
    refused(stepwise(0.0, 1), "factor of the step size");
    refused(stepwise(0.5, 0), "period of the step size");
    refused(Descent::default().with_step_size(StepSize::Cosine { initial: 1.0, steps: 0 }), "steps of the schedule");
    // A start without samples belongs to the counts that it was drawn for.
    let reduced = Point::gaussian(&self::model(vec![3, 1], 1, 2, 0.1, true), 1.0, &mut rng(0)).unwrap();
    let error = Error::ClassCounts { class: 0, expected: 2, found: 3 };
    assert_eq!(Descent::default().minimize(&model, reduced).unwrap_err(), error);
    // Nor is a narrow one of other widths.
    let wide = self::model(vec![2, 1], 1, 40, 0.1, true);
    let narrow = Point::collapsed(&wide, 1.0, &mut rng(0)).unwrap();
    let error = Descent::default().minimize(&self::model(vec![2, 1], 1, 30, 0.1, true), narrow).unwrap_err();
    assert_eq!(error, Error::Shape { block: Block::Weights(0), expected: (2, 30), found: (2, 40) });
    assert!(
        Point::gaussian(&model, 0.0, &mut rng(0)).is_err() && Point::collapsed(&model, f64::NAN, &mut rng(0)).is_err()
    );
}

//! Theory against descent: it reaches f*, never goes below it, and says honestly where it has come to.

use std::ops::ControlFlow;

use neural_collapse::{
    ClassCounts, Error, Layer, Parameters, Ufm,
    descent::{Descent, Method, StepSize, Stop, Variables},
    metrics::{
        landscape::{Difference, Ending, difference, ending},
        singular_values::singular_value_error,
    },
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

const METHODS: [Method; 3] = [Method::GradientDescent, Method::HeavyBall { momentum: 0.8 }, Method::Nesterov];

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
    let make = if bias { Ufm::biased } else { Ufm::bias_free };
    make(classes, layers, feature_decay).unwrap()
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
        let targets: Vec<f64> =
            minimizer.directions().iter().flat_map(|d| std::iter::repeat_n(d.target, d.multiplicity)).collect();
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
        prop_assert!(singular_value_error(&minimizer, &run.parameters).unwrap() <= 1e-3);
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
            if method == Method::GradientDescent {
                let falling = run.trajectory.windows(2).all(|pair| pair[1].objective <= pair[0].objective * (1.0 + ROUNDING));
                prop_assert!(falling);
            }
            let reached = model.objective(&run.parameters).unwrap();
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
            // Fixed steps: an automatic step may be halved on one side of a rounding error and not on the other.
            let step = if plain { 0.01 } else { 0.02 };
            let descent = Descent::new(method).with_variables(variables).with_step_size(StepSize::Fixed(step)).with_step_limit(60);
            let reduced = descent.minimize(&model, start.clone()).unwrap();
            let full = descent.with_reduction(false).minimize(&model, start.clone()).unwrap();
            prop_assert!(reduced.columns <= full.columns);
            prop_assert_eq!(reduced.steps, full.steps);
            // Steps along a direction of negative curvature amplify rounding, here by e at most (60 steps of 1/60
            // each).
            let close = |a: f64, b: f64| (a - b).abs() <= 1e-11 * a.abs().max(1e-3);
            for (a, b) in reduced.trajectory.iter().zip(&full.trajectory) {
                prop_assert!(close(a.objective, b.objective), "{:?} {:?}", a, b);
            }
            let distance = (reduced.parameters.features() - full.parameters.features()).norm_l2();
            prop_assert!(distance <= 1e-10 * full.parameters.features().norm_l2().max(start.features().norm_l2()));
        }
    }
}

#[test]
fn every_method_reaches_the_minimum_of_the_paper_profile() {
    let model = Ufm::biased(ClassCounts::paper_cifar10(), [Layer::new(32, 5e-3)], 1e-4).unwrap();
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
            assert!(singular_value_error(&minimizer, &run.parameters).unwrap() < 1e-4);
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
fn critical_points_are_told_from_minima() {
    // Zero: a saddle for L = 1, a local minimum for L = 2. All directions are missing, those of equal classes together.
    for depth in [1, 2] {
        let model = model(vec![20, 10, 10, 10], depth, 8, 0.05, false);
        let minimizer = model.minimizer().unwrap();
        let run = Descent::default().minimize(&model, Parameters::zeros(&model).unwrap()).unwrap();
        assert_eq!((run.stop, run.steps), (Stop::Gradient, 0));
        assert!((run.objective - 0.5).abs() <= ROUNDING);
        let Ending::CriticalPoint(Difference { missing, .. }) = ending(&minimizer, &run).unwrap() else {
            panic!("zero is no minimum")
        };
        assert_eq!(missing.iter().map(|&(_, count)| count).collect::<Vec<_>>(), [1, 3]);
    }
    // L = 3 from a start below the balanced level: descent itself ends at zero.
    let model = model(vec![20, 10, 10, 10], 3, 8, 0.05, true);
    let minimizer = model.minimizer().unwrap();
    let start = Parameters::gaussian(&model, 0.05, &mut rng(1)).unwrap();
    let run = Descent::default().with_optimum(minimizer.objective()).minimize(&model, start).unwrap();
    let Ending::CriticalPoint(Difference { missing, .. }) = ending(&minimizer, &run).unwrap() else {
        panic!("zero is no minimum")
    };
    assert_eq!(missing.iter().map(|&(_, count)| count).sum::<usize>(), 3);
    assert_eq!(
        ending(&minimizer, &run).unwrap().to_string(),
        "critical point above the minimum: directions missing 3, in excess 0"
    );
}

#[test]
fn a_local_minimum_beyond_the_threshold_is_no_global_one() {
    // L = 2, q = 1.02 q_2: the minimizer is zero, but a warm start from smaller decays stays at the positive critical
    // point.
    let at = |scale: f64| {
        Ufm::bias_free(ClassCounts::new([10; 4]).unwrap(), [Layer::new(6, 0.01 * scale); 2], 0.01 * scale).unwrap()
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
    let Ending::CriticalPoint(difference) = ending(&minimizer, &run).unwrap() else { panic!("a local minimum") };
    assert_eq!((difference.missing, difference.excess), (vec![], vec![0]));
}

#[test]
fn endings_do_not_trust_the_optimum_they_are_told() {
    let model = model(vec![20, 10, 5], 1, 8, 0.05, true);
    let minimizer = model.minimizer().unwrap();
    let start = Parameters::gaussian(&model, 1.0, &mut rng(0)).unwrap();
    let wrong = Descent::default().with_optimum(10.0 * minimizer.objective()).minimize(&model, start.clone()).unwrap();
    assert_eq!(ending(&minimizer, &wrong).unwrap(), Ending::Unfinished(Stop::Gap));
    let loose = Descent::default().with_optimum(minimizer.objective()).with_gap_tolerance(0.5);
    let run = loose.minimize(&model, start).unwrap();
    assert_eq!(ending(&minimizer, &run).unwrap(), Ending::Unfinished(Stop::Gap));
    // At a minimizer nothing is missing and nothing in excess, whatever the width cuts.
    for width in 1..4 {
        let narrow = Ufm::bias_free(ClassCounts::new([9, 9, 4]).unwrap(), [Layer::new(width, 0.01)], 0.01).unwrap();
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
fn a_saddle_between_the_minima_is_told_by_what_it_misses() {
    // The minimizer of the same model of width 1, in a corner of the wide one: critical, with one direction of three.
    let wide = model(vec![20, 10, 10, 10], 1, 8, 0.05, true);
    let narrow = Ufm::biased(
        wide.class_counts().unwrap().clone(),
        [Layer::new(1, wide.layers()[0].decay)],
        wide.feature_decay(),
    )
    .unwrap();
    let corner = narrow.minimizer().unwrap().parameters().unwrap();
    let (mut weights, mut features, bias) = Parameters::zeros(&wide).unwrap().into_parts();
    weights[0].col_mut(0).copy_from(corner.weights()[0].col(0));
    features.row_mut(0).copy_from(corner.features().row(0));
    let saddle = Parameters::new(&wide, weights, features, bias.map(|_| corner.bias().unwrap().to_owned())).unwrap();
    let run = Descent::default().minimize(&wide, saddle).unwrap();
    assert_eq!((run.stop, run.steps), (Stop::Gradient, 0));
    let Ending::CriticalPoint(Difference { missing, .. }) = ending(&wide.minimizer().unwrap(), &run).unwrap() else {
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
        let reached = model.objective(&run.parameters).unwrap();
        assert!((reached / best - 1.0).abs() <= ROUNDING);
        assert_eq!(ending(&model.minimizer().unwrap(), &run).unwrap(), Ending::Unfinished(Stop::Diverged));
    }
}

#[test]
fn starts_beyond_all_bounds_diverge_at_once() {
    let model = model(vec![20, 10, 5], 1, 8, 0.01, true);
    let start = Parameters::normal(&model, 1e200, 1e200, &mut rng(0)).unwrap();
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
        Ufm::biased(ClassCounts::paper_emnist_letters(), [Layer::new(48, 5e-4), Layer::new(40, 5e-4)], 1e-5).unwrap();
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
            assert!(one.parameters == other.parameters && one.trajectory == other.trajectory, "{threads} {reduced}");
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
}

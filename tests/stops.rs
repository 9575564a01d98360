//! Every reason to stop is given where it holds, and only there.

use neural_collapse::{
    ClassCounts, Layer, Parameters, Ufm,
    critical::{Ending, ending},
    descent::{Descent, Method, Run, StepSize, Stop},
};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

const METHODS: [Method; 4] =
    [Method::GradientDescent, Method::HeavyBall { momentum: 0.9 }, Method::Nesterov, Method::LBFGS];

fn ufm(depth: usize) -> Ufm {
    Ufm::new(ClassCounts::new([10, 5, 5]).unwrap(), vec![Layer::new(4, 1e-2); depth], 1e-2).unwrap()
}

fn start(ufm: &Ufm) -> Parameters {
    Parameters::gaussian(ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0)).unwrap()
}

/// A descent that has no other end than its steps.
fn endless(method: Method) -> Descent {
    Descent::new(method).with_gradient_tolerance(0.0).with_step_limit(1_000_000)
}

fn run(descent: Descent, ufm: &Ufm) -> Run {
    descent.minimize(ufm, start(ufm)).unwrap()
}

#[test]
fn a_run_that_has_converged_stalls_without_a_tolerance() {
    for depth in 1..4 {
        let ufm = ufm(depth);
        for method in METHODS {
            for rule in [StepSize::Automatic, StepSize::Fixed(0.01)] {
                if method == Method::LBFGS && rule != StepSize::Automatic {
                    continue;
                }
                let run = run(endless(method).with_step_size(rule), &ufm);
                assert_eq!(run.stop, Stop::Stalled, "{depth} {method:?} {rule:?} {}", run.steps);
                assert!(run.steps < 20_000, "{depth} {method:?} {rule:?} {}", run.steps);
                // Not before the gradient is rounding: of x, some units in size, times the curvature, some units too.
                assert!(run.gradient_norm <= 1e-13, "{depth} {method:?} {rule:?} {:e}", run.gradient_norm);
            }
        }
    }
}

/// The best point by an epsilon of its objective could have a gradient that is thousands of times larger.
#[test]
fn a_small_gradient_is_that_of_the_point_with_given_steps_too() {
    let ufm = ufm(1);
    for method in METHODS {
        let run = run(endless(method).with_step_size(StepSize::Fixed(0.01)).with_gradient_tolerance(1e-11), &ufm);
        assert_eq!(run.stop, Stop::Gradient, "{method:?}");
        assert!(run.gradient_norm <= 1e-11 * run.objective.sqrt(), "{method:?} {:e}", run.gradient_norm);
    }
}

/// Its gradient stays below the rounding of the objective's for thousands of steps, but grows.
#[test]
fn a_run_that_leaves_a_saddle_does_not_stall() {
    let ufm = Ufm::new(ClassCounts::new([10, 5, 5]).unwrap(), [Layer::new(4, 1e-2)], 1e-2).unwrap().without_bias();
    let near = Parameters::gaussian(&ufm, 1e-14, &mut Xoshiro256PlusPlus::seed_from_u64(0)).unwrap();
    let optimum = ufm.minimizer().unwrap().objective();
    for method in METHODS {
        for rule in [StepSize::Automatic, StepSize::Fixed(1e-3)] {
            let descent = endless(method).with_step_size(rule).with_optimum(optimum);
            let run = descent.minimize(&ufm, near.clone()).unwrap();
            assert_eq!(run.stop, Stop::Gap, "{method:?} {rule:?} {} {:e}", run.steps, run.objective);
        }
    }
}

#[test]
fn steps_too_short_for_the_point_stall() {
    // Neither bias nor reduction: no step is too short to change an entry that is zero.
    let ufm = Ufm::new(ClassCounts::new([10, 5, 5]).unwrap(), [Layer::new(4, 1e-2); 2], 1e-2).unwrap().without_bias();
    for method in [Method::GradientDescent, Method::HeavyBall { momentum: 0.9 }, Method::Nesterov, Method::ADAM] {
        let run = run(endless(method).with_reduction(false).with_step_size(StepSize::Fixed(1e-30)), &ufm);
        assert_eq!((run.stop, run.steps), (Stop::Stalled, 1001), "{method:?}");
        assert!(run.gradient_norm > 1e-3);
    }
    let run = run(endless(Method::Adam { beta_1: 0.9, beta_2: 0.999, epsilon: 1e30 }).with_reduction(false), &ufm);
    assert_eq!((run.stop, run.steps), (Stop::Stalled, 1001));
}

/// Lengths that are tried along the negative gradient begin at 4 f/‖∇f‖², which is beyond the largest number here.
#[test]
fn a_search_from_a_gradient_whose_square_is_almost_zero_comes_to_an_end() {
    let ufm = ufm(1).without_bias();
    for scale in [1e-155, 1e-158, 1e-160] {
        let near = Parameters::gaussian(&ufm, scale, &mut Xoshiro256PlusPlus::seed_from_u64(0)).unwrap();
        let run = endless(Method::LBFGS).minimize(&ufm, near).unwrap();
        assert_eq!((run.stop, run.steps), (Stop::Stalled, 0), "{scale}");
    }
}

#[test]
fn slow_runs_do_not_stall() {
    let ufm = ufm(2);
    for method in [Method::GradientDescent, Method::HeavyBall { momentum: 0.9 }, Method::Nesterov] {
        // The objective falls by an epsilon of it in some steps, and stands still in the others.
        let run = run(endless(method).with_step_size(StepSize::Fixed(1e-15)).with_step_limit(5000), &ufm);
        assert_eq!(run.stop, Stop::StepLimit, "{method:?}");
    }
}

#[test]
fn a_schedule_that_is_over_ends_the_run() {
    let ufm = ufm(1);
    let cosine = |steps| StepSize::Cosine { initial: 0.05, steps };
    for method in METHODS.into_iter().chain([Method::ADAM]) {
        let descent = Descent::new(method).with_gradient_tolerance(0.0).with_step_size(cosine(10));
        let run = run(descent, &ufm);
        assert_eq!((run.stop, run.steps), (Stop::ScheduleEnd, 10), "{method:?}");
        let ending = ending(&ufm.minimizer().unwrap(), &run).unwrap();
        assert_eq!(ending, Ending::Unfinished(Stop::ScheduleEnd));
        assert_eq!(ending.to_string(), "end of the schedule of step sizes");
    }
    // More steps would not help, but a limit before the end is a limit.
    let limited = |limit| run(Descent::default().with_step_size(cosine(10)).with_step_limit(limit), &ufm).stop;
    assert_eq!((limited(9), limited(10)), (Stop::StepLimit, Stop::ScheduleEnd));
    // 0.1^k rounds to zero at the latest where the numbers end.
    let stepwise = StepSize::Stepwise { initial: 1e-300, factor: 0.1, every: 1 };
    let run = run(Descent::default().with_step_size(stepwise), &ufm);
    assert_eq!((run.stop, run.steps), (Stop::ScheduleEnd, 24));
}

#[test]
fn an_optimum_of_another_model_is_reported() {
    let ufm = ufm(1);
    let (optimum, first) = (ufm.minimizer().unwrap().objective(), ufm.objective(&start(&ufm)).unwrap());
    // Above the objective at the start, and between.
    for (wrong, steps) in [(12.0 * first, 0..1), (0.5 * (first + optimum), 1..1000)] {
        let run = run(Descent::default().with_optimum(wrong), &ufm);
        assert_eq!(run.stop, Stop::BelowOptimum);
        assert!(steps.contains(&run.steps) && run.gap.unwrap() < 0.0);
    }
    let run = run(Descent::default().with_optimum(12.0 * first), &ufm);
    let ending = ending(&ufm.minimizer().unwrap(), &run).unwrap();
    assert_eq!(ending.to_string(), "below the optimum given, which is not that of this model");
}

#[test]
fn gaps_that_are_rounding_are_no_lower_optimum() {
    let ufm = ufm(2);
    let minimizer = ufm.minimizer().unwrap();
    for seed in 0..20 {
        let start = minimizer.random_parameters(&mut Xoshiro256PlusPlus::seed_from_u64(seed)).unwrap();
        let optimum = minimizer.objective() * (1.0 + 1e-12);
        let run = Descent::default().with_optimum(optimum).with_gap_tolerance(0.0).minimize(&ufm, start).unwrap();
        assert_eq!((run.stop, run.steps), (Stop::Gap, 0), "{:?}", run.gap);
    }
}

/// Squares of the gradient leave the range of numbers before the objective does.
#[test]
fn starts_with_gradients_beyond_all_bounds_diverge_at_once() {
    let ufm = ufm(3);
    let start =
        Parameters::gaussian_with_deviations(&ufm, 1e36, 1e36, &mut Xoshiro256PlusPlus::seed_from_u64(0)).unwrap();
    for method in METHODS.into_iter().chain([Method::ADAM]) {
        let run = Descent::new(method).minimize(&ufm, start.clone()).unwrap();
        assert!(run.objective.is_finite());
        assert_eq!((run.stop, run.steps), (Stop::Diverged, 0), "{method:?}");
    }
}

//! A run that is broken off and goes on is the unbroken run, to the last bit.

use std::ops::ControlFlow;

use neural_collapse::{
    Block, ClassCounts, Error, Layer, Parameters, Point, Targets, Ufm,
    descent::{Descent, Method, Progress, Run, State, StepSize, Stop, Trajectory, Variables},
    faer::Mat,
};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

#[track_caller]
fn assert_same(one: &Run, other: &Run) {
    let ends = |run: &Run| (run.stop, run.steps, run.evaluations, run.objective, run.gradient_norm, run.gap);
    assert_eq!(ends(one), ends(other));
    assert_eq!(one.trajectory, other.trajectory);
    // Points and states, without their numbers in a message.
    assert!(one == other);
}

/// The run up to a limit, broken off after each of these numbers of steps, by turns at a step limit and by an observer.
fn in_parts(descent: &Descent, ufm: &Ufm, start: impl Into<State>, breaks: &[usize], limit: usize) -> Run {
    let mut state: State = start.into();
    for (i, &at) in breaks.iter().enumerate() {
        let run = if i % 2 == 0 {
            descent.with_step_limit(at).minimize(ufm, state).unwrap()
        } else {
            let observer = |progress: &Progress<'_>| {
                if progress.record.step < at { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            };
            descent.with_step_limit(limit).minimize_observed(ufm, state, observer).unwrap()
        };
        match run.state {
            Some(broken) => {
                assert!(run.stop.can_go_on());
                assert_eq!(broken.steps(), run.steps);
                // A limit that has been reached lets the run go no further, and leaves it as it is.
                let limited = descent.with_step_limit(run.steps);
                let stopped = limited.minimize(ufm, broken.clone()).unwrap();
                assert!(stopped.state == Some(broken.clone()) || !stopped.stop.can_go_on());
                state = broken;
            }
            // The run was over before.
            None => return run,
        }
    }
    descent.with_step_limit(limit).minimize(ufm, state).unwrap()
}

fn any_method() -> impl Strategy<Value = Method> {
    prop_oneof![
        Just(Method::GradientDescent),
        (0.0..0.99_f64).prop_map(|momentum| Method::HeavyBall { momentum }),
        Just(Method::Nesterov),
        (0_usize..6).prop_map(|memory| Method::Lbfgs { memory }),
        Just(Method::ADAM),
        Just(Method::Adam { beta_1: 0.5, beta_2: 0.9, epsilon: 1e-3 }),
    ]
}

/// From steps that are far too short to steps that diverge.
fn any_rule() -> impl Strategy<Value = StepSize> {
    let size = || (-6.0..0.5_f64).prop_map(|exponent| 10_f64.powf(exponent));
    prop_oneof![
        3 => Just(StepSize::Automatic),
        2 => size().prop_map(StepSize::Fixed),
        1 => (size(), 1_usize..20).prop_map(|(initial, every)| StepSize::Stepwise { initial, factor: 0.5, every }),
        1 => (size(), 1_usize..80).prop_map(|(initial, steps)| StepSize::Cosine { initial, steps }),
    ]
}

fn any_trajectory() -> impl Strategy<Value = Trajectory> {
    prop_oneof![Just(Trajectory::All), (1_usize..9).prop_map(Trajectory::Every), Just(Trajectory::Off)]
}

proptest! {
    #[test]
    fn broken_runs_go_on_to_the_same_bits(
        counts in prop::collection::vec(1_u64..12, 1..5),
        widths in prop::collection::vec(1_usize..12, 1..4),
        log_decay in -10.0..-0.5_f64,
        log_scale in -1.0..3.0_f64,
        (bias, plain, reduced) in any::<(bool, bool, bool)>(),
        form in 0..4,
        method in any_method(),
        rule in any_rule(),
        trajectory in any_trajectory(),
        mut breaks in prop::collection::vec(0_usize..120, 0..4),
        seed: u64,
    ) {
        let classes = ClassCounts::new(counts).unwrap();
        let targets = if form == 0 {
            Targets::matrix(Mat::from_fn(3, 7, |i, j| (i as f64 - 1.0) * j as f64 / 3.0)).unwrap()
        } else {
            classes.into()
        };
        let layers: Vec<_> = widths.iter().map(|&width| Layer::new(width, 10_f64.powf(log_decay))).collect();
        let ufm = Ufm::new(targets, layers, 0.3 * 10_f64.powf(log_decay)).unwrap().with_bias(bias);
        let (scale, mut random) = (10_f64.powf(log_scale), rng(seed));
        let start = match form {
            1 => Point::gaussian(&ufm, scale, &mut random).unwrap(),
            2 => Point::collapsed(&ufm, scale, &mut random).unwrap(),
            _ => Parameters::gaussian(&ufm, scale, &mut random).unwrap().into(),
        };
        let descent = Descent::new(method)
            .with_variables(if plain { Variables::Plain } else { Variables::Balanced })
            .with_reduction(reduced)
            .with_step_size(rule)
            .with_gradient_tolerance(1e-4)
            .with_trajectory(trajectory);
        let unbroken = descent.with_step_limit(120).minimize(&ufm, start.clone()).unwrap();
        breaks.sort_unstable();
        let broken = in_parts(&descent, &ufm, start, &breaks, 120);
        assert_same(&broken, &unbroken);
        // `==` takes zeros of both signs for equal, and what is written does not.
        let (broken, unbroken) = (format!("{broken:?}"), format!("{unbroken:?}"));
        prop_assert!(broken == unbroken);
    }
}

/// Blocks that are worth more than one thread, panel and part, and layers with a waist, on all samples and reduced.
#[test]
fn large_broken_runs_go_on_to_the_same_bits() {
    for (widths, threads) in [(vec![70], 2), (vec![90, 5, 40], 1)] {
        let layers: Vec<_> = widths.into_iter().map(|width| Layer::new(width, 5e-4)).collect();
        let ufm = Ufm::new("150x6,100x5,50x4".parse::<ClassCounts>().unwrap(), layers, 1e-5).unwrap();
        let start = Parameters::gaussian(&ufm, 1.0, &mut rng(0)).unwrap();
        for &method in Method::ALL {
            for reduced in [true, false] {
                let descent = Descent::new(method).with_reduction(reduced);
                let unbroken = descent.with_step_limit(24).minimize(&ufm, &start).unwrap();
                // The parts on another number of threads.
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let broken = pool.install(|| in_parts(&descent, &ufm, &start, &[7, 15], 24));
                assert_same(&broken, &unbroken);
            }
        }
    }
}

fn small() -> Ufm {
    Ufm::new(ClassCounts::new([10, 5, 5]).unwrap(), [Layer::new(4, 1e-2); 2], 1e-2).unwrap()
}

fn start(ufm: &Ufm) -> Parameters {
    Parameters::gaussian(ufm, 1.0, &mut rng(0)).unwrap()
}

/// What a run remembers of how it goes, over thousands of steps, and at the very step at which it stalls.
#[test]
fn broken_runs_stall_where_unbroken_ones_do() {
    let ufm = small().without_bias();
    let mut random = rng(1);
    for (method, rule) in [
        (Method::Nesterov, StepSize::Automatic),
        (Method::GradientDescent, StepSize::Automatic),
        (Method::HEAVY_BALL, StepSize::Fixed(0.01)),
        (Method::Nesterov, StepSize::Fixed(1e-30)),
        (Method::LBFGS, StepSize::Automatic),
        (Method::ADAM, StepSize::Fixed(1e-30)),
    ] {
        let descent = Descent::new(method).with_reduction(false).with_step_size(rule).with_gradient_tolerance(0.0);
        let unbroken = descent.with_step_limit(1_000_000).minimize(&ufm, start(&ufm)).unwrap();
        assert_eq!(unbroken.stop, Stop::Stalled, "{method:?} {rule:?}");
        let mut breaks: Vec<_> = (0..6).map(|_| random.random_range(0..=unbroken.steps)).collect();
        breaks.extend([unbroken.steps, unbroken.steps]);
        breaks.sort_unstable();
        assert_same(&in_parts(&descent, &ufm, start(&ufm), &breaks, 1_000_000), &unbroken);
    }
}

/// Steps that are too long: the best point lies before the last one, and before the break.
#[test]
fn the_best_point_before_a_break_is_not_forgotten() {
    let ufm = small();
    for method in [Method::GradientDescent, Method::HEAVY_BALL, Method::Nesterov, Method::ADAM] {
        let rule = StepSize::Fixed(if method == Method::ADAM { 3.0 } else { 0.9 });
        let descent = Descent::new(method).with_step_size(rule);
        let mut tested = false;
        for limit in 2..60 {
            let unbroken = descent.with_step_limit(limit).minimize(&ufm, start(&ufm)).unwrap();
            let last = unbroken.trajectory[unbroken.steps].objective;
            tested |= unbroken.objective < 0.99 * last;
            assert_same(&in_parts(&descent, &ufm, start(&ufm), &[limit / 2, limit - 1], limit), &unbroken);
        }
        assert!(tested, "{method:?} never rises");
    }
}

/// Every step is the first one after a break.
#[test]
fn observers_see_every_point_once() {
    let ufm = small();
    for &method in Method::ALL {
        let descent = Descent::new(method).with_gradient_tolerance(0.0).with_trajectory(Trajectory::Off);
        let descent = descent.with_step_limit(2500);
        let mut seen = Vec::new();
        let mut state = State::from(start(&ufm));
        assert_eq!((state.steps(), state.point()), (0, &Point::from(start(&ufm))));
        let run = loop {
            let observer = |progress: &Progress<'_>| {
                seen.push((progress.record, progress.step_size));
                ControlFlow::Break(progress.record.step)
            };
            let (run, found) = descent.minimize_until(&ufm, state, observer).unwrap();
            match run.state {
                // The last break is that at the limit.
                Some(broken) if run.stop == Stop::Observer => {
                    assert_eq!((found, broken.steps()), (Some(run.steps), run.steps));
                    state = broken;
                }
                _ => break run,
            }
        };
        let mut whole = Vec::new();
        let observer = |progress: &Progress<'_>| {
            whole.push((progress.record, progress.step_size));
            ControlFlow::Continue(())
        };
        assert_same(&run, &descent.minimize_observed(&ufm, start(&ufm), observer).unwrap());
        assert!(seen == whole && seen.len() == run.steps + 1, "{method:?}");
    }
}

#[test]
fn observers_break_with_a_value_of_their_own() {
    let ufm = small();
    let search = |goal: f64| {
        Descent::default()
            .minimize_until(&ufm, start(&ufm), |progress| {
                if progress.record.objective <= goal {
                    ControlFlow::Break(format!("step {}", progress.record.step))
                } else {
                    ControlFlow::Continue(())
                }
            })
            .unwrap()
    };
    let unbroken = Descent::default().minimize(&ufm, start(&ufm)).unwrap();
    let goal = 0.5 * (unbroken.objective + unbroken.trajectory[0].objective);
    let first = unbroken.trajectory.iter().position(|record| record.objective <= goal).unwrap();
    let (run, found) = search(goal);
    assert_eq!((run.stop, run.steps, found), (Stop::Observer, first, Some(format!("step {first}"))));
    // Not reached: the run ends for its own reasons.
    let (run, found) = search(0.0);
    assert!(found.is_none() && run == unbroken);
    // A value at a point that ends the run for another reason comes back too.
    let (run, found) = search(unbroken.objective);
    assert!(run.stop == Stop::Observer || found.is_some());
    let last =
        Descent::default().with_gradient_tolerance(1e9).minimize_until(&ufm, start(&ufm), |_| ControlFlow::Break(7));
    let (run, found) = last.unwrap();
    assert_eq!((run.stop, run.state, found), (Stop::Gradient, None, Some(7)));
}

#[test]
fn trajectories_are_thinned_or_off() {
    let ufm = small();
    for &method in Method::ALL {
        let descent = Descent::new(method).with_gradient_tolerance(0.0);
        for steps in [0, 1, 6, 7, 8, 23] {
            let with = |trajectory| {
                descent.with_step_limit(steps).with_trajectory(trajectory).minimize(&ufm, start(&ufm)).unwrap()
            };
            let all = with(Trajectory::All);
            assert_eq!((all.steps, all.trajectory.len()), (steps, steps + 1));
            for stride in [1, 2, 7, 100] {
                let thinned = with(Trajectory::Every(stride));
                let kept = all.trajectory.iter().filter(|record| record.step % stride == 0 || record.step == steps);
                assert_eq!(thinned.trajectory, kept.copied().collect::<Vec<_>>(), "{stride} {steps}");
                assert_eq!(thinned.trajectory.len(), steps.div_ceil(stride) + 1);
                assert_eq!((thinned.steps, &thinned.point), (all.steps, &all.point));
            }
            let off = with(Trajectory::Off);
            assert!(off.trajectory.is_empty() && off.trajectory.capacity() == 0);
            assert_eq!((off.steps, off.evaluations, &off.point), (all.steps, all.evaluations, &all.point));
        }
    }
    let error = Descent::default().with_trajectory(Trajectory::Every(0)).minimize(&ufm, start(&ufm)).unwrap_err();
    assert_eq!(error.to_string(), "stride of the trajectory: 0.0 given, accepted: at least 1");
}

#[test]
fn criteria_may_change_at_a_break() {
    let ufm = small();
    let optimum = ufm.minimizer().unwrap().objective();
    for method in [Method::GradientDescent, Method::HEAVY_BALL, Method::Nesterov, Method::LBFGS] {
        let descent = Descent::new(method).with_gradient_tolerance(0.0);
        let state = || descent.with_step_limit(20).minimize(&ufm, start(&ufm)).unwrap().state.unwrap();
        // A limit that is already behind.
        let run = descent.with_step_limit(3).minimize(&ufm, state()).unwrap();
        assert_eq!((run.stop, run.steps), (Stop::StepLimit, 20));
        let run = descent.with_optimum(optimum).minimize(&ufm, state()).unwrap();
        assert_eq!(run.stop, Stop::Gap, "{method:?}");
        let run = descent.with_optimum(2.0 * run.trajectory[20].objective).minimize(&ufm, state()).unwrap();
        assert_eq!((run.stop, run.steps), (Stop::BelowOptimum, 20));
        // A gradient that was too large is small enough now: what counts is the one at the point, not ahead of it.
        let tolerance = 2.0 * run.gradient_norm / run.objective.sqrt();
        let run = descent.with_gradient_tolerance(tolerance).minimize(&ufm, state()).unwrap();
        assert_eq!((run.stop, run.steps), (Stop::Gradient, 20), "{method:?}");
        let point = run.point.clone();
        let there = Descent::new(method).with_gradient_tolerance(tolerance).minimize(&ufm, point).unwrap();
        // A gradient of one pass over the same columns, and one of a walk that begins there: sums of 20 terms.
        assert!((there.gradient_norm / run.gradient_norm - 1.0).abs() <= 1e-10, "{method:?}");
        assert_eq!(run.trajectory[20].gradient_norm, run.gradient_norm);
    }
}

#[test]
fn states_of_other_runs_are_refused() {
    let ufm = small();
    let descent = Descent::default().with_step_limit(5);
    let state = || descent.minimize(&ufm, start(&ufm)).unwrap().state.unwrap();
    let on = |ufm: &Ufm| descent.minimize(ufm, state()).unwrap_err();
    let model = |counts: [u64; 3], decays: [f64; 2], width, feature_decay| {
        let layers = decays.map(|decay| Layer::new(width, decay));
        Ufm::new(ClassCounts::new(counts).unwrap(), layers, feature_decay).unwrap()
    };
    assert!(descent.minimize(&model([10, 5, 5], [1e-2; 2], 4, 1e-2), state()).is_ok());
    let counts = Error::ClassCounts { class: 0, expected: 5, found: 10 };
    assert_eq!(on(&model([5, 10, 5], [1e-2; 2], 4, 1e-2)), counts);
    let shape = Error::Shape { block: Block::Weights(0), expected: (5, 5), found: (4, 4) };
    assert_eq!(on(&model([10, 5, 5], [1e-2; 2], 5, 1e-2)), shape);
    assert_eq!(on(&ufm.clone().without_bias()), Error::BiasPresence { expected: false });
    let layers = Ufm::new(ClassCounts::new([10, 5, 5]).unwrap(), [Layer::new(4, 1e-2)], 1e-2).unwrap();
    assert_eq!(on(&layers), Error::LayerCount { expected: 1, found: 2 });
    // The same shapes: what differs is named, with both values.
    let says = |error: Error, words: [&str; 3]| {
        let message = error.to_string();
        assert!(matches!(error, Error::OtherState { .. }), "{message}");
        assert!(words.iter().all(|word| message.contains(word)), "{message} does not say {words:?}");
    };
    says(on(&model([10, 5, 5], [1e-2, 3e-2], 4, 1e-2)), ["layers", "0.03", "0.01"]);
    says(on(&model([10, 5, 5], [1e-2; 2], 4, 2e-2)), ["feature decay is 0.01", "expected 0.02", "accepted"]);
    let smoothed = Targets::smoothed(ClassCounts::new([10, 5, 5]).unwrap(), 0.1).unwrap();
    says(on(&Ufm::new(smoothed, [Layer::new(4, 1e-2); 2], 1e-2).unwrap()), ["targets", "others", "accepted"]);

    let by = |descent: Descent| descent.minimize(&ufm, state()).unwrap_err();
    says(by(Descent::new(Method::LBFGS)), ["method is Nesterov", "expected Lbfgs", "10"]);
    says(by(Descent::new(Method::HEAVY_BALL)), ["method is Nesterov", "HeavyBall", "0.9"]);
    says(by(descent.with_variables(Variables::Plain)), ["variables is balanced", "expected plain", "accepted"]);
    says(by(descent.with_step_size(StepSize::Fixed(0.1))), ["step size is Automatic", "Fixed(0.1)", "accepted"]);
    says(by(descent.with_reduction(false)), ["reduction is true", "expected false", "accepted"]);
}

//! Starts of any size and decays of any size: every method goes down from its first automatic step on.

use neural_collapse::{
    ClassCounts, Layer, Parameters, Point, Ufm,
    critical::{Ending, ending},
    descent::{Descent, Method, Record, Run, Stop, Variables},
    faer::{Mat, Scale},
};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

const METHODS: [Method; 5] =
    [Method::GradientDescent, Method::HeavyBall { momentum: 0.9 }, Method::Nesterov, Method::LBFGS, Method::ADAM];

/// Steps of a run of the sweep.
const STEPS: usize = 200;

/// Differences of objectives below this share of them are rounding: that of the descent, 16 epsilons, at the point and
/// at the one beyond, and that of the reference, which sums at most a thousand terms.
const ROUNDING: f64 = (2.0 * 16.0 + 2.0 * 32.0) * f64::EPSILON;

/// Roundings behind an entry of the prediction: seven products of matrices at most, each a sum of six terms.
const ROUNDINGS: f64 = 7.0 * 6.0;

fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// The point `length` times the negative gradient of `variables` away.
fn downhill(ufm: &Ufm, variables: Variables, point: &Parameters, gradient: &Parameters, length: f64) -> Parameters {
    let scale = |decay: f64| if variables == Variables::Balanced { -length / decay } else { -length };
    let (mut weights, mut features, bias) = point.clone().into_parts();
    for (layer, (weights, gradient)) in ufm.layers().iter().zip(weights.iter_mut().zip(gradient.weights())) {
        *weights += Scale(scale(layer.decay)) * gradient;
    }
    features += Scale(scale(ufm.feature_decay())) * gradient.features();
    let bias = bias.map(|bias| bias + Scale(-length) * gradient.bias().unwrap());
    Parameters::new(ufm, weights, features, bias).unwrap()
}

/// By how much the best of many steps along the negative gradient lowers f: a line search of its own, on the reference
/// objective and gradient.
fn best_decrease(ufm: &Ufm, variables: Variables, point: &Parameters) -> f64 {
    let (objective, gradient) = ufm.objective_and_gradient(point).unwrap();
    // From a length that is too long for any model, by halves to one that changes nothing. None is 1/λ itself: that takes
    // a block to zero exactly, and over any wall.
    let longest = 3.0 / ufm.layers().iter().map(|layer| layer.decay).fold(ufm.feature_decay(), f64::min);
    let lengths = (0..400).map(|k| longest * 0.5_f64.powi(k));
    let reached = |length| {
        let there = downhill(ufm, variables, point, &gradient, length);
        ufm.objective(&there).unwrap_or(f64::INFINITY)
    };
    objective - lengths.map(reached).filter(|f| !f.is_nan()).fold(objective, f64::min)
}

/// The point with every variable changed by an epsilon of the largest of its block, up or down: the descent works on
/// features that are rotated, where last bits are those of the largest.
fn nudged(ufm: &Ufm, point: &Parameters, seed: u64) -> Parameters {
    let mut random = rng(seed);
    let (mut weights, mut features, bias) = point.clone().into_parts();
    for block in weights.iter_mut().chain([&mut features]) {
        let change = f64::EPSILON * block.norm_max();
        for column in block.col_iter_mut() {
            column.iter_mut().for_each(|entry| *entry += if random.random() { change } else { -change });
        }
    }
    Parameters::new(ufm, weights, features, bias).unwrap()
}

/// What rounding makes of f at a point: `ROUNDING` of it, and what the product W_{L:1} H loses, δ = 42 ε ‖W_L‖ ··· ‖W_1‖ ‖H‖
/// at most (Higham 2002, section 3.5), through ‖E‖²/(2N): ‖E‖ δ/N + δ²/(2N).
///
/// That is far more where large products cancel: from a start 1e8 times too large the first steps bring the prediction
/// near the targets, 1e40 minus 1e40 for many layers, and f is not known to better than itself.
fn rounding(ufm: &Ufm, point: &Parameters) -> f64 {
    let (objective, samples) = (ufm.objective(point).unwrap(), ufm.samples() as f64);
    let norms: f64 = point.weights().iter().map(Mat::norm_l2).product();
    let loss = ROUNDINGS * f64::EPSILON * norms * point.features().norm_l2();
    ROUNDING * objective + (2.0 * objective / samples).sqrt() * loss + loss * loss / (2.0 * samples)
}

/// Whether the second half of a run is lower than the first: in its least objective or gradient, or in its highest
/// objective if the method swings.
fn goes_down(run: &Run, swings: bool) -> bool {
    let (first, second) = run.trajectory.split_at(run.trajectory.len() / 2);
    let extreme = |records: &[Record], value: fn(&Record) -> f64, choose: fn(f64, f64) -> f64| {
        records.iter().map(value).reduce(choose).unwrap()
    };
    let falls = |value: fn(&Record) -> f64, choose| extreme(second, value, choose) < extreme(first, value, choose);
    falls(|record| record.objective, f64::min)
        || falls(|record| record.gradient_norm, f64::min)
        || swings && falls(|record| record.objective, f64::max)
}

/// Whether no step along the negative gradient of the last point lowers f by more than rounding; or of that point with
/// other last bits: a way down that rounding takes away is none.
fn cannot_go_down(ufm: &Ufm, variables: Variables, run: &Run) -> bool {
    let point = run.parameters().unwrap();
    let rounding = rounding(ufm, &point);
    let mut points = std::iter::once(point.clone()).chain((0..4).map(|seed| nudged(ufm, &point, seed)));
    points.any(|point| best_decrease(ufm, variables, &point) <= rounding)
}

/// Whether the gradient of the last point is no larger than what roundings make of it.
fn gradient_is_rounding(ufm: &Ufm, variables: Variables, run: &Run) -> bool {
    let point = run.parameters().unwrap();
    let gradient = |point: &Parameters| {
        let (mut weights, features, bias) = ufm.objective_and_gradient(point).unwrap().1.into_parts();
        let scale = |decay: f64| Scale(if variables == Variables::Balanced { decay.powf(-0.5) } else { 1.0 });
        weights.iter_mut().zip(ufm.layers()).for_each(|(weights, layer)| *weights *= scale(layer.decay));
        let bias = bias.map(|bias| bias.as_mat().to_owned());
        weights.into_iter().chain([features * scale(ufm.feature_decay())]).chain(bias).collect::<Vec<_>>()
    };
    let here = gradient(&point);
    let square: f64 = here.iter().map(Mat::squared_norm_l2).sum();
    (0..8).any(|seed| {
        let there = gradient(&nudged(ufm, &point, seed));
        let change: f64 = here.iter().zip(&there).map(|(here, there)| (here - there).squared_norm_l2()).sum();
        ROUNDINGS * change.sqrt() >= square.sqrt()
    })
}

/// What [`Stop::Stalled`] says.
fn has_stalled(ufm: &Ufm, variables: Variables, run: &Run) -> bool {
    gradient_is_rounding(ufm, variables, run) || cannot_go_down(ufm, variables, run)
}

/// A run ends at the optimum, at a critical point that is named rightly, or at its step limit while still going down.
fn check(
    ufm: &Ufm,
    variables: Variables,
    method: Method,
    start: &Parameters,
    descent: &Descent,
) -> Result<(), TestCaseError> {
    let run = &descent.minimize(ufm, start.clone()).unwrap();
    let minimizer = ufm.minimizer().unwrap();
    let finite = run.trajectory.iter().all(|record| record.objective.is_finite() && record.gradient_norm.is_finite());
    prop_assert!(finite, "{method:?}");
    prop_assert!(run.objective <= run.trajectory[0].objective * (1.0 + ROUNDING), "{method:?}");
    match run.stop {
        Stop::Gap => prop_assert!(run.gap.unwrap() <= 1e-10),
        Stop::Gradient => {
            let ending = ending(&minimizer, run).unwrap();
            let is_named = match ending {
                Ending::GlobalMinimum => run.gap.unwrap() <= 1e-8,
                Ending::StrictSaddle(_) => true,
                // One layer has none. But where a decay λ is the only curvature, a gradient in plain variables of 1e-9 √f
                // leaves a gap of 1e-18 f/(2λ), which can be more than what is called the minimum.
                Ending::LocalMinimizer(_) => {
                    let least = ufm.layers().iter().map(|layer| layer.decay).fold(ufm.feature_decay(), f64::min);
                    let gap = 1e-18 * run.objective / (2.0 * least.min(1.0));
                    ufm.depth() > 1 || variables == Variables::Plain && run.objective - minimizer.objective() <= gap
                }
                _ => false,
            };
            prop_assert!(is_named, "{method:?} {ending}");
        }
        Stop::StepLimit => {
            let swings = matches!(method, Method::HeavyBall { .. } | Method::Adam { .. });
            if !goes_down(run, swings) && !has_stalled(ufm, variables, run) {
                // A start far below the balanced level is on a plateau, where products of many small layers have next to no
                // gradient: a run stands still for thousands of steps, and then goes on.
                let longer = descent.with_step_limit(100_000).minimize(ufm, start.clone()).unwrap();
                prop_assert!(longer.objective < run.objective, "{method:?} {} {:?}", longer.steps, longer.stop);
            }
        }
        Stop::Stalled => {
            prop_assert!(has_stalled(ufm, variables, run), "{method:?} after {} steps", run.steps);
        }
        stop => prop_assert!(false, "{method:?} {stop:?} {:?}", run.trajectory),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 8, ..ProptestConfig::default() })]

    #[test]
    fn every_start_goes_down_by_every_method(
        counts in prop::collection::vec(1_u64..12, 1..5),
        widths in prop::collection::vec(1_usize..7, 1..7),
        log_decays in prop::collection::vec(-12.0..-1.0_f64, 7),
        log_scale in -3.0..8.0_f64,
        bias: bool,
        plain: bool,
        seed: u64,
    ) {
        let mut decays = log_decays.iter().map(|log| 10_f64.powf(*log));
        let feature_decay = decays.next().unwrap();
        let layers: Vec<Layer> = widths.into_iter().zip(decays).map(|(width, decay)| Layer::new(width, decay)).collect();
        let ufm = Ufm::new(ClassCounts::new(counts).unwrap(), layers, feature_decay).unwrap().with_bias(bias);
        let optimum = ufm.minimizer().unwrap().objective();
        let start = Parameters::gaussian(&ufm, 10_f64.powf(log_scale), &mut rng(seed)).unwrap();
        let variables = if plain { Variables::Plain } else { Variables::Balanced };
        for method in METHODS {
            let descent =
                Descent::new(method).with_variables(variables).with_step_limit(STEPS).with_optimum(optimum);
            check(&ufm, variables, method, &start, &descent)?;
        }
    }
}

/// Models and starts from which a first step of the length of the regularizers alone is too long by up to a hundred
/// orders of magnitude.
fn far_starts() -> Vec<(Ufm, Point)> {
    let classes: ClassCounts = "500x2,400x2,300x2,200x2,100x2".parse().unwrap();
    let model = |depth: usize, width: usize, layer_decay: f64, feature_decay: f64, scale: f64| {
        let layers = vec![Layer::new(width, layer_decay); depth];
        let ufm = Ufm::new(classes.clone(), layers, feature_decay).unwrap();
        let start = Point::gaussian(&ufm, scale, &mut rng(0)).unwrap();
        (ufm, start)
    };
    vec![
        model(6, 32, 5e-4, 1e-5, 5.0),
        model(3, 64, 5e-4, 1e-5, 20.0),
        model(3, 64, 1e-12, 1e-12, 1.0),
        model(2, 16, 5e-4, 1e-5, 1e8),
        model(6, 16, 1e-12, 1e-12, 1e8),
    ]
}

#[test]
fn twenty_steps_of_lbfgs_go_farther_down_than_those_of_gradient_descent() {
    for (ufm, start) in far_starts() {
        let reached = |method| {
            let run = Descent::new(method).with_step_limit(20).minimize(&ufm, start.clone()).unwrap();
            assert_eq!((run.stop, run.steps), (Stop::StepLimit, 20));
            assert!(run.objective < 0.5 * run.trajectory[0].objective);
            run.objective
        };
        assert!(reached(Method::LBFGS) < reached(Method::GradientDescent));
    }
}

/// A look at a step that must fail, since no objective is negative, is left out.
#[test]
fn few_evaluations_find_the_first_step() {
    for (ufm, start) in far_starts() {
        for method in METHODS.into_iter().filter(|method| *method != Method::ADAM) {
            let run = Descent::new(method).with_step_limit(1).minimize(&ufm, start.clone()).unwrap();
            assert!(run.evaluations <= 20, "{method:?} {}", run.evaluations);
        }
    }
}

/// Five layers from a start 300 times too small: 4000 steps of Nesterov's method change no digit that one can see, and
/// the run gets there all the same.
#[test]
fn a_plateau_is_left_in_the_end() {
    let decays = [-4.850_605_946, -6.567_663_158, -8.449_005_630, -11.398_290_499, -10.172_444_977].map(exp10);
    let layers: Vec<Layer> =
        [5, 5, 4, 5, 4].into_iter().zip(decays).map(|(width, decay)| Layer::new(width, decay)).collect();
    let ufm = Ufm::new(ClassCounts::new([9, 5, 3, 8]).unwrap(), layers, exp10(-5.199_753_965)).unwrap();
    let start = Parameters::gaussian(&ufm, exp10(-2.517_597_420), &mut rng(2_490_546_638_438_612_057)).unwrap();
    let descent = Descent::new(Method::Nesterov);
    let early = descent.with_step_limit(4000).minimize(&ufm, start.clone()).unwrap();
    assert_eq!(early.stop, Stop::StepLimit);
    let late = descent.with_step_limit(100_000).minimize(&ufm, start).unwrap();
    assert!(late.objective < 1e-3 * early.objective);
}

fn exp10(log: f64) -> f64 {
    10_f64.powf(log)
}

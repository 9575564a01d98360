//! The distance to the minimizers, against a search over all gauges.

use std::f64::consts::TAU;

use neural_collapse::{
    ClassCounts, Layer, Loss, Parameters, Point, Targets, Ufm,
    descent::{Descent, Method},
    faer::{Col, Mat, Scale},
    metrics::{Distance, FeatureAccumulator, distance, network_distance},
    theory::Optimum,
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

/// The distance between two points in balanced variables.
fn between(ufm: &Ufm, a: &Parameters, b: &Parameters) -> f64 {
    let layers = ufm.layers().iter().zip(a.weights().iter().zip(b.weights()));
    let weights: f64 = layers.map(|(layer, (a, b))| layer.decay * (a - b).squared_norm_l2()).sum();
    let bias = a.bias().map_or(0.0, |a| (a - b.bias().unwrap()).squared_norm_l2());
    (weights + ufm.feature_decay() * (a.features() - b.features()).squared_norm_l2() + bias).sqrt()
}

fn norm(ufm: &Ufm, point: &Parameters) -> f64 {
    between(ufm, point, &Parameters::zeros(ufm).unwrap())
}

/// The orthogonal 2 × 2 matrices: rotations by an angle, and their reflections.
fn orthogonal(angle: f64, reflected: bool) -> Mat<f64> {
    let (sin, cos) = angle.sin_cos();
    let sign = if reflected { -1.0 } else { 1.0 };
    Mat::from_fn(2, 2, |i, j| [[cos, -sign * sin], [sin, sign * cos]][i][j])
}

/// A minimizer in another gauge.
fn turned(ufm: &Ufm, minimizer: &Parameters, gauges: &[Mat<f64>]) -> Parameters {
    let (mut weights, features, bias) = minimizer.clone().into_parts();
    for (l, weights) in weights.iter_mut().enumerate() {
        *weights = &*weights * gauges[l].transpose();
        if let Some(above) = gauges.get(l + 1) {
            *weights = above * &*weights;
        }
    }
    Parameters::new(ufm, weights, &gauges[0] * features, bias).unwrap()
}

/// The distance in balanced variables that a distance by block adds up to.
fn whole(ufm: &Ufm, optimum: &Parameters, by_block: &Distance) -> f64 {
    let layers = ufm.layers().iter().zip(optimum.weights()).zip(&by_block.layers);
    let layers = layers.map(|((layer, weights), part)| part * layer.decay.sqrt() * weights.norm_l2());
    let features = by_block.features * ufm.feature_decay().sqrt() * optimum.features().norm_l2();
    let bias = optimum.bias().zip(by_block.bias).map(|(bias, part)| part * bias.norm_l2());
    layers.chain([features]).chain(bias).fold(0.0, f64::hypot)
}

fn numbers(distance: &Distance) -> Vec<f64> {
    distance.layers.iter().copied().chain([distance.features]).chain(distance.bias).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 4, ..ProptestConfig::default() })]

    /// Widths of two, whose gauges are angles and reflections: nothing on a grid is closer, and the closest of the grid
    /// is as close as its spacing allows. For two layers alternation may end at a minimum over each gauge alone, near
    /// the minimizers at none but the closest.
    #[test]
    fn no_gauge_is_closer(
        counts in prop::collection::vec(1_u64..6, 2..4),
        deep: bool,
        bias: bool,
        scale in 0.01..3.0_f64,
        seed: u64,
    ) {
        let ufm = model(counts, if deep { &[2, 2] } else { &[2] }, 0.01, bias);
        let minimizer = ufm.minimizer().unwrap();
        prop_assume!(minimizer.is_unique() && minimizer.rank() > 0);
        // Farther away than this alternation has other ends: one model in some hundred had one at 0.8.
        let scale = if deep { 0.1 * scale } else { scale };
        let optimum = minimizer.parameters().unwrap();
        let point = Point::from(optimum.clone()).perturbed(&ufm, scale, &mut rng(seed)).unwrap();
        let point = point.into_parameters().unwrap();
        let ours = whole(&ufm, &optimum, &distance(&minimizer, &point).unwrap().unwrap());
        let steps = if deep { 120 } else { 1000 };
        let spacing = TAU / f64::from(steps);
        let gauges: Vec<Mat<f64>> = (0..steps)
            .flat_map(|i| [false, true].map(|reflected| orthogonal(f64::from(i) * spacing, reflected)))
            .collect();
        let to = |gauges: &[Mat<f64>]| between(&ufm, &point, &turned(&ufm, &optimum, gauges));
        let best = if deep {
            gauges.iter().flat_map(|a| gauges.iter().map(|b| to(&[a.clone(), b.clone()]))).fold(f64::INFINITY, f64::min)
        } else {
            gauges.iter().map(|gauge| to(std::slice::from_ref(gauge))).fold(f64::INFINITY, f64::min)
        };
        prop_assert!(ours <= best * (1.0 + 1e-12));
        // Half a spacing away in every gauge at most, each of which moves two blocks.
        let spacing = 0.5 * spacing * 2.0 * norm(&ufm, &optimum);
        prop_assert!(best <= ours + spacing, "{ours} {best}");
    }

    /// At most as far as the point that was perturbed, zero for minimizers in any gauge, and the same in reduced form.
    #[test]
    fn distances_are_those_of_perturbations(
        counts in prop::collection::vec(1_u64..30, 1..5),
        widths in prop::collection::vec(1_usize..12, 1..4),
        bias: bool,
        scale in -14..0_i32,
        seed: u64,
    ) {
        let ufm = model(counts, &widths, 0.01, bias);
        let minimizer = ufm.minimizer().unwrap();
        prop_assume!(minimizer.is_unique());
        let optimum = minimizer.random_parameters(&mut rng(seed)).unwrap();
        let size = norm(&ufm, &optimum).max(f64::MIN_POSITIVE);
        // Products of matrices of side 120 at most.
        let rounding = 120.0 * f64::EPSILON;
        let here = distance(&minimizer, &optimum).unwrap().unwrap().largest();
        prop_assert!(here <= rounding, "{here}");
        let point = Point::from(optimum.clone()).perturbed(&ufm, 10_f64.powi(scale), &mut rng(seed + 1)).unwrap();
        let reduced = Descent::default().with_step_limit(0).minimize(&ufm, point.clone()).unwrap().point;
        let (moved, reduced) = (distance(&minimizer, &point).unwrap().unwrap(), distance(&minimizer, &reduced).unwrap().unwrap());
        let full = point.into_parameters().unwrap();
        if minimizer.rank() > 0 {
            let ours = whole(&ufm, &optimum, &moved);
            prop_assert!(ours <= between(&ufm, &optimum, &full) * (1.0 + rounding) + rounding * size);
        }
        let pairs = numbers(&moved).into_iter().zip(numbers(&reduced));
        // Sweeps end when the square of the whole changes by less than 1e-10 of itself: at its minimum over gauges, they are
        // then known to the root of that, and single blocks change in proportion, in both.
        let settled = if widths.len() > 1 { 2e-5 } else { 1e-6 };
        for (full, reduced) in pairs {
            prop_assert!((full - reduced).abs() <= rounding + settled * moved.largest(), "{moved:?} {reduced}");
        }
    }
}

/// A descent that converges in value converges in parameters: the distance goes as the root of the gap.
#[test]
fn descents_converge_in_parameters() {
    for (depth, bias) in [(1, true), (1, false), (2, true), (3, false), (6, true)] {
        let ufm = model(vec![30, 20, 20, 5], &vec![12; depth], 1e-3, bias);
        let minimizer = ufm.minimizer().unwrap();
        // From near enough that deep models do not end at a local minimizer.
        let start = Point::from(minimizer.parameters().unwrap()).perturbed(&ufm, 0.3, &mut rng(3)).unwrap();
        let run = Descent::new(Method::LBFGS).with_gradient_tolerance(1e-12).minimize(&ufm, start).unwrap();
        let (distance, gap) =
            (distance(&minimizer, &run.point).unwrap().unwrap().largest(), run.objective / minimizer.objective() - 1.0);
        assert!(gap.abs() < 1e-12, "{gap:e}");
        assert!(distance < 1e-8, "L = {depth}, {bias}: {distance:e}");
    }
}

#[test]
fn collapsed_and_tied_minimizers_are_no_failure() {
    // Everything collapses, with and without a bias.
    for bias in [true, false] {
        let ufm = model(vec![3, 2], &[4], 10.0, bias);
        let minimizer = ufm.minimizer().unwrap();
        assert_eq!(minimizer.rank(), 0);
        assert_eq!(distance(&minimizer, &minimizer.parameters().unwrap()).unwrap().unwrap().largest(), 0.0);
        let away = Point::gaussian(&ufm, 1.0, &mut rng(0)).unwrap();
        assert!(distance(&minimizer, &away).unwrap().unwrap().largest() > 0.1);
    }
    // A width that cuts equal singular values.
    let ufm = model(vec![3; 4], &[2], 1e-3, true);
    let minimizer = ufm.minimizer().unwrap();
    assert_eq!(distance(&minimizer, &minimizer.parameters().unwrap()).unwrap(), None);
    // Targets that are a matrix, with more outputs than samples and with fewer.
    for (outputs, samples) in [(5, 3), (3, 7)] {
        let targets = Mat::from_fn(outputs, samples, |i, j| ((i * i + 3 * j) as f64).sin());
        let ufm = Ufm::new(Targets::matrix(targets).unwrap(), [Layer::new(6, 1e-3); 2], 1e-3).unwrap();
        let minimizer = ufm.minimizer().unwrap();
        let any = minimizer.random_parameters(&mut rng(1)).unwrap();
        assert!(distance(&minimizer, &any).unwrap().unwrap().largest() < 1e-13);
        let (weights, features, bias) = any.into_parts();
        let bias = bias.map(|bias| bias + Scale(0.1) * Col::<f64>::ones(outputs));
        let moved = Parameters::new(&ufm, weights, features, bias).unwrap();
        let found = distance(&minimizer, &moved).unwrap().unwrap();
        let expected = 0.1 * (outputs as f64).sqrt() / minimizer.bias().unwrap().norm_l2();
        assert!((found.bias.unwrap() - expected).abs() < 1e-12);
        // The bias is not seen in the other blocks.
        assert!(found.features < 1e-13 && found.layers.iter().all(|layer| *layer < 1e-13));
    }
}

/// Exact weights and bias, and features that are 30 % too large: every decay shows it, and no block hides another.
#[test]
fn no_block_hides_another() {
    for decay in [1e-2, 1e-3, 1e-4, 1e-5] {
        let ufm = model(vec![30, 20, 10], &[8], decay, true);
        let minimizer = ufm.minimizer().unwrap();
        let (weights, features, bias) = minimizer.random_parameters(&mut rng(5)).unwrap().into_parts();
        let point = Parameters::new(&ufm, weights, Scale(1.3) * features, bias).unwrap();
        let found = distance(&minimizer, &point).unwrap().unwrap();
        // Of products of side 60; a common factor does not turn the gauge.
        assert!((found.features - 0.3).abs() < 60.0 * f64::EPSILON, "{found:?}");
        assert!(found.layers[0] < 60.0 * f64::EPSILON && found.bias.unwrap() < 60.0 * f64::EPSILON, "{found:?}");
        assert_eq!(found.largest(), found.features);
    }
}

/// A network is as far from its optimum as its parameters are, whether there is a closed form or not.
#[test]
fn networks_have_the_distance_of_their_parameters() {
    for (loss, bias, nonnegative) in [
        (Loss::Squared, true, false),
        (Loss::CrossEntropy, true, false),
        (Loss::CrossEntropy, false, false),
        (Loss::Squared, false, true),
    ] {
        let ufm = model(vec![12, 8, 5], &[6], 5e-3, bias).with_loss(loss).unwrap();
        let ufm = if nonnegative { ufm.with_nonnegative_features() } else { ufm };
        let optimum = ufm.optimum().unwrap();
        let at = match &optimum {
            Optimum::Closed(minimizer) => minimizer.random_parameters(&mut rng(1)).unwrap(),
            Optimum::Certified(minimizer) => minimizer.random_parameters(&mut rng(1)).unwrap(),
            Optimum::Nonnegative(minimizer) => minimizer.parameters().unwrap(),
            _ => unreachable!(),
        };
        let to = |point: &Parameters| {
            let labels: Vec<usize> = (0..3).flat_map(|class| vec![class; [12, 8, 5][class]]).collect();
            let mut accumulator = FeatureAccumulator::new(6, 3).unwrap();
            accumulator.add(point.features(), &labels).unwrap();
            network_distance(&optimum, point.weights(), point.bias(), &accumulator.finish()).unwrap().unwrap()
        };
        // Products of side 25; a certified minimizer is one to the root of its gap, 1e-13.
        let rounding = if loss == Loss::Squared { 1e-13 } else { 1e-6 };
        assert!(to(&at).largest() < rounding, "{loss} {:?}", to(&at));
        // A common factor of a block moves it by that, and no other block.
        let (weights, features, bias) = at.clone().into_parts();
        let longer = Parameters::new(&ufm, weights, Scale(1.5) * features, bias).unwrap();
        assert!((to(&longer).features - 0.5).abs() < rounding && to(&longer).layers[0] < rounding);
        // All logits of cross-entropy shifted alike are the same network.
        let (weights, features, bias) = at.into_parts();
        let shift = |bias: Col<f64>| bias + Col::<f64>::full(3, 2.0);
        let shifted = to(&Parameters::new(&ufm, weights, features, bias.map(shift)).unwrap());
        match (loss, ufm.has_bias()) {
            (Loss::CrossEntropy, true) => assert!(shifted.bias.unwrap() < rounding),
            (_, true) => assert!(shifted.bias.unwrap() > 1.0),
            (_, false) => assert_eq!(shifted.bias, None),
        }
    }
}

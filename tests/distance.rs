//! The distance to the minimizers, against a search over all gauges.

use std::f64::consts::TAU;

use neural_collapse::{
    ClassCounts, Layer, Parameters, Point, Targets, Ufm,
    descent::{Descent, Method},
    faer::{Mat, Scale},
    metrics::distance,
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
        let scale = if deep { 0.3 * scale } else { scale };
        let optimum = minimizer.parameters().unwrap();
        let point = Point::from(optimum.clone()).perturbed(&ufm, scale, &mut rng(seed)).unwrap();
        let point = point.into_parameters().unwrap();
        let ours = distance(&minimizer, &point).unwrap().unwrap() * norm(&ufm, &optimum);
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
        let here = distance(&minimizer, &optimum).unwrap().unwrap();
        prop_assert!(here <= rounding, "{here}");
        let point = Point::from(optimum.clone()).perturbed(&ufm, 10_f64.powi(scale), &mut rng(seed + 1)).unwrap();
        let reduced = Descent::default().with_step_limit(0).minimize(&ufm, point.clone()).unwrap().point;
        let (moved, reduced) = (distance(&minimizer, &point).unwrap().unwrap(), distance(&minimizer, &reduced).unwrap().unwrap());
        let full = point.into_parameters().unwrap();
        if minimizer.rank() > 0 {
            prop_assert!(moved <= between(&ufm, &optimum, &full) / size * (1.0 + rounding) + rounding);
        }
        prop_assert!((moved - reduced).abs() <= rounding + 1e-6 * moved, "{moved} {reduced}");
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
            (distance(&minimizer, &run.point).unwrap().unwrap(), run.objective / minimizer.objective() - 1.0);
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
        assert_eq!(distance(&minimizer, &minimizer.parameters().unwrap()).unwrap(), Some(0.0));
        let away = Point::gaussian(&ufm, 1.0, &mut rng(0)).unwrap();
        assert!(distance(&minimizer, &away).unwrap().unwrap() > 0.1);
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
        assert!(distance(&minimizer, &any).unwrap().unwrap() < 1e-13);
        let (weights, features, bias) = any.into_parts();
        let bias = bias.map(|bias| bias + Scale(0.1) * neural_collapse::faer::Col::<f64>::ones(outputs));
        let moved = Parameters::new(&ufm, weights, features, bias).unwrap();
        let expected = 0.1 * (outputs as f64).sqrt() / norm(&ufm, &minimizer.parameters().unwrap());
        assert!((distance(&minimizer, &moved).unwrap().unwrap() - expected).abs() < 1e-12);
    }
}

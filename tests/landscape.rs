//! What a critical point is, against the eigenvalues of a dense Hessian that knows nothing of the theory.

use neural_collapse::{
    ClassCounts, Error, Layer, Parameters, Point, Targets, Ufm,
    critical::{Difference, Ending, difference, ending, escape},
    descent::{Descent, Method, Run, Stop},
    faer::{Col, Mat, Scale, Side},
    theory::{Fate, Minimizer, Tie},
};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, StandardNormal};

/// What a critical point has of a direction.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Root {
    Zero,
    Smaller,
    Larger,
}

/// The two roots e of e (1-e)^((L-1)/(L+1)) = q in (0, 1), by bisection on both sides of the maximum at (L+1)/(2L);
/// none above it.
fn roots(q: f64, depth: usize) -> Option<(f64, f64)> {
    let l = depth as f64;
    let value = |e: f64| e * (1.0 - e).powf((l - 1.0) / (l + 1.0));
    let top = (l + 1.0) / (2.0 * l);
    let bisect = |mut low: f64, mut high: f64, rising: bool| {
        for _ in 0..200 {
            let middle = f64::midpoint(low, high);
            if (value(middle) < q) == rising { low = middle } else { high = middle }
        }
        low
    };
    (q < value(top)).then(|| (bisect(0.0, top, true), bisect(top, 1.0, false)))
}

/// The critical point that has these roots in the first directions of the target, in the gauge of the identity; none
/// where there is no such root.
fn critical_point(ufm: &Ufm, choice: &[Root]) -> Option<Parameters> {
    let minimizer = ufm.minimizer().unwrap();
    let (depth, samples) = (ufm.depth(), ufm.samples() as f64);
    let values = minimizer.spectrum().singular_values();
    let decays: f64 = ufm.layers().iter().map(|layer| layer.decay).product::<f64>() * ufm.feature_decay();
    let mut levels = Vec::new();
    for (k, &sigma) in values.iter().enumerate() {
        let root = choice.get(k).copied().unwrap_or(Root::Zero);
        if root == Root::Zero || levels.len() == ufm.rank_bound() || sigma == 0.0 {
            continue;
        }
        let l = depth as f64;
        let q = samples * decays.powf(1.0 / (l + 1.0)) * sigma.powf(-2.0 * l / (l + 1.0));
        let (small, large) = if depth == 1 { (q, q) } else { roots(q, depth)? };
        let e = if root == Root::Larger { small } else { large };
        if e >= 1.0 {
            return None;
        }
        levels.push((k, ((sigma * (1.0 - e)).powi(2) * decays).powf(0.5 / (l + 1.0))));
    }
    let left = minimizer.spectrum().left_vectors(values.len()).unwrap();
    let right = minimizer.spectrum().right_vectors(values.len()).unwrap();
    let (mut weights, features, _) = Parameters::zeros(ufm).unwrap().into_parts();
    let mut means = Mat::<f64>::zeros(ufm.feature_width(), ufm.outputs());
    for (i, &(k, level)) in levels.iter().enumerate() {
        for (l, weights) in weights.iter_mut().enumerate() {
            let size = level / ufm.layers()[l].decay.sqrt();
            if l + 1 < depth {
                weights[(i, i)] = size;
            } else {
                let mut column = weights.col_mut(i);
                column += Scale(size) * left.col(k);
            }
        }
        for class in 0..ufm.outputs() {
            means[(i, class)] = level / ufm.feature_decay().sqrt() * right[(class, k)];
        }
    }
    let classes = ufm.class_counts().unwrap();
    let mut features = features;
    let labels =
        classes.counts().iter().enumerate().flat_map(|(class, &count)| (0..count).map(move |_| (class, count)));
    for (sample, (class, count)) in labels.enumerate() {
        features.col_mut(sample).copy_from(Scale(1.0 / (count as f64).sqrt()) * means.col(class));
    }
    Some(Parameters::new(ufm, weights, features, minimizer.bias()).unwrap())
}

/// The smallest eigenvalue of the Hessian in balanced variables, by central differences of the gradient.
fn smallest_eigenvalue(ufm: &Ufm, point: &Parameters) -> f64 {
    let scales: Vec<f64> = ufm.layers().iter().map(|layer| layer.decay).chain([ufm.feature_decay(), 1.0]).collect();
    let flat = |parameters: Parameters, power: f64| -> Vec<f64> {
        let (weights, features, bias) = parameters.into_parts();
        let blocks = weights.into_iter().chain([features]).chain(bias.map(|bias: Col<f64>| bias.as_mat().to_owned()));
        blocks
            .zip(&scales)
            .flat_map(|(block, scale)| {
                let entries: Vec<f64> =
                    block.col_iter().flat_map(|column| column.iter().copied().collect::<Vec<_>>()).collect();
                entries.into_iter().map(move |entry| entry * scale.powf(power))
            })
            .collect()
    };
    let gradient = |variables: &[f64]| {
        let (mut weights, mut features, mut bias) = point.clone().into_parts();
        let mut at = 0;
        let mut fill = |entry: &mut f64, scale: f64| {
            *entry = variables[at] / scale.sqrt();
            at += 1;
        };
        for (block, &scale) in weights.iter_mut().chain([&mut features]).zip(&scales) {
            block.col_iter_mut().for_each(|column| column.iter_mut().for_each(|entry| fill(entry, scale)));
        }
        if let Some(bias) = &mut bias {
            bias.iter_mut().for_each(|entry| fill(entry, 1.0));
        }
        let moved = Parameters::new(ufm, weights, features, bias).unwrap();
        flat(ufm.objective_and_gradient(&moved).unwrap().1, -0.5)
    };
    let here = flat(point.clone(), 0.5);
    let norm = gradient(&here).iter().map(|entry| entry * entry).sum::<f64>().sqrt();
    assert!(norm < 1e-10, "not critical: {norm:e}");
    let step = 1e-5;
    let mut hessian = Mat::<f64>::zeros(here.len(), here.len());
    for i in 0..here.len() {
        let moved = |by: f64| {
            let mut moved = here.clone();
            moved[i] += by;
            gradient(&moved)
        };
        for (j, (up, down)) in moved(step).iter().zip(moved(-step)).enumerate() {
            hessian[(j, i)] = (up - down) / (2.0 * step);
        }
    }
    let symmetric = Scale(0.5) * (&hessian + hessian.transpose());
    symmetric.self_adjoint_eigenvalues(Side::Lower).unwrap()[0]
}

/// A model whose largest class has q = `q`, with unequal decays of its blocks.
fn model(counts: Vec<u64>, widths: &[usize], q: f64, bias: bool) -> Ufm {
    let classes = ClassCounts::new(counts).unwrap();
    let l = widths.len() as f64;
    let c = q * (classes.group(0).count as f64).powf(l / (l + 1.0)) / classes.samples() as f64;
    let layers: Vec<Layer> =
        widths.iter().enumerate().map(|(l, &width)| Layer::new(width, c * 2_f64.powf(l as f64))).collect();
    let feature_decay = c.powf(l + 1.0) / layers.iter().map(|layer| layer.decay).product::<f64>();
    Ufm::new(classes, layers, feature_decay).unwrap().with_bias(bias)
}

/// What [`difference`] has to say of the critical point that has these roots: by construction, not by measurement.
fn truth(minimizer: &Minimizer, choice: &[Root]) -> Difference {
    let mut room = minimizer.ufm().rank_bound();
    let (mut truth, mut start) = (Difference::default(), 0);
    let directions = minimizer.directions();
    let mut i = 0;
    while i < directions.len() {
        // A width cuts a level in two directions of one target.
        let first = i;
        i += 1;
        while i < directions.len() && directions[i].target == directions[first].target {
            i += 1;
        }
        let multiplicity: usize = directions[first..i].iter().map(|direction| direction.multiplicity).sum();
        let roots = (start..start + multiplicity).map(|k| choice.get(k).copied().unwrap_or(Root::Zero));
        let taken: Vec<Root> = roots.filter(|root| *root != Root::Zero && directions[first].target > 0.0).collect();
        let taken = &taken[..taken.len().min(room)];
        room -= taken.len();
        start += multiplicity;
        // One layer has one root.
        let one = minimizer.ufm().depth() == 1;
        let large = taken.iter().filter(|root| one || **root == Root::Larger).count();
        if directions[first].fate != Fate::Kept {
            truth.excess.extend((!taken.is_empty()).then_some(first));
        } else if large < directions[first].multiplicity {
            truth.missing.push((first, directions[first].multiplicity - large));
        }
    }
    truth
}

/// The same point in a random gauge, so that nothing is exactly zero, with all blocks but the bias times a factor.
fn turned(ufm: &Ufm, point: Parameters, factor: f64, rng: &mut Xoshiro256PlusPlus) -> Parameters {
    let (mut weights, mut features, bias) = point.into_parts();
    for l in 0..ufm.depth() {
        let width = ufm.layers()[l].width;
        let gaussian = Mat::<f64>::from_fn(width, width, |_, _| StandardNormal.sample(rng));
        let gauge = gaussian.qr().compute_thin_Q();
        weights[l] = Scale(factor) * (&weights[l] * gauge.transpose());
        if l == 0 {
            features = Scale(factor) * (&gauge * features);
        } else {
            weights[l - 1] = &gauge * &weights[l - 1];
        }
    }
    Parameters::new(ufm, weights, features, bias).unwrap()
}

fn root() -> impl Strategy<Value = Root> {
    prop_oneof![Just(Root::Zero), Just(Root::Smaller), Just(Root::Larger), Just(Root::Larger)]
}

proptest! {
    /// Every critical point, with any choice of roots: a saddle exactly where the Hessian has a negative eigenvalue,
    /// the direction is one of negative curvature and no steeper than the steepest, and the start is lower.
    #[test]
    fn saddles_are_those_of_a_dense_hessian(
        counts in prop::collection::vec(1_u64..5, 1..5),
        widths in prop::collection::vec(1_usize..5, 1..4),
        q in 0.02..0.5_f64,
        bias: bool,
        choice in prop::collection::vec(root(), 4),
    ) {
        let ufm = model(counts, &widths, q, bias);
        let point = critical_point(&ufm, &choice);
        prop_assume!(point.is_some());
        let point = point.unwrap();
        let smallest = smallest_eigenvalue(&ufm, &point);
        // Differences of the gradient are good to 1e-5² and to rounding over 1e-5.
        prop_assume!(smallest.abs() > 1e-5 || smallest.abs() < 1e-8);
        let escape = escape(&ufm, &point).unwrap();
        prop_assert_eq!(escape.is_some(), smallest < -1e-6, "{} {:?}", smallest, escape.map(|escape| escape.curvature));
        if let Some(escape) = escape {
            prop_assert!(escape.curvature >= smallest - 1e-8);
            let objective = ufm.objective(&point).unwrap();
            prop_assert!(ufm.objective(&escape.start.into_parameters().unwrap()).unwrap() < objective);
            // Half the curvature times the square of a short step, whose third and fourth powers are left out.
            let (weights, features, _) = escape.direction.into_parameters().unwrap().into_parts();
            let square = features.squared_norm_l2() * ufm.feature_decay()
                + weights.iter().zip(ufm.layers()).map(|(w, layer)| w.squared_norm_l2() * layer.decay).sum::<f64>();
            prop_assert!((square - 1.0).abs() < 1e-13);
            let step = 1e-4;
            let moved = |step: f64| {
                let (mut w, h, b) = point.clone().into_parts();
                w.iter_mut().zip(&weights).for_each(|(w, change)| *w += Scale(step) * change);
                ufm.objective(&Parameters::new(&ufm, w, h + Scale(step) * &features, b).unwrap()).unwrap()
            };
            let second = (moved(step) - 2.0 * objective + moved(-step)) / (step * step);
            prop_assert!((second - escape.curvature).abs() < 1e-5 * (1.0 + second.abs()), "{second} {}", escape.curvature);
        }
    }

    /// Every critical point, with any choice of roots, has the directions that it was made of, and no others: kept, cut
    /// off by a width or beyond their threshold, in any gauge.
    #[test]
    fn differences_are_those_of_the_construction(
        counts in prop::collection::vec(1_u64..9, 1..6),
        widths in prop::collection::vec(1_usize..7, 1..5),
        log_q in -4.0..-0.3_f64,
        bias: bool,
        choice in prop::collection::vec(root(), 5),
        seed: u64,
    ) {
        let ufm = model(counts, &widths, 10_f64.powf(log_q), bias);
        let point = critical_point(&ufm, &choice);
        prop_assume!(point.is_some());
        let minimizer = ufm.minimizer().unwrap();
        let point = turned(&ufm, point.unwrap(), 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
        // The roots of the test are good to some epsilons, and so is the point.
        prop_assert_eq!(difference(&minimizer, &point).unwrap(), truth(&minimizer, &choice));
    }

    /// A point in reduced and narrow form has the curvature of the same point in full.
    #[test]
    fn reduced_points_have_the_same_escapes(
        counts in prop::collection::vec(1_u64..5, 1..5),
        widths in prop::collection::vec(1_usize..12, 1..4),
        q in 0.02..0.5_f64,
        bias: bool,
        choice in prop::collection::vec(root(), 4),
    ) {
        let ufm = model(counts, &widths, q, bias);
        let full = critical_point(&ufm, &choice);
        prop_assume!(full.is_some());
        let full = full.unwrap();
        let reduced = Descent::default().with_step_limit(0).minimize(&ufm, full.clone()).unwrap().point;
        match (escape(&ufm, &reduced).unwrap(), escape(&ufm, &full).unwrap()) {
            // Both from decompositions of matrices of side 4, whose condition in the test is moderate.
            (Some(a), Some(b)) => prop_assert!((a.curvature - b.curvature).abs() <= 1e-12 * b.curvature.abs().max(1.0)),
            (a, b) => prop_assert!(a.is_none() && b.is_none()),
        }
    }
}

/// One layer: a descent continues from every saddle to the global minimum.
#[test]
fn one_layer_escapes_every_saddle() {
    for bias in [true, false] {
        for width in [2, 5, 20] {
            let ufm = model(vec![40, 40, 20, 20, 10, 5], &[width], 0.05, bias);
            let minimizer = ufm.minimizer().unwrap();
            let mut point =
                Point::from(critical_point(&ufm, &[Root::Zero, Root::Zero, Root::Zero, Root::Larger]).unwrap());
            let mut saddles = 0;
            while let Some(escape) = escape(&ufm, &point).unwrap() {
                let run = Descent::default().minimize(&ufm, escape.start).unwrap();
                saddles += 1;
                point = run.point.clone();
                let ending = ending(&minimizer, &run).unwrap();
                assert!(matches!(ending, Ending::GlobalMinimum | Ending::StrictSaddle(_)), "{ending:?}");
                assert!(saddles <= minimizer.rank());
            }
            let reached = ufm.objective(&point.into_parameters().unwrap()).unwrap();
            assert!(reached - minimizer.objective() <= 1e-12 * minimizer.objective());
        }
    }
}

#[test]
fn zero_is_a_local_minimizer_of_deep_models_and_a_saddle_of_one_layer() {
    for depth in 1..7 {
        let ufm = model(vec![30, 20, 5], &vec![8; depth], 0.05, true);
        let zero = critical_point(&ufm, &[]).unwrap();
        assert_eq!(escape(&ufm, &zero).unwrap().is_some(), depth == 1);
        let run = Descent::default().minimize(&ufm, zero).unwrap();
        assert!(match ending(&ufm.minimizer().unwrap(), &run).unwrap() {
            Ending::StrictSaddle(_) => depth == 1,
            Ending::LocalMinimizer(_) => depth > 1,
            _ => false,
        });
    }
}

#[test]
fn the_one_class_with_a_bias_has_nothing_to_escape_to() {
    let ufm = model(vec![7], &[3], 0.05, true);
    assert!(escape(&ufm, &critical_point(&ufm, &[]).unwrap()).unwrap().is_none());
}

/// The first step that was tried here came to the same objective but for rounding.
#[test]
fn a_way_down_is_lower_by_more_than_rounding() {
    let ufm = model(vec![1, 4], &[1], 0.454_581_849_209_300_6, false);
    let point = critical_point(&ufm, &[Root::Zero, Root::Smaller]).unwrap();
    let escape = escape(&ufm, &point).unwrap().unwrap();
    let (before, after) =
        (ufm.objective(&point).unwrap(), ufm.objective(&escape.start.into_parameters().unwrap()).unwrap());
    assert!(after < before * (1.0 - 1e-3), "{after:e} {before:e}");
}

/// Descents that end at saddles and local minimizers: from near a critical point without some of the directions, in the
/// space of the others, and from near zero. The zero of the centered labels is never in excess.
#[test]
fn endings_count_no_direction_that_does_not_exist() {
    let mut endings = 0;
    for depth in 1..=3 {
        for seed in 0..30 {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let counts: Vec<u64> = (0..rng.random_range(2..7)).map(|_| rng.random_range(1..40)).collect();
            let ufm = model(counts, &vec![9; depth], rng.random_range(0.01..0.3), true);
            let minimizer = ufm.minimizer().unwrap();
            if minimizer.rank() == 0 {
                continue;
            }
            // Directions that the minimizer keeps, at least one of them left out.
            let out = rng.random_range(0..minimizer.rank());
            let choice: Vec<Root> = (0..minimizer.rank())
                .map(|k| if k == out || rng.random_bool(0.3) { Root::Zero } else { Root::Larger })
                .collect();
            let critical = critical_point(&ufm, &choice).unwrap();
            let (start, choice, critical) = if depth > 1 && seed % 3 == 0 {
                // From near zero, a local minimizer, to which the noise goes back.
                let start = Parameters::gaussian(&ufm, 1e-3, &mut rng).unwrap();
                (start, Vec::new(), critical_point(&ufm, &[]).unwrap())
            } else {
                let factor = rng.random_range(0.9..1.1);
                (turned(&ufm, critical.clone(), factor, &mut rng), choice, critical)
            };
            let objective = ufm.objective(&critical).unwrap();
            let method = [Method::default(), Method::LBFGS][usize::from(seed % 2 == 0)];
            let run = Descent::new(method).minimize(&ufm, start).unwrap();
            let truth = truth(&minimizer, &choice);
            match ending(&minimizer, &run).unwrap() {
                Ending::StrictSaddle(difference) | Ending::LocalMinimizer(difference) => {
                    assert!(difference.excess.is_empty(), "L = {depth}, {seed}: {difference:?}");
                    // Noise can take a descent from a saddle to one that is lower by a direction, many epsilons.
                    if run.objective >= objective * (1.0 - 1e-8) {
                        assert_eq!(difference, truth, "L = {depth}, {seed}");
                        endings += 1;
                    }
                }
                Ending::GlobalMinimum | Ending::Unfinished(Stop::Stalled) => {}
                other => panic!("L = {depth}, {seed}: {other:?}"),
            }
        }
    }
    assert!(endings >= 80, "{endings}");
}

/// Targets of a matrix whose singular values are 1 down to 1e-15, the smallest of them rounding of the largest: minimizers
/// and what descents make of small starts have nothing in excess, and minimizers miss nothing.
#[test]
fn tiny_targets_are_not_in_excess() {
    for (depth, bias) in [(1, true), (1, false), (2, true), (3, false)] {
        for seed in 0..10 {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut frame =
                |side| Mat::<f64>::from_fn(side, side, |_, _| StandardNormal.sample(&mut rng)).qr().compute_thin_Q();
            let (left, right) = (frame(6), frame(9));
            let values: Col<f64> = [1.0, 0.6, 1e-3, 1e-9, 1e-13, 1e-15].into_iter().collect();
            let targets = left * values.as_diagonal() * right.subcols(0, 6).transpose();
            let layers = vec![Layer::new(8, 0.03); depth];
            let ufm = Ufm::new(Targets::matrix(targets).unwrap(), layers, 0.02).unwrap().with_bias(bias);
            let minimizer = ufm.minimizer().unwrap();
            let any = minimizer.random_parameters(&mut rng).unwrap();
            assert_eq!(difference(&minimizer, &any).unwrap(), Difference::default());
            let start = Parameters::gaussian(&ufm, 1e-2, &mut rng).unwrap();
            let run = Descent::default().minimize(&ufm, start).unwrap();
            assert_eq!(difference(&minimizer, &run.point).unwrap().excess, [0; 0], "L = {depth}, {seed}");
        }
    }
}

/// Two equal targets that a dense decomposition lists one by one: a point that has one direction of their plane, along
/// neither of its vectors, misses one and not two.
#[test]
fn equal_targets_of_a_dense_decomposition_share_their_vectors() {
    let targets = Targets::smoothed(ClassCounts::balanced(3, 10).unwrap(), 0.1).unwrap();
    let ufm = Ufm::new(targets, [Layer::new(4, 1e-2)], 1e-2).unwrap().without_bias();
    let minimizer = ufm.minimizer().unwrap();
    let (first, second) = (&minimizer.directions()[0], &minimizer.directions()[1]);
    assert_eq!(minimizer.rank(), 3);
    for i in 0..20 {
        let (sin, cos) = (0.3 * f64::from(i)).sin_cos();
        let ones = Col::<f64>::ones(3) / 3_f64.sqrt();
        let plane = [
            [0.5_f64.sqrt(), 6_f64.sqrt().recip()],
            [-0.5_f64.sqrt(), 6_f64.sqrt().recip()],
            [0.0, -2.0 / 6_f64.sqrt()],
        ];
        let along = Col::from_fn(3, |k| cos * plane[k][0] + sin * plane[k][1]);
        let weights = Mat::from_fn(3, 4, |k, j| match j {
            0 => first.product * ones[k],
            1 => second.product * along[k],
            _ => 0.0,
        });
        let features = Mat::from_fn(4, 30, |j, sample| {
            let size = match j {
                0 => first.feature * ones[sample / 10],
                1 => second.feature * along[sample / 10],
                _ => 0.0,
            };
            size / 10_f64.sqrt()
        });
        let point = Parameters::new(&ufm, vec![weights], features, None).unwrap();
        let difference = difference(&minimizer, &point).unwrap();
        assert_eq!((difference.missing.as_slice(), difference.excess.as_slice()), ([(1, 1)].as_slice(), [].as_slice()));
    }
}

/// One layer, q of the smallest direction from 1 - 1e-3 to 1 - 1e-12 and beyond 1: there or not, as it was made, down to
/// where the gradient of a descent cannot tell, and then not reported.
#[test]
fn directions_near_their_threshold_are_not_made_up() {
    for power in 3..=12 {
        let distance = 10_f64.powi(-power);
        for q in [1.0 - distance, 1.0 + distance] {
            // Bias-free, q_k is that of the largest class times √(n_1/n_k).
            let ufm = model(vec![36, 16, 9], &[5], q * 0.5, false);
            let minimizer = ufm.minimizer().unwrap();
            let kept = minimizer.rank() == 3;
            assert_eq!(kept, q < 1.0);
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
            let any = minimizer.random_parameters(&mut rng).unwrap();
            assert_eq!(difference(&minimizer, &any).unwrap(), Difference::default());
            let two = critical_point(&ufm, &[Root::Larger, Root::Larger]).unwrap();
            let without = difference(&minimizer, &turned(&ufm, two, 1.0, &mut rng)).unwrap();
            assert!(without.excess.is_empty());
            if kept && power <= 8 {
                assert_eq!(without.missing, [(2, 1)], "{q}");
            }
            let run = Descent::default().minimize(&ufm, Point::gaussian(&ufm, 0.5, &mut rng).unwrap()).unwrap();
            assert_eq!(ending(&minimizer, &run).unwrap(), Ending::GlobalMinimum);
            let reached = difference(&minimizer, &run.point).unwrap();
            assert_eq!(reached, Difference::default(), "{q}");
        }
    }
}

/// At a tie keeping a direction and giving it up cost the same, and neither is a difference.
#[test]
fn a_direction_at_a_tie_is_neither_missing_nor_in_excess() {
    for depth in 2..=4 {
        let scaled = |scale: f64| {
            let layers = vec![Layer::new(6, 1e-2 * scale); depth];
            Ufm::new(ClassCounts::new([20, 10, 5]).unwrap(), layers, 1e-2 * scale).unwrap()
        };
        let margin = scaled(1.0).minimizer().unwrap().directions()[1].critical_scale;
        let ufm = scaled(margin);
        let minimizer = ufm.minimizer().unwrap();
        assert_eq!(minimizer.ties(), [Tie::Threshold { direction: 1 }]);
        for choice in [[Root::Larger, Root::Larger], [Root::Larger, Root::Zero]] {
            let point = critical_point(&ufm, &choice).unwrap();
            assert_eq!(difference(&minimizer, &point).unwrap(), Difference::default(), "L = {depth}");
        }
    }
}

/// Decays so small that z (σ - z)/(N τ) is above one even at singular values of the prediction that are rounding.
#[test]
fn saddles_at_tiny_decays_are_saddles() {
    for depth in 2..=4 {
        for seed in 0..20 {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let ufm = model(vec![20, 10, 5, 3], &vec![7; depth], 1e-8, true);
            let point = critical_point(&ufm, &[Root::Zero, Root::Larger]).unwrap();
            assert!(escape(&ufm, &turned(&ufm, point, 1.0, &mut rng)).unwrap().is_some(), "L = {depth}, {seed}");
            let point = critical_point(&ufm, &[Root::Larger]).unwrap();
            assert!(escape(&ufm, &turned(&ufm, point, 1.0, &mut rng)).unwrap().is_none(), "L = {depth}, {seed}");
        }
    }
}

fn run_of(ufm: &Ufm) -> Run {
    let start = Parameters::gaussian(ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0)).unwrap();
    Descent::default().minimize(ufm, start).unwrap()
}

/// f of the run is below f* of most of the others.
#[test]
fn runs_on_other_models_are_refused() {
    let of = |counts: &[u64], widths: &[usize], decay: f64, bias: bool| {
        let layers: Vec<Layer> = widths.iter().map(|&width| Layer::new(width, decay)).collect();
        Ufm::new(ClassCounts::new(counts).unwrap(), layers, decay).unwrap().with_bias(bias)
    };
    let ufm = of(&[10, 5, 5], &[8], 1e-3, true);
    let run = run_of(&ufm);
    let judged = |ufm: Ufm| ending(&ufm.minimizer().unwrap(), &run);
    assert_eq!(judged(ufm), Ok(Ending::GlobalMinimum));
    for decay in [0.1, 1e-2, 1.001e-3, 1e-4] {
        let Err(Error::OtherObjective { expected, found }) = judged(of(&[10, 5, 5], &[8], decay, true)) else {
            panic!("decay {decay}");
        };
        assert!(found == run.objective && expected != found);
    }
    assert_eq!(
        judged(of(&[10, 5, 5, 5], &[8], 0.1, true)),
        Err(Error::ClassCounts { class: 3, expected: 5, found: 0 })
    );
    assert_eq!(judged(of(&[10, 10], &[8], 0.1, true)), Err(Error::ClassCounts { class: 1, expected: 10, found: 5 }));
    assert_eq!(judged(of(&[5, 10, 5], &[8], 1e-3, true)), Err(Error::ClassCounts { class: 0, expected: 5, found: 10 }));
    assert_eq!(judged(of(&[10, 5, 5], &[8; 3], 0.1, true)), Err(Error::LayerCount { expected: 3, found: 1 }));
    assert_eq!(judged(of(&[10, 5, 5], &[8], 1e-3, false)), Err(Error::BiasPresence { expected: false }));
    assert!(matches!(judged(of(&[10, 5, 5], &[9], 1e-3, true)), Err(Error::Shape { .. })));
    let smoothed = Targets::smoothed(ClassCounts::new([10, 5, 5]).unwrap(), 0.1).unwrap();
    let smoothed = Ufm::new(smoothed, [Layer::new(8, 1e-3)], 1e-3).unwrap();
    assert!(matches!(judged(smoothed), Err(Error::OtherObjective { .. })));
}

/// Every method, reduced or not: the objective of a run is that of its point to the rounding that is derived for it.
#[test]
fn runs_on_the_model_itself_are_accepted() {
    for (depth, scale, q) in [(1, 1.0, 0.1), (2, 1.0, 1e-6), (3, 30.0, 0.3), (2, 1e-3, 0.1)] {
        let ufm = model(vec![30, 12, 5, 1], &vec![9; depth], q, depth != 2);
        let minimizer = ufm.minimizer().unwrap();
        let methods = [
            Method::GradientDescent,
            Method::HeavyBall { momentum: 0.5 },
            Method::Nesterov,
            Method::LBFGS,
            Method::ADAM,
        ];
        for method in methods {
            for reduced in [true, false] {
                for (steps, seed) in [(0, 0), (1, 1), (40, 2)] {
                    let start =
                        Parameters::gaussian(&ufm, scale, &mut Xoshiro256PlusPlus::seed_from_u64(seed)).unwrap();
                    let descent = Descent::new(method).with_reduction(reduced).with_step_limit(steps);
                    let run = descent.minimize(&ufm, start).unwrap();
                    assert!(ending(&minimizer, &run).is_ok(), "{method:?}");
                }
            }
        }
    }
}

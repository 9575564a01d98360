//! What a critical point is, against the eigenvalues of a dense Hessian that knows nothing of the theory.

use neural_collapse::{
    ClassCounts, Layer, Parameters, Point, Ufm,
    critical::{Ending, ending, escape},
    descent::Descent,
    faer::{Col, Mat, Scale, Side},
};
use proptest::prelude::*;

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
    Ufm::new(classes, layers, feature_decay, bias).unwrap()
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

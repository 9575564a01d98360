//! Nonnegative features: closed forms, certified intervals, and a projected gradient that knows nothing of either.

use neural_collapse::{ClassCounts, ClassWeights, Error, Layer, Loss, Targets, Ufm, faer::Mat};
use proptest::prelude::*;

/// λ_W = λ_H = `lambda`: only their product matters for everything but norms.
fn model(counts: &[u64], lambda: f64, loss: Loss) -> Ufm {
    let ufm = Ufm::new(ClassCounts::new(counts).unwrap(), [Layer::new(2 * counts.len(), lambda)], lambda).unwrap();
    ufm.with_loss(loss).unwrap().with_nonnegative_features()
}

/// The objective of one feature for each class, written out again; and its gradient.
struct Judge<'a> {
    ufm: &'a Ufm,
}

struct Variables {
    weights: Mat<f64>,
    /// H̄ D.
    features: Mat<f64>,
    bias: Vec<f64>,
}

impl Judge<'_> {
    fn value(&self, x: &Variables) -> (f64, Variables) {
        let ufm = self.ufm;
        let classes = ufm.class_counts().unwrap();
        let (k, total) = (classes.classes(), classes.samples() as f64);
        let list = |values: Option<&[f64]>, neutral: f64| values.map_or(vec![neutral; k], <[f64]>::to_vec);
        let (alpha, delta) = (list(ufm.class_weights(), 1.0), list(ufm.logit_scales(), 1.0));
        let (iota, margin) = (list(ufm.logit_shifts(), 0.0), list(ufm.margins(), 0.0));
        let smoothing = ufm.targets().smoothing();
        let products = &x.weights * &x.features;
        let (mut value, mut slope, mut bias) = (0.0, Mat::zeros(k, k), vec![0.0; k]);
        for c in 0..k {
            let (root, weight) = ((classes.counts()[c] as f64).sqrt(), alpha[c] * classes.counts()[c] as f64 / total);
            let u: Vec<f64> = (0..k)
                .map(|i| delta[i] * (products[(i, c)] / root + x.bias[i]) + iota[i] - f64::from(i == c) * margin[c])
                .collect();
            let y = |i: usize| smoothing / k as f64 + if i == c { 1.0 - smoothing } else { 0.0 };
            let p = if ufm.loss() == Loss::Squared {
                value += weight * (0..k).map(|i| 0.5 * (u[i] - y(i)).powi(2)).sum::<f64>();
                u
            } else {
                let largest = u.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sum: f64 = u.iter().map(|u| (u - largest).exp()).sum();
                value += weight * (largest + sum.ln() - (0..k).map(|i| y(i) * u[i]).sum::<f64>());
                u.iter().map(|u| (u - largest).exp() / sum).collect()
            };
            for i in 0..k {
                let g = weight * delta[i] * (p[i] - y(i));
                slope[(i, c)] = g / root;
                bias[i] += g;
            }
        }
        let (layer, feature, decay) = (ufm.layers()[0].decay, ufm.feature_decay(), ufm.bias_decay());
        value += 0.5 * (layer * x.weights.squared_norm_l2() + feature * x.features.squared_norm_l2());
        value += 0.5 * decay * x.bias.iter().map(|b| b * b).sum::<f64>();
        let weights = &slope * x.features.transpose() + neural_collapse::faer::Scale(layer) * &x.weights;
        let features = x.weights.transpose() * &slope + neural_collapse::faer::Scale(feature) * &x.features;
        for (g, b) in bias.iter_mut().zip(&x.bias) {
            *g = if ufm.has_bias() { *g + decay * b } else { 0.0 };
        }
        (value, Variables { weights, features, bias })
    }

    /// Slow and simple: a step down the gradient, negative features to zero, half of the step if that is not lower.
    fn descend(&self, seed: usize, steps: usize) -> f64 {
        let (k, d) = (self.ufm.outputs(), self.ufm.feature_width());
        let wave = |i: usize, j: usize| ((seed + 1) as f64 * 12.9898 * (i * 31 + j * 17 + 1) as f64).sin();
        let unit = 2.0;
        let mut x = Variables {
            weights: Mat::from_fn(k, d, |i, j| unit * wave(i, j)),
            features: Mat::from_fn(d, k, |i, j| unit * wave(i + 7, j + 3).abs()),
            bias: vec![0.0; k],
        };
        let (mut value, mut gradient) = self.value(&x);
        let mut step = 1.0;
        for _ in 0..steps {
            let moved = |t: f64| Variables {
                weights: Mat::from_fn(k, d, |i, j| x.weights[(i, j)] - t * gradient.weights[(i, j)]),
                features: Mat::from_fn(d, k, |i, j| (x.features[(i, j)] - t * gradient.features[(i, j)]).max(0.0)),
                bias: x.bias.iter().zip(&gradient.bias).map(|(b, g)| b - t * g).collect(),
            };
            let next = moved(step);
            let (lower, slope) = self.value(&next);
            if lower < value {
                (x, value, gradient, step) = (next, lower, slope, step * 1.3);
            } else {
                step *= 0.5;
            }
        }
        value
    }

    /// The objective of the parameters that a minimizer gives.
    fn of_parameters(&self) -> f64 {
        let parameters = self.ufm.nonnegative_minimizer().unwrap().parameters().unwrap();
        let means = parameters.class_means(self.ufm).unwrap();
        let counts = self.ufm.class_counts().unwrap().counts();
        assert!((0..means.ncols()).all(|c| means.col(c).iter().all(|entry| *entry >= 0.0)));
        let features = Mat::from_fn(means.nrows(), means.ncols(), |i, c| means[(i, c)] * (counts[c] as f64).sqrt());
        let bias = parameters.bias().map_or(vec![0.0; counts.len()], |bias| bias.iter().copied().collect());
        self.value(&Variables { weights: parameters.weights()[0].clone(), features, bias }).0
    }
}

#[test]
fn cross_entropy_without_bias_has_its_published_closed_form() {
    let classes = ClassCounts::new([50, 20, 8, 3]).unwrap();
    let ufm = Ufm::new(classes, [Layer::new(16, 0.02)], 0.003).unwrap().without_bias();
    let minimizer =
        ufm.with_loss(Loss::CrossEntropy).unwrap().with_nonnegative_features().nonnegative_minimizer().unwrap();
    let gaps = [3.584_642_33, 3.076_913_93, 2.534_980_59, 1.881_435_91];
    for (group, gap) in minimizer.groups().iter().zip(gaps) {
        assert!((group.logit_gap.unwrap() - gap).abs() < 1e-8);
    }
    assert!((minimizer.objective() - 0.448_653_146_741_023_1).abs() < 1e-15);
    assert!(minimizer.is_proved() && minimizer.gap() == 0.0);
}

#[test]
fn a_class_vanishes_at_the_published_count() {
    // n_k ≤ N² λ² K/(K-1).
    let counts = [90, 40, 6];
    let threshold = (6.0_f64 * 2.0 / 3.0).sqrt() / 136.0;
    for (factor, vanished) in [(0.999, [false; 3]), (1.001, [false, false, true])] {
        let ufm = model(&counts, threshold * factor, Loss::CrossEntropy).without_bias();
        let minimizer = ufm.nonnegative_minimizer().unwrap();
        assert_eq!(minimizer.groups().iter().map(|group| group.is_vanished).collect::<Vec<_>>(), vanished);
        // A residual of K entries, a norm and a division.
        let scale = minimizer.groups()[2].vanishing_scale.unwrap();
        assert!((scale * factor - 1.0).abs() <= 16.0 * f64::EPSILON, "{scale}");
    }
    assert_eq!(model(&counts, 1e-3, Loss::Squared).nonnegative_minimizer().unwrap().groups()[0].vanishing_scale, None);
}

/// Models whose minimizer is closed.
fn closed() -> Vec<Ufm> {
    let counts = [50, 20, 8, 3];
    let weights = ClassWeights::Given(vec![0.7, 1.0, 2.0, 3.0]);
    let squared = model(&counts, 4e-3, Loss::Squared).without_bias().with_class_weights(weights.clone()).unwrap();
    let smoothed =
        Ufm::new(Targets::smoothed(ClassCounts::new(counts).unwrap(), 0.2).unwrap(), [Layer::new(8, 4e-3)], 4e-3);
    let smoothed = smoothed.unwrap().without_bias().with_loss(Loss::CrossEntropy).unwrap().with_nonnegative_features();
    vec![
        squared.clone(),
        squared.with_margins([0.1, 0.2, 0.3, 0.4]).unwrap().with_logit_scales([1.0, 0.9, 0.8, 0.7]).unwrap(),
        model(&counts, 4e-3, Loss::CrossEntropy).without_bias(),
        smoothed.with_class_weights(weights).unwrap().with_ldam(0.8).unwrap().with_logit_scales([0.7; 4]).unwrap(),
        model(&[9; 4], 0.05, Loss::CrossEntropy),
        model(&[9; 4], 0.05, Loss::Squared),
        model(&[9; 4], 0.05, Loss::CrossEntropy).with_bias_decay(0.1).unwrap(),
    ]
}

#[test]
fn closed_forms_are_where_a_projected_gradient_ends() {
    for (i, ufm) in closed().iter().enumerate() {
        let (judge, minimizer) = (Judge { ufm }, ufm.nonnegative_minimizer().unwrap());
        assert!(minimizer.is_proved(), "{i}: {}", minimizer.gap());
        assert!((judge.of_parameters() / minimizer.objective() - 1.0).abs() < 1e-13, "{i}");
        let (classifiers, groups) = (minimizer.classifiers().unwrap(), minimizer.groups());
        for (group, class) in groups.iter().flat_map(|group| group.classes.iter().map(move |&class| (group, class))) {
            // A sum of at most four squares.
            assert!((group.classifier_norm / classifiers.row(class).norm_l2() - 1.0).abs() < 1e-15 * 8.0, "{i}");
        }
        let found: Vec<f64> = (0..6).map(|seed| judge.descend(seed, 6_000)).collect();
        // None below the minimum, but for the rounding of some hundred terms; the best of some starts gets there.
        let least = found.iter().copied().fold(f64::INFINITY, f64::min) / minimizer.objective() - 1.0;
        assert!((-1e-13..1e-5).contains(&least), "{i}: {least:e}");
    }
}

#[test]
fn intervals_have_the_known_numbers() {
    for (counts, interval) in
        [([160, 120, 80, 40, 20], [0.170_930, 0.172_694]), ([500, 20, 10, 5, 2], [0.017_398, 0.019_076])]
    {
        let lambda = 0.5 * (counts[4] as f64).sqrt() / counts.iter().sum::<u64>() as f64;
        let minimizer = model(&counts, lambda, Loss::Squared).nonnegative_minimizer().unwrap();
        assert!((minimizer.lower_bound() - interval[0]).abs() < 5e-7, "{}", minimizer.lower_bound());
        assert!((minimizer.objective() - interval[1]).abs() < 5e-7, "{}", minimizer.objective());
        assert!(!minimizer.is_proved());
    }
}

/// Above a lower bound that it does not reach, a point may not be a minimizer, still less the only one.
#[test]
fn only_a_proved_minimizer_is_called_unique() {
    let optimum = |counts: [u64; 3]| {
        let lambda = 0.05 * (counts[2] as f64).sqrt() / counts.iter().sum::<u64>() as f64;
        model(&counts, lambda, Loss::Squared).optimum().unwrap()
    };
    let (proved, interval) = (optimum([69, 40, 30]), optimum([71, 40, 30]));
    assert_eq!((proved.is_proved(), proved.is_unique()), (true, Some(true)));
    assert_eq!((interval.is_proved(), interval.is_unique()), (false, None));
}

#[test]
fn a_free_bias_is_proved_exactly_where_no_class_pulls_with_another() {
    for loss in [Loss::Squared, Loss::CrossEntropy] {
        let is_proved = |counts: &[u64]| {
            let lambda = 0.05 * (counts[counts.len() - 1] as f64).sqrt() / counts.iter().sum::<u64>() as f64;
            let minimizer = model(counts, lambda, loss).nonnegative_minimizer().unwrap();
            assert!(minimizer.gap() > -1e-12, "{counts:?} {}", minimizer.gap());
            minimizer.is_proved()
        };
        // Three classes: iff the largest has at most half of the samples.
        assert!(is_proved(&[69, 40, 30]) && !is_proved(&[71, 40, 30]), "{loss}");
        // More: not sufficient.
        assert!(is_proved(&[30, 25, 20, 15]) && !is_proved(&[160, 120, 80, 40, 20]), "{loss}");
        assert!(is_proved(&[300, 7]) && is_proved(&[40; 5]) && is_proved(&[12]), "{loss}");
    }
}

#[test]
fn the_largest_class_can_vanish_first() {
    let lambda = 0.05 * 10.0_f64.sqrt() / 40.0;
    let vanished = |loss, factor: f64| {
        let minimizer = model(&[30, 10], lambda * factor, loss).nonnegative_minimizer().unwrap();
        (minimizer.groups()[0].is_vanished, minimizer.groups()[1].is_vanished)
    };
    let all = [Loss::Squared, Loss::CrossEntropy].map(|loss| vanished(loss, 1.0));
    assert!(all.contains(&(true, false)), "{all:?}");
}

#[test]
fn a_projected_gradient_ends_in_the_interval() {
    for (counts, loss) in [
        ([160, 120, 80, 40, 20], Loss::Squared),
        ([160, 120, 80, 40, 20], Loss::CrossEntropy),
        ([500, 20, 10, 5, 2], Loss::CrossEntropy),
    ] {
        let lambda = 0.5 * (counts[4] as f64).sqrt() / counts.iter().sum::<u64>() as f64;
        let ufm = model(&counts, lambda, loss);
        let (judge, minimizer) = (Judge { ufm: &ufm }, ufm.nonnegative_minimizer().unwrap());
        assert!((judge.of_parameters() / minimizer.objective() - 1.0).abs() < 1e-12);
        let least = (0..6).map(|seed| judge.descend(seed, 6_000)).fold(f64::INFINITY, f64::min);
        assert!(minimizer.lower_bound() <= least, "{counts:?} {loss}");
        assert!(least <= minimizer.objective() * (1.0 + 1e-4), "{counts:?} {loss} {least} {}", minimizer.objective());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn every_option_gives_an_interval(
        groups in prop::collection::vec((1_u64..300, 1_usize..4, (-2.0..2.0_f64).prop_map(f64::exp)), 1..5),
        q in (-4.0..1.0_f64).prop_map(f64::exp),
        cross_entropy: bool,
        smoothing in prop_oneof![Just(0.0), 0.0..0.5_f64],
        tau in prop_oneof![Just(0.0), -1.0..1.5_f64],
        ldam in prop_oneof![Just(0.0), 0.0..1.0_f64],
        cdt in prop_oneof![Just(0.0), 0.0..0.4_f64],
        bias in prop_oneof![Just(None), Just(Some(0.0)), (-4.0..1.0_f64).prop_map(|x| Some(x.exp()))],
    ) {
        let counts: Vec<u64> = groups.iter().flat_map(|&(count, classes, _)| vec![count; classes]).collect();
        let weights: Vec<f64> = groups.iter().flat_map(|&(_, classes, weight)| vec![weight; classes]).collect();
        // A fit that is perfect, as of one class, leaves what rounding makes of outputs of size 1 and their weights.
        let largest = weights.iter().copied().fold(1.0, f64::max);
        let rounding = 16.0 * f64::EPSILON * largest;
        let classes = ClassCounts::new(counts).unwrap();
        let lambda = q * (classes.group(0).count as f64).sqrt() / classes.samples() as f64;
        let loss = if cross_entropy { Loss::CrossEntropy } else { Loss::Squared };
        let ufm = Ufm::new(Targets::smoothed(classes, smoothing).unwrap(), [Layer::new(64, lambda)], lambda).unwrap();
        let ufm = ufm.with_loss(loss).unwrap().with_class_weights(ClassWeights::Given(weights)).unwrap();
        let ufm = ufm.with_logit_adjustment(tau).unwrap().with_ldam(ldam).unwrap().with_cdt(cdt).unwrap();
        let ufm = match bias {
            Some(decay) => ufm.with_bias_decay(decay).unwrap(),
            None => ufm.without_bias(),
        };
        let ufm = ufm.with_nonnegative_features();
        let (judge, minimizer) = (Judge { ufm: &ufm }, ufm.nonnegative_minimizer().unwrap());
        let (objective, bound) = (minimizer.objective(), minimizer.lower_bound());
        prop_assert!(objective - bound >= -1e-12 * objective - rounding, "{objective} {bound}");
        prop_assert!((judge.of_parameters() - objective).abs() <= 1e-11 * objective + rounding);
        // A short descent is above the bound.
        prop_assert!(judge.descend(0, 100) >= bound * (1.0 - 1e-12) - rounding);
    }
}

#[test]
fn narrow_layers_are_refused_with_a_bound() {
    let classes = ClassCounts::new([9; 4]).unwrap();
    let ufm = Ufm::new(classes, [Layer::new(3, 1e-3)], 1e-3).unwrap().with_nonnegative_features();
    assert!(matches!(ufm.nonnegative_minimizer(), Err(Error::WidthBelowRank { width: 3, rank: 4, .. })));
}

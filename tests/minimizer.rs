//! The closed forms against a table of 50 digits and more, against the objective, and against each other.

use faer::{Mat, MatRef};
use neural_collapse::{
    ClassCounts, Error, Layer, Parameters, Ufm,
    linalg::dense_svd,
    theory::{Fate, GroupFate, Limit, Minimizer, Tie, centered_label_matrix},
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, StandardNormal};

fn ufm(counts: &str, widths: &[usize], layer_decays: &[f64], feature_decay: f64, bias: bool) -> Ufm {
    let layers: Vec<Layer> = widths.iter().zip(layer_decays).map(|(&width, &decay)| Layer::new(width, decay)).collect();
    Ufm::new(counts.parse::<ClassCounts>().unwrap(), layers, feature_decay).unwrap().with_bias(bias)
}

fn numbers<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str, separator: char) -> Vec<T> {
    text.split(separator).map(|word| word.parse().unwrap()).collect()
}

/// A model of up to 12 classes, four layers, and decays for which some directions are kept and some collapse.
fn models() -> impl Strategy<Value = Ufm> {
    let counts = prop_oneof![prop::collection::vec(1_u64..4, 1..12), prop::collection::vec(1_u64..60, 1..12),];
    let layers = prop::collection::vec((1_usize..14, -3.0..3.0_f64), 1..5);
    (counts, layers, -2.0..0.3_f64, any::<bool>()).prop_map(|(counts, layers, log_q, bias)| {
        let classes = ClassCounts::new(counts).unwrap();
        // The first q is 10^log_q: λ_H makes up for whatever the layers have drawn.
        let depth = layers.len() as f64;
        let layers: Vec<Layer> = layers.iter().map(|&(width, log)| Layer::new(width, 10_f64.powf(log))).collect();
        let product: f64 = layers.iter().map(|layer| layer.decay).product();
        let largest = classes.group(0).count as f64;
        let c = 10_f64.powf(log_q) * largest.powf(depth / (depth + 1.0)) / classes.samples() as f64;
        Ufm::new(classes, layers, c.powf(depth + 1.0) / product).unwrap().with_bias(bias)
    })
}

/// √Σ λ_l ‖W_l‖² + λ_H ‖H‖² + ‖b‖²: what rounding of the gradient is measured against.
fn scale(ufm: &Ufm, parameters: &Parameters) -> f64 {
    let layers = ufm.layers().iter().zip(parameters.weights());
    let weights: f64 = layers.map(|(layer, weights)| layer.decay * weights.squared_norm_l2()).sum();
    (weights + ufm.feature_decay() * parameters.features().squared_norm_l2()).sqrt()
}

/// The norm of the gradient in the balanced variables √λ_l W_l, √λ_H H, b.
fn gradient_norm(ufm: &Ufm, gradient: &Parameters) -> f64 {
    let layers = ufm.layers().iter().zip(gradient.weights());
    let weights: f64 = layers.map(|(layer, weights)| weights.squared_norm_l2() / layer.decay).sum();
    let bias: f64 = gradient.bias().map_or(0.0, |bias| bias.squared_norm_l2());
    (weights + gradient.features().squared_norm_l2() / ufm.feature_decay() + bias).sqrt()
}

#[test]
fn every_number_agrees_with_the_reference() {
    let mut worst = 0.0_f64;
    let mut check = |ours: f64, reference: f64, what: &str| {
        if reference == 0.0 {
            return assert!(ours == 0.0, "{what}: {ours:e} instead of 0");
        }
        let error = (ours / reference - 1.0).abs();
        // Some 8 roundings of half an epsilon in q; for L ≥ 2 e and z magnify them by at most 1.5, for L = 1 z by
        // e/(1-e), which the table keeps below that; every later step divides errors by L+1 or adds two roundings.
        assert!(error <= 8.0 * f64::EPSILON, "{what}: {ours:e} instead of {reference:e}, off by {error:e}");
        worst = worst.max(error);
    };
    for line in include_str!("reference/minima.csv").lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let (widths, layer_decays): (Vec<usize>, Vec<f64>) = (numbers(fields[1], ' '), numbers(fields[2], ' '));
        let feature_decay = fields[3].parse().unwrap();
        let minimizer = ufm(fields[0], &widths, &layer_decays, feature_decay, fields[4] == "true").minimizer().unwrap();
        check(minimizer.objective(), fields[5].parse().unwrap(), line);
        let directions: Vec<&str> = fields[6].split(' ').collect();
        assert_eq!(minimizer.directions().len(), directions.len(), "{line}");
        for (direction, reference) in minimizer.directions().iter().zip(directions) {
            let (values, multiplicity) = reference.split_once('x').unwrap();
            assert_eq!(direction.multiplicity, multiplicity.parse::<usize>().unwrap(), "{line}");
            let reference: Vec<f64> = numbers(values, ':');
            let ours = [direction.target, direction.prediction, direction.product, direction.feature];
            for (&ours, &reference) in ours.iter().chain(&direction.layers).zip(&reference) {
                check(ours, reference, line);
            }
            assert_eq!(direction.fate == Fate::Kept, reference[1] > 0.0);
        }
    }
    println!("worst relative error: {worst:.1e}");
}

#[test]
fn counts_of_one_class_have_a_minimizer() {
    let biased = ufm("9", &[3, 3], &[1e-2, 1e-2], 1e-2, true).minimizer().unwrap();
    assert_eq!((biased.objective(), biased.rank(), biased.is_unique()), (0.0, 0, true));
    assert_eq!(biased.parameters().unwrap().bias().unwrap()[0], 1.0);
    assert_eq!(biased.group_fates().unwrap(), [GroupFate::Vanished]);
    let bias_free = ufm("9", &[3, 3], &[1e-2, 1e-2], 1e-2, false).minimizer().unwrap();
    assert_eq!((bias_free.rank(), bias_free.group_fates().unwrap()), (1, vec![GroupFate::Distinct]));
}

#[test]
fn both_ties_are_listed() {
    // L = 2 at q = q_2: put the critical decay that the crate reports back into the model.
    let before = ufm("50x2 20 10", &[8, 8], &[1e-2, 1e-2], 1e-3, false);
    for direction in 0..3 {
        let decay = before.minimizer().unwrap().critical_feature_decay(direction);
        let at = ufm("50x2 20 10", &[8, 8], &[1e-2, 1e-2], decay, false).minimizer().unwrap();
        assert_eq!(at.ties(), [Tie::Threshold { direction }]);
        assert_eq!(at.directions()[direction].shrinkage, 0.5);
        assert_eq!(at.group_fates().unwrap()[direction], GroupFate::Ambiguous);
        // Both sides of the tie.
        let below = ufm("50x2 20 10", &[8, 8], &[1e-2, 1e-2], decay * (1.0 - 1e-13), false).minimizer().unwrap();
        let above = ufm("50x2 20 10", &[8, 8], &[1e-2, 1e-2], decay * (1.0 + 1e-13), false).minimizer().unwrap();
        assert_eq!(below.directions()[direction].fate, Fate::Kept);
        assert_eq!(above.directions()[direction].fate, Fate::Collapsed);
        assert!(below.is_unique() && above.is_unique());
        let layer_decay = before.minimizer().unwrap().critical_layer_decay(direction, 1);
        let at = ufm("50x2 20 10", &[8, 8], &[1e-2, layer_decay], 1e-3, false).minimizer().unwrap();
        assert_eq!(at.ties(), [Tie::Threshold { direction }]);
    }
    // A width that cuts through the two classes of 50, and one that cuts between different counts.
    let cut = ufm("50x2 20 10", &[1], &[1e-3], 1e-3, false).minimizer().unwrap();
    assert_eq!(cut.ties(), [Tie::Width { direction: 0 }]);
    assert_eq!(cut.group_fates().unwrap(), [GroupFate::Ambiguous, GroupFate::Vanished, GroupFate::Vanished]);
    assert!(ufm("50x2 20 10", &[2], &[1e-3], 1e-3, false).minimizer().unwrap().is_unique());
    // L = 1 at q = 1: the direction shrinks to zero continuously, there is no tie.
    let plain = ufm("50 20", &[8], &[1e-2], 1e-3, false);
    let decay = plain.minimizer().unwrap().critical_feature_decay(1);
    let at = ufm("50 20", &[8], &[1e-2], decay, false).minimizer().unwrap();
    assert!(at.is_unique() && at.directions()[1].prediction <= 8.0 * f64::EPSILON * at.directions()[1].target);
}

/// Close to the threshold of L = 1, where 1-e cancels: z = σ - N √(λ_1 λ_H) of the decays as `f64` have them, by mpmath with
/// 60 digits. What is left of σ² is good to twice the precision, a few operations in single precision follow.
#[test]
fn predictions_close_to_their_threshold_keep_their_digits() {
    let bias_free = ufm("2 1", &[2], &[0.1], 2.222_222, false).minimizer().unwrap();
    let biased = ufm("100 50 50", &[4], &[1e-2], 0.124_999_9, true).minimizer().unwrap();
    let own = biased.directions().iter().find(|direction| direction.group == Some(1)).unwrap();
    for (z, expected) in
        [(bias_free.directions()[0].prediction, 7.071_067_987_275_42e-8), (own.prediction, 2.828_427_690_439_576_6e-6)]
    {
        assert!((z - expected).abs() <= 4.0 * f64::EPSILON * expected, "{z:e} {expected:e}");
    }
}

/// Levels of labels are distinct where their singular values round to one number: a width between them cuts no tie.
#[test]
fn distinct_levels_that_round_to_one_number_are_no_tie() {
    let counts = "2251799813685249 2251799813685248 2251799813685248";
    let minimizer = ufm(counts, &[1], &[1e-40], 1e-40, true).minimizer().unwrap();
    assert_eq!(minimizer.directions()[0].target, minimizer.directions()[1].target);
    assert!(minimizer.is_unique());
}

/// The decay that a direction collapses at, where the factor to it is beyond the range of `f64`: σ²/(N² λ_1).
#[test]
fn critical_decays_have_the_range_of_decays() {
    let minimizer = ufm("2 1", &[2], &[2.3e-308], 1e-318, false).minimizer().unwrap();
    for (direction, square) in [(0, 2.0), (1, 1.0)] {
        let expected = square / 9.0 / 2.3e-308;
        assert!((minimizer.critical_feature_decay(direction) / expected - 1.0).abs() <= 8.0 * f64::EPSILON);
    }
}

#[test]
fn what_a_width_cuts_is_gone_at_any_decay() {
    // Biased, cut between the groups of 600 and of 50; bias-free, between 1000 and 45.
    let model = ufm("1500 600x5 50x20", &[6], &[1e-5], 1e-5, true);
    let minimizer = model.minimizer().unwrap();
    assert_eq!(minimizer.group_fates().unwrap()[2], GroupFate::Coincident);
    assert_eq!(minimizer.coincidence_scale(2), Ok(Limit::Never));
    assert!(minimizer.coincidence_scale(1).unwrap().value().unwrap() > 1.0);
    assert_eq!(minimizer.coincidence_scale(0), Ok(Limit::Always));
    let minimizer = ufm("1000x2 45 10", &[2], &[1e-5], 1e-5, false).minimizer().unwrap();
    assert_eq!(minimizer.group_fates().unwrap()[2], GroupFate::Vanished);
    assert_eq!(minimizer.vanishing_scale(2), Ok(0.0));
    let direction = minimizer.directions().iter().position(|direction| direction.fate == Fate::Cut).unwrap();
    assert_eq!((minimizer.critical_feature_decay(direction), minimizer.critical_layer_decay(direction, 0)), (0.0, 0.0));
}

#[test]
#[should_panic(expected = "there is no group 3: there are 3, counted from 0")]
fn a_group_that_is_not_there_is_named() {
    let _ = ufm("1500 600x5 50x20", &[6], &[1e-5], 1e-5, true).minimizer().unwrap().coincidence_scale(3);
}

#[test]
#[should_panic(expected = "there is no direction 9: there are 5, counted from 0")]
fn a_direction_that_is_not_there_is_named() {
    let _ = ufm("1500 600x5 50x20", &[64], &[1e-5], 1e-5, true).minimizer().unwrap().critical_feature_decay(9);
}

#[test]
fn bias_free_classes_collapse_at_the_known_count() {
    // L = 1: n_k <= N² λ_1 λ_H. N = 100, so that λ_1 λ_H = 20e-4 is critical for 20 samples.
    for (product, fates) in [(19e-4, [Fate::Kept, Fate::Kept]), (21e-4, [Fate::Kept, Fate::Collapsed])] {
        let minimizer = ufm("80 20", &[4], &[1e-2], product / 1e-2, false).minimizer().unwrap();
        assert_eq!(minimizer.directions().iter().map(|direction| direction.fate).collect::<Vec<_>>(), fates);
    }
}

#[test]
fn minority_collapse_with_a_bias_makes_classifiers_coincide() {
    let model = ufm("1500 600x5 50x20", &[64], &[5e-3], 5e-4, true);
    let minimizer = model.minimizer().unwrap();
    assert_eq!(minimizer.group_fates().unwrap(), [GroupFate::Single, GroupFate::Distinct, GroupFate::Coincident]);
    let parameters = minimizer.parameters().unwrap();
    let (product, means) = (parameters.product(), parameters.class_means(&model).unwrap());
    for class in 7..26 {
        // Equal entries of the singular vectors give equal sums, to rounding of 6 terms.
        let rounding = 16.0 * f64::EPSILON * product.norm_l2();
        assert!((product.row(6) - product.row(class)).norm_l2() <= rounding);
        assert!((means.col(6) - means.col(class)).norm_l2() <= rounding);
    }
    assert!((product.row(1) - product.row(2)).norm_l2() > 0.1);
}

#[test]
fn balanced_classes_give_the_simplex_and_the_orthogonal_frame() {
    for (depth, bias) in [(1, true), (3, true), (1, false), (3, false)] {
        let model = ufm("30x6", &vec![9; depth], &vec![5e-3; depth], 1e-3, bias);
        let parameters =
            model.minimizer().unwrap().random_parameters(&mut Xoshiro256PlusPlus::seed_from_u64(7)).unwrap();
        let means = parameters.class_means(&model).unwrap();
        for gram in [means.transpose() * &means, parameters.product() * parameters.product().transpose()] {
            let norm = gram[(0, 0)];
            assert!(norm > 0.1);
            for i in 0..6 {
                for j in 0..6 {
                    // Simplex equiangular tight frame: cosines -1/(K-1); orthogonal frame: 0.
                    let cosine = if i == j {
                        1.0
                    } else if bias {
                        -1.0 / 5.0
                    } else {
                        0.0
                    };
                    assert!((gram[(i, j)] / norm - cosine).abs() <= 64.0 * f64::EPSILON, "{depth} {bias} {i} {j}");
                }
            }
        }
    }
}

#[test]
fn a_million_classes_have_a_minimizer_but_no_dense_parameters() {
    let classes = ClassCounts::long_tail(1_000_000, 1_000, 1000.0).unwrap();
    let model = Ufm::new(classes, [Layer::new(2_000_000, 1e-9)], 1e-9).unwrap();
    let minimizer = model.minimizer().unwrap();
    assert_eq!(minimizer.singular_values(|direction| direction.target).len(), 1_000_000);
    // L = 1 and nothing collapses: σ² e (2-e)/(2N) = c (2 σ - c)/(2N) with c = N √(λ_1 λ_H). A million roundings at most.
    let (c, samples) = (model.samples() as f64 * 1e-9, model.samples() as f64);
    let targets = minimizer.singular_values(|direction| direction.target);
    let expected: f64 = targets.iter().filter(|target| **target > 0.0).map(|target| c * (2.0 * target - c)).sum();
    let error = minimizer.objective() / (expected / (2.0 * samples)) - 1.0;
    assert!(error.abs() <= 1e6 * f64::EPSILON, "{error:e}");
    assert!(matches!(minimizer.parameters(), Err(Error::TooLarge { .. })));
}

/// Vectors for 3000 distinct counts take seconds, room that is not there is missed at once.
#[test]
fn parameters_that_do_not_fit_are_refused_before_any_work() {
    let counts: Vec<u64> = (0..3000).map(|i| (1 << 40) + i).collect();
    let model = Ufm::new(ClassCounts::new(counts).unwrap(), [Layer::new(4096, 1e-9)], 1e-9).unwrap();
    let clock = std::time::Instant::now();
    let minimizer = model.minimizer().unwrap();
    let work = clock.elapsed();
    let clock = std::time::Instant::now();
    let refused = [
        minimizer.parameters().map(drop),
        minimizer.random_parameters(&mut Xoshiro256PlusPlus::seed_from_u64(0)).map(drop),
    ];
    // The minimizer itself takes O(R²) operations, and vectors a hundred times as many.
    assert!(clock.elapsed() < work, "{:?} after {work:?}", clock.elapsed());
    for refused in refused {
        let message = refused.unwrap_err().to_string();
        assert_eq!(message, "features H: 4096 x 3298534887826500 numbers do not fit in memory");
    }
}

#[test]
#[should_panic(expected = "there is no layer 2: there are 1, counted from 0")]
fn a_layer_that_is_not_there_is_named() {
    let _ = ufm("1500 600x5 50x20", &[6], &[1e-5], 1e-5, true).minimizer().unwrap().critical_layer_decay(0, 2);
}

#[test]
#[should_panic(expected = "there is no layer 1: there are 1, counted from 0")]
fn the_shape_of_a_layer_that_is_not_there_is_named() {
    let _ = ufm("1500 600x5 50x20", &[6], &[1e-5], 1e-5, true).weight_shape(1);
}

#[test]
fn critical_scales_grow_every_decay_to_the_threshold() {
    let model = ufm("5000 2997 1796 1077", &[16, 16], &[1e-3, 2e-3], 1e-4, true);
    for direction in &model.minimizer().unwrap().directions()[..3] {
        let s = direction.critical_scale;
        let grown = ufm("5000 2997 1796 1077", &[16, 16], &[1e-3 * s, 2e-3 * s], 1e-4 * s, true).minimizer().unwrap();
        let twin = grown.directions().iter().find(|other| other.target == direction.target).unwrap();
        // q grows by s; three products of decays round on the way.
        assert!((twin.critical_scale - 1.0).abs() <= 16.0 * f64::EPSILON);
    }
}

proptest! {
    /// f(Parameters) = f*, gradient = 0, in the canonical and in a random gauge.
    #[test]
    fn parameters_attain_the_minimum(model in models(), seed: u64) {
        let minimizer = model.minimizer().unwrap();
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        for parameters in [minimizer.parameters().unwrap(), minimizer.random_parameters(&mut rng).unwrap()] {
            let (objective, gradient) = model.objective_and_gradient(&parameters).unwrap();
            // Products of L+1 matrices of up to 14 columns, each summing 14 terms: some 14 (L+2) roundings of terms of
            // the size of the labels (their part of f is at most 1/2) and of the penalties (at most f*).
            let rounding = 14.0 * (model.depth() + 2) as f64 * f64::EPSILON;
            prop_assert!((objective - minimizer.objective()).abs() <= rounding * (0.5 + minimizer.objective()));
            prop_assert!(objective == model.objective(&parameters).unwrap());
            // The gradient of each block is a difference of two equal terms of size √(λ) ‖block‖ in balanced variables;
            // the residual they are made of is itself a difference, magnified by at most ‖Y‖/‖residual‖ <= 1/min(e).
            let smallest = minimizer.directions().iter().map(|direction| direction.shrinkage).fold(1.0, f64::min);
            let magnified = rounding / smallest * (1.0 + scale(&model, &parameters));
            prop_assert!(gradient_norm(&model, &gradient) <= magnified, "{} {}", gradient_norm(&model, &gradient), magnified);
        }
    }

    /// The objective does not change under the gauge, at any point: W_l → Q_{l+1} W_l Q_lᵀ, H → Q_1 H.
    #[test]
    fn the_objective_is_gauge_invariant(model in models(), seed: u64) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let point = Parameters::gaussian_with_deviations(&model, 1.0, 1.0, &mut rng).unwrap();
        let (mut weights, mut features, bias) = point.clone().into_parts();
        for l in 0..model.depth() {
            let width = model.layers()[l].width;
            let gaussian = Mat::<f64>::from_fn(width, width, |_, _| StandardNormal.sample(&mut rng));
            let rotation = gaussian.qr().compute_thin_Q();
            weights[l] = &weights[l] * rotation.transpose();
            if l > 0 {
                weights[l - 1] = &rotation * &weights[l - 1];
            } else {
                features = &rotation * features;
            }
        }
        let turned = Parameters::new(&model, weights, features, bias).unwrap();
        let (a, b) = (model.objective(&point).unwrap(), model.objective(&turned).unwrap());
        // Products of up to five matrices of 14 columns, turned twice each.
        prop_assert!((a / b - 1.0).abs() <= 1000.0 * f64::EPSILON);
    }

    /// Layers are balanced, features collapsed, and singular values are those promised.
    #[test]
    fn layers_are_balanced_and_collapsed(model in models(), seed: u64) {
        let minimizer = model.minimizer().unwrap();
        let parameters = minimizer.random_parameters(&mut Xoshiro256PlusPlus::seed_from_u64(seed)).unwrap();
        let means = parameters.class_means(&model).unwrap();
        let root_counts: Vec<f64> = model.class_counts().unwrap().counts().iter().map(|&count| (count as f64).sqrt()).collect();
        let weighted = Mat::from_fn(means.nrows(), means.ncols(), |i, k| means[(i, k)] * root_counts[k]);
        let rounding = 64.0 * f64::EPSILON;
        let close = |matrix: MatRef<'_, f64>, values: Vec<f64>| {
            let svd = dense_svd(matrix).unwrap();
            let measured = svd.values.iter().copied().chain(std::iter::repeat(0.0));
            measured.zip(&values).all(|(measured, &value)| (measured - value).abs() <= rounding * values[0])
        };
        prop_assert!(close(weighted.as_ref(), minimizer.singular_values(|direction| direction.feature)));
        prop_assert!(close(parameters.product().as_ref(), minimizer.singular_values(|direction| direction.product)));
        for (l, weights) in parameters.weights().iter().enumerate() {
            prop_assert!(close(weights.as_ref(), minimizer.singular_values(|direction| direction.layers[l])));
        }
        // λ_l W_l W_lᵀ = λ_{l+1} W_{l+1}ᵀ W_{l+1} and λ_1 W_1ᵀ W_1 = λ_H H Hᵀ.
        let penalty = minimizer.directions().first().map_or(0.0, |d| model.feature_decay() * d.feature * d.feature);
        let first = &parameters.weights()[0];
        let gap = model.layers()[0].decay * first.transpose() * first
            - model.feature_decay() * &weighted * weighted.transpose();
        prop_assert!(gap.norm_l2() <= 14.0 * rounding * penalty);
        for l in 1..model.depth() {
            let (below, above) = (&parameters.weights()[l - 1], &parameters.weights()[l]);
            let gap = model.layers()[l - 1].decay * below * below.transpose()
                - model.layers()[l].decay * above.transpose() * above;
            prop_assert!(gap.norm_l2() <= 14.0 * rounding * penalty);
        }
        // NC1: every feature is its class mean.
        let mut column = 0;
        for (class, &count) in model.class_counts().unwrap().counts().iter().enumerate() {
            for _ in 0..count {
                let deviation = (parameters.features().col(column) - means.col(class)).norm_l2();
                // A mean of n_k equal numbers rounds n_k times.
                prop_assert!(deviation <= count as f64 * f64::EPSILON * means.col(class).norm_l2());
                column += 1;
            }
        }
    }

    /// No random point goes below f*.
    #[test]
    fn no_random_point_goes_below_the_minimum(model in models(), seed: u64, scale in 0.01..3.0_f64) {
        let minimum = model.minimizer().unwrap().objective();
        let parameters = Parameters::gaussian(&model, scale, &mut Xoshiro256PlusPlus::seed_from_u64(seed)).unwrap();
        prop_assert!(model.objective(&parameters).unwrap() >= minimum);
        // Nor does a point near the minimizer.
        let (mut weights, features, bias) = model.minimizer().unwrap().parameters().unwrap().into_parts();
        for (matrix, noise) in weights.iter_mut().zip(parameters.weights()) {
            *matrix += 0.01 * noise;
        }
        let near = Parameters::new(&model, weights, features, bias).unwrap();
        prop_assert!(model.objective(&near).unwrap() >= minimum * (1.0 - 1e-13));
    }

    /// Permuting the classes permutes the answer: all numbers are the same.
    #[test]
    fn permuting_classes_permutes_the_answer(model in models(), shift in 0_usize..12) {
        let mut counts = model.class_counts().unwrap().counts().to_vec();
        let shift = shift % counts.len();
        counts.rotate_left(shift);
        let rotated = Ufm::new(ClassCounts::new(counts).unwrap(), model.layers(), model.feature_decay()).unwrap().with_bias(model.has_bias());
        let (ours, theirs) = (model.minimizer().unwrap(), rotated.minimizer().unwrap());
        prop_assert_eq!(ours.directions(), theirs.directions());
        prop_assert_eq!(ours.objective(), theirs.objective());
        // Prediction between classes: row and column k of one are row and column k - shift of the other.
        let prediction = |minimizer: &Minimizer| {
            let parameters = minimizer.parameters().unwrap();
            parameters.product() * parameters.class_means(minimizer.ufm()).unwrap()
        };
        if ours.is_unique() {
            let (a, b) = (prediction(&ours), prediction(&theirs));
            let k = a.nrows();
            for i in 0..k {
                for j in 0..k {
                    prop_assert!((a[((i + shift) % k, (j + shift) % k)] - b[(i, j)]).abs() <= 64.0 * f64::EPSILON);
                }
            }
        }
    }

    /// The target, decomposed densely, and thresholded direction by direction, is the prediction Z (Theorems 4.1 and
    /// 4.2).
    #[test]
    fn the_prediction_is_the_thresholded_target(counts in prop::collection::vec(1_u64..60, 1..12), log_q in -2.0..0.3_f64) {
        let classes = ClassCounts::new(counts).unwrap();
        let decay = 10_f64.powf(log_q) * (classes.group(0).count as f64).sqrt() / classes.samples() as f64;
        let model = Ufm::new(classes, [Layer::new(12, 0.1 * decay)], 10.0 * decay).unwrap();
        let minimizer = model.minimizer().unwrap();
        let target = centered_label_matrix(model.class_counts().unwrap()).unwrap();
        let threshold = model.class_counts().unwrap().samples() as f64 * (model.layers()[0].decay * model.feature_decay()).sqrt();
        let thresholded = neural_collapse::linalg::soft_threshold(target.as_ref(), threshold).unwrap();
        let parameters = minimizer.parameters().unwrap();
        let means = parameters.class_means(&model).unwrap();
        let prediction = parameters.product() * means;
        let matrix = thresholded.matrix();
        for i in 0..matrix.nrows() {
            for k in 0..matrix.ncols() {
                let root = (model.class_counts().unwrap().counts()[k] as f64).sqrt();
                // A dense decomposition of a 12 x 12 matrix: some K epsilons of the largest singular value.
                prop_assert!((prediction[(i, k)] * root - matrix[(i, k)]).abs() <= 64.0 * f64::EPSILON * target.norm_l2());
            }
        }
    }
}

//! Norms and angles by group against the Gram matrices of a minimizer's parameters.

use neural_collapse::{
    ClassCounts, Error, Layer, Ufm,
    theory::{GroupFate, critical_imbalance_ratio},
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

fn models() -> impl Strategy<Value = Ufm> {
    let counts = prop::collection::vec(prop_oneof![1_u64..4, 1_u64..60], 1..12);
    (counts, 1_usize..4, 1_usize..14, -2.0..0.3_f64, any::<bool>()).prop_map(|(counts, depth, width, log_q, bias)| {
        let classes = ClassCounts::new(counts).unwrap();
        let l = depth as f64;
        let c = 10_f64.powf(log_q) * (classes.group(0).count as f64).powf(l / (l + 1.0)) / classes.samples() as f64;
        Ufm::new(classes, vec![Layer::new(width, c); depth], c, bias).unwrap()
    })
}

/// 2e-14: what every number that the crate reports for class counts keeps to.
const PROMISE: f64 = 90.0 * f64::EPSILON;

#[test]
fn every_number_agrees_with_the_reference() {
    let mut worst = 0.0_f64;
    let mut check = |ours: f64, reference: f64, what: &str| {
        let error = if reference == 0.0 { ours.abs() } else { (ours / reference - 1.0).abs() };
        assert!(error <= PROMISE, "{what}: {ours:e} instead of {reference:e}, off by {error:e}");
        worst = worst.max(error);
    };
    for line in include_str!("reference/geometries.csv").lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let classes: ClassCounts = fields[0].parse().unwrap();
        let layers: Vec<Layer> =
            fields[1].split(' ').map(|decay| Layer::new(2_000_000, decay.parse().unwrap())).collect();
        let minimizer = Ufm::new(classes.clone(), layers, fields[2].parse().unwrap(), fields[3] == "true")
            .unwrap()
            .minimizer()
            .unwrap();
        let scales = fields[4].split_whitespace().map(|scale| scale.parse().unwrap());
        for (direction, scale) in minimizer.directions().iter().filter(|direction| direction.target > 0.0).zip(scales) {
            check(direction.critical_scale, scale, line);
        }
        let geometry = minimizer.geometry().unwrap();
        let (classifiers, class_means) = (geometry.classifiers(), geometry.class_means());
        for entry in fields[5].split(' ') {
            let words: Vec<&str> = entry.split(':').collect();
            let group = |word: &str| classes.group(word.parse().unwrap()).classes;
            let (k, l) = match (words[0] == words[1], words[2] == "true") {
                (true, false) => (group(words[0])[0], group(words[0])[1]),
                _ => (group(words[0])[0], group(words[1])[0]),
            };
            let what = format!("{}, {entry}", fields[0]);
            let reference: Vec<f64> = words[3..].iter().map(|word| word.parse().unwrap()).collect();
            for (gram, reference) in [(classifiers, reference[0]), (class_means, reference[1])] {
                let product = gram.inner_product(k, l).unwrap();
                check(product, reference, &what);
                // Four factors of each term are off by some epsilons: their sum is, beside the norms.
                let norms = gram.norm(k).unwrap() * gram.norm(l).unwrap();
                assert!(
                    (product - reference).abs() <= 8.0 * f64::EPSILON * norms,
                    "{what}: {product:e} instead of {reference:e}"
                );
            }
            check(geometry.logit(k, l).unwrap(), reference[2], &what);
        }
    }
    println!("worst relative error: {worst:.1e}");
}

#[test]
fn critical_ratios_agree_with_the_reference() {
    for line in include_str!("reference/critical_ratios.csv").lines().skip(1) {
        let fields: Vec<&str> = line.split(',').collect();
        let layers: Vec<Layer> = fields[3].split(' ').map(|decay| Layer::new(8, decay.parse().unwrap())).collect();
        let (majority, minority) = (fields[0].parse().unwrap(), fields[1].parse().unwrap());
        let (count, feature_decay) = (fields[2].parse().unwrap(), fields[4].parse().unwrap());
        let ours = critical_imbalance_ratio(majority, minority, count, &layers, feature_decay).unwrap();
        let reference: f64 = fields[5].parse().unwrap();
        assert!((ours / reference - 1.0).abs() <= PROMISE, "{line}: {ours:e} instead of {reference:e}");
    }
}

proptest! {
    /// By how much a sample scores higher for its own class: from the logits and the bias.
    #[test]
    fn logit_gaps_are_those_of_the_logits(model in models()) {
        let minimizer = model.minimizer().unwrap();
        let geometry = minimizer.geometry().unwrap();
        let bias = minimizer.bias();
        for k in 0..model.outputs() {
            for l in 0..model.outputs() {
                let bias = bias.as_ref().map_or(0.0, |bias| bias[k] - bias[l]);
                let (own, other) = (geometry.logit(k, k), geometry.logit(l, k));
                prop_assert_eq!(geometry.logit_gap(k, l).is_some(), own.is_some() && other.is_some());
                if let (Some(gap), Some(own), Some(other)) = (geometry.logit_gap(k, l), own, other) {
                    // Numbers below 1, each off by some epsilons.
                    prop_assert!((gap - (own - other + bias)).abs() <= 16.0 * f64::EPSILON);
                }
            }
        }
    }

    /// Every number, where it is one; in two random gauges, so that numbers that depend on a choice would differ.
    #[test]
    fn grams_are_those_of_the_parameters(model in models(), seed: u64) {
        let minimizer = model.minimizer().unwrap();
        let geometry = minimizer.geometry().unwrap();
        let parameters = minimizer.random_parameters(&mut Xoshiro256PlusPlus::seed_from_u64(seed)).unwrap();
        let (product, means) = (parameters.product(), parameters.class_means(&model).unwrap());
        let grams = [
            (geometry.classifiers(), &product * product.transpose()),
            (geometry.class_means(), means.transpose() * &means),
        ];
        let logits = &product * &means;
        for (gram, dense) in grams {
            // Sums of up to 14 products, rounded in each of up to four factors.
            let rounding = 128.0 * f64::EPSILON * dense.norm_l2();
            for k in 0..dense.nrows() {
                for l in 0..dense.nrows() {
                    match gram.inner_product(k, l) {
                        Some(value) => prop_assert!((value - dense[(k, l)]).abs() <= rounding, "{k} {l} {value} {}", dense[(k, l)]),
                        None => prop_assert!(!minimizer.is_unique()),
                    }
                }
            }
        }
        for k in 0..logits.nrows() {
            for l in 0..logits.nrows() {
                let rounding = 128.0 * f64::EPSILON * logits.norm_l2();
                match geometry.logit(k, l) {
                    Some(value) => prop_assert!((value - logits[(k, l)]).abs() <= rounding),
                    None => prop_assert!(!minimizer.is_unique()),
                }
            }
        }
    }

    /// What a user reads about a group is what its numbers say.
    #[test]
    fn fates_are_those_of_the_geometry(model in models()) {
        let minimizer = model.minimizer().unwrap();
        let geometry = minimizer.geometry().unwrap();
        for (r, (group, fate)) in model.class_counts().unwrap().groups().zip(minimizer.group_fates().unwrap()).enumerate() {
            let (k, gram) = (group.classes[0], geometry.classifiers());
            let norm = gram.norm(k);
            match fate {
                GroupFate::Vanished => prop_assert!(norm == Some(0.0)),
                GroupFate::Ambiguous => prop_assert!(norm.is_none()),
                _ => prop_assert!(norm.unwrap() > 0.0),
            }
            if let (Some(&l), Some(norm)) = (group.classes.get(1), norm) {
                let product = gram.inner_product(k, l).unwrap();
                match fate {
                    GroupFate::Coincident => prop_assert!(product == norm * norm || (product / norm / norm - 1.0).abs() <= 4.0 * f64::EPSILON),
                    GroupFate::Distinct => prop_assert!(product < norm * norm),
                    _ => prop_assert!(product == 0.0),
                }
                if let Some(scale) = minimizer.coincidence_scale(r).unwrap() && (scale - 1.0).abs() > 1e-12 {
                    prop_assert_eq!(scale > 1.0, fate == GroupFate::Distinct || fate == GroupFate::Ambiguous);
                }
            }
            let scale = minimizer.vanishing_scale(r).unwrap();
            if (scale - 1.0).abs() > 1e-12 {
                prop_assert!(scale > 1.0 || fate == GroupFate::Vanished);
                prop_assert!(scale < 1.0 || fate != GroupFate::Vanished);
            }
        }
    }

    /// At the critical ratio, and on both sides of it, in counts so large that rounding them to whole numbers does not
    /// count.
    #[test]
    fn collapse_begins_at_the_critical_ratio(
        majority in 1_usize..6,
        minority in 2_usize..20,
        depth in 1_usize..5,
        log_q in -3.0..-0.6_f64,
        bias: bool,
    ) {
        let count = 1_u64 << 40;
        let l = depth as f64;
        // q at ratio 1, up to a factor.
        let c = 10_f64.powf(log_q) * (count as f64).powf(l / (l + 1.0)) / (count as f64 * (majority + minority) as f64);
        let layers = vec![Layer::new(64, c); depth];
        let ratio = critical_imbalance_ratio(majority, minority, count, &layers, c).unwrap();
        let kept = |ratio: f64| {
            let classes = ClassCounts::step(majority, minority, count, ratio).unwrap();
            let model = Ufm::new(classes, layers.as_slice(), c, bias).unwrap();
            let fates = model.minimizer().unwrap().group_fates().unwrap();
            fates[fates.len() - 1] == GroupFate::Distinct
        };
        if ratio > 1.0 && ratio < 1e6 {
            // A ratio of at most 1e6 leaves counts of 1e6, which round by 1e-6.
            prop_assert!(kept(ratio * (1.0 - 1e-5)) || ratio * (1.0 - 1e-5) < 1.0);
            prop_assert!(!kept(ratio * (1.0 + 1e-5)));
        }
    }
}

#[test]
fn ambiguous_numbers_are_not_invented() {
    // The width cuts through the two classes of 50: their norms are a matter of choice, their product with others is
    // not.
    let cut = Ufm::bias_free("50x2,20".parse::<ClassCounts>().unwrap(), [Layer::new(1, 1e-3)], 1e-3)
        .unwrap()
        .minimizer()
        .unwrap();
    let geometry = cut.geometry().unwrap();
    assert_eq!((geometry.classifiers().norm(0), geometry.classifiers().inner_product(0, 1)), (None, None));
    assert_eq!(geometry.classifiers().inner_product(0, 2), Some(0.0));
    assert_eq!((geometry.classifiers().norm(2), geometry.classifiers().cosine(2, 2)), (Some(0.0), None));
    // A direction between groups at its threshold leaves everything open.
    let before = Ufm::biased("50,20".parse::<ClassCounts>().unwrap(), [Layer::new(8, 1e-2), Layer::new(8, 1e-2)], 1e-3)
        .unwrap()
        .minimizer()
        .unwrap();
    let decay = before.critical_feature_decay(0);
    let tied = Ufm::biased("50,20".parse::<ClassCounts>().unwrap(), [Layer::new(8, 1e-2), Layer::new(8, 1e-2)], decay)
        .unwrap()
        .minimizer()
        .unwrap();
    assert_eq!(tied.geometry().unwrap().classifiers().norm(0), None);
    assert_eq!(tied.geometry().unwrap().logit_gap(0, 1), None);
}

#[test]
fn a_million_classes_have_a_geometry() {
    let classes = ClassCounts::long_tail(1_000_000, 1_000, 1000.0).unwrap();
    let last = classes.classes() - 1;
    let minimizer = Ufm::biased(classes, [Layer::new(2_000_000, 1e-9)], 1e-9).unwrap().minimizer().unwrap();
    let geometry = minimizer.geometry().unwrap();
    assert!(geometry.classifiers().norm(0) > geometry.classifiers().norm(last));
    // The largest class is told from the smallest by its own score; bias included, the smallest is told less well.
    assert!(geometry.logit_gap(0, last) > geometry.logit_gap(last, 0));
    assert!(geometry.self_duality_cosine(0).unwrap() <= 1.0);
}

#[test]
fn questions_without_an_answer_are_refused() {
    let layers = [Layer::new(8, 1e-3)];
    assert!(matches!(
        critical_imbalance_ratio(0, 2, 9, &layers, 1e-3),
        Err(Error::Domain { argument: "majority classes", .. })
    ));
    assert!(matches!(
        critical_imbalance_ratio(2, 1, 9, &layers, 1e-3),
        Err(Error::Domain { argument: "minority classes", .. })
    ));
    assert!(critical_imbalance_ratio(2, 2, 9, &[], 1e-3).is_err());
    assert!(critical_imbalance_ratio(2, 2, 0, &layers, 1e-3).is_err());
    assert!(critical_imbalance_ratio(2, 2, 9, &layers, f64::NAN).is_err());
    assert_eq!(critical_imbalance_ratio(2, 2, 9, &layers, 1e3), Ok(1.0));
}

/// Decays that put squares of the classifiers or of the class means beyond the range of `f64` change their sizes, not
/// their angles: the prediction depends on the product of decays alone.
#[test]
fn angles_do_not_depend_on_how_decay_is_shared() {
    let of = |layer_decay: f64, feature_decay: f64| {
        let classes = ClassCounts::new([3, 2, 2]).unwrap();
        let ufm = Ufm::biased(classes, [Layer::new(4, layer_decay)], feature_decay).unwrap();
        ufm.minimizer().unwrap().geometry().unwrap()
    };
    // Powers of two, whose products are exact: 2^-60 each time.
    let power = |exponent: i32| 2_f64.powi(exponent);
    let plain = of(power(-30), power(-30));
    for exponent in [900, -960] {
        let extreme = of(power(exponent), power(-60 - exponent));
        for (k, l) in [(0, 1), (1, 2), (0, 0)] {
            for (ours, expected) in [
                (extreme.classifiers().cosine(k, l), plain.classifiers().cosine(k, l)),
                (extreme.class_means().cosine(k, l), plain.class_means().cosine(k, l)),
                (extreme.logit(k, l), plain.logit(k, l)),
                (extreme.self_duality_cosine(k), plain.self_duality_cosine(k)),
            ] {
                let (ours, expected) = (ours.unwrap(), expected.unwrap());
                assert!((ours - expected).abs() <= 8.0 * f64::EPSILON, "{exponent} {k} {l}: {ours} {expected}");
            }
        }
    }
}

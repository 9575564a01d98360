//! The law of contrasts, thresholds and weights, compared with certified minimizers.

#[allow(dead_code)] // Models alone: the random ones here are of another kind.
mod one_layer;

use std::time::{Duration, Instant};

use neural_collapse::{
    ClassCounts, ClassWeights, Error, Layer, Loss, Targets, Ufm,
    theory::{Certified, Contrast, GroupFate, Limit},
};
use one_layer::Options;
use proptest::prelude::*;

prop_compose! {
    fn groups()(groups in prop::collection::vec((1_u64..500, 1_usize..4), 1..5)) -> Vec<(u64, usize)> { groups }
}

prop_compose! {
    /// Classes of equal counts have equal weights, so that there are groups of several.
    fn options()(groups in groups())(
        weights in prop_oneof![
            Just(vec![1.0; groups.len()]),
            prop::collection::vec((-3.0..3.0_f64).prop_map(f64::exp), groups.len()),
        ],
        q in (-5.0..1.0_f64).prop_map(f64::exp),
        loss in prop_oneof![Just(Loss::Squared), Just(Loss::CrossEntropy)],
        smoothing in prop_oneof![Just(0.0), 0.0..0.5_f64],
        tau in prop_oneof![Just(0.0), -1.0..1.5_f64],
        ldam in prop_oneof![Just(0.0), 0.0..2.0_f64],
        cdt in prop_oneof![Just(0.0), 0.0..0.5_f64],
        bias in prop_oneof![Just(None), Just(Some(0.0)), (-5.0..1.0_f64).prop_map(|x| Some(x.exp()))],
        groups in Just(groups),
    ) -> Options {
        let spread = |values: Vec<f64>| {
            groups.iter().zip(values).flat_map(|(&(_, classes), value)| vec![value; classes]).collect::<Vec<f64>>()
        };
        let counts = groups.iter().flat_map(|&(count, classes)| vec![count; classes]).collect();
        Options { counts, q, loss, weights: spread(weights), smoothing, tau, ldam, cdt, bias }
    }
}

/// Logits a_r of the own class minus a sibling's, where there is one.
fn logit_gap(minimizer: &Certified, r: usize) -> f64 {
    minimizer.logits_own()[r] - minimizer.logits()[(r, r)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_law_of_contrasts_holds_at_every_certified_minimizer(options in options()) {
        let ufm = options.scaled(1.0);
        let (law, minimizer) = (ufm.contrasts().unwrap(), ufm.certified_minimizer().unwrap());
        let (least, most) = law.rank_bounds();
        // A closest q is decided by rounding.
        let is_close = |q: f64, (low, high): (f64, f64)| (q / low - 1.0).abs() < 1e-6 || (q / high - 1.0).abs() < 1e-6;
        let any_close = law.groups().iter().any(|g| g.coincidence_q.is_some_and(|bounds| is_close(g.q, bounds)));
        prop_assume!(!any_close);
        prop_assert!((least..=most).contains(&minimizer.rank()), "{} {least} {most}", minimizer.rank());
        for (r, (group, certified)) in law.groups().iter().zip(minimizer.groups()).enumerate() {
            prop_assert_eq!((group.count, &group.classes), (certified.count, &certified.classes));
            let Some(sibling) = certified.probability_sibling else {
                prop_assert_eq!(group.contrast, Contrast::Single);
                continue;
            };
            match group.contrast {
                Contrast::Apart => prop_assert_eq!(certified.fate, GroupFate::Distinct),
                Contrast::Coincident => prop_assert_ne!(certified.fate, GroupFate::Distinct),
                _ => {}
            }
            if let Some(gap) = group.probability_gap {
                let found = certified.probability_own - sibling;
                prop_assert!((found - gap).abs() <= 1e-9 * gap.abs().max(1.0), "group {r}: {found} {gap}");
            }
            // A gap of 1 - x of probabilities with errors of 1e-10 leaves log x about 1e-10/x; x is at least q > 1e-3.
            let found = logit_gap(&minimizer, r);
            if let Some(gap) = group.logit_gap {
                prop_assert!((found - gap).abs() <= 1e-6 * gap.abs().max(1.0), "group {r}: {found} {gap}");
            }
            if let Some(gap) = group.least_logit_gap {
                prop_assert!(found >= gap - 1e-6 * gap.abs().max(1.0), "group {r}: {found} {gap}");
            }
        }
    }

    #[test]
    fn everything_is_zero_from_the_vanishing_scale_on_and_not_before(options in options()) {
        let scale = options.scaled(1.0).contrasts().unwrap().vanishing_scale().unwrap();
        if let Limit::Below(scale) = scale {
            let rank = |factor: f64| options.scaled(scale * factor).certified_minimizer().unwrap().rank();
            prop_assert_eq!(rank(1.0 + 1e-3), 0);
            prop_assert!(rank(1.0 - 1e-3) > 0);
        } else {
            prop_assert_eq!(options.scaled(1.0).certified_minimizer().unwrap().rank(), 0);
        }
    }

    #[test]
    fn groups_collapse_at_their_scales(options in options()) {
        let law = options.scaled(1.0).contrasts().unwrap();
        for r in 0..law.groups().len() {
            let (low, high) = law.coincidence_bounds(r);
            let contrast = |factor: f64| options.scaled(factor).contrasts().unwrap().groups()[r].contrast;
            if let (Limit::Below(low), Limit::Below(high)) = (low, high) {
                prop_assert_eq!(contrast(low * (1.0 - 1e-12)), Contrast::Apart);
                prop_assert_eq!(contrast(high * (1.0 + 1e-12)), Contrast::Coincident);
            } else {
                prop_assert_eq!(contrast(1e9), Contrast::Single);
            }
        }
    }

    #[test]
    fn separating_weights_have_the_least_spread(
        groups in prop::collection::vec((1_u64..500, 2_usize..4), 2..5),
        share in 0.05..0.999_f64,
        other in prop::collection::vec((-1.0..1.0_f64).prop_map(f64::exp), 4),
    ) {
        let counts: Vec<u64> = groups.iter().flat_map(|&(count, classes)| vec![count; classes]).collect();
        let model = |decay: f64| {
            let classes = ClassCounts::new(counts.clone()).unwrap();
            Ufm::new(classes, [Layer::new(64, decay)], decay).unwrap().with_loss(Loss::CrossEntropy).unwrap()
        };
        let limit = model(1e-3).separable_scale().unwrap().value().unwrap();
        let ufm = model(1e-3 * limit * share);
        let largest_q = 0.5 + 0.5 * share;
        let weights = ufm.separating_weights(largest_q).unwrap();
        let of = |weights: &ClassWeights| weights.of(ufm.class_counts().unwrap()).unwrap();
        let spread = |weights: &[f64]| {
            weights.iter().copied().fold(0.0, f64::max) / weights.iter().copied().fold(f64::INFINITY, f64::min)
        };
        let given = of(&weights);
        let mean: f64 = given.iter().zip(&counts).map(|(w, &n)| w * n as f64).sum::<f64>() / ufm.samples() as f64;
        prop_assert!((mean - 1.0).abs() < 1e-12);
        let law = ufm.clone().with_class_weights(weights).unwrap().contrasts().unwrap();
        prop_assert!(law.groups().iter().all(|group| group.q <= largest_q * (1.0 + 1e-12)));
        // Any other weights that are good enough, on the way from these to random ones, have a larger spread.
        let random: Vec<f64> = counts.iter().map(|&n| other[groups.iter().position(|g| g.0 == n).unwrap()]).collect();
        for t in [0.01, 0.1, 0.5, 1.0] {
            let mixed: Vec<f64> = given.iter().zip(&random).map(|(one, two)| one * (1.0 - t) + two * t).collect();
            let mean: f64 = mixed.iter().zip(&counts).map(|(w, &n)| w * n as f64).sum::<f64>() / ufm.samples() as f64;
            let mixed: Vec<f64> = mixed.iter().map(|weight| weight / mean).collect();
            let law = ufm.clone().with_class_weights(ClassWeights::Given(mixed.clone())).unwrap().contrasts().unwrap();
            if law.groups().iter().all(|group| group.q <= largest_q) {
                prop_assert!(spread(&mixed) >= spread(&given) * (1.0 - 1e-12));
            }
        }
        // Beyond the limit there are none.
        let beyond = model(1e-3 * limit * 1.001).separating_weights(0.999_999);
        prop_assert!(matches!(beyond, Err(Error::NoSeparatingWeights { scale }) if scale < 1.0), "{:?}", beyond);
    }

    #[test]
    fn weights_steeper_than_the_inverse_root_let_the_majority_collapse_first(s in 0.0..2.0_f64) {
        prop_assume!((s - 0.5).abs() > 1e-6);
        let classes: ClassCounts = "700x2,90x3,8x4".parse().unwrap();
        let weights = classes.counts().iter().map(|&count| (count as f64).powf(-s)).collect();
        let ufm = Ufm::new(classes, [Layer::new(64, 1e-3)], 1e-3).unwrap();
        let order = ufm.with_class_weights(ClassWeights::Given(weights)).unwrap().contrasts().unwrap().collapse_order();
        let expected = if s > 0.5 { [[0], [1], [2]] } else { [[2], [1], [0]] };
        prop_assert_eq!(order.unwrap(), expected);
    }
}

#[test]
fn effective_numbers_let_the_middle_collapse_first() {
    // √n/(1-β^n) is least where e^x = 1 + 2x for x = -n log β: x = 1.2564.
    let counts: Vec<u64> = (1..=400).flat_map(|count| [count, count]).collect();
    let ufm = Ufm::new(ClassCounts::new(counts).unwrap(), [Layer::new(64, 1e-3)], 1e-3).unwrap();
    let law = ufm.with_class_weights(ClassWeights::Effective(0.99)).unwrap().contrasts().unwrap();
    let first = law.groups()[law.collapse_order().unwrap()[0][0]].count as f64;
    assert!((first + 1.2564 / 0.99_f64.ln()).abs() <= 1.0, "{first}");
}

#[test]
fn the_threshold_of_two_clusters_is_that_of_both_losses() {
    // Hong and Ling's setting: two clusters of classes, a free bias, no weights. Collapse at n_B = (N λ)².
    for loss in [Loss::Squared, Loss::CrossEntropy] {
        for (minority, decay) in [(20_u64, 2e-3), (50, 2e-3), (5, 1e-3), (100, 5e-3)] {
            let classes = ClassCounts::new([[500_u64; 5], [minority; 5]].concat()).unwrap();
            let samples = classes.samples() as f64;
            let ufm = |lambda: f64| {
                let ufm = Ufm::new(classes.clone(), [Layer::new(16, 4.0 * lambda)], lambda / 4.0).unwrap();
                ufm.with_loss(loss).unwrap()
            };
            let threshold = (minority as f64).sqrt() / samples;
            let Some(Limit::Below(scale)) = ufm(decay).contrasts().unwrap().coincidence_scale(1) else { panic!() };
            assert!((scale * decay / threshold - 1.0).abs() < 1e-14);
            let fate = |factor: f64| ufm(threshold * factor).certified_minimizer().unwrap().group_fates()[1];
            assert_eq!(fate(0.999), GroupFate::Distinct, "{loss} {minority}");
            assert_eq!(fate(1.001), GroupFate::Coincident, "{loss} {minority}");
        }
    }
}

/// The four grids of decays and of majority counts for which Hong and Ling 2024 show networks (the settings of their
/// figures 5 to 8): ten classes, minorities of 100 samples, cross-entropy with a bias whose decay is 0.01. In each the
/// certified minimizer collapses between two neighbors of the grid, where the law says.
#[test]
fn minority_grids_of_hong_and_ling_collapse_where_the_law_says() {
    type Grid = (u64, &'static [u64], &'static [f64], usize);
    let grids: [Grid; 4] = [
        (5, &[500], &[0.0027, 0.0030, 0.0033, 0.0039, 0.0045, 0.0051, 0.0057, 0.0063, 0.0069, 0.0075], 3),
        (3, &[500], &[0.0037, 0.0041, 0.0045, 0.0053, 0.0062, 0.0070, 0.0078, 0.0086, 0.0094, 0.0102], 3),
        // 300 is at the threshold itself: N λ = √n.
        (5, &[100, 200, 400, 600, 800, 1000, 1100, 1200, 1400], &[0.005], 2),
        (3, &[100, 400, 450, 500, 700, 1000, 1600, 2200, 2500, 2800], &[0.005], 2),
    ];
    for (majorities, counts, lambdas, first) in grids {
        let cells = counts.iter().flat_map(|count| lambdas.iter().map(move |lambda| (*count, *lambda)));
        let fates = cells.map(|(count, lambda)| {
            let counts: Vec<u64> = (0..10).map(|k| if k < majorities { count } else { 100 }).collect();
            let ufm = Ufm::new(ClassCounts::new(counts).unwrap(), [Layer::new(10, lambda)], lambda).unwrap();
            let ufm = ufm.with_loss(Loss::CrossEntropy).unwrap().with_bias_decay(0.01).unwrap();
            let minimizer = ufm.certified_minimizer().unwrap();
            assert!(minimizer.gap() < 1e-12);
            minimizer.group_fates().last() != Some(&GroupFate::Distinct)
        });
        let fates: Vec<bool> = fates.collect();
        assert_eq!(
            fates,
            (0..fates.len()).map(|i| i >= first).collect::<Vec<_>>(),
            "{majorities}: {counts:?} {lambdas:?}"
        );
    }
}

#[test]
fn the_vanishing_scale_of_plain_losses_is_that_of_the_spectrum() {
    let classes: ClassCounts = "500x2,60x5,5x9".parse().unwrap();
    let (samples, largest) = (classes.samples() as f64, classes.group(0).count as f64);
    let ufm = Ufm::new(classes, [Layer::new(16, 1e-3)], 1e-3).unwrap();
    let scale = |ufm: &Ufm| ufm.contrasts().unwrap().vanishing_scale().unwrap().value().unwrap();
    let closed = |ufm: &Ufm| (0..3).map(|r| ufm.minimizer().unwrap().vanishing_scale(r).unwrap()).fold(0.0, f64::max);
    assert!((scale(&ufm) / closed(&ufm) - 1.0).abs() < 1e-13);
    // With a free bias cross-entropy has the same residual at zero.
    let cross_entropy = ufm.clone().with_loss(Loss::CrossEntropy).unwrap();
    assert!((scale(&cross_entropy) / scale(&ufm) - 1.0).abs() < 1e-13);
    let squared = ufm.without_bias();
    assert!((scale(&squared) / (largest.sqrt() / samples / 1e-3) - 1.0).abs() < 1e-13);
}

#[test]
fn balanced_cross_entropy_is_closed() {
    let model = |smoothing: f64, margin: f64, decay: f64| {
        let classes = ClassCounts::balanced(7, 40).unwrap();
        Ufm::new(Targets::smoothed(classes, smoothing).unwrap(), [Layer::new(16, decay)], 2.0 * decay)
            .unwrap()
            .with_loss(Loss::CrossEntropy)
            .unwrap()
            .with_margins(vec![margin; 7])
            .unwrap()
            .with_class_weights(ClassWeights::Given(vec![1.7; 7]))
            .unwrap()
            .with_logit_scales(vec![0.6; 7])
            .unwrap()
    };
    for (smoothing, margin) in [(0.0, 0.0), (0.2, 0.0), (0.0, 1.5), (0.1, 0.7)] {
        let threshold =
            1e-3 * model(smoothing, margin, 1e-3).contrasts().unwrap().largest_scale().unwrap().value().unwrap();
        for factor in [0.01, 0.5, 0.999, 1.001] {
            for ufm in [
                model(smoothing, margin, threshold * factor),
                model(smoothing, margin, threshold * factor).without_bias(),
            ] {
                let closed = ufm.contrasts().unwrap().balanced_cross_entropy().unwrap();
                let certified = ufm.certified_minimizer().unwrap();
                assert!(certified.gap().abs() < 1e-12, "{smoothing} {margin} {factor}: {}", certified.gap());
                assert!((closed.objective / certified.objective() - 1.0).abs() < 1e-12);
                assert!((closed.logit_gap - logit_gap(&certified, 0)).abs() < 1e-7, "{smoothing} {margin} {factor}");
                assert!((closed.probability_own - certified.groups()[0].probability_own).abs() < 1e-9);
                assert_eq!(closed.logit_gap > 0.0, factor < 1.0);
            }
        }
    }
}

#[test]
fn a_million_classes_cost_what_thirty_do() {
    let model = |classes: &str| {
        let ufm = Ufm::new(classes.parse::<ClassCounts>().unwrap(), [Layer::new(1 << 20, 1e-6)], 1e-6).unwrap();
        ufm.with_loss(Loss::CrossEntropy).unwrap().with_ldam(0.5).unwrap()
    };
    let ufm = model("500x100000,50x300000,5x600000");
    let start = Instant::now();
    let law = ufm.contrasts().unwrap();
    let zero = law.vanishing_scale().unwrap().value().unwrap();
    let elapsed = start.elapsed();
    // 0.23 s with debug assertions and other tests next to it; the bound leaves room for a busy machine.
    assert!(elapsed < Duration::from_millis(900), "{elapsed:?}");
    assert_eq!(law.groups().len(), 3);
    // The same shares of classes: q and λ are proportional to K.
    let few = model("500x10,50x30,5x60").contrasts().unwrap();
    for (many, few) in law.groups().iter().zip(few.groups()) {
        assert!((many.q / few.q / 1e4 - 1.0).abs() < 1e-12);
    }
    assert!(zero > 0.0 && law.has_room() == Some(true));
}

#[test]
fn margins_leave_cross_entropy_open_near_the_threshold() {
    let classes: ClassCounts = "300x3,20x4".parse().unwrap();
    let ufm = |q: f64| {
        let decay = q * 20.0_f64.sqrt() / classes.samples() as f64;
        let ufm = Ufm::new(classes.clone(), [Layer::new(16, decay)], decay).unwrap();
        ufm.with_loss(Loss::CrossEntropy).unwrap().with_ldam(2.0).unwrap()
    };
    let law = ufm(1.0001).contrasts().unwrap();
    let group = &law.groups()[1];
    assert_eq!((group.contrast, group.probability_gap, law.coincidence_scale(1)), (Contrast::Open, None, None));
    assert_eq!(law.largest_scale(), None);
    // The certified minimizer collapses between the bounds.
    let (low, high) = group.coincidence_q.unwrap();
    let fate = |q: f64| ufm(q).certified_minimizer().unwrap().group_fates()[1];
    assert_eq!((fate(low), fate(high)), (GroupFate::Distinct, GroupFate::Coincident));
}

#[test]
fn models_without_the_law_are_refused() {
    let classes: ClassCounts = "30x2,4x2".parse().unwrap();
    let deep = Ufm::new(classes.clone(), [Layer::new(8, 1e-2), Layer::new(8, 1e-2)], 1e-2).unwrap();
    assert_eq!(deep.contrasts().unwrap_err(), Error::NoCertificate { because: "two or more layers" });
    assert!(matches!(deep.separating_weights(0.5), Err(Error::NoCertificate { .. })));
    let ufm = Ufm::new(classes, [Layer::new(8, 1e-2)], 1e-2).unwrap();
    for q in [0.0, 1.0, f64::NAN] {
        assert!(matches!(ufm.separating_weights(q), Err(Error::Domain { argument: "largest q", .. })));
    }
    let relu = ufm.clone().with_nonnegative_features();
    assert!(matches!(relu.contrasts(), Err(Error::NoCertificate { .. })));
    assert!(matches!(ufm.nonnegative_minimizer(), Err(Error::NoCertificate { .. })));
    let narrow = Ufm::new("30x9".parse::<ClassCounts>().unwrap(), [Layer::new(3, 1e-4)], 1e-4).unwrap();
    assert_eq!(narrow.contrasts().unwrap().has_room(), Some(false));
}

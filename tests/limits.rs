//! The largest decays that reach a goal: reached just below, not just above, nor anywhere beyond.

use neural_collapse::{
    ClassCounts, ClassWeights, Error, Layer, Loss, Ufm,
    faer::Mat,
    theory::{Certified, Goal, Limit},
};
use proptest::prelude::*;

/// The model with all its decays times a factor.
fn scaled(ufm: &Ufm, factor: f64) -> Ufm {
    let layers: Vec<Layer> = ufm.layers().iter().map(|layer| Layer::new(layer.width, layer.decay * factor)).collect();
    Ufm::new(ufm.targets().clone(), layers, ufm.feature_decay() * factor).unwrap().with_bias(ufm.has_bias())
}

fn model(counts: Vec<u64>, widths: Vec<usize>, decay: f64, bias: bool) -> Ufm {
    let layers: Vec<Layer> =
        widths.into_iter().enumerate().map(|(l, width)| Layer::new(width, decay * (1.0 + l as f64))).collect();
    Ufm::new(ClassCounts::new(counts).unwrap(), layers, decay / 2.0).unwrap().with_bias(bias)
}

/// The norms of the rows of W_{L:1} of a minimizer in full, least over largest.
fn norm_ratio(ufm: &Ufm) -> f64 {
    let product = ufm.minimizer().unwrap().parameters().unwrap().product();
    let norms = product.row_iter().map(|row| row.norm_l2());
    let (least, largest) =
        norms.fold((f64::INFINITY, 0.0_f64), |(least, largest), norm| (least.min(norm), largest.max(norm)));
    if largest > 0.0 { least / largest } else { 0.0 }
}

proptest! {
    #[test]
    fn ranks_are_kept_up_to_the_limit(
        counts in prop::collection::vec(1_u64..200, 1..8),
        widths in prop::collection::vec(1_usize..10, 1..4),
        decay in 1e-5..1.0_f64,
        bias: bool,
        rank in 1_usize..8,
    ) {
        let ufm = model(counts, widths, decay, bias);
        let minimizer = ufm.minimizer().unwrap();
        let nonzero = ufm.outputs() - usize::from(bias);
        let rank_at = |scale: f64| scaled(&ufm, scale).minimizer().unwrap().rank();
        for (goal, rank) in [(Goal::Rank(rank), rank), (Goal::AllDirections, nonzero)] {
            match minimizer.largest_scale(goal).unwrap() {
                // What no decay reaches: less room or fewer targets than that. All of no directions are always kept.
                Limit::Never => prop_assert!(rank > ufm.rank_bound().min(nonzero)),
                Limit::Always => prop_assert_eq!(nonzero, 0),
                Limit::Below(scale) => {
                    prop_assert!(rank_at(scale * (1.0 - 1e-12)) >= rank);
                    prop_assert!(rank_at(scale * (1.0 + 1e-12)) < rank);
                    // The same limit as a single decay.
                    let decay = minimizer.largest_feature_decay(goal).unwrap().value().unwrap();
                    let at = |decay: f64| {
                        Ufm::new(ufm.targets().clone(), ufm.layers(), decay).unwrap().with_bias(bias).minimizer().unwrap().rank()
                    };
                    prop_assert!(at(decay * (1.0 - 1e-11)) >= rank && at(decay * (1.0 + 1e-11)) < rank);
                }
            }
        }
    }

    #[test]
    fn norms_are_kept_up_to_the_limit(
        counts in prop::collection::vec(1_u64..200, 2..8),
        widths in prop::collection::vec(8_usize..10, 1..4),
        decay in 1e-5..1.0_f64,
        bias: bool,
        ratio in 0.01..1.0_f64,
    ) {
        let ufm = model(counts, widths, decay, bias);
        let minimizer = ufm.minimizer().unwrap();
        let goal = Goal::NormRatio(ratio);
        let last = minimizer.directions().iter().map(|direction| direction.critical_scale).fold(0.0, f64::max);
        match minimizer.largest_scale(goal).unwrap() {
            // At no decay: the ratio falls from its limit at zero.
            Limit::Always => prop_assert!(false, "classes of positive norm"),
            Limit::Never => for i in 0..40 {
                prop_assert!(norm_ratio(&scaled(&ufm, last * 0.7_f64.powi(i))) < ratio * (1.0 + 1e-12));
            },
            Limit::Below(scale) => {
                prop_assert!(norm_ratio(&scaled(&ufm, scale * (1.0 - 1e-9))) >= ratio * (1.0 - 1e-12));
                for i in 0..40 {
                    let beyond = scale * (1.0 + 1e-9) * 1.2_f64.powi(i);
                    prop_assert!(norm_ratio(&scaled(&ufm, beyond)) < ratio * (1.0 + 1e-12), "{} {}", beyond, scale);
                }
            }
        }
    }
}

/// Equal classes, and any two with a bias, have equal norms, whose last digits may differ, until all of them are gone.
#[test]
fn equal_norms_are_equal_up_to_the_last_threshold() {
    let balanced = [(2, 1, true), (7, 1, false), (10, 2, true), (9, 3, false)];
    let balanced = balanced.map(|(classes, depth, bias)| (vec![30; classes], depth, bias));
    for (counts, depth, bias) in balanced.into_iter().chain((1..60).map(|count| (vec![60, count], 1, true))) {
        let minimizer = model(counts, vec![12; depth], 1e-3, bias).minimizer().unwrap();
        let [norms, all] =
            [Goal::NormRatio(1.0), Goal::AllDirections].map(|goal| minimizer.largest_scale(goal).unwrap());
        // Close to it the ratio of norms that vanish (L = 1) is that of rounding errors.
        assert!((norms.value().unwrap() / all.value().unwrap() - 1.0).abs() <= 1e-9, "{norms:?} {all:?}");
    }
    // One class with a bias has nothing to keep.
    let one = model(vec![30], vec![2], 1e-3, true).minimizer().unwrap();
    for goal in [Goal::NormRatio(0.5), Goal::AllDirections] {
        assert_eq!(one.largest_scale(goal), Ok(Limit::Always));
        assert_eq!(one.largest_feature_decay(goal), Ok(Limit::Always));
    }
}

/// Bias-free and L = 1: w² = N λ_H (1-e)/e, so that the squared ratio of two norms is g² = (1/e_2 - 1)/(1/e_1 - 1) with
/// e_k = N √(λ_1 λ_H)/√n_k, here 0.125 scale/√n_k.
#[test]
fn the_limit_of_two_norms_is_that_of_the_formula() {
    let ufm = Ufm::new(ClassCounts::new([100, 25]).unwrap(), [Layer::new(2, 1e-3)], 1e-3).unwrap().without_bias();
    let minimizer = ufm.minimizer().unwrap();
    for distance in [0.5, 1e-1, 1e-3, 1e-6, 1e-9] {
        // The limit at small decays is 1/√2.
        let ratio = 0.5_f64.sqrt() * (1.0 - distance);
        // g² (10/x - 1) = 5/x - 1: x = (5 - 10 g²)/(1 - g²), 5 - 10 g² = 5 (2 δ - δ²) without cancellation.
        let exact = 5.0 * distance * (2.0 - distance) / (1.0 - ratio * ratio) / 0.125;
        let scale = minimizer.largest_scale(Goal::NormRatio(ratio)).unwrap().value().unwrap();
        // Norms to 16 epsilons, which count as much more as the ratio is close to its limit.
        let allowed = 16.0 * f64::EPSILON / distance;
        assert!((scale / exact - 1.0).abs() <= allowed, "{distance:e}: {scale} {exact}");
    }
}

/// A thousand distinct counts: O(R²) operations at some twenty scales. At each of a scale's neighbors, or at every
/// threshold where no decay reaches the ratio, the test would take minutes.
#[test]
fn ratios_of_a_thousand_distinct_counts_are_found_soon() {
    let counts: Vec<u64> = (1..=1276).map(|i| 5 + i + i * i / 50).collect();
    let ufm = model(counts, vec![2552], 1e-4, true);
    let minimizer = ufm.minimizer().unwrap();
    assert_eq!(minimizer.largest_scale(Goal::NormRatio(0.9)), Ok(Limit::Never));
    let ratio = 0.05;
    let scale = minimizer.largest_scale(Goal::NormRatio(ratio)).unwrap().value().unwrap();
    let ratio_at = |scale: f64| {
        let geometry = scaled(&ufm, scale).minimizer().unwrap().geometry().unwrap();
        let norms = (0..ufm.outputs()).map(|class| geometry.classifiers().norm(class).unwrap());
        let (least, largest) = norms.fold((f64::INFINITY, 0.0_f64), |(a, b), norm| (a.min(norm), b.max(norm)));
        least / largest
    };
    // The ratio falls about as fast as the scale grows, at a millionth of rounding; norms are off by some epsilons.
    assert!(ratio_at(scale * (1.0 - 1e-9)) > ratio && ratio_at(scale * (1.0 + 1e-9)) < ratio);
}

/// Where a width leaves the norms open below a threshold, and where thresholds are many powers of ten apart.
#[test]
fn limits_are_found_between_thresholds() {
    // Three small classes of which a width of 2 can tell none apart, but the two groups.
    let narrow = Ufm::new(ClassCounts::new([100, 10, 10, 10]).unwrap(), [Layer::new(2, 1e-3)], 1e-3).unwrap();
    let minimizer = narrow.minimizer().unwrap();
    let scale = minimizer.largest_scale(Goal::NormRatio(0.3)).unwrap().value().unwrap();
    assert!(norm_ratio(&scaled(&narrow, scale * (1.0 - 1e-9))) >= 0.3 * (1.0 - 1e-12));
    assert!(norm_ratio(&scaled(&narrow, scale * (1.0 + 1e-9))) < 0.3 * (1.0 + 1e-12));
    let deep = Ufm::new(ClassCounts::new([1_000_000_000_000, 1]).unwrap(), [Layer::new(2, 1e-3); 10], 1e-3)
        .map(Ufm::without_bias);
    let deep = deep.unwrap();
    let small = scaled(&deep, 1e-27).minimizer().unwrap();
    let norms = small.singular_values(|direction| direction.product);
    let goal = Goal::NormRatio(norms[1] / norms[0] * (1.0 - 1e-7));
    assert!(deep.minimizer().unwrap().largest_scale(goal).unwrap().value().is_some());
}

/// A direction that a width leaves no room for is gone at any decay, whether it has collapsed at this one or not.
#[test]
fn what_a_width_cuts_has_no_threshold() {
    for decay in [1e-3, 1e-2, 10.0] {
        let ufm = Ufm::new(ClassCounts::new([100, 100, 10, 10]).unwrap(), [Layer::new(1, decay)], decay).unwrap();
        let minimizer = ufm.minimizer().unwrap();
        assert!(minimizer.critical_feature_decay(0) > 0.0);
        assert_eq!((minimizer.critical_feature_decay(1), minimizer.critical_feature_decay(2)), (0.0, 0.0), "{decay}");
        assert_eq!(
            (minimizer.coincidence_scale(1), minimizer.vanishing_scale(1)),
            (Ok(Limit::Never), Ok(0.0)),
            "{decay}"
        );
    }
}

#[test]
fn goals_that_cannot_be_are_refused() {
    let minimizer = model(vec![20, 10], vec![1], 1e-3, false).minimizer().unwrap();
    assert!(matches!(minimizer.largest_scale(Goal::Rank(0)), Err(Error::Domain { argument: "rank", .. })));
    for ratio in [0.0, -1.0, 1.5, f64::NAN, f64::INFINITY] {
        assert!(matches!(minimizer.largest_scale(Goal::NormRatio(ratio)), Err(Error::Domain { .. })), "{ratio}");
        let message = minimizer.largest_scale(Goal::NormRatio(ratio)).unwrap_err().to_string();
        assert_eq!(message, format!("ratio of norms: {ratio:?} given, accepted: 0 < ratio <= 1"));
    }
    // A width of one keeps no second direction, and no second classifier, at any decay.
    assert_eq!(minimizer.largest_scale(Goal::AllDirections), Ok(Limit::Never));
    assert_eq!(minimizer.largest_scale(Goal::NormRatio(0.1)), Ok(Limit::Never));
    assert!(minimizer.largest_layer_decay(Goal::Rank(1), 0).unwrap().value().unwrap() > 1e-3);
    assert_eq!(minimizer.largest_scale(Goal::Rank(3)), Ok(Limit::Never));
}

/// A limit says in words what it is; a single decay whose limit is beyond the range of `f64` is infinite, not "always".
#[test]
fn limits_say_never_below_or_always() {
    let shown = [Limit::Never, Limit::Below(0.125), Limit::Always].map(|limit| (limit.to_string(), limit.value()));
    assert_eq!(shown, [("never".into(), None), ("below 0.125".into(), Some(0.125)), ("always".into(), None)]);
    assert_eq!(format!("{:.1}", Limit::Below(0.375)), "below 0.4");
    let ufm = Ufm::new(ClassCounts::new([9, 1]).unwrap(), [Layer::new(2, 1e-320)], 1e-3).unwrap();
    let minimizer = ufm.minimizer().unwrap();
    assert!(minimizer.largest_scale(Goal::AllDirections).unwrap().value().unwrap().is_finite());
    assert_eq!(minimizer.largest_feature_decay(Goal::AllDirections), Ok(Limit::Below(f64::INFINITY)));
}

/// A model of one layer with cross-entropy.
fn entropy(counts: &str, width: usize) -> Ufm {
    let classes: ClassCounts = counts.parse().unwrap();
    Ufm::new(classes, [Layer::new(width, 5e-3)], 5e-4).unwrap().with_loss(Loss::CrossEntropy).unwrap()
}

/// The singular values of the residual (Y - P) diag(√n)/N over λ, of classes that are all alone with their count: the
/// rank of any minimizer is at most the number of those that are 1.
fn duals(minimizer: &Certified) -> Vec<f64> {
    let (ufm, mut logits) = (minimizer.ufm(), minimizer.logits());
    let own = minimizer.logits_own();
    (0..own.len()).for_each(|k| logits[(k, k)] = own[k]);
    let counts: Vec<f64> = minimizer.groups().iter().map(|group| group.count as f64).collect();
    let lambda = (ufm.layers()[0].decay * ufm.feature_decay()).sqrt();
    let unit = |k: usize| counts[k].sqrt() / counts.iter().sum::<f64>() / lambda;
    let residual = Mat::from_fn(own.len(), own.len(), |i, k| {
        let sum: f64 = (0..own.len()).map(|j| (logits[(j, k)] - logits[(i, k)]).exp()).sum();
        (f64::from(u8::from(i == k)) - 1.0 / sum) * unit(k)
    });
    residual.singular_values().unwrap()
}

/// No formula is known for a class that is alone with its count: the dual proves the rank on both sides.
#[test]
fn under_cross_entropy_the_dual_proves_the_rank_on_both_sides_of_the_limit() {
    for counts in ["100,50,10", "1000,300,40,7", "500,499,3"] {
        for bias in [true, false] {
            let ufm = entropy(counts, 8).with_bias(bias);
            let full = ufm.outputs() - 1;
            for rank in 1..=full {
                let goal = if rank == full { Goal::AllDirections } else { Goal::Rank(rank) };
                let scale = ufm.certified_largest_scale(goal).unwrap().value().unwrap();
                let at = |scale: f64| {
                    let layer = Layer::new(8, 5e-3 * scale * scale);
                    let scaled = Ufm::new(ufm.targets().clone(), [layer], 5e-4).unwrap().with_bias(bias);
                    scaled.with_loss(Loss::CrossEntropy).unwrap().certified_minimizer().unwrap()
                };
                let (below, above) = (at(scale * (1.0 - 2e-6)), at(scale * (1.0 + 2e-6)));
                assert!(below.gap().abs() < 1e-12 && above.gap().abs() < 1e-12);
                assert!(below.rank() >= rank && below.singular_values()[rank - 1] > 0.0, "{counts} {bias} {rank}");
                assert!(above.rank() < rank, "{counts} {bias} {rank}");
                // 1 at the rank below, to rounding over the distance from the threshold, 1e-15 over 1e-6. Less above, by
                // about that distance.
                let (kept, lost) = (duals(&below)[rank - 1], duals(&above)[rank - 1]);
                assert!((kept - 1.0).abs() < 1e-9, "{counts} {bias} {rank}: {kept}");
                assert!((1e-8..1e-5).contains(&(1.0 - lost)), "{counts} {bias} {rank}: {lost}");
            }
        }
    }
}

/// The promise is 2e-6, of which the bisection takes a half and the solver may take the other.
#[test]
fn certified_limits_are_those_of_closed_forms() {
    let value = |limit: Limit| limit.value().unwrap();
    for bias in [true, false] {
        for counts in ["100,50,10", "90x2,20,7x3", "400,3"] {
            let squared = model(counts.parse::<ClassCounts>().unwrap().counts().to_vec(), vec![9], 1e-3, bias);
            for goal in [Goal::AllDirections, Goal::Rank(1), Goal::Rank(2)] {
                let closed = squared.minimizer().unwrap().largest_scale(goal).unwrap();
                let found = squared.certified_largest_scale(goal).unwrap();
                match closed {
                    Limit::Below(scale) => assert!((value(found) / scale - 1.0).abs() < 2e-6, "{counts} {goal:?}"),
                    other => assert_eq!(found, other, "{counts} {goal:?}"),
                }
            }
        }
    }
    // Two classes have one direction, which ends where everything is zero.
    let two = entropy("70,20", 4);
    let vanishing = two.contrasts().unwrap().vanishing_scale().unwrap();
    assert!((value(two.certified_largest_scale(Goal::AllDirections).unwrap()) / value(vanishing) - 1.0).abs() < 2e-6);
    // Groups of several classes lose their contrasts first: the law says where, with weights too.
    for weights in [ClassWeights::None, ClassWeights::Inverse] {
        let ufm = entropy("500x5,50x5", 16).with_class_weights(weights).unwrap();
        let law = ufm.contrasts().unwrap().largest_scale().unwrap();
        assert!((value(ufm.certified_largest_scale(Goal::AllDirections).unwrap()) / value(law) - 1.0).abs() < 2e-6);
    }
}

#[test]
fn certified_limits_say_what_cannot_be() {
    let three = entropy("50,20,8", 2);
    assert_eq!(three.certified_largest_scale(Goal::Rank(3)), Ok(Limit::Never));
    assert_eq!(entropy("50,20,8", 1).certified_largest_scale(Goal::AllDirections), Ok(Limit::Never));
    assert_eq!(entropy("7", 2).certified_largest_scale(Goal::AllDirections), Ok(Limit::Always));
    assert!(matches!(three.certified_largest_scale(Goal::Rank(0)), Err(Error::Domain { argument: "rank", .. })));
    assert!(matches!(three.certified_largest_scale(Goal::NormRatio(0.5)), Err(Error::NoClosedForm { .. })));
    let deep = Ufm::new(ClassCounts::new([5, 2]).unwrap(), [Layer::new(2, 0.1), Layer::new(2, 0.1)], 0.1).unwrap();
    assert!(matches!(deep.certified_largest_scale(Goal::AllDirections), Err(Error::NoCertificate { .. })));
    // After the direction of the first class come three contrasts of four equal ones: too many for a width of 3.
    let narrow = entropy("200,50x4", 3).certified_largest_scale(Goal::Rank(2));
    assert!(matches!(narrow, Err(Error::WidthBelowRank { width: 3, rank: 4, .. })), "{narrow:?}");
}

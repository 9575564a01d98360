//! Norms and angles by group against the Gram matrices of a minimizer's parameters.

use neural_collapse::{
    ClassCounts, Error, Layer, Ufm,
    theory::{ClassFate, Gram, GroupFate, Limit, critical_imbalance_ratio},
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

fn models() -> impl Strategy<Value = Ufm> {
    let counts = prop::collection::vec(prop_oneof![1_u64..4, 1_u64..60], 1..12);
    (counts, 1_usize..4, 1_usize..14, -2.0..0.3_f64, any::<bool>()).prop_map(|(counts, depth, width, log_q, bias)| {
        let classes = ClassCounts::new(counts).unwrap();
        let l = depth as f64;
        let c = 10_f64.powf(log_q) * (classes.group(0).count as f64).powf(l / (l + 1.0)) / classes.samples() as f64;
        Ufm::new(classes, vec![Layer::new(width, c); depth], c).unwrap().with_bias(bias)
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
        let minimizer = Ufm::new(classes.clone(), layers, fields[2].parse().unwrap())
            .unwrap()
            .with_bias(fields[3] == "true")
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
                // Four factors of each term are off by some epsilons: their sum is, compared with the norms.
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
                match minimizer.coincidence_scale(r).unwrap() {
                    Limit::Below(scale) if (scale - 1.0).abs() > 1e-12 => {
                        prop_assert_eq!(scale > 1.0, fate == GroupFate::Distinct || fate == GroupFate::Ambiguous);
                    }
                    Limit::Below(_) => {}
                    // A width cuts what tells the classes of the group apart.
                    Limit::Never => prop_assert!(fate != GroupFate::Distinct),
                    Limit::Always => prop_assert!(fate != GroupFate::Coincident),
                }
            }
            let scale = minimizer.vanishing_scale(r).unwrap();
            if (scale - 1.0).abs() > 1e-12 {
                prop_assert!(scale > 1.0 || fate == GroupFate::Vanished);
                prop_assert!(scale < 1.0 || fate != GroupFate::Vanished);
            }
        }
    }

    /// The nearest class and its angle: as the rows of W_{L:1} and the columns of H̄ have them, pair by pair.
    #[test]
    fn nearest_classes_are_those_of_all_pairs(model in models(), seed: u64) {
        let minimizer = model.minimizer().unwrap();
        let geometry = minimizer.geometry().unwrap();
        let parameters = minimizer.random_parameters(&mut Xoshiro256PlusPlus::seed_from_u64(seed)).unwrap();
        let means = parameters.class_means(&model).unwrap();
        for (gram, vectors) in [(geometry.classifiers(), parameters.product().transpose().to_owned()), (geometry.class_means(), means)] {
            let classes = vectors.ncols();
            let is_zero = |k: usize| gram.norm(k) == Some(0.0);
            // Of unit vectors whose entries are off by some ten roundings, relative to the largest.
            let rounding = 1024.0 * f64::EPSILON;
            let angle = |k: usize, l: usize| {
                let [a, b] = [k, l].map(|class| vectors.col(class) / vectors.col(class).norm_l2());
                2.0 * (&a - &b).norm_l2().atan2((&a + &b).norm_l2())
            };
            // Small vectors compared with large ones keep fewer digits in the product.
            let largest = (0..classes).map(|k| vectors.col(k).norm_l2()).fold(0.0, f64::max);
            for k in 0..classes {
                let others = (0..classes).filter(|&l| l != k && !is_zero(l) && minimizer.is_unique() && !is_zero(k));
                let least = others.map(|l| angle(k, l)).reduce(f64::min);
                let nearest = gram.nearest(k);
                prop_assert_eq!(nearest.is_some(), least.is_some());
                let (Some(nearest), Some(least)) = (nearest, least) else { continue };
                let small = vectors.col(k).norm_l2().min(vectors.col(nearest.class).norm_l2());
                let allowed = rounding * largest / small;
                prop_assert!(nearest.class != k && (nearest.angle - least).abs() <= allowed, "{} {:?} {}", k, nearest, least);
                prop_assert!((nearest.angle - angle(k, nearest.class)).abs() <= allowed);
                prop_assert_eq!(Some(nearest.angle), gram.angle(k, nearest.class));
                prop_assert_eq!(Some(nearest.cosine), gram.cosine(k, nearest.class));
                // The cosine of a class far larger than its neighbors rounds relative to the largest term.
                prop_assert!((nearest.angle.cos() - nearest.cosine).abs() <= rounding);
                let other = geometry.nearest(k).filter(|_| vectors.nrows() != classes);
                prop_assert!(other.is_none() || other == geometry.classifiers().nearest(k));
            }
        }
    }

    /// All pairs of groups at once, and one by one.
    #[test]
    fn tables_of_groups_have_the_numbers_of_their_classes(model in models()) {
        let minimizer = model.minimizer().unwrap();
        let geometry = minimizer.geometry().unwrap();
        let groups: Vec<&[usize]> = model.class_counts().unwrap().groups().map(|group| group.classes).collect();
        for gram in [geometry.classifiers(), geometry.class_means()] {
            let (products, angles) = (gram.inner_products_of_groups(), gram.angles_of_groups());
            let norm = |r: usize| gram.norm(groups[r][0]);
            let largest = (0..groups.len()).filter_map(norm).fold(0.0, f64::max);
            for (r, t) in (0..groups.len()).flat_map(|r| (0..groups.len()).map(move |t| (r, t))) {
                let other = groups[t].get(usize::from(r == t));
                let of = |number: f64| Some(number).filter(|number| !number.is_nan());
                let (product, angle) = (of(products[(r, t)]), of(angles[(r, t)]));
                let expected = other.and_then(|&other| gram.inner_product(groups[r][0], other));
                prop_assert_eq!(product.is_some(), expected.is_some());
                if let (Some(product), Some(expected)) = (product, expected) {
                    let size = norm(r).unwrap_or(largest) * norm(t).unwrap_or(largest);
                    prop_assert!((product - expected).abs() <= 16.0 * f64::EPSILON * size, "{} {}", product, expected);
                }
                let expected = other.and_then(|&other| gram.angle(groups[r][0], other));
                prop_assert_eq!(angle.is_some(), expected.is_some());
                if let (Some(angle), Some(expected)) = (angle, expected) {
                    prop_assert!((angle - expected).abs() <= 32.0 * f64::EPSILON, "{} {}", angle, expected);
                }
            }
        }
    }

    /// Clusters against single linkage over all pairs of classes, and fates against clusters.
    #[test]
    fn clusters_are_single_linkage_over_all_pairs(model in models(), degrees in 0.0..180.0_f64) {
        let minimizer = model.minimizer().unwrap();
        let geometry = minimizer.geometry().unwrap();
        let (gram, limit) = (geometry.classifiers(), degrees.to_radians());
        let clusters = gram.clusters(limit).unwrap();
        prop_assert_eq!(clusters.is_some(), minimizer.is_unique());
        let Some(clusters) = clusters else { return Ok(()) };
        let angles = all_angles(gram, model.outputs());
        prop_assume!(angles.iter().flatten().all(|angle| angle.is_none_or(|angle| (angle - limit).abs() > 1e-9)));
        prop_assert_eq!(&clusters, &single_linkage(&model, &angles, limit));
        for cluster in clusters {
            for &class in &cluster {
                let fate = if cluster.len() > 1 { ClassFate::Merged } else { ClassFate::Apart };
                prop_assert_eq!(geometry.fate(class, limit), Ok(fate));
            }
        }
        for class in 0..model.outputs() {
            let is_zero = gram.norm(class) == Some(0.0);
            prop_assert_eq!(geometry.fate(class, limit) == Ok(ClassFate::Vanished), is_zero);
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
            let model = Ufm::new(classes, layers.as_slice(), c).unwrap().with_bias(bias);
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

/// The angle of every two classes that have one.
fn all_angles(gram: &Gram, classes: usize) -> Vec<Vec<Option<f64>>> {
    (0..classes).map(|k| (0..classes).map(|l| gram.angle(k, l)).collect()).collect()
}

/// Classes by falling count, joined as long as any two of different clusters are within the limit.
fn single_linkage(model: &Ufm, angles: &[Vec<Option<f64>>], limit: f64) -> Vec<Vec<usize>> {
    let order: Vec<usize> = model.class_counts().unwrap().groups().flat_map(|group| group.classes.to_vec()).collect();
    let place = |class: usize| order.iter().position(|&other| other == class);
    let mut clusters: Vec<Vec<usize>> =
        order.iter().filter(|&&class| angles[class][class].is_some()).map(|&class| vec![class]).collect();
    let is_near = |a: &[usize], b: &[usize]| {
        a.iter().any(|&k| b.iter().any(|&l| angles[k][l].is_some_and(|angle| angle <= limit)))
    };
    while let Some((i, j)) = (0..clusters.len())
        .flat_map(|j| (0..j).map(move |i| (i, j)))
        .find(|&(i, j)| is_near(&clusters[i], &clusters[j]))
    {
        let joined = clusters.remove(j);
        clusters[i].extend(joined);
    }
    for cluster in &mut clusters {
        cluster.sort_by_key(|&class| place(class));
    }
    clusters.sort_by_key(|cluster| place(cluster[0]));
    clusters
}

/// Where every class has a count of its own no group has classes that could come to share a classifier, and every class is
/// `Single` at every decay; the angles tell what has become of them.
#[test]
fn distinct_counts_merge_by_angle() {
    let classes = ClassCounts::long_tail_between(201, 5000, 87).unwrap();
    assert_eq!(classes.groups().len(), 201);
    let limit = 0.5_f64.to_radians();
    let [mild, strong] = [1e-7, 1e-4].map(|decay| {
        let ufm = Ufm::new(classes.clone(), [Layer::new(512, decay)], decay).unwrap();
        let minimizer = ufm.minimizer().unwrap();
        assert!(minimizer.group_fates().unwrap().iter().all(|&fate| fate == GroupFate::Single));
        minimizer.geometry().unwrap()
    });
    let clusters = |decay: &neural_collapse::theory::Geometry| decay.classifiers().clusters(limit).unwrap();
    assert_eq!(clusters(&mild).unwrap().len(), 201);
    assert_eq!((mild.fate(0, limit), mild.fate(200, limit)), (Ok(ClassFate::Apart), Ok(ClassFate::Apart)));
    // The smallest classes have come together, the largest have not.
    assert_eq!((strong.fate(0, limit), strong.fate(200, limit)), (Ok(ClassFate::Apart), Ok(ClassFate::Merged)));
    let last = strong.nearest(200).unwrap();
    assert!(last.angle < 1e-3 && last.class > 150, "{last:?}");
    let tail = clusters(&strong).unwrap().pop().unwrap();
    assert!(tail.len() > 50 && tail.is_sorted() && tail.contains(&200), "{tail:?}");
}

/// Angles far below the root of an epsilon, where every cosine rounds to 1. Counts of 10 n and of 10 n + 1, whose own
/// direction has collapsed: the angle falls with 1/n.
#[test]
fn small_angles_keep_their_digits() {
    let mut last = f64::INFINITY;
    for exponent in 1..=9 {
        let base = 10_u64.pow(exponent);
        let classes = ClassCounts::new([100 * base, 90 * base, 10 * base + 1, 10 * base]).unwrap();
        let decay = 0.4 * (20.0 * base as f64).sqrt() / classes.samples() as f64 * 2.0;
        let geometry =
            Ufm::new(classes, [Layer::new(8, decay)], decay).unwrap().minimizer().unwrap().geometry().unwrap();
        let nearest = geometry.nearest(3).unwrap();
        assert_eq!(nearest.class, 2);
        // A tenth each time, to a relative 1/base from the counts and some epsilons over the angle from rounding.
        let allowed = 3.0 / (base as f64 / 10.0) + 64.0 * f64::EPSILON / nearest.angle;
        assert!(
            last.is_infinite() || (10.0 * nearest.angle / last - 1.0).abs() <= allowed,
            "{exponent} {nearest:?} {last}"
        );
        let together = geometry.classifiers().angles_of_groups()[(3, 2)];
        assert!((together - nearest.angle).abs() <= 64.0 * f64::EPSILON, "{together} {nearest:?}");
        last = nearest.angle;
    }
    assert!(last < 1e-9, "{last}");
}

#[test]
fn one_direction_leaves_two_clusters() {
    let classes = ClassCounts::new([900, 500, 400, 30, 20, 10]).unwrap();
    let geometry = Ufm::new(classes, [Layer::new(1, 1e-4)], 1e-4).unwrap().minimizer().unwrap().geometry().unwrap();
    // With one direction left every classifier is its multiple, and what sums to zero has both signs.
    let clusters = geometry.classifiers().clusters(0.0).unwrap().unwrap();
    assert_eq!(clusters.len(), 2, "{clusters:?}");
    let opposite = geometry.classifiers().angle(clusters[0][0], clusters[1][0]).unwrap();
    assert!((opposite - std::f64::consts::PI).abs() <= 8.0 * f64::EPSILON);
    assert_eq!(geometry.classifiers().clusters(std::f64::consts::PI).unwrap().unwrap(), [[0, 1, 2, 3, 4, 5]]);
}

#[test]
fn neighbors_that_are_not_there_are_none() {
    let geometry = |counts: &str, width: usize, decay: f64, bias: bool| {
        let classes: ClassCounts = counts.parse().unwrap();
        Ufm::new(classes, [Layer::new(width, decay)], decay)
            .unwrap()
            .with_bias(bias)
            .minimizer()
            .unwrap()
            .geometry()
            .unwrap()
    };
    // One class; all zero; a tie.
    for (counts, width, decay, bias) in [("9", 4, 1e-3, false), ("9,5", 4, 10.0, true), ("50x2,20", 1, 1e-3, false)] {
        assert_eq!(geometry(counts, width, decay, bias).nearest(0), None, "{counts}");
    }
    assert_eq!(geometry("50x2,20", 1, 1e-3, false).fate(0, 0.1), Ok(ClassFate::Ambiguous));
    assert_eq!(geometry("50x2,20", 1, 1e-3, false).classifiers().clusters(0.1), Ok(None));
    assert_eq!(geometry("9,5", 4, 10.0, true).classifiers().clusters(0.1), Ok(Some(vec![])));
    // Orthogonal classifiers: the first of the same count, else the first of all.
    let orthogonal = geometry("50,20x2", 4, 1e-3, false);
    let classes = [0, 1, 2].map(|class| orthogonal.nearest(class).unwrap().class);
    assert_eq!(classes, [1, 2, 1]);
    for angle in [-1.0, 4.0, f64::NAN] {
        assert!(matches!(orthogonal.fate(0, angle), Err(Error::Domain { argument: "angle", .. })));
        assert!(orthogonal.classifiers().clusters(angle).is_err());
    }
}

/// Three thousand distinct counts: every nearest class in O(R²) operations, where pairs by themselves would take O(R³).
#[test]
fn thousands_of_groups_have_their_nearest() {
    let counts: Vec<u64> = (1..=3000).rev().collect();
    let ufm = Ufm::new(ClassCounts::new(counts).unwrap(), [Layer::new(4096, 5e-6)], 5e-6).unwrap();
    let geometry = ufm.minimizer().unwrap().geometry().unwrap();
    let nearest: Vec<_> = (0..3000).map(|class| geometry.nearest(class).unwrap()).collect();
    for class in [0, 700, 2400, 2600, 2999] {
        let others = (0..3000).filter(|&other| other != class);
        let cosines = others.map(|other| geometry.classifiers().cosine(class, other).unwrap());
        // The largest of rounded numbers: each is off by some epsilons.
        assert!((nearest[class].cosine - cosines.fold(-1.0, f64::max)).abs() <= 8.0 * f64::EPSILON, "{class}");
    }
    let (products, angles) =
        (geometry.classifiers().inner_products_of_groups(), geometry.classifiers().angles_of_groups());
    for (r, t) in [(0, 1), (0, 2999), (700, 701), (1500, 20), (2400, 2999), (2998, 2999)] {
        let norms = [r, t].map(|class| geometry.classifiers().norm(class).unwrap());
        let product = geometry.classifiers().inner_product(r, t).unwrap();
        assert!((products[(r, t)] - product).abs() <= 16.0 * f64::EPSILON * norms[0] * norms[1], "{r} {t}");
        assert!((angles[(r, t)] - geometry.classifiers().angle(r, t).unwrap()).abs() <= 32.0 * f64::EPSILON, "{r} {t}");
        assert_eq!((products[(t, r)], angles[(t, r)]), (products[(r, t)], angles[(r, t)]));
    }
    // The smallest, whose directions have collapsed, are near to their neighbors; the largest to none.
    assert!(nearest[2999].angle < 0.01 && nearest[0].angle > 1.0);
    assert!(geometry.classifiers().clusters(0.01).unwrap().unwrap().iter().any(|cluster| cluster.len() > 100));
}

#[test]
fn ambiguous_numbers_are_not_invented() {
    // The width cuts through the two classes of 50: their norms are a matter of choice, their product with others is
    // not.
    let cut = Ufm::new("50x2,20".parse::<ClassCounts>().unwrap(), [Layer::new(1, 1e-3)], 1e-3)
        .unwrap()
        .without_bias()
        .minimizer()
        .unwrap();
    let geometry = cut.geometry().unwrap();
    assert_eq!((geometry.classifiers().norm(0), geometry.classifiers().inner_product(0, 1)), (None, None));
    assert_eq!(geometry.classifiers().inner_product(0, 2), Some(0.0));
    assert_eq!((geometry.classifiers().norm(2), geometry.classifiers().cosine(2, 2)), (Some(0.0), None));
    let products = geometry.classifiers().inner_products_of_groups();
    assert!(products[(0, 0)].is_nan() && products[(0, 1)] == 0.0);
    assert!(geometry.classifiers().angles_of_groups().col_iter().all(|col| col.iter().all(|angle| angle.is_nan())));
    // A direction between groups at its threshold leaves everything open.
    let before = Ufm::new("50,20".parse::<ClassCounts>().unwrap(), [Layer::new(8, 1e-2), Layer::new(8, 1e-2)], 1e-3)
        .unwrap()
        .minimizer()
        .unwrap();
    let decay = before.critical_feature_decay(0);
    let tied = Ufm::new("50,20".parse::<ClassCounts>().unwrap(), [Layer::new(8, 1e-2), Layer::new(8, 1e-2)], decay)
        .unwrap()
        .minimizer()
        .unwrap();
    assert_eq!(tied.geometry().unwrap().classifiers().norm(0), None);
    assert!(tied.geometry().unwrap().classifiers().inner_products_of_groups()[(0, 1)].is_nan());
    assert_eq!(tied.geometry().unwrap().logit_gap(0, 1), None);
}

#[test]
fn a_million_classes_have_a_geometry() {
    let classes = ClassCounts::long_tail(1_000_000, 1_000, 1000.0).unwrap();
    let last = classes.classes() - 1;
    let minimizer = Ufm::new(classes, [Layer::new(2_000_000, 1e-9)], 1e-9).unwrap().minimizer().unwrap();
    let geometry = minimizer.geometry().unwrap();
    assert!(geometry.classifiers().norm(0) > geometry.classifiers().norm(last));
    // The largest class is separated from the smallest by its own score; with the bias, the smallest is separated less.
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
        let ufm = Ufm::new(classes, [Layer::new(4, layer_decay)], feature_decay).unwrap();
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

//! Statistics gathered in one pass, against the same in two passes over everything at once, and against their
//! definitions.

use neural_collapse::{
    ClassCounts, Error, Layer, Parameters, Ufm,
    faer::{Col, Mat, MatRef, Scale},
    linalg::dense_svd,
    metrics::{FeatureAccumulator, FeatureStatistics, Nc1Convention, ScatterAccumulator, collapse},
};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom};
use rand_distr::{Distribution, StandardNormal};

const CONVENTIONS: [Nc1Convention; 4] =
    [Nc1Convention::Global, Nc1Convention::UnweightedMean, Nc1Convention::WeightedClasses, Nc1Convention::Undivided];

/// Features of classes with these counts, far from the origin, in random order.
fn data(counts: &[usize], width: usize, offset: f64, seed: u64) -> (Mat<f64>, Vec<usize>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let means = Mat::<f64>::from_fn(width, counts.len(), |_, _| {
        offset + Distribution::<f64>::sample(&StandardNormal, &mut rng)
    });
    let mut labels: Vec<usize> = counts.iter().enumerate().flat_map(|(class, &count)| vec![class; count]).collect();
    labels.shuffle(&mut rng);
    let features = Mat::from_fn(width, labels.len(), |i, j| {
        let normal: f64 = StandardNormal.sample(&mut rng);
        means[(i, labels[j])] + 0.3 * normal
    });
    (features, labels)
}

fn gather(features: MatRef<'_, f64>, labels: &[usize], classes: usize, batches: &[usize]) -> FeatureStatistics {
    let mut accumulator = FeatureAccumulator::with_scatter(features.nrows(), classes).unwrap();
    let mut start = 0;
    for &size in batches.iter().chain([&labels.len()]) {
        let size = size.min(labels.len() - start);
        accumulator.add(features.subcols(start, size), &labels[start..start + size]).unwrap();
        start += size;
    }
    accumulator.finish()
}

/// Class means, the mean of all features, and N Σ_W, in two passes.
fn two_passes(features: &Mat<f64>, labels: &[usize], classes: usize) -> (Mat<f64>, Col<f64>, Mat<f64>) {
    let width = features.nrows();
    let mut means = Mat::<f64>::zeros(width, classes);
    let mut counts = vec![0.0; classes];
    for (sample, &class) in features.col_iter().zip(labels) {
        counts[class] += 1.0;
        let mut mean = means.col_mut(class);
        mean += sample;
    }
    for (mut mean, count) in means.col_iter_mut().zip(&counts) {
        mean /= Scale(*count);
    }
    let mut global = Col::<f64>::zeros(width);
    let mut scatter = Mat::<f64>::zeros(width, width);
    for (sample, &class) in features.col_iter().zip(labels) {
        global += Scale(1.0 / labels.len() as f64) * sample;
        let deviation = sample - means.col(class);
        scatter += &deviation * deviation.transpose();
    }
    (means, global, scatter)
}

/// tr(Σ_W Σ_B⁺)/K as each convention defines it, with a dense pseudo-inverse.
fn nc1_by_definition(features: &Mat<f64>, labels: &[usize], classes: usize, convention: Nc1Convention) -> f64 {
    let (means, global, scatter) = two_passes(features, labels, classes);
    let width = features.nrows();
    let center = if convention == Nc1Convention::UnweightedMean {
        Col::from_fn(width, |i| means.row(i).iter().sum::<f64>() / classes as f64)
    } else {
        global
    };
    let mut between = Mat::<f64>::zeros(width, width);
    for (class, mean) in means.col_iter().enumerate() {
        let count = labels.iter().filter(|label| **label == class).count() as f64;
        let share = if convention == Nc1Convention::WeightedClasses {
            count / labels.len() as f64
        } else {
            1.0 / classes as f64
        };
        let deviation = mean - &center;
        between += Scale(share) * (&deviation * deviation.transpose());
    }
    let svd = dense_svd(between.as_ref()).unwrap();
    let mut trace = 0.0;
    for i in (0..width).filter(|&i| svd.values[i] > 1e-9 * svd.values[0]) {
        trace += svd.left.col(i).transpose() * &scatter * svd.right.col(i) / svd.values[i];
    }
    trace /= labels.len() as f64;
    if convention == Nc1Convention::Undivided { trace } else { trace / classes as f64 }
}

fn close(a: f64, b: f64, tolerance: f64) -> bool {
    (a - b).abs() <= tolerance * a.abs().max(b.abs())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases / 2, ..ProptestConfig::default() })]

    /// Whatever the batches: means, traces, and NC1 in every convention, from the full scatter and from a second pass.
    #[test]
    fn one_pass_is_as_good_as_two(
        counts in prop::collection::vec(1_usize..90, 2..6),
        width in 6_usize..80,
        batches in prop::collection::vec(0_usize..300, 0..5),
        seed: u64,
    ) {
        let (features, labels) = data(&counts, width, 3.0, seed);
        let classes = counts.len();
        let statistics = gather(features.as_ref(), &labels, classes, &batches);
        let counted = statistics.class_counts().unwrap();
        prop_assert_eq!(counted.counts(), counts.iter().map(|&n| n as u64).collect::<Vec<_>>());
        let (means, global, scatter) = two_passes(&features, &labels, classes);
        // Sums of at most 450 numbers of size 3.
        let rounding = 450.0 * f64::EPSILON;
        prop_assert!((statistics.class_means() - &means).norm_max() <= 10.0 * rounding);
        prop_assert!(close(statistics.squared_norm(), features.squared_norm_l2(), rounding));
        let within: f64 = (0..width).map(|i| scatter[(i, i)]).sum();
        let between: f64 = means.col_iter().map(|mean| (mean - &global).squared_norm_l2()).sum::<f64>() / classes as f64;
        prop_assert!(close(statistics.trace_ratio().unwrap().unwrap(), within / labels.len() as f64 / between, 1e3 * rounding));
        let mut second = ScatterAccumulator::new(statistics.clone()).unwrap();
        for start in (0..labels.len()).step_by(70) {
            let size = 70.min(labels.len() - start);
            second.add(features.subcols(start, size), &labels[start..start + size]).unwrap();
        }
        let second = second.finish().unwrap();
        for convention in CONVENTIONS {
            let ours = statistics.nc1(convention).unwrap().unwrap();
            // The definition inverts the square of the class means, whose condition squared is 1e4 once in a while.
            let definition = nc1_by_definition(&features, &labels, classes, convention);
            prop_assert!(close(ours, definition, 1e-7), "{convention:?}: {ours} {definition}");
            prop_assert!(close(ours, second.nc1(convention).unwrap().unwrap(), 1e4 * rounding));
        }
    }

    /// Statistics of two halves merge to those of the whole, classes that one half has not seen included.
    #[test]
    fn halves_merge_to_the_whole(
        counts in prop::collection::vec(1_usize..60, 2..6),
        width in 6_usize..40,
        share in 0.0..1.0_f64,
        seed: u64,
    ) {
        let (features, labels) = data(&counts, width, 100.0, seed);
        let whole = gather(features.as_ref(), &labels, counts.len(), &[]);
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let cut = (share * labels.len() as f64) as usize;
        let first = gather(features.subcols(0, cut), &labels[..cut], counts.len(), &[]);
        let second = gather(features.subcols(cut, labels.len() - cut), &labels[cut..], counts.len(), &[]);
        let merged = first.merge(&second).unwrap();
        // Features of size 100 that vary by 0.3: 1e5 of the variance in the rounding of a mean.
        prop_assert!((merged.class_means() - whole.class_means()).norm_max() <= 300.0 * 100.0 * f64::EPSILON);
        for convention in CONVENTIONS {
            let (a, b) = (merged.nc1(convention).unwrap().unwrap(), whole.nc1(convention).unwrap().unwrap());
            prop_assert!(close(a, b, 1e-8), "{a} {b}");
        }
        let (a, b) = (merged.class_distance_normalized_variance().unwrap().unwrap(), whole.class_distance_normalized_variance().unwrap().unwrap());
        prop_assert!(close(a, b, 1e-9), "{a} {b}");
    }
}

/// Σ_B of condition 1e8 and NC1 below 1e-8, in f32, most of it a thousand from the origin: every number here is exact in
/// f32, and so is the truth.
#[test]
fn single_precision_input_keeps_double_precision_results() {
    // Three classes in 12 dimensions with means m, m + 8 e_1 and m + 2^-10 e_2, a condition of Σ_B of 4/3 · 2^26; about
    // them samples ± d (e_1 + e_6) ± t e_2, in all four combinations. m is 1024 but for its second entry, 0.
    let (offset, large, small) = (1024.0_f32, 8.0_f32, 2.0_f32.powi(-10));
    let (deviation, tiny) = (2.0_f32.powi(-13), 2.0_f32.powi(-25));
    let count = 40;
    let mut labels = Vec::new();
    let mut features = Mat::<f32>::from_fn(12, 3 * count, |i, _| if i == 1 { 0.0 } else { offset });
    for class in 0..3 {
        for i in 0..count {
            let sample = class * count + i;
            labels.push(class);
            if class == 1 {
                features[(0, sample)] += large;
            }
            if class == 2 {
                features[(1, sample)] += small;
            }
            let sign = |bit: usize| if (i >> bit).is_multiple_of(2) { 1.0 } else { -1.0 };
            features[(0, sample)] += sign(0) * deviation;
            features[(5, sample)] += sign(0) * deviation;
            features[(1, sample)] += sign(1) * tiny;
        }
    }
    // Σ_W = d² (e_1 + e_6)(e_1 + e_6)ᵀ + t² e_2 e_2ᵀ; 3 Σ_B = S with S_11 = 2 L²/3, S_22 = 2 l²/3, S_12 = -L l/3:
    // tr(Σ_W Σ_B⁻¹)/3 = (d² S_22 + t² S_11)/(S_11 S_22 - S_12²).
    let (l, s, d, t) = (f64::from(large), f64::from(small), f64::from(deviation), f64::from(tiny));
    let (s11, s22, s12) = (l * l * 2.0 / 3.0, s * s * 2.0 / 3.0, -l * s / 3.0);
    let truth = (d * d * s22 + t * t * s11) / (s11 * s22 - s12 * s12);
    assert!(truth < 1e-8 && t * t * s11 > d * d * s22);
    let mut accumulator = FeatureAccumulator::with_scatter(12, 3).unwrap();
    for start in (0..labels.len()).step_by(7) {
        let size = 7.min(labels.len() - start);
        accumulator.add(features.subcols(start, size), &labels[start..start + size]).unwrap();
    }
    let statistics = accumulator.finish();
    let mut second = ScatterAccumulator::new(statistics.clone()).unwrap();
    second.add(features.as_ref(), &labels).unwrap();
    for statistics in [statistics, second.finish().unwrap()] {
        let nc1 = statistics.nc1(Nc1Convention::Global).unwrap().unwrap();
        // Twice the root of the condition, some epsilons each.
        assert!(close(nc1, truth, 1e-9), "{nc1:e} {truth:e}");
    }
}

/// A running sum of n numbers drifts by up to n/4 epsilons of their size, and more so where all of them have the few
/// digits of f32: means that are equal are seen to be, in classes of any size.
#[test]
fn long_sums_of_equal_classes_are_equal() {
    let (count, size) = (400_000, 250);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
    #[allow(clippy::cast_possible_truncation)]
    let numbers: Vec<f32> = (0..count).map(|_| Distribution::<f64>::sample(&StandardNormal, &mut rng) as f32).collect();
    let at = |class: usize, i: usize| if class == 0 { numbers[i] } else { numbers[count - 1 - i] };
    let mut accumulator = FeatureAccumulator::with_scatter(1, 2).unwrap();
    for start in (0..count).step_by(size) {
        let batch = Mat::from_fn(1, 2 * size, |_, j| at(j % 2, start + j / 2));
        let labels: Vec<usize> = (0..2 * size).map(|j| j % 2).collect();
        accumulator.add(batch.as_ref(), &labels).unwrap();
    }
    let statistics = accumulator.finish();
    let means = statistics.class_means();
    // Beyond what a few roundings of the mean would explain.
    assert!((means[(0, 0)] - means[(0, 1)]).abs() > 64.0 * f64::EPSILON, "{:e}", means[(0, 0)] - means[(0, 1)]);
    assert_eq!((statistics.nc1(Nc1Convention::Global), statistics.trace_ratio()), (Ok(None), Ok(None)));
    // A difference of a thousandth of what a statistician would see is one.
    let mut other = FeatureAccumulator::with_scatter(1, 2).unwrap();
    for start in (0..count).step_by(size) {
        let batch = Mat::from_fn(1, 2 * size, |_, j| f64::from(at(j % 2, start + j / 2)) + 1e-6 * (j % 2) as f64);
        let labels: Vec<usize> = (0..2 * size).map(|j| j % 2).collect();
        other.add(batch.as_ref(), &labels).unwrap();
    }
    let variance = f64::midpoint(statistics.variances().unwrap()[0], statistics.variances().unwrap()[1]);
    let ratio = other.finish().trace_ratio().unwrap().unwrap();
    // tr Σ_W over (1e-6/2)²; means are within 1e-10 of the truth.
    assert!(close(ratio, variance / 0.25e-12, 1e-3), "{ratio:e}");
}

/// Each class mean has its own rounding, and is scaled with it.
#[test]
fn small_classes_do_not_answer_for_large_ones() {
    let counts = [1000, 1000, 2];
    let mut labels = Vec::new();
    let mut features = Mat::<f64>::zeros(2, 2002);
    for (class, &count) in counts.iter().enumerate() {
        for i in 0..count {
            let sample = labels.len();
            let sign = if i % 2 == 0 { 1.0 } else { -1.0 };
            let center = [[1.0, 0.0], [-1.0, 0.0], [0.0, 2.0_f64.powi(-12)]][class];
            let spread = if class < 2 { 0.125 } else { 0.0 };
            features[(0, sample)] = 1e8 + center[0] + sign * spread;
            features[(1, sample)] = 1e8 + center[1] + sign * spread;
            labels.push(class);
        }
    }
    let statistics = gather(features.as_ref(), &labels, 3, &[500]);
    // Along (0, 1), where only the two differ: Σ_W = 2000 · 2^-6/2002, the weighted Σ_B = 2000 · 2/2002² · 2^-24.
    let ours = statistics.nc1(Nc1Convention::WeightedClasses).unwrap().unwrap();
    let along = (2000.0 / 64.0 / 2002.0) / (2000.0 * 2.0 / 2002.0_f64.powi(2) * 2.0_f64.powi(-24));
    // The difference 2^-12 is known to the rounding of 1e8, 2^-26, and the other direction has 1e-9 of this.
    assert!(close(ours, along / 3.0, 1e-3), "{ours:e} {:e}", along / 3.0);
}

#[test]
fn the_pairwise_variance_is_its_definition() {
    let (features, labels) = data(&[20, 5, 9], 4, 1.0, 3);
    let statistics = gather(features.as_ref(), &labels, 3, &[]);
    let (means, _, _) = two_passes(&features, &labels, 3);
    let variances = statistics.variances().unwrap();
    let mut sum = 0.0;
    for k in 0..3 {
        for l in (0..3).filter(|l| *l != k) {
            sum += (variances[k] + variances[l]) / (2.0 * (means.col(k) - means.col(l)).squared_norm_l2()) / 6.0;
        }
    }
    assert!(close(statistics.class_distance_normalized_variance().unwrap().unwrap(), sum, 1e-13));
    let direct: f64 = features
        .col_iter()
        .zip(&labels)
        .filter(|(_, label)| **label == 1)
        .map(|(sample, _)| (sample - means.col(1)).squared_norm_l2())
        .sum::<f64>()
        / 5.0;
    assert!(close(variances[1], direct, 1e-13));
}

/// Means of 600 classes in pairs as close as 2^-20 and 2^-30, more classes than a block of the Gram matrix has.
fn close_pairs(width: usize) -> (FeatureStatistics, Mat<f64>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(5);
    let mut means = Mat::<f64>::zeros(width, 600);
    for pair in 0..300 {
        // Few enough digits that sums of two are exact.
        let center = Col::<f64>::from_fn(width, |_| f64::from(rng.random_range(-1000_i32..1000)) / 256.0);
        means.col_mut(2 * pair).copy_from(&center);
        means.col_mut(2 * pair + 1).copy_from(&center);
        means[(pair % width, 2 * pair)] += 2_f64.powi(if pair % 2 == 0 { -20 } else { -30 });
    }
    // Two samples a class, 1/8 from its mean.
    let features =
        Mat::from_fn(width, 1200, |i, j| means[(i, j / 2)] + if i == 0 { [0.125, -0.125][j % 2] } else { 0.0 });
    let labels: Vec<usize> = (0..1200).map(|j| j / 2).collect();
    let mut accumulator = FeatureAccumulator::new(width, 600).unwrap();
    accumulator.add(features.as_ref(), &labels).unwrap();
    (accumulator.finish(), means)
}

/// Of ‖a‖² + ‖b‖² - 2 aᵀb nothing would be left of such pairs, which make up nearly all of the sum.
#[test]
fn close_pairs_of_many_classes_keep_their_digits() {
    let (statistics, means) = close_pairs(19);
    let mut sum = 0.0;
    for k in 0..600 {
        let of_class: f64 = (0..k)
            .map(|l| {
                let square: f64 = (0..19).map(|i| (means[(i, k)] - means[(i, l)]).powi(2)).sum();
                2.0 * 0.125 * 0.125 / (2.0 * square)
            })
            .sum();
        sum += of_class;
    }
    let ours = statistics.class_distance_normalized_variance().unwrap().unwrap();
    // A block sums 256² positive terms one after the other; a pair loses four bits of a product of 19 terms.
    let rounding = (256.0 * 256.0 + 16.0 * 23.0) * f64::EPSILON;
    assert!(close(ours, sum / (600.0 * 599.0 / 2.0), rounding), "{ours:e}");
}

#[test]
fn pairs_of_many_classes_do_not_depend_on_the_number_of_threads() {
    let statistics = close_pairs(19).0;
    let of = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| statistics.class_distance_normalized_variance().unwrap().map(f64::to_bits))
    };
    assert!(of(1).is_some());
    assert_eq!(of(1), of(2));
    assert_eq!(of(1), of(3));
}

/// In parts, and in one where more would need too much memory; in one pass, and in a second.
#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    for (counts, width) in [([300, 200, 100], 130), ([40, 30, 20], 2100)] {
        let (features, labels) = data(&counts, width, 1.0, 0);
        let of = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let first = gather(features.as_ref(), &labels, 3, &[100]);
                let mut second = ScatterAccumulator::new(first.clone()).unwrap();
                second.add(features.as_ref(), &labels).unwrap();
                [first, second.finish().unwrap()].map(|statistics| statistics.nc1(Nc1Convention::Global).unwrap())
            })
        };
        assert_eq!(of(1), of(3));
    }
}

#[test]
fn bad_batches_are_refused_whole() {
    let mut accumulator = FeatureAccumulator::new(3, 2).unwrap();
    let good = Mat::<f64>::from_fn(3, 4, |i, j| (i + j) as f64);
    accumulator.add(good.as_ref(), &[0, 1, 1, 0]).unwrap();
    let before = format!("{:?}", accumulator.clone().finish());
    assert!(matches!(
        accumulator.add(good.as_ref(), &[0, 1, 1]),
        Err(Error::Shape { expected: (3, 3), found: (3, 4), .. })
    ));
    assert!(matches!(accumulator.add(good.subrows(0, 2), &[0, 1, 1, 0]), Err(Error::Shape { .. })));
    assert_eq!(
        accumulator.add(good.as_ref(), &[0, 1, 2, 0]),
        Err(Error::LabelOutOfRange { index: 2, label: 2, classes: 2, from_one: false })
    );
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut bad = good.clone();
        bad[(2, 3)] = value;
        let error = accumulator.add(bad.as_ref(), &[0, 1, 1, 0]);
        assert!(matches!(error, Err(Error::NotFinite { row: 2, col: 3, .. })), "{error:?}");
    }
    assert_eq!(format!("{:?}", accumulator.clone().finish()), before);
    assert_eq!(FeatureAccumulator::new(3, 0).unwrap_err(), Error::NoClasses);
    assert!(matches!(FeatureAccumulator::new(0, 3), Err(Error::Domain { .. })));
    assert!(matches!(FeatureAccumulator::new(usize::MAX, 3), Err(Error::TooLarge { .. })));

    let statistics = accumulator.finish();
    assert_eq!(statistics.nc1(Nc1Convention::Global), Err(Error::NoScatter));
    let mut second = ScatterAccumulator::new(statistics.clone()).unwrap();
    second.add(good.subcols(0, 3), &[0, 1, 1]).unwrap();
    assert_eq!(second.finish().unwrap_err(), Error::Passes { class: 0, first: 2, second: 1 });
    let other = FeatureAccumulator::new(4, 2).unwrap().finish();
    assert!(matches!(statistics.merge(&other), Err(Error::Shape { .. })));
    // A class without samples.
    let mut empty = FeatureAccumulator::with_scatter(3, 3).unwrap();
    empty.add(good.as_ref(), &[0, 1, 1, 0]).unwrap();
    let empty = empty.finish();
    assert_eq!(empty.nc1(Nc1Convention::Global), Err(Error::ZeroCount { class: 2 }));
    assert_eq!(empty.trace_ratio(), Err(Error::ZeroCount { class: 2 }));
    assert_eq!(empty.variances(), Err(Error::ZeroCount { class: 2 }));
    assert_eq!(ScatterAccumulator::new(empty).unwrap_err(), Error::ZeroCount { class: 2 });
}

#[test]
fn what_divides_by_zero_is_none() {
    // One class, and two of equal means.
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let features = Mat::<f64>::from_fn(3, 6, |_, j| if j < 3 { rng.random() } else { 0.0 });
    let one = gather(features.as_ref(), &[0; 6], 1, &[]);
    assert_eq!((one.nc1(Nc1Convention::Global), one.trace_ratio()), (Ok(None), Ok(None)));
    assert_eq!(one.class_distance_normalized_variance(), Ok(None));
    let equal = gather(Mat::<f64>::from_fn(2, 4, |i, j| (i + j % 2) as f64).as_ref(), &[0, 0, 1, 1], 2, &[]);
    assert_eq!((equal.nc1(Nc1Convention::Global), equal.trace_ratio()), (Ok(None), Ok(None)));
    // The same numbers in another order, whose sums differ by rounding.
    let features = Mat::<f64>::from_fn(3, 500, |_, _| StandardNormal.sample(&mut rng));
    let mut reversed = features.clone();
    reversed.reverse_cols_mut();
    let both = Mat::from_fn(3, 1000, |i, j| if j < 500 { features[(i, j)] } else { reversed[(i, j - 500)] });
    let labels: Vec<usize> = (0..1000).map(|j| j / 500).collect();
    let equal = gather(both.as_ref(), &labels, 2, &[13]);
    assert!(equal.class_means().col(0) != equal.class_means().col(1));
    for convention in CONVENTIONS {
        assert_eq!(equal.nc1(convention), Ok(None));
    }
    assert_eq!((equal.trace_ratio(), equal.class_distance_normalized_variance()), (Ok(None), Ok(None)));
}

/// Class means half an ulp from the nearest number: about those, the scatter is twice as large.
#[test]
fn scatter_is_about_the_means_themselves() {
    let (at, ulp) = (2.0_f64.powi(27), 2.0_f64.powi(-25));
    let features = neural_collapse::faer::mat![[at, at + ulp, -at, -at - ulp], [0.0, 0.0, 0.0, 0.0]];
    let one_pass = gather(features.as_ref(), &[0, 0, 1, 1], 2, &[]);
    let mut second = ScatterAccumulator::new(one_pass.clone()).unwrap();
    second.add(features.as_ref(), &[0, 0, 1, 1]).unwrap();
    for statistics in [one_pass, second.finish().unwrap()] {
        let nc1 = statistics.nc1(Nc1Convention::Global).unwrap().unwrap();
        // Σ_W = (ulp/2)², Σ_B = at²(1 + 2^-53)².
        assert!(close(nc1, (ulp / 2.0 / at).powi(2) / 2.0, 8.0 * f64::EPSILON), "{nc1:e}");
    }
    let ufm = Ufm::new(ClassCounts::new([2, 2]).unwrap(), [Layer::new(2, 1e-3)], 1e-3).unwrap();
    let point = Parameters::new(&ufm, vec![Mat::zeros(2, 2)], features, Some(Col::zeros(2))).unwrap();
    let nc1 = collapse(&ufm.minimizer().unwrap(), &point).unwrap().nc1.unwrap();
    assert!(close(nc1, (ulp / 2.0 / at).powi(2) / 2.0, 8.0 * f64::EPSILON), "{nc1:e}");
}

/// Squares of such distances are below the range of `f64`: a number all the same, or none.
#[test]
fn tiny_features_have_no_nan() {
    for scale in [1e-162, 1e-200, 1e-300] {
        let features = Mat::from_fn(1, 4, |_, j| [1.5, 0.5, -0.5, -1.5][j] * scale);
        let statistics = gather(features.as_ref(), &[0, 0, 1, 1], 2, &[]);
        assert_eq!((statistics.nc1(Nc1Convention::Global), statistics.trace_ratio()), (Ok(None), Ok(None)));
    }
    let features = Mat::from_fn(1, 4, |_, j| [1.5, 0.5, -0.5, -1.5][j] * 1e-140);
    let statistics = gather(features.as_ref(), &[0, 0, 1, 1], 2, &[]);
    assert!(close(statistics.nc1(Nc1Convention::Global).unwrap().unwrap(), 0.125, 8.0 * f64::EPSILON));
    let features = neural_collapse::faer::mat![[6.6e-261, 4.1e-314, 6.6e-261]];
    let statistics = gather(features.as_ref(), &[1, 2, 0], 3, &[3]);
    for convention in CONVENTIONS {
        assert!(statistics.nc1(convention).unwrap().is_none_or(|nc1| nc1 == 0.0), "{convention:?}");
    }
    assert!(
        [statistics.trace_ratio(), statistics.class_distance_normalized_variance()].map(Result::unwrap) == [None; 2]
    );
}

/// What frameworks give: rows of `f32`, labels of `i64`, `u8` or whatever they are kept in.
#[test]
fn rows_with_labels_of_any_type_are_the_same_as_columns() {
    let (width, classes, samples) = (7, 3, 500);
    let numbers: Vec<f32> = (0..samples * width).map(|i| ((i * i) % 97) as f32 / 97.0 + (i % width) as f32).collect();
    let labels: Vec<usize> = (0..samples).map(|i| (i * i + i / 7) % classes).collect();
    let columns = MatRef::from_column_major_slice(&numbers, width, samples);

    let mut expected = FeatureAccumulator::with_scatter(width, classes).unwrap();
    expected.add(columns, &labels).unwrap();
    let expected = expected.finish();
    let mut rows = FeatureAccumulator::with_scatter(width, classes).unwrap();
    let signed: Vec<i64> = labels.iter().map(|&label| i64::try_from(label).unwrap()).collect();
    rows.add_rows(&numbers, &signed).unwrap();
    let rows = rows.finish();
    assert_eq!(rows.class_means(), expected.class_means());
    assert_eq!(rows.nc1(Nc1Convention::Global), expected.nc1(Nc1Convention::Global));

    // Rows that do not lie side by side, and labels of a byte.
    let bytes: Vec<u8> = labels.iter().map(|&label| u8::try_from(label).unwrap()).collect();
    let fortran = Mat::from_fn(samples, width, |i, j| numbers[i * width + j]);
    let (mut first, mut second) =
        (FeatureAccumulator::new(width, classes).unwrap(), FeatureAccumulator::new(width, classes).unwrap());
    first.add_rows(fortran.as_ref(), &bytes).unwrap();
    second.add_rows(&numbers, &labels).unwrap();
    let means = second.finish();
    assert_eq!(first.finish().class_means(), means.class_means());
    let mut scatter = ScatterAccumulator::new(means).unwrap();
    scatter.add_rows(&numbers, &bytes).unwrap();
    let (ours, theirs) = (scatter.finish().unwrap().nc1(Nc1Convention::Global), expected.nc1(Nc1Convention::Global));
    // Two passes and one: sums of 500 terms of order one.
    let rounding = 500.0 * f64::EPSILON;
    assert!((ours.unwrap().unwrap() / theirs.unwrap().unwrap() - 1.0).abs() <= rounding);
}

#[test]
fn rows_that_are_not_a_matrix_and_negative_labels_are_refused() {
    let mut accumulator = FeatureAccumulator::new(2, 2).unwrap();
    assert_eq!(
        accumulator.add_rows(&[1.0_f32, 2.0, 3.0], &[0, 1]),
        Err(Error::RowsLength { numbers: 3, samples: 2, width: 2 })
    );
    assert_eq!(
        accumulator.add_rows(&[1.0_f32, 2.0, 3.0, 4.0], &[0_i32, -100]),
        Err(Error::LabelOutOfRange { index: 1, label: -100, classes: 2, from_one: false })
    );
    let text = |labels: [i32; 2]| accumulator.clone().add_rows(&[1.0, 2.0, 3.0, 4.0], &labels).unwrap_err().to_string();
    assert!(text([0, -100]).contains("as ignore_index of PyTorch, are not skipped"));
    assert!(text([1, 2]).ends_with("accepted are 0 to 1 for 2 classes: are they counted from 1?"));
    assert!(text([2, 0]).ends_with("accepted are 0 to 1 for 2 classes"));
    assert!(text([1, 3]).ends_with("accepted are 0 to 1 for 2 classes"));
    let columns = Mat::<f64>::zeros(2, 3);
    assert!(matches!(accumulator.add_rows(columns.as_ref(), &[0, 1, 1]), Err(Error::Shape { .. })));
    assert_eq!(accumulator.finish().class_counts(), Err(Error::ZeroCount { class: 0 }));
}

//! The structured spectrum against a table of 50 digits and more, against the explicit formulas and against a dense
//! decomposition.

use faer::{Mat, MatRef};
use neural_collapse::{
    ClassCounts, Error,
    linalg::dense_svd,
    theory::{LabelSpectrum, centered_label_matrix, explicit_singular_values, interlacing_bounds},
};
use proptest::prelude::*;

/// Class counts with and without repetitions, over nine orders of magnitude.
fn class_counts(most: usize) -> impl Strategy<Value = ClassCounts> {
    let small = prop::collection::vec(1_u64..6, 1..most);
    let spread =
        prop::collection::vec((0_u32..10, 1_u64..10).prop_map(|(power, digit)| digit * 10_u64.pow(power)), 1..most);
    let near = prop::collection::vec(1_000_000_000_u64..1_000_000_004, 1..most);
    prop_oneof![small, spread, near].prop_map(|counts| ClassCounts::new(counts).unwrap())
}

fn orthogonality(vectors: MatRef<'_, f64>) -> f64 {
    (vectors.transpose() * vectors - Mat::<f64>::identity(vectors.ncols(), vectors.ncols())).norm_l2()
}

#[test]
fn singular_values_agree_with_the_reference_to_one_epsilon() {
    let mut worst = 0.0_f64;
    for line in include_str!("reference/spectra.csv").lines().skip(1) {
        let (counts, reference) = line.split_once(',').unwrap();
        let spectrum = LabelSpectrum::centered(&counts.parse().unwrap());
        let reference: Vec<(f64, usize)> = reference
            .split(' ')
            .map(|level| level.split_once('x').map(|(value, m)| (value.parse().unwrap(), m.parse().unwrap())).unwrap())
            .collect();
        assert_eq!(spectrum.levels().len(), reference.len(), "{counts}");
        for (level, &(value, multiplicity)) in spectrum.levels().zip(&reference) {
            assert_eq!(level.multiplicity, multiplicity, "{counts}");
            // The offset rounds once, the sum with the pole once, the root once.
            let error = if value == 0.0 { level.value } else { (level.value / value - 1.0).abs() };
            assert!(error <= 1.5 * f64::EPSILON, "{counts}: {} instead of {value}", level.value);
            worst = worst.max(error / f64::EPSILON);
        }
    }
    println!("worst relative error: {worst:.2} epsilons");
}

#[test]
fn the_paper_profiles_have_the_known_values() {
    let known = [22.3607, 21.2803, 20.0, 18.4028, 17.3205, 15.0611, 14.1421, 10.7228, 10.0, 0.0];
    for (value, known) in LabelSpectrum::centered(&ClassCounts::paper_cifar10()).singular_values().iter().zip(known) {
        assert!((value - known).abs() <= 5e-5);
    }
}

#[test]
fn a_million_classes_are_no_matrix() {
    let classes = ClassCounts::long_tail(1_000_000, 1_000, 1000.0).unwrap();
    let spectrum = LabelSpectrum::centered(&classes);
    assert_eq!(spectrum.levels().map(|level| level.multiplicity).sum::<usize>(), 1_000_000);
    // The trace of the Gram matrix: Σ σ² = N - Σ n_k²/N.
    let squares: f64 = spectrum.levels().map(|level| level.value.powi(2) * level.multiplicity as f64).sum();
    let samples = classes.samples() as f64;
    let trace = samples - classes.counts().iter().map(|&n| (n as f64).powi(2)).sum::<f64>() / samples;
    assert!((squares / trace - 1.0).abs() <= 1e-12);
    assert!(matches!(spectrum.left_vectors(1_000_000), Err(Error::TooLarge { .. })));
}

#[test]
fn matrices_that_are_not_finite_are_refused() {
    let mut matrix = Mat::<f64>::identity(3, 4);
    matrix[(1, 2)] = f64::NAN;
    let error = dense_svd(matrix.as_ref()).unwrap_err();
    assert!(matches!(error, Error::MatrixNotFinite { row: 1, col: 2, .. }), "{error}");
    let empty = dense_svd(Mat::<f64>::zeros(0, 3).as_ref()).unwrap();
    assert_eq!(empty.values.nrows(), 0);
}

#[test]
fn dense_decompositions_do_not_depend_on_the_number_of_threads() {
    let classes = ClassCounts::new((1..=800).collect::<Vec<u64>>()).unwrap();
    let matrix = centered_label_matrix(&classes).unwrap();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| dense_svd(matrix.as_ref()).unwrap())
    };
    let one = with(1);
    for threads in [2, 3, 16] {
        let other = with(threads);
        assert!(one.values == other.values, "singular values differ with {threads} threads");
        assert!(one.left == other.left && one.right == other.right, "singular vectors differ with {threads} threads");
    }
}

/// Squares of the entries leave the range of `f64`; a power of two changes no digit.
#[test]
fn dense_decompositions_have_no_size() {
    let matrix = Mat::from_fn(7, 5, |i, j| ((i * 5 + j * 3) % 11) as f64 - 4.5);
    let usual = dense_svd(matrix.as_ref()).unwrap();
    for power in [-1000, -600, 600, 1000] {
        let scale = faer::Scale(2.0_f64.powi(power));
        let scaled = dense_svd((scale * &matrix).as_ref()).unwrap();
        assert!(scaled.values == scale * &usual.values, "2^{power}: {:?}", scaled.values);
        assert!(scaled.left == usual.left && scaled.right == usual.right);
    }
    let subnormal = dense_svd((faer::Scale(f64::from_bits(1)) * Mat::<f64>::identity(2, 2)).as_ref()).unwrap();
    assert!(subnormal.values.iter().all(|value| *value == f64::from_bits(1)));
}

proptest! {
    #[test]
    fn explicit_roots_agree_with_the_secular_equation(counts in prop::collection::vec((1_usize..5, 1_u64..3_000_000), 1..4)) {
        let counts: Vec<u64> = counts.iter().flat_map(|&(m, c)| std::iter::repeat_n(c, m)).collect();
        let classes = ClassCounts::new(counts).unwrap();
        let explicit = explicit_singular_values(&classes).unwrap();
        for (value, explicit) in LabelSpectrum::centered(&classes).singular_values().iter().zip(explicit) {
            // The explicit formulas round some ten times, half an epsilon each, and a root halves that.
            prop_assert!((value - explicit).abs() <= 4.0 * f64::EPSILON * explicit, "{} {}", value, explicit);
        }
    }

    #[test]
    fn singular_values_interlace_the_counts(classes in class_counts(40)) {
        let values = LabelSpectrum::centered(&classes).singular_values();
        let bounds = interlacing_bounds(&classes);
        prop_assert_eq!((values.len(), bounds.len()), (classes.classes(), classes.classes()));
        for (value, (low, high)) in values.iter().zip(bounds) {
            // Theorem 4.4; both sides round once.
            prop_assert!(*value <= high * (1.0 + f64::EPSILON) && *value >= low * (1.0 - f64::EPSILON));
        }
        prop_assert_eq!(values[values.len() - 1], 0.0);
    }

    /// One at a time, all at once, and applied without being formed: the same vectors.
    #[test]
    fn vectors_are_the_same_however_they_are_asked_for(classes in class_counts(30), centered: bool) {
        let size = classes.classes();
        let spectrum = if centered { LabelSpectrum::centered(&classes) } else { LabelSpectrum::uncentered(&classes) };
        let (left, right) = (spectrum.left_vectors(size).unwrap(), spectrum.right_vectors(size).unwrap());
        prop_assert!((left.clone(), right.clone()) == spectrum.both_vectors(size).unwrap());
        for k in 0..size {
            prop_assert!(left.col(k) == spectrum.left_vector(k).as_ref());
            prop_assert!(right.col(k) == spectrum.right_vector(k).as_ref());
        }
        let x = Mat::from_fn(size, 3, |i, j| ((i * 7 + j * 3) % 11) as f64 - 5.0);
        // Sums of K products of numbers of at most 5 and vectors of norm 1.
        let rounding = 4.0 * size as f64 * f64::EPSILON * x.norm_l2();
        prop_assert!((spectrum.left_times(x.as_ref()) - &left * &x).norm_l2() <= rounding);
        prop_assert!((spectrum.right_times(x.as_ref()) - &right * &x).norm_l2() <= rounding);
        prop_assert!((spectrum.left_transposed_times(x.as_ref()) - left.transpose() * &x).norm_l2() <= rounding);
        prop_assert!((spectrum.right_transposed_times(x.as_ref()) - right.transpose() * &x).norm_l2() <= rounding);
    }

    #[test]
    fn vectors_are_orthonormal_and_reassemble_the_matrix(classes in class_counts(40), centered: bool) {
        let size = classes.classes();
        let spectrum = if centered { LabelSpectrum::centered(&classes) } else { LabelSpectrum::uncentered(&classes) };
        let target = if centered {
            centered_label_matrix(&classes).unwrap()
        } else {
            Mat::from_fn(size, size, |i, j| if i == j { (classes.counts()[i] as f64).sqrt() } else { 0.0 })
        };
        let (left, right) = (spectrum.left_vectors(size).unwrap(), spectrum.right_vectors(size).unwrap());
        // Every entry rounds about four times: K entries a column, K columns.
        let rounding = 8.0 * size as f64 * f64::EPSILON;
        prop_assert!(orthogonality(left.as_ref()) <= rounding, "{}", orthogonality(left.as_ref()) / f64::EPSILON);
        prop_assert!(orthogonality(right.as_ref()) <= rounding);
        let values = spectrum.singular_values();
        let reassembled = Mat::from_fn(size, size, |i, k| left[(i, k)] * values[k]) * right.transpose();
        prop_assert!((reassembled - &target).norm_l2() <= rounding * target.norm_l2().max(f64::MIN_POSITIVE));
        let dense = dense_svd(target.as_ref()).unwrap();
        for (value, dense) in values.iter().zip(dense.values.iter()) {
            prop_assert!((value - dense).abs() <= rounding * values[0]);
        }
    }
}

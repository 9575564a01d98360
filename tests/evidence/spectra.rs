//! Spectra of label matrices: how many eigenvalues of T Tᵀ = diag(n) - n nᵀ/N lie above a number, counted exactly.

use neural_collapse::{
    ClassCounts,
    faer::{Mat, MatRef},
    linalg::dense_svd,
    theory::{LabelSpectrum, centered_label_matrix},
};
use num_bigint::{BigInt, Sign};
use rand::{Rng, RngExt, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, StandardNormal};

use crate::{dyadic::Dyadic, worst};

/// Up to this number of classes: few, many of one size, one next to 10^12, neighbors.
pub(crate) fn class_counts(most: usize, rng: &mut impl Rng) -> Vec<u64> {
    let classes = rng.random_range(1..=most);
    let kind = rng.random_range(0..5);
    let one = |_| match kind {
        0 => rng.random_range(1..6),
        1 => rng.random_range(1..1_000),
        2 => 10_u64.pow(rng.random_range(0..13)) * rng.random_range(1..10),
        3 => 1_000_000_000 + rng.random_range(0..4),
        _ => [1, 1_000_000_000_000][rng.random_range(0..2)],
    };
    (0..classes).map(one).collect()
}

/// How many eigenvalues of N diag(n) - n nᵀ lie above N x, by the signs of leading minors of their difference (Jacobi;
/// the minors by Bareiss' elimination). `None` if a minor is zero.
fn above(counts: &[u64], x: &Dyadic) -> Option<usize> {
    let samples = Dyadic::from(counts.iter().sum::<u64>());
    let shift = &samples * x;
    // All entries times the same power of two are whole.
    let entry = |i: usize, j: usize| {
        let product = -&(&Dyadic::from(counts[i]) * &Dyadic::from(counts[j]));
        let diagonal = &(&samples * &Dyadic::from(counts[i])) - &shift;
        let sum = if i == j { &product + &diagonal } else { product };
        sum.mantissa << usize::try_from(sum.exponent - shift.exponent.min(0)).unwrap()
    };
    let side = counts.len();
    let mut matrix: Vec<Vec<BigInt>> = (0..side).map(|i| (0..side).map(|j| entry(i, j)).collect()).collect();
    let (mut before, mut sign, mut negative) = (BigInt::from(1), Sign::Plus, 0);
    for k in 0..side {
        let minor = matrix[k][k].clone();
        if minor.sign() == Sign::NoSign {
            return None;
        }
        negative += usize::from(minor.sign() != sign);
        sign = minor.sign();
        for i in k + 1..side {
            for j in k + 1..side {
                matrix[i][j] = (&matrix[i][j] * &minor - &matrix[i][k] * &matrix[k][j]) / &before;
            }
        }
        before = minor;
    }
    Some(side - negative)
}

/// The same in whatever order of the classes has no minor of zero.
fn count_above(counts: &[u64], x: &Dyadic) -> Option<usize> {
    let mut counts = counts.to_vec();
    (0..counts.len()).find_map(|_| {
        counts.rotate_left(1);
        above(&counts, x)
    })
}

/// The error of a singular value in epsilons, up to the next quarter: T Tᵀ has at most `before` eigenvalues above, and
/// at least `through` above what is below.
fn error(counts: &[u64], value: f64, before: usize, through: usize) -> f64 {
    let is_within = |parts: i64| {
        let square = |parts| Dyadic::from(value).stretched(parts).pow(2);
        // Where no order of the classes decides, that an eigenvalue is met exactly is one of many reasons: not counted.
        count_above(counts, &square(parts)).is_none_or(|count| count <= before)
            && count_above(counts, &square(-parts)).is_none_or(|count| count >= through)
    };
    let quarters = (1..=16).find(|quarters| is_within(4 * quarters));
    quarters.map_or(f64::INFINITY, |quarters| quarters as f64 / 4.0)
}

/// The offset from a pole is rounded once, the sum with the pole once, the root once: 1.5 epsilons.
#[test]
fn label_spectra_are_right_to_the_last_digit() {
    worst(100, [("singular values of labels, epsilons", 1.5)], |rng| {
        let counts = class_counts(10, rng);
        let spectrum = LabelSpectrum::centered(&ClassCounts::new(counts.clone()).unwrap());
        let (mut before, mut worst) = (0, 0.0_f64);
        for level in spectrum.levels() {
            let through = before + level.multiplicity;
            if through == counts.len() {
                // The least is zero, because the columns of T add up to zero.
                assert_eq!((level.value, level.multiplicity), (0.0, 1), "{counts:?}");
            } else {
                let error = error(&counts, level.value, before, through);
                assert!(error <= 1.5, "{counts:?}: {} is {error} epsilons off", level.value);
                worst = worst.max(error);
            }
            before = through;
        }
        [worst]
    });
}

/// The test ratios of LAPACK: ‖A - U S Vᵀ‖/(ε ‖A‖ K), ‖UᵀU - I‖/(ε K), ‖VᵀV - I‖/(ε K) in the Frobenius norm.
fn ratios(matrix: MatRef<'_, f64>, left: MatRef<'_, f64>, values: &[f64], right: MatRef<'_, f64>) -> [f64; 3] {
    let side = values.len();
    let scaled = Mat::from_fn(left.nrows(), side, |i, j| left[(i, j)] * values[j]);
    let unit = f64::EPSILON * side as f64;
    let defect =
        |vectors: MatRef<'_, f64>| (vectors.transpose() * vectors - Mat::<f64>::identity(side, side)).norm_l2() / unit;
    let rest = (scaled * right.transpose() - matrix).norm_l2();
    let size = matrix.norm_l2();
    [if size > 0.0 { rest / (unit * size) } else { rest }, defect(left), defect(right)]
}

/// LAPACK asks for less than 30.
const RATIO: f64 = 30.0;

#[test]
fn singular_vectors_have_the_ratios_of_lapack() {
    let names = [
        ("labels, |T - USV'|/(eps |T| K)", RATIO),
        ("labels, |U'U - I|/(eps K)", RATIO),
        ("labels, |V'V - I|/(eps K)", RATIO),
    ];
    worst(20, names, |rng| {
        let classes = ClassCounts::new(class_counts(60, rng)).unwrap();
        let spectrum = LabelSpectrum::centered(&classes);
        let (left, right) = spectrum.both_vectors(classes.classes()).unwrap();
        let matrix = centered_label_matrix(&classes).unwrap();
        ratios(matrix.as_ref(), left.as_ref(), &spectrum.singular_values(), right.as_ref())
    });
}

#[test]
fn dense_decompositions_have_the_ratios_of_lapack() {
    let names = [
        ("dense, |A - USV'|/(eps |A| K)", RATIO),
        ("dense, |U'U - I|/(eps K)", RATIO),
        ("dense, |V'V - I|/(eps K)", RATIO),
    ];
    worst(2, names, |rng: &mut Xoshiro256PlusPlus| {
        let (rows, cols) = (rng.random_range(1..120), rng.random_range(1..120));
        let spread = rng.random_range(0.0..20.0);
        let mut column = || 10_f64.powf(-spread * rng.random::<f64>());
        let scales: Vec<f64> = (0..cols).map(|_| column()).collect();
        let matrix = Mat::from_fn(rows, cols, |_, j| {
            let entry: f64 = StandardNormal.sample(rng);
            scales[j] * entry
        });
        let svd = dense_svd(matrix.as_ref()).unwrap();
        let values: Vec<f64> = svd.values.iter().copied().collect();
        ratios(matrix.as_ref(), svd.left.as_ref(), &values, svd.right.as_ref())
    });
}

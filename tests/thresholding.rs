//! Soft-thresholding of singular values and the factors of the nuclear norm, against what defines them.

use faer::Mat;
use neural_collapse::{
    Error,
    linalg::{dense_svd, soft_threshold},
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, StandardNormal};

fn gaussian(rows: usize, cols: usize, rng: &mut Xoshiro256PlusPlus) -> Mat<f64> {
    Mat::from_fn(rows, cols, |_, _| StandardNormal.sample(rng))
}

/// Decompositions of matrices of up to 12 rows and columns: some 12 epsilons of the norm, several times.
const ROUNDING: f64 = 256.0 * f64::EPSILON;

proptest! {
    /// The subgradient condition: A - X = τ G with ‖G‖ <= 1 and <G, X> = ‖X‖_* decides that X is the minimizer.
    #[test]
    fn thresholding_solves_its_minimization(rows in 1_usize..12, cols in 1_usize..12, tau in 0.01..4.0_f64, seed: u64) {
        let matrix = gaussian(rows, cols, &mut Xoshiro256PlusPlus::seed_from_u64(seed));
        let thresholded = soft_threshold(matrix.as_ref(), tau).unwrap();
        let x = thresholded.matrix();
        let scale = matrix.norm_l2();
        let rest = dense_svd((&matrix - &x).as_ref()).unwrap();
        prop_assert!(rest.values.iter().all(|&value| value <= tau + ROUNDING * scale));
        let product: f64 = (&matrix - &x).col_iter().zip(x.col_iter()).map(|(a, b)| a.transpose() * b).sum();
        prop_assert!((product - tau * thresholded.nuclear_norm()).abs() <= ROUNDING * scale * scale);
    }

    /// W H = A, and the penalty is the nuclear norm; no other pair of factors has a smaller one.
    #[test]
    fn factors_attain_the_nuclear_norm(rows in 1_usize..12, cols in 1_usize..12, logs in (-3.0..3.0_f64, -3.0..3.0_f64), seed: u64) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (weight_decay, feature_decay) = (10_f64.powf(logs.0), 10_f64.powf(logs.1));
        let matrix = gaussian(rows, cols, &mut rng);
        let svd = dense_svd(matrix.as_ref()).unwrap();
        let (w, h) = svd.factors(weight_decay, feature_decay).unwrap();
        prop_assert!((&w * &h - &matrix).norm_l2() <= ROUNDING * matrix.norm_l2());
        let penalty = |w: &Mat<f64>, h: &Mat<f64>| {
            weight_decay / 2.0 * w.squared_norm_l2() + feature_decay / 2.0 * h.squared_norm_l2()
        };
        let bound = (weight_decay * feature_decay).sqrt() * svd.nuclear_norm();
        prop_assert!((penalty(&w, &h) / bound - 1.0).abs() <= ROUNDING);
        // Another pair with the same product: W M and M⁻¹ H, M a shear.
        let size = w.ncols();
        let shear = Mat::from_fn(size, size, |i, j| if i == j { 1.0 } else if i + 1 == j { 0.5 } else { 0.0 });
        let mut solved = h.clone();
        for i in (0..size.saturating_sub(1)).rev() {
            let below = solved.row(i + 1).to_owned();
            for (entry, below) in solved.row_mut(i).iter_mut().zip(below.iter()) {
                *entry -= 0.5 * below;
            }
        }
        prop_assert!((&w * &shear * &solved - &matrix).norm_l2() <= ROUNDING * matrix.norm_l2() * size as f64);
        prop_assert!(penalty(&(&w * &shear), &solved) >= bound * (1.0 - ROUNDING));
    }
}

/// To the last bit, with signs, zeros and sides of any length.
#[test]
fn diagonal_matrices_are_their_own_decomposition() {
    for (rows, cols) in [(3, 3), (3, 5), (5, 3)] {
        let diagonal = [0.1, -0.7, 0.0];
        let matrix = Mat::from_fn(rows, cols, |i, j| if i == j { diagonal[i] } else { 0.0 });
        let svd = dense_svd(matrix.as_ref()).unwrap();
        assert_eq!(svd.values.iter().copied().collect::<Vec<_>>(), [0.7, 0.1, 0.0]);
        assert_eq!(&svd.left * svd.values.as_diagonal() * svd.right.transpose(), matrix);
        let identity = Mat::<f64>::identity(3, 3);
        assert_eq!(
            (svd.left.transpose() * &svd.left, svd.right.transpose() * &svd.right),
            (identity.clone(), identity)
        );
    }
}

#[test]
fn thresholds_and_decays_that_cannot_be_are_named() {
    let matrix = Mat::<f64>::identity(2, 2);
    for bad in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(soft_threshold(matrix.as_ref(), bad), Err(Error::Domain { argument: "threshold", .. })));
        let svd = dense_svd(matrix.as_ref()).unwrap();
        assert!(matches!(svd.factors(bad, 1.0), Err(Error::Domain { argument: "weight decay", .. })));
        assert!(matches!(svd.factors(1.0, bad), Err(Error::Domain { argument: "feature decay", .. })));
    }
    // The threshold itself is zero already; above all of them nothing is left.
    assert_eq!(soft_threshold(matrix.as_ref(), 1.0).unwrap().values.nrows(), 0);
    assert_eq!(soft_threshold(matrix.as_ref(), 1.0).unwrap().matrix(), Mat::<f64>::zeros(2, 2));
}

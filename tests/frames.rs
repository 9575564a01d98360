//! Simplex and orthogonal frames, equal norms and angles, and self-duality, against their definitions and at minimizers.

use approx::assert_abs_diff_eq;
use neural_collapse::{
    Block, ClassCounts, Error, Layer, Ufm,
    faer::{Mat, Scale, mat},
    metrics::{frame_distances, self_duality},
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, StandardNormal};

fn gaussian(rows: usize, cols: usize, seed: u64) -> Mat<f64> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    Mat::from_fn(rows, cols, |_, _| StandardNormal.sample(&mut rng))
}

/// Mean and standard deviation as in a textbook.
fn moments(values: &[f64]) -> (f64, f64) {
    let mean = values.iter().sum::<f64>() / values.len() as f64;
    (mean, (values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / values.len() as f64).sqrt())
}

proptest! {
    /// Sums of at most 64 products: 64 epsilons, of numbers of order one.
    #[test]
    fn frames_are_measured_by_definition(width in 1_usize..9, classes in 2_usize..9, seed: u64, scale in -150_i32..150) {
        let vectors = gaussian(width, classes, seed);
        let distances = frame_distances((Scale(10.0_f64.powi(scale)) * &vectors).as_ref()).unwrap();
        let norms: Vec<f64> = vectors.col_iter().map(|vector| vector.norm_l2()).collect();
        let mut cosines = Vec::new();
        for k in 0..classes {
            for l in (0..classes).filter(|l| *l != k) {
                cosines.push((vectors.col(k).transpose() * vectors.col(l)) / (norms[k] * norms[l]));
            }
        }
        let close = |ours: Option<f64>, by_definition: f64| {
            // A standard deviation of equal numbers is the root of a sum of squares of rounding.
            prop_assert!((ours.unwrap() - by_definition).abs() <= 64.0 * f64::EPSILON, "{ours:?} {by_definition}");
            Ok(())
        };
        let (mean, deviation) = moments(&norms);
        close(distances.equinorm, deviation / mean)?;
        close(distances.equiangularity, moments(&cosines).1)?;
        let k = classes as f64;
        close(distances.maximal_angle, moments(&cosines.iter().map(|c| (c + 1.0 / (k - 1.0)).abs()).collect::<Vec<_>>()).0)?;
        let gram = vectors.transpose() * &vectors;
        let gram = Scale(1.0 / gram.norm_l2()) * gram;
        let identity = Mat::<f64>::identity(classes, classes);
        let simplex = Scale(1.0 / (k - 1.0).sqrt()) * (&identity - Mat::full(classes, classes, 1.0 / k));
        close(distances.simplex, (&gram - simplex).norm_l2())?;
        close(distances.orthogonal, (&gram - Scale(1.0 / k.sqrt()) * identity).norm_l2())?;

        let means = gaussian(width, classes, seed.wrapping_add(1));
        let unit = |matrix: &Mat<f64>| Scale(1.0 / matrix.norm_l2()) * matrix;
        let by_definition = (unit(&vectors) - unit(&means)).norm_l2().powi(2);
        close(self_duality(vectors.transpose(), means.as_ref()).unwrap(), by_definition)?;
    }

    /// With balanced classes the minimizers are the frames of the field: all distances are rounding.
    #[test]
    fn balanced_minimizers_are_frames(classes in 2_usize..12, count in 1_u64..50, depth in 1_usize..4, bias: bool, seed: u64) {
        let counts = ClassCounts::balanced(classes, count).unwrap();
        let ufm = Ufm::new(counts, vec![Layer::new(classes + 3, 1e-4); depth], 1e-4).unwrap().with_bias(bias);
        let minimizer = ufm.minimizer().unwrap();
        let point = minimizer.random_parameters(&mut Xoshiro256PlusPlus::seed_from_u64(seed)).unwrap();
        let means = point.class_means(&ufm).unwrap();
        let classifiers = point.product();
        for vectors in [classifiers.transpose(), means.as_ref()] {
            let distances = frame_distances(vectors).unwrap();
            let frame = if bias { distances.simplex } else { distances.orthogonal };
            // Up to four products of frames of side 15.
            let rounding = 100.0 * f64::EPSILON;
            for number in [distances.equinorm, distances.equiangularity, frame].into_iter().flatten() {
                prop_assert!(number <= rounding, "{distances:?}");
            }
            prop_assert!(!bias || distances.maximal_angle.unwrap() <= rounding, "{distances:?}");
        }
        prop_assert!(self_duality(classifiers.as_ref(), means.as_ref()).unwrap().unwrap() <= 100.0 * f64::EPSILON);
    }
}

#[test]
fn what_divides_by_zero_is_none() {
    let zero = frame_distances(Mat::<f64>::zeros(3, 4).as_ref()).unwrap();
    let all = [zero.equinorm, zero.equiangularity, zero.maximal_angle, zero.simplex, zero.orthogonal];
    assert_eq!(all, [None; 5]);
    let one = frame_distances(mat![[3.0], [4.0]].as_ref()).unwrap();
    let all = [one.equinorm, one.equiangularity, one.maximal_angle, one.simplex, one.orthogonal];
    assert_eq!(all, [Some(0.0), None, None, None, Some(0.0)]);
    // A class that has vanished has no angles.
    let vanished = frame_distances(mat![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]].as_ref()).unwrap();
    assert_eq!((vanished.equiangularity, vanished.maximal_angle), (None, None));
    assert_abs_diff_eq!(vanished.equinorm.unwrap(), 0.5_f64.sqrt(), epsilon = 4.0 * f64::EPSILON);
    assert!(vanished.simplex.is_some() && vanished.orthogonal.is_some());
    // Angles do not depend on sizes, however unlike they are.
    for size in [1.0, 2.5e-162, 1e-300] {
        let unlike = frame_distances(mat![[1.0, size, size], [0.0, 0.0, 0.0]].as_ref()).unwrap();
        assert_eq!((unlike.maximal_angle, unlike.equiangularity), (Some(1.5), Some(0.0)), "{size:e}");
    }
    assert_eq!(self_duality(mat![[0.0]].as_ref(), mat![[1.0]].as_ref()), Ok(None));
    assert_eq!(self_duality(mat![[-2.0]].as_ref(), mat![[1.0]].as_ref()), Ok(Some(4.0)));
    let error = self_duality(mat![[1.0, 2.0]].as_ref(), mat![[1.0, 2.0]].as_ref()).unwrap_err();
    assert_eq!(error, Error::Shape { block: Block::Product, expected: (2, 1), found: (1, 2) });
}

#[test]
fn bad_input_is_refused() {
    assert_eq!(frame_distances(Mat::<f64>::zeros(3, 0).as_ref()), Err(Error::NoClasses));
    for value in [f64::NAN, f64::INFINITY] {
        let matrix = mat![[1.0, 2.0], [value, 1.0]];
        assert!(matches!(frame_distances(matrix.as_ref()), Err(Error::MatrixNotFinite { row: 1, col: 0, .. })));
        assert!(matches!(self_duality(matrix.as_ref(), matrix.as_ref()), Err(Error::MatrixNotFinite { .. })));
    }
}

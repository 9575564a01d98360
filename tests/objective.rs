//! The hand-derived gradient against finite differences of the objective, and what is refused at the door.

use faer::{Col, Mat};
use neural_collapse::{
    Block, ClassCounts, Error, Layer, Parameters, Point, Targets, Ufm,
    critical::{difference, escape},
    descent::Descent,
    metrics::{collapse, distance, singular_value_error, singular_values},
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

fn model(counts: &[u64], widths: &[usize], bias: bool) -> Ufm {
    let layers: Vec<Layer> = widths.iter().enumerate().map(|(l, &width)| Layer::new(width, 0.1 + l as f64)).collect();
    Ufm::new(ClassCounts::new(counts).unwrap(), layers, 0.3).unwrap().with_bias(bias)
}

/// x + t d.
fn moved(model: &Ufm, x: &Parameters, t: f64, d: &Parameters) -> Parameters {
    let weights = x.weights().iter().zip(d.weights()).map(|(x, d)| x + faer::Scale(t) * d).collect();
    let features = x.features() + faer::Scale(t) * d.features();
    let bias = x.bias().zip(d.bias()).map(|(x, d)| x + faer::Scale(t) * d);
    Parameters::new(model, weights, features, bias).unwrap()
}

fn inner_product(a: &Parameters, b: &Parameters) -> f64 {
    let matrices =
        |a: &Mat<f64>, b: &Mat<f64>| a.col_iter().zip(b.col_iter()).map(|(a, b)| a.transpose() * b).sum::<f64>();
    let weights: f64 = a.weights().iter().zip(b.weights()).map(|(a, b)| matrices(a, b)).sum();
    let bias = a.bias().zip(b.bias()).map_or(0.0, |(a, b)| a.transpose() * b);
    weights + matrices(&a.features().to_owned(), &b.features().to_owned()) + bias
}

proptest! {
    /// Along any direction f is a polynomial of degree 2 (L+1): its derivative follows exactly from 2 (L+1) + 1 values.
    #[test]
    fn gradient_is_the_derivative(
        counts in prop::collection::vec(1_u64..5, 1..5),
        widths in prop::collection::vec(1_usize..5, 1..5),
        bias: bool,
        seed: u64,
    ) {
        let model = model(&counts, &widths, bias);
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let x = Parameters::gaussian_with_deviations(&model, 1.0, 1.0, &mut rng).unwrap();
        let mut d = Parameters::gaussian_with_deviations(&model, 1.0, 1.0, &mut rng).unwrap();
        if bias {
            let (weights, features, _) = d.into_parts();
            let b = Col::from_fn(counts.len(), |k| 0.5 - k as f64);
            d = Parameters::new(&model, weights, features, Some(b)).unwrap();
        }
        let f = |t: f64| model.objective(&moved(&model, &x, t, &d)).unwrap();
        let (value, gradient) = model.objective_and_gradient(&x).unwrap();
        prop_assert_eq!(value, f(0.0));
        // Central differences of steps h, 2h, ..., (L+1)h, with the weights that are exact for degree 2 (L+1):
        // f'(0) = Σ_i w_i (f(ih) - f(-ih)) / (2ih),   w_i = Π_{j≠i} j²/(j² - i²).
        let (h, order) = (0.125, widths.len() + 1);
        let mut derivative = 0.0;
        let mut size = 0.0;
        for i in 1..=order {
            let weight: f64 = (1..=order).filter(|&j| j != i).map(|j| (j * j) as f64 / ((j * j) as f64 - (i * i) as f64)).product();
            let (plus, minus) = (f(i as f64 * h), f(-(i as f64) * h));
            derivative += weight * (plus - minus) / (2.0 * i as f64 * h);
            size += weight.abs() * (plus + minus) / (2.0 * i as f64 * h);
        }
        // Each value of f sums some 100 positive terms in products of up to 6 factors: 64 epsilons are ample.
        let slope = inner_product(&gradient, &d);
        prop_assert!((slope - derivative).abs() <= 64.0 * f64::EPSILON * size, "{slope} {derivative} {size}");
    }
}

#[test]
fn models_that_cannot_be_are_refused() {
    let counts = || ClassCounts::new([3, 2]).unwrap();
    assert_eq!(Ufm::new(counts(), [], 0.1), Err(Error::NoLayers));
    assert_eq!(Ufm::new(counts(), [Layer::new(2, 0.1), Layer::new(0, 0.1)], 0.1), Err(Error::ZeroWidth { layer: 1 }));
    for value in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let layer = Ufm::new(counts(), [Layer::new(2, 0.1), Layer::new(2, value)], 0.1).unwrap_err();
        assert!(matches!(layer, Error::Decay { block: Block::Weights(1), .. }));
        assert!(layer.to_string().contains("W_2") && layer.to_string().contains(&format!("{value:?}")), "{layer}");
        let features = Ufm::new(counts(), [Layer::new(2, 0.1)], value).map(Ufm::without_bias).unwrap_err();
        assert!(matches!(features, Error::Decay { block: Block::Features, .. }));
    }
}

#[test]
fn parameters_that_do_not_fit_are_refused() {
    let ufm = model(&[3, 2], &[4, 3], true);
    let parts = || Parameters::zeros(&ufm).unwrap().into_parts();
    let make = |weights, features, bias| Parameters::new(&ufm, weights, features, bias).unwrap_err();

    let (weights, features, _) = parts();
    assert_eq!(make(weights, features, None), Error::BiasPresence { expected: true });
    let (mut weights, features, bias) = parts();
    weights.pop();
    assert_eq!(make(weights, features, bias), Error::LayerCount { expected: 2, found: 1 });
    let (mut weights, features, bias) = parts();
    weights.swap(0, 1);
    let wrong = Error::Shape { block: Block::Weights(0), expected: (3, 4), found: (2, 3) };
    assert_eq!(make(weights, features, bias), wrong);
    let (weights, _, bias) = parts();
    let wrong = Error::Shape { block: Block::Features, expected: (4, 5), found: (5, 4) };
    assert_eq!(make(weights, Mat::zeros(5, 4), bias), wrong);
    let (weights, features, _) = parts();
    let wrong = Error::Shape { block: Block::Bias, expected: (2, 1), found: (3, 1) };
    assert_eq!(make(weights, features, Some(Col::zeros(3))), wrong);
    for value in [f64::NAN, f64::INFINITY] {
        let (weights, mut features, bias) = parts();
        features[(2, 1)] = value;
        let error = make(weights, features, bias);
        assert!(matches!(error, Error::NotFinite { block: Block::Features, row: 2, col: 1, .. }), "{error}");
    }
    // Parameters of one model given to another.
    let other = model(&[3, 2], &[4, 3], false);
    let parameters = Parameters::zeros(&ufm).unwrap();
    assert_eq!(other.objective(&parameters), Err(Error::BiasPresence { expected: false }));
    assert!(other.objective_and_gradient(&parameters).is_err());
    assert!(parameters.class_means(&model(&[3, 3], &[4, 3], true)).is_err());
}

/// All shapes are the same, but the samples are those of other classes.
#[test]
fn parameters_of_permuted_counts_are_refused() {
    let (ufm, other) = (model(&[5, 10, 5], &[4], true), model(&[10, 5, 5], &[4], true));
    let minimizer = ufm.minimizer().unwrap();
    let refused = Error::ClassCounts { class: 0, expected: 5, found: 10 };
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
    let drawn = Parameters::gaussian(&other, 1.0, &mut rng).unwrap();
    let (weights, features, bias) = drawn.clone().into_parts();
    let by_hand = Parameters::new(&other, weights, features, bias).unwrap();
    let gradient = other.objective_and_gradient(&drawn).unwrap().1;
    let reduced = Point::gaussian(&other, 1.0, &mut rng).unwrap();
    let expanded = reduced.clone().into_parameters().unwrap();
    let theirs = other.minimizer().unwrap().parameters().unwrap();
    for parameters in [&drawn, &by_hand, &gradient, &expanded, &theirs] {
        assert_eq!(parameters.class_counts().unwrap().counts(), [10, 5, 5]);
        assert!(other.objective(parameters).is_ok());
        assert_eq!(ufm.objective(parameters).unwrap_err(), refused);
        assert_eq!(ufm.objective_and_gradient(parameters).unwrap_err(), refused);
        assert_eq!(parameters.class_means(&ufm).unwrap_err(), refused);
    }
    for point in [drawn.into(), reduced] {
        assert_eq!(Descent::default().minimize(&ufm, point.clone()).unwrap_err(), refused);
        assert_eq!(point.objective(&ufm).unwrap_err(), refused);
        assert_eq!(point.clone().perturbed(&ufm, 1.0, &mut rng).unwrap_err(), refused);
        assert_eq!(distance(&minimizer, &point).unwrap_err(), refused);
        assert_eq!(collapse(&minimizer, &point).unwrap_err(), refused);
        assert_eq!(difference(&minimizer, &point).unwrap_err(), refused);
        assert_eq!(escape(&ufm, &point).unwrap_err(), refused);
        assert_eq!(singular_values(&ufm, &point).unwrap_err(), refused);
        assert_eq!(singular_value_error(&minimizer, &point).unwrap_err(), refused);
    }
}

/// Equal counts from elsewhere are the same counts, and a matrix of targets has none to compare.
#[test]
fn parameters_of_equal_counts_are_shared() {
    let (ufm, same) = (model(&[3, 2], &[4], true), model(&[3, 2], &[4], true));
    let parameters = Parameters::gaussian(&ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0)).unwrap();
    assert_eq!(same.objective(&parameters), ufm.objective(&parameters));
    // The labels of these counts as a matrix.
    let labels = Mat::from_fn(2, 5, |i, j| f64::from(u8::from(i == usize::from(j >= 3))));
    let matrix = Ufm::new(Targets::matrix(labels).unwrap(), [Layer::new(4, 0.1)], 0.3).unwrap();
    assert_eq!(matrix.objective(&parameters), ufm.objective(&parameters));
    let gaussian = Parameters::gaussian(&matrix, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0)).unwrap();
    assert!(gaussian.class_counts().is_none());
    assert_eq!(ufm.objective(&gaussian), matrix.objective(&gaussian));
}

#[test]
fn starts_without_a_scale_are_refused() {
    let ufm = model(&[3, 2], &[4], true);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(0);
    for scale in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let error = Parameters::gaussian(&ufm, scale, &mut rng).unwrap_err();
        assert!(matches!(error, Error::Domain { argument: "scale", .. }));
    }
    assert!(Parameters::gaussian_with_deviations(&ufm, -1.0, 1.0, &mut rng).is_err());
    assert!(Parameters::gaussian_with_deviations(&ufm, 1.0, f64::NAN, &mut rng).is_err());
    let huge = Ufm::new(ClassCounts::balanced(2, 1 << 50).unwrap(), [Layer::new(512, 0.1)], 0.1).unwrap();
    assert!(matches!(Parameters::zeros(&huge), Err(Error::TooLarge { .. })));
}

#[test]
fn at_zero_the_objective_is_that_of_the_labels() {
    let ufm = model(&[3, 2], &[4, 3, 2], false);
    assert_eq!(ufm.objective(&Parameters::zeros(&ufm).unwrap()), Ok(0.5));
}

/// A subnormal decay is rounded once, when it is given, and has its minimum as it is.
#[test]
fn subnormal_decays_keep_their_digits() {
    let counts = ClassCounts::new([31]).unwrap();
    let ufm = Ufm::new(counts, [Layer::new(3, 4.02e-87)], 1.657_8e-316).unwrap().without_bias();
    let minimizer = ufm.minimizer().unwrap();
    let reached = ufm.objective(&minimizer.parameters().unwrap()).unwrap();
    // 31 columns of 3 numbers, each after a few operations.
    assert!((reached / minimizer.objective() - 1.0).abs() <= 31.0 * f64::EPSILON, "{reached:e}");
}

/// Matrices of other shapes are other matrices, not a panic.
#[test]
fn parameters_of_other_shapes_are_not_equal() {
    let parameters = |counts: &[u64], width| {
        let ufm = Ufm::new(ClassCounts::new(counts).unwrap(), [Layer::new(width, 0.1)], 0.1).unwrap();
        Parameters::zeros(&ufm).unwrap()
    };
    let one = parameters(&[2, 1], 2);
    assert_eq!(one, parameters(&[2, 1], 2));
    for other in [parameters(&[2, 1], 3), parameters(&[3, 1], 2), parameters(&[1, 2], 2), parameters(&[1, 1, 1], 2)] {
        assert_ne!(one, other);
    }
    let targets = |samples| Targets::matrix(Mat::<f64>::zeros(2, samples)).unwrap();
    assert_ne!(targets(2), targets(3));
    assert_ne!(Point::from(one), Point::from(parameters(&[3, 1], 2)));
}

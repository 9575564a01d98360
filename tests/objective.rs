//! The hand-derived gradient against finite differences of the objective, and what is refused at the door.

mod models;

use faer::{Col, Mat};
use neural_collapse::{
    Block, ClassCounts, ClassWeights, Error, Layer, Loss, Parameters, Point, Targets, Ufm,
    critical::{difference, escape},
    descent::Descent,
    metrics::{collapse, distance, singular_value_error, singular_values},
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

use self::models::{Options, labels};

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

fn matrices(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    a.col_iter().zip(b.col_iter()).map(|(a, b)| a.transpose() * b).sum()
}

fn inner_product(a: &Parameters, b: &Parameters) -> f64 {
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

/// f along a line, to 30 digits: the definition, in double-double arithmetic.
mod oracle {
    use neural_collapse::{Loss, Parameters, Ufm, faer::MatRef};
    use qd::Quad;

    type Matrix = Vec<Vec<Quad>>;

    fn number(value: f64) -> Quad {
        Quad::from_f64(value)
    }

    /// x + t d by columns.
    fn moved(x: MatRef<'_, f64>, d: MatRef<'_, f64>, t: Quad) -> Matrix {
        let entry = |(x, d): (&f64, &f64)| number(*x) + t * number(*d);
        x.col_iter().zip(d.col_iter()).map(|(x, d)| x.iter().zip(d.iter()).map(entry).collect()).collect()
    }

    fn square(matrix: &Matrix) -> Quad {
        matrix.iter().flatten().fold(Quad::ZERO, |sum, &entry| sum + entry * entry)
    }

    /// α l of the outputs z of a sample of this class.
    fn loss(ufm: &Ufm, sample: usize, class: Option<usize>, z: &[Quad]) -> Quad {
        let outputs = ufm.outputs();
        let of = |list: Option<&[f64]>, i: usize, neutral: f64| number(list.map_or(neutral, |list| list[i]));
        let targets: Vec<Quad> = (0..outputs)
            .map(|i| match (ufm.targets().as_matrix(), class) {
                (Some(matrix), _) => number(matrix[(i, sample)]),
                (None, class) => {
                    let smoothing = number(ufm.targets().smoothing());
                    let own = if class == Some(i) { Quad::ONE - smoothing } else { Quad::ZERO };
                    own + smoothing / number(outputs as f64)
                }
            })
            .collect();
        let logits: Vec<Quad> = (0..outputs)
            .map(|i| {
                let margin = if class == Some(i) { of(ufm.margins(), i, 0.0) } else { Quad::ZERO };
                of(ufm.logit_scales(), i, 1.0) * z[i] + of(ufm.logit_shifts(), i, 0.0) - margin
            })
            .collect();
        let weight = class.map_or(Quad::ONE, |class| of(ufm.class_weights(), class, 1.0));
        let pairs = || logits.iter().zip(&targets);
        let sum = |terms: &mut dyn Iterator<Item = Quad>| terms.fold(Quad::ZERO, |sum, term| sum + term);
        weight
            * if ufm.loss() == Loss::Squared {
                sum(&mut pairs().map(|(&u, &y)| (u - y) * (u - y))) * number(0.5)
            } else {
                let top = logits.iter().copied().fold(logits[0], |top, u| if u > top { u } else { top });
                let exponentials = sum(&mut logits.iter().map(|&u| (u - top).exp()));
                let mass = sum(&mut targets.iter().copied());
                mass * exponentials.ln() + sum(&mut pairs().map(|(&u, &y)| y * (top - u)))
            }
    }

    pub(crate) fn objective(ufm: &Ufm, x: &Parameters, d: &Parameters, t: Quad) -> Quad {
        let mut penalties = Quad::ZERO;
        let mut signals = moved(x.features(), d.features(), t);
        penalties += number(ufm.feature_decay()) * square(&signals);
        for (layer, (x, d)) in ufm.layers().iter().zip(x.weights().iter().zip(d.weights())) {
            let weights = moved(x.as_ref(), d.as_ref(), t);
            penalties += number(layer.decay) * square(&weights);
            for signal in &mut signals {
                let mut output = vec![Quad::ZERO; x.nrows()];
                for (column, &entry) in weights.iter().zip(&*signal) {
                    output.iter_mut().zip(column).for_each(|(output, &weight)| *output += weight * entry);
                }
                *signal = output;
            }
        }
        if let (Some(x), Some(d)) = (x.bias(), d.bias()) {
            let bias = moved(x.as_mat(), d.as_mat(), t);
            penalties += number(ufm.bias_decay()) * square(&bias);
            for signal in &mut signals {
                signal.iter_mut().zip(&bias[0]).for_each(|(entry, &bias)| *entry += bias);
            }
        }
        let classes: Vec<Option<usize>> = match ufm.class_counts() {
            Some(counts) => (0..counts.classes())
                .flat_map(|k| vec![Some(k); usize::try_from(counts.counts()[k]).unwrap()])
                .collect(),
            None => vec![None; signals.len()],
        };
        let losses = signals.iter().zip(classes).enumerate().map(|(j, (z, class))| loss(ufm, j, class, z));
        let fit = losses.fold(Quad::ZERO, |sum, term| sum + term);
        fit / number(ufm.samples() as f64) + penalties * number(0.5)
    }

    /// The derivative at zero along d, by central differences of fourth order. With steps of 2^-26 the truncation is
    /// below 1e-30 (u')^5 for logits u, and the rounding of f, 1e-28 of it, is divided by 1e-8.
    pub(crate) fn derivative(ufm: &Ufm, x: &Parameters, d: &Parameters) -> Quad {
        let h = 2_f64.powi(-26);
        let f = |t: f64| objective(ufm, x, d, number(t));
        let slope = |h: f64| (f(h) - f(-h)) / number(2.0 * h);
        (number(4.0) * slope(h) - slope(2.0 * h)) / number(3.0)
    }
}

/// How far rounding can move f and its derivative along d: every entry u_i of the adjusted logits is a sum of products
/// whose sizes add up to s_i, rounded once a factor and term; with e = max s_i the softmax moves by at most e, since its
/// derivatives add up to 1/2 at most, and so does the error of the squared loss. These errors are weighted by what the
/// derivative multiplies them with: the same sums of sizes, along d.
fn rounding(ufm: &Ufm, x: &Parameters, d: &Parameters) -> (f64, f64) {
    let size =
        |matrix: faer::MatRef<'_, f64>| Mat::from_fn(matrix.nrows(), matrix.ncols(), |i, j| matrix[(i, j)].abs());
    let (mut sizes, mut slopes) = (size(x.features()), size(d.features()));
    let mut penalties =
        (ufm.feature_decay() * sizes.squared_norm_l2(), ufm.feature_decay() * matrices(&sizes, &slopes));
    for (layer, (x, d)) in ufm.layers().iter().zip(x.weights().iter().zip(d.weights())) {
        let (x, d) = (size(x.as_ref()), size(d.as_ref()));
        slopes = &x * slopes + &d * &sizes;
        sizes = &x * sizes;
        penalties.0 += layer.decay * x.squared_norm_l2();
        penalties.1 += layer.decay * matrices(&x, &d);
    }
    if let (Some(x), Some(d)) = (x.bias(), d.bias()) {
        let (x, d) = (size(x.as_mat()), size(d.as_mat()));
        sizes.col_iter_mut().for_each(|mut column| column += x.col(0));
        slopes.col_iter_mut().for_each(|mut column| column += d.col(0));
        penalties.0 += ufm.bias_decay() * x.squared_norm_l2();
        penalties.1 += ufm.bias_decay() * matrices(&x, &d);
    }
    let largest = |list: Option<&[f64]>, neutral: f64| {
        list.map_or(neutral, |list| list.iter().fold(0.0, |largest: f64, entry| largest.max(entry.abs())))
    };
    let (weight, scale) = (largest(ufm.class_weights(), 1.0), largest(ufm.logit_scales(), 1.0));
    let moved = 1.0 + largest(ufm.logit_shifts(), 0.0) + largest(ufm.margins(), 0.0);
    let mut fit = (0.0, 0.0);
    for (sizes, slopes) in sizes.col_iter().zip(slopes.col_iter()) {
        let largest = scale * sizes.norm_max() + moved;
        fit.0 += weight * sizes.nrows() as f64 * largest * largest;
        fit.1 += weight * scale * slopes.norm_l1() * 2.0 * (1.0 + largest);
    }
    let samples = ufm.samples() as f64;
    let terms = ufm.layers().iter().map(|layer| layer.width as f64).sum::<f64>() + samples + 16.0;
    let terms = terms + ufm.outputs() as f64;
    let error = |(fit, penalties): (f64, f64)| terms * f64::EPSILON * (fit / samples + penalties);
    (error((fit.0, penalties.0)), error((fit.1, penalties.1)))
}

fn assert_derivative(ufm: &Ufm, x: &Parameters, d: &Parameters) -> Result<(), TestCaseError> {
    let (value, gradient) = ufm.objective_and_gradient(x).unwrap();
    prop_assert_eq!(value, ufm.objective(x).unwrap());
    let (of_value, of_slope) = rounding(ufm, x, d);
    let expected = oracle::objective(ufm, x, d, qd::Quad::ZERO);
    let error = (qd::Quad::from_f64(value) - expected).0.abs();
    prop_assert!(error <= of_value, "{} {:?}: {:e} > {:e}", value, expected, error, of_value);
    let (slope, expected) = (inner_product(&gradient, d), oracle::derivative(ufm, x, d));
    let error = (qd::Quad::from_f64(slope) - expected).0.abs();
    prop_assert!(error <= of_slope, "{} {:?}: {:e} > {:e}", slope, expected, error, of_slope);
    // A point of another form has the same objective.
    let point = Point::from(x.clone()).objective(ufm).unwrap();
    prop_assert!((point - value).abs() <= 2.0 * of_value, "{} {}", point, value);
    Ok(())
}

proptest! {
    /// Every loss, with every option: f is its definition, and the gradient its derivative, but for rounding.
    #[test]
    fn every_loss_has_its_value_and_its_gradient(options in labels(1..=3, false), soft: bool, scale in 0.1..3.0_f64) {
        let ufm = if soft { options.soft_model() } else { options.model() };
        let x = options.start(&ufm, scale);
        let d = Options { seed: options.seed ^ 7, ..options.clone() }.start(&ufm, 1.0);
        assert_derivative(&ufm, &x, &d)?;
    }

    /// Logits of ±1e4 neither overflow nor lose digits.
    #[test]
    fn logits_of_ten_thousand_do_not_overflow(options in labels(1..=2, false), soft: bool) {
        let options = Options { bias: options.bias.or(Some(0.0)), ..options };
        let ufm = if soft { options.soft_model() } else { options.model() };
        let (weights, features, bias) = options.start(&ufm, 1.0).into_parts();
        let bias = bias.map(|bias| bias.iter().map(|entry| 1e4 * entry.signum() + entry).collect());
        let x = Parameters::new(&ufm, weights, features, bias).unwrap();
        let d = Options { seed: options.seed ^ 7, ..options.clone() }.start(&ufm, 1.0);
        assert_derivative(&ufm, &x, &d)?;
    }

    /// Options that do nothing change no bit.
    #[test]
    fn weights_of_one_and_adjustments_of_nothing_change_no_bit(options in labels(1..=3, false)) {
        let options = Options { weights: false, shifts: false, margins: false, scales: false, ..options };
        let plain = options.model();
        let classes = options.counts.len();
        let same = plain.clone()
            .with_class_weights(ClassWeights::Given(vec![1.0; classes])).unwrap()
            .with_logit_shifts(vec![0.0; classes]).unwrap()
            .with_margins(vec![0.0; classes]).unwrap()
            .with_logit_scales(vec![1.0; classes]).unwrap();
        let x = options.start(&plain, 1.0);
        prop_assert_eq!(same.objective_and_gradient(&x).unwrap(), plain.objective_and_gradient(&x).unwrap());
        let descent = Descent::default().with_step_limit(20);
        prop_assert_eq!(descent.minimize(&same, x.clone()).unwrap(), descent.minimize(&plain, x).unwrap());
    }
}

/// Cross-entropy of two classes with logits ±t, to the last digits: log(1 + exp(-2t)) and -2/(1 + exp(2t)).
#[test]
fn almost_perfect_fits_keep_their_digits() {
    let ufm = Ufm::new(ClassCounts::new([1]).unwrap(), [Layer::new(1, 1e-300)], 1e-300).unwrap();
    assert_eq!(
        ufm.with_loss(Loss::CrossEntropy).unwrap().objective_and_gradient(&zeros_of_one_class()).unwrap().0,
        0.0
    );
    let classes = ClassCounts::new([1, 1]).unwrap();
    let hard = Ufm::new(classes, [Layer::new(2, 1e-300)], 1e-300).unwrap().with_loss(Loss::CrossEntropy).unwrap();
    let one_hot = Targets::matrix(Mat::identity(2, 2)).unwrap();
    let soft = Ufm::new(one_hot, [Layer::new(2, 1e-300)], 1e-300).unwrap().with_loss(Loss::CrossEntropy).unwrap();
    for t in [1.0_f64, 10.0, 19.0, 40.0, 300.0] {
        for ufm in [&hard, &soft] {
            let weights = Mat::from_fn(2, 2, |i, j| if i == j { t } else { -t });
            let x = Parameters::new(ufm, vec![weights], Mat::identity(2, 2), Some(Col::zeros(2))).unwrap();
            let (value, gradient) = ufm.objective_and_gradient(&x).unwrap();
            // exp, log and a division, half an epsilon each, and its argument exactly.
            let near = |a: f64, b: f64| (a / b - 1.0).abs() <= 4.0 * f64::EPSILON;
            assert!(near(value, (-2.0 * t).exp().ln_1p()), "{t} {value:e}");
            // By the diagonal of W: (p - 1)/N for each of the two samples.
            let expected = -0.5 * (-2.0 * t).exp() / (1.0 + (-2.0 * t).exp());
            assert!(near(gradient.weights()[0][(0, 0)], expected), "{t} {:e}", gradient.weights()[0][(0, 0)]);
        }
    }
}

fn zeros_of_one_class() -> Parameters {
    let ufm = Ufm::new(ClassCounts::new([1]).unwrap(), [Layer::new(1, 1e-300)], 1e-300).unwrap();
    Parameters::zeros(&ufm).unwrap()
}

/// Probabilities of single precision do not sum to 1: the loss is that of the softmax, bounded below along a shift of
/// all logits.
#[test]
fn targets_that_sum_to_one_only_in_single_precision_have_a_bounded_loss() {
    let targets = Targets::matrix(Mat::from_fn(3, 2, |_, _| f64::from(1.0_f32 / 3.0))).unwrap();
    let ufm = Ufm::new(targets, [Layer::new(2, 0.1)], 0.1).unwrap().with_loss(Loss::CrossEntropy).unwrap();
    let at = |shift: f64| {
        let (weights, features, bias) = Parameters::zeros(&ufm).unwrap().into_parts();
        let bias = bias.map(|bias| bias.iter().map(|_| shift).collect());
        let x = Parameters::new(&ufm, weights, features, bias).unwrap();
        ufm.objective_and_gradient(&x).unwrap()
    };
    let (value, gradient) = at(1e6);
    assert_eq!(value, at(0.0).0);
    assert!(gradient.bias().unwrap().norm_max() <= f64::EPSILON);
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

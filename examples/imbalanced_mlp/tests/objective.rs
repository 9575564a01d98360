//! What training minimizes is the objective of the theory, and its gradient is that of the theory.

use burn::tensor::{Device, Int, Tensor, TensorData};
use clap::Parser;
use imbalanced_mlp::{
    data::Source,
    flags::Flags,
    measure::State,
    network::numbers,
    objective::{Objective, Penalties},
    train::Trainer,
};
use neural_collapse::{
    Parameters, Ufm,
    faer::{Mat, MatRef},
};

const WIDTH: usize = 16;

/// Every loss and every adjustment.
const LOSSES: [&str; 11] = [
    "--layers 1",
    "--layers 3 --layer-decay 1e-3,2e-3,3e-3",
    "--layers 2 --no-bias",
    "--loss cross-entropy",
    "--loss cross-entropy --layers 2 --class-weights inverse-root --logit-adjustment 0.7",
    "--loss cross-entropy --label-smoothing 0.1 --class-weights 1x5,3x5 --weight-convention weights",
    "--class-weights effective:0.9 --label-smoothing 0.2 --logit-adjustment -1 --no-bias",
    "--loss cross-entropy --relu-features",
    "--loss cross-entropy --ldam 0.5 --class-weights inverse",
    "--ldam 1 --cdt -0.4 --layers 2",
    "--loss cross-entropy --cdt 0.3 --bias-decay 0.1",
];

fn trained(flags: &str) -> (Trainer, Ufm, Vec<usize>) {
    let line = format!("test --counts 6x2,4x2,2x6 --width {WIDTH} --feature-decay 1e-3 --batch full {flags}");
    let flags = Flags::parse_from(line.split_whitespace());
    let set = flags.training_set().unwrap();
    let configuration = flags.configuration(&set).unwrap();
    let ufm = configuration.ufm(&set.counts).unwrap();
    let shape = configuration.shape(&set).unwrap();
    let mut trainer = Trainer::new(&configuration, &shape, &ufm, &set, &flags.device());
    for _ in 0..5 {
        trainer = trainer.step(&configuration);
    }
    (trainer, ufm, set.labels)
}

/// The theory's parameters of a network, and the order of its samples by class.
fn parameters(ufm: &Ufm, state: &State, labels: &[usize]) -> (Parameters, Vec<usize>) {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|&i| labels[i]);
    let features = MatRef::from_column_major_slice(&state.features, WIDTH, labels.len());
    let features = Mat::from_fn(WIDTH, labels.len(), |i, j| f64::from(features[(i, order[j])]));
    let bias = state.bias.as_ref().map(|bias| bias.iter().copied().collect());
    (Parameters::new(ufm, state.layers.clone(), features, bias).unwrap(), order)
}

/// Sums of numbers of one sign: relative to the sum, rounding is at most that of their number of additions. An output has
/// the same error for every layer of WIDTH products, and a softmax a few more for each of its ten terms.
fn rounding(ufm: &Ufm, samples: usize) -> f64 {
    (samples * WIDTH + 2 * WIDTH * ufm.depth() + 4 * 10) as f64 * f64::from(f32::EPSILON)
}

/// The network after a few steps, compared with the theory's own code at the same weights and features.
#[test]
fn the_loss_is_the_objective_of_the_theory() {
    for flags in LOSSES {
        let (trainer, ufm, labels) = trained(flags);
        let (parameters, _) = parameters(&ufm, &trainer.state().unwrap(), &labels);
        let (expected, found) = (ufm.objective(&parameters).unwrap(), trainer.objective().unwrap());
        assert!((found / expected - 1.0).abs() < rounding(&ufm, labels.len()), "{flags}: {found} {expected}");
    }
}

/// Of layers, bias and features: what the optimizer is given, and what goes back into the network.
#[test]
fn the_gradient_is_that_of_the_theory() {
    for flags in LOSSES {
        let (trainer, ufm, labels) = trained(flags);
        let state = trainer.state().unwrap();
        let (parameters, order) = parameters(&ufm, &state, &labels);
        let (_, expected) = ufm.objective_and_gradient(&parameters).unwrap();
        let device = Device::flex().autodiff();
        let features = TensorData::new(state.features.clone(), [labels.len(), WIDTH]);
        let features = Tensor::<2>::from_data(features, &device).require_grad();
        let classes: Vec<i64> = labels.iter().map(|&label| i64::try_from(label).unwrap()).collect();
        let classes = Tensor::<1, Int>::from_data(TensorData::new(classes, [labels.len()]), &device);
        let value = Objective::new(&ufm, Penalties::All, &device).value_at(&trainer.network, features.clone(), classes);
        let gradients = value.backward();
        let close = |what: &str, found: Vec<f32>, expected: Mat<f64>| {
            let found = MatRef::from_column_major_slice(&found, expected.nrows(), expected.ncols());
            let error = (0..expected.ncols())
                .flat_map(|j| (0..expected.nrows()).map(move |i| (i, j)))
                .map(|at| (f64::from(found[at]) - expected[at]).abs())
                .fold(0.0, f64::max);
            // Terms of both signs: relative to the largest entry times what cancels, as much as a sum of that many terms
            // can lose.
            let largest = expected.norm_max();
            assert!(error < 10.0 * rounding(&ufm, labels.len()) * largest, "{flags}, {what}: {error} of {largest}");
        };
        let by_rows = Mat::from_fn(WIDTH, labels.len(), |i, j| expected.features()[(i, j)]);
        let mut sorted = Mat::zeros(WIDTH, labels.len());
        for (j, &sample) in order.iter().enumerate() {
            sorted.col_mut(sample).copy_from(by_rows.col(j));
        }
        close("features", numbers(features.grad(&gradients).unwrap()).unwrap(), sorted);
        for (l, (weight, expected)) in trainer.network.linear_weights().zip(expected.weights()).enumerate() {
            close(&format!("W_{}", l + 1), numbers(weight.grad(&gradients).unwrap()).unwrap(), expected.clone());
        }
        assert_eq!(trainer.network.last_bias().is_some(), expected.bias().is_some());
        if let Some((bias, expected)) = trainer.network.last_bias().zip(expected.bias()) {
            close("b", numbers(bias.grad(&gradients).unwrap()).unwrap(), expected.as_mat().to_owned());
        }
    }
}

/// Without a penalty of the features there is no term of theirs.
#[test]
fn features_without_a_decay_are_not_penalized() {
    let (trainer, ufm, labels) = trained("--layers 1");
    let (with, state) = (trainer.objective().unwrap(), trainer.state().unwrap());
    let square: f64 = state.features.iter().map(|&x| f64::from(x).powi(2)).sum();
    let classes: Vec<i64> = labels.iter().map(|&label| i64::try_from(label).unwrap()).collect();
    let device = Device::flex();
    let classes = Tensor::<1, Int>::from_data(TensorData::new(classes, [labels.len()]), &device);
    let features = Tensor::<2>::from_data(TensorData::new(state.features, [labels.len(), WIDTH]), &device);
    let network = burn::module::Module::valid(&trainer.network);
    let value = Objective::new(&ufm, Penalties::Layers, &device).value_at(&network, features.clone(), classes.clone());
    let without = f64::from(numbers(value).unwrap()[0]);
    let penalty = ufm.feature_decay() / 2.0 * square;
    assert!(penalty > 1e-3 * with);
    assert!((with - without - penalty).abs() < rounding(&ufm, labels.len()) * with, "{with} {without} {penalty}");
    let loss = Objective::new(&ufm, Penalties::None, &device).value_at(&network, features, classes);
    let (loss, penalty) =
        (f64::from(numbers(loss).unwrap()[0]), ufm.layers()[0].decay / 2.0 * state.layers[0].squared_norm_l2());
    assert!(penalty > 1e-3 * with);
    assert!((without - loss - penalty).abs() < rounding(&ufm, labels.len()) * with, "{without} {loss} {penalty}");
}

/// Equal batches that make up the set: the mean of their objectives is that of the set.
#[test]
fn batches_estimate_the_whole() {
    for loss in ["--layers 2", "--loss cross-entropy --class-weights inverse --label-smoothing 0.1"] {
        let line = format!("test --counts 4x8,2x2 --width 8 --feature-decay 1e-2 {loss}");
        let flags = Flags::parse_from(line.split_whitespace());
        let set = Source::Digits.load(&"4x8,2x2".parse().unwrap(), 0).unwrap();
        let configuration = flags.configuration(&set).unwrap();
        let ufm = configuration.ufm(&set.counts).unwrap();
        let device = Device::flex();
        let network = configuration.shape(&set).unwrap().start(1, &device);
        let objective = Objective::new(&ufm, Penalties::All, &device);
        let value = |samples: std::ops::Range<usize>| {
            let images = set.images[samples.start * set.inputs..samples.end * set.inputs].to_vec();
            let images = Tensor::<2>::from_data(TensorData::new(images, [samples.len(), set.inputs]), &device);
            let labels: Vec<i64> = set.labels[samples.clone()].iter().map(|&k| i64::try_from(k).unwrap()).collect();
            let labels = Tensor::<1, Int>::from_data(TensorData::new(labels, [samples.len()]), &device);
            f64::from(numbers(objective.value(&network, images, labels)).unwrap()[0])
        };
        let (whole, mean) = (value(0..36), (0..4).map(|i| value(9 * i..9 * (i + 1))).sum::<f64>() / 4.0);
        // As above.
        assert!((mean / whole - 1.0).abs() < (36.0 * 10.0 + 32.0) * f64::from(f32::EPSILON), "{mean} {whole}");
    }
}

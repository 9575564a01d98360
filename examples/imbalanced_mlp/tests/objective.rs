//! What training minimizes is the objective of the theory.

use burn::tensor::{Device, Tensor, TensorData};
use clap::Parser;
use imbalanced_mlp::{data::Source, flags::Flags, network::numbers, objective::objective, train::Trainer};
use neural_collapse::{
    Parameters,
    faer::{Mat, MatRef},
};

const WIDTH: usize = 16;

/// The network after a few steps, compared with the theory's own code at the same weights and features.
#[test]
fn the_loss_is_the_objective_of_the_theory() {
    for flags in ["--layers 1", "--layers 3 --layer-decay 1e-3,2e-3,3e-3", "--layers 2 --no-bias"] {
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
        let state = trainer.state().unwrap();
        let samples = set.labels.len();
        let mut order: Vec<usize> = (0..samples).collect();
        order.sort_by_key(|&i| set.labels[i]);
        let features = MatRef::from_column_major_slice(&state.features, WIDTH, samples);
        let features = Mat::from_fn(WIDTH, samples, |i, j| f64::from(features[(i, order[j])]));
        let bias = state.bias.map(|bias| bias.into_iter().collect());
        let parameters = Parameters::new(&ufm, state.layers, features, bias).unwrap();
        let (expected, found) = (ufm.objective(&parameters).unwrap(), trainer.objective().unwrap());
        // Sums of squares, all positive: relative to the sum, rounding is at most that of their number of additions. An
        // output has the same error for every layer of WIDTH products.
        let terms = samples * WIDTH + 2 * WIDTH * ufm.depth();
        assert!((found / expected - 1.0).abs() < terms as f64 * f64::from(f32::EPSILON), "{found} {expected}");
    }
}

/// Equal batches that make up the set: the mean of their objectives is that of the set.
#[test]
fn batches_estimate_the_whole() {
    let flags = Flags::parse_from("test --counts 4x8,2x2 --width 8 --layers 2 --feature-decay 1e-2".split_whitespace());
    let set = Source::Digits.load(&"4x8,2x2".parse().unwrap(), 0).unwrap();
    let configuration = flags.configuration(&set).unwrap();
    let ufm = configuration.ufm(&set.counts).unwrap();
    let device = Device::flex();
    let network = configuration.shape(&set).unwrap().start(1, &device);
    let value = |samples: std::ops::Range<usize>| {
        let images = set.images[samples.start * set.inputs..samples.end * set.inputs].to_vec();
        let targets = set.labels[samples.clone()].iter().flat_map(|&label| (0..10).map(move |k| f32::from(k == label)));
        let images = Tensor::<2>::from_data(TensorData::new(images, [samples.len(), set.inputs]), &device);
        let targets = TensorData::new(targets.collect::<Vec<_>>(), [samples.len(), 10]);
        let value = objective(&ufm, &network, images, Tensor::from_data(targets, &device));
        f64::from(numbers(value).unwrap()[0])
    };
    let (whole, mean) = (value(0..36), (0..4).map(|i| value(9 * i..9 * (i + 1))).sum::<f64>() / 4.0);
    // As above.
    assert!((mean / whole - 1.0).abs() < (36.0 * 10.0 + 32.0) * f64::from(f32::EPSILON), "{mean} {whole}");
}

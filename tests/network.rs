//! A network measured from batches of its features is the same as the parameters that it is.

use std::ops::ControlFlow;

use neural_collapse::{
    ClassCounts, Error, Layer, Parameters, Point, Targets, Ufm,
    descent::Descent,
    faer::{Col, Mat, Scale, mat},
    linalg::dense_svd,
    metrics::{
        Collapse, FeatureAccumulator, FeatureStatistics, NearestCenter, ScatterAccumulator, collapse, distance,
        network_collapse, optimum_disagreement, singular_value_error, singular_values,
    },
};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom};

/// A model, a random point of it, and its samples in random order.
struct Network {
    ufm: Ufm,
    parameters: Parameters,
    features: Mat<f64>,
    labels: Vec<usize>,
}

impl Network {
    fn new(counts: &[u64], widths: &[usize], bias: bool, seed: u64) -> Self {
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed);
        let layers: Vec<_> = widths.iter().map(|&width| Layer::new(width, 1e-3)).collect();
        let ufm = Ufm::new(Targets::from(ClassCounts::new(counts).unwrap()), layers, 2e-3).unwrap().with_bias(bias);
        let (weights, features, bias) = Parameters::gaussian(&ufm, 1.0, rng).unwrap().into_parts();
        let bias = bias.map(|bias| Col::from_fn(bias.nrows(), |_| rng.random_range(-1.0..1.0)));
        let parameters = Parameters::new(&ufm, weights, features, bias).unwrap();
        Self::shuffled(ufm, parameters, rng)
    }

    fn shuffled(ufm: Ufm, parameters: Parameters, rng: &mut Xoshiro256PlusPlus) -> Self {
        let counts = ufm.class_counts().unwrap().counts();
        let sorted: Vec<usize> = counts
            .iter()
            .enumerate()
            .flat_map(|(class, &count)| vec![class; usize::try_from(count).unwrap()])
            .collect();
        let mut order: Vec<usize> = (0..sorted.len()).collect();
        order.shuffle(rng);
        let features = Mat::from_fn(ufm.feature_width(), order.len(), |i, j| parameters.features()[(i, order[j])]);
        let labels = order.iter().map(|&sample| sorted[sample]).collect();
        Self { ufm, parameters, features, labels }
    }

    fn accumulated(&self, mut accumulator: FeatureAccumulator) -> FeatureStatistics {
        let half = self.labels.len() / 2;
        let (first, second) = self.labels.split_at(half);
        accumulator.add(self.features.as_ref().subcols(0, half), first).unwrap();
        accumulator.add(self.features.as_ref().subcols(half, second.len()), second).unwrap();
        accumulator.finish()
    }

    fn one_pass(&self) -> FeatureStatistics {
        self.accumulated(FeatureAccumulator::with_scatter(self.ufm.feature_width(), self.ufm.outputs()).unwrap())
    }

    fn two_passes(&self) -> FeatureStatistics {
        let first = FeatureAccumulator::new(self.ufm.feature_width(), self.ufm.outputs()).unwrap();
        let product = self.parameters.product();
        let mut second = ScatterAccumulator::with_product(self.accumulated(first), product.as_ref()).unwrap();
        second.add(self.features.as_ref(), &self.labels).unwrap();
        second.finish().unwrap()
    }

    fn point(&self, statistics: &FeatureStatistics) -> Result<Point, Error> {
        let (weights, _, bias) = self.parameters.clone().into_parts();
        statistics.point(&self.ufm, weights, bias)
    }
}

fn numbers(collapse: Collapse) -> [Option<f64>; 5] {
    let Collapse { nc1, nc2_classifier, nc2_features, nc3, alignment, .. } = collapse;
    [nc1, nc2_classifier, nc2_features, nc3, alignment]
}

proptest! {
    #[test]
    fn batches_measure_what_parameters_do(
        counts in prop::collection::vec(1_u64..20, 1..6),
        widths in prop::collection::vec(1_usize..16, 1..4),
        bias: bool,
        seed: u64,
    ) {
        let network = Network::new(&counts, &widths, bias, seed);
        let Network { ufm, parameters, .. } = &network;
        let minimizer = ufm.minimizer().unwrap();
        let objective = ufm.objective(parameters).unwrap();
        let whole = numbers(collapse(&minimizer, parameters).unwrap());
        for statistics in [network.one_pass(), network.two_passes()] {
            let batched = network_collapse(&minimizer.clone().into(), parameters.product().as_ref(), &statistics).unwrap();
            // Sums of 100 samples of width 16, and decompositions of that side; class means are sums that may cancel, and
            // have the rounding of all features.
            let size = statistics.squared_norm().sqrt() / statistics.weighted_means().norm_l2();
            let rounding = 150.0 * f64::EPSILON * size;
            // NC1 divides by the squares of singular values of the centered means, each as wrong as the largest.
            let values = dense_svd(statistics.centered_means().unwrap().as_ref()).unwrap().values;
            let rank = values.nrows().min(counts.len() - 1);
            let condition = if rank > 0 { values[0] / values[rank - 1] } else { 1.0 };
            // A deviation across the direction of a difference of means is turned into it by the direction's error: NC1
            // is wrong by the root of itself times what it would be if all scatter lay along the least difference.
            let least = if rank > 0 { values[rank - 1] } else { 1.0 };
            let variances = statistics.variances().unwrap();
            let scatter: f64 = variances.iter().zip(&counts).map(|(variance, &count)| variance * count as f64).sum();
            let most = scatter / ufm.samples() as f64 / (least * least);
            let turned = condition * rounding;
            for (i, (whole, batched)) in whole.into_iter().zip(numbers(batched)).enumerate() {
                prop_assert_eq!(whole.is_some(), batched.is_some());
                let (whole, batched) = (whole.unwrap_or(0.0), batched.unwrap_or(0.0));
                let allowed = if i == 0 { 2.0 * turned * (whole * most).sqrt() + turned * turned * most } else { rounding };
                prop_assert!((whole - batched).abs() <= allowed, "{i}: {whole} {batched}");
            }
            let point = network.point(&statistics).unwrap();
            // Nothing in an objective cancels but the residual, of which half is at most the larger part.
            let ours = point.objective(ufm).unwrap();
            prop_assert!((ours / objective - 1.0).abs() <= 4.0 * rounding, "{ours} {objective}");
            match (distance(&minimizer, &point).unwrap(), distance(&minimizer, parameters).unwrap()) {
                // Alternating minimization, for L >= 2, ends when its square changes by less than 1e-10 of it.
                (Some(ours), Some(theirs)) => {
                    let (ours, theirs) = (ours.largest(), theirs.largest());
                    prop_assert!((ours / theirs - 1.0).abs() <= 1e-6, "{ours} {theirs}");
                }
                (ours, theirs) => prop_assert_eq!(ours, theirs),
            }
            let (ours, theirs) =
                (singular_values(ufm, &point).unwrap().features, singular_values(ufm, parameters).unwrap().features);
            for (ours, theirs_one) in ours.iter().zip(&theirs) {
                prop_assert!((ours - theirs_one).abs() <= rounding * theirs[0]);
            }
        }
    }

    /// The full scatter is all that a descent by an equivariant method needs to know.
    #[test]
    fn descents_go_on_from_a_network(
        counts in prop::collection::vec(1_u64..12, 2..5),
        width in 2_usize..12,
        bias: bool,
        seed: u64,
    ) {
        let network = Network::new(&counts, &[width], bias, seed);
        let trajectory = |start: Point| {
            let run = Descent::default().with_step_limit(30).minimize(&network.ufm, start).unwrap();
            run.trajectory.into_iter().map(|record| record.objective).collect::<Vec<_>>()
        };
        let point = network.point(&network.one_pass()).unwrap();
        let (ours, whole) = (trajectory(point), trajectory(network.parameters.clone().into()));
        // Rounding is carried along for 30 steps, in which an error can grow; restarts decide by the sign of a number.
        for (ours, whole) in ours.iter().zip(&whole).take(20) {
            prop_assert!((ours / whole - 1.0).abs() < 1e-9, "{ours} {whole}");
        }
    }

    #[test]
    fn rules_agree_as_they_are_defined_to(
        counts in prop::collection::vec(1_u64..400, 2..6),
        width in 1_usize..10,
        bias: bool,
        seed: u64,
    ) {
        let network = Network::new(&counts, &[width], bias, seed);
        let product = network.parameters.product();
        let statistics = network.one_pass();
        let mut rules = NearestCenter::new(product.as_ref(), network.parameters.bias(), &statistics).unwrap();
        let third = network.labels.len() / 3;
        let (first, second) = network.labels.split_at(third);
        rules.add(network.features.as_ref().subcols(0, third), first).unwrap();
        rules.add(network.features.as_ref().subcols(third, second.len()), second).unwrap();

        let largest = |values: &mut dyn Iterator<Item = f64>| {
            values.enumerate().fold((0, f64::NEG_INFINITY), |best, next| if next.1 > best.1 { next } else { best }).0
        };
        let (mut disagreements, mut correct, mut correct_by_center) = (0, 0, 0);
        for (sample, &class) in network.features.col_iter().zip(&network.labels) {
            let bias = |k: usize| network.parameters.bias().map_or(0.0, |bias| bias[k]);
            let logits = &product * sample;
            let decided = largest(&mut (0..counts.len()).map(|k| logits[k] + bias(k)));
            let nearest = largest(&mut statistics.class_means().col_iter().map(|mean| -(mean - sample).squared_norm_l2()));
            disagreements += usize::from(decided != nearest);
            correct += usize::from(decided == class);
            correct_by_center += usize::from(nearest == class);
        }
        let samples = network.labels.len() as f64;
        prop_assert_eq!(rules.disagreement(), Some(disagreements as f64 / samples));
        prop_assert_eq!(rules.accuracy(), Some(correct as f64 / samples));
        prop_assert_eq!(rules.center_accuracy(), Some(correct_by_center as f64 / samples));
    }

    /// At a minimizer the two rules disagree where the theory says, though only rounding distinguishes coincident
    /// classes.
    #[test]
    fn minimizers_disagree_as_the_theory_says(
        counts in prop::collection::vec(1_u64..20, 1..7),
        repeated in 1_usize..4,
        decay in 1e-3_f64..0.3,
        bias: bool,
        seed: u64,
    ) {
        let counts: Vec<u64> = counts.into_iter().flat_map(|count| vec![count; repeated]).collect();
        let layers = [Layer::new(counts.len() + 2, decay)];
        let ufm = Ufm::new(Targets::from(ClassCounts::new(counts.clone()).unwrap()), layers.to_vec(), decay).unwrap().with_bias(bias);
        let minimizer = ufm.minimizer().unwrap();
        let rng = &mut Xoshiro256PlusPlus::seed_from_u64(seed);
        let parameters = minimizer.random_parameters(rng).unwrap();
        let network = Network::shuffled(ufm, parameters, rng);
        let mut rules = NearestCenter::new(
            network.parameters.product().as_ref(),
            network.parameters.bias(),
            &network.one_pass(),
        ).unwrap();
        rules.add(network.features.as_ref(), &network.labels).unwrap();
        let promised = optimum_disagreement(&minimizer.into()).unwrap();
        // Sums of a few integers over N.
        prop_assert!((rules.disagreement().unwrap() - promised).abs() <= 4.0 * f64::EPSILON, "{rules:?} {promised}");
    }
}

/// Classes that nothing tells apart are guessed between; noise of one class's logit is not that of the others.
#[test]
fn ties_are_guessed_and_no_others() {
    let network = Network::new(&[6, 6, 6, 6], &[5], false, 0);
    let (statistics, features) = (network.one_pass(), network.features.as_ref());
    let accuracy = |product: &Mat<f64>| {
        let mut rules = NearestCenter::new(product.as_ref(), None, &statistics).unwrap();
        rules.add(features, &network.labels).unwrap();
        rules.accuracy().unwrap()
    };
    assert_eq!(accuracy(&Mat::zeros(4, 5)), 0.25);
    // Class 0 has logits of ± 1e20 or so, the others their own.
    let mut product = network.parameters.product();
    product.row_mut(0).iter_mut().for_each(|entry| *entry *= 1e20);
    let logits = &product * features;
    let largest = |j: usize| (0..4).fold(0, |best, k| if logits[(k, j)] > logits[(best, j)] { k } else { best });
    let correct = (0..24).filter(|&j| largest(j) == network.labels[j]).count();
    assert_eq!(accuracy(&product), correct as f64 / 24.0);
}

/// Logits that are equal where W c and b cancel, far from the origin: three rows of the same numbers in other orders, on
/// samples of equal entries.
#[test]
fn ties_are_seen_where_shifts_cancel() {
    for seed in 0..50 {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let row: Vec<f64> = (0..6).map(|_| rng.random::<f64>() - 0.5).collect();
        let product = Mat::from_fn(3, 6, |k, i| row[(i + k) % 6]);
        let size = 1e6 * (1.0 + rng.random::<f64>());
        let features = Mat::from_fn(6, 3, |_, _| size);
        let bias = Col::from_fn(3, |_| -size * row.iter().sum::<f64>());
        let mut accumulator = FeatureAccumulator::new(6, 3).unwrap();
        accumulator.add(features.as_ref(), &[0, 1, 2]).unwrap();
        let mut rules = NearestCenter::new(product.as_ref(), Some(bias.as_ref()), &accumulator.finish()).unwrap();
        rules.add(features.as_ref(), &[0, 1, 2]).unwrap();
        // Three times a third of three samples.
        assert!((rules.accuracy().unwrap() - 1.0 / 3.0).abs() <= f64::EPSILON, "{seed}: {rules:?}");
        assert_eq!(rules.disagreement(), Some(0.0));
    }
}

/// With one class there is no direction to look along, but the features are there.
#[test]
fn a_second_pass_without_directions_keeps_what_varies() {
    let features = mat![[1.0, 2.0, 3.0, 4.0], [0.0, 1.0, 0.0, -1.0]];
    let ufm = Ufm::new(ClassCounts::new([4]).unwrap(), [Layer::new(2, 0.1)], 0.1).unwrap().without_bias();
    let mut first = FeatureAccumulator::new(2, 1).unwrap();
    first.add(features.as_ref(), &[0; 4]).unwrap();
    let mut second = ScatterAccumulator::new(first.finish()).unwrap();
    second.add(features.as_ref(), &[0; 4]).unwrap();
    let point = second.finish().unwrap().point(&ufm, vec![Mat::zeros(1, 2)], None).unwrap();
    // (4 + 0.1 · 4 · 32)/8: half the mean square of the labels, and half of λ_H ‖H‖² = 3.2.
    assert!((point.objective(&ufm).unwrap() - 2.1).abs() <= 8.0 * f64::EPSILON);
}

/// Singular values that the theory does not promise are errors too.
#[test]
fn singular_values_beyond_the_classes_count() {
    let ufm = Ufm::new(ClassCounts::new([5, 4, 3]).unwrap(), [Layer::new(8, 1e-3); 2], 1e-3).unwrap().without_bias();
    let minimizer = ufm.minimizer().unwrap();
    let (mut weights, features, bias) = minimizer.parameters().unwrap().into_parts();
    (3..8).for_each(|i| weights[0][(i, i)] = 1.0);
    let point = Parameters::new(&ufm, weights, features, bias).unwrap();
    let largest = minimizer.directions()[0].layers[0];
    let error = singular_value_error(&minimizer, &point).unwrap();
    assert!((error - 1.0 / largest).abs() <= 64.0 * f64::EPSILON, "{error} {largest}");
}

#[test]
fn a_second_pass_for_other_layers_is_refused() {
    let network = Network::new(&[5, 4, 3], &[12], true, 0);
    let first = network.accumulated(FeatureAccumulator::new(12, 3).unwrap());
    assert_eq!(network.point(&first), Err(Error::NoScatter));
    let mut second = ScatterAccumulator::new(first.clone()).unwrap();
    second.add(network.features.as_ref(), &network.labels).unwrap();
    assert_eq!(network.point(&second.finish().unwrap()), Err(Error::NoScatter));
    let turned = Mat::from_fn(3, 12, |i, j| network.parameters.product()[(i, (j + 1) % 12)]);
    let mut second = ScatterAccumulator::with_product(first.clone(), turned.as_ref()).unwrap();
    second.add(network.features.as_ref(), &network.labels).unwrap();
    assert_eq!(network.point(&second.finish().unwrap()), Err(Error::NoScatter));
    // Without scatter there is no nc1, and all the rest.
    let minimizer = network.ufm.minimizer().unwrap();
    let collapse = network_collapse(&minimizer.clone().into(), network.parameters.product().as_ref(), &first).unwrap();
    assert!(collapse.nc1.is_none() && collapse.nc3.is_some() && collapse.alignment.is_some());
}

#[test]
fn networks_that_do_not_belong_are_refused() {
    let network = Network::new(&[5, 4, 3], &[6], true, 0);
    let (statistics, minimizer) = (network.one_pass(), network.ufm.minimizer().unwrap());
    let product = network.parameters.product();
    let other = Ufm::new(ClassCounts::new([5, 5, 2]).unwrap(), [Layer::new(6, 1e-3)], 1e-3).unwrap();
    let refused = network_collapse(&other.optimum().unwrap(), product.as_ref(), &statistics);
    let error = Error::ClassCounts { class: 1, expected: 5, found: 4 };
    assert_eq!(refused, Err(error.clone()));
    assert_eq!(error.to_string(), "class counts: class 1 (counted from 0) has 4 samples, the model has 5");
    let more = Ufm::new(ClassCounts::new([5, 4, 3, 2]).unwrap(), [Layer::new(6, 1e-3)], 1e-3).unwrap();
    let error = Error::ClassCounts { class: 3, expected: 2, found: 0 };
    assert_eq!(statistics.point(&more, vec![product.clone()], None), Err(error));
    let wide = Ufm::new(ClassCounts::new([5, 4, 3]).unwrap(), [Layer::new(7, 1e-3)], 1e-3).unwrap();
    let refused = network_collapse(&wide.optimum().unwrap(), product.as_ref(), &statistics);
    assert!(matches!(refused, Err(Error::Shape { expected: (7, 3), found: (6, 3), .. })), "{refused:?}");
    let short = product.subrows(0, 2);
    assert!(matches!(network_collapse(&minimizer.clone().into(), short, &statistics), Err(Error::Shape { .. })));
    assert!(matches!(NearestCenter::new(short, None, &statistics), Err(Error::Shape { .. })));
    let mut broken = product.clone();
    broken[(1, 2)] = f64::NAN;
    let refused = network_collapse(&minimizer.clone().into(), broken.as_ref(), &statistics);
    assert!(matches!(refused, Err(Error::NotFinite { row: 1, col: 2, .. })), "{refused:?}");
    assert!(matches!(NearestCenter::new(broken.as_ref(), None, &statistics), Err(Error::NotFinite { .. })));
    assert!(matches!(statistics.point(&network.ufm, vec![broken], Some(Col::zeros(3))), Err(Error::NotFinite { .. })));
    assert!(matches!(
        statistics.point(&network.ufm, vec![product.clone()], None),
        Err(Error::BiasPresence { expected: true })
    ));
    let mut rules = NearestCenter::new(product.as_ref(), None, &statistics).unwrap();
    assert_eq!(rules.disagreement(), None);
    assert!(matches!(rules.add(network.features.as_ref(), &[0; 12]), Ok(())));
    assert!(matches!(rules.add(network.features.as_ref(), &[3; 12]), Err(Error::LabelOutOfRange { .. })));
}

/// Squares of entries beyond 2^480 are refused before they become infinite; products of layers, when they have.
#[test]
fn numbers_that_are_too_large_are_refused() {
    let mut accumulator = FeatureAccumulator::with_scatter(9, 1).unwrap();
    let largest = f64::from_bits(2.0_f64.powi(480).to_bits() - 1);
    accumulator.add(Mat::full(9, 3, largest).as_ref(), &[0; 3]).unwrap();
    assert_eq!(accumulator.finish().trace_ratio(), Ok(None));
    for (row, value) in [(2, 2.0_f64.powi(480)), (8, -1e200)] {
        let mut features = Mat::<f64>::zeros(9, 3);
        features[(row, 1)] = value;
        let refused = FeatureAccumulator::new(9, 1).unwrap().add(features.as_ref(), &[0; 3]);
        assert!(matches!(refused, Err(Error::OutOfRange { row: at, col: 1, .. }) if at == row), "{refused:?}");
    }
    let network = Network::new(&[5, 4, 3], &[6, 6], true, 0);
    let (minimizer, product) = (network.ufm.minimizer().unwrap(), network.parameters.product());
    let statistics = network.one_pass();
    let large = network_collapse(&minimizer.clone().into(), (Scale(1e300) * &product).as_ref(), &statistics).unwrap();
    let (large, usual) =
        (numbers(large), numbers(network_collapse(&minimizer.clone().into(), product.as_ref(), &statistics).unwrap()));
    for (large, usual) in large.into_iter().zip(usual) {
        assert!((large.unwrap() - usual.unwrap()).abs() <= 50.0 * f64::EPSILON);
    }
    let (weights, features, bias) = network.parameters.into_parts();
    let weights = weights.into_iter().map(|weights| Scale(1e200) * weights).collect();
    let point = Parameters::new(&network.ufm, weights, features, bias).unwrap();
    assert!(matches!(collapse(&minimizer, &point), Err(Error::MatrixNotFinite { .. })));
}

/// A pass of the descent goes down from where the network is.
#[test]
fn a_network_can_be_watched_going_down() {
    let network = Network::new(&[40, 30, 20], &[8], true, 0);
    let minimizer = network.ufm.minimizer().unwrap();
    let point = network.point(&network.one_pass()).unwrap();
    let mut seen = Vec::new();
    let run =
        Descent::default().with_optimum(minimizer.objective()).minimize_observed(&network.ufm, point, |progress| {
            seen.push(collapse(&minimizer, &progress.point()).unwrap().alignment.unwrap());
            ControlFlow::Continue(())
        });
    assert!(run.unwrap().gap.unwrap() <= 1e-10);
    assert!(seen[0] > 0.1 && *seen.last().unwrap() < 1e-4, "{seen:?}");
}

//! Saved forms: what is written is read back to the last bit, what cannot be is refused, and shards that went through
//! bytes merge as those that did not.

#![cfg(feature = "serde")]

use std::fmt::Debug;

use ciborium::cbor;
use neural_collapse::{
    ClassCounts, ClassWeights, Error, FeatureConvention, Layer, Loss, LossConvention, Parameters, Point, Targets,
    TrainingConvention, Ufm,
    critical::{Ending, ending, escape},
    descent::{Descent, Method, Run, State, StepSize, Stop, Trajectory, Variables},
    faer::{Col, Mat, mat},
    metrics::{
        Collapse, FeatureAccumulator, FeatureStatistics, Nc1Convention, NearestCenter, ScatterAccumulator, collapse,
        frame_distances, singular_values,
    },
    theory::{ClassFate, Direction, Goal, GroupFate, Limit, Tie},
};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, StandardNormal};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, serde_json::Error> {
    serde_json::from_slice(bytes)
}

fn through_json<T: Serialize + DeserializeOwned>(value: &T) -> T {
    from_json(&serde_json::to_vec(value).unwrap()).unwrap()
}

fn through_binary<T: Serialize + DeserializeOwned>(value: &T) -> T {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).unwrap();
    ciborium::from_reader(bytes.as_slice()).unwrap()
}

/// Writes and reads a value in both formats. Debug output shows every bit of a float but the sign of NaN.
fn assert_comes_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    for read in [through_json(value), through_binary(value)] {
        assert_eq!(&read, value);
        assert_eq!(format!("{read:?}"), format!("{value:?}"));
    }
}

fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

fn model() -> Ufm {
    Ufm::new(ClassCounts::new([9, 7, 2, 2]).unwrap(), [Layer::new(6, 5e-3), Layer::new(5, 1e-2)], 1e-3).unwrap()
}

#[test]
fn configurations_come_back() {
    for method in
        [Method::GradientDescent, Method::HeavyBall { momentum: 0.9 }, Method::Nesterov, Method::LBFGS, Method::ADAM]
    {
        assert_comes_back(&method);
        assert_comes_back(&Descent::new(method).with_optimum(0.1).with_step_limit(7));
    }
    for step in [
        StepSize::Automatic,
        StepSize::Fixed(0.1),
        StepSize::Stepwise { initial: 1.0 / 3.0, factor: 0.5, every: 10 },
        StepSize::Cosine { initial: 1e-300, steps: 5 },
    ] {
        assert_comes_back(&step);
        let descent = Descent::default().with_step_size(step).with_variables(Variables::Plain).with_reduction(false);
        assert_comes_back(&descent.with_gap_tolerance(0.0).with_gradient_tolerance(5e-324));
    }
    for trajectory in [Trajectory::All, Trajectory::Every(3), Trajectory::Off] {
        assert_comes_back(&trajectory);
        assert_comes_back(&Descent::default().with_trajectory(trajectory));
    }
    for &loss in LossConvention::ALL {
        for &features in FeatureConvention::ALL {
            assert_comes_back(&TrainingConvention::new(loss, features));
        }
        // The words are those of flags and files.
        assert_eq!(serde_json::to_value(loss).unwrap(), json!(loss.name()));
    }
    [Goal::AllDirections, Goal::Rank(3), Goal::NormRatio(0.3)].iter().for_each(assert_comes_back);
    let limits = [Limit::Never, Limit::Always, Limit::Below(0.1), Limit::Below(f64::INFINITY), Limit::Below(5e-324)];
    limits.iter().for_each(assert_comes_back);
    assert_comes_back(&Layer::new(3, 0.1));
    assert_comes_back(&Nc1Convention::WeightedClasses);
}

#[test]
fn counts_targets_and_models_come_back() {
    let classes = ClassCounts::new([500, 1 << 52, 1]).unwrap();
    assert_eq!(serde_json::to_value(&classes).unwrap(), json!([500, 1_u64 << 52, 1]));
    assert_comes_back(&classes);
    let targets = [
        Targets::from(classes.clone()),
        Targets::smoothed(classes, 0.1).unwrap(),
        Targets::matrix(mat![[1.0, -0.0, 5e-324], [1.0 / 3.0, f64::MAX, f64::EPSILON]]).unwrap(),
    ];
    for targets in targets {
        assert_comes_back(&targets);
        let ufm = Ufm::new(targets, [Layer::new(2, 0.1), Layer::new(7, 1e-300)], 0.3).unwrap();
        assert_comes_back(&ufm);
        assert_comes_back(&ufm.without_bias());
    }
}

/// A model with every option of its loss.
fn adjusted_model() -> Ufm {
    let ufm = model().with_loss(Loss::CrossEntropy).unwrap().with_class_weights(ClassWeights::InverseRoot).unwrap();
    let ufm = ufm.with_logit_adjustment(1.0 / 3.0).unwrap().with_ldam(0.5).unwrap().with_cdt(0.3).unwrap();
    ufm.with_bias_decay(0.1).unwrap()
}

#[test]
fn models_of_every_loss_come_back_and_go_on() {
    assert_comes_back(&model().with_loss(Loss::CrossEntropy).unwrap());
    assert_comes_back(&model().with_class_weights(ClassWeights::Given(vec![1.0, 2.0, 1.0 / 3.0, 1e-300])).unwrap());
    assert_comes_back(&adjusted_model());
    let bounded = adjusted_model().with_nonnegative_features();
    assert_comes_back(&bounded);
    for (ufm, method) in [(adjusted_model(), Method::LBFGS), (bounded, Method::Nesterov)] {
        let start = Point::gaussian(&ufm, 1.0, &mut rng(6)).unwrap();
        let on = |ufm: &Ufm| Descent::new(method).with_step_limit(10).minimize(ufm, start.clone()).unwrap();
        let run = on(&through_json(&ufm));
        assert_comes_back(&run);
        assert_eq!(run, on(&ufm));
    }
    // What was saved before there were losses is a model of squared loss.
    let mut old = serde_json::to_value(model()).unwrap();
    for field in ["loss", "bias_decay", "nonnegative"] {
        old.as_object_mut().unwrap().remove(field);
    }
    assert_eq!(serde_json::from_value::<Ufm>(old).unwrap(), model());
}

#[test]
fn losses_that_cannot_be_are_not_read() {
    let ufm = serde_json::to_value(adjusted_model()).unwrap();
    refused::<Ufm>(&with(&ufm, "/loss/weights/1", json!(0.0)), "class weights");
    refused::<Ufm>(&with(&ufm, "/loss/weights/3", json!(-1.0)), "class 3");
    refused::<Ufm>(&with(&ufm, "/loss/weights", json!([1.0, 2.0, 3.0])), "class weights: 3 given");
    refused::<Ufm>(&with(&ufm, "/loss/weights", json!(vec![2.0; 1000])), "class weights: 1000 given");
    refused::<Ufm>(&with(&ufm, "/loss/scales/0", json!(0.0)), "scales of logits");
    refused::<Ufm>(&with(&ufm, "/loss/shifts", json!([])), "shifts of logits: 0 given");
    refused::<Ufm>(&with(&ufm, "/loss/margins/2", json!(-0.5)), "margins");
    refused::<Ufm>(&with(&ufm, "/loss/kind", json!("hinge")), "hinge");
    refused::<Ufm>(&with(&ufm, "/bias_decay", json!(-0.5)), "decay of the bias");
    // Numbers that JSON has not, in a format that has them.
    for number in [f64::NAN, f64::INFINITY] {
        let mut bytes = Vec::new();
        let loss = cbor!({"kind" => "squared", "weights" => [1.0, number]}).unwrap();
        let layers = cbor!([{"width" => 2, "decay" => 0.1}]).unwrap();
        let targets = cbor!({"labels" => {"classes" => [2, 1], "smoothing" => 0.0}}).unwrap();
        let ufm =
            cbor!({"targets" => targets, "layers" => layers, "feature_decay" => 0.1, "bias" => true, "loss" => loss});
        ciborium::into_writer(&ufm.unwrap(), &mut bytes).unwrap();
        let error = ciborium::from_reader::<Ufm, _>(bytes.as_slice()).unwrap_err().to_string();
        assert!(error.contains("class weights") && error.contains("class 1"), "{error}");
    }
    // Weights need class counts; cross-entropy needs probabilities.
    let targets = Targets::matrix(mat![[1.0, 0.5], [0.0, 0.5]]).unwrap();
    let soft = Ufm::new(targets, [Layer::new(2, 0.1)], 0.3).unwrap().with_loss(Loss::CrossEntropy).unwrap();
    assert_comes_back(&soft);
    let soft = serde_json::to_value(soft).unwrap();
    refused::<Ufm>(&with(&soft, "/loss/weights", json!([1.0, 2.0])), "class counts");
    refused::<Ufm>(&with(&soft, "/targets/matrix/numbers/1", json!(0.25)), "sample 0");
}

#[test]
fn parameters_and_points_come_back_and_go_on() {
    let matrix =
        Ufm::new(Targets::matrix(Mat::from_fn(3, 8, |i, j| (i + 2 * j) as f64)).unwrap(), [Layer::new(4, 0.1)], 0.1);
    for ufm in [model(), model().without_bias(), matrix.unwrap()] {
        let parameters = Parameters::gaussian(&ufm, 1.0, &mut rng(1)).unwrap();
        assert_comes_back(&parameters);
        assert_comes_back(&Point::from(parameters.clone()));
        // Reduced by reflections: 20 samples, 6 features. What is read can be expanded, and a descent goes on from it.
        let run = Descent::default().with_step_limit(5).minimize(&ufm, parameters).unwrap();
        assert_comes_back(&run);
        let read = through_json(&run.point);
        assert_eq!(read.clone().into_parameters().unwrap(), run.parameters().unwrap());
        let on = |point: Point| Descent::new(Method::LBFGS).with_step_limit(20).minimize(&ufm, point).unwrap();
        assert_eq!(on(read), on(run.point));
    }
    let narrow = Ufm::new(ClassCounts::new([3, 2]).unwrap(), [Layer::new(40, 0.01)], 0.01).unwrap();
    for start in [Point::gaussian(&narrow, 1.0, &mut rng(2)), Point::collapsed(&narrow, 1.0, &mut rng(3))] {
        let start = start.unwrap();
        assert_comes_back(&start);
        assert_comes_back(&Descent::default().with_step_limit(3).minimize(&narrow, start).unwrap());
    }
    assert_comes_back(&Point::gaussian(&model(), 1.0, &mut rng(4)).unwrap());
    let wide = Ufm::new(ClassCounts::new([40, 30]).unwrap(), [Layer::new(30, 0.01)], 0.01).unwrap();
    let few = wide.minimizer().unwrap().parameters().unwrap();
    assert_comes_back(&Descent::default().with_step_limit(3).minimize(&wide, few).unwrap());
}

/// Starts of every form: of all samples, reduced by reflections and by contrasts, narrow, and for a matrix of targets.
fn starts() -> Vec<(Ufm, Point)> {
    let targets = Targets::matrix(Mat::from_fn(3, 8, |i, j| (i + 2 * j) as f64)).unwrap();
    let matrix = Ufm::new(targets, [Layer::new(4, 0.1)], 0.1).unwrap();
    let narrow = Ufm::new(ClassCounts::new([3, 2]).unwrap(), [Layer::new(40, 0.01)], 0.01).unwrap();
    vec![
        (model(), Parameters::gaussian(&model(), 1.0, &mut rng(1)).unwrap().into()),
        (model().without_bias(), Point::gaussian(&model().without_bias(), 1.0, &mut rng(2)).unwrap()),
        (matrix.clone(), Parameters::gaussian(&matrix, 1.0, &mut rng(3)).unwrap().into()),
        (narrow.clone(), Point::gaussian(&narrow, 1.0, &mut rng(4)).unwrap()),
        (narrow.clone(), Point::collapsed(&narrow, 1.0, &mut rng(5)).unwrap()),
    ]
}

#[test]
fn states_come_back_and_go_on_to_the_same_bits() {
    for (ufm, start) in starts() {
        assert_comes_back(&State::from(start.clone()));
        for &method in Method::ALL {
            for rule in [StepSize::Automatic, StepSize::Fixed(0.3)] {
                let descent = Descent::new(method).with_step_size(rule).with_gradient_tolerance(0.0);
                let unbroken = descent.with_step_limit(40).minimize(&ufm, start.clone()).unwrap();
                // Another process takes the state, and a third one.
                let mut run = descent.with_step_limit(13).minimize(&ufm, start.clone()).unwrap();
                assert_comes_back(&run);
                for limit in [14, 40] {
                    let Some(state) = run.state else { break };
                    assert_comes_back(&state);
                    let sent = if limit == 14 { through_json(&state) } else { through_binary(&state) };
                    run = descent.with_step_limit(limit).minimize(&ufm, sent).unwrap();
                }
                assert!(run == unbroken && format!("{run:?}") == format!("{unbroken:?}"), "{method:?} {rule:?}");
            }
        }
    }
}

#[test]
fn results_come_back() {
    let ufm = model();
    let minimizer = ufm.minimizer().unwrap();
    assert_comes_back(&minimizer.directions().to_vec());
    let point = Point::gaussian(&ufm, 1.0, &mut rng(5)).unwrap();
    assert_comes_back(&collapse(&minimizer, &point).unwrap());
    assert_comes_back(&singular_values(&ufm, &point).unwrap());
    assert_comes_back(&frame_distances(mat![[1.0, -0.5, 0.1], [0.2, 0.3, -0.7]].as_ref()).unwrap());
    assert_comes_back(&minimizer.geometry().unwrap().classifiers().nearest(0));
    assert_comes_back(&minimizer.group_fates().unwrap());
    let other = [ClassFate::Apart, ClassFate::Merged, ClassFate::Vanished, ClassFate::Ambiguous];
    other.iter().for_each(assert_comes_back);
    assert_comes_back(&GroupFate::Ambiguous);
    [Tie::Threshold { direction: 1 }, Tie::Width { direction: 0 }].iter().for_each(assert_comes_back);
    for (stop, word) in [(Stop::BelowOptimum, "below-optimum"), (Stop::ScheduleEnd, "schedule-end")] {
        assert_comes_back(&stop);
        assert_eq!(serde_json::to_value(stop).unwrap(), json!(word));
    }
    // A saddle, with its difference from the minimizers and the way down.
    let saddle = Parameters::zeros(&ufm.clone().without_bias()).unwrap();
    let plain = ufm.without_bias();
    let run = Descent::default().minimize(&plain, saddle).unwrap();
    let end = ending(&plain.minimizer().unwrap(), &run).unwrap();
    assert!(!matches!(end, Ending::GlobalMinimum | Ending::Unfinished(_)), "{end:?}");
    assert_comes_back(&end);
    assert_comes_back(&Ending::Unfinished(Stop::Stalled));
    assert_comes_back(&escape(&plain, &run.point).unwrap());
}

#[test]
fn numbers_that_are_not_finite_come_back_in_results() {
    let ufm = model();
    let start = Parameters::gaussian(&ufm, 1.0, &mut rng(6)).unwrap();
    let mut run: Run = Descent::default().with_step_limit(2).minimize(&ufm, start).unwrap();
    (run.objective, run.gap, run.trajectory[0].gradient_norm) = (f64::INFINITY, Some(f64::NEG_INFINITY), f64::INFINITY);
    assert_comes_back(&run);
    let mut direction: Direction = ufm.minimizer().unwrap().directions()[0].clone();
    direction.layers[1] = f64::INFINITY;
    assert_comes_back(&direction);
    let read: Collapse = serde_json::from_value(
        json!({"nc1": "NaN", "nc2_classifier": null, "nc2_features": 1, "nc3": -2, "alignment": "-inf"}),
    )
    .unwrap();
    assert!(read.nc1.unwrap().is_nan() && read.nc2_classifier.is_none());
    assert_eq!((read.nc2_features, read.nc3, read.alignment), (Some(1.0), Some(-2.0), Some(f64::NEG_INFINITY)));
}

/// Features of three classes, not far from the origin, and their labels.
fn samples(count: usize, seed: u64) -> (Mat<f64>, Vec<usize>) {
    let mut rng = rng(seed);
    // Every class has samples.
    let labels: Vec<usize> = (0..count).map(|j| if j < 3 { j } else { rng.random_range(0..3) }).collect();
    let features = Mat::from_fn(5, count, |i, j| {
        let normal: f64 = StandardNormal.sample(&mut rng);
        (i as f64 - 2.0 * labels[j] as f64) / 3.0 + normal
    });
    (features, labels)
}

/// Three shards of several batches each.
fn shards() -> [Vec<(Mat<f64>, Vec<usize>)>; 3] {
    [vec![samples(200, 0), samples(97, 1)], vec![samples(30, 2)], vec![samples(3, 3), samples(500, 4), samples(40, 5)]]
}

fn gather(mut accumulator: FeatureAccumulator, shard: &[(Mat<f64>, Vec<usize>)]) -> FeatureAccumulator {
    for (features, labels) in shard {
        accumulator.add(features.as_ref(), labels).unwrap();
    }
    accumulator
}

fn empty() -> FeatureAccumulator {
    FeatureAccumulator::with_scatter(5, 3).unwrap()
}

fn merged(shards: impl IntoIterator<Item = FeatureAccumulator>) -> FeatureStatistics {
    let mut shards = shards.into_iter();
    let mut first = shards.next().unwrap();
    shards.for_each(|shard| first.merge(shard).unwrap());
    first.finish()
}

fn batch(accumulator: FeatureAccumulator) -> FeatureStatistics {
    shards().iter().fold(accumulator, |accumulator, shard| gather(accumulator, shard)).finish()
}

#[test]
fn merged_shards_are_the_same_bits_with_and_without_bytes() {
    let direct = merged(shards().iter().map(|shard| gather(empty(), shard)));
    let bytes = shards().map(|shard| {
        // An empty accumulator is sent to a process, which sends back what it has gathered.
        let accumulator = gather(through_binary(&empty()), &shard);
        through_json(&accumulator)
    });
    // And merged in a third one, from nothing.
    assert_eq!(merged([empty()].into_iter().chain(bytes)), direct);
    assert_comes_back(&direct);
}

#[test]
fn a_saved_accumulator_goes_on_to_the_batch_result() {
    let all = batch(empty());
    let relay = shards().iter().fold(empty(), |accumulator, shard| through_json(&gather(accumulator, shard)));
    assert_eq!(relay.finish(), all);
    // A merged one goes on as well.
    let [first, second, third] = shards();
    let mut direct = gather(empty(), &first);
    direct.merge(gather(empty(), &second)).unwrap();
    let read = through_json(&direct);
    assert_eq!(gather(read, &third).finish(), gather(direct, &third).finish());
}

/// The parts of an accumulator that no sample has come to take a byte each, and not their zeros.
#[test]
fn parts_without_samples_are_not_written() {
    let size = |accumulator: &FeatureAccumulator| {
        let mut binary = Vec::new();
        ciborium::into_writer(accumulator, &mut binary).unwrap();
        binary.len()
    };
    // A merge leaves everything in the first of eight parts: 9 bytes for each of 2 d K + 2 K + d² numbers, with counts
    // and flags, and 512 for the names of fields.
    let (width, classes) = (5, 3);
    let mut first = empty();
    for shard in shards() {
        first.merge(gather(empty(), &shard)).unwrap();
    }
    assert!(size(&first) <= 9 * (2 * width * classes + 3 * classes + width * width) + 512, "{}", size(&first));
    assert_eq!(serde_json::to_value(&first).unwrap()["parts"].as_array().unwrap()[1..], vec![Value::Null; 7]);
    // Three samples go to the first three parts. What is read goes on as what was written.
    let (features, labels) = samples(3, 5);
    let few = gather(empty(), &[(features, labels)]);
    assert!(size(&few) < size(&gather(empty(), &shards()[0])));
    let [.., last] = shards();
    for read in [through_binary(&few), through_json(&few)] {
        assert_eq!(gather(read, &last).finish(), gather(few.clone(), &last).finish());
    }
    let nothing = through_binary(&empty());
    assert!(nothing.has_scatter() && nothing.shape() == (5, 3));
    assert!(!through_binary(&FeatureAccumulator::new(5, 3).unwrap()).has_scatter());
    assert_eq!(gather(nothing, &last).finish(), gather(empty(), &last).finish());
}

#[test]
fn merged_statistics_are_those_of_the_batch_but_for_rounding() {
    let all = batch(empty());
    let shards = shards();
    let samples: usize = shards.iter().flatten().map(|(_, labels)| labels.len()).sum();
    let fork = gather(empty(), &shards[0]).fork().unwrap();
    let about_their_own = merged(shards.iter().map(|shard| gather(empty(), shard)));
    let about_the_same = merged(shards.iter().map(|shard| gather(fork.clone(), shard)));
    // Sums of n terms, moved twice: n epsilons of the sum of their sizes, which for squares of deviations is at most
    // that of squares about references, here within 10 of any feature.
    let size = 100.0 * samples as f64;
    let rounding = 8.0 * samples as f64 * f64::EPSILON;
    for statistics in [about_their_own, about_the_same] {
        assert_eq!(statistics.class_counts().unwrap(), all.class_counts().unwrap());
        let error = (statistics.class_means() - all.class_means()).norm_max();
        assert!(error <= 10.0 * rounding, "{error:e}");
        let sums = |statistics: &FeatureStatistics| -> Vec<f64> {
            let counts = statistics.class_counts().unwrap();
            let variances = statistics.variances().unwrap();
            variances.iter().zip(counts.counts()).map(|(variance, &count)| variance * count as f64).collect()
        };
        for (own, all) in sums(&statistics).iter().zip(sums(&all)) {
            assert!((own - all).abs() <= rounding * size, "{own} {all}");
        }
        // NC1 divides the scatter by the squares of the distances of class means, which are larger than 1/10.
        let nc1 = |statistics: &FeatureStatistics| statistics.nc1(Nc1Convention::Global).unwrap().unwrap();
        assert!((nc1(&statistics) - nc1(&all)).abs() <= 100.0 * rounding * size / samples as f64 * nc1(&all).max(1.0));
    }
}

#[test]
fn forks_whose_sums_do_not_round_give_the_batch_result_in_any_order() {
    let whole = |(features, labels): (Mat<f64>, Vec<usize>)| (features.map(|entry| (8.0 * entry).round()), labels);
    let shards = shards().map(|shard| shard.into_iter().map(whole).collect::<Vec<_>>());
    // One sample of every class: references are whole numbers too.
    let (seed, labels) =
        (mat![[1.0, 2.0, 3.0], [0.0, 1.0, 0.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0], [1.0, 1.0, 1.0]], [0, 1, 2]);
    let first = gather(empty(), &[(seed, labels.to_vec())]);
    let all = shards.iter().fold(first.clone(), |accumulator, shard| gather(accumulator, shard)).finish();
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let forks = order.map(|i| through_json(&gather(first.fork().unwrap(), &shards[i])));
        assert_eq!(merged([first.clone()].into_iter().chain(forks)), all);
    }
    // Where a fork has not seen a class, its mean is zero.
    assert_eq!(first.fork().unwrap().finish(), empty().finish());
}

#[test]
fn second_passes_merge() {
    let first = batch(FeatureAccumulator::new(5, 3).unwrap());
    let product = mat![[1.0, 0.5, 0.0, 0.0, 2.0], [0.0, 1.0, 0.0, -1.0, 0.0], [0.3, 0.0, 1.0, 0.0, 0.0]];
    for start in [
        ScatterAccumulator::new(first.clone()).unwrap(),
        ScatterAccumulator::with_product(first.clone(), product.as_ref()).unwrap(),
    ] {
        let gather = |mut accumulator: ScatterAccumulator, shard: &[(Mat<f64>, Vec<usize>)]| {
            for (features, labels) in shard {
                accumulator.add(features.as_ref(), labels).unwrap();
            }
            accumulator
        };
        let merge = |shards: [ScatterAccumulator; 3]| {
            let [mut first, second, third] = shards;
            first.merge(second).unwrap();
            first.merge(third).unwrap();
            first.finish().unwrap()
        };
        let direct = merge(shards().map(|shard| gather(start.clone(), &shard)));
        let sent = merge(shards().map(|shard| through_json(&gather(through_binary(&start), &shard))));
        assert_eq!(sent, direct);
        assert_comes_back(&direct);
        let all =
            shards().iter().fold(start.clone(), |accumulator, shard| gather(accumulator, shard)).finish().unwrap();
        let relay = shards().iter().fold(start, |accumulator, shard| through_json(&gather(accumulator, shard)));
        assert_eq!(relay.finish().unwrap(), all);
        let nc1 = |statistics: &FeatureStatistics| statistics.nc1(Nc1Convention::Global).unwrap().unwrap();
        // As in one pass: sums of 870 squares of numbers up to 10, over a quadratic mean of distances above 1/10.
        assert!((nc1(&direct) - nc1(&all)).abs() <= 870.0 * 8.0 * f64::EPSILON * 1e4 * nc1(&all).max(1.0));
    }
}

#[test]
fn nearest_centers_merge_to_the_batch_result_in_any_order() {
    let statistics = batch(empty());
    // Two classes share a classifier, and with it every place: a sample of theirs counts a half.
    let product = mat![[1.0, 0.5, 0.0, 0.0, 2.0], [-1.0, -0.5, 0.0, 0.0, -2.0], [-1.0, -0.5, 0.0, 0.0, -2.0]];
    let bias = Col::from_fn(3, |k| if k == 0 { 0.1 } else { 0.0 });
    let start = NearestCenter::new(product.as_ref(), Some(bias.as_ref()), &statistics).unwrap();
    let gather = |mut rules: NearestCenter, shard: &[(Mat<f64>, Vec<usize>)]| {
        for (features, labels) in shard {
            rules.add(features.as_ref(), labels).unwrap();
        }
        rules
    };
    let all = shards().iter().fold(start.clone(), |rules, shard| gather(rules, shard));
    let shards = shards().map(|shard| through_json(&gather(through_binary(&start), &shard)));
    for order in [[0, 1, 2], [2, 0, 1], [1, 2, 0]] {
        let mut merged = start.clone();
        for &i in &order {
            merged.merge(&shards[i]).unwrap();
        }
        assert_eq!(merged, all);
    }
    assert!(all.accuracy().unwrap() > 0.4 && all.disagreement().unwrap() < 0.5);
    assert_comes_back(&all);
}

#[test]
fn accumulators_that_do_not_belong_together_are_refused_unchanged() {
    let shard = &shards()[0];
    let mut accumulator = gather(empty(), shard);
    let before = accumulator.clone().finish();
    let shape = |result: Result<(), Error>| matches!(result, Err(Error::Shape { .. }));
    assert!(shape(accumulator.merge(FeatureAccumulator::with_scatter(4, 3).unwrap())));
    assert!(shape(accumulator.merge(FeatureAccumulator::with_scatter(5, 2).unwrap())));
    let plain = gather(FeatureAccumulator::new(5, 3).unwrap(), shard);
    let error = accumulator.merge(plain).unwrap_err();
    assert!(matches!(error, Error::Unmergeable { .. }) && error.to_string().contains("scatter"), "{error}");
    assert_eq!(accumulator.finish(), before);

    let after = |shard: usize| gather(empty(), &shards()[shard]).finish();
    let mut second = ScatterAccumulator::new(after(0)).unwrap();
    let error = second.merge(ScatterAccumulator::new(after(1)).unwrap()).unwrap_err();
    assert!(error.to_string().contains("first pass"), "{error}");
    let wide = ScatterAccumulator::with_product(after(0), Mat::identity(3, 5).as_ref()).unwrap();
    let error = second.merge(wide).unwrap_err();
    assert!(error.to_string().contains("directions"), "{error}");

    let rules = |statistics| NearestCenter::new(Mat::identity(3, 5).as_ref(), None, &statistics).unwrap();
    let error = rules(after(0)).merge(&rules(after(1))).unwrap_err();
    assert!(matches!(error, Error::Unmergeable { .. }), "{error}");
}

#[track_caller]
fn refused<T: DeserializeOwned + Debug>(value: &Value, message: &str) {
    let bytes = serde_json::to_vec(value).unwrap();
    let error = from_json::<T>(&bytes).unwrap_err().to_string();
    assert!(error.contains(message), "{error:?} does not say {message:?}");
}

fn with(value: &Value, place: &str, new: Value) -> Value {
    let mut value = value.clone();
    *value.pointer_mut(place).unwrap_or_else(|| panic!("nothing at {place}")) = new;
    value
}

#[test]
fn models_that_cannot_be_are_not_read() {
    refused::<ClassCounts>(&json!([3, 0]), "class 1");
    refused::<ClassCounts>(&json!([]), "empty");
    refused::<ClassCounts>(&json!([1_u64 << 53, 1]), "2^53");
    let ufm = serde_json::to_value(model()).unwrap();
    refused::<Ufm>(&with(&ufm, "/feature_decay", json!(-0.1)), "decay");
    refused::<Ufm>(&with(&ufm, "/layers/1/decay", json!(-0.1)), "decay of W_2");
    refused::<Ufm>(&with(&ufm, "/layers/0/width", json!(0)), "width");
    refused::<Ufm>(&with(&ufm, "/layers", json!([])), "layer");
    refused::<Ufm>(&with(&ufm, "/targets/labels/classes/2", json!(0)), "class 2");
    refused::<Ufm>(&with(&ufm, "/targets/labels/smoothing", json!(1.0)), "smoothing");
    let descent = serde_json::to_value(Descent::new(Method::HeavyBall { momentum: 0.9 })).unwrap();
    refused::<Descent>(&with(&descent, "/method/heavy-ball/momentum", json!(1.0)), "momentum");
    refused::<Descent>(&with(&descent, "/criteria/optimum", json!("NaN")), "optimum");
    refused::<Descent>(&with(&descent, "/method", json!("newton")), "newton");
}

#[test]
fn matrices_that_cannot_be_are_not_read() {
    let targets =
        |rows: Value, cols: Value, numbers: Value| json!({"matrix": {"rows": rows, "cols": cols, "numbers": numbers}});
    refused::<Targets>(&targets(json!(2), json!(2), json!([1.0, 2.0, 3.0])), "2 x 2 announced, 3 numbers");
    refused::<Targets>(&targets(json!(1_u64 << 63), json!(2), json!([])), "announced");
    refused::<Targets>(&targets(json!(u64::MAX), json!(0), json!([])), "announced");
    refused::<Targets>(&targets(json!(1_u64 << 32), json!(1_u64 << 31), json!([1.0])), "announced");
    refused::<Targets>(&targets(json!(0), json!(3), json!([])), "at least one output");
    refused::<Targets>(&targets(json!(1), json!(1), json!([null])), "null");
    // Numbers that JSON has not, in a format that has them.
    for number in [f64::NAN, f64::INFINITY] {
        let mut bytes = Vec::new();
        let matrix = cbor!({"matrix" => {"rows" => 1, "cols" => 2, "numbers" => [0.5, number]}}).unwrap();
        ciborium::into_writer(&matrix, &mut bytes).unwrap();
        let error = ciborium::from_reader::<Targets, _>(bytes.as_slice()).unwrap_err().to_string();
        assert!(error.contains("entry (0, 1)"), "{error}");
    }
    // A length that is announced is not believed: 2^40 numbers, of which one comes.
    let mut bytes = vec![0xa1, 0x66];
    bytes.extend(b"matrix");
    bytes.extend([0xa1, 0x67]);
    bytes.extend(b"numbers");
    bytes.extend([0x9b, 0, 0, 1, 0, 0, 0, 0, 0, 0x01]);
    assert!(ciborium::from_reader::<Targets, _>(bytes.as_slice()).is_err());
}

#[test]
fn points_whose_parts_do_not_fit_are_not_read() {
    let parameters = serde_json::to_value(Parameters::gaussian(&model(), 1.0, &mut rng(7)).unwrap()).unwrap();
    refused::<Parameters>(&with(&parameters, "/weights", json!([])), "layer");
    refused::<Parameters>(&with(&parameters, "/weights/0", parameters["weights"][1].clone()), "shape of W_1");
    refused::<Parameters>(&with(&parameters, "/features", parameters["weights"][0].clone()), "shape of the features");
    refused::<Parameters>(&with(&parameters, "/bias", json!([1.0])), "shape of the bias");
    refused::<Parameters>(&with(&parameters, "/classes", json!([9, 7, 2, 3])), "shape of the features");
    refused::<Parameters>(&with(&parameters, "/weights/0/numbers/3", json!(null)), "null");

    let start = Parameters::gaussian(&model(), 1.0, &mut rng(8)).unwrap();
    let run = Descent::default().with_step_limit(1).minimize(&model(), start).unwrap();
    let reduced = serde_json::to_value(&run.point).unwrap();
    refused::<Point>(&with(&reduced, "/reduction/classes", json!([7, 9, 2, 2])), "class 0");
    refused::<Point>(&with(&reduced, "/reduction", json!(null)), "shape of the features");
    refused::<Point>(&with(&reduced, "/reduction/basis/factor/reflections/numbers/7", json!(3.0)), "not orthogonal");
    refused::<Point>(&with(&reduced, "/reduction/basis/factor/coefficients/cols", json!(5)), "announced");

    let wide = Ufm::new(ClassCounts::new([3, 2]).unwrap(), [Layer::new(9, 0.01)], 0.01).unwrap();
    let collapsed = serde_json::to_value(Point::collapsed(&wide, 1.0, &mut rng(9)).unwrap()).unwrap();
    refused::<Point>(&with(&collapsed, "/frames/0/numbers/0", json!(3.0)), "not orthonormal");
    refused::<Point>(&with(&collapsed, "/frames", json!([])), "0 frames given for 1 layers");
    let fewer = json!({"rows": 1, "cols": 1, "numbers": [1.0]});
    refused::<Point>(&with(&collapsed, "/frames/0", fewer), "does not fit its layer");
}

#[test]
fn accumulators_of_another_version_or_shape_are_not_read() {
    let accumulator = serde_json::to_value(gather(empty(), &shards()[1])).unwrap();
    // Version 1 wrote parts without samples too.
    for version in [1, 3] {
        let message = format!("version {version} of the saved form given, this version of the crate reads version 2");
        refused::<FeatureAccumulator>(&with(&accumulator, "/version", json!(version)), &message);
    }
    let mut without = accumulator.clone();
    without.as_object_mut().unwrap().remove("version");
    refused::<FeatureAccumulator>(&without, "version");
    refused::<FeatureAccumulator>(&with(&accumulator, "/has_reference", json!([true])), "classes");
    refused::<FeatureAccumulator>(&with(&accumulator, "/has_reference/0", json!(false)), "no reference");
    refused::<FeatureAccumulator>(&with(&accumulator, "/parts", json!([])), "0 parts given");
    refused::<FeatureAccumulator>(&with(&accumulator, "/parts/0", json!(null)), "the first part is null");
    refused::<FeatureAccumulator>(&with(&accumulator, "/parts/0/counts/0", json!(-1)), "-1");
    refused::<FeatureAccumulator>(&with(&accumulator, "/parts/0/counts/0", json!(1_u64 << 54)), "2^53");
    refused::<FeatureAccumulator>(&with(&accumulator, "/parts/0/counts", json!([1])), "1 counts given, 3");
    refused::<FeatureAccumulator>(&with(&accumulator, "/parts/0/counts", json!([0, 0, 0])), "no samples");
    refused::<FeatureAccumulator>(&with(&accumulator, "/parts/1/squares/2", json!(-1.0)), "squares");
    refused::<FeatureAccumulator>(&with(&accumulator, "/parts/1/squares/2", json!("NaN")), "squares");
    let small = json!({"rows": 1, "cols": 1, "numbers": [1.0]});
    refused::<FeatureAccumulator>(&with(&accumulator, "/parts/3/sums", small.clone()), "class sums: 1 x 1 given");
    refused::<FeatureAccumulator>(&with(&accumulator, "/parts/3/scatter", small.clone()), "scatter: 1 x 1 given");

    let statistics = gather(empty(), &shards()[1]).finish();
    let saved = serde_json::to_value(&statistics).unwrap();
    refused::<FeatureStatistics>(&with(&saved, "/version", json!(0)), "version 0 of the saved form");
    refused::<FeatureStatistics>(&with(&saved, "/counts/0", json!(0)), "no samples");
    refused::<FeatureStatistics>(&with(&saved, "/errors/0", json!(-1e-16)), "errors");
    refused::<FeatureStatistics>(&with(&saved, "/scatter/full/numbers/1", json!(1e3)), "symmetric");
    refused::<FeatureStatistics>(&with(&saved, "/scatter/full", small.clone()), "scatter: 1 x 1 given");
    refused::<FeatureStatistics>(&with(&saved, "/means", json!({"rows": 0, "cols": 0, "numbers": []})), "0 x 0 given");

    let second = serde_json::to_value(ScatterAccumulator::new(statistics.clone()).unwrap()).unwrap();
    refused::<ScatterAccumulator>(&with(&second, "/version", json!(9)), "version 9");
    refused::<ScatterAccumulator>(&with(&second, "/statistics/version", json!(9)), "version 9");
    refused::<ScatterAccumulator>(&with(&second, "/basis/numbers/0", json!(2.0)), "not orthonormal");
    refused::<ScatterAccumulator>(&with(&second, "/basis", small), "basis: 1 rows given");

    let mut rules = NearestCenter::new(Mat::identity(3, 5).as_ref(), None, &statistics).unwrap();
    rules.add(shards()[1][0].0.as_ref(), &shards()[1][0].1).unwrap();
    let rules = serde_json::to_value(rules).unwrap();
    refused::<NearestCenter>(&with(&rules, "/version", json!(1)), "version 1");
    refused::<NearestCenter>(&with(&rules, "/tally/samples", json!([1])), "do not fit its 1 samples");
    refused::<NearestCenter>(&with(&rules, "/center", json!([1.0])), "do not fit");
    refused::<NearestCenter>(&with(&rules, "/sizes/0/mean", json!(-1.0)), ">= 0");
    refused::<NearestCenter>(&with(&rules, "/apart/1", json!(-1.0)), ">= 0");
    refused::<NearestCenter>(&with(&rules, "/apart", json!([1.0])), "do not fit");
}

/// The state of a run of this method after some steps.
fn state_of(method: Method) -> State {
    let start = Parameters::gaussian(&model(), 1.0, &mut rng(8)).unwrap();
    Descent::new(method).with_step_limit(30).minimize(&model(), start).unwrap().state.unwrap()
}

#[test]
fn states_that_no_run_leaves_are_not_read() {
    let saved = |method| serde_json::to_value(state_of(method)).unwrap();
    let state = saved(Method::Nesterov);
    let at = |place: &str| format!("/state/under-way/{place}");
    let refuse = |place: &str, new: Value, message: &str| refused::<State>(&with(&state, &at(place), new), message);
    refused::<State>(&with(&state, "/version", json!(2)), "version 2 of the saved form");
    refused::<State>(&with(&state, "/state", json!({"start": 3})), "invalid type");
    refused::<State>(&with(&state, "/state", json!({"over": null})), "over");
    let mut other = state.clone();
    other["state"]["under-way"]["memory"]["momentum"]["secret"] = json!(1);
    refused::<State>(&other, "secret");

    // Parts that do not fit each other.
    let small = json!({"rows": 1, "cols": 1, "numbers": [1.0]});
    refuse("memory/momentum/previous/features", small.clone(), "shape of");
    refuse("memory/momentum/previous/bias", Value::Null, "bias");
    refuse("memory/momentum/previous/classes", Value::Null, "class counts is others");
    refuse("memory/momentum/previous/weights/1/numbers/0", json!("NaN"), "NaN");
    refuse("ufm/layers/0/width", json!(7), "shape of W_1");
    refuse("ufm/targets/labels/classes", json!([7, 9, 2, 2]), "class 0");
    refuse("ufm/bias", json!(false), "bias");
    refuse("options/reduced", json!(false), "reduction is true, expected false");
    refuse("options/method", json!("newton"), "newton");
    refuse("options/method", json!({"heavy-ball": {"momentum": 1.0}}), "momentum");
    refuse("options/method", json!({"lbfgs": {"memory": 10}}), "expected lbfgs");
    refuse("options/step_size", json!({"fixed": -1.0}), "step size");
    let adam = serde_json::to_value(Method::ADAM).unwrap();
    refuse("options/method", adam, "reduction is true, expected false");

    // Numbers that no run has: with some of them a walk would never end.
    for (place, new, message) in [
        ("memory/momentum/step_size", json!(-0.1), "next step size: -0.1"),
        ("memory/momentum/growth", json!(0.5), "growth"),
        ("memory/momentum/beta", json!(1.0), "momentum of the next step"),
        ("memory/momentum/momentum/t", json!(0.5), "t of the momentum"),
        ("memory/momentum/told_step", json!("NaN"), "last step size that was tested: NaN"),
        ("memory/momentum/bound", json!(-1), "bound of the objective"),
        ("memory/momentum/displacement_square", json!("NaN"), "squared displacement"),
        ("memory/momentum/drowned", json!(31), "steps below rounding"),
        ("evaluations", json!(29), "evaluations: 29.0"),
        ("journal/last/step", json!(u64::MAX), "steps"),
        ("journal/last/objective", json!("inf"), "objective: inf"),
        ("journal/last/gradient_norm", json!("NaN"), "gradient norm: NaN"),
        ("journal/bound", json!("NaN"), "bound: NaN"),
        ("journal/stall/idle", json!(31), "steps without progress"),
        ("journal/stall/same", json!(31), "steps without a change"),
        ("journal/stall/least", json!("NaN"), "least objective"),
        ("journal/trajectory/3/step", json!(5), "steps of the trajectory"),
        ("journal/trajectory/30/step", json!(31), "steps of the trajectory"),
    ] {
        refuse(place, new, message);
    }

    let lbfgs = saved(Method::LBFGS);
    let refuse = |place: &str, new: Value, message: &str| refused::<State>(&with(&lbfgs, &at(place), new), message);
    refuse("options/method/lbfgs/memory", json!(9), "pairs that are remembered: 10.0");
    refuse("memory/lbfgs/pairs/3/inverse", json!(-1.0), "inverse curvature");
    refuse("memory/lbfgs/steepest", json!("NaN"), "negative gradient");
    refuse("memory/lbfgs/pairs/3/change/features", small.clone(), "shape of");
    refuse("memory/lbfgs/pairs/9/displacement/weights/0", small.clone(), "shape of");

    let adam = saved(Method::ADAM);
    let refuse = |place: &str, new: Value, message: &str| refused::<State>(&with(&adam, &at(place), new), message);
    refuse("memory/adam/second/weights/0/numbers/3", json!(-1e-9), "mean of squared gradients");
    refuse("memory/adam/first/features", small, "shape of");
    refuse("memory/adam/age", json!(31), "age of the means");
    refuse("memory/adam/automatic", json!("inf"), "inf");
}

/// Any truncation of a state is an error; one byte changed is one, or another state that a run goes on from, to an end.
#[test]
fn damaged_states_are_errors_and_never_a_panic() {
    let mut rng = rng(11);
    for &method in Method::ALL {
        let mut binary = Vec::new();
        ciborium::into_writer(&state_of(method), &mut binary).unwrap();
        for length in (0..binary.len()).step_by(97) {
            assert!(ciborium::from_reader::<State, _>(&binary[..length]).is_err());
        }
        for _ in 0..300 {
            let mut damaged = binary.clone();
            let place = rng.random_range(0..damaged.len());
            damaged[place] = rng.random_range(0..=255_u8);
            if let Ok(read) = ciborium::from_reader::<State, _>(damaged.as_slice()) {
                let limit = read.steps().saturating_add(5);
                let run = Descent::new(method).with_step_limit(limit).minimize(&model(), read);
                assert!(run.is_err() || run.is_ok_and(|run| run.steps <= limit));
            }
        }
    }
}

/// Any truncation, and any field of another type, is an error: nothing panics.
#[test]
fn damaged_bytes_are_errors_and_never_a_panic() {
    let mut second = ScatterAccumulator::new(gather(empty(), &shards()[1]).finish()).unwrap();
    second.add(shards()[1][0].0.as_ref(), &shards()[1][0].1).unwrap();
    let json = serde_json::to_vec(&second).unwrap();
    let mut binary = Vec::new();
    ciborium::into_writer(&second, &mut binary).unwrap();
    for length in (0..json.len()).step_by(37) {
        assert!(from_json::<ScatterAccumulator>(&json[..length]).is_err());
    }
    for length in (0..binary.len()).step_by(23) {
        assert!(ciborium::from_reader::<ScatterAccumulator, _>(&binary[..length]).is_err());
    }
    // One byte changed: most are other numbers, which may be valid; what is read can be used.
    let mut rng = rng(10);
    for _ in 0..300 {
        let mut damaged = binary.clone();
        let place = rng.random_range(0..damaged.len());
        damaged[place] = rng.random_range(0..=255_u8);
        if let Ok(read) = ciborium::from_reader::<ScatterAccumulator, _>(damaged.as_slice()) {
            let _ = read.finish().and_then(|statistics| statistics.nc1(Nc1Convention::Global));
        }
    }
}

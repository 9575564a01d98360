//! A network measured as a whole: the same whoever drives the passes, and compared with what is known of its training.

use neural_collapse::{
    ClassCounts, ClassWeights, Error, FeatureConvention, Layer, Loss, LossConvention, Ufm, WeightConvention,
    faer::{Col, Mat, MatRef, Scale},
    metrics::{
        Contradiction, DecaySource, Finding, LastLayers, Measurement, Measuring, Nc1Convention, Pass, Step, Training,
        Verdict, effective_rank,
    },
};

const COUNTS: [u64; 4] = [24, 16, 12, 8];
const LAYER: f64 = 1e-2;
const FEATURES: f64 = 1e-4;

/// A network at the optimum of a model, with its samples in an order that mixes the classes.
struct Network {
    weights: Vec<Mat<f64>>,
    bias: Option<Col<f64>>,
    features: Mat<f64>,
    labels: Vec<usize>,
}

fn network(ufm: &Ufm) -> Network {
    let parameters = if ufm.has_closed_form() {
        ufm.minimizer().unwrap().parameters().unwrap()
    } else {
        ufm.certified_minimizer().unwrap().parameters().unwrap()
    };
    let (weights, features, bias) = parameters.into_parts();
    let sorted: Vec<usize> = (0..COUNTS.len()).flat_map(|k| vec![k; usize::try_from(COUNTS[k]).unwrap()]).collect();
    // 60 samples: 7 has no factor in common with them.
    let order: Vec<usize> = (0..sorted.len()).map(|i| 7 * i % sorted.len()).collect();
    let features = Mat::from_fn(features.nrows(), order.len(), |i, j| features[(i, order[j])]);
    Network { weights, bias, features, labels: order.into_iter().map(|sample| sorted[sample]).collect() }
}

fn model(widths: &[usize]) -> Ufm {
    let layers: Vec<Layer> = widths.iter().map(|&width| Layer::new(width, LAYER)).collect();
    Ufm::new(ClassCounts::new(COUNTS).unwrap(), layers, FEATURES).unwrap()
}

impl Network {
    fn layers(&self) -> LastLayers {
        LastLayers::new(self.weights.clone(), self.bias.clone()).unwrap()
    }

    fn measured(&self, training: Training) -> Measurement {
        self.measured_as(self.layers(), training)
    }

    fn measured_as(&self, layers: LastLayers, training: Training) -> Measurement {
        Measurement::of(layers, training, |pass| pass.add(self.features.as_ref(), &self.labels)).unwrap()
    }
}

/// The decays of the optimum, in the units of the theory.
fn known() -> Training {
    Training::default().with_loss(Loss::Squared).with_decays([LAYER], FEATURES)
}

#[test]
fn the_caller_drives_the_passes_in_any_batches() {
    // With the whole scatter, and with few classes in wide features.
    for width in [6, 20] {
        let network = network(&model(&[width]));
        let whole = network.measured(Training::default());
        let mut measuring = Measuring::new(network.layers(), Training::default()).unwrap();
        let mut passes = Vec::new();
        let parts = loop {
            passes.push(measuring.pass());
            for start in (0..network.labels.len()).step_by(17).collect::<Vec<_>>().into_iter().rev() {
                let size = 17.min(network.labels.len() - start);
                let rows: MatRef<'_, f64> = network.features.as_ref().subcols(start, size).transpose();
                measuring.add_rows(rows, &network.labels[start..start + size]).unwrap();
            }
            match measuring.end_pass().unwrap() {
                Step::Pass(next) => measuring = next,
                Step::Done(measured) => break measured,
            }
        };
        assert_eq!(passes, [Pass::Means, Pass::Gradients]);
        assert!(whole.applies() && parts.applies());
        let (whole, parts) = (whole.lines(), parts.lines());
        assert_eq!(whole.len(), parts.len());
        for (one, other) in whole.iter().zip(parts) {
            assert_eq!((one.name, one.verdict), (other.name, other.verdict));
            let difference = one.measured.zip(other.measured).map(|(one, other)| (one - other).abs());
            // Sums of 60 terms in another order; metrics near zero are roots of such sums.
            assert!(
                difference.is_none_or(|difference| difference < (60.0 * 60.0 * f64::EPSILON).sqrt()),
                "{}",
                one.name
            );
        }
    }
}

#[test]
fn an_optimum_has_reached_itself() {
    for (loss, widths) in [(Loss::Squared, &[6][..]), (Loss::Squared, &[6, 5]), (Loss::CrossEntropy, &[6])] {
        let ufm = model(widths).with_loss(loss).unwrap();
        let measured = network(&ufm).measured(Training::default());
        assert_eq!(measured.question.fits, Some(loss));
        assert_eq!(measured.question.source, Some(DecaySource::Arrays));
        assert_eq!(measured.question.contradictions, []);
        assert_eq!(measured.has_reached(), Some(true));
        let implied = measured.question.model.as_ref().unwrap();
        // Certified minimizers are known to a gap of 1e-12, and their gradients to its root.
        assert!(implied.layers().iter().all(|layer| (layer.decay / LAYER - 1.0).abs() < 1e-5));
        let verdicts: Vec<_> = measured.lines().into_iter().filter_map(|line| line.verdict).collect();
        assert!(verdicts.len() > 20 && verdicts.iter().all(|verdict| *verdict == Verdict::Reached), "{verdicts:?}");
        assert_eq!(measured.metrics.nc1(Nc1Convention::Global).map(|nc1| nc1 < 1e-20), Some(true));
        assert_eq!(measured.decisions.accuracy(), Some(1.0));
        assert_eq!(measured.groups.iter().map(|group| group.count).collect::<Vec<_>>(), COUNTS);
        assert_eq!(measured.metrics.spectra.len(), if widths.len() == 1 { 2 } else { 4 });
    }
}

#[test]
fn what_is_said_of_the_training_is_compared_with_the_arrays() {
    let network = network(&model(&[6]));
    let right = network.measured(known());
    assert_eq!((right.question.source, right.applies()), (Some(DecaySource::Training), true));
    assert_eq!(right.question.contradictions, []);
    // In units of `MSELoss`: twice a fourth.
    let scaled = Training::default().with_convention(LossConvention::Mean, FeatureConvention::Mean);
    let scaled = scaled.with_loss(Loss::Squared).with_decays([LAYER / 2.0], FEATURES * 60.0 / 2.0);
    let scaled = network.measured(scaled);
    assert_eq!(scaled.question.contradictions, []);
    let objective = scaled.target.as_ref().unwrap().objective.unwrap();
    assert_eq!(scaled.training_loss(objective), objective / 2.0);

    let said = |training| network.measured(training).question.contradictions;
    let other = Training::default().with_loss(Loss::CrossEntropy);
    assert_eq!(said(other), [Contradiction::Loss { said: Loss::CrossEntropy, implied: Loss::Squared }]);
    let wrong = said(Training::default().with_decays([3.0 * LAYER], FEATURES));
    let [Contradiction::LayerDecay { layer: None, said: own, implied, conventions: None }] = wrong[..] else {
        panic!("{wrong:?}");
    };
    assert!(own == 3.0 * LAYER && (implied / LAYER - 1.0).abs() < 1e-9);
    // Right under another convention.
    let half = Training::default().with_convention(LossConvention::HalfMean, FeatureConvention::Total);
    let meant = said(half.with_decays([LAYER / 2.0], FEATURES / 2.0));
    let conventions = Some((LossConvention::HalfMean, LossConvention::Mean));
    assert!(matches!(&meant[..], [Contradiction::LayerDecay { conventions: c, .. }] if *c == conventions), "{meant:?}");
    assert!(meant[0].to_string().contains(" under half-mean; the arrays say "), "{}", meant[0]);
    // The same network with half of the samples of each class has a penalty of features twice as large.
    let part = said(Training::default().with_decays([LAYER], FEATURES / 2.0));
    assert!(
        matches!(part[..], [Contradiction::FeatureDecay { part: Some(part), .. }] if (part - 0.5).abs() < 1e-9),
        "{part:?}"
    );
    let free = said(known().with_bias_decay(LAYER));
    assert!(matches!(free[..], [Contradiction::BiasDecay { said: LAYER, implied: 0.0 }]), "{free:?}");
}

/// Noise of the features that the layers do not see costs the objective only its penalty.
#[test]
fn a_small_gap_does_not_bring_features_to_their_optimum() {
    let mut network = network(&model(&[6]));
    // A direction that no classifier has.
    let rows = network.weights[0].transpose().svd().unwrap();
    let unseen = rows.U().col(5).to_owned();
    let size = 0.12 * network.features.norm_l2() / (60.0_f64).sqrt();
    for (mut sample, sign) in network.features.col_iter_mut().zip([1.0, -1.0].into_iter().cycle()) {
        sample += Scale(sign * size) * &unseen;
    }
    let measured = network.measured(known());
    let gap = measured.target.as_ref().unwrap().gap.unwrap();
    assert!(measured.applies() && gap < 0.01, "{gap}");
    let far = measured.far_blocks();
    assert!(far.len() == 1 && far[0].0 == "features" && (far[0].1 - 0.12).abs() < 1e-3, "{far:?}");
    assert_eq!(measured.has_reached(), Some(false));
}

#[test]
fn features_without_a_penalty_are_said() {
    let network = network(&model(&[6]));
    let measured = network.measured(Training::default().with_decays([LAYER], 0.0));
    assert!(measured.question.model.is_none() && measured.target.is_none());
    let [Contradiction::FeatureDecay { said: 0.0, implied, .. }] = measured.question.contradictions[..] else {
        panic!("{:?}", measured.question.contradictions);
    };
    assert!((implied / FEATURES - 1.0).abs() < 1e-9);
    // The penalty of all samples is N times that of their mean.
    let mean = Training::default().with_convention(LossConvention::HalfSum, FeatureConvention::Mean);
    let mixed = network.measured(mean.with_decays([LAYER], FEATURES)).question.contradictions;
    let conventions = Some((FeatureConvention::Mean, FeatureConvention::Total));
    assert!(matches!(mixed[..], [Contradiction::FeatureDecay { conventions: c, .. }] if c == conventions), "{mixed:?}");
}

#[test]
fn class_weights_are_looked_for_in_a_third_pass() {
    let ufm = model(&[6]).with_loss(Loss::CrossEntropy).unwrap().with_class_weights(ClassWeights::Inverse).unwrap();
    let network = network(&ufm);
    let measured = network.measured(Training::default());
    assert_eq!((measured.question.fits, measured.applies()), (Some(Loss::CrossEntropy), true));
    assert_eq!(measured.question.class_weights, ClassWeights::Inverse);
    // Decays of a training without weights are said: then the weights contradict it.
    let training = Training::default().with_loss(Loss::CrossEntropy).with_decays([LAYER], FEATURES);
    let said = network.measured(training.clone());
    let inverse = ClassWeights::Inverse;
    assert_eq!(said.question.contradictions[0], Contradiction::ClassWeights { implied: inverse.clone() });
    let right = network.measured(training.with_class_weights(inverse, WeightConvention::Samples));
    assert_eq!((&right.question.contradictions[..], right.has_reached()), (&[][..], Some(true)));
}

#[test]
fn a_product_of_layers_is_compared_by_its_geometry() {
    let network = network(&model(&[6, 5]));
    let product = LastLayers::new([&network.weights[1] * &network.weights[0]], network.bias.clone()).unwrap();
    let product = product.with_widths([6, 5]).unwrap();
    assert_eq!((product.depth(), product.has_all()), (2, false));
    let silent = network.measured_as(product.clone(), Training::default());
    assert!(silent.question.model.is_none() && !silent.applies());
    let measured = network.measured_as(product.clone(), known());
    let target = measured.target.as_ref().unwrap();
    assert!(measured.applies() && target.gap.is_none() && target.distance.is_none());
    let of = |name| measured.lines().into_iter().find(|line| line.name == name).unwrap();
    assert_eq!(of("NC3 product").verdict, Some(Verdict::Reached));
    assert_eq!((of("relative gap").measured, measured.has_reached()), (None, None));
    // What is no product of layers at rest is not compared.
    let moved = LastLayers::new([Scale(3.0) * product.product()], network.bias.clone()).unwrap();
    let moved = network.measured_as(moved.with_depth(2).unwrap(), known());
    let found: Vec<_> = moved.question.findings().collect();
    assert!(matches!(found[..], [Finding::NotStationary { misfit }] if *misfit > 0.05), "{found:?}");
    assert!(!moved.applies() && moved.target.is_none());
    // Wide enough, if nothing is said.
    let wide = LastLayers::new([product.product().to_owned()], None).unwrap().with_depth(3).unwrap();
    assert_eq!(wide.widths(), [6, 6, 6]);
}

#[test]
fn layers_that_do_not_fit_are_refused() {
    let refused = |weights: &[(usize, usize)], bias: Option<usize>| {
        let weights: Vec<Mat<f64>> = weights.iter().map(|&(rows, cols)| Mat::zeros(rows, cols)).collect();
        LastLayers::new(weights, bias.map(Col::zeros)).unwrap_err().to_string()
    };
    assert!(refused(&[], None).starts_with("layers: the list is empty"));
    assert!(refused(&[(5, 6), (4, 3)], None).starts_with("shape of W_2: 4 x 3 given, 4 x 5 is needed"));
    assert!(refused(&[(4, 6)], Some(3)).starts_with("shape of the bias b: 3 x 1 given, 4 x 1 is needed"));
    assert!(refused(&[(4, 0)], None).starts_with("layers: the width d_1 is 0"));
    let broken = Mat::from_fn(2, 3, |i, j| if (i, j) == (1, 2) { f64::NAN } else { 0.0 });
    let error = LastLayers::new([broken], None).unwrap_err().to_string();
    assert!(error.starts_with("W_1: entry (1, 2) (counted from 0) is NaN"), "{error}");
    let single = LastLayers::new([Mat::zeros(4, 6)], None).unwrap();
    assert_eq!(single.clone().with_depth(0).unwrap_err(), Error::NoLayers);
    assert!(matches!(single.clone().with_widths([5, 5]), Err(Error::Shape { .. })));
    assert!(matches!(single.with_widths([6, 0]), Err(Error::ZeroWidth { layer: 1 })));
    let two = LastLayers::new([Mat::zeros(5, 6), Mat::zeros(4, 5)], None).unwrap();
    assert_eq!(two.with_depth(3).unwrap_err(), Error::LayerCount { expected: 3, found: 2 });
}

#[test]
fn what_is_wrong_with_the_training_is_said_before_the_first_pass() {
    let network = network(&model(&[6]));
    let refused = |training: Training, counts: &[u64]| {
        let counts = ClassCounts::new(counts).unwrap();
        Measuring::with_counts(network.layers(), training, counts).unwrap_err().to_string()
    };
    assert!(refused(known(), &[3, 2]).starts_with("class counts: 2 given, one for each of 4 classes"));
    let decays = Training::default().with_decays([LAYER; 3], FEATURES);
    assert!(refused(decays, &COUNTS).starts_with("number of decays of layers: 3.0 given, accepted: one, or one for"));
    assert!(refused(known().with_decays([-1.0], 1.0), &COUNTS).starts_with("weight decay: -1.0 given"));
    assert!(refused(known().with_label_smoothing(2.0), &COUNTS).contains("2.0 given"));
    let weights = ClassWeights::Given(vec![1.0]);
    let weighted = Training::default().with_class_weights(weights, WeightConvention::Samples);
    assert!(refused(weighted, &COUNTS).contains("one for each of 4 classes"));
}

#[test]
fn samples_that_are_not_those_of_training_are_refused() {
    let network = network(&model(&[6]));
    let counts = ClassCounts::new([24, 16, 12, 9]).unwrap();
    let mut measuring = Measuring::with_counts(network.layers(), Training::default(), counts).unwrap();
    measuring.add(network.features.as_ref(), &network.labels).unwrap();
    assert_eq!(measuring.end_pass().unwrap_err(), Error::ClassCounts { class: 3, expected: 9, found: 8 });
    // Another batch in the second pass.
    let mut passes = 0;
    let measured = Measurement::of(network.layers(), Training::default(), |pass| {
        passes += 1;
        pass.add(network.features.as_ref(), &network.labels)?;
        if passes == 2 { pass.add(network.features.as_ref().subcols(0, 1), &network.labels[..1]) } else { Ok(()) }
    });
    assert!(matches!(measured.unwrap_err(), Error::ClassCounts { .. }));
    // None of a batch with an error is taken in.
    let mut measuring = Measuring::new(network.layers(), Training::default()).unwrap();
    let infinite = Scale(f64::INFINITY) * &network.features;
    assert!(matches!(measuring.add(infinite.as_ref(), &network.labels), Err(Error::NotFinite { .. })));
    measuring.add(network.features.as_ref(), &network.labels).unwrap();
    assert!(matches!(measuring.end_pass(), Ok(Step::Pass(_))));
}

/// Samples of four classes in twenty dimensions, of single precision, at deviations of this size from class means, with
/// layers whose last two outputs differ by 1e-10 of a direction in which class means do not: what the network decides
/// between them hangs on deviations alone.
fn singles(deviation: f64) -> (LastLayers, Vec<f32>, Vec<usize>) {
    let (width, samples) = (20, 6000);
    let wave = |seed: usize| (seed as f64 * 12.9898).sin();
    let mean = |class: usize, i: usize| match (class, i) {
        (_, 19) => 0.0,
        (3, _) => wave(3 + 7 * i) + 1e-3,
        _ => wave(1 + class + 7 * i),
    };
    let labels: Vec<usize> = (0..samples).map(|j| (j * j + j / 3) % 4).collect();
    let entry = |at: usize| mean(labels[at / width], at % width) + deviation * wave(5000 + at);
    #[allow(clippy::cast_possible_truncation)]
    let features = (0..samples * width).map(|at| entry(at) as f32).collect();
    let tell = |class: usize, i: usize| if class == 3 && i == 19 { 1e-10 } else { 0.0 };
    let weights = Mat::from_fn(4, width, |class, i| mean(class.min(2), i) / 10.0 + tell(class, i));
    (LastLayers::new([weights], Some(Col::zeros(4))).unwrap(), features, labels)
}

/// Decisions and NC1 of samples of single precision are those of the same numbers in double precision. Of the gradients
/// only what deviations contribute is rounded: nothing is lost close to collapse.
#[test]
fn single_precision_rounds_the_pull_of_deviations_and_nothing_else() {
    for deviation in [0.1, 1e-3, 1e-6] {
        let (layers, features, labels) = singles(deviation);
        let doubles: Vec<f64> = features.iter().copied().map(f64::from).collect();
        let of = |add: &dyn Fn(&mut Measuring) -> Result<(), Error>| {
            Measurement::of(layers.clone(), Training::default(), add).unwrap()
        };
        let (single, double) =
            (of(&|pass| pass.add_rows(&features, &labels)), of(&|pass| pass.add_rows(&doubles, &labels)));
        assert_eq!(single.decisions, double.decisions);
        let (samples, epsilon) = (labels.len() as f64, f64::from(f32::EPSILON));
        let nc1 = |measured: &Measurement| measured.metrics.nc1(Nc1Convention::Global).unwrap();
        // A sum of positive terms, in another order at most.
        assert!((nc1(&single) / nc1(&double) - 1.0).abs() <= samples * f64::EPSILON);
        let (w, h) = (layers.product(), Mat::from_fn(20, labels.len(), |i, j| doubles[20 * j + i]));
        let (logits, within) = (w * &h, deviation * (20.0 * samples).sqrt());
        // Sums of 512 terms of D Eᵀ, and of 20 terms of the logits that D is of; D is no larger than targets and outputs.
        let terms = 512.0 + 16.0 + 2.0 * 36.0;
        let residuals = logits.norm_l2() + (2.0 * samples).sqrt() + w.norm_l2() * within;
        let rounding = terms * epsilon * residuals * within / samples;
        for &loss in Loss::ALL {
            let (one, other) = (single.question.implied(loss), double.question.implied(loss));
            let (layer, expected) = (one.layers[0].unwrap(), other.layers[0].unwrap());
            let difference = (layer.decay - expected.decay).abs();
            assert!(difference <= rounding / w.norm_l2(), "{loss:?} {deviation} {difference}");
            // ‖A‖, of which the decay has the cosine.
            let size = expected.decay.abs() * w.norm_l2() / (1.0 - expected.misfit * expected.misfit).sqrt();
            let difference = (layer.misfit - expected.misfit).abs();
            assert!(difference <= 2.0 * rounding / size, "{loss:?} {deviation} {difference}");
            let (of_features, expected) = (one.features.unwrap(), other.features.unwrap());
            let difference = (of_features.decay - expected.decay).abs();
            assert!(difference <= rounding * w.norm_l2() / h.squared_norm_l2(), "{loss:?} {deviation} {difference}");
        }
    }
}

#[test]
fn measurements_do_not_depend_on_the_number_of_threads() {
    let (layers, features, labels) = singles(0.1);
    let doubles: Vec<f64> = features.iter().copied().map(f64::from).collect();
    let measured = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let of = |add: &(dyn Fn(&mut Measuring) -> Result<(), Error> + Sync)| {
            let measured = pool.install(|| Measurement::of(layers.clone(), Training::default(), add)).unwrap();
            (measured.lines(), measured.question.assessment.implied, measured.decisions)
        };
        (of(&|pass| pass.add_rows(&features, &labels)), of(&|pass| pass.add_rows(&doubles, &labels)))
    };
    let one = measured(1);
    for threads in [2, 3] {
        assert_eq!(measured(threads), one);
    }
}

/// With the scatter in all directions, and with the Gram matrices of few samples a class.
#[test]
fn features_have_the_effective_rank_of_their_centered_matrix() {
    for width in [6, 20] {
        let mut network = network(&model(&[width]));
        // Samples that vary, about a mean that is not zero.
        for (j, mut sample) in network.features.col_iter_mut().enumerate() {
            for i in 0..width {
                sample[i] += 3.0 + ((7 * i + 5 * j) as f64).sin();
            }
        }
        let mean = &network.features * Col::<f64>::ones(60) / Scale(60.0);
        let centered = Mat::from_fn(width, 60, |i, j| network.features[(i, j)] - mean[i]);
        let values: Vec<f64> = centered.svd().unwrap().S().column_vector().iter().copied().collect();
        let expected = effective_rank(&values).unwrap();
        let measured = network.measured(Training::default()).metrics.feature_rank.unwrap();
        // Roots of eigenvalues below the rounding of a Gram matrix count as zero.
        assert!((measured - expected).abs() < 1e-5, "{width}: {measured} {expected}");
    }
}

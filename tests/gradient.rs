//! Losses and gradients gathered in a pass over samples are those of the reference, and imply the decays that a network
//! was trained with.

mod models;

use neural_collapse::{
    ClassCounts, ClassWeights, Error, Layer, Loss, Parameters, Ufm,
    descent::{Descent, Method},
    faer::{Col, Mat, Scale},
    metrics::{
        Assessment, FeatureAccumulator, Finding, GradientAccumulator, ImpliedDecay, NearestCenter, NetworkGradient,
    },
};
use proptest::prelude::*;

use self::models::{Options, labels, rng};

/// The labels of samples that are sorted by class.
fn sorted(ufm: &Ufm) -> Vec<usize> {
    let counts = ufm.class_counts().unwrap().counts().iter().enumerate();
    counts.flat_map(|(class, &count)| vec![class; usize::try_from(count).unwrap()]).collect()
}

fn accumulator(models: &[Ufm], network: &Parameters) -> GradientAccumulator {
    GradientAccumulator::new(models, network.weights().to_vec(), network.bias().map(|bias| bias.to_owned())).unwrap()
}

fn gradients(models: &[Ufm], network: &Parameters) -> Vec<NetworkGradient> {
    let mut pass = accumulator(models, network);
    pass.add(network.features(), &sorted(&models[0])).unwrap();
    pass.finish().unwrap()
}

/// λ and the misfit of a block, from the negative gradient A of the loss alone.
fn by_definition(block: &Mat<f64>, a: &Mat<f64>) -> Option<(f64, f64)> {
    let inner: f64 = block.col_iter().zip(a.col_iter()).map(|(x, a)| x.transpose() * a).sum();
    let decay = inner / block.squared_norm_l2();
    (a.norm_l2() > 0.0 && block.norm_l2() > 0.0).then(|| (decay, (a - Scale(decay) * block).norm_l2() / a.norm_l2()))
}

/// What the gradient of the objective says of a block: A = λ W - ∂f/∂W.
fn negative(block: &Mat<f64>, gradient: &Mat<f64>, decay: f64) -> Mat<f64> {
    Scale(decay) * block - gradient
}

/// Sums of at most a hundred terms, of the size of the norms of the factors.
fn rounding(network: &Parameters) -> f64 {
    let size: f64 = network.weights().iter().map(|block| 1.0 + block.norm_l2()).product::<f64>()
        * (1.0 + network.features().norm_l2());
    100.0 * f64::EPSILON * size * 25.0
}

proptest! {
    /// Objective and implied decays at random points of all models, from batches of any size, are those of the reference
    /// gradient.
    #[test]
    fn a_pass_gives_objective_and_decays_of_the_reference(
        options in labels(1..=3, false),
        nonnegative: bool,
        batch in 1_usize..40,
    ) {
        let ufm = options.model();
        let (weights, features, bias) = options.start(&ufm, 1.0).into_parts();
        let features = if nonnegative {
            Mat::from_fn(features.nrows(), features.ncols(), |i, j| features[(i, j)].max(0.0))
        } else {
            features
        };
        let network = Parameters::new(&ufm, weights, features, bias).unwrap();
        let labels = sorted(&ufm);
        let mut pass = accumulator(std::slice::from_ref(&ufm), &network);
        for start in (0..labels.len()).step_by(batch) {
            let size = batch.min(labels.len() - start);
            pass.add(network.features().subcols(start, size), &labels[start..start + size]).unwrap();
        }
        let found = &pass.finish().unwrap()[0];
        let (objective, gradient) = ufm.objective_and_gradient(&network).unwrap();
        let rounding = rounding(&network) * (1.0 + objective);
        prop_assert!((found.objective(&ufm).unwrap() - objective).abs() <= rounding);
        let implied = found.implied_decays().unwrap();
        let check = |found: Option<ImpliedDecay>, block: &Mat<f64>, a: &Mat<f64>, least: f64| {
            let Some((decay, misfit)) = by_definition(block, a) else { return };
            // A gradient of the size of its rounding says nothing.
            let relative = rounding / a.norm_l2();
            if relative > 1e-3 {
                return;
            }
            let found = found.unwrap();
            assert!((found.decay - decay).abs() <= rounding / block.norm_l2() + relative * decay.abs(), "{found:?} {decay}");
            assert!((found.misfit - misfit).abs() <= 4.0 * relative + least, "{found:?} {misfit}");
        };
        for (l, layer) in ufm.layers().iter().enumerate() {
            let block = &network.weights()[l];
            check(implied.layers[l], block, &negative(block, &gradient.weights()[l], layer.decay), 0.0);
        }
        let features = network.features().to_owned();
        let mut a = negative(&features, &gradient.features().to_owned(), ufm.feature_decay());
        if found.has_nonnegative_features() {
            a = Mat::from_fn(a.nrows(), a.ncols(), |i, j| if features[(i, j)] > 0.0 { a[(i, j)] } else { 0.0 });
        }
        // The root of the difference of two norms: half of the digits.
        check(implied.features, &features, &a, 1e-7);
        if let (Some(bias), Some(gradient)) = (network.bias(), gradient.bias()) {
            let (bias, gradient) = (bias.as_mat().to_owned(), gradient.as_mat().to_owned());
            check(implied.bias, &bias, &negative(&bias, &gradient, ufm.bias_decay()), 0.0);
        }
    }

    /// Shards that are merged in order give the same bits as shards that are merged in order, and the batch result to
    /// rounding; features as rows are the same features.
    #[test]
    fn shards_merge(options in labels(1..=2, false), at in 0.0..1.0_f64) {
        let ufm = options.model();
        let network = options.start(&ufm, 1.0);
        let (labels, features) = (sorted(&ufm), network.features());
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let half = (labels.len() as f64 * at) as usize;
        let empty = || accumulator(std::slice::from_ref(&ufm), &network);
        let shard = |start: usize, end: usize| {
            let mut shard = empty();
            shard.add(features.subcols(start, end - start), &labels[start..end]).unwrap();
            shard
        };
        let merged = || {
            let mut all = shard(0, half);
            all.merge(shard(half, labels.len())).unwrap();
            all.finish().unwrap()[0].implied_decays().unwrap()
        };
        prop_assert_eq!(merged(), merged());
        let whole = gradients(std::slice::from_ref(&ufm), &network);
        let mut rows = empty();
        rows.add_rows(features.transpose(), &labels).unwrap();
        prop_assert_eq!(rows.finish().unwrap()[0].implied_decays().unwrap(), whole[0].implied_decays().unwrap());
    }
}

proptest! {
    /// Class means and the scatter determine the gradient of squared loss: it is that of the pass over all samples.
    #[test]
    fn statistics_have_the_gradient_of_squared_loss(options in labels(1..=3, false)) {
        let options = Options { cross_entropy: false, weights: false, ..options };
        let ufm = options.model();
        let network = options.start(&ufm, 1.0);
        let found = &gradients(std::slice::from_ref(&ufm), &network)[0];
        let mut features = FeatureAccumulator::with_scatter(ufm.feature_width(), ufm.outputs()).unwrap();
        features.add(network.features(), &sorted(&ufm)).unwrap();
        let (weights, _, bias) = network.clone().into_parts();
        let other = features.finish().gradient(&ufm, weights, bias).unwrap();
        let (objective, rounding) = (ufm.objective(&network).unwrap(), rounding(&network));
        prop_assert!((other.objective(&ufm).unwrap() - objective).abs() <= rounding * (1.0 + objective));
        let (theirs, ours) = (found.implied_decays().unwrap(), other.implied_decays().unwrap());
        let same = |a: Option<ImpliedDecay>, b: Option<ImpliedDecay>, least: f64| match (a, b) {
            (Some(a), Some(b)) => {
                let size = 1.0 + a.decay.abs();
                (a.decay - b.decay).abs() <= 1e3 * rounding * size && (a.misfit - b.misfit).abs() <= 1e3 * rounding * size + least
            }
            (a, b) => a.is_none() == b.is_none(),
        };
        for (a, b) in theirs.layers.iter().zip(&ours.layers) {
            prop_assert!(same(*a, *b, 0.0), "{theirs:?} {ours:?}");
        }
        prop_assert!(same(theirs.bias, ours.bias, 0.0), "{theirs:?} {ours:?}");
        if !found.has_nonnegative_features() {
            prop_assert!(same(theirs.features, ours.features, 1e-7), "{theirs:?} {ours:?}");
        }
        prop_assert!((found.output_spread() - other.output_spread()).abs() <= 1e-6 * (1.0 + found.output_spread()));
        prop_assert!((found.bias_pull() - other.bias_pull()).abs() <= 1e-9);
    }
}

/// What a descent reaches implies the decays of the model, for the loss that it minimized and for no other.
#[test]
fn minima_imply_their_own_decays_and_loss() {
    let counts = || ClassCounts::new([24, 16, 9, 5]).unwrap();
    let weights = ClassWeights::Inverse;
    for (loss, depth, nonnegative, weighted) in [
        (Loss::Squared, 1, false, false),
        (Loss::Squared, 3, false, false),
        (Loss::CrossEntropy, 1, false, false),
        (Loss::CrossEntropy, 2, false, false),
        (Loss::CrossEntropy, 1, false, true),
        (Loss::Squared, 1, true, false),
    ] {
        let layers: Vec<Layer> = (0..depth).map(|l| Layer::new(7, 2e-3 * (1.0 + f64::from(l)))).collect();
        let model = |loss| {
            let ufm = Ufm::new(counts(), layers.clone(), 1e-3).unwrap().with_loss(loss).unwrap();
            if weighted { ufm.with_class_weights(weights.clone()).unwrap() } else { ufm }
        };
        let ufm = if nonnegative { model(loss).with_nonnegative_features() } else { model(loss) };
        let method = if nonnegative { Method::Nesterov } else { Method::LBFGS };
        let start = Parameters::gaussian(&ufm, 1.0, &mut rng(4)).unwrap();
        let descent = Descent::new(method).with_gradient_tolerance(1e-9).with_step_limit(200_000);
        let network = descent.minimize(&ufm, start).unwrap().parameters().unwrap();
        let [squared, entropy] =
            [Loss::Squared, Loss::CrossEntropy].map(|loss| gradients(&[model(loss)], &network).remove(0));
        let (fitting, other) = if loss == Loss::Squared { (&squared, &entropy) } else { (&entropy, &squared) };
        let implied = fitting.implied_decays().unwrap();
        for (layer, implied) in ufm.layers().iter().zip(&implied.layers) {
            let implied = implied.unwrap();
            assert!((implied.decay / layer.decay - 1.0).abs() < 1e-5, "{loss} {depth} {implied:?}");
            assert!(implied.misfit < 1e-4, "{loss} {depth} {implied:?}");
        }
        let features = implied.features.unwrap();
        assert!((features.decay / ufm.feature_decay() - 1.0).abs() < 1e-5 && features.misfit < 1e-3, "{features:?}");
        let misfit = |implied: &ImpliedDecay| implied.misfit;
        let others = other.implied_decays().unwrap().layers;
        assert!(others.iter().flatten().map(misfit).fold(0.0, f64::max) > 0.1, "{loss} {depth} {others:?}");

        let rules = rules(&network, &sorted(&ufm));
        let assessment = Assessment::new(&[squared, entropy], &rules).unwrap();
        assert_eq!(assessment.fitting, [usize::from(loss == Loss::CrossEntropy)]);
        assert!(assessment.applies() && assessment.findings.is_empty(), "{:?}", assessment.findings);
    }
}

fn rules(network: &Parameters, labels: &[usize]) -> NearestCenter {
    let mut features =
        FeatureAccumulator::new(network.features().nrows(), network.weights().last().unwrap().nrows()).unwrap();
    features.add(network.features(), labels).unwrap();
    let mut rules = NearestCenter::new(network.product().as_ref(), network.bias(), &features.finish()).unwrap();
    rules.add(network.features(), labels).unwrap();
    rules
}

/// Labels in another order, outputs in another order, features that have moved, a point that is nowhere.
#[test]
fn what_is_wrong_with_the_question_is_found() {
    let ufm = Ufm::new(ClassCounts::new([60, 60, 60, 60]).unwrap(), [Layer::new(6, 2e-3)], 2e-4).unwrap();
    let network = ufm.minimizer().unwrap().parameters().unwrap();
    let assess = |network: &Parameters, labels: &[usize]| {
        let mut pass = accumulator(std::slice::from_ref(&ufm), network);
        pass.add(network.features(), labels).unwrap();
        Assessment::new(&pass.finish().unwrap(), &rules(network, labels)).unwrap()
    };
    let right = sorted(&ufm);
    assert!(assess(&network, &right).applies());

    // Every class has fifteen samples of each.
    let shuffled: Vec<usize> = (0..240).map(|sample| sample % 4).collect();
    let assessment = assess(&network, &shuffled);
    assert!(!assessment.applies());
    let found = |finding: &Finding| matches!(finding, Finding::LabelsAtChance { accuracy, .. } if (accuracy - 0.25).abs() < 1e-12);
    assert!(assessment.findings.iter().any(found), "{:?}", assessment.findings);

    let renamed: Vec<usize> = right.iter().map(|class| (class + 1) % 4).collect();
    let assessment = assess(&network, &renamed);
    let found = |finding: &Finding| matches!(finding, Finding::OutputsReordered { center_accuracy, .. } if *center_accuracy == 1.0);
    assert!(!assessment.applies() && assessment.findings.iter().any(found), "{:?}", assessment.findings);

    // Features that fit the layers no longer: W is at rest for these features, and they are not for this W.
    let (weights, features, bias) = network.clone().into_parts();
    let noise = Mat::from_fn(6, 240, |i, j| 0.05 * ((7 * i + 3 * j * j) as f64).sin());
    let moved = Parameters::new(&ufm, weights.clone(), features + noise, bias.clone()).unwrap();
    let best = ridge(&moved, &right, 2e-3);
    let moved = Parameters::new(&ufm, vec![best.0], moved.features().to_owned(), Some(best.1)).unwrap();
    let assessment = assess(&moved, &right);
    // Noise about class means that were at rest with a penalty, and are not far from it.
    let found = |finding: &Finding| matches!(finding, Finding::FeaturesNotAtRest { implied, means } if implied.misfit > 0.5 && *means < 0.5);
    assert_eq!(assessment.fits(), Some(0), "{:?}", assessment.implied);
    assert!(!assessment.applies() && assessment.findings.iter().any(found), "{assessment:?}");

    // Right about every sample, and moving.
    let (weights, features, bias) = network.into_parts();
    let size = 0.3 * weights[0].norm_max();
    let noise = Mat::from_fn(4, 6, |i, j| size * ((5 * i + 3 * j * j) as f64).sin());
    let moving = Parameters::new(&ufm, vec![&weights[0] + noise], features, bias).unwrap();
    let assessment = assess(&moving, &right);
    let found = |finding: &Finding| matches!(finding, Finding::NotStationary { misfit } if *misfit > 0.1);
    assert!(assessment.fits().is_none() && assessment.findings.iter().any(found), "{assessment:?}");
    for finding in &assessment.findings {
        assert!(finding.to_string().len() > 20);
    }
}

/// Weights and a free bias that minimize the squared loss for these features: by the normal equations.
fn ridge(network: &Parameters, labels: &[usize], decay: f64) -> (Mat<f64>, Col<f64>) {
    use neural_collapse::faer::linalg::solvers::Solve;
    let features = network.features();
    let (width, samples) = features.shape();
    let n = samples as f64;
    let mean = features * Col::<f64>::ones(samples) * Scale(1.0 / n);
    let targets = Mat::from_fn(4, samples, |k, j| f64::from(u8::from(labels[j] == k)));
    let target_mean = &targets * Col::<f64>::ones(samples) * Scale(1.0 / n);
    let centered = Mat::from_fn(width, samples, |i, j| features[(i, j)] - mean[i]);
    let gram = &centered * centered.transpose() * Scale(1.0 / n) + Mat::<f64>::identity(width, width) * Scale(decay);
    let right = &centered * targets.transpose() * Scale(1.0 / n);
    let weights = gram.partial_piv_lu().solve(right).transpose().to_owned();
    let bias = target_mean - &weights * mean;
    (weights, bias)
}

#[test]
fn what_does_not_belong_is_refused() {
    let ufm = Ufm::new(ClassCounts::new([4, 3]).unwrap(), [Layer::new(3, 1e-2)], 1e-2).unwrap();
    let network = Parameters::gaussian(&ufm, 1.0, &mut rng(0)).unwrap();
    let (weights, features, bias) = network.clone().into_parts();
    let new = |models: Vec<Ufm>, weights: Vec<Mat<f64>>, bias: Option<Col<f64>>| {
        GradientAccumulator::new(models, weights, bias)
    };
    let error = new(vec![], weights.clone(), bias.clone()).unwrap_err();
    assert_eq!(error, Error::NoModels);
    let error = new(vec![ufm.clone()], vec![], bias.clone()).unwrap_err();
    assert_eq!(error, Error::LayerCount { expected: 1, found: 0 });
    assert_eq!(new(vec![ufm.clone()], weights.clone(), None).unwrap_err(), Error::BiasPresence { expected: true });
    let other = Ufm::new(ClassCounts::new([3, 4]).unwrap(), [Layer::new(3, 1e-2)], 1e-2).unwrap();
    let error = new(vec![ufm.clone(), other], weights.clone(), bias.clone()).unwrap_err();
    assert_eq!(error, Error::ClassCounts { class: 0, expected: 3, found: 4 });
    let mut broken = weights.clone();
    broken[0][(1, 2)] = f64::NAN;
    assert!(matches!(new(vec![ufm.clone()], broken, bias.clone()), Err(Error::NotFinite { row: 1, col: 2, .. })));

    let mut pass = new(vec![ufm.clone()], weights.clone(), bias.clone()).unwrap();
    assert!(matches!(
        pass.add(features.as_ref(), &[0, 0, 0, 0, 1, 1, 2]),
        Err(Error::LabelOutOfRange { index: 6, .. })
    ));
    assert!(matches!(pass.add(features.as_ref(), &[0; 6]), Err(Error::Shape { .. })));
    assert!(matches!(pass.clone().finish(), Err(Error::ClassCounts { class: 0, expected: 4, found: 0 })));
    pass.add(features.as_ref(), &[0, 0, 0, 0, 1, 1, 1]).unwrap();
    let turned = vec![Scale(2.0) * &weights[0]];
    let stranger = new(vec![ufm.clone()], turned, bias.clone()).unwrap();
    assert_eq!(pass.merge(stranger).unwrap_err(), Error::Unmergeable { what: "the network" });
    let entropy = ufm.clone().with_loss(Loss::CrossEntropy).unwrap();
    let stranger = new(vec![entropy.clone()], weights, bias).unwrap();
    assert_eq!(pass.merge(stranger).unwrap_err(), Error::Unmergeable { what: "the models" });
    let gradient = pass.finish().unwrap().remove(0);
    assert_eq!(gradient.objective(&entropy), Err(Error::OtherLoss));
}

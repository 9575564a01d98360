//! What arrays say about the question: at optima of known models, and at arrays that are not what they should be.

use neural_collapse::{
    ClassCounts, Layer, Loss, Parameters, Ufm,
    faer::{Col, Mat},
    metrics::{Assessment, FeatureAccumulator, Finding, GradientAccumulator, NearestCenter},
};

const COUNTS: [u64; 5] = [60, 48, 40, 32, 24];

fn model(counts: &[u64], loss: Loss) -> Ufm {
    let ufm = Ufm::new(ClassCounts::new(counts).unwrap(), [Layer::new(6, 1e-2)], 1e-4).unwrap();
    ufm.with_loss(loss).unwrap()
}

fn optimum(ufm: &Ufm) -> Parameters {
    ufm.certified_minimizer().unwrap().parameters().unwrap()
}

fn sorted(counts: &[u64]) -> Vec<usize> {
    (0..counts.len()).flat_map(|class| vec![class; usize::try_from(counts[class]).unwrap()]).collect()
}

/// Both losses read these layers, with this bias or none, from the features of these parameters.
fn assess(weights: &Mat<f64>, bias: Option<Col<f64>>, features: &Mat<f64>, labels: &[usize]) -> Assessment {
    assess_with(weights, bias, features, labels, None)
}

fn assess_with(
    weights: &Mat<f64>,
    bias: Option<Col<f64>>,
    features: &Mat<f64>,
    labels: &[usize],
    loss: Option<Loss>,
) -> Assessment {
    let counts = ClassCounts::from_labels(labels.iter().copied(), weights.nrows()).unwrap();
    let reading = |loss| {
        let ufm = model(counts.counts(), loss);
        if bias.is_some() { ufm } else { ufm.without_bias() }
    };
    let readings = vec![reading(Loss::Squared), reading(Loss::CrossEntropy)];
    let mut statistics = FeatureAccumulator::new(features.nrows(), weights.nrows()).unwrap();
    statistics.add(features.as_ref(), labels).unwrap();
    let rules = NearestCenter::new(weights.as_ref(), bias.as_ref().map(Col::as_ref), &statistics.finish()).unwrap();
    let pass = GradientAccumulator::new(readings, vec![weights.clone()], bias).unwrap();
    let mut pass = pass.with_decisions(rules).unwrap();
    pass.add(features.as_ref(), labels).unwrap();
    let (gradients, rules) = pass.finish_with_decisions().unwrap();
    match loss {
        None => Assessment::new(&gradients, &rules.unwrap()).unwrap(),
        Some(loss) => Assessment::with_loss(&gradients, &rules.unwrap(), loss).unwrap(),
    }
}

#[test]
fn the_loss_of_an_optimum_fits_and_no_other() {
    for (place, loss) in [Loss::Squared, Loss::CrossEntropy].into_iter().enumerate() {
        let (weights, features, bias) = optimum(&model(&COUNTS, loss)).into_parts();
        let assessment = assess(&weights[0], bias, &features, &sorted(&COUNTS));
        assert_eq!((assessment.fits(), &assessment.fitting[..]), (Some(place), &[place][..]), "{assessment:?}");
        assert_eq!(assessment.findings, []);
    }
}

#[test]
fn without_a_bias_equal_counts_leave_the_loss_open() {
    let counts = [16; 4];
    // Decays so strong that outputs stay below their targets: squared loss has a positive decay there as well.
    let ufm = Ufm::new(ClassCounts::new(counts).unwrap(), [Layer::new(6, 0.4)], 0.4 / 64.0).unwrap();
    let ufm = ufm.with_loss(Loss::CrossEntropy).unwrap().without_bias();
    let (weights, features, _) = optimum(&ufm).into_parts();
    let assessment = assess(&weights[0], None, &features, &sorted(&counts));
    assert_eq!(assessment.fitting, [0, 1]);
    assert_eq!(assessment.fits(), None);
    let undecided = Finding::LossUndecided { losses: vec![Loss::Squared, Loss::CrossEntropy] };
    assert_eq!(assessment.findings, [undecided, Finding::SizesUntested]);
    assert!(!assessment.applies());
    for (place, loss) in [Loss::Squared, Loss::CrossEntropy].into_iter().enumerate() {
        let told = assess_with(&weights[0], None, &features, &sorted(&counts), Some(loss));
        assert_eq!((told.fits(), told.applies()), (Some(place), true));
        assert_eq!(told.findings, [Finding::SizesUntested]);
    }
    // A loss that does not fit stays out of it.
    let (weights, features, bias) = optimum(&model(&COUNTS, Loss::Squared)).into_parts();
    let told = assess_with(&weights[0], bias, &features, &sorted(&COUNTS), Some(Loss::CrossEntropy));
    assert_eq!(told.fits(), Some(0));
}

/// With a bias the sum of the outputs tells the losses apart: it is 1 for squared loss, and 0 for cross-entropy.
#[test]
fn with_a_bias_the_sum_of_the_outputs_tells_the_loss() {
    let counts = [16; 4];
    for (place, loss) in [Loss::Squared, Loss::CrossEntropy].into_iter().enumerate() {
        let ufm = Ufm::new(ClassCounts::new(counts).unwrap(), [Layer::new(6, 0.3)], 0.3 / 64.0).unwrap();
        let (weights, features, bias) = optimum(&ufm.with_loss(loss).unwrap()).into_parts();
        let assessment = assess(&weights[0], bias, &features, &sorted(&counts));
        assert_eq!(assessment.fits(), Some(place), "{assessment:?}");
        assert_eq!(assessment.findings, [Finding::SizesUntested]);
    }
}

#[test]
fn logit_adjustment_of_two_classes_fits_no_reading() {
    let counts = [60, 20];
    let adjusted = model(&counts, Loss::CrossEntropy).with_logit_adjustment(1.0).unwrap();
    let (weights, features, bias) = optimum(&adjusted).into_parts();
    let assessment = assess(&weights[0], bias, &features, &sorted(&counts));
    assert_eq!(assessment.fits(), None, "{assessment:?}");
    let is_against =
        |finding: &Finding| matches!(finding, Finding::FeaturesContradict { .. } | Finding::BiasNotAtRest { .. });
    assert!(assessment.findings.iter().any(is_against), "{:?}", assessment.findings);
}

#[test]
fn a_missing_bias_is_found() {
    for loss in [Loss::Squared, Loss::CrossEntropy] {
        let (weights, features, _) = optimum(&model(&COUNTS, loss)).into_parts();
        let assessment = assess(&weights[0], None, &features, &sorted(&COUNTS));
        let is_missing = |finding: &Finding| {
            // At rest is what has a misfit of at most 0.05; the constant of cross-entropy is found in a few steps.
            matches!(finding, Finding::BiasMissing { with, without } if *with <= 0.05 && *without > 0.05)
        };
        assert!(assessment.findings.iter().any(is_missing), "{loss:?}: {:?}", assessment.findings);
        assert!(!assessment.applies());
        // An optimum without a bias has none to miss.
        let (weights, features, _) = optimum(&model(&COUNTS, loss).without_bias()).into_parts();
        let assessment = assess(&weights[0], None, &features, &sorted(&COUNTS));
        assert_eq!(assessment.findings, [], "{loss:?}");
        assert!(assessment.applies());
    }
}

#[test]
fn a_bias_that_was_not_trained_is_found() {
    let (weights, features, bias) = optimum(&model(&COUNTS, Loss::Squared)).into_parts();
    // Features have mean zero, so that the layers stay at rest.
    let moved = bias.map(|bias| &bias + Col::from_fn(5, |k| [0.2, -0.2, 0.0, 0.0, 0.0][k]));
    let assessment = assess(&weights[0], moved, &features, &sorted(&COUNTS));
    let found = |finding: &Finding| matches!(finding, Finding::BiasNotAtRest { pull } if *pull > 0.05);
    assert!(assessment.findings.iter().any(found), "{assessment:?}");
    assert!(!assessment.applies());
}

#[test]
fn swapped_classes_are_named_and_the_others_are_not() {
    let (weights, features, bias) = optimum(&model(&COUNTS, Loss::CrossEntropy)).into_parts();
    let order = [0, 3, 2, 1, 4];
    let weights = Mat::from_fn(5, 6, |k, i| weights[0][(order[k], i)]);
    let bias = bias.map(|bias| Col::from_fn(5, |k| bias[order[k]]));
    let assessment = assess(&weights, bias, &features, &sorted(&COUNTS));
    assert_eq!(assessment.findings, [Finding::ClassesReordered { classes: vec![(1, 3), (3, 1)] }]);
    assert!(assessment.findings[0].to_string().contains("1 as 3, 3 as 1"));
}

#[test]
fn accuracies_of_classes_add_up_to_that_of_all() {
    let (weights, features, bias) = optimum(&model(&COUNTS, Loss::Squared)).into_parts();
    let labels: Vec<usize> =
        sorted(&COUNTS).iter().enumerate().map(|(i, &k)| if i % 3 == 0 { (k + 1) % 5 } else { k }).collect();
    let mut statistics = FeatureAccumulator::new(6, 5).unwrap();
    statistics.add(features.as_ref(), &labels).unwrap();
    let bias = bias.unwrap();
    let mut rules = NearestCenter::new(weights[0].as_ref(), Some(bias.as_ref()), &statistics.finish()).unwrap();
    assert_eq!(rules.accuracy_of(&[0]), None);
    rules.add(features.as_ref(), &labels).unwrap();
    let counts: Vec<usize> = (0..5).map(|class| labels.iter().filter(|&&label| label == class).count()).collect();
    let sum: f64 = (0..5).map(|class| counts[class] as f64 * rules.accuracy_of(&[class]).unwrap()).sum();
    // Five products and a quotient are rounded.
    assert!((sum / 204.0 - rules.accuracy().unwrap()).abs() <= 10.0 * f64::EPSILON);
    assert_eq!(rules.accuracy_of(&[0, 1, 2, 3, 4]), rules.accuracy());
    assert_eq!(rules.center_accuracy_of(&[0, 1, 2, 3, 4]), rules.center_accuracy());
    assert_eq!(rules.accuracy_of(&[]), None);
    assert_eq!(rules.decisions_at_means(), [0, 1, 2, 3, 4]);
}

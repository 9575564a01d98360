//! Losses as frameworks scale them are multiples of the objective.

use neural_collapse::{
    ClassCounts, Error, FeatureConvention, Layer, LossConvention, Parameters, TrainingConvention, Ufm,
};
use proptest::prelude::*;
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

proptest! {
    /// The loss written out as each framework writes it, at a random point: the objective in other units.
    #[test]
    fn losses_are_multiples_of_the_objective(
        counts in prop::collection::vec(1_u64..20, 1..6),
        decay in 1e-6..1.0_f64,
        penalty in 1e-6..1.0_f64,
        seed: u64,
    ) {
        let classes = ClassCounts::new(counts).unwrap();
        let (k, n) = (classes.classes(), classes.samples());
        for loss in [LossConvention::Mean, LossConvention::HalfMean, LossConvention::Sum, LossConvention::HalfSum] {
            for features in [FeatureConvention::Total, FeatureConvention::Mean] {
                let training = TrainingConvention::new(loss, features);
                let layer_decay = training.layer_decay(decay, k).unwrap();
                let feature_decay = training.feature_decay(penalty, k, n).unwrap();
                let ufm = Ufm::new(classes.clone(), [Layer::new(3, layer_decay)], feature_decay).unwrap();
                let point = Parameters::gaussian_with_deviations(&ufm, 0.5, 0.5, &mut Xoshiro256PlusPlus::seed_from_u64(seed)).unwrap();
                let output = &point.weights()[0] * point.features();
                let mut error = 0.0;
                let mut sample = 0;
                for (class, &count) in classes.counts().iter().enumerate() {
                    for _ in 0..count {
                        error += (0..k).map(|i| (output[(i, sample)] - f64::from(u8::from(i == class))).powi(2)).sum::<f64>();
                        sample += 1;
                    }
                }
                let (k, n) = (k as f64, n as f64);
                let fit = match loss {
                    LossConvention::Mean => error / (k * n),
                    LossConvention::HalfMean => error / (2.0 * k * n),
                    LossConvention::Sum => error / n,
                    _ => error / (2.0 * n),
                };
                let square = point.features().squared_norm_l2();
                let penalty = penalty / 2.0 * if features == FeatureConvention::Mean { square / n } else { square };
                let by_hand = fit + decay / 2.0 * point.weights()[0].squared_norm_l2() + penalty;
                let ours = training.loss(ufm.objective(&point).unwrap(), ufm.outputs());
                // Sums of a few hundred squares.
                prop_assert!((ours - by_hand).abs() <= 500.0 * f64::EPSILON * by_hand);
                prop_assert!((training.objective(by_hand, ufm.outputs()) - ufm.objective(&point).unwrap()).abs()
                    <= 500.0 * f64::EPSILON * ufm.objective(&point).unwrap());
            }
        }
    }
}

#[test]
fn refuses_invalid_decays() {
    let training = TrainingConvention::new(LossConvention::Mean, FeatureConvention::Mean);
    for value in [-1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(training.layer_decay(value, 3), Err(Error::Domain { argument: "weight decay", .. })));
        assert!(matches!(training.feature_decay(value, 3, 9), Err(Error::Domain { argument: "feature decay", .. })));
    }
    assert!(matches!(training.layer_decay(1.0, 0), Err(Error::Domain { argument: "outputs", .. })));
    assert!(matches!(training.feature_decay(1.0, 3, 0), Err(Error::Domain { argument: "samples", .. })));
}

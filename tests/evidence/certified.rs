//! Certified minimizers: the largest gap over many models.

use neural_collapse::{ClassCounts, ClassWeights, Layer, Loss, Ufm};
use rand::{RngExt, rngs::Xoshiro256PlusPlus};

use crate::worst;

/// Up to `most` groups of counts in 1..10^5 with weights in 1e-3..1e3, and q = N λ/√n of the largest in 1e-3..10.
fn model(most: usize, rng: &mut Xoshiro256PlusPlus) -> Ufm {
    let (mut counts, mut weights) = (Vec::new(), Vec::new());
    let is_weighted: bool = rng.random();
    let spread = rng.random_range(0.0..5.0);
    for _ in 0..rng.random_range(1..=most) {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let count = 10_f64.powf(rng.random_range(0.0..=spread)) as u64;
        let weight = if is_weighted { 10_f64.powf(rng.random_range(-3.0..=3.0)) } else { 1.0 };
        let classes = rng.random_range(1..=4);
        counts.extend(std::iter::repeat_n(count, classes));
        weights.extend(std::iter::repeat_n(weight, classes));
    }
    let classes = ClassCounts::new(counts).unwrap();
    let q = 10_f64.powf(rng.random_range(-3.0..=1.0));
    let decay = q * (classes.group(0).count as f64).sqrt() / classes.samples() as f64;
    let width = classes.classes();
    let loss = if rng.random() { Loss::CrossEntropy } else { Loss::Squared };
    let ufm = Ufm::new(classes, [Layer::new(width, 2.0 * decay)], decay / 2.0).unwrap();
    ufm.with_loss(loss).unwrap().with_class_weights(ClassWeights::Given(weights)).unwrap().with_bias(rng.random())
}

#[test]
fn gaps_are_rounding() {
    // Asked of every model of at most 50 groups.
    worst(20, [("relative gap of certified minimizers", 1e-12)], |rng| {
        let ufm = model(50, rng);
        [ufm.certified_minimizer().unwrap().gap().abs()]
    });
}

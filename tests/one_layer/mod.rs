//! Models of one layer for the tests of certified minimizers: any loss with any options.

use neural_collapse::{ClassCounts, ClassWeights, Layer, Loss, Targets, Ufm};
use proptest::prelude::*;

/// A model of squared loss: q = N √(λ_W λ_H/n) of the largest class is `q`.
pub(crate) fn model(counts: &[u64], q: f64) -> Ufm {
    let classes = ClassCounts::new(counts).unwrap();
    let largest = classes.group(0).count as f64;
    let decay = q * largest.sqrt() / classes.samples() as f64;
    Ufm::new(classes, [Layer::new(64, 2.0 * decay)], decay / 2.0).unwrap()
}

/// What the gap promises: a few roundings of sums of R² terms.
pub(crate) const GAP: f64 = 1e-12;

#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) counts: Vec<u64>,
    pub(crate) q: f64,
    pub(crate) loss: Loss,
    pub(crate) weights: Vec<f64>,
    pub(crate) smoothing: f64,
    pub(crate) tau: f64,
    pub(crate) ldam: f64,
    pub(crate) cdt: f64,
    pub(crate) bias: Option<f64>,
}

impl Options {
    pub(crate) fn ufm(&self) -> Ufm {
        self.scaled(1.0)
    }

    /// The model with both decays times a factor: at 1, N √(λ_W λ_H/n) of the largest class is `q`.
    pub(crate) fn scaled(&self, factor: f64) -> Ufm {
        let classes = ClassCounts::new(self.counts.clone()).unwrap();
        let largest = classes.group(0).count as f64;
        let decay = factor * self.q * largest.sqrt() / classes.samples() as f64;
        let targets = Targets::smoothed(classes, self.smoothing).unwrap();
        // As wide as the rank can be, so that points are small.
        let width = targets.outputs();
        let ufm = Ufm::new(targets, [Layer::new(width, 2.0 * decay)], decay / 2.0).unwrap();
        let ufm =
            ufm.with_loss(self.loss).unwrap().with_class_weights(ClassWeights::Given(self.weights.clone())).unwrap();
        let ufm =
            ufm.with_logit_adjustment(self.tau).unwrap().with_ldam(self.ldam).unwrap().with_cdt(self.cdt).unwrap();
        match self.bias {
            Some(decay) => ufm.with_bias_decay(decay).unwrap(),
            None => ufm.without_bias(),
        }
    }
}

prop_compose! {
    pub(crate) fn groups()(groups in prop::collection::vec((1_u64..500, 1_usize..4), 1..6)) -> Vec<u64> {
        groups.into_iter().flat_map(|(count, classes)| vec![count; classes]).collect()
    }
}

prop_compose! {
    pub(crate) fn options()(counts in groups())(
        weights in prop_oneof![
            Just(vec![1.0; counts.len()]),
            prop::collection::vec((-7.0..7.0_f64).prop_map(f64::exp), counts.len()),
        ],
        q in (-7.0..2.3_f64).prop_map(f64::exp),
        loss in prop_oneof![Just(Loss::Squared), Just(Loss::CrossEntropy)],
        smoothing in prop_oneof![Just(0.0), 0.0..0.5_f64],
        tau in prop_oneof![Just(0.0), -3.5..3.5_f64],
        ldam in prop_oneof![Just(0.0), 0.0..2.0_f64, 2.0..100.0_f64],
        cdt in prop_oneof![Just(0.0), 0.0..0.5_f64],
        bias in prop_oneof![Just(None), Just(Some(0.0)), (-20.0..1.0_f64).prop_map(|x| Some(x.exp()))],
        counts in Just(counts),
    ) -> Options {
        Options { counts, q, loss, weights, smoothing, tau, ldam, cdt, bias }
    }
}

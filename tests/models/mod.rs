//! Random models over all options of the loss, for the tests of the objective and of descents.

use std::ops::RangeInclusive;

use neural_collapse::{ClassCounts, ClassWeights, Layer, Loss, Parameters, Targets, Ufm, faer::Mat};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus};

pub(crate) fn rng(seed: u64) -> Xoshiro256PlusPlus {
    Xoshiro256PlusPlus::seed_from_u64(seed)
}

/// What a model is made of. Weights and adjustments of a class are drawn from the seed.
#[derive(Clone, Debug)]
#[allow(clippy::struct_excessive_bools)] // Every option by itself.
pub(crate) struct Options {
    pub(crate) counts: Vec<u64>,
    pub(crate) depth: usize,
    pub(crate) width: usize,
    pub(crate) cross_entropy: bool,
    pub(crate) smoothing: f64,
    pub(crate) weights: bool,
    pub(crate) shifts: bool,
    pub(crate) margins: bool,
    pub(crate) scales: bool,
    /// `None` for no bias, zero for a free one.
    pub(crate) bias: Option<f64>,
    pub(crate) nonnegative: bool,
    /// q of the largest class for the plain squared loss.
    pub(crate) q: f64,
    pub(crate) seed: u64,
}

/// Labels with every option of the loss.
pub(crate) fn labels(depth: RangeInclusive<usize>, nonnegative: bool) -> impl Strategy<Value = Options> {
    let bias = prop_oneof![Just(None), Just(Some(0.0)), (0.01..2.0_f64).prop_map(Some)];
    let smoothing = prop_oneof![Just(0.0), 0.0..0.5_f64];
    let shape = (prop::collection::vec(1_u64..12, 1..6), depth, 1_usize..9, -2.0..0.2_f64);
    let adjusted = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    (shape, any::<bool>(), smoothing, adjusted, bias, any::<u64>()).prop_map(
        move |((counts, depth, width, log_q), cross_entropy, smoothing, adjusted, bias, seed)| Options {
            counts,
            depth,
            width,
            cross_entropy,
            smoothing,
            weights: adjusted.0,
            shifts: adjusted.1,
            margins: adjusted.2,
            scales: adjusted.3,
            bias,
            nonnegative,
            q: 10_f64.powf(log_q),
            seed,
        },
    )
}

impl Options {
    /// The model, with unequal decays of its blocks.
    pub(crate) fn model(&self) -> Ufm {
        let classes = ClassCounts::new(self.counts.clone()).unwrap();
        let targets = Targets::smoothed(classes.clone(), self.smoothing).unwrap();
        let mut random = rng(self.seed);
        let mut list = |from: f64, to: f64| -> Vec<f64> {
            (0..self.counts.len()).map(|_| random.random_range(from..to)).collect()
        };
        let mut ufm = self.with_layers(targets);
        if self.weights {
            ufm = ufm.with_class_weights(ClassWeights::Given(list(0.2, 5.0))).unwrap();
        }
        if self.shifts {
            ufm = ufm.with_logit_shifts(list(-2.0, 2.0)).unwrap();
        }
        if self.margins {
            ufm = ufm.with_margins(list(0.0, 1.0)).unwrap();
        }
        if self.scales {
            ufm = ufm.with_logit_scales(list(0.4, 1.5)).unwrap();
        }
        ufm
    }

    /// The same model with the samples' targets in a matrix: probabilities, drawn anew for every sample.
    #[allow(dead_code)] // Not every test has soft targets.
    pub(crate) fn soft_model(&self) -> Ufm {
        let samples = usize::try_from(self.counts.iter().sum::<u64>()).unwrap();
        let mut random = rng(self.seed);
        let mut targets = Mat::from_fn(self.counts.len(), samples, |_, _| random.random_range(0.0..1.0_f64).powi(4));
        for column in targets.col_iter_mut() {
            let sum: f64 = column.as_ref().iter().sum();
            column.iter_mut().for_each(|entry| *entry /= sum);
        }
        self.with_layers(Targets::matrix(targets).unwrap())
    }

    fn with_layers(&self, targets: Targets) -> Ufm {
        let (l, largest) = (self.depth as f64, *self.counts.iter().max().unwrap() as f64);
        let c = self.q * largest.powf(l / (l + 1.0)) / targets.samples() as f64;
        let layers: Vec<Layer> =
            (0..self.depth).map(|l| Layer::new(self.width, c * 3_f64.powf(l as f64 - 1.0))).collect();
        let feature_decay = c.powf(l + 1.0) / layers.iter().map(|layer| layer.decay).product::<f64>();
        let ufm = Ufm::new(targets, layers, feature_decay).unwrap();
        let ufm = match self.bias {
            None => ufm.without_bias(),
            Some(decay) => ufm.with_bias_decay(decay).unwrap(),
        };
        let ufm = ufm.with_loss(if self.cross_entropy { Loss::CrossEntropy } else { Loss::Squared }).unwrap();
        if self.nonnegative { ufm.with_nonnegative_features() } else { ufm }
    }

    /// A Gaussian start with a bias.
    pub(crate) fn start(&self, ufm: &Ufm, scale: f64) -> Parameters {
        let mut random = rng(self.seed ^ 1);
        let (weights, features, bias) = Parameters::gaussian(ufm, scale, &mut random).unwrap().into_parts();
        let bias = bias.map(|bias| bias.iter().map(|_| random.random_range(-1.0..1.0)).collect());
        Parameters::new(ufm, weights, features, bias).unwrap()
    }
}

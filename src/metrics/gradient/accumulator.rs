//! From batches of samples to gradients, in one pass.

use std::sync::Arc;

use faer::{Col, Mat, MatRef};

use super::{
    super::{
        features::{MAX_SAMPLES, share, takes_batches},
        nearest_center::NearestCenter,
    },
    network::{Network, NetworkGradient},
    part::{Part, Work},
};
use crate::{
    error::{Block, Error},
    linalg::{
        checks::{are_equal, check_shape},
        memory::check_room,
    },
    model::Ufm,
    parameters::check_layers,
};

/// Gathers, in a pass over the samples, the loss of a network and the gradient of that loss, under one or several models:
/// for the objective, and for the decays that the network was trained with ([`NetworkGradient::implied_decays`]).
///
/// A model says which loss, class weights, label smoothing and adjustments of logits there are, and whether features may
/// be negative. Its decays say nothing here. All models share one product W_{L:1} H.
///
/// Cost: 2 N d K operations, and 2 N d K more for every model, and again 2 N d K for the misfit of its features, which
/// from 2^15 samples on looks at one in eight; models d K numbers, times one to eight.
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Loss, Ufm, metrics::GradientAccumulator};
///
/// // A network at the minimum of cross-entropy with these decays.
/// let squared = Ufm::new(ClassCounts::new([30, 20, 10])?, [Layer::new(3, 2e-2)], 1e-3)?;
/// let entropy = squared.clone().with_loss(Loss::CrossEntropy)?;
/// let (weights, features, bias) = entropy.certified_minimizer()?.parameters()?.into_parts();
/// let labels: Vec<usize> = (0..3).flat_map(|class| vec![class; [30, 20, 10][class]]).collect();
///
/// let mut pass = GradientAccumulator::new(vec![squared, entropy], weights, bias)?;
/// pass.add(features.as_ref(), &labels)?;
/// let gradients = pass.finish()?;
///
/// // The arrays alone say which loss it was, and which decays.
/// let under_squared = gradients[0].implied_decays()?.layers[0].unwrap();
/// assert!(under_squared.misfit > 0.1);
/// let implied = gradients[1].implied_decays()?;
/// let (layer, features) = (implied.layers[0].unwrap(), implied.features.unwrap());
/// assert!((layer.decay / 2e-2 - 1.0).abs() < 1e-6 && layer.misfit < 1e-6);
/// assert!((features.decay / 1e-3 - 1.0).abs() < 1e-6);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "super::saved::Read"))]
pub struct GradientAccumulator {
    pub(super) network: Arc<Network>,
    pub(super) models: Vec<Ufm>,
    pub(super) decisions: Option<NearestCenter>,
    /// Shares of every batch that are worked on at the same time.
    pub(super) parts: Vec<Part>,
}

takes_batches!(GradientAccumulator);

impl GradientAccumulator {
    /// An accumulator for layers W_1 .. W_L and a bias, under each of these models: of the same class counts, whose
    /// depth and widths are those of the layers.
    ///
    /// # Errors
    ///
    /// [`Error::NoModels`]; [`Error::NoClassCounts`] if the targets of a model are not labels, [`Error::ClassCounts`] if models differ in
    /// class counts; [`Error::LayerCount`], [`Error::Shape`], [`Error::BiasPresence`], [`Error::NotFinite`] for layers
    /// and bias; [`Error::TooLarge`].
    pub fn new(models: impl Into<Vec<Ufm>>, weights: Vec<Mat<f64>>, bias: Option<Col<f64>>) -> Result<Self, Error> {
        let models = models.into();
        let first = models.first().ok_or(Error::NoModels)?;
        let classes = first.class_counts().ok_or(Error::NoClassCounts)?;
        for model in &models {
            model.class_counts().ok_or(Error::NoClassCounts)?.check_same(classes.counts())?;
            check_layers(model, &weights, bias.as_ref().map(Col::as_ref))?;
        }
        let (width, outputs) = (first.feature_width(), first.outputs());
        check_room(&[("gradients of the network", width, outputs as u64 * (models.len() as u64 + 1))])?;
        let product = weights[1..].iter().fold(weights[0].clone(), |product, weights| weights * product);
        let parts = Part::all(&product, models.len())?;
        Ok(Self { network: Arc::new(Network { weights, bias, product }), models, decisions: None, parts })
    }

    /// The same with the decisions of the network and of its nearest class means, NC4, which need the same logits: one
    /// pass takes 2 N d K operations less than two. Give an accumulator that has seen no sample of this pass, of the same
    /// product and bias.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if widths or numbers of classes differ; [`Error::Unmergeable`] if the networks do.
    pub fn with_decisions(self, decisions: NearestCenter) -> Result<Self, Error> {
        if self.decisions.is_some() || self.parts.iter().any(|part| part.counts.iter().any(|&count| count > 0)) {
            // Their sums are not about the center of these decisions.
            return Err(Error::Unmergeable { what: "the samples seen so far" });
        }
        self.continuing(decisions)
    }

    /// The same for an accumulator whose samples these decisions have seen.
    pub(super) fn continuing(mut self, decisions: NearestCenter) -> Result<Self, Error> {
        let Network { product, bias, .. } = &*self.network;
        let rules = decisions.rules();
        check_shape(Block::Product, product.shape(), rules.classifiers.shape())?;
        if !are_equal(product.as_ref(), rules.classifiers.as_ref()) || !rules.has_bias(bias.as_ref()) {
            return Err(Error::Unmergeable { what: "the network" });
        }
        self.decisions = Some(decisions);
        Ok(self)
    }

    /// The decisions, if they are taken in.
    #[must_use]
    pub fn decisions(&self) -> Option<&NearestCenter> {
        self.decisions.as_ref()
    }

    /// The width d, and the number of classes.
    #[must_use]
    pub fn shape(&self) -> (usize, usize) {
        (self.network.product.ncols(), self.network.product.nrows())
    }

    /// Adds a batch that has passed the checks of `add`.
    pub(in crate::metrics) fn add_checked<T: Copy + Into<f64> + Sync>(
        &mut self,
        features: MatRef<'_, T>,
        labels: &[usize],
    ) {
        let (product, bias) = (self.network.product.as_ref(), self.network.bias.as_ref());
        let work =
            Work { product, bias, models: &self.models, rules: self.decisions.as_ref().map(NearestCenter::rules) };
        share(&mut self.parts, labels.len(), |part, samples, par| {
            part.add(features.subcols(samples.start, samples.len()), &labels[samples], &work, par);
        });
        if let Some(decisions) = &mut self.decisions {
            // Whole numbers, in any order.
            self.parts.iter_mut().for_each(|part| decisions.absorb(&std::mem::take(&mut part.tally)));
        }
    }

    /// Takes in the samples of another accumulator of the same network and models, of which this one has seen none. A
    /// merge with an error takes in nothing. The same shards merged in the same order give the same result to the last
    /// bit.
    ///
    /// # Errors
    ///
    /// [`Error::Shape`] if widths or numbers of classes differ; [`Error::Unmergeable`] if layers, bias or models do;
    /// [`Error::TooManySamples`].
    pub fn merge(&mut self, mut other: Self) -> Result<(), Error> {
        check_shape(Block::Product, self.network.product.shape(), other.network.product.shape())?;
        if self.network != other.network {
            return Err(Error::Unmergeable { what: "the network" });
        }
        if self.models != other.models {
            return Err(Error::Unmergeable { what: "the models" });
        }
        if self.decisions.is_some() != other.decisions.is_some() {
            return Err(Error::Unmergeable { what: "what they gather, decisions or not," });
        }
        let shard = Part::total(std::mem::take(&mut other.parts));
        let samples = |part: &Part| part.counts.iter().sum::<u64>();
        if self.parts.iter().chain([&shard]).map(samples).fold(0, u64::saturating_add) > MAX_SAMPLES {
            return Err(Error::TooManySamples { class: shard.counts.len() - 1 });
        }
        // In the first part alone, as for the other accumulators: then only the order of shards counts.
        let empty = Part::all(&self.network.product, self.models.len())?;
        if let (Some(own), Some(others)) = (&mut self.decisions, &other.decisions) {
            own.merge(others)?;
        }
        let total = Part::total(std::mem::replace(&mut self.parts, empty));
        self.parts[0].absorb(&total);
        self.parts[0].absorb(&shard);
        Ok(())
    }

    /// The gradients of everything added so far, one for each model.
    ///
    /// # Errors
    ///
    /// [`Error::ClassCounts`] unless the samples added are those of the models' class counts.
    pub fn finish(self) -> Result<Vec<NetworkGradient>, Error> {
        Ok(self.finish_with_decisions()?.0)
    }

    /// The same, and the decisions that were taken in.
    ///
    /// # Errors
    ///
    /// As [`GradientAccumulator::finish`].
    pub fn finish_with_decisions(self) -> Result<(Vec<NetworkGradient>, Option<NearestCenter>), Error> {
        let Part { counts, mut sums, square, is_nonnegative, logits, .. } = Part::total(self.parts);
        let samples: f64 = counts.iter().map(|&count| count as f64).sum();
        let spread = logits.per_sample(samples);
        if let Some(decisions) = &self.decisions {
            // D Hᵀ = D (H - c 1ᵀ)ᵀ + D 1 cᵀ
            for sums in &mut sums {
                sums.outer += &sums.total * decisions.rules().center.transpose();
            }
        }
        self.models.first().and_then(Ufm::class_counts).map_or(Ok(()), |classes| classes.check_same(&counts))?;
        let models = self.models.into_iter().zip(sums);
        let gradient = |(model, sums)| NetworkGradient {
            model,
            network: Arc::clone(&self.network),
            sums,
            square,
            is_nonnegative,
            spread,
        };
        Ok((models.map(gradient).collect(), self.decisions))
    }
}

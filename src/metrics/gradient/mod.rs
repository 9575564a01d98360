//! The loss of a network and what its gradient is made of, gathered in one pass over any number of samples.

mod from_statistics;
mod implied;
mod kernels;
mod part;
mod spread;

use std::sync::Arc;

use faer::{Col, Mat, MatRef};

pub use self::implied::{ImpliedDecay, ImpliedDecays};
use self::part::{Part, Sums, Work};
use super::{
    distance::check_network,
    features::{Label, MAX_SAMPLES, Rows, check_batch, indices, share},
    nearest_center::NearestCenter,
};
use crate::{
    error::{Block, Error},
    linalg::{
        checks::{are_equal, check_shape},
        memory::check_room,
    },
    model::Ufm,
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
pub struct GradientAccumulator {
    network: Arc<Network>,
    models: Vec<Ufm>,
    decisions: Option<NearestCenter>,
    /// Shares of every batch that are worked on at the same time.
    parts: Vec<Part>,
}

/// The last layers of a network.
#[derive(Debug, PartialEq)]
struct Network {
    /// W_1 .. W_L.
    weights: Vec<Mat<f64>>,
    bias: Option<Col<f64>>,
    /// W_{L:1}, K × d.
    product: Mat<f64>,
}

/// The loss of a network and its gradient, under one model, over all samples of a pass.
#[derive(Clone, Debug)]
pub struct NetworkGradient {
    model: Ufm,
    network: Arc<Network>,
    sums: Sums,
    /// ‖H‖².
    square: f64,
    is_nonnegative: bool,
    /// How much outputs differ from sample to sample, in the quadratic mean.
    spread: f64,
}

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
            check_network(model, &weights, bias.as_ref().map(Col::as_ref))?;
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
    pub fn with_decisions(mut self, decisions: NearestCenter) -> Result<Self, Error> {
        let Network { product, bias, .. } = &*self.network;
        let rules = decisions.rules();
        check_shape(Block::Product, product.shape(), rules.classifiers.shape())?;
        if !are_equal(product.as_ref(), rules.classifiers.as_ref()) || !rules.has_bias(bias.as_ref()) {
            return Err(Error::Unmergeable { what: "the network" });
        }
        if self.decisions.is_some() || self.parts.iter().any(|part| part.counts.iter().any(|&count| count > 0)) {
            // Their sums are not about the center of these decisions.
            return Err(Error::Unmergeable { what: "the samples seen so far" });
        }
        self.decisions = Some(decisions);
        Ok(self)
    }

    /// The decisions, if they are taken in.
    #[must_use]
    pub fn decisions(&self) -> Option<&NearestCenter> {
        self.decisions.as_ref()
    }

    /// Adds a batch, as [`FeatureAccumulator::add`](super::FeatureAccumulator::add).
    ///
    /// # Errors
    ///
    /// As [`FeatureAccumulator::add`](super::FeatureAccumulator::add).
    pub fn add<T: Copy + Into<f64> + Sync>(
        &mut self,
        features: MatRef<'_, T>,
        labels: &[impl Label],
    ) -> Result<(), Error> {
        let product = self.network.product.as_ref();
        check_batch(features, labels.len(), product.ncols())?;
        let labels = &indices(labels, product.nrows())?[..];
        let bias = self.network.bias.as_ref();
        let work =
            Work { product, bias, models: &self.models, rules: self.decisions.as_ref().map(NearestCenter::rules) };
        share(&mut self.parts, labels.len(), |part, samples, par| {
            part.add(features.subcols(samples.start, samples.len()), &labels[samples], &work, par);
        });
        if let Some(decisions) = &mut self.decisions {
            // Whole numbers, in any order.
            self.parts.iter_mut().for_each(|part| decisions.absorb(&std::mem::take(&mut part.tally)));
        }
        Ok(())
    }

    /// Adds a batch with one row for each sample: `features` is B × d, as numbers one after another or as a matrix,
    /// `labels` are as for [`GradientAccumulator::add`]. Nothing is copied.
    ///
    /// # Errors
    ///
    /// As [`GradientAccumulator::add`]; [`Error::RowsLength`] if there are not B d numbers.
    pub fn add_rows<'a, T: Copy + Into<f64> + Sync + 'a>(
        &mut self,
        features: impl Into<Rows<'a, T>>,
        labels: &[impl Label],
    ) -> Result<(), Error> {
        let width = self.network.product.ncols();
        self.add(features.into().into_columns(width, labels.len())?, labels)
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
        Ok(models.map(gradient).collect())
    }
}

impl NetworkGradient {
    /// The model.
    #[must_use]
    pub fn model(&self) -> &Ufm {
        &self.model
    }

    /// The mean loss 1/N Σ_j α_j l_j, without penalties.
    #[must_use]
    pub fn loss(&self) -> f64 {
        self.sums.loss / self.samples()
    }

    /// The objective of a model at this network, penalties included, as [`Ufm::objective`]: of the model of the pass, or
    /// of one with its loss and other decays.
    ///
    /// # Errors
    ///
    /// [`Error::OtherLoss`] if the model has another loss, other class weights, targets or adjustments of logits;
    /// [`Error::LayerCount`], [`Error::BiasPresence`], [`Error::Shape`] if the network is not one of the model.
    pub fn objective(&self, ufm: &Ufm) -> Result<f64, Error> {
        let Network { weights, bias, .. } = &*self.network;
        if ufm.targets() != self.model.targets() || ufm.output_loss() != self.model.output_loss() {
            return Err(Error::OtherLoss);
        }
        check_network(ufm, weights, bias.as_ref().map(Col::as_ref))?;
        let layers = ufm.layers().iter().zip(weights);
        let weights: f64 = layers.map(|(layer, weights)| layer.decay * weights.squared_norm_l2() / 2.0).sum();
        let bias = bias.as_ref().map_or(0.0, Col::squared_norm_l2);
        Ok(self.loss() + weights + ufm.feature_decay() * self.square / 2.0 + ufm.bias_decay() * bias / 2.0)
    }

    /// Whether no feature is negative, as after a ReLU.
    #[must_use]
    pub fn has_nonnegative_features(&self) -> bool {
        self.is_nonnegative
    }

    /// How much the outputs W_{L:1} h + b differ from sample to sample: the root of their mean square about their mean.
    #[must_use]
    pub fn output_spread(&self) -> f64 {
        self.spread
    }

    /// ‖R 1‖/(√N ‖R‖), from 0 to 1: 0 where a free bias is at rest.
    #[must_use]
    pub fn bias_pull(&self) -> f64 {
        let size = (self.samples() * self.sums.residual).sqrt();
        if size > 0.0 { self.sums.total.norm_l2() / size } else { 0.0 }
    }

    fn samples(&self) -> f64 {
        self.model.samples() as f64
    }
}

//! The unconstrained features model: class counts, layers and decays, validated once.

mod decays;
mod losses;
mod scale;

pub(crate) use self::decays::Decays;
use crate::{
    classes::ClassCounts,
    error::{Block, Error},
    loss::OutputLoss,
    targets::Targets,
};

/// One linear layer W_l: the width d_l of what it reads, and the decay λ_l of its weights.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Layer {
    /// The number of columns of W_l, d_l. The width d_1 of the first layer is the feature dimension.
    pub width: usize,
    /// The regularization λ_l > 0 in λ_l/2 ‖W_l‖².
    pub decay: f64,
}

impl Layer {
    /// A layer that reads `width` numbers, with decay λ_l = `decay`. Checked when a [`Ufm`] is made of it.
    #[must_use]
    pub fn new(width: usize, decay: f64) -> Self {
        Self { width, decay }
    }
}

/// The L-extended unconstrained features model (Liu 2024, Definition 3.1).
///
/// ```text
/// f(W_1 .. W_L, H, b) = 1/(2N) ‖W_L ··· W_1 H + b 1ᵀ - Y‖² + Σ_l λ_l/2 ‖W_l‖² + λ_H/2 ‖H‖²
/// ```
///
/// with W_l of d_{l+1} × d_l (d_{L+1} = K), H of d_1 × N, b of K, and Y the K × N matrix of one-hot labels. L = 1 is
/// the plain model (4.1) without and (4.2) with a bias; L > 1 is (4.3) with a bias and the model of Dang et al. 2023
/// without. The bias is not regularized.
///
/// Other losses, penalties and signs are set on a model: [`Ufm::with_loss`] (cross-entropy), class weights, shifts, margins
/// and scales of logits, [`Ufm::with_bias_decay`], [`Ufm::with_nonnegative_features`]. Objective, gradient and descents
/// are those of what is set. [`Ufm::minimizer`] and whatever else needs the closed form refuses it with
/// [`Error::NoClosedForm`].
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Ufm};
///
/// // 10 imbalanced classes, 512 features, weight decay 5e-3, feature decay 1e-4, with a bias.
/// let ufm = Ufm::new(ClassCounts::paper_cifar10(), [Layer::new(512, 5e-3)], 1e-4)?;
/// let minimizer = ufm.minimizer()?;
/// assert!((minimizer.objective() - 0.098_814_284_543_124).abs() < 1e-15);
/// assert_eq!(minimizer.rank(), 9);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "Read"))]
pub struct Ufm {
    targets: Targets,
    layers: Vec<Layer>,
    feature_decay: f64,
    bias: bool,
    bias_decay: f64,
    loss: OutputLoss,
    nonnegative: bool,
}

impl Ufm {
    /// The model with a bias that is not penalized: (4.2) for one layer, (4.3) for more. `layers` are W_1 .. W_L in
    /// that order.
    ///
    /// [`Ufm::without_bias`] and [`Ufm::with_bias`] give the other models.
    ///
    /// # Errors
    ///
    /// [`Error::NoLayers`], [`Error::ZeroWidth`], [`Error::Decay`].
    pub fn new(targets: impl Into<Targets>, layers: impl Into<Vec<Layer>>, feature_decay: f64) -> Result<Self, Error> {
        let (targets, layers) = (targets.into(), layers.into());
        if layers.is_empty() {
            return Err(Error::NoLayers);
        }
        for (l, layer) in layers.iter().enumerate() {
            if layer.width == 0 {
                return Err(Error::ZeroWidth { layer: l });
            }
            check_decay(Block::Weights(l), layer.decay)?;
        }
        check_decay(Block::Features, feature_decay)?;
        Ok(Self {
            targets,
            layers,
            feature_decay,
            bias: true,
            bias_decay: 0.0,
            loss: OutputLoss::default(),
            nonnegative: false,
        })
    }

    /// The same model without a bias: (4.1) for one layer, that of Dang et al. 2023 for more.
    #[must_use]
    pub fn without_bias(self) -> Self {
        self.with_bias(false)
    }

    /// The same model with or without a bias, for programs that decide at run time.
    #[must_use]
    pub fn with_bias(self, has_bias: bool) -> Self {
        Self { bias: has_bias, ..self }
    }

    /// The targets Y.
    #[must_use]
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The class counts; `None` if the targets are a matrix.
    #[must_use]
    pub fn class_counts(&self) -> Option<&ClassCounts> {
        self.targets.class_counts()
    }

    /// The number of outputs K. If the targets are labels, this is the number of classes.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.targets.outputs()
    }

    /// The number of samples N.
    #[must_use]
    pub fn samples(&self) -> u64 {
        self.targets.samples()
    }

    /// The layers W_1 .. W_L.
    #[must_use]
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// The number of linear layers L.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.layers.len()
    }

    /// The decay λ_H of the features.
    #[must_use]
    pub fn feature_decay(&self) -> f64 {
        self.feature_decay
    }

    /// Whether the model has a bias.
    #[must_use]
    pub fn has_bias(&self) -> bool {
        self.bias
    }

    /// The rows and columns of W_l, `l` from 0: d_{l+1} × d_l, with d_{L+1} = K.
    ///
    /// # Panics
    ///
    /// If `l` is not below the number of layers.
    #[must_use]
    pub fn weight_shape(&self, l: usize) -> (usize, usize) {
        let depth = self.depth();
        assert!(l < depth, "there is no layer {l}: there are {depth}, counted from 0");
        let rows = self.layers.get(l + 1).map_or(self.outputs(), |layer| layer.width);
        (rows, self.layers[l].width)
    }

    /// The feature dimension d_1.
    #[must_use]
    pub fn feature_width(&self) -> usize {
        self.layers[0].width
    }

    /// The largest rank that the prediction W_L ··· W_1 H can have: min(K, d_1, ..., d_L, N).
    #[must_use]
    pub fn rank_bound(&self) -> usize {
        let samples = usize::try_from(self.samples()).unwrap_or(usize::MAX);
        self.layers.iter().map(|layer| layer.width).fold(self.outputs().min(samples), usize::min)
    }

    /// The same model with layers of other widths.
    pub(crate) fn with_layers(&self, layers: Vec<Layer>) -> Self {
        Self { layers, ..self.clone() }
    }

    /// The decays together.
    pub(crate) fn decays(&self) -> Decays {
        Decays::new(self)
    }
}

fn check_decay(block: Block, value: f64) -> Result<(), Error> {
    // Written so that NaN fails.
    if value > 0.0 && value.is_finite() { Ok(()) } else { Err(Error::Decay { block, value }) }
}

/// A model as it is read, before its checks.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(rename = "Ufm", deny_unknown_fields)]
struct Read {
    targets: Targets,
    layers: Vec<Layer>,
    feature_decay: f64,
    bias: bool,
    #[serde(default)]
    bias_decay: f64,
    #[serde(default)]
    loss: OutputLoss,
    #[serde(default)]
    nonnegative: bool,
}

#[cfg(feature = "serde")]
impl TryFrom<Read> for Ufm {
    type Error = Error;

    fn try_from(read: Read) -> Result<Self, Error> {
        let Read { targets, layers, feature_decay, bias, bias_decay, loss, nonnegative } = read;
        let ufm = Self::new(targets, layers, feature_decay)?.with_bias_decay(bias_decay)?.with_bias(bias);
        let ufm = ufm.with_output_loss(&loss)?;
        Ok(if nonnegative { ufm.with_nonnegative_features() } else { ufm })
    }
}

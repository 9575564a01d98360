//! The variables of a model: weights, features and bias, and random starts.

use faer::{Col, ColRef, Mat, MatRef};

use crate::{
    classes::ClassCounts,
    error::Error,
    linalg::{checks::are_equal, memory::try_zeros},
    model::Ufm,
};

mod blocks;
mod means;
#[cfg(feature = "serde")]
mod saved;
mod start;

#[cfg(feature = "serde")]
pub(crate) use saved::Read;
pub(crate) use {
    blocks::check_layers,
    means::{class_means, unweighted, weighted},
    start::{fill, gaussian_deviations},
};

/// The variables of a [`Ufm`] or its gradient: W_1 .. W_L, H and b.
///
/// The columns of H are the samples: those of the target matrix, or sorted by class, first the n_0 samples of class 0,
/// then the n_1 of class 1, and so on. Shapes and finiteness are checked once, when the parameters are made. Parameters
/// remember the class counts that their columns are sorted by: a model of other counts refuses them with
/// [`Error::ClassCounts`], even if all shapes agree.
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Error, Layer, Parameters, Ufm, faer::mat};
///
/// // Two samples of class 0 and one of class 1, features in the plane.
/// let ufm = Ufm::new(ClassCounts::new([2, 1])?, [Layer::new(2, 0.1)], 0.1)?.without_bias();
/// let (weights, features) = (mat![[1.0, 0.0], [0.0, 1.0]], mat![[1.0, 1.0, 0.0], [0.0, 0.0, 0.5]]);
/// let parameters = Parameters::new(&ufm, vec![weights], features, None)?;
/// // 0.5² over 2N, and half a tenth of ‖W‖² = 2 and of ‖H‖² = 2.25.
/// let objective = 0.25 / 6.0 + 0.05 * 2.0 + 0.05 * 2.25;
/// assert!((ufm.objective(&parameters)? - objective).abs() < 1e-15);
/// assert_eq!(parameters.class_means(&ufm)?, mat![[1.0, 0.0], [0.0, 0.5]]);
/// # Ok::<(), Error>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "saved::Read"))]
pub struct Parameters {
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub(crate) weights: Vec<Mat<f64>>,
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub(crate) features: Mat<f64>,
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    pub(crate) bias: Option<Col<f64>>,
    /// What the columns of H are sorted by; a shared handle, of which clones cost nothing.
    pub(crate) classes: Option<ClassCounts>,
}

impl PartialEq for Parameters {
    fn eq(&self, other: &Self) -> bool {
        let blocks = || self.blocks().zip(other.blocks());
        self.weights.len() == other.weights.len()
            && self.bias.is_some() == other.bias.is_some()
            && self.classes == other.classes
            && blocks().all(|(one, other)| are_equal(one, other))
    }
}

impl Parameters {
    /// Parameters for `ufm`: `weights` are W_1 .. W_L in that order, W_l of d_{l+1} × d_l; `features` is H, d_1 × N;
    /// `bias` is b, of length K, present if and only if the model has one. If the targets are labels, the columns of H
    /// must be sorted by class, with the class counts of `ufm`.
    ///
    /// # Errors
    ///
    /// [`Error::LayerCount`], [`Error::BiasPresence`], [`Error::Shape`], [`Error::NotFinite`].
    pub fn new(ufm: &Ufm, weights: Vec<Mat<f64>>, features: Mat<f64>, bias: Option<Col<f64>>) -> Result<Self, Error> {
        let parameters = Self { weights, features, bias, classes: ufm.class_counts().cloned() };
        parameters.check_shapes(ufm)?;
        parameters.check_finite()?;
        Ok(parameters)
    }

    /// All zeros: a critical point of every model without a bias, and its global minimizer if every direction has
    /// collapsed. With a bias the same holds for the point whose b is the mean of the targets and whose other blocks
    /// are zero.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the features do not fit in memory.
    pub fn zeros(ufm: &Ufm) -> Result<Self, Error> {
        Self::with_columns(ufm, ufm.samples())
    }

    /// The weights W_1 .. W_L.
    #[must_use]
    pub fn weights(&self) -> &[Mat<f64>] {
        &self.weights
    }

    /// The features H, d_1 × N, samples sorted by class or as in the target matrix.
    #[must_use]
    pub fn features(&self) -> MatRef<'_, f64> {
        self.features.as_ref()
    }

    /// The bias b; `None` if the model has none.
    #[must_use]
    pub fn bias(&self) -> Option<ColRef<'_, f64>> {
        self.bias.as_ref().map(Col::as_ref)
    }

    /// The class counts that the columns of H are sorted by; `None` if the parameters were made for a matrix of
    /// targets.
    #[must_use]
    pub fn class_counts(&self) -> Option<&ClassCounts> {
        self.classes.as_ref()
    }

    /// Takes the parameters apart into weights, features and bias, which [`Parameters::new`] accepts again.
    #[must_use]
    pub fn into_parts(self) -> (Vec<Mat<f64>>, Mat<f64>, Option<Col<f64>>) {
        (self.weights, self.features, self.bias)
    }

    /// The product W_{L:1} = W_L ··· W_1, K × d_1.
    #[must_use]
    pub fn product(&self) -> Mat<f64> {
        let mut product = self.weights[0].clone();
        for weights in &self.weights[1..] {
            product = weights * product;
        }
        product
    }

    /// Class means H̄, d_1 × K.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets are not labels; as [`Ufm::objective`] if the parameters belong to
    /// another model.
    pub fn class_means(&self, ufm: &Ufm) -> Result<Mat<f64>, Error> {
        self.check_shapes(ufm)?;
        let classes = ufm.class_counts().ok_or(Error::NoClassCounts)?;
        Ok(class_means(classes, self.features.as_ref()))
    }

    /// A placeholder that belongs to no model, left behind when parameters are moved out.
    pub(crate) fn empty() -> Self {
        Self { weights: Vec::new(), features: Mat::new(), bias: None, classes: None }
    }

    /// Zeros, with this many columns of features.
    pub(crate) fn with_columns(ufm: &Ufm, columns: u64) -> Result<Self, Error> {
        let weights = |l| try_zeros("weights", ufm.weight_shape(l).0, ufm.weight_shape(l).1 as u64);
        Ok(Self {
            weights: (0..ufm.depth()).map(weights).collect::<Result<_, _>>()?,
            features: try_zeros("features H", ufm.feature_width(), columns)?,
            bias: ufm.has_bias().then(|| Col::zeros(ufm.outputs())),
            classes: ufm.class_counts().cloned(),
        })
    }
}

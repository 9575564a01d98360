//! The variables of a model: weights, features and bias, and random starts.

use faer::{Col, ColRef, Mat, MatMut, MatRef, Scale};
use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, StandardNormal};

use crate::{
    classes::{ClassCounts, root},
    error::{Block, Error, check_not_negative, check_positive},
    linalg::{
        checks::{are_equal, check_finite, check_shape},
        memory::try_zeros,
    },
    model::Ufm,
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
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "Read"))]
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

    /// A Gaussian start whose scale means the same for every model: in the balanced variables √λ_l W_l and √λ_H H̄D,
    /// each block is `scale` times the level √τ, τ = (λ_H λ_1 ··· λ_L n_max)^{1/(L+1)}.
    ///
    /// At a minimizer every block has the same singular values in these variables, none larger than √τ. A Gaussian
    /// p × q matrix of standard deviation s has its largest singular value near s (√p + √q), so that
    ///
    /// ```text
    /// entries of W_l  ~  N(0, v_l²),   v_l = scale · √(τ/λ_l) / (√d_l + √d_{l+1})
    /// entries of H    ~  N(0, v_H²),   v_H = scale · √(τ/λ_H) / (√d_1 + √K)
    /// b               =  0
    /// ```
    ///
    /// For L = 1 any positive scale leads to the global minimum, but a larger scale takes more steps. The level of H̄ D
    /// is that of a minimizer, and the deviations from class means are √(N/K) times as large. With 10⁸ samples for each
    /// class, or a scale of 10⁴, this can take more than 10⁵ steps. Then use L-BFGS, a smaller scale or a start without
    /// deviations ([`Point::collapsed`](crate::Point::collapsed)). For L ≥ 2 zero is a local minimizer, and a start far
    /// below the balanced level ends there: choose a scale of about 1 and widths of several times K. For many layers
    /// even these can be too small.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless `scale` is positive and finite; [`Error::TooLarge`] if the features do not fit in
    /// memory.
    pub fn gaussian(ufm: &Ufm, scale: f64, rng: &mut (impl Rng + ?Sized)) -> Result<Self, Error> {
        check_positive("scale", scale)?;
        let deviations = gaussian_deviations(ufm, scale);
        Self::from_fn(ufm, |block| {
            let deviation = match block {
                Block::Weights(l) => deviations.weights[l],
                _ => deviations.features,
            };
            let normal: f64 = StandardNormal.sample(rng);
            deviation * normal
        })
    }

    /// [`Parameters::gaussian`] from a seed alone, for callers with another version of rand, or none: the same seed is the
    /// same start in every release that does not say otherwise under "Value-breaking".
    ///
    /// # Errors
    ///
    /// As [`Parameters::gaussian`].
    pub fn gaussian_seeded(ufm: &Ufm, scale: f64, seed: u64) -> Result<Self, Error> {
        Self::gaussian(ufm, scale, &mut Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// A Gaussian start as frameworks draw it: entries of every W_l with standard deviation `weights`, entries of H
    /// with standard deviation `features`, b = 0.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless both are finite and not negative; [`Error::TooLarge`] if the features do not fit in
    /// memory.
    pub fn gaussian_with_deviations(
        ufm: &Ufm,
        weights: f64,
        features: f64,
        rng: &mut (impl Rng + ?Sized),
    ) -> Result<Self, Error> {
        check_not_negative("standard deviation of weights", weights)?;
        check_not_negative("standard deviation of features", features)?;
        Self::from_fn(ufm, |block| {
            let deviation = match block {
                Block::Weights(_) => weights,
                _ => features,
            };
            let normal: f64 = StandardNormal.sample(rng);
            deviation * normal
        })
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

    /// The blocks W_1 .. W_L, H and, if there is one, b.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = MatRef<'_, f64>> {
        let weights = self.weights.iter().map(Mat::as_ref);
        weights.chain([self.features.as_ref()]).chain(self.bias.as_ref().map(Col::as_mat))
    }

    /// The blocks W_1 .. W_L, H and, if there is one, b.
    pub(crate) fn blocks_mut(&mut self) -> impl Iterator<Item = MatMut<'_, f64>> {
        let weights = self.weights.iter_mut().map(Mat::as_mut);
        weights.chain([self.features.as_mut()]).chain(self.bias.as_mut().map(Col::as_mat_mut))
    }

    /// A placeholder that belongs to no model, left behind when parameters are moved out.
    pub(crate) fn empty() -> Self {
        Self { weights: Vec::new(), features: Mat::new(), bias: None, classes: None }
    }

    /// The blocks except H.
    pub(crate) fn small_blocks(&self) -> impl Iterator<Item = MatRef<'_, f64>> {
        self.weights.iter().map(Mat::as_ref).chain(self.bias.as_ref().map(Col::as_mat))
    }

    /// The blocks except H.
    pub(crate) fn small_blocks_mut(&mut self) -> impl Iterator<Item = MatMut<'_, f64>> {
        self.weights.iter_mut().map(Mat::as_mut).chain(self.bias.as_mut().map(Col::as_mat_mut))
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

    /// Fills weights and features column by column, in the order W_1 .. W_L, H; the bias is zero.
    fn from_fn(ufm: &Ufm, mut entry: impl FnMut(Block) -> f64) -> Result<Self, Error> {
        let mut parameters = Self::with_columns(ufm, ufm.samples())?;
        for (l, weights) in parameters.weights.iter_mut().enumerate() {
            fill(weights.as_mut(), || entry(Block::Weights(l)));
        }
        fill(parameters.features.as_mut(), || entry(Block::Features));
        Ok(parameters)
    }

    pub(crate) fn check_shapes(&self, ufm: &Ufm) -> Result<(), Error> {
        // A number of samples beyond `usize` cannot be the number of columns of a matrix.
        self.check_blocks(ufm, usize::try_from(ufm.samples()).unwrap_or(usize::MAX))
    }

    /// The same for features with this many columns.
    pub(crate) fn check_blocks(&self, ufm: &Ufm, columns: usize) -> Result<(), Error> {
        if self.weights.len() != ufm.depth() {
            return Err(Error::LayerCount { expected: ufm.depth(), found: self.weights.len() });
        }
        if self.bias.is_some() != ufm.has_bias() {
            return Err(Error::BiasPresence { expected: ufm.has_bias() });
        }
        // Before the shapes: other counts are often the reason why these differ, and a better explanation. If one side
        // has a matrix of targets, nothing is known of classes, and shapes are all that can be compared.
        if let (Some(expected), Some(found)) = (ufm.class_counts(), &self.classes) {
            expected.check_same(found.counts())?;
        }
        for (l, weights) in self.weights.iter().enumerate() {
            check_shape(Block::Weights(l), ufm.weight_shape(l), weights.shape())?;
        }
        check_shape(Block::Features, (ufm.feature_width(), columns), self.features.shape())?;
        match &self.bias {
            Some(bias) => check_shape(Block::Bias, (ufm.outputs(), 1), (bias.nrows(), 1)),
            None => Ok(()),
        }
    }

    pub(crate) fn check_finite(&self) -> Result<(), Error> {
        for (l, weights) in self.weights.iter().enumerate() {
            check_finite(Block::Weights(l), weights.as_ref())?;
        }
        check_finite(Block::Features, self.features.as_ref())?;
        match &self.bias {
            Some(bias) => check_finite(Block::Bias, bias.as_ref().as_mat()),
            None => Ok(()),
        }
    }
}

/// The class means of features sorted by class, d_1 × K: exact if all features of a class are equal.
pub(crate) fn class_means(classes: &ClassCounts, features: MatRef<'_, f64>) -> Mat<f64> {
    let mut means = Mat::zeros(features.nrows(), classes.classes());
    for (mut mean, columns) in means.col_iter_mut().zip(classes.ranges()) {
        let (first, size) = (features.col(columns.start), columns.len() as f64);
        for column in columns {
            mean += features.col(column) - first;
        }
        for (entry, first) in mean.iter_mut().zip(first.iter()) {
            *entry = first + *entry / size;
        }
    }
    means
}

/// H̄ D of class means H̄: every column times the root of its class's count.
pub(crate) fn weighted(classes: &ClassCounts, mut means: Mat<f64>) -> Mat<f64> {
    for (mut mean, &count) in means.col_iter_mut().zip(classes.counts()) {
        mean *= Scale(root(count));
    }
    means
}

/// Class means H̄ of H̄ D.
pub(crate) fn unweighted(classes: &ClassCounts, mut means: Mat<f64>) -> Mat<f64> {
    for (mut mean, &count) in means.col_iter_mut().zip(classes.counts()) {
        mean /= Scale(root(count));
    }
    means
}

/// The standard deviations of a Gaussian start.
pub(crate) struct Deviations {
    pub(crate) weights: Vec<f64>,
    pub(crate) features: f64,
}

pub(crate) fn gaussian_deviations(ufm: &Ufm, scale: f64) -> Deviations {
    let level = ufm.balanced_level_root();
    let deviation = |decay: f64, (rows, cols): (usize, usize)| {
        scale * level / decay.sqrt() / ((rows as f64).sqrt() + (cols as f64).sqrt())
    };
    Deviations {
        weights: (0..ufm.depth()).map(|l| deviation(ufm.layers()[l].decay, ufm.weight_shape(l))).collect(),
        features: deviation(ufm.feature_decay(), (ufm.feature_width(), ufm.outputs())),
    }
}

/// Fills a matrix column by column.
pub(crate) fn fill(matrix: MatMut<'_, f64>, mut entry: impl FnMut() -> f64) {
    for column in matrix.col_iter_mut() {
        column.iter_mut().for_each(|value| *value = entry());
    }
}

/// Parameters as they are read, before their checks.
#[cfg(feature = "serde")]
#[derive(serde::Deserialize)]
#[serde(rename = "Parameters", deny_unknown_fields)]
pub(crate) struct Read {
    #[serde(with = "crate::linalg::saved")]
    weights: Vec<Mat<f64>>,
    #[serde(with = "crate::linalg::saved")]
    features: Mat<f64>,
    #[serde(with = "crate::linalg::saved")]
    bias: Option<Col<f64>>,
    classes: Option<ClassCounts>,
}

#[cfg(feature = "serde")]
impl Read {
    /// Blocks that fit each other, with this many columns of features. Entries are finite since matrices are read so.
    pub(crate) fn check(self, columns: usize) -> Result<Parameters, Error> {
        let Self { weights, features, bias, classes } = self;
        let Some(last) = weights.last() else { return Err(Error::NoLayers) };
        let outputs = classes.as_ref().map_or(last.nrows(), ClassCounts::classes);
        for (l, matrix) in weights.iter().enumerate() {
            let rows = weights.get(l + 1).map_or(outputs, Mat::ncols);
            check_shape(Block::Weights(l), (rows.max(1), matrix.ncols().max(1)), matrix.shape())?;
        }
        check_shape(Block::Features, (weights[0].ncols(), columns.max(1)), features.shape())?;
        if let Some(bias) = &bias {
            check_shape(Block::Bias, (outputs, 1), (bias.nrows(), 1))?;
        }
        Ok(Parameters { weights, features, bias, classes })
    }

    pub(crate) fn columns(&self) -> usize {
        self.features.ncols()
    }

    pub(crate) fn class_counts(&self) -> Option<&ClassCounts> {
        self.classes.as_ref()
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Read> for Parameters {
    type Error = Error;

    fn try_from(read: Read) -> Result<Self, Error> {
        let samples = read.class_counts().map(|classes| usize::try_from(classes.samples()).unwrap_or(usize::MAX));
        let columns = samples.unwrap_or(read.columns());
        read.check(columns)
    }
}

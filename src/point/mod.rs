//! Points of a model: parameters, or what is left of them where samples and widths are reduced.

pub(crate) mod columns;
mod objective;
mod reduction;
#[cfg(feature = "serde")]
mod saved;

use faer::{Col, ColRef, Mat, MatRef, Scale};
use rand::{Rng, RngExt};
use rand_distr::{ChiSquared, Distribution, StandardNormal};

use self::{
    columns::{Column, reduced_columns, sample_columns},
    reduction::Reduction,
};
use crate::{
    classes::ClassCounts,
    error::{Block, Error, check_positive},
    linalg::{
        checks::check_shape,
        memory::try_zeros,
        orthonormal::{orthonormal, random_orthonormal},
    },
    model::{Layer, Ufm},
    parameters::{Parameters, class_means, fill, gaussian_deviations},
};

/// A point of a model, as a descent works on it.
///
/// Made of [`Parameters`] it is just that. After the exact reduction the features of N samples are K + min(d_1, N - K)
/// columns, G = [H̄ D, T], where T Tᵀ/N is the within-class scatter; and where a start spans fewer dimensions than the
/// layers have, the layers are as narrow as what it spans, W_l = Q_{l+1} W'_l Q_lᵀ and H = Q_1 H' with orthonormal
/// columns Q_l. Everything that the theory and the metrics speak of can be had without the N columns.
///
/// # Example
///
/// A descent for 10^9 samples:
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Point, Ufm, descent::{Descent, Stop}};
/// use neural_collapse::rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
///
/// let ufm = Ufm::new(ClassCounts::balanced(10, 100_000_000)?, [Layer::new(32, 1e-3)], 1e-11)?;
/// let start = Point::gaussian(&ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0))?;
/// let run = Descent::default().with_optimum(ufm.minimizer()?.objective()).minimize(&ufm, start)?;
/// assert_eq!((run.stop, run.columns), (Stop::Gap, 10 + 32));
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "saved::Read"))]
pub struct Point {
    /// Weights and features in the frames; the features are H or G.
    pub(crate) parameters: Parameters,
    reduction: Option<Reduction>,
    /// Q_1 .. Q_L, where the layers are narrower than those of the model.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    frames: Option<Vec<Mat<f64>>>,
}

/// A look at a point, or at parameters: what measurements take.
#[derive(Clone, Copy, Debug)]
pub struct PointRef<'a> {
    parameters: &'a Parameters,
    reduction: Option<&'a Reduction>,
    frames: Option<&'a [Mat<f64>]>,
}

impl From<Parameters> for Point {
    fn from(parameters: Parameters) -> Self {
        Self { parameters, reduction: None, frames: None }
    }
}

impl<'a> From<&'a Parameters> for PointRef<'a> {
    fn from(parameters: &'a Parameters) -> Self {
        Self { parameters, reduction: None, frames: None }
    }
}

impl<'a> From<&'a Point> for PointRef<'a> {
    fn from(point: &'a Point) -> Self {
        Self { parameters: &point.parameters, reduction: point.reduction.as_ref(), frames: point.frames.as_deref() }
    }
}

impl Point {
    /// A Gaussian start like [`Parameters::gaussian`], drawn in reduced form where the targets are labels, whatever the
    /// number of samples: H̄ D has entries of variance v², and T is d_1 × (N - K) of them or, where N - K > d_1, the
    /// triangular factor of a Wishart matrix of N - K degrees of freedom (Bartlett 1933).
    ///
    /// The distribution is that of [`Parameters::gaussian`], the numbers of one seed are not.
    ///
    /// # Errors
    ///
    /// As [`Parameters::gaussian`].
    pub fn gaussian(ufm: &Ufm, scale: f64, rng: &mut (impl Rng + ?Sized)) -> Result<Self, Error> {
        let Some(classes) = ufm.class_counts() else {
            return Parameters::gaussian(ufm, scale, rng).map(Self::from);
        };
        check_positive("scale", scale)?;
        let (width, k) = (ufm.feature_width(), classes.classes());
        let freedom = classes.samples() - k as u64;
        let deviations = usize::try_from(freedom).unwrap_or(usize::MAX).min(width);
        let deviation = gaussian_deviations(ufm, scale);
        let mut start = Parameters::with_columns(ufm, (k + deviations) as u64)?;
        for (weights, deviation) in start.weights.iter_mut().zip(&deviation.weights) {
            fill(weights.as_mut(), || deviation * normal(rng));
        }
        let triangular = freedom > width as u64;
        for (j, column) in start.features.col_iter_mut().enumerate() {
            for (i, entry) in column.iter_mut().enumerate() {
                // Of T, below and above the diagonal.
                let (above, diagonal) = if j < k { (false, false) } else { (i < j - k, i == j - k) };
                *entry = deviation.features
                    * if triangular && above {
                        0.0
                    } else if triangular && diagonal {
                        chi(freedom - i as u64, rng)
                    } else {
                        normal(rng)
                    };
            }
        }
        let reduction = Reduction::contrasts(classes);
        Ok(Self { parameters: start, reduction: Some(reduction), frames: None })
    }

    /// A collapsed Gaussian start: every feature is its class mean, and all blocks live in random subspaces of min(2 K,
    /// d_l) dimensions, in which a descent stays. Scales as in [`Parameters::gaussian`], for these dimensions in the
    /// place of the widths.
    ///
    /// # Errors
    ///
    /// As [`Parameters::gaussian`]; [`Error::NoClassCounts`] where the targets are a matrix.
    pub fn collapsed(ufm: &Ufm, scale: f64, rng: &mut (impl Rng + ?Sized)) -> Result<Self, Error> {
        let classes = ufm.class_counts().ok_or(Error::NoClassCounts)?;
        check_positive("scale", scale)?;
        let k = classes.classes();
        let narrow = ufm.with_widths(|width| width.min(k.saturating_mul(2)));
        let mut frames = Vec::with_capacity(ufm.depth());
        for (layer, narrow) in ufm.layers().iter().zip(narrow.layers()) {
            frames.push(random_orthonormal(layer.width, narrow.width, rng)?);
        }
        let deviation = gaussian_deviations(&narrow, scale);
        let mut start = Parameters::with_columns(&narrow, k as u64)?;
        for (weights, deviation) in start.weights.iter_mut().zip(&deviation.weights) {
            fill(weights.as_mut(), || deviation * normal(rng));
        }
        fill(start.features.as_mut(), || deviation.features * normal(rng));
        let reduction = Reduction::contrasts(classes);
        Ok(Self { parameters: start, reduction: Some(reduction), frames: Some(frames) })
    }

    /// The objective at this point, as [`Ufm::objective`] has it at parameters.
    ///
    /// # Errors
    ///
    /// As [`Ufm::objective`], where the point belongs to another model.
    pub fn objective(&self, ufm: &Ufm) -> Result<f64, Error> {
        self.check(ufm)?;
        let model = self.model(ufm);
        Ok(objective::objective(&model, &PointRef::from(self).compared_with(ufm), &self.parameters))
    }

    /// Of features that are reduced already, G = [H̄ D, T].
    pub(crate) fn reduced(
        ufm: &Ufm,
        weights: Vec<Mat<f64>>,
        features: Mat<f64>,
        bias: Option<Col<f64>>,
    ) -> Result<Self, Error> {
        let classes = ufm.class_counts().ok_or(Error::NoClassCounts)?;
        let parameters = Parameters { weights, features, bias, classes: Some(classes.clone()) };
        parameters.check_blocks(ufm, parameters.features.ncols())?;
        parameters.check_finite()?;
        Ok(Self { parameters, reduction: Some(Reduction::contrasts(classes)), frames: None })
    }

    /// The columns of features that a descent from here works on.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.parameters.features.ncols()
    }

    /// The parameters, with the features of all samples and layers of full width. Cost: 4 N d_1² operations where the
    /// samples have been reduced and N - K exceeds d_1, N d_1 elsewhere.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] where the features do not fit in memory.
    pub fn into_parameters(self) -> Result<Parameters, Error> {
        let Self { mut parameters, reduction, frames } = self;
        if let Some(reduction) = reduction {
            parameters.features = reduction.expand(parameters.features.as_ref())?;
        }
        if let Some(frames) = frames {
            parameters.features = &frames[0] * parameters.features;
            for (l, weights) in parameters.weights.iter_mut().enumerate() {
                *weights = &*weights * frames[l].transpose();
                if let Some(frame) = frames.get(l + 1) {
                    *weights = frame * &*weights;
                }
            }
        }
        Ok(parameters)
    }

    /// The point with Gaussian noise on every entry of weights and features, of the deviations that
    /// [`Parameters::gaussian`] has at this scale: a warm start, and a test of whether a point is stable. A collapsed
    /// start stays collapsed.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless `scale` is positive and finite; as [`Ufm::objective`], where the point belongs to
    /// another model.
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, Layer, Point, Ufm, descent::Descent};
    /// use neural_collapse::rand::{SeedableRng, rngs::Xoshiro256PlusPlus};
    ///
    /// let ufm = Ufm::new(ClassCounts::paper_cifar10(), [Layer::new(32, 5e-3); 2], 1e-4)?;
    /// let minimizer = ufm.minimizer()?;
    /// let noise = &mut Xoshiro256PlusPlus::seed_from_u64(0);
    /// let start = Point::from(minimizer.parameters()?).perturbed(&ufm, 0.1, noise)?;
    /// let run = Descent::default().with_optimum(minimizer.objective()).minimize(&ufm, start)?;
    /// assert!(run.gap.unwrap() <= 1e-10);
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn perturbed(mut self, ufm: &Ufm, scale: f64, rng: &mut (impl Rng + ?Sized)) -> Result<Self, Error> {
        self.check(ufm)?;
        check_positive("scale", scale)?;
        let deviation = gaussian_deviations(&self.model(ufm), scale);
        let Parameters { weights, features, .. } = &mut self.parameters;
        for (weights, deviation) in weights.iter_mut().zip(&deviation.weights) {
            add_noise(weights.as_mut(), *deviation, rng);
        }
        add_noise(features.as_mut(), deviation.features, rng);
        Ok(self)
    }

    /// Another point of the same reduction and the same frames.
    pub(crate) fn at(&self, parameters: Parameters) -> Self {
        Self { parameters, reduction: self.reduction.clone(), frames: self.frames.clone() }
    }

    /// The point of the same form where everything is zero.
    pub(crate) fn at_zero(mut self) -> Self {
        self.parameters.blocks_mut().for_each(|mut block| block.fill(0.0));
        self
    }

    /// The point moved by `step` times a change of its weights and of its weighted features, see
    /// [`PointRef::weighted_features`].
    pub(crate) fn moved(mut self, ufm: &Ufm, weights: &[Mat<f64>], weighted_features: &Mat<f64>, step: f64) -> Self {
        for (to, change) in self.parameters.weights.iter_mut().zip(weights) {
            *to += Scale(step) * change;
        }
        let features = &mut self.parameters.features;
        match ufm.class_counts() {
            Some(classes) if self.reduction.is_none() => {
                for (change, columns) in weighted_features.col_iter().zip(classes.ranges()) {
                    let step = step / (columns.len() as f64).sqrt();
                    for column in columns {
                        let mut sample = features.col_mut(column);
                        sample += Scale(step) * change;
                    }
                }
            }
            _ => {
                let mut features = features.subcols_mut(0, weighted_features.ncols());
                features += Scale(step) * weighted_features;
            }
        }
        self
    }

    /// The same point with its samples reduced.
    pub(crate) fn reduce(self, ufm: &Ufm) -> Result<Self, Error> {
        match (ufm.class_counts(), &self.reduction) {
            (Some(classes), None) => {
                let (reduction, features) = Reduction::new(classes, self.parameters.features.as_ref())?;
                Ok(Self { parameters: Parameters { features, ..self.parameters }, reduction: Some(reduction), ..self })
            }
            _ => Ok(self),
        }
    }

    /// The same point with layers no wider than what their neighbors span: d_1 = 512 becomes 2 K for class means and
    /// one layer. The gradient stays in that span, and so does a descent by any equivariant method.
    pub(crate) fn narrow(mut self, ufm: &Ufm) -> Result<Self, Error> {
        if self.frames.is_some() {
            return Ok(self);
        }
        let parameters = &mut self.parameters;
        let mut frames = Vec::with_capacity(ufm.depth());
        let mut narrowed = false;
        for l in 0..ufm.depth() {
            // What comes into this width: G, or the layer below, whose own input may be narrow already.
            let incoming = if l == 0 { &parameters.features } else { &parameters.weights[l - 1] };
            let outgoing = &parameters.weights[l];
            let width = ufm.layers()[l].width;
            let span = incoming.ncols() + outgoing.nrows();
            if span >= width {
                frames.push(Mat::identity(width, width));
                continue;
            }
            narrowed = true;
            let mut vectors = try_zeros("vectors that a start spans", width, span as u64)?;
            vectors.subcols_mut(0, incoming.ncols()).copy_from(incoming);
            vectors.subcols_mut(incoming.ncols(), outgoing.nrows()).copy_from(outgoing.transpose());
            let frame = orthonormal(vectors)?;
            let (incoming, outgoing) = (frame.transpose() * incoming, outgoing * &frame);
            if l == 0 {
                parameters.features = incoming;
            } else {
                parameters.weights[l - 1] = incoming;
            }
            parameters.weights[l] = outgoing;
            frames.push(frame);
        }
        self.frames = narrowed.then_some(frames);
        Ok(self)
    }

    /// The model with layers of the widths that this point has.
    pub(crate) fn model(&self, ufm: &Ufm) -> Ufm {
        PointRef::from(self).model(ufm)
    }

    pub(crate) fn check(&self, ufm: &Ufm) -> Result<(), Error> {
        PointRef::from(self).check(ufm)
    }
}

impl<'a> PointRef<'a> {
    /// Weights, features and bias in the frames of a narrow start, samples reduced or not: as a descent works on them.
    pub(crate) fn parameters(self) -> &'a Parameters {
        self.parameters
    }

    /// What every column of features is compared with.
    pub(crate) fn compared_with(self, ufm: &Ufm) -> Vec<Column> {
        match self.reduction {
            Some(reduction) => reduced_columns(reduction.classes(), self.parameters.features.ncols()),
            None => sample_columns(ufm),
        }
    }

    /// The product W_{L:1} = W_L ··· W_1 beside the features of [`PointRef::weighted_features`]: in the frame of a
    /// narrow start where there is one.
    pub(crate) fn product(self) -> Mat<f64> {
        self.parameters.product()
    }

    /// W_1 .. W_L, in the frames of a narrow start where there is one.
    pub(crate) fn weights(self) -> &'a [Mat<f64>] {
        &self.parameters.weights
    }

    /// The bias b, where there is one.
    #[must_use]
    pub fn bias(self) -> Option<ColRef<'a, f64>> {
        self.parameters.bias()
    }

    /// The features beside the right singular vectors of the target: H̄ D, d_1 × K, for labels, and H for a matrix of
    /// targets; in the frame of a narrow start where there is one.
    pub(crate) fn weighted_features(self, ufm: &Ufm) -> Result<Mat<f64>, Error> {
        self.check(ufm)?;
        let features: MatRef<'_, f64> = self.parameters.features();
        let Some(classes) = ufm.class_counts() else {
            return Ok(features.to_owned());
        };
        if self.reduction.is_some() {
            return Ok(features.subcols(0, classes.classes()).to_owned());
        }
        let mut means = class_means(classes, features);
        for (mean, &count) in means.col_iter_mut().zip(classes.counts()) {
            mean.iter_mut().for_each(|entry| *entry *= (count as f64).sqrt());
        }
        Ok(means)
    }

    /// H, or G where samples are reduced; in the frame of a narrow start where there is one.
    pub(crate) fn features(self) -> MatRef<'a, f64> {
        self.parameters.features()
    }

    /// Whether samples are reduced.
    pub(crate) fn is_reduced(self) -> bool {
        self.reduction.is_some()
    }

    /// Shows a visitor the deviations of the features from their class means, some columns at a time: those of a class,
    /// or, where samples are reduced, all of T. The sum of the products E Eᵀ is N Σ_W either way.
    pub(crate) fn visit_deviations(
        self,
        classes: &ClassCounts,
        mut visit: impl FnMut(MatRef<'_, f64>),
    ) -> Result<(), Error> {
        let features = self.features();
        if self.reduction.is_some() {
            let k = classes.classes();
            visit(features.subcols(k, features.ncols() - k));
            return Ok(());
        }
        let means = class_means(classes, features);
        for (mean, columns) in means.col_iter().zip(classes.ranges()) {
            let mut deviations = try_zeros("deviations", features.nrows(), columns.len() as u64)?;
            for (mut to, column) in deviations.col_iter_mut().zip(columns) {
                to.copy_from(features.col(column) - mean);
            }
            visit(deviations.as_ref());
        }
        Ok(())
    }

    /// The point, to be changed.
    pub(crate) fn to_point(self) -> Point {
        Point {
            parameters: self.parameters.clone(),
            reduction: self.reduction.cloned(),
            frames: self.frames.map(<[_]>::to_vec),
        }
    }

    /// The model with layers of the widths that this point has.
    pub(crate) fn model(self, ufm: &Ufm) -> Ufm {
        let mut widths = self.parameters.weights.iter().map(Mat::ncols);
        ufm.with_widths(|width| widths.next().unwrap_or(width))
    }

    /// Whether the point belongs to this model.
    pub(crate) fn check(self, ufm: &Ufm) -> Result<(), Error> {
        let narrow;
        let model = match self.frames {
            None => ufm,
            Some(frames) => {
                if frames.len() != ufm.depth() {
                    return Err(Error::LayerCount { expected: ufm.depth(), found: frames.len() });
                }
                for (l, (frame, layer)) in frames.iter().zip(ufm.layers()).enumerate() {
                    // Of the weights W_l itself only their part inside of the frames is there, frame by frame.
                    let rows = frames.get(l + 1).map_or(self.parameters.weights[l].nrows(), Mat::nrows);
                    check_shape(Block::Weights(l), (rows, layer.width), (rows, frame.nrows()))?;
                }
                let mut frames = frames.iter();
                narrow = ufm.with_widths(|width| frames.next().map_or(width, Mat::ncols));
                &narrow
            }
        };
        match self.reduction {
            None => self.parameters.check_shapes(model),
            Some(reduction) => {
                ufm.class_counts().ok_or(Error::NoClassCounts)?.check_same(reduction.classes().counts())?;
                self.parameters.check_blocks(model, self.parameters.features.ncols())
            }
        }
    }
}

impl Ufm {
    /// The same model with other widths.
    fn with_widths(&self, mut width: impl FnMut(usize) -> usize) -> Self {
        let layers = self.layers().iter().map(|layer| Layer { width: width(layer.width), ..*layer });
        self.with_layers(layers.collect())
    }
}

fn add_noise(matrix: faer::MatMut<'_, f64>, deviation: f64, rng: &mut (impl Rng + ?Sized)) {
    for column in matrix.col_iter_mut() {
        column.iter_mut().for_each(|value| *value += deviation * normal(rng));
    }
}

fn normal(rng: &mut (impl Rng + ?Sized)) -> f64 {
    StandardNormal.sample(rng)
}

/// √χ² with so many degrees of freedom, at least one.
fn chi(freedom: u64, rng: &mut (impl Rng + ?Sized)) -> f64 {
    match ChiSquared::new(freedom as f64) {
        Ok(distribution) => rng.sample::<f64, _>(distribution).sqrt(),
        // Not reached: the degrees of freedom are positive.
        Err(_) => normal(rng).abs(),
    }
}

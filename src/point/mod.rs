//! Points of a model: parameters, or what is left of them if samples and widths are reduced.

mod blocks;
pub(crate) mod columns;
mod look;
mod moved;
mod narrow;
mod objective;
mod reduction;
#[cfg(feature = "serde")]
mod saved;
mod start;

use faer::{Col, Mat};

use self::reduction::Reduction;
#[cfg(feature = "serde")]
pub(crate) use self::saved::read_blocks;
use crate::{
    error::Error,
    linalg::checks::are_equal,
    model::{Layer, Ufm},
    parameters::Parameters,
};

/// A point of a model, as a descent works on it.
///
/// A point made of [`Parameters`] holds them as they are. After the exact reduction the features of N samples are K +
/// min(d_1, N - K) columns, G = [H̄ D, T], where T Tᵀ/N is the within-class scatter. If a start spans fewer dimensions
/// than the layers have, the layers are as narrow as that span, W_l = Q_{l+1} W'_l Q_lᵀ and H = Q_1 H' with orthonormal
/// columns Q_l. The theory and the metrics never need the N columns.
///
/// Deviations T from class means are reduced only for the squared loss without class weights and features of any sign:
/// another loss is not the same if samples are rotated. Features that have collapsed to their class means are K columns,
/// H̄ D, for every loss. If features may not be negative, layers keep their widths.
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
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(try_from = "saved::Read"))]
pub struct Point {
    /// Weights and features in the frames; the features are H or G.
    pub(crate) parameters: Parameters,
    reduction: Option<Reduction>,
    /// Q_1 .. Q_L, if the layers are narrower than those of the model.
    #[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))]
    frames: Option<Vec<Mat<f64>>>,
}

impl PartialEq for Point {
    fn eq(&self, other: &Self) -> bool {
        let (one, two) = (self.frames.as_deref().unwrap_or(&[]), other.frames.as_deref().unwrap_or(&[]));
        let frames = one.len() == two.len() && one.iter().zip(two).all(|(a, b)| are_equal(a.as_ref(), b.as_ref()));
        self.parameters == other.parameters && self.reduction == other.reduction && frames
    }
}

/// A borrowed point or borrowed parameters: what measurements take.
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

impl From<&Parameters> for Point {
    fn from(parameters: &Parameters) -> Self {
        parameters.clone().into()
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
    /// The objective at this point: [`Ufm::objective`] for points of any form.
    ///
    /// Cost: that of the columns, and if deviations from class means are reduced and the loss is not the squared one
    /// without class weights, that of the features of all samples.
    ///
    /// # Errors
    ///
    /// As [`Ufm::objective`] if the point belongs to another model; [`Error::TooLarge`] if the loss needs the features
    /// of all samples, and they do not fit in memory.
    pub fn objective(&self, ufm: &Ufm) -> Result<f64, Error> {
        self.check(ufm)?;
        let model = self.model(ufm);
        let of =
            |point: &Self| objective::objective(&model, &PointRef::from(point).compared_with(ufm), &point.parameters);
        if self.reduction.is_none() || ufm.output_loss().is_rotation_invariant() {
            return Ok(of(self));
        }
        Ok(of(&self.clone().with_samples_unless_collapsed()?))
    }

    /// A point of features that are already reduced, G = [H̄ D, T].
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

    /// The number of columns of features that a descent from this point works on.
    #[must_use]
    pub fn columns(&self) -> usize {
        self.parameters.features.ncols()
    }

    /// The parameters, with the features of all samples and layers of full width. Cost: 4 N d_1² operations if the
    /// samples have been reduced and N - K exceeds d_1, otherwise N d_1.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the features do not fit in memory.
    pub fn into_parameters(self) -> Result<Parameters, Error> {
        let Self { mut parameters, reduction, frames } = self;
        if let Some(reduction) = reduction {
            parameters.features = reduction.expand(parameters.features.as_ref())?;
        }
        Ok(match frames {
            Some(frames) => widened_parameters(parameters, &frames),
            None => parameters,
        })
    }

    /// Whether samples or widths are reduced.
    #[cfg(feature = "serde")]
    pub(crate) fn is_reduced(&self) -> bool {
        self.reduction.is_some() || self.frames.is_some()
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

    /// The model with layers of the widths that this point has.
    pub(crate) fn model(&self, ufm: &Ufm) -> Ufm {
        PointRef::from(self).model(ufm)
    }

    pub(crate) fn check(&self, ufm: &Ufm) -> Result<(), Error> {
        PointRef::from(self).check(ufm)
    }
}

impl Ufm {
    /// The same model with other widths.
    fn with_widths(&self, mut width: impl FnMut(usize) -> usize) -> Self {
        let layers = self.layers().iter().map(|layer| Layer { width: width(layer.width), ..*layer });
        self.with_layers(layers.collect())
    }
}

/// Parameters of full width from those in the frames.
fn widened_parameters(mut parameters: Parameters, frames: &[Mat<f64>]) -> Parameters {
    parameters.features = &frames[0] * parameters.features;
    for (l, weights) in parameters.weights.iter_mut().enumerate() {
        *weights = widened(weights, frames, l);
    }
    parameters
}

/// W_l = Q_{l+1} W'_l Q_lᵀ: weights of full width from those in the frames. There is no frame at the outputs.
fn widened(weights: &Mat<f64>, frames: &[Mat<f64>], l: usize) -> Mat<f64> {
    let weights = weights * frames[l].transpose();
    match frames.get(l + 1) {
        Some(frame) => frame * weights,
        None => weights,
    }
}

//! The targets of a model: one-hot labels, smoothed labels, or any matrix.

use std::sync::Arc;

use faer::{Col, Mat, MatMut, MatRef};

use crate::{
    classes::{ClassCounts, root},
    error::Error,
    linalg::{
        checks::{are_equal, first_not_finite},
        memory::try_zeros,
    },
};

/// The targets Y, K outputs by N samples.
///
/// [`ClassCounts`] convert into one-hot labels: `Ufm::new(classes, ..)`. A clone shares the data and costs nothing.
///
/// # Example
///
/// A regression to two outputs: the smaller of two orthogonal directions is not worth its penalty.
///
/// ```
/// use neural_collapse::{Layer, Targets, Ufm, faer::mat};
///
/// let targets = Targets::matrix(mat![[2.0, -2.0, 0.0, 0.0], [0.0, 0.0, 0.1, -0.1]])?;
/// let minimizer = Ufm::new(targets, [Layer::new(8, 0.1)], 0.1)?.minimizer()?;
/// assert_eq!(minimizer.rank(), 1);
/// // σ² are 8 and 0.02, and a direction shrinks by N √(λ_1 λ_H) = 0.4.
/// assert!((minimizer.directions()[0].prediction - (8.0_f64.sqrt() - 0.4)).abs() < 1e-15);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(try_from = "Kind"))]
pub struct Targets {
    kind: Kind,
}

#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "kebab-case"))]
enum Kind {
    Labels { classes: ClassCounts, smoothing: f64 },
    Matrix(#[cfg_attr(feature = "serde", serde(with = "crate::linalg::saved"))] Arc<Mat<f64>>),
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::Labels { classes, smoothing },
                Self::Labels { classes: other_classes, smoothing: other_smoothing },
            ) => classes == other_classes && smoothing == other_smoothing,
            (Self::Matrix(one), Self::Matrix(other)) => are_equal(one.as_ref().as_ref(), other.as_ref().as_ref()),
            _ => false,
        }
    }
}

impl From<ClassCounts> for Targets {
    /// One-hot labels, samples sorted by class.
    fn from(classes: ClassCounts) -> Self {
        Self { kind: Kind::Labels { classes, smoothing: 0.0 } }
    }
}

impl From<&ClassCounts> for Targets {
    /// One-hot labels, samples sorted by class. Shares the counts.
    fn from(classes: &ClassCounts) -> Self {
        classes.clone().into()
    }
}

impl From<&Targets> for Targets {
    /// A clone, which shares the data.
    fn from(targets: &Targets) -> Self {
        targets.clone()
    }
}

impl Targets {
    /// Smoothed labels (Szegedy et al. 2016), samples sorted by class: (1-ε) e_k + ε/K 1 for a sample of class k.
    ///
    /// With a bias they scale the target of the theory by 1-ε, since the bias takes the constant; without one the
    /// target has no structure to use, and is decomposed densely.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless 0 ≤ ε < 1.
    pub fn smoothed(classes: ClassCounts, smoothing: f64) -> Result<Self, Error> {
        if (0.0..1.0).contains(&smoothing) {
            Ok(Self { kind: Kind::Labels { classes, smoothing } })
        } else {
            Err(Error::Domain { argument: "label smoothing", value: smoothing, accepted: "0 <= smoothing < 1" })
        }
    }

    /// Any targets, K × N: the outputs of a regression, several labels a sample, labels blended by mixup or given by a
    /// teacher.
    ///
    /// # Errors
    ///
    /// [`Error::EmptyTargets`] if a side is zero; [`Error::MatrixNotFinite`].
    pub fn matrix(targets: Mat<f64>) -> Result<Self, Error> {
        if targets.nrows() == 0 || targets.ncols() == 0 {
            return Err(Error::EmptyTargets { rows: targets.nrows(), cols: targets.ncols() });
        }
        match first_not_finite(targets.as_ref()) {
            Some((row, col, value)) => Err(Error::MatrixNotFinite { row, col, value }),
            None => Ok(Self { kind: Kind::Matrix(Arc::new(targets)) }),
        }
    }

    /// The number of outputs K: the classes, or the rows of the matrix.
    #[must_use]
    pub fn outputs(&self) -> usize {
        match &self.kind {
            Kind::Labels { classes, .. } => classes.classes(),
            Kind::Matrix(matrix) => matrix.nrows(),
        }
    }

    /// The number of samples N.
    #[must_use]
    pub fn samples(&self) -> u64 {
        match &self.kind {
            Kind::Labels { classes, .. } => classes.samples(),
            Kind::Matrix(matrix) => matrix.ncols() as u64,
        }
    }

    /// The class counts; `None` if the targets are a matrix.
    #[must_use]
    pub fn class_counts(&self) -> Option<&ClassCounts> {
        match &self.kind {
            Kind::Labels { classes, .. } => Some(classes),
            Kind::Matrix(_) => None,
        }
    }

    /// The label smoothing ε: 0 for one-hot labels, and for a matrix of targets.
    #[must_use]
    pub fn smoothing(&self) -> f64 {
        match &self.kind {
            Kind::Labels { smoothing, .. } => *smoothing,
            Kind::Matrix(_) => 0.0,
        }
    }

    /// The matrix; `None` if the targets are labels.
    #[must_use]
    pub fn as_matrix(&self) -> Option<MatRef<'_, f64>> {
        match &self.kind {
            Kind::Labels { .. } => None,
            Kind::Matrix(matrix) => Some(matrix.as_ref().as_ref()),
        }
    }

    /// The mean of the targets over all samples, of length K: the optimal bias.
    #[must_use]
    pub fn mean(&self) -> Col<f64> {
        match &self.kind {
            Kind::Labels { classes, smoothing } => {
                let (samples, constant) = (classes.samples() as f64, smoothing / classes.classes() as f64);
                Col::from_fn(classes.classes(), |k| {
                    (1.0 - smoothing) * (classes.counts()[k] as f64 / samples) + constant
                })
            }
            Kind::Matrix(matrix) => Col::from_fn(matrix.nrows(), |k| {
                // From the first entry, so that the mean of equal numbers is that number.
                let row = matrix.row(k);
                row[0] + row.iter().map(|entry| entry - row[0]).sum::<f64>() / row.ncols() as f64
            }),
        }
    }

    /// ‖Y‖²/N, twice the objective of a model that outputs zero.
    pub(crate) fn mean_square(&self) -> f64 {
        match &self.kind {
            Kind::Labels { classes, smoothing } => {
                // One entry 1 - ε + ε/K, and K - 1 entries ε/K.
                let constant = smoothing / classes.classes() as f64;
                (1.0 - smoothing + constant).powi(2) + (classes.classes() - 1) as f64 * constant * constant
            }
            Kind::Matrix(matrix) => matrix.squared_norm_l2() / matrix.ncols() as f64,
        }
    }

    /// A number that the squares of the singular values of the targets, less what a bias takes, do not exceed by much.
    pub(crate) fn largest_square(&self) -> f64 {
        match &self.kind {
            Kind::Labels { classes, .. } => classes.group(0).count as f64,
            // Targets of zero have no scale: any will do.
            Kind::Matrix(matrix) => Some(matrix.squared_norm_l2()).filter(|square| *square > 0.0).unwrap_or(1.0),
        }
    }

    /// What the model is to make of its weighted features: ((1-ε) I + ε/K 1 1ᵀ) D, K × K, for labels, the mean of the
    /// targets of every class times √n_k; Y itself, K × N, for a matrix.
    pub(crate) fn weighted(&self) -> Result<Mat<f64>, Error> {
        match &self.kind {
            Kind::Labels { classes, smoothing } => {
                let mut matrix = try_zeros("label matrix", classes.classes(), classes.classes() as u64)?;
                let constant = smoothing / classes.classes() as f64;
                for (k, (column, &count)) in matrix.col_iter_mut().zip(classes.counts()).enumerate() {
                    for (i, entry) in column.iter_mut().enumerate() {
                        *entry = (constant + if i == k { 1.0 - smoothing } else { 0.0 }) * root(count);
                    }
                }
                Ok(matrix)
            }
            Kind::Matrix(matrix) => Ok(matrix.as_ref().clone()),
        }
    }

    /// Takes the targets out of outputs of K × N.
    pub(crate) fn subtract_from(&self, mut outputs: MatMut<'_, f64>) {
        match &self.kind {
            Kind::Labels { classes, smoothing } => {
                let constant = smoothing / classes.classes() as f64;
                for (class, columns) in classes.ranges().enumerate() {
                    for column in columns {
                        let mut sample = outputs.as_mut().col_mut(column);
                        sample[class] -= 1.0 - smoothing;
                        if constant > 0.0 {
                            sample.iter_mut().for_each(|entry| *entry -= constant);
                        }
                    }
                }
            }
            Kind::Matrix(matrix) => outputs -= matrix.as_ref(),
        }
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Targets {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.kind.serialize(serializer)
    }
}

#[cfg(feature = "serde")]
impl TryFrom<Kind> for Targets {
    type Error = Error;

    fn try_from(kind: Kind) -> Result<Self, Error> {
        match kind {
            Kind::Labels { classes, smoothing } => Self::smoothed(classes, smoothing),
            Kind::Matrix(matrix) => Self::matrix(Arc::unwrap_or_clone(matrix)),
        }
    }
}

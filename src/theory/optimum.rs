//! The global minimum of a model, whatever its loss: by the one of the three ways that serves it.

use faer::{Col, Mat};

use super::{Certified, GroupFate, Minimizer, NonnegativeMinimizer};
use crate::{error::Error, model::Ufm};

/// Where a model ends: in closed form, certified, or, for nonnegative features, the best point with orthogonal class
/// means.
///
/// # Example
///
/// ```
/// use neural_collapse::{ClassCounts, Layer, Loss, Ufm, theory::Optimum};
///
/// let ufm = Ufm::new(ClassCounts::new([50, 20, 8])?, [Layer::new(16, 1e-2)], 1e-3)?;
/// assert!(matches!(ufm.optimum()?, Optimum::Closed(_)));
///
/// let entropy = ufm.with_loss(Loss::CrossEntropy)?.optimum()?;
/// assert!(matches!(entropy, Optimum::Certified(_)));
/// assert!(entropy.gap() < 1e-12 && entropy.rank() == 2);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Optimum {
    /// Squared loss: [`Ufm::minimizer`].
    Closed(Box<Minimizer>),
    /// One layer, any loss: [`Ufm::certified_minimizer`].
    Certified(Box<Certified>),
    /// One layer, nonnegative features: [`Ufm::nonnegative_minimizer`].
    Nonnegative(Box<NonnegativeMinimizer>),
}

impl Ufm {
    /// The global minimum: in closed form where there is one, otherwise certified. For nonnegative features it is proved
    /// to be the minimum only if [`Optimum::gap`] is rounding.
    ///
    /// # Errors
    ///
    /// Those of [`Ufm::minimizer`], [`Ufm::certified_minimizer`] or [`Ufm::nonnegative_minimizer`]; so
    /// [`Error::NoCertificate`] for another loss than the squared one with two or more layers.
    pub fn optimum(&self) -> Result<Optimum, Error> {
        if self.has_closed_form() {
            return Ok(Optimum::Closed(Box::new(self.minimizer()?)));
        }
        if self.has_nonnegative_features() {
            return Ok(Optimum::Nonnegative(Box::new(self.nonnegative_minimizer()?)));
        }
        Ok(Optimum::Certified(Box::new(self.certified_minimizer()?)))
    }
}

impl Optimum {
    /// The model.
    #[must_use]
    pub fn ufm(&self) -> &Ufm {
        match self {
            Self::Closed(minimizer) => minimizer.ufm(),
            Self::Certified(minimizer) => minimizer.ufm(),
            Self::Nonnegative(minimizer) => minimizer.ufm(),
        }
    }

    /// The least objective.
    #[must_use]
    pub fn objective(&self) -> f64 {
        match self {
            Self::Closed(minimizer) => minimizer.objective(),
            Self::Certified(minimizer) => minimizer.objective(),
            Self::Nonnegative(minimizer) => minimizer.objective(),
        }
    }

    /// What no point has a lower objective than; the objective itself for a closed form.
    #[must_use]
    pub fn lower_bound(&self) -> f64 {
        match self {
            Self::Closed(minimizer) => minimizer.objective(),
            Self::Certified(minimizer) => minimizer.lower_bound(),
            Self::Nonnegative(minimizer) => minimizer.lower_bound(),
        }
    }

    /// The relative gap between the two; 0 for a closed form.
    #[must_use]
    pub fn gap(&self) -> f64 {
        match self {
            Self::Closed(_) => 0.0,
            Self::Certified(minimizer) => minimizer.gap(),
            Self::Nonnegative(minimizer) => minimizer.gap(),
        }
    }

    /// The rank of the prediction: the number of classes that have not vanished, for nonnegative features.
    #[must_use]
    pub fn rank(&self) -> usize {
        match self {
            Self::Closed(minimizer) => minimizer.rank(),
            Self::Certified(minimizer) => minimizer.rank(),
            Self::Nonnegative(minimizer) => minimizer.active(),
        }
    }

    /// Whether the objective is proved to be the least one; only that of nonnegative features may not be
    /// ([`NonnegativeMinimizer::is_proved`]).
    #[must_use]
    pub fn is_proved(&self) -> bool {
        match self {
            Self::Closed(_) | Self::Certified(_) => true,
            Self::Nonnegative(minimizer) => minimizer.is_proved(),
        }
    }

    /// Whether the minimizer is unique up to the gauge; `None` if this point is not proved to be a minimizer
    /// ([`Optimum::is_proved`]). Certified minimizers are taken to be unique.
    #[must_use]
    pub fn is_unique(&self) -> Option<bool> {
        match self {
            Self::Closed(minimizer) => Some(minimizer.is_unique()),
            Self::Certified(_) => Some(true),
            Self::Nonnegative(minimizer) => minimizer.is_proved().then_some(true),
        }
    }

    /// The optimal bias; `None` if the model has none.
    #[must_use]
    pub fn bias(&self) -> Option<Col<f64>> {
        match self {
            Self::Closed(minimizer) => minimizer.bias(),
            Self::Certified(minimizer) => minimizer.bias(),
            Self::Nonnegative(minimizer) => minimizer.bias(),
        }
    }

    /// The classifiers, rows of W_{L:1}, in the space of rank dimensions that they share with the class means, K × rank.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets are a matrix; [`Error::TooLarge`].
    pub fn classifiers(&self) -> Result<Mat<f64>, Error> {
        match self {
            Self::Closed(minimizer) => minimizer.classifiers(),
            Self::Certified(minimizer) => minimizer.classifiers(),
            Self::Nonnegative(minimizer) => minimizer.classifiers(),
        }
    }

    /// The class means in the same space, rank × K.
    ///
    /// # Errors
    ///
    /// As [`Optimum::classifiers`].
    pub fn class_means(&self) -> Result<Mat<f64>, Error> {
        match self {
            Self::Closed(minimizer) => minimizer.class_means(),
            Self::Certified(minimizer) => minimizer.class_means(),
            Self::Nonnegative(minimizer) => minimizer.class_means(),
        }
    }

    /// Which classes share one class mean: for every class the first class of those that do, itself if it has a mean of
    /// its own. Classes of a group that is ambiguous count as apart.
    ///
    /// # Errors
    ///
    /// As [`Minimizer::group_fates`].
    pub fn shared_means(&self) -> Result<Vec<usize>, Error> {
        let classes = self.ufm().class_counts().ok_or(Error::NoClassCounts)?;
        let mut first: Vec<usize> = (0..classes.classes()).collect();
        // All that have vanished share the origin, those of a coincident group their mean.
        let mut vanished = Vec::new();
        let mut join = |group: &[usize], fate| match fate {
            GroupFate::Coincident => group.iter().for_each(|&class| first[class] = group[0]),
            GroupFate::Vanished => vanished.extend_from_slice(group),
            _ => {}
        };
        match self {
            Self::Closed(minimizer) => {
                classes.groups().zip(minimizer.group_fates()?).for_each(|(group, fate)| join(group.classes, fate));
            }
            Self::Certified(minimizer) => minimizer.groups().iter().for_each(|group| join(&group.classes, group.fate)),
            Self::Nonnegative(minimizer) => {
                let gone = minimizer.groups().iter().filter(|group| group.is_vanished);
                gone.for_each(|group| join(&group.classes, GroupFate::Vanished));
            }
        }
        if let Some(&least) = vanished.iter().min() {
            for &class in &vanished {
                first[class] = least;
            }
        }
        Ok(first)
    }
}

impl From<Minimizer> for Optimum {
    fn from(minimizer: Minimizer) -> Self {
        Self::Closed(Box::new(minimizer))
    }
}

impl From<Certified> for Optimum {
    fn from(minimizer: Certified) -> Self {
        Self::Certified(Box::new(minimizer))
    }
}

impl From<NonnegativeMinimizer> for Optimum {
    fn from(minimizer: NonnegativeMinimizer) -> Self {
        Self::Nonnegative(Box::new(minimizer))
    }
}

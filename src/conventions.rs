//! Losses and decays of frameworks, in the units of this crate.

use crate::{
    classes::ClassCounts,
    error::{Error, check_not_negative},
    loss::{ClassWeights, normalized},
    names::named,
};

/// How a training loss scales the squared error ‖residual‖², summed over K outputs and N samples.
///
/// This crate minimizes half of the sum over outputs, averaged over samples: [`LossConvention::HalfSum`]. A loss of
/// α/(2N) ‖residual‖² with regularizers μ/2 ‖W‖² is α times the objective of this crate with decays λ = μ/α.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum LossConvention {
    /// The mean over all K N elements, as PyTorch's `MSELoss`: α = 2/K.
    Mean,
    /// Half of that mean: α = 1/K.
    HalfMean,
    /// The sum over outputs, averaged over samples: α = 2.
    Sum,
    /// Half of that: α = 1, the objective of this crate.
    HalfSum,
}

/// How a training loss scales the penalty of the features.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum FeatureConvention {
    /// μ_H/2 ‖H‖², over all samples.
    Total,
    /// μ_H/(2N) ‖H‖², averaged over samples.
    Mean,
}

/// What a framework divides the weighted sum of losses over samples by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum WeightConvention {
    /// The number of samples N, as TensorFlow's `class_weight`: α_k = v_k.
    #[default]
    Samples,
    /// The sum of the weights of all samples, as PyTorch's `weight` with the reduction "mean": α_k = v_k N/Σ_j n_j v_j.
    Weights,
}

/// What training minimizes: a squared error, penalties μ/2 ‖W_l‖² of the layers, as with an optimizer's `weight_decay`
/// μ, and a penalty of the features.
///
/// # Example
///
/// PyTorch's `MSELoss` for ten classes, weight decay 5e-4, and a feature penalty of 1e-3 times the mean of ‖h‖²/2:
///
/// ```
/// use neural_collapse::{ClassCounts, FeatureConvention, Layer, LossConvention, TrainingConvention, Ufm};
///
/// let classes = ClassCounts::paper_cifar10();
/// let training = TrainingConvention::new(LossConvention::Mean, FeatureConvention::Mean);
/// let layer_decay = training.layer_decay(5e-4, classes.classes())?;
/// let feature_decay = training.feature_decay(1e-3, classes.classes(), classes.samples())?;
/// assert_eq!(layer_decay, 5e-4 * 10.0 / 2.0);
///
/// let ufm = Ufm::new(classes, [Layer::new(512, layer_decay)], feature_decay)?;
/// let least_loss = training.loss(ufm.minimizer()?.objective(), ufm.outputs()); // what training can reach
/// assert!(least_loss < 0.1);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct TrainingConvention {
    loss: LossConvention,
    features: FeatureConvention,
}

named!(LossConvention, "loss convention": Mean = "mean", HalfMean = "half-mean", Sum = "sum", HalfSum = "half-sum");
named!(WeightConvention, "weight convention": Samples = "samples", Weights = "weights");
named!(FeatureConvention, "feature convention": Total = "total", Mean = "mean");

impl LossConvention {
    /// α for K outputs.
    #[must_use]
    pub fn scale(self, outputs: usize) -> f64 {
        match self {
            Self::Mean => 2.0 / outputs as f64,
            Self::HalfMean => 1.0 / outputs as f64,
            Self::Sum => 2.0,
            Self::HalfSum => 1.0,
        }
    }
}

impl WeightConvention {
    /// The weights α_k of this crate for weights v_k of a framework, in the order of the classes.
    ///
    /// With label smoothing PyTorch's `CrossEntropyLoss` multiplies the smoothed targets by the weights, which is
    /// another loss than this crate's: use `label_smoothing` and `weight` together in this crate for losses that weight
    /// samples.
    ///
    /// # Errors
    ///
    /// As [`ClassWeights::of`].
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, ClassWeights, WeightConvention};
    ///
    /// let classes = ClassCounts::new([3, 1])?;
    /// let weights = WeightConvention::Weights.class_weights(&ClassWeights::Given(vec![1.0, 5.0]), &classes)?;
    /// assert_eq!(weights, [0.5, 2.5]); // the weights of all samples add up to 8
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn class_weights(self, weights: &ClassWeights, classes: &ClassCounts) -> Result<Vec<f64>, Error> {
        let weights = weights.of(classes)?;
        Ok(match self {
            Self::Samples => weights,
            Self::Weights => normalized(&weights, classes),
        })
    }
}

impl TrainingConvention {
    /// A convention for the loss and for the penalty of the features.
    #[must_use]
    pub fn new(loss: LossConvention, features: FeatureConvention) -> Self {
        Self { loss, features }
    }

    /// The decay λ_l = μ/α of a layer whose penalty is μ/2 ‖W_l‖².
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless μ is finite and not negative and there are outputs.
    pub fn layer_decay(self, decay: f64, outputs: usize) -> Result<f64, Error> {
        check_not_negative("weight decay", decay)?;
        check_count("outputs", outputs as u64)?;
        Ok(decay / self.loss.scale(outputs))
    }

    /// The decay λ_H of the features: μ_H/α, or μ_H/(α N) if the penalty is averaged over samples.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless μ_H is finite and not negative and there are outputs and samples.
    pub fn feature_decay(self, decay: f64, outputs: usize, samples: u64) -> Result<f64, Error> {
        check_not_negative("feature decay", decay)?;
        check_count("outputs", outputs as u64)?;
        check_count("samples", samples)?;
        let total = decay / self.loss.scale(outputs);
        Ok(match self.features {
            FeatureConvention::Total => total,
            FeatureConvention::Mean => total / samples as f64,
        })
    }

    /// The training loss, penalties included, at an objective of this crate: α f.
    #[must_use]
    pub fn loss(self, objective: f64, outputs: usize) -> f64 {
        self.loss.scale(outputs) * objective
    }

    /// The objective of this crate at a training loss, penalties included.
    #[must_use]
    pub fn objective(self, loss: f64, outputs: usize) -> f64 {
        loss / self.loss.scale(outputs)
    }
}

fn check_count(argument: &'static str, count: u64) -> Result<(), Error> {
    if count > 0 { Ok(()) } else { Err(Error::Domain { argument, value: 0.0, accepted: "at least 1" }) }
}

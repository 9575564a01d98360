//! The loss of a model, its penalty of the bias, and the sign of its features.

use super::Ufm;
use crate::{
    classes::ClassCounts,
    error::{Error, check_not_negative},
    loss::{ClassWeights, Loss, OutputLoss},
};

/// How far the sum of a probability vector may be from 1: the rounding of a softmax over as many outputs as fit in
/// memory, in single precision.
const PROBABILITY: f64 = 1e-6;

/// # Losses
///
/// ```text
/// f = 1/N Σ_k α_k Σ_i l_k(W_L ··· W_1 h_{k,i} + b) + Σ_l λ_l/2 ‖W_l‖² + λ_H/2 ‖H‖² + λ_b/2 ‖b‖²
/// u = δ z + ι - m_k e_k        of the outputs z of a sample of class k
/// l_k = 1/2 ‖u - y‖²           or    log Σ_i exp(u_i) - yᵀu
/// ```
///
/// α are class weights, δ scales, ι shifts, m margins; each is 1 or 0 unless it is set.
impl Ufm {
    /// The same model with another loss. [`Loss::Squared`] if none is set.
    ///
    /// # Errors
    ///
    /// [`Error::NotProbabilities`] if the loss is cross-entropy and the targets are a matrix in which a column is not a
    /// probability vector.
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, ClassWeights, Layer, Loss, Ufm};
    ///
    /// let classes = ClassCounts::paper_emnist_letters();
    /// let ufm = Ufm::new(classes, [Layer::new(64, 5e-3)], 1e-4)?
    ///     .with_loss(Loss::CrossEntropy)?
    ///     .with_class_weights(ClassWeights::InverseRoot)?;
    /// assert!(!ufm.has_closed_form());
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn with_loss(mut self, loss: Loss) -> Result<Self, Error> {
        if let (Loss::CrossEntropy, Some(targets)) = (loss, self.targets().as_matrix()) {
            for (sample, target) in targets.col_iter().enumerate() {
                let refuse = |value| Err(Error::NotProbabilities { sample, value });
                if let Some(&negative) = target.iter().find(|entry| **entry < 0.0) {
                    return refuse(negative);
                }
                let sum: f64 = target.iter().sum();
                if !((sum - 1.0).abs() <= PROBABILITY) {
                    return refuse(sum);
                }
            }
        }
        self.loss.kind = loss;
        Ok(self)
    }

    /// The same model with class weights α.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets are a matrix; as [`ClassWeights::of`].
    pub fn with_class_weights(mut self, weights: impl Into<ClassWeights>) -> Result<Self, Error> {
        let classes = self.classes()?;
        self.loss.set_weights(weights.into().of(&classes)?, classes.classes())?;
        Ok(self)
    }

    /// The same model with shifts ι of the logits, one for each class, the same for all samples.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets are a matrix; [`Error::PerClass`], [`Error::OfClass`] unless there is a
    /// finite number for each class.
    pub fn with_logit_shifts(mut self, shifts: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let classes = self.classes()?;
        self.loss.set_shifts(shifts.into(), classes.classes())?;
        Ok(self)
    }

    /// The same model with logit adjustment (Menon et al. 2021): shifts τ log(n_k/N). τ = 1 is balanced softmax (Ren et
    /// al. 2020).
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets are a matrix; [`Error::OfClass`] unless the shifts are finite.
    pub fn with_logit_adjustment(self, tau: f64) -> Result<Self, Error> {
        let classes = self.classes()?;
        let samples = classes.samples() as f64;
        let shifts: Vec<f64> = classes.counts().iter().map(|&count| tau * (count as f64 / samples).ln()).collect();
        self.with_logit_shifts(shifts)
    }

    /// The same model with margins m_k, subtracted from the logit of a sample's own class.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets are a matrix; [`Error::PerClass`], [`Error::OfClass`] unless there is a
    /// finite number that is not negative for each class.
    pub fn with_margins(mut self, margins: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let classes = self.classes()?;
        self.loss.set_margins(margins.into(), classes.classes())?;
        Ok(self)
    }

    /// The same model with label-distribution-aware margins (LDAM, Cao et al. 2019): m_k = C n_k^(-1/4).
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets are a matrix; [`Error::OfClass`] unless C is finite and not negative.
    pub fn with_ldam(self, constant: f64) -> Result<Self, Error> {
        let classes = self.classes()?;
        let margins: Vec<f64> = classes.counts().iter().map(|&count| constant * (count as f64).powf(-0.25)).collect();
        self.with_margins(margins)
    }

    /// The same model with scales δ of the logits, one for each class.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets are a matrix; [`Error::PerClass`], [`Error::OfClass`] unless there is a
    /// positive finite number for each class.
    pub fn with_logit_scales(mut self, scales: impl Into<Vec<f64>>) -> Result<Self, Error> {
        let classes = self.classes()?;
        self.loss.set_scales(scales.into(), classes.classes())?;
        Ok(self)
    }

    /// The same model with class-dependent temperatures (CDT, Ye et al. 2020): scales (n_k/n_max)^γ.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets are a matrix; [`Error::OfClass`] unless the scales are positive and
    /// finite.
    pub fn with_cdt(self, gamma: f64) -> Result<Self, Error> {
        let classes = self.classes()?;
        let largest = classes.group(0).count as f64;
        let scales: Vec<f64> = classes.counts().iter().map(|&count| (count as f64 / largest).powf(gamma)).collect();
        self.with_logit_scales(scales)
    }

    /// The same model with a penalty λ_b/2 ‖b‖² of its bias. A decay of zero means a bias that is free, not one that is
    /// absent.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless λ_b is finite and not negative.
    pub fn with_bias_decay(self, decay: f64) -> Result<Self, Error> {
        check_not_negative("decay of the bias", decay)?;
        Ok(Self { bias: true, bias_decay: decay, ..self })
    }

    /// The same model with features that may not be negative, H ≥ 0, as after a ReLU. The objective is the same; a
    /// [`Descent`](crate::descent::Descent) projects its start and every step.
    #[must_use]
    pub fn with_nonnegative_features(self) -> Self {
        Self { nonnegative: true, ..self }
    }

    /// The loss of one sample.
    #[must_use]
    pub fn loss(&self) -> Loss {
        self.loss.kind
    }

    /// The class weights α_k, in the order of the classes; `None` if all are 1.
    #[must_use]
    pub fn class_weights(&self) -> Option<&[f64]> {
        self.loss.weights()
    }

    /// The scales δ of the logits; `None` if all are 1.
    #[must_use]
    pub fn logit_scales(&self) -> Option<&[f64]> {
        self.loss.scales()
    }

    /// The shifts ι of the logits; `None` if all are 0.
    #[must_use]
    pub fn logit_shifts(&self) -> Option<&[f64]> {
        self.loss.shifts()
    }

    /// The margins m_k of the classes; `None` if all are 0.
    #[must_use]
    pub fn margins(&self) -> Option<&[f64]> {
        self.loss.margins()
    }

    /// The decay λ_b of the bias; 0 if it is free or absent.
    #[must_use]
    pub fn bias_decay(&self) -> f64 {
        if self.bias { self.bias_decay } else { 0.0 }
    }

    /// Whether features may not be negative.
    #[must_use]
    pub fn has_nonnegative_features(&self) -> bool {
        self.nonnegative
    }

    /// Whether [`Ufm::minimizer`] has a closed form for this model: squared loss without class weights and adjustments
    /// of logits, a bias that is free or absent, and features of any sign.
    #[must_use]
    pub fn has_closed_form(&self) -> bool {
        self.check_closed_form().is_ok()
    }

    pub(crate) fn check_closed_form(&self) -> Result<(), Error> {
        let refuse = |because| Err(Error::NoClosedForm { because });
        if self.loss.kind == Loss::CrossEntropy {
            refuse("cross-entropy")
        } else if self.nonnegative {
            refuse("nonnegative features")
        } else if self.loss.weights().is_some() {
            refuse("class weights")
        } else if self.loss.adjusts() {
            refuse("adjusted logits")
        } else if self.bias_decay() > 0.0 {
            refuse("a bias that decays")
        } else {
            Ok(())
        }
    }

    /// Whether the objective stays the same if samples are rotated among each other: squared loss without class weights,
    /// and features of any sign. Then deviations from class means can be reduced.
    pub(crate) fn can_rotate_samples(&self) -> bool {
        self.loss.is_rotation_invariant() && !self.nonnegative
    }

    /// The loss with all its parts.
    pub(crate) fn output_loss(&self) -> &OutputLoss {
        &self.loss
    }

    /// The same model with this loss, checked.
    #[cfg(feature = "serde")]
    pub(super) fn with_output_loss(self, loss: &OutputLoss) -> Result<Self, Error> {
        let list = |values: Option<&[f64]>| values.map(<[f64]>::to_vec);
        let mut ufm = self.with_loss(loss.kind)?;
        if let Some(weights) = list(loss.weights()) {
            ufm = ufm.with_class_weights(ClassWeights::Given(weights))?;
        }
        if let Some(scales) = list(loss.scales()) {
            ufm = ufm.with_logit_scales(scales)?;
        }
        if let Some(shifts) = list(loss.shifts()) {
            ufm = ufm.with_logit_shifts(shifts)?;
        }
        if let Some(margins) = list(loss.margins()) {
            ufm = ufm.with_margins(margins)?;
        }
        Ok(ufm)
    }

    fn classes(&self) -> Result<ClassCounts, Error> {
        self.class_counts().cloned().ok_or(Error::NoClassCounts)
    }
}

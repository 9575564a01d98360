//! What class means alone say: the equations of the features without the noise of single samples, and with a constant
//! added to the outputs.

use faer::{Col, Mat};

use super::{
    super::nearest_center::Rules,
    from_statistics::multiplied,
    implied::{ImpliedDecay, ImpliedDecays, implied},
    network::NetworkGradient,
};
use crate::{error::Error, linalg::memory::slice_mut, loss::Loss};

/// Steps towards the constant of cross-entropy. Each costs K² exponentials, and the error shrinks by a factor that is
/// far from 1 unless the outputs are nearly certain, where a constant changes little.
const MOST_STEPS: usize = 60;
/// The sum of residuals, for each sample, at which the constant is found.
const FOUND: f64 = 1e-9;

/// Class means of the features, with the number of samples of every class.
struct Means<'a> {
    counts: &'a [u64],
    /// H̄, d × K.
    features: Mat<f64>,
    /// W_{L:1} H̄ + b 1ᵀ.
    logits: Mat<f64>,
}

impl NetworkGradient {
    /// λ_H and its misfit at class means, where every sample of class k counts as one at h̄_k:
    ///
    /// ```text
    /// (W_L ··· W_1)ᵀ r_k/N = λ_H h̄_k,    each class n_k times
    /// ```
    ///
    /// Features that are never negative count where they are positive. `None` if one of the two sides is zero.
    pub(in crate::metrics) fn mean_features(&self, rules: &Rules) -> Result<Option<ImpliedDecay>, Error> {
        let Some(means) = self.means(rules) else { return Ok(None) };
        let residuals = self.residuals(&means, &Col::zeros(means.logits.nrows()));
        self.features_at(&means, &residuals)
    }

    /// λ_H over the positive entries of class means alone, with the largest misfit of a class over these, and the part of
    /// ‖H̄ D‖² that is negative. `None` if no entry is positive.
    pub(in crate::metrics) fn positive_mean_features(
        &self,
        rules: &Rules,
    ) -> Result<Option<(ImpliedDecay, f64)>, Error> {
        let Some(means) = self.means(rules) else { return Ok(None) };
        let residuals = self.residuals(&means, &Col::zeros(means.logits.nrows()));
        let pull = multiplied(self.network.product.transpose(), residuals.as_ref())?;
        // Both sides of the equation, where features are positive.
        let pairs = |k: usize| {
            let pairs = pull.col(k).iter().zip(means.features.col(k).iter());
            pairs.map(|(pull, &feature)| (-pull / self.samples(), feature)).filter(|(_, feature)| *feature > 0.0)
        };
        let weighted = |of: &dyn Fn(usize) -> f64| -> f64 {
            means.counts.iter().enumerate().map(|(k, &count)| count as f64 * of(k)).sum()
        };
        let square = weighted(&|k| pairs(k).map(|(_, h)| h * h).sum());
        let decay = weighted(&|k| pairs(k).map(|(a, h)| a * h).sum()) / square;
        let misfit = |k: usize| {
            let rest: f64 = pairs(k).map(|(a, h)| (a - decay * h).powi(2)).sum();
            if rest > 0.0 { (rest / pairs(k).map(|(a, _)| a * a).sum::<f64>()).sqrt() } else { 0.0 }
        };
        let misfit = (0..means.counts.len()).map(misfit).fold(0.0, f64::max);
        let all = weighted(&|k| means.features.col(k).squared_norm_l2());
        Ok((square > 0.0).then_some((ImpliedDecay { decay, misfit }, 1.0 - square / all)))
    }

    /// What the arrays of a network without a bias would imply if its outputs had the constant that brings the sum of
    /// residuals to zero. For layers, exact for squared loss, and else where samples are near their class means; for
    /// features, of class means. `None` with a bias, or with scales of the logits.
    pub(in crate::metrics) fn with_constant(&self, rules: &Rules) -> Result<Option<ImpliedDecays>, Error> {
        if self.network.bias.is_some() || self.model.logit_scales().is_some() {
            return Ok(None);
        }
        let Some(means) = self.means(rules) else { return Ok(None) };
        let before = self.residuals(&means, &Col::zeros(means.logits.nrows()));
        let after = self.residuals(&means, &self.constant(&means));
        // D Hᵀ, changed by what it changes by at class means; times -1/N.
        let samples = self.samples();
        let change = Mat::from_fn(before.nrows(), before.ncols(), |i, k| {
            means.counts[k] as f64 * (after[(i, k)] - before[(i, k)])
        });
        let change = multiplied(change.as_ref(), means.features.transpose())?;
        let outer =
            Mat::from_fn(change.nrows(), change.ncols(), |i, j| -(self.sums.outer[(i, j)] + change[(i, j)]) / samples);
        let (layers, features) = (self.layers(&outer)?, self.features_at(&means, &after)?);
        Ok(Some(ImpliedDecays { layers, features, bias: None, outputs: before.nrows() }))
    }

    /// What samples vary about their class means, compared with what these vary: Σ ‖h - h̄_k‖²/Σ n_k ‖h̄_k - h_G‖².
    pub(in crate::metrics) fn scatter_ratio(&self, rules: &Rules) -> f64 {
        let Some(means) = self.means(rules) else { return f64::INFINITY };
        let sum = |of: &Mat<f64>| -> f64 {
            of.col_iter().zip(means.counts).map(|(mean, &count)| count as f64 * mean.squared_norm_l2()).sum()
        };
        (self.square - sum(&means.features)).max(0.0) / sum(&rules.means)
    }

    fn means(&self, rules: &Rules) -> Option<Means<'_>> {
        let counts = self.model.class_counts()?.counts();
        let features =
            Mat::from_fn(rules.means.nrows(), rules.means.ncols(), |i, k| rules.means[(i, k)] + rules.center[i]);
        Some(Means { counts, features, logits: rules.logits_of_means() })
    }

    /// D at class means, with a constant added to the outputs.
    fn residuals(&self, means: &Means<'_>, constant: &Col<f64>) -> Mat<f64> {
        let (loss, smoothing) = (self.model.output_loss(), self.model.targets().smoothing());
        let mut residuals = means.logits.clone();
        for (class, mut column) in residuals.col_iter_mut().enumerate() {
            column += constant;
            loss.of_label(class, smoothing, slice_mut(column));
        }
        residuals
    }

    fn features_at(&self, means: &Means<'_>, residuals: &Mat<f64>) -> Result<Option<ImpliedDecay>, Error> {
        let samples = self.samples();
        let mut pull = multiplied(self.network.product.transpose(), residuals.as_ref())?;
        let mut features = means.features.clone();
        for (k, &count) in means.counts.iter().enumerate() {
            // With √n_k on both sides every sample counts once.
            let root = (count as f64).sqrt();
            for i in 0..features.nrows() {
                let is_active = !self.is_nonnegative || features[(i, k)] > 0.0;
                pull[(i, k)] *= if is_active { -root / samples } else { 0.0 };
                features[(i, k)] *= root;
            }
        }
        implied(pull.as_ref(), features.as_ref())
    }

    /// The constant c for which Σ_k n_k D_k = 0: of a linear D by its slope, of cross-entropy by generalized iterative
    /// scaling, c_j += log of what outputs j should sum up to, over what they do.
    fn constant(&self, means: &Means<'_>) -> Col<f64> {
        let outputs = means.logits.nrows();
        let total = |constant: &Col<f64>| {
            let residuals = self.residuals(means, constant);
            let mut total = Col::<f64>::zeros(outputs);
            for (column, &count) in residuals.col_iter().zip(means.counts) {
                total += faer::Scale(count as f64) * column;
            }
            total
        };
        let mut constant = Col::zeros(outputs);
        if self.model.loss() == Loss::Squared {
            let (at_zero, at_one) = (total(&constant), total(&Col::ones(outputs)));
            return Col::from_fn(outputs, |j| -at_zero[j] / (at_one[j] - at_zero[j]));
        }
        let weight = |k: usize| self.model.class_weights().map_or(1.0, |weights| weights[k]);
        let smoothing = self.model.targets().smoothing();
        let weighted: Vec<f64> = means.counts.iter().enumerate().map(|(k, &n)| weight(k) * n as f64).collect();
        let everywhere = smoothing / outputs as f64 * weighted.iter().sum::<f64>();
        for _ in 0..MOST_STEPS {
            let total = total(&constant);
            if total.norm_max() <= FOUND * self.samples() {
                break;
            }
            for j in 0..outputs {
                let wanted = (1.0 - smoothing) * weighted[j] + everywhere;
                constant[j] += (wanted / (wanted + total[j]).max(f64::MIN_POSITIVE)).ln();
            }
        }
        constant
    }
}

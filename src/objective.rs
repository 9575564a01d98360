//! The objective and its gradient, written to be read: the reference that every faster path is tested against.

use faer::{Col, Mat, MatRef};

use crate::{error::Error, model::Ufm, parameters::Parameters};

impl Ufm {
    /// The objective
    ///
    /// ```text
    /// f = 1/(2N) ‖W_L ··· W_1 H + b 1ᵀ - Y‖² + Σ_l λ_l/2 ‖W_l‖² + λ_H/2 ‖H‖²
    /// ```
    ///
    /// Cost: 2 N (d_1 d_2 + ... + d_L K) operations, N max(d_l, K) numbers of memory.
    ///
    /// # Errors
    ///
    /// If the parameters belong to another model: [`Error::LayerCount`], [`Error::BiasPresence`],
    /// [`Error::ClassCounts`], [`Error::Shape`].
    pub fn objective(&self, parameters: &Parameters) -> Result<f64, Error> {
        parameters.check_shapes(self)?;
        let mut signal = parameters.features.clone();
        for weights in &parameters.weights {
            signal = weights * signal;
        }
        let residual = self.residual(signal, parameters);
        Ok(self.value(&residual, parameters))
    }

    /// The objective and its gradient, by backpropagation through the layers:
    ///
    /// ```text
    /// S_0 = H,  S_l = W_l S_{l-1};      R_L = (S_L + b 1ᵀ - Y)/N,  R_{l-1} = W_lᵀ R_l
    /// ∂f/∂W_l = R_l S_{l-1}ᵀ + λ_l W_l,      ∂f/∂H = R_0 + λ_H H,      ∂f/∂b = R_L 1
    /// ```
    ///
    /// The gradient has the shape of the parameters. Cost: 6 N (d_1 d_2 + ... + d_L K) operations, N (d_1 + ... + d_L +
    /// K) numbers of memory.
    ///
    /// # Errors
    ///
    /// As [`Ufm::objective`].
    pub fn objective_and_gradient(&self, parameters: &Parameters) -> Result<(f64, Parameters), Error> {
        parameters.check_shapes(self)?;
        // What each layer reads: S_0 .. S_{L-1}.
        let mut signals = Vec::with_capacity(self.depth());
        let mut signal = parameters.features.clone();
        for weights in &parameters.weights {
            let next = weights * &signal;
            signals.push(signal);
            signal = next;
        }
        let mut residual = self.residual(signal, parameters);
        let objective = self.value(&residual, parameters);

        residual *= faer::Scale(1.0 / self.samples() as f64);
        let bias = parameters.bias.as_ref().map(|_| Col::from_fn(residual.nrows(), |k| residual.row(k).iter().sum()));
        let mut weights = vec![Mat::new(); self.depth()];
        for l in (0..self.depth()).rev() {
            weights[l] = &residual * signals[l].transpose() + self.layers()[l].decay * &parameters.weights[l];
            residual = parameters.weights[l].transpose() * residual;
        }
        let features = residual + self.feature_decay() * &parameters.features;
        Ok((objective, Parameters { weights, features, bias, classes: self.class_counts().cloned() }))
    }

    /// W_L ··· W_1 H + b 1ᵀ - Y, made of the product in place.
    fn residual(&self, mut output: Mat<f64>, parameters: &Parameters) -> Mat<f64> {
        if let Some(bias) = &parameters.bias {
            for mut sample in output.col_iter_mut() {
                sample += bias;
            }
        }
        self.targets().subtract_from(output.as_mut());
        output
    }

    /// The objective from W_L ··· W_1 H + b 1ᵀ - Y.
    fn value(&self, residual: &Mat<f64>, parameters: &Parameters) -> f64 {
        let square = |matrix: MatRef<'_, f64>| matrix.squared_norm_l2();
        let fit = square(residual.as_ref()) / (2.0 * self.samples() as f64);
        let layers = self.layers().iter().zip(&parameters.weights);
        // Halved last: half of a decay below the normal numbers would have lost a digit.
        let weights: f64 = layers.map(|(layer, weights)| layer.decay * square(weights.as_ref()) / 2.0).sum();
        fit + weights + self.feature_decay() * square(parameters.features.as_ref()) / 2.0
    }
}

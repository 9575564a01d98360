//! The objective and its gradient, written to be read: the reference that every faster path is tested against.

use std::collections::BTreeMap;

use faer::{Col, Mat, MatRef};

use crate::{
    classes::ClassCounts,
    error::Error,
    linalg::memory::{slice, slice_mut},
    loss::Label,
    model::Ufm,
    parameters::Parameters,
};

impl Ufm {
    /// The objective
    ///
    /// ```text
    /// f = 1/N Σ_j α_j l_j(W_L ··· W_1 h_j + b) + Σ_l λ_l/2 ‖W_l‖² + λ_H/2 ‖H‖² + λ_b/2 ‖b‖²
    ///   = 1/(2N) ‖W_L ··· W_1 H + b 1ᵀ - Y‖² + Σ_l λ_l/2 ‖W_l‖² + λ_H/2 ‖H‖²        for the squared loss, no weights
    /// ```
    ///
    /// over samples j. That features may not be negative is not part of it. Logits of any size do not overflow.
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
        let fit = self.compare(&mut signal, parameters);
        Ok(self.value(fit, parameters))
    }

    /// The objective and its gradient, by backpropagation through the layers:
    ///
    /// ```text
    /// S_0 = H,  S_l = W_l S_{l-1};      R_L = Δ (P - Y) diag(α)/N,  R_{l-1} = W_lᵀ R_l
    /// ∂f/∂W_l = R_l S_{l-1}ᵀ + λ_l W_l,      ∂f/∂H = R_0 + λ_H H,      ∂f/∂b = R_L 1 + λ_b b
    /// ```
    ///
    /// with P the softmax of the adjusted logits, or for the squared loss these themselves: R_L = (S_L + b 1ᵀ - Y)/N
    /// without weights and adjustments.
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
        let fit = self.compare(&mut signal, parameters);
        let (mut residual, objective) = (signal, self.value(fit, parameters));

        residual *= faer::Scale(1.0 / self.samples() as f64);
        let bias = parameters.bias.as_ref().map(|bias| {
            let decay = self.bias_decay();
            Col::from_fn(residual.nrows(), |k| {
                let sum: f64 = residual.row(k).iter().sum();
                if decay > 0.0 { sum + decay * bias[k] } else { sum }
            })
        });
        let mut weights = vec![Mat::new(); self.depth()];
        for l in (0..self.depth()).rev() {
            weights[l] = &residual * signals[l].transpose() + self.layers()[l].decay * &parameters.weights[l];
            residual = parameters.weights[l].transpose() * residual;
        }
        let features = residual + self.feature_decay() * &parameters.features;
        Ok((objective, Parameters { weights, features, bias, classes: self.class_counts().cloned() }))
    }

    /// The mean loss of outputs without bias, and the gradients of the samples' losses in their place.
    fn compare(&self, outputs: &mut Mat<f64>, parameters: &Parameters) -> f64 {
        if let Some(bias) = &parameters.bias {
            for mut sample in outputs.col_iter_mut() {
                sample += bias;
            }
        }
        let loss = self.output_loss();
        if loss.is_plain_squared() {
            self.targets().subtract_from(outputs.as_mut());
            return outputs.squared_norm_l2() / (2.0 * self.samples() as f64);
        }
        let mut sum = 0.0;
        for (sample, label) in self.labels().enumerate() {
            let outputs = slice_mut(outputs.col_mut(sample));
            sum += match label {
                Label::Class(class, smoothing) => loss.of_label(class, smoothing, outputs),
                Label::Target(target) => loss.of_target(target, outputs),
                Label::Zero => 0.0,
            };
        }
        sum / self.samples() as f64
    }

    /// What the outputs of every sample are compared with.
    fn labels(&self) -> impl Iterator<Item = Label<'_>> {
        let smoothing = self.targets().smoothing();
        let classes = self.class_counts().into_iter().flat_map(ClassCounts::ranges).enumerate();
        let classes = classes.flat_map(move |(class, samples)| samples.map(move |_| Label::Class(class, smoothing)));
        let targets = self.targets().as_matrix().into_iter().flat_map(MatRef::col_iter);
        classes.chain(targets.map(|target| Label::Target(slice(target))))
    }

    /// The objective of parameters whose mean loss is `fit`.
    fn value(&self, fit: f64, parameters: &Parameters) -> f64 {
        let square = |matrix: MatRef<'_, f64>| matrix.squared_norm_l2();
        let layers = self.layers().iter().zip(&parameters.weights);
        // Halved last: half of a decay below the normal numbers would have lost a digit.
        let weights: f64 = layers.map(|(layer, weights)| layer.decay * square(weights.as_ref()) / 2.0).sum();
        let value = fit + weights + self.feature_decay() * square(parameters.features.as_ref()) / 2.0;
        value + self.bias_penalty(parameters)
    }

    /// λ_b/2 ‖b‖²; zero if the bias is free or absent.
    pub(crate) fn bias_penalty(&self, parameters: &Parameters) -> f64 {
        match &parameters.bias {
            Some(bias) if self.bias_decay() > 0.0 => self.bias_decay() * bias.squared_norm_l2() / 2.0,
            _ => 0.0,
        }
    }

    /// The objective where all parameters are zero.
    pub(crate) fn objective_at_zero(&self) -> f64 {
        let loss = self.output_loss();
        if loss.is_plain_squared() {
            return 0.5 * self.targets().mean_square();
        }
        let mut outputs = vec![0.0; self.outputs()];
        let mut of = |label| {
            outputs.fill(0.0);
            match label {
                Label::Class(class, smoothing) => loss.of_label(class, smoothing, &mut outputs),
                Label::Target(target) => loss.of_target(target, &mut outputs),
                Label::Zero => 0.0,
            }
        };
        let sum: f64 = match self.class_counts() {
            Some(classes) => {
                let smoothing = self.targets().smoothing();
                // Classes of one weight, shift and margin have one loss here, and each takes K exponentials.
                let mut known = BTreeMap::new();
                let of_class = |(class, &count): (usize, &u64)| {
                    let key = [loss.weight(class), loss.shift(class), loss.margin(class)].map(f64::to_bits);
                    count as f64 * *known.entry(key).or_insert_with(|| of(Label::Class(class, smoothing)))
                };
                classes.counts().iter().enumerate().map(of_class).sum()
            }
            None => self.labels().map(of).sum(),
        };
        sum / self.samples() as f64
    }
}

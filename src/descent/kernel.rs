//! The objective and its gradient in one pass over panels of columns, on all cores.
//!
//! All weight gradients follow from one K × d_1 matrix M, so that the cost of a pass over the samples does not grow
//! with the number of layers, and all products of layers have K rows:
//!
//! ```text
//! S_l = W_L ··· W_l,   E = S_1 H + b 1ᵀ - Y,   M = E Hᵀ/N,   M_1 = M,   M_l = M_{l-1} W_{l-1}ᵀ
//! ∂f/∂W_l = S_{l+1}ᵀ M_l + λ_l W_l,   ∂f/∂H = S_1ᵀ E/N + λ_H H,   ∂f/∂b = E 1/N
//! ```
//!
//! The columns are split into a number of parts that depends on their number alone, each part is summed in order on one
//! core, and the parts are added up in order: results are bitwise the same for any number of threads.

use faer::{
    Accum, Col, Mat, MatMut, MatRef, Par,
    linalg::matmul::matmul,
    prelude::{Reborrow, ReborrowMut},
};

use crate::{
    cores::{all_cores, for_each},
    model::Ufm,
    parameters::Parameters,
};

/// Columns of a panel: its features stay in the second-level cache while three products use them.
const PANEL: usize = 96;
/// At most this many parts, for as many cores; each has a d_1 × K sum of its own.
const MAX_PARTS: usize = 16;
/// Fewer columns than this are not worth a part of their own.
const MIN_PART: usize = 2 * PANEL;

/// What one column of features is compared with: `weight` times the label of `class`, and `weight` is also its entry of
/// 1ᵀ.
///
/// The weight is 1 for a sample, √n_k for a class mean that stands for n_k samples, and 0 for a deviation within
/// classes. There is no class where the targets are a matrix.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Column {
    pub(crate) class: Option<usize>,
    pub(crate) weight: f64,
}

/// The columns of all samples.
pub(crate) fn sample_columns(ufm: &Ufm) -> Vec<Column> {
    let sample = |class| Column { class, weight: 1.0 };
    match ufm.class_counts() {
        Some(classes) => {
            let classes = classes.ranges().enumerate();
            classes.flat_map(|(class, samples)| samples.map(move |_| sample(Some(class)))).collect()
        }
        None => (0..ufm.samples()).map(|_| sample(None)).collect(),
    }
}

/// Objective and gradient of one model over one set of columns, with all the memory that they need.
#[derive(Debug)]
pub(crate) struct Kernel<'a> {
    ufm: &'a Ufm,
    parts: Vec<Part<'a>>,
    /// S_l = W_L ··· W_l, K × d_l.
    products: Vec<Mat<f64>>,
    /// M_l = M (W_{l-1} ··· W_1)ᵀ, K × d_l.
    moments: Vec<Mat<f64>>,
    pub(crate) evaluations: usize,
}

/// Consecutive columns and what one core sums over them.
#[derive(Debug)]
struct Part<'a> {
    columns: Vec<Column>,
    /// The targets of these columns, where they are a matrix.
    targets: Option<MatRef<'a, f64>>,
    /// Eᵀ of a panel.
    residual: Mat<f64>,
    /// Σ ‖E‖², and H Eᵀ (d_1 × K), E 1 (K), ‖H‖².
    fit: f64,
    moment: Mat<f64>,
    total: Col<f64>,
    penalty: f64,
}

impl<'a> Kernel<'a> {
    pub(crate) fn new(ufm: &'a Ufm, columns: &[Column]) -> Self {
        let (outputs, width) = (ufm.outputs(), ufm.feature_width());
        let parts = columns.len().div_ceil(MIN_PART).clamp(1, MAX_PARTS);
        // Whole panels, so that only the last one of the last part is short.
        let size = (columns.len().div_ceil(PANEL).div_ceil(parts) * PANEL).max(1);
        let part = |(i, columns): (usize, &[Column])| Part {
            columns: columns.to_vec(),
            targets: ufm.targets().as_matrix().map(|targets| targets.subcols(i * size, columns.len())),
            residual: Mat::zeros(PANEL.min(columns.len()), outputs),
            fit: 0.0,
            moment: Mat::zeros(width, outputs),
            total: Col::zeros(outputs),
            penalty: 0.0,
        };
        let by_layer = || ufm.layers().iter().map(|layer| Mat::zeros(outputs, layer.width)).collect();
        Self {
            ufm,
            parts: columns.chunks(size).enumerate().map(part).collect(),
            products: by_layer(),
            moments: by_layer(),
            evaluations: 0,
        }
    }

    /// The objective.
    pub(crate) fn objective(&mut self, point: &Parameters) -> f64 {
        self.pass(point, None);
        self.value(point)
    }

    /// The objective; the gradient is written to `gradient`.
    pub(crate) fn gradient(&mut self, point: &Parameters, gradient: &mut Parameters) -> f64 {
        self.pass(point, Some(gradient.features.as_mut()));
        self.weight_gradients(point, gradient);
        if let Some(bias) = &mut gradient.bias {
            bias.fill(0.0);
            for part in &self.parts {
                *bias += &part.total;
            }
            *bias *= faer::Scale(1.0 / self.ufm.samples() as f64);
        }
        self.value(point)
    }

    /// The pass over all columns.
    fn pass(&mut self, point: &Parameters, gradient: Option<MatMut<'_, f64>>) {
        self.evaluations += 1;
        let last = point.weights.len() - 1;
        self.products[last].copy_from(&point.weights[last]);
        for l in (0..last).rev() {
            let (lower, upper) = self.products.split_at_mut(l + 1);
            matmul(&mut lower[l], Accum::Replace, &upper[0], &point.weights[l], 1.0, all_cores());
        }
        let smoothing = self.ufm.targets().smoothing();
        let constant = smoothing / self.ufm.outputs() as f64;
        let shift = match &point.bias {
            Some(bias) => Some(Col::from_fn(bias.nrows(), |k| bias[k] - constant)),
            None if constant > 0.0 => Some(Col::full(self.ufm.outputs(), -constant)),
            None => None,
        };
        let constants = Constants {
            product: self.products[0].as_ref(),
            shift: shift.as_ref(),
            label: 1.0 - smoothing,
            samples: self.ufm.samples() as f64,
            feature_decay: self.ufm.feature_decay(),
        };
        let mut rest = gradient;
        let mut start = 0;
        let mut work = Vec::with_capacity(self.parts.len());
        for part in &mut self.parts {
            let features = point.features.subcols(start, part.columns.len());
            start += part.columns.len();
            let (own, others) = rest.map(|all| all.split_at_col_mut(part.columns.len())).unzip();
            rest = others;
            work.push((part, features, own));
        }
        for_each(work, |(part, features, gradient)| part.pass(&constants, features, gradient));
    }

    /// Adds the parts up to M and pushes it through the layers.
    fn weight_gradients(&mut self, point: &Parameters, gradient: &mut Parameters) {
        let moment = &mut self.moments[0];
        moment.fill(0.0);
        for part in &self.parts {
            *moment += part.moment.transpose();
        }
        *moment *= faer::Scale(1.0 / self.ufm.samples() as f64);
        for (l, weights) in gradient.weights.iter_mut().enumerate() {
            if l > 0 {
                let (lower, upper) = self.moments.split_at_mut(l);
                let below = point.weights[l - 1].transpose();
                matmul(&mut upper[0], Accum::Replace, &lower[l - 1], below, 1.0, all_cores());
            }
            match self.products.get(l + 1) {
                Some(above) => {
                    let above = above.transpose();
                    matmul(weights.as_mut(), Accum::Replace, above, &self.moments[l], 1.0, all_cores());
                }
                None => weights.copy_from(&self.moments[l]),
            }
            *weights += self.ufm.layers()[l].decay * &point.weights[l];
        }
    }

    fn value(&self, point: &Parameters) -> f64 {
        let fit: f64 = self.parts.iter().map(|part| part.fit).sum();
        let penalty: f64 = self.parts.iter().map(|part| part.penalty).sum();
        let layers = self.ufm.layers().iter().zip(&point.weights);
        let weights: f64 = layers.map(|(layer, weights)| 0.5 * layer.decay * weights.squared_norm_l2()).sum();
        fit / (2.0 * self.ufm.samples() as f64) + weights + 0.5 * self.ufm.feature_decay() * penalty
    }
}

/// What all parts share during a pass.
struct Constants<'a> {
    product: MatRef<'a, f64>,
    /// What is added to every output: the bias, less the constant of smoothed labels.
    shift: Option<&'a Col<f64>>,
    /// The label of a sample's own class, less that constant.
    label: f64,
    samples: f64,
    feature_decay: f64,
}

impl Part<'_> {
    fn pass(&mut self, constants: &Constants<'_>, features: MatRef<'_, f64>, mut gradient: Option<MatMut<'_, f64>>) {
        (self.fit, self.penalty) = (0.0, 0.0);
        self.total.fill(0.0);
        self.moment.fill(0.0);
        for start in (0..self.columns.len()).step_by(PANEL) {
            let size = PANEL.min(self.columns.len() - start);
            let panel = features.subcols(start, size);
            let mut residual = self.residual.as_mut().subrows_mut(0, size);
            // Eᵀ = Hᵀ Pᵀ + 1 bᵀ - Yᵀ: with the samples as rows, all three products run along the columns of H.
            matmul(residual.rb_mut(), Accum::Replace, panel.transpose(), constants.product.transpose(), 1.0, Par::Seq);
            for (j, column) in self.columns[start..start + size].iter().enumerate() {
                if let Some(class) = column.class {
                    residual[(j, class)] -= constants.label * column.weight;
                }
            }
            if let Some(targets) = self.targets {
                residual -= targets.subcols(start, size).transpose();
            }
            let columns = &self.columns[start..start + size];
            for k in 0..residual.ncols() {
                let mut errors = residual.rb_mut().col_mut(k);
                if let Some(shift) = constants.shift {
                    for (error, column) in errors.rb_mut().iter_mut().zip(columns) {
                        *error += shift[k] * column.weight;
                    }
                    let weighted = errors.rb().iter().zip(columns).map(|(error, column)| error * column.weight);
                    self.total[k] += weighted.sum::<f64>();
                }
                self.fit += errors.rb().transpose() * errors.rb();
            }
            for column in panel.col_iter() {
                self.penalty += column.transpose() * column;
            }
            if let Some(gradient) = &mut gradient {
                matmul(self.moment.as_mut(), Accum::Add, panel, residual.as_ref(), 1.0, Par::Seq);
                let mut own = gradient.rb_mut().subcols_mut(start, size);
                own.copy_from(panel);
                own *= faer::Scale(constants.feature_decay);
                let (product, errors) = (constants.product.transpose(), residual.transpose());
                matmul(own.rb_mut(), Accum::Add, product, errors, 1.0 / constants.samples, Par::Seq);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

    use super::{Kernel, sample_columns};
    use crate::{classes::ClassCounts, model::Layer, model::Ufm, parameters::Parameters};

    proptest! {
        /// More samples than a panel and than a part, and fewer.
        #[test]
        fn the_pass_agrees_with_the_reference(
            counts in prop::collection::vec(1_u64..200, 1..6),
            widths in prop::collection::vec(1_usize..8, 1..5),
            bias: bool,
            seed: u64,
        ) {
            let layers: Vec<Layer> = widths.iter().map(|&width| Layer::new(width, 0.25)).collect();
            let make = if bias { Ufm::biased } else { Ufm::bias_free };
            let ufm = make(ClassCounts::new(counts).unwrap(), layers, 0.125).unwrap();
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut point = Parameters::normal(&ufm, 1.0, 1.0, &mut rng).unwrap();
            if let Some(bias) = &mut point.bias {
                bias.iter_mut().enumerate().for_each(|(k, entry)| *entry = 0.5 - k as f64);
            }
            let mut kernel = Kernel::new(&ufm, &sample_columns(&ufm));
            let (objective, reference) = ufm.objective_and_gradient(&point).unwrap();
            let mut gradient = point.clone();
            let rounding = 1000.0 * f64::EPSILON;
            prop_assert!((kernel.gradient(&point, &mut gradient) / objective - 1.0).abs() <= rounding);
            prop_assert!((kernel.objective(&point) / objective - 1.0).abs() <= rounding);
            // Sums of up to 1000 columns, whose terms are of the size of the objective times the norms of the other
            // factors.
            let size: f64 = point.blocks().map(|block| 1.0 + block.norm_l2()).product();
            for (ours, theirs) in gradient.blocks().zip(reference.blocks()) {
                prop_assert!((ours - theirs).norm_l2() <= rounding * size * (1.0 + objective));
            }
        }
    }
}

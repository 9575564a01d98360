//! The objective, its gradient, and whole steps in one pass over panels of columns, on all cores.
//!
//! All weight gradients follow from one matrix M of the size of W_{L:1}, so that the cost of a pass over the samples
//! does not grow with the number of layers:
//!
//! ```text
//! S_l = W_L ··· W_l,   E = S_1 H + b 1ᵀ - Y,   M = E Hᵀ/N,   M_1 = M,   M_l = M_{l-1} W_{l-1}ᵀ
//! ∂f/∂W_l = S_{l+1}ᵀ M_l + λ_l W_l,   ∂f/∂H = S_1ᵀ E/N + λ_H H,   ∂f/∂b = E 1/N
//! ```
//!
//! Where a layer is so narrow that W_{L:1} has more entries than its two factors on both sides of that layer, the pass
//! goes through the narrow layer instead: S_l then end there, and so do M_l.
//!
//! A step in the features needs only what a panel itself gives, so that a pass can write the next features while the
//! panel is in the cache: they are read once and written once. The columns are split into a number of parts that
//! depends on their number alone, each part is summed in order on one core, and the parts are added up in order:
//! results are bitwise the same for any number of threads.

use faer::{
    Accum, Col, Mat, MatMut, MatRef, Par,
    linalg::matmul::matmul,
    prelude::{Reborrow, ReborrowMut},
    unzip, zip,
};
use pulp::Arch;

use super::{
    panel::{Carry, Sums, advance, advance_on_all_cores, complete, look_ahead},
    variables::Scales,
};
use crate::{
    cores::{all_cores, for_each},
    matrices::{slice, slice_mut},
    model::Ufm,
    parameters::Parameters,
};

/// Numbers in a panel of features: three panels, of the point, of the one before and of the next, stay in the
/// second-level cache while all products and the step use them (measured: 64 to 96 columns of 512 numbers are best).
const PANEL: usize = 96 * 512;
/// Columns of a panel, however wide or narrow the features are.
const PANEL_COLUMNS: (usize, usize) = (16, 192);
/// At most this many parts, for as many cores; each has a d_1 × K sum of its own.
const MAX_PARTS: usize = 16;
/// Fewer columns than this are not worth a part of their own.
const MIN_PART: usize = 64;
/// Fewer operations than this are not worth a second thread.
const PARALLEL_PRODUCT: usize = 1 << 21;

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

/// Objective, gradient and steps of one model over one set of columns, with all the memory that they need.
#[derive(Debug)]
pub(crate) struct Kernel<'a> {
    ufm: &'a Ufm,
    arch: Arch,
    parts: Vec<Part<'a>>,
    /// The layer that the pass goes through, from 0; none where it takes W_{L:1} at once.
    waist: Option<usize>,
    /// S_l, the product of the layers from l to the waist or to the end.
    products: Vec<Mat<f64>>,
    /// M_l, of the shape of S_l.
    moments: Vec<Mat<f64>>,
    /// S_1ᵀ, and the transpose of the product of the layers after the waist: factors are faster with their long side
    /// down.
    inner: Mat<f64>,
    outer: Mat<f64>,
    /// Added to every output: the bias, less the constant of smoothed labels.
    shift: Col<f64>,
    /// Weights and bias of the point where a step that looks ahead takes the gradient; no features.
    ahead: Parameters,
    pub(crate) evaluations: usize,
}

/// Consecutive columns and what one core sums over them.
#[derive(Debug)]
struct Part<'a> {
    columns: Vec<Column>,
    panel: usize,
    /// The targets of these columns, where they are a matrix.
    targets: Option<MatRef<'a, f64>>,
    /// y, for steps that look ahead; allocated by the first of them.
    base: Mat<f64>,
    /// E of a panel; with a waist, what reaches it forwards and backwards.
    residual: Mat<f64>,
    waist: Mat<f64>,
    back: Mat<f64>,
    /// Σ ‖E‖² by output, E 1, H Eᵀ (d_1 × K), and sums over the features.
    fits: Col<f64>,
    total: Col<f64>,
    moment: Mat<f64>,
    outer_moment: Mat<f64>,
    sums: Sums,
}

/// What a pass does beside the objective.
#[derive(Debug)]
enum Task<'a> {
    Objective,
    /// Writes ∂f/∂H.
    Gradient(MatMut<'a, f64>),
    /// Writes the next features; the other matrix is the point before.
    Advance(Carry, f64, MatRef<'a, f64>, MatMut<'a, f64>),
}

/// What a step has found at the point where it took the gradient.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) objective: f64,
    /// ‖g‖² in the variables of the descent.
    pub(crate) gradient_square: f64,
    /// <g, x - p>.
    pub(crate) slope: f64,
}

impl<'a> Kernel<'a> {
    pub(crate) fn new(ufm: &'a Ufm, columns: &[Column]) -> Self {
        let (outputs, width) = (ufm.outputs(), ufm.feature_width());
        // The narrowest layer after the first, where two factors through it have fewer entries than their product.
        let waist = (1..ufm.depth())
            .min_by_key(|&l| ufm.layers()[l].width)
            .filter(|&l| ufm.layers()[l].width.saturating_mul(outputs + width) < outputs.saturating_mul(width));
        let middle = waist.map_or(outputs, |l| ufm.layers()[l].width);
        // Parts of equal size, a power of two of them.
        let parts = (columns.len() / MIN_PART).clamp(1, MAX_PARTS).next_power_of_two();
        let parts = if parts > MAX_PARTS || parts * MIN_PART > columns.len().max(MIN_PART) { parts / 2 } else { parts };
        let size = columns.len().div_ceil(parts.max(1)).max(1);
        let most = (PANEL / width).clamp(PANEL_COLUMNS.0, PANEL_COLUMNS.1);
        let panel = size.div_ceil(size.div_ceil(most));
        let through = |rows, cols| if waist.is_some() { Mat::zeros(rows, cols) } else { Mat::new() };
        let part = |(i, columns): (usize, &[Column])| Part {
            columns: columns.to_vec(),
            panel,
            targets: ufm.targets().as_matrix().map(|targets| targets.subcols(i * size, columns.len())),
            base: Mat::new(),
            residual: Mat::zeros(outputs, panel),
            waist: through(middle, panel),
            back: through(middle, panel),
            fits: Col::zeros(outputs),
            total: Col::zeros(outputs),
            moment: Mat::zeros(width, middle),
            outer_moment: through(middle, outputs),
            sums: Sums::default(),
        };
        let rows = |l: usize| if waist.is_some_and(|waist| l < waist) { middle } else { outputs };
        let by_layer =
            || ufm.layers().iter().enumerate().map(|(l, layer)| Mat::zeros(rows(l), layer.width)).collect::<Vec<_>>();
        let ahead = Parameters {
            weights: (0..ufm.depth()).map(|l| Mat::zeros(ufm.weight_shape(l).0, ufm.weight_shape(l).1)).collect(),
            features: Mat::new(),
            bias: ufm.has_bias().then(|| Col::zeros(outputs)),
        };
        Self {
            ufm,
            arch: Arch::new(),
            parts: columns.chunks(size).enumerate().map(part).collect(),
            waist,
            products: by_layer(),
            moments: by_layer(),
            inner: Mat::zeros(width, middle),
            outer: through(middle, outputs),
            shift: Col::zeros(outputs),
            ahead,
            evaluations: 0,
        }
    }

    /// The objective.
    pub(crate) fn objective(&mut self, point: &Parameters) -> f64 {
        self.prepare(point);
        self.pass(point.features.as_ref(), Task::Objective);
        self.value(point)
    }

    /// The objective; the gradient is written to `gradient`.
    pub(crate) fn gradient(&mut self, point: &Parameters, gradient: &mut Parameters) -> f64 {
        self.prepare(point);
        self.pass(point.features.as_ref(), Task::Gradient(gradient.features.as_mut()));
        self.back_to_weights(point, gradient);
        for (layer, (weights, gradient)) in
            self.ufm.layers().iter().zip(point.weights.iter().zip(&mut gradient.weights))
        {
            complete(self.arch, layer.decay, weights.as_ref(), gradient.as_mut());
        }
        self.value(point)
    }

    /// With y the point itself or ahead of it, as `carry` says, and g = ∇f(y): `next` = x + β (x - p) - η g, the
    /// gradient step taken in the variables of the descent.
    pub(crate) fn advance(
        &mut self,
        scales: &Scales,
        (carry, step): (Carry, f64),
        point: &Parameters,
        previous: &Parameters,
        next: &mut Parameters,
    ) -> Look {
        // Taken out, so that the kernel can be lent whole.
        let mut ahead = std::mem::replace(&mut self.ahead, Parameters::empty());
        if carry.is_ahead() {
            for ((to, point), previous) in
                ahead.small_blocks_mut().zip(point.small_blocks()).zip(previous.small_blocks())
            {
                look_ahead(self.arch, carry.momentum, point, previous, to);
            }
        }
        let base = if carry.is_ahead() { &ahead } else { point };
        self.prepare(base);
        let rate = step * scales.features();
        let features = Task::Advance(carry, rate, previous.features.as_ref(), next.features.as_mut());
        self.pass(point.features.as_ref(), features);
        self.back_to_weights(base, next);
        let objective = self.value(base);
        self.ahead = ahead;
        let features = self.feature_sums();
        let mut look =
            Look { objective, gradient_square: scales.features() * features.gradient_square, slope: features.slope };
        let decays = self.ufm.layers().iter().map(|layer| layer.decay).chain([0.0]);
        let blocks = next.small_blocks_mut().zip(point.small_blocks()).zip(previous.small_blocks());
        for (((next, point), previous), (decay, scale)) in blocks.zip(decays.zip(scales.small())) {
            let sums = advance_on_all_cores(self.arch, carry, (decay, step * scale), point, previous, next);
            look.gradient_square += scale * sums.gradient_square;
            look.slope += sums.slope;
        }
        look
    }

    /// Forms the products of the layers that the pass needs.
    fn prepare(&mut self, point: &Parameters) {
        let last = point.weights.len() - 1;
        for l in (0..=last).rev() {
            if l == last || self.waist == Some(l + 1) {
                self.products[l].copy_from(&point.weights[l]);
            } else {
                let (lower, upper) = self.products.split_at_mut(l + 1);
                product(lower[l].as_mut(), upper[0].as_ref(), point.weights[l].as_ref());
            }
        }
        self.inner.copy_from(self.products[0].transpose());
        if let Some(waist) = self.waist {
            self.outer.copy_from(self.products[waist].transpose());
        }
        let constant = self.ufm.targets().smoothing() / self.ufm.outputs() as f64;
        match &point.bias {
            Some(bias) => zip!(&mut self.shift, bias).for_each(|unzip!(shift, bias)| *shift = bias - constant),
            None => self.shift.fill(-constant),
        }
    }

    /// The pass over all columns.
    fn pass(&mut self, features: MatRef<'_, f64>, task: Task<'_>) {
        self.evaluations += 1;
        let constants = Constants {
            arch: self.arch,
            inner: self.inner.as_ref(),
            outer: self.waist.map(|_| self.outer.as_ref()),
            shift: self.shift.as_ref(),
            label: 1.0 - self.ufm.targets().smoothing(),
            samples: self.ufm.samples() as f64,
            feature_decay: self.ufm.feature_decay(),
        };
        let mut rest = task;
        let mut start = 0;
        let mut work = Vec::with_capacity(self.parts.len());
        for part in &mut self.parts {
            let size = part.columns.len();
            let (own, others) = rest.split_at(size);
            rest = others;
            work.push((part, features.subcols(start, size), own));
            start += size;
        }
        for_each(work, |(part, features, task)| part.pass(&constants, features, task));
    }

    /// Adds the parts up to M and pushes it through the layers: the gradient of the fit by weights and bias.
    fn back_to_weights(&mut self, point: &Parameters, gradient: &mut Parameters) {
        let scale = 1.0 / self.ufm.samples() as f64;
        let parts = &mut self.parts;
        add_up(self.moments[0].as_mut(), scale, parts.iter_mut().map(|part| &mut part.moment));
        if let Some(waist) = self.waist {
            add_up(self.moments[waist].as_mut(), scale, parts.iter_mut().map(|part| &mut part.outer_moment));
        }
        for (l, weights) in gradient.weights.iter_mut().enumerate() {
            if l > 0 && self.waist != Some(l) {
                let (lower, upper) = self.moments.split_at_mut(l);
                product(upper[0].as_mut(), lower[l - 1].as_ref(), point.weights[l - 1].transpose());
            }
            match self.products.get(l + 1).filter(|_| self.waist != Some(l + 1)) {
                Some(above) => product(weights.as_mut(), above.transpose(), self.moments[l].as_ref()),
                None => weights.copy_from(&self.moments[l]),
            }
        }
        if let Some(bias) = &mut gradient.bias {
            bias.fill(0.0);
            for part in &self.parts {
                zip!(&mut *bias, &part.total).for_each(|unzip!(bias, total)| *bias += scale * total);
            }
        }
    }

    /// The objective at the point of the last pass, whose weights are given.
    fn value(&self, point: &Parameters) -> f64 {
        let fit: f64 = self.parts.iter().map(|part| part.fits.iter().sum::<f64>()).sum();
        let layers = self.ufm.layers().iter().zip(&point.weights);
        let weights: f64 = layers.map(|(layer, weights)| 0.5 * (layer.decay * weights.squared_norm_l2())).sum();
        let features = 0.5 * (self.ufm.feature_decay() * self.feature_sums().square);
        fit / (2.0 * self.ufm.samples() as f64) + weights + features
    }

    fn feature_sums(&self) -> Sums {
        self.parts.iter().fold(Sums::default(), |sums, part| sums.plus(part.sums))
    }
}

/// `to` = A B, on all cores where that is worth it.
fn product(to: MatMut<'_, f64>, a: MatRef<'_, f64>, b: MatRef<'_, f64>) {
    // On 32 bits the product of three sides of matrices that fit in memory need not fit in a `usize`.
    let operations = a.nrows().saturating_mul(a.ncols()).saturating_mul(b.ncols());
    let par = if operations < PARALLEL_PRODUCT { Par::Seq } else { all_cores() };
    matmul(to, Accum::Replace, a, b, 1.0, par);
}

/// `to` = `scale` times the transposed sum of the matrices, which is left in the first of them.
fn add_up<'a>(mut to: MatMut<'_, f64>, scale: f64, mut matrices: impl Iterator<Item = &'a mut Mat<f64>>) {
    let Some(first) = matrices.next() else { return };
    for matrix in matrices {
        zip!(&mut *first, &*matrix).for_each(|unzip!(sum, entry)| *sum += *entry);
    }
    to.copy_from(first.transpose());
    to *= faer::Scale(scale);
}

impl Task<'_> {
    /// The task for the first `size` columns, and for the others.
    fn split_at(self, size: usize) -> (Self, Self) {
        match self {
            Self::Objective => (Self::Objective, Self::Objective),
            Self::Gradient(gradient) => {
                let (own, others) = gradient.split_at_col_mut(size);
                (Self::Gradient(own), Self::Gradient(others))
            }
            Self::Advance(carry, rate, previous, next) => {
                let (own_previous, other_previous) = previous.split_at_col(size);
                let (own_next, other_next) = next.split_at_col_mut(size);
                (
                    Self::Advance(carry, rate, own_previous, own_next),
                    Self::Advance(carry, rate, other_previous, other_next),
                )
            }
        }
    }
}

/// What all parts share during a pass.
struct Constants<'a> {
    arch: Arch,
    inner: MatRef<'a, f64>,
    outer: Option<MatRef<'a, f64>>,
    shift: faer::ColRef<'a, f64>,
    /// The label of a sample's own class, less the constant of smoothed labels.
    label: f64,
    samples: f64,
    feature_decay: f64,
}

impl Part<'_> {
    fn pass(&mut self, constants: &Constants<'_>, features: MatRef<'_, f64>, mut task: Task<'_>) {
        self.sums = Sums::default();
        self.fits.fill(0.0);
        self.total.fill(0.0);
        if matches!(task, Task::Advance(carry, ..) if carry.is_ahead()) && self.base.ncols() == 0 {
            self.base = Mat::zeros(features.nrows(), self.panel);
        }
        for start in (0..self.columns.len()).step_by(self.panel) {
            let size = self.panel.min(self.columns.len() - start);
            let point = features.subcols(start, size);
            if let Task::Advance(carry, _, previous, _) = &task
                && carry.is_ahead()
            {
                let base = self.base.as_mut().subcols_mut(0, size);
                look_ahead(constants.arch, carry.momentum, point, previous.subcols(start, size), base);
            }
            let base = match &task {
                Task::Advance(carry, ..) if carry.is_ahead() => self.base.subcols(0, size),
                _ => point,
            };
            let mut residual = self.residual.as_mut().subcols_mut(0, size);
            let mut waist = constants.outer.map(|_| self.waist.as_mut().subcols_mut(0, size));
            match (&mut waist, constants.outer) {
                (Some(waist), Some(outer)) => {
                    times(waist.rb_mut(), constants.inner.transpose(), base);
                    times(residual.rb_mut(), outer.transpose(), waist.as_ref());
                }
                _ => times(residual.rb_mut(), constants.inner.transpose(), base),
            }
            if let Some(targets) = self.targets {
                residual -= targets.subcols(start, size);
            }
            compare(
                residual.rb_mut(),
                &self.columns[start..start + size],
                constants,
                self.total.as_mut(),
                self.fits.as_mut(),
            );
            if matches!(task, Task::Objective) {
                for column in base.col_iter() {
                    self.sums.square += column.squared_norm_l2();
                }
                continue;
            }
            let sum = if start == 0 { Accum::Replace } else { Accum::Add };
            // What comes back to the features through the layers: E, or the waist's part of it.
            let mut back = self.back.as_mut().subcols_mut(0, if waist.is_some() { size } else { 0 });
            let signal = match (&waist, constants.outer) {
                (Some(waist), Some(outer)) => {
                    let moment = self.outer_moment.as_mut();
                    matmul(moment, sum, waist.as_ref(), residual.rb().transpose(), 1.0, Par::Seq);
                    times(back.rb_mut(), outer, residual.rb());
                    back.rb()
                }
                _ => residual.rb(),
            };
            matmul(self.moment.as_mut(), sum, base, signal.transpose(), 1.0, Par::Seq);
            let back_to_features = |to: MatMut<'_, f64>| {
                matmul(to, Accum::Replace, constants.inner, signal, 1.0 / constants.samples, Par::Seq);
            };
            self.sums = self.sums.plus(match &mut task {
                Task::Objective => Sums::default(),
                Task::Gradient(gradient) => {
                    let mut gradient = gradient.rb_mut().subcols_mut(start, size);
                    back_to_features(gradient.rb_mut());
                    complete(constants.arch, constants.feature_decay, point, gradient)
                }
                Task::Advance(carry, rate, previous, next) => {
                    let mut next = next.rb_mut().subcols_mut(start, size);
                    back_to_features(next.rb_mut());
                    let factors = (constants.feature_decay, *rate);
                    advance(constants.arch, *carry, factors, point, previous.subcols(start, size), next)
                }
            });
        }
    }
}

fn times(to: MatMut<'_, f64>, a: MatRef<'_, f64>, b: MatRef<'_, f64>) {
    matmul(to, Accum::Replace, a, b, 1.0, Par::Seq);
}

/// From the outputs of a panel to its errors E, with E 1 and the squares of E added up by output.
fn compare(
    residual: MatMut<'_, f64>,
    columns: &[Column],
    constants: &Constants<'_>,
    total: faer::ColMut<'_, f64>,
    fits: faer::ColMut<'_, f64>,
) {
    let (shift, total, fits) = (slice(constants.shift), slice_mut(total), slice_mut(fits));
    for (column, errors) in columns.iter().zip(residual.col_iter_mut()) {
        let (weight, errors) = (column.weight, slice_mut(errors));
        if let Some(class) = column.class {
            errors[class] -= constants.label * weight;
        }
        let sums = total.iter_mut().zip(fits.iter_mut());
        for ((error, shift), (total, fit)) in errors.iter_mut().zip(shift).zip(sums) {
            *error += shift * weight;
            *total += *error * weight;
            *fit += *error * *error;
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
            let ufm = Ufm::new(ClassCounts::new(counts).unwrap(), layers, 0.125, bias).unwrap();
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let mut point = Parameters::gaussian_with_deviations(&ufm, 1.0, 1.0, &mut rng).unwrap();
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

//! The objective, its gradient, and whole steps in one pass over the columns, on all cores.
//!
//! A recipe is made once ([`plan`](super::plan)), then carried out at every point: [`layers`](super::layers) multiplies
//! weights, [`pass`](super::pass) goes over the columns, `layers` brings what comes back to the weights.
//!
//! The columns are split into a number of parts that depends on their number alone, each part is summed in order on one
//! core, and the parts are added up in order: results are bitwise the same for any number of threads.

use faer::{Col, Mat, MatMut, MatRef, unzip, zip};
use pulp::Arch;

use super::{
    bounded::Moved,
    entrywise::{Carry, Step, Sums, advance_on_all_cores, complete, look_ahead},
    layers::Layers,
    pass::Part,
    plan::Plan,
    task::{Constants, Task},
    variables::{Scales, Variables},
};
use crate::{
    error::Error,
    linalg::cores::for_each,
    model::Ufm,
    parameters::Parameters,
    point::{PointRef, columns::Column},
};

/// Objective, gradient and steps of one model over one set of columns, with all the memory that they need.
#[derive(Debug)]
pub(crate) struct Kernel<'a> {
    ufm: &'a Ufm,
    arch: Arch,
    parts: Vec<Part<'a>>,
    layers: Layers,
    /// Added to every output: the bias, for the plain squared loss minus the constant of smoothed labels.
    shift: Col<f64>,
    /// Weights and bias of the point where a step that looks ahead takes the gradient; no features.
    ahead: Parameters,
    pub(crate) evaluations: usize,
}

/// What a step has found at the point where it took the gradient.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) objective: f64,
    /// ‖g‖² in the variables of the descent.
    pub(crate) gradient_square: f64,
    /// <g, x - p>.
    pub(crate) slope: f64,
    /// In a model with a bound, the step in the variables of the descent.
    pub(crate) moved: Moved,
}

impl<'a> Kernel<'a> {
    pub(crate) fn new(ufm: &'a Ufm, columns: &[Column]) -> Self {
        let plan = Plan::new(ufm, columns.len());
        let parts = columns.chunks(plan.part).enumerate();
        let ahead = Parameters {
            weights: (0..ufm.depth()).map(|l| Mat::zeros(ufm.weight_shape(l).0, ufm.weight_shape(l).1)).collect(),
            features: Mat::new(),
            bias: ufm.has_bias().then(|| Col::zeros(ufm.outputs())),
            classes: None,
        };
        Self {
            ufm,
            arch: Arch::new(),
            parts: parts.map(|(i, columns)| Part::new(ufm, &plan, i * plan.part, columns)).collect(),
            layers: Layers::new(ufm, &plan),
            shift: Col::zeros(ufm.outputs()),
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
        if let (Some(bias), Some(gradient)) = (&point.bias, &mut gradient.bias)
            && self.ufm.bias_decay() > 0.0
        {
            complete(self.arch, self.ufm.bias_decay(), bias.as_ref().as_mat(), gradient.as_mut().as_mat_mut());
        }
        self.value(point)
    }

    /// With y the point itself or ahead of it, as `carry` says, and g = ∇f(y): `next` = x + β (x - p) - η g with η =
    /// `step_size`, the gradient step taken in the variables of the descent; features below zero are zero if the model
    /// wants them nonnegative.
    pub(crate) fn advance(
        &mut self,
        scales: &Scales,
        carry: Carry,
        step_size: f64,
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
        let is_bounded = self.is_bounded();
        let floor = is_bounded.then_some(0.0);
        let step = Step { carry, decay: self.ufm.feature_decay(), rate: step_size * scales.features(), floor };
        let (previous_features, next_features) = (previous.features.as_ref(), next.features.as_mut());
        self.pass(point.features.as_ref(), Task::Advance { step, previous: previous_features, next: next_features });
        self.back_to_weights(base, next);
        let objective = self.value(base);
        self.ahead = ahead;
        let features = self.feature_sums();
        let mut look = Look {
            objective,
            gradient_square: scales.features() * features.gradient_square,
            slope: features.slope,
            moved: features.moved.in_variables(scales.features()),
        };
        let floor = is_bounded.then_some(f64::NEG_INFINITY);
        let decays = self.ufm.layers().iter().map(|layer| layer.decay).chain([self.ufm.bias_decay()]);
        let blocks = next.small_blocks_mut().zip(point.small_blocks()).zip(previous.small_blocks());
        for (((next, point), previous), (decay, scale)) in blocks.zip(decays.zip(scales.small())) {
            let step = Step { carry, decay, rate: step_size * scale, floor };
            let sums = advance_on_all_cores(self.arch, step, point, previous, next);
            look.gradient_square += scale * sums.gradient_square;
            look.slope += sums.slope;
            look.moved = look.moved.plus(sums.moved.in_variables(scale));
        }
        look
    }

    /// Whether features may not be negative, so that steps end with a projection.
    pub(crate) fn is_bounded(&self) -> bool {
        self.ufm.has_nonnegative_features()
    }

    /// Makes the layers and the shift of the outputs ready for a pass.
    fn prepare(&mut self, point: &Parameters) {
        self.layers.multiply(&point.weights);
        let is_plain = self.ufm.output_loss().is_plain_squared();
        let constant = if is_plain { self.ufm.targets().smoothing() / self.ufm.outputs() as f64 } else { 0.0 };
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
            inner: self.layers.inner(),
            outer: self.layers.outer(),
            shift: self.shift.as_ref(),
            label: 1.0 - self.ufm.targets().smoothing(),
            loss: self.ufm.output_loss(),
            targets: self.ufm.targets(),
            samples: self.ufm.samples() as f64,
            feature_decay: self.ufm.feature_decay(),
        };
        let mut rest = task;
        let mut start = 0;
        let mut work = Vec::with_capacity(self.parts.len());
        for part in &mut self.parts {
            let size = part.len();
            let (own, others) = rest.split_at(size);
            rest = others;
            work.push((part, features.subcols(start, size), own));
            start += size;
        }
        for_each(work, |(part, features, task)| part.pass(&constants, features, task));
    }

    /// Adds the parts up to M and takes it through the layers: the gradient of the fit by weights and bias.
    fn back_to_weights(&mut self, point: &Parameters, gradient: &mut Parameters) {
        let scale = 1.0 / self.ufm.samples() as f64;
        let parts = &mut self.parts;
        add_up(self.layers.moment(), scale, parts.iter_mut().map(|part| &mut part.moment));
        if let Some(moment) = self.layers.outer_moment() {
            add_up(moment, scale, parts.iter_mut().filter_map(Part::outer_moment));
        }
        self.layers.backpropagate(&point.weights, &mut gradient.weights);
        if let Some(bias) = &mut gradient.bias {
            bias.fill(0.0);
            for part in &self.parts {
                zip!(&mut *bias, &part.total).for_each(|unzip!(bias, total)| *bias += scale * total);
            }
        }
    }

    /// The objective at the point of the last pass, whose weights are given.
    fn value(&self, point: &Parameters) -> f64 {
        let losses: f64 = self.parts.iter().map(Part::losses).sum();
        let layers = self.ufm.layers().iter().zip(&point.weights);
        let weights: f64 = layers.map(|(layer, weights)| 0.5 * (layer.decay * weights.squared_norm_l2())).sum();
        let features = 0.5 * (self.ufm.feature_decay() * self.feature_sums().square);
        // Twice the losses, since those of the plain squared loss are half of squares.
        losses / (2.0 * self.ufm.samples() as f64) + weights + features + self.ufm.bias_penalty(point)
    }

    fn feature_sums(&self) -> Sums {
        self.parts.iter().fold(Sums::default(), |sums, part| sums.plus(part.sums))
    }
}

/// The norm of the gradient, in balanced variables, at a point of any form.
///
/// # Errors
///
/// As [`Ufm::objective`] if the point belongs to another model; [`Error::TooLarge`].
pub(crate) fn gradient_norm(ufm: &Ufm, point: PointRef<'_>) -> Result<f64, Error> {
    point.check(ufm)?;
    let model = point.model(ufm);
    let mut gradient = Parameters::with_columns(&model, point.features().ncols() as u64)?;
    Kernel::new(&model, &point.compared_with(ufm)).gradient(point.parameters(), &mut gradient);
    Ok(Scales::new(Variables::Balanced, ufm).gradient_square(&gradient).sqrt())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

    use super::Kernel;
    use crate::{
        classes::ClassCounts,
        model::{Layer, Ufm},
        parameters::Parameters,
        point::columns::sample_columns,
    };

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
            let ufm = Ufm::new(ClassCounts::new(counts).unwrap(), layers, 0.125).unwrap().with_bias(bias);
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

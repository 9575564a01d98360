//! The fused pass: errors, moments and the step in the features while a panel of columns is in the cache.
//!
//! Features are the large block: N columns of d_1 numbers, more than any cache holds. Every product with them, done one
//! after another, reads them from memory again (measured, 10 × 512 × 3000: 3.4 GF/s, of a peak of 78 a core). A step in
//! the features needs only what its own columns give. So a pass takes a panel of columns, does everything with it, and
//! writes the next features before it leaves: features are read once and written once, which is the floor, and the
//! products run at 37 to 68 GF/s a core.

use std::ops::Range;

use faer::{
    Accum, Col, ColMut, Mat, MatMut, MatRef, Par,
    prelude::{IntoConst, ReborrowMut},
};

use super::{
    entrywise::{Sums, advance, complete, look_ahead},
    plan::Plan,
    task::{Constants, Task},
};
use crate::{
    linalg::{
        memory::{slice, slice_mut},
        product::multiply,
    },
    model::Ufm,
    point::columns::Column,
};

/// Consecutive columns, and what one core sums over them.
#[derive(Debug)]
pub(crate) struct Part<'a> {
    columns: Vec<Column>,
    /// The index of the first of them among all.
    start: usize,
    panel: usize,
    /// The targets of these columns, if they are a matrix.
    targets: Option<MatRef<'a, f64>>,
    /// y of a panel, for steps that look ahead; allocated by the first of them.
    ahead: Mat<f64>,
    /// E of a panel: the gradients of the losses by outputs.
    residual: Mat<f64>,
    waist: Option<Waist>,
    /// Twice the losses: of the plain squared loss Σ ‖E‖² by output, of another loss all in one.
    losses: Col<f64>,
    /// E 1.
    pub(crate) total: Col<f64>,
    /// H Eᵀ, d_1 × K; with a waist, H times what comes back to it.
    pub(crate) moment: Mat<f64>,
    pub(crate) sums: Sums,
}

/// What a part needs only if the pass goes through a narrow layer.
#[derive(Debug)]
struct Waist {
    /// What reaches the narrow layer from the features, and what comes back to it from the errors.
    signal: Mat<f64>,
    back: Mat<f64>,
    /// The moment of the layers after it.
    moment: Mat<f64>,
}

impl<'a> Part<'a> {
    pub(crate) fn new(ufm: &'a Ufm, plan: &Plan, start: usize, columns: &[Column]) -> Self {
        let (outputs, panel) = (ufm.outputs(), plan.panel);
        Self {
            columns: columns.to_vec(),
            start,
            panel,
            targets: ufm.targets().as_matrix().map(|targets| targets.subcols(start, columns.len())),
            ahead: Mat::new(),
            residual: Mat::zeros(outputs, panel),
            waist: plan.waist.map(|_| Waist {
                signal: Mat::zeros(plan.middle, panel),
                back: Mat::zeros(plan.middle, panel),
                moment: Mat::zeros(plan.middle, outputs),
            }),
            losses: Col::zeros(outputs),
            total: Col::zeros(outputs),
            moment: Mat::zeros(ufm.feature_width(), plan.middle),
            sums: Sums::default(),
        }
    }

    /// The number of columns.
    pub(crate) fn len(&self) -> usize {
        self.columns.len()
    }

    /// Twice the sum of the losses, α_j l_j: for the plain squared loss ‖E‖².
    pub(crate) fn losses(&self) -> f64 {
        self.losses.iter().sum()
    }

    /// The moment of the layers after the waist.
    pub(crate) fn outer_moment(&mut self) -> Option<&mut Mat<f64>> {
        self.waist.as_mut().map(|waist| &mut waist.moment)
    }

    /// The pass over all columns of the part, panel by panel.
    pub(crate) fn pass(&mut self, constants: &Constants<'_>, features: MatRef<'_, f64>, task: Task<'_>) {
        self.sums = Sums::default();
        self.losses.fill(0.0);
        self.total.fill(0.0);
        if task.ahead().is_some() && self.ahead.ncols() == 0 {
            self.ahead = Mat::zeros(features.nrows(), self.panel);
        }
        let mut rest = task;
        for start in (0..self.columns.len()).step_by(self.panel) {
            let size = self.panel.min(self.columns.len() - start);
            let (task, others) = rest.split_at(size);
            rest = others;
            self.pass_panel(constants, start..start + size, features.subcols(start, size), task);
        }
    }

    /// Everything that is done with a panel, in the order of the data: each block uses what the previous one left in
    /// the cache. In one function, long as it is, so that the order can be read.
    fn pass_panel(&mut self, constants: &Constants<'_>, range: Range<usize>, point: MatRef<'_, f64>, task: Task<'_>) {
        let size = range.len();
        let first = range.start == 0;

        // Where the gradient is taken: at the point, or ahead of it, y = x + β (x - p). y is made here, a panel at a
        // time, since the whole of it would be written to memory and read again.
        let base = match task.ahead() {
            Some((step, previous)) => {
                look_ahead(
                    constants.arch,
                    step.carry.momentum,
                    point,
                    previous,
                    self.ahead.as_mut().subcols_mut(0, size),
                );
                self.ahead.subcols(0, size)
            }
            None => point,
        };

        // Outputs, through all layers at once or through the waist.
        let mut residual = self.residual.as_mut().subcols_mut(0, size);
        match (&mut self.waist, constants.outer) {
            (Some(waist), Some(outer)) => {
                let mut signal = waist.signal.as_mut().subcols_mut(0, size);
                times(signal.rb_mut(), constants.inner.transpose(), base);
                times(residual.rb_mut(), outer.transpose(), signal.as_ref());
            }
            _ => times(residual.rb_mut(), constants.inner.transpose(), base),
        }

        // From outputs to errors, with sums over columns in the same sweep.
        let columns = &self.columns[range.clone()];
        let (total, losses) = (self.total.as_mut(), self.losses.as_mut());
        if constants.loss.is_plain_squared() {
            // Labels are one entry a column.
            if let Some(targets) = self.targets {
                residual -= targets.subcols(range.start, size);
            }
            compare_plain_squared(residual.rb_mut(), columns, constants, total, losses);
        } else {
            compare_by_loss(residual.rb_mut(), columns, self.start + range.start, constants, total, losses);
        }
        let residual = residual.into_const();
        if matches!(task, Task::Objective) {
            // An objective needs ‖y‖² for its regularizer and nothing else: half of the work of a gradient.
            self.sums.square += base.col_iter().map(|column| column.squared_norm_l2()).sum::<f64>();
            return;
        }

        // What comes back to the features through the layers: E, or the waist's part of it. Moments add up over panels;
        // the first panel replaces what the last pass has left, which saves a sweep that sets them to zero.
        let sum = if first { Accum::Replace } else { Accum::Add };
        let signal = match (&mut self.waist, constants.outer) {
            (Some(waist), Some(outer)) => {
                let (forwards, mut back) = (waist.signal.subcols(0, size), waist.back.as_mut().subcols_mut(0, size));
                multiply(waist.moment.as_mut(), sum, forwards, residual.transpose(), 1.0, Par::Seq);
                times(back.rb_mut(), outer, residual);
                back.into_const()
            }
            _ => residual,
        };
        multiply(self.moment.as_mut(), sum, base, signal.transpose(), 1.0, Par::Seq);

        // ∂f/∂H without its decay goes straight to where the gradient, or the next point, is wanted: S_1ᵀ E/N. The
        // sweep that follows adds the decay, takes the step and sums norms, in registers.
        let back_to_features = |to: MatMut<'_, f64>| {
            multiply(to, Accum::Replace, constants.inner, signal, 1.0 / constants.samples, Par::Seq);
        };
        let sums = match task {
            Task::Objective => Sums::default(),
            Task::Gradient(mut gradient) => {
                back_to_features(gradient.rb_mut());
                complete(constants.arch, constants.feature_decay, point, gradient)
            }
            Task::Advance { step, previous, mut next } => {
                back_to_features(next.rb_mut());
                advance(constants.arch, step, point, previous, next)
            }
        };
        self.sums = self.sums.plus(sums);
    }
}

/// `to` = A B. A panel is the work of one core: the cores share out parts.
fn times(to: MatMut<'_, f64>, a: MatRef<'_, f64>, b: MatRef<'_, f64>) {
    multiply(to, Accum::Replace, a, b, 1.0, Par::Seq);
}

/// From the outputs of a panel to its errors E, with E 1 and the squares of E added up by output: K sums side by side
/// are independent; a single sum would have to wait for every addition.
fn compare_plain_squared(
    residual: MatMut<'_, f64>,
    columns: &[Column],
    constants: &Constants<'_>,
    total: ColMut<'_, f64>,
    squares: ColMut<'_, f64>,
) {
    let (shift, total, squares) = (slice(constants.shift), slice_mut(total), slice_mut(squares));
    for (column, errors) in columns.iter().zip(residual.col_iter_mut()) {
        let (weight, errors) = (column.weight, slice_mut(errors));
        if let Some(class) = column.class {
            errors[class] -= constants.label * weight;
        }
        let sums = total.iter_mut().zip(squares.iter_mut());
        for ((error, shift), (total, square)) in errors.iter_mut().zip(shift).zip(sums) {
            *error += shift * weight;
            *total += *error * weight;
            *square += *error * *error;
        }
    }
}

/// The same for any loss, column by column; `start` is the index of the first column among all.
fn compare_by_loss(
    residual: MatMut<'_, f64>,
    columns: &[Column],
    start: usize,
    constants: &Constants<'_>,
    total: ColMut<'_, f64>,
    mut losses: ColMut<'_, f64>,
) {
    let (shift, total) = (slice(constants.shift), slice_mut(total));
    // By panel: so no sum has more terms than panels, or than columns of a panel.
    let mut sum = 0.0;
    for (j, (column, errors)) in columns.iter().zip(residual.col_iter_mut()).enumerate() {
        let (weight, errors) = (column.weight, slice_mut(errors));
        sum += constants.loss.of_column(column.label(constants.targets, start + j), weight, shift, errors);
        total.iter_mut().zip(errors).for_each(|(total, error)| *total += *error * weight);
    }
    losses[0] += 2.0 * sum;
}

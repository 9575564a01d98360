//! The work of one core: losses and gradients of its share of every batch, a panel of samples at a time.

use faer::{
    Accum, Col, Mat, MatMut, MatRef, Par,
    prelude::{Reborrow, ReborrowMut},
};

use super::{
    super::{
        features::{number_of_parts, sum_of_parts},
        nearest_center::{Rules, Tally},
    },
    kernels::{Pulls, subtract},
    spread::Spread,
};
use crate::{
    error::Error,
    linalg::{
        memory::{slice, slice_mut, try_zeros},
        product::multiply,
    },
    model::Ufm,
};

/// What one core gathers of its share of every batch.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) counts: Vec<u64>,
    /// One for each model.
    pub(super) sums: Vec<Sums>,
    /// Σ ‖h‖².
    pub(super) square: f64,
    pub(super) is_nonnegative: bool,
    pub(super) logits: Spread,
    /// Decisions on samples since they were last taken out.
    pub(super) tally: Tally,
    panels: Panels,
}

/// What all parts need to know of the network.
pub(super) struct Work<'a> {
    pub(super) product: MatRef<'a, f64>,
    pub(super) bias: Option<&'a Col<f64>>,
    pub(super) models: &'a [Ufm],
    pub(super) rules: Option<&'a Rules>,
}

/// One sample of so many is looked at.
pub(super) fn stride(models: &[Ufm]) -> usize {
    if models.iter().any(|model| model.samples() >= MANY) { STRIDE } else { 1 }
}

/// The rows of a panel: columns 4096 bytes apart would share one place in the cache, where a transpose is read.
pub(super) fn padded(rows: usize) -> usize {
    if rows.is_multiple_of(64) { rows + 8 } else { rows }
}

/// Samples that are worked on at a time. The outer product with residuals reads and writes K × d numbers a panel.
const PANEL: usize = 256;

/// From so many samples on, the misfit of features, which takes another product, is that of one sample in eight.
const MANY: u64 = 1 << 15;
const STRIDE: usize = 8;

/// Sums over samples under one model, with D = Δ (P - Y) diag(α), the gradient of the losses by the logits.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    /// Σ α l.
    pub(super) loss: f64,
    /// D Hᵀ, K × d.
    pub(super) outer: Mat<f64>,
    /// D 1.
    pub(super) total: Col<f64>,
    /// ‖D‖².
    pub(super) residual: f64,
    /// Of the samples looked at.
    pub(super) pulls: Pulls,
}

/// What a panel of samples is worked on in.
#[derive(Clone, Debug)]
struct Panels {
    features: Mat<f64>,
    logits: Mat<f64>,
    residuals: Mat<f64>,
    /// Residuals of the samples looked at.
    looked: Mat<f64>,
    pulls: Mat<f64>,
}

impl Sums {
    pub(super) fn new(width: usize, outputs: usize) -> Result<Self, Error> {
        let outer = try_zeros("gradient of the network", outputs, width as u64)?;
        Ok(Self { loss: 0.0, outer, total: Col::zeros(outputs), residual: 0.0, pulls: Pulls::default() })
    }
}

impl Part {
    fn new(width: usize, outputs: usize, models: usize) -> Result<Self, Error> {
        let panel = |rows| try_zeros("panel of samples", padded(rows), PANEL as u64);
        Ok(Self {
            counts: vec![0; outputs],
            sums: (0..models).map(|_| Sums::new(width, outputs)).collect::<Result<_, _>>()?,
            square: 0.0,
            is_nonnegative: true,
            logits: Spread::new(outputs),
            tally: Tally::default(),
            panels: Panels {
                features: panel(width)?,
                logits: panel(outputs)?,
                residuals: panel(outputs)?,
                looked: panel(outputs)?,
                pulls: panel(width)?,
            },
        })
    }

    /// As many as the accumulators of features have, for the numbers of all models.
    pub(super) fn all(product: &Mat<f64>, models: usize) -> Result<Vec<Self>, Error> {
        let (outputs, width) = product.shape();
        (0..number_of_parts(width, outputs * models, 0)).map(|_| Self::new(width, outputs, models)).collect()
    }

    /// The sum of all parts.
    pub(super) fn total(parts: Vec<Self>) -> Self {
        sum_of_parts(parts, Self::absorb)
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, others)| *count += others);
        self.square += other.square;
        self.is_nonnegative &= other.is_nonnegative;
        self.logits.absorb(&other.logits);
        for (own, others) in self.sums.iter_mut().zip(&other.sums) {
            own.loss += others.loss;
            own.outer += &others.outer;
            own.total += &others.total;
            own.residual += others.residual;
            own.pulls.absorb(others.pulls);
        }
    }

    /// Adds a share of a batch, a panel at a time, so that a panel's numbers stay in the cache from one product to the
    /// next: logits, then for every model residuals in their place, the outer product, and the pull on the features.
    pub(super) fn add<T: Copy + Into<f64>>(
        &mut self,
        features: MatRef<'_, T>,
        labels: &[usize],
        work: &Work<'_>,
        par: Par,
    ) {
        let origin = vec![0.0; features.nrows()];
        for start in (0..labels.len()).step_by(PANEL) {
            let labels = &labels[start..labels.len().min(start + PANEL)];
            let features = features.subcols(start, labels.len());
            let Shown { mut panel, mut logits, mut residuals, mut looked, mut pulls } =
                self.panels.show(features.nrows(), work.product.nrows(), labels.len(), stride(work.models));
            for (j, &class) in labels.iter().enumerate() {
                let (square, is_nonnegative) = subtract(features.col(j), &origin, panel.rb_mut().col_mut(j));
                self.square += square;
                self.is_nonnegative &= is_nonnegative;
                self.counts[class] += 1;
            }
            if let Some(rules) = work.rules {
                panel.rb_mut().col_iter_mut().for_each(|mut column| column -= &rules.center);
                rules.logits(panel.rb(), logits.rb_mut(), par);
                self.tally.absorb(&rules.judge(panel.rb(), logits.rb(), labels, |_| 1));
            } else {
                multiply(logits.rb_mut(), Accum::Replace, work.product, panel.rb(), 1.0, par);
                if let Some(bias) = work.bias {
                    logits.rb_mut().col_iter_mut().for_each(|mut column| column += bias);
                }
            }
            logits.rb().col_iter().for_each(|column| self.logits.add(column, 1.0));
            for (model, sums) in work.models.iter().zip(&mut self.sums) {
                residuals.copy_from(logits.rb());
                let (loss, smoothing) = (model.output_loss(), model.targets().smoothing());
                for (column, &class) in residuals.rb_mut().col_iter_mut().zip(labels) {
                    sums.loss += loss.of_label(class, smoothing, slice_mut(column));
                }
                for column in residuals.rb().col_iter() {
                    sums.total += column;
                    sums.residual += column.squared_norm_l2();
                }
                multiply(sums.outer.as_mut(), Accum::Add, residuals.rb(), panel.rb().transpose(), 1.0, par);
                let every = (0..labels.len()).step_by(stride(work.models));
                for (mut to, j) in looked.rb_mut().col_iter_mut().zip(every.clone()) {
                    to.copy_from(residuals.rb().col(j));
                }
                multiply(pulls.rb_mut(), Accum::Replace, work.product.transpose(), looked.rb(), 1.0, par);
                for (pull, j) in pulls.rb().col_iter().zip(every) {
                    sums.pulls.look(slice(pull), 1.0, features.col(j));
                }
            }
        }
    }
}

/// The first columns of all panels, without the rows that pad them.
struct Shown<'a> {
    panel: MatMut<'a, f64>,
    logits: MatMut<'a, f64>,
    residuals: MatMut<'a, f64>,
    looked: MatMut<'a, f64>,
    pulls: MatMut<'a, f64>,
}

impl Panels {
    fn show(&mut self, width: usize, outputs: usize, samples: usize, stride: usize) -> Shown<'_> {
        fn of(panel: &mut Mat<f64>, rows: usize, columns: usize) -> MatMut<'_, f64> {
            panel.as_mut().submatrix_mut(0, 0, rows, columns)
        }
        let looked = samples.div_ceil(stride);
        Shown {
            panel: of(&mut self.features, width, samples),
            logits: of(&mut self.logits, outputs, samples),
            residuals: of(&mut self.residuals, outputs, samples),
            looked: of(&mut self.looked, outputs, looked),
            pulls: of(&mut self.pulls, width, looked),
        }
    }
}

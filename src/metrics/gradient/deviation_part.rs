//! The work of one core in a pass over deviations: its share of every batch, a panel of samples at a time.

use faer::{
    Accum, Mat, MatMut, MatRef, Par,
    prelude::{Reborrow, ReborrowMut},
};

use super::{
    super::{
        features::{number_of_parts, sum_of_parts},
        nearest_center::{Rules, Tally, only_first},
    },
    kernels::{Pulls, add_to, subtract},
    part::{padded, stride},
    singles::{SingleProduct, Singles},
    spread::Spread,
};
use crate::{
    error::Error,
    linalg::{
        memory::{slice, slice_mut, try_zeros},
        product::{add_gram, multiply},
    },
    model::Ufm,
};

/// Samples that are worked on at a time: those of 512 numbers take half a megabyte.
const PANEL: usize = 128;

/// What one core gathers of its share of every batch.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) counts: Vec<u64>,
    pub(super) is_nonnegative: bool,
    pub(super) logits: Spread,
    /// Decisions on samples since they were last taken out.
    pub(super) tally: Tally,
    /// (BᵀE) (BᵀE)ᵀ, r × r, the lower triangle.
    pub(super) scatter: Mat<f64>,
    /// D Eᵀ of all models, one below the other.
    pub(super) outer: Mat<f64>,
    /// A column for each class: Σ Bᵀe, and below it Σ D of every model.
    pub(super) sums: Mat<f64>,
    pub(super) of_models: Vec<OfModel>,
    panels: Panels,
    singles: Singles,
}

/// What is summed up under one model.
#[derive(Clone, Debug, Default)]
pub(super) struct OfModel {
    /// Σ α l.
    pub(super) loss: f64,
    /// ‖D‖².
    pub(super) residual: f64,
    /// Of the samples looked at.
    pub(super) pulls: Pulls,
}

/// What all parts need to know.
pub(super) struct Work<'a> {
    /// H̄, d × K.
    pub(super) means: MatRef<'a, f64>,
    /// Bᵀ above W_{L:1}.
    pub(super) directions: MatRef<'a, f64>,
    /// W_{L:1} H̄ + b 1ᵀ.
    pub(super) at_means: MatRef<'a, f64>,
    pub(super) models: &'a [Ufm],
    pub(super) rules: &'a Rules,
    pub(super) single_product: &'a SingleProduct,
}

/// What a panel of samples is worked on in, a column for each.
#[derive(Clone, Debug)]
struct Panels {
    /// E.
    deviations: Mat<f64>,
    /// BᵀE, and logits below it.
    along: Mat<f64>,
    /// D of all models, one below the other.
    residuals: Mat<f64>,
    /// D of the samples looked at, of one model.
    looked: Mat<f64>,
    /// W_{L:1}ᵀ times that.
    pulls: Mat<f64>,
}

impl Part {
    fn new((width, outputs): (usize, usize), rank: usize, models: usize) -> Result<Self, Error> {
        let panel = |rows, columns: usize| try_zeros("panel of samples", padded(rows), columns as u64);
        Ok(Self {
            counts: vec![0; outputs],
            is_nonnegative: true,
            logits: Spread::new(outputs),
            tally: Tally::default(),
            scatter: try_zeros("scatter of features", rank, rank as u64)?,
            outer: try_zeros("gradients of the network", models * outputs, width as u64)?,
            sums: try_zeros("sums of residuals", rank + models * outputs, outputs as u64)?,
            of_models: vec![OfModel::default(); models],
            panels: Panels {
                deviations: panel(width, PANEL)?,
                along: panel(rank + outputs, PANEL)?,
                residuals: panel(models * outputs, PANEL)?,
                looked: panel(outputs, PANEL)?,
                pulls: panel(width, PANEL)?,
            },
            singles: Singles::new((width, outputs), models, PANEL),
        })
    }

    /// As many as the accumulators of features have, for the numbers of all models.
    pub(super) fn all(shape: (usize, usize), rank: usize, models: usize) -> Result<Vec<Self>, Error> {
        let (width, outputs) = shape;
        (0..number_of_parts(width, outputs * models, rank)).map(|_| Self::new(shape, rank, models)).collect()
    }

    /// The sum of all parts.
    pub(super) fn total(parts: Vec<Self>) -> Self {
        sum_of_parts(parts, Self::absorb)
    }

    fn absorb(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, others)| *count += others);
        self.is_nonnegative &= other.is_nonnegative;
        self.logits.absorb(&other.logits);
        self.scatter += &other.scatter;
        self.outer += &other.outer;
        self.sums += &other.sums;
        for (own, others) in self.of_models.iter_mut().zip(&other.of_models) {
            own.loss += others.loss;
            own.residual += others.residual;
            own.pulls.absorb(others.pulls);
        }
    }

    /// Adds a share of a batch, class by class, so that the numbers of a class are fetched from memory once.
    pub(super) fn add<T: Copy + Into<f64>>(
        &mut self,
        features: MatRef<'_, T>,
        labels: &[usize],
        work: &Work<'_>,
        par: Par,
    ) {
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by_key(|&sample| labels[sample]);
        for samples in order.chunks(PANEL) {
            let labels: Vec<usize> = samples.iter().map(|&sample| labels[sample]).collect();
            self.project(features, samples, &labels, work, par);
            let norms = self.differentiate(&labels, work);
            if is_single::<T>() {
                self.multiply_singles(features, samples, &norms, work, par);
            } else {
                self.multiply(features, samples, work, par);
            }
        }
        self.singles.flush(&mut self.outer);
    }

    /// Deviations, what they are along the basis, logits and decisions
    fn project<T: Copy + Into<f64>>(
        &mut self,
        features: MatRef<'_, T>,
        samples: &[usize],
        labels: &[usize],
        work: &Work<'_>,
        par: Par,
    ) {
        let (rank, outputs) = (self.scatter.nrows(), self.counts.len());
        let mut deviations = first_columns(&mut self.panels.deviations, features.nrows(), samples.len());
        let mut along = first_columns(&mut self.panels.along, rank + outputs, samples.len());
        let mut norms = Vec::with_capacity(samples.len());
        for (j, (&sample, &class)) in samples.iter().zip(labels).enumerate() {
            let (mean, to) = (slice(work.means.col(class)), deviations.rb_mut().col_mut(j));
            let (square, is_nonnegative) = subtract(features.col(sample), mean, to);
            // Squares of the least numbers are zero.
            let is_exact = square > 1e-280;
            norms.push(if is_exact { square.sqrt() } else { deviations.rb().col(j).norm_l2() });
            self.is_nonnegative &= is_nonnegative;
            self.counts[class] += 1;
        }
        let largest = norms.iter().copied().fold(0.0, f64::max);
        if is_single::<T>() {
            self.singles.begin(deviations.rb(), largest, &mut self.outer);
            let (mut basis, mut logits) = along.rb_mut().split_at_row_mut(rank);
            multiply(basis.rb_mut(), Accum::Replace, work.directions.subrows(0, rank), deviations.rb(), 1.0, par);
            logits
                .rb_mut()
                .col_iter_mut()
                .zip(labels)
                .for_each(|(mut to, &class)| to.copy_from(work.at_means.col(class)));
            self.singles.add_logits(work.single_product, logits.rb_mut(), par);
            settle(deviations.rb(), &norms, labels, logits, work);
        } else {
            multiply(along.rb_mut(), Accum::Replace, work.directions, deviations.rb(), 1.0, par);
            let logits = along.rb_mut().subrows_mut(rank, outputs);
            logits.col_iter_mut().zip(labels).for_each(|(mut to, &class)| to += work.at_means.col(class));
        }
        let (basis, logits) = along.rb().split_at_row(rank);
        add_gram(self.scatter.as_mut(), basis, 1.0, par);
        for (j, &class) in labels.iter().enumerate() {
            add_to(&mut slice_mut(self.sums.as_mut().col_mut(class))[..rank], slice(basis.col(j)));
            self.logits.square += add_to(slice_mut(self.logits.total.as_mut()), slice(logits.col(j)));
        }
        self.tally.absorb(&work.rules.judge_deviations(deviations.rb(), &norms, logits, labels));
    }

    /// Losses and D of all models; the norm of the largest column of D of every model.
    fn differentiate(&mut self, labels: &[usize], work: &Work<'_>) -> Vec<f64> {
        let (rank, outputs) = (self.scatter.nrows(), self.counts.len());
        let mut norms = vec![0.0_f64; work.models.len()];
        for (j, &class) in labels.iter().enumerate() {
            let logits = &slice(self.panels.along.col(j))[rank..rank + outputs];
            let sums = &mut slice_mut(self.sums.as_mut().col_mut(class))[rank..];
            let all = slice_mut(self.panels.residuals.col_mut(j)).chunks_exact_mut(outputs);
            let models = work.models.iter().zip(&mut self.of_models).zip(&mut norms);
            for ((own, sums), ((model, of_model), norm)) in all.zip(sums.chunks_exact_mut(outputs)).zip(models) {
                own.copy_from_slice(logits);
                of_model.loss += model.output_loss().of_label(class, model.targets().smoothing(), own);
                let square = add_to(sums, own);
                of_model.residual += square;
                *norm = norm.max(square.sqrt());
            }
        }
        norms
    }

    /// D Eᵀ, and the pulls of the models on the features of the samples that are looked at.
    fn multiply<T: Copy + Into<f64>>(&mut self, features: MatRef<'_, T>, samples: &[usize], work: &Work<'_>, par: Par) {
        let (outputs, models, width) = (self.counts.len(), work.models.len(), features.nrows());
        let residuals = self.panels.residuals.submatrix(0, 0, models * outputs, samples.len());
        let deviations = self.panels.deviations.submatrix(0, 0, width, samples.len());
        multiply(self.outer.as_mut(), Accum::Add, residuals, deviations.transpose(), 1.0, par);
        let product = work.rules.classifiers.transpose();
        let every: Vec<usize> = (0..samples.len()).step_by(stride(work.models)).collect();
        for (m, of_model) in self.of_models.iter_mut().enumerate() {
            for (to, &j) in self.panels.looked.as_mut().col_iter_mut().zip(&every) {
                to.subrows_mut(0, outputs).copy_from(residuals.col(j).subrows(m * outputs, outputs));
            }
            let looked = self.panels.looked.submatrix(0, 0, outputs, every.len());
            let mut pulls = first_columns(&mut self.panels.pulls, width, every.len());
            multiply(pulls.rb_mut(), Accum::Replace, product, looked, 1.0, par);
            for (pull, &j) in pulls.rb().col_iter().zip(&every) {
                of_model.pulls.look(slice(pull), 1.0, features.col(samples[j]));
            }
        }
    }

    /// The same in single precision.
    fn multiply_singles<T: Copy + Into<f64>>(
        &mut self,
        features: MatRef<'_, T>,
        samples: &[usize],
        norms: &[f64],
        work: &Work<'_>,
        par: Par,
    ) {
        let residuals = self.panels.residuals.submatrix(0, 0, self.outer.nrows(), samples.len());
        let every: Vec<usize> = (0..samples.len()).step_by(stride(work.models)).collect();
        self.singles.add(residuals, norms, &mut self.outer, par);
        for (at, (pull, unit)) in self.singles.pulls(work.single_product, &every, par).enumerate() {
            self.of_models[at / every.len()].pulls.look(pull, unit, features.col(samples[every[at % every.len()]]));
        }
    }
}

/// Computes logits again, in double precision, where single precision leaves open what the network decides.
fn settle(deviations: MatRef<'_, f64>, norms: &[f64], labels: &[usize], mut logits: MatMut<'_, f64>, work: &Work<'_>) {
    let is_open = |&j: &usize| only_first(slice(logits.rb().col(j)), work.single_product.rounding * norms[j]).is_none();
    let open: Vec<usize> = (0..norms.len()).filter(is_open).collect();
    if open.is_empty() {
        return;
    }
    let mut gathered = Mat::<f64>::zeros(deviations.nrows(), open.len());
    gathered.col_iter_mut().zip(&open).for_each(|(mut to, &j)| to.copy_from(deviations.col(j)));
    let mut again = Mat::<f64>::zeros(logits.nrows(), open.len());
    multiply(again.as_mut(), Accum::Replace, work.rules.classifiers.as_ref(), gathered.as_ref(), 1.0, Par::Seq);
    for (again, &j) in again.col_iter().zip(&open) {
        logits.rb_mut().col_mut(j).copy_from(again + work.at_means.col(labels[j]));
    }
}

/// Whether numbers are of single precision.
fn is_single<T>() -> bool {
    size_of::<T>() <= size_of::<f32>()
}

/// The first columns of a panel, without the rows that pad them.
fn first_columns(panel: &mut Mat<f64>, rows: usize, columns: usize) -> MatMut<'_, f64> {
    panel.as_mut().submatrix_mut(0, 0, rows, columns)
}

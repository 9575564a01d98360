//! Products of samples of single precision: rounded like the samples, and in less than half of the time.
//!
//! A sample of `f32` stands for all numbers within 2⁻²⁴ of its entries. Deviations and residuals are computed in `f64`,
//! and rounded then, each relative to itself; sums over 512 samples are added up in `f64`. What class means contribute to a
//! gradient is not rounded at all, so that nothing is lost close to collapse.

use faer::{
    Accum, Mat, MatMut, MatRef, Par,
    prelude::{Reborrow, ReborrowMut},
};

use super::{kernels::round, part::padded};
use crate::linalg::{
    memory::{slice, slice_mut},
    product::multiply,
    wide::power_of_two,
};

/// Samples whose sums are in single precision.
const HELD: usize = 512;

/// Units stay while the largest columns are within these factors of them: products of two are far from the least and the
/// largest `f32`.
const NEAR: std::ops::Range<f64> = 1e-9..1e9;

fn fits(norm: f64, unit: f64) -> bool {
    norm == 0.0 || NEAR.contains(&(norm / unit))
}

/// A panel in single precision, and sums that are not in double precision yet.
#[derive(Clone, Debug)]
pub(super) struct Singles {
    /// E, in units of its own.
    deviations: Mat<f32>,
    logits: Mat<f32>,
    /// D of all models, one below the other, each in units of its own.
    residuals: Mat<f32>,
    /// D of the samples looked at, of one model after the other, and W_{L:1}ᵀ times that.
    looked: Mat<f32>,
    pulls: Mat<f32>,
    /// D Eᵀ of the samples held.
    outer: Mat<f32>,
    held: usize,
    /// Of E, and of D of every model.
    units: Vec<f64>,
}

/// W_{L:1} in single precision.
#[derive(Clone, Debug)]
pub(super) struct SingleProduct {
    unit: f64,
    /// W_{L:1}/unit.
    product: Mat<f32>,
    /// What the logits of a deviation of norm 1 may be rounded by.
    pub(super) rounding: f64,
}

impl SingleProduct {
    pub(super) fn new(product: MatRef<'_, f64>) -> Self {
        let unit = power_of_two(product.norm_max());
        #[allow(clippy::cast_possible_truncation)]
        let rounded = |i, j| (product[(i, j)] / unit) as f32;
        let largest = product.row_iter().map(|row| row.norm_l2()).fold(0.0, f64::max);
        // Of a product of d terms, of what goes into it, and of the sum.
        let rounding = 2.0 * (product.ncols() + 16) as f64 * f64::from(f32::EPSILON) * largest;
        Self { unit, product: Mat::from_fn(product.nrows(), product.ncols(), rounded), rounding }
    }
}

impl Singles {
    pub(super) fn new((width, outputs): (usize, usize), models: usize, panel: usize) -> Self {
        Self {
            deviations: Mat::zeros(padded(width), panel),
            logits: Mat::zeros(padded(outputs), panel),
            residuals: Mat::zeros(padded(models * outputs), panel),
            looked: Mat::zeros(padded(outputs), models * panel),
            pulls: Mat::zeros(padded(width), models * panel),
            outer: Mat::zeros(models * outputs, width),
            held: 0,
            units: vec![1.0; models + 1],
        }
    }

    /// Begins a panel, whose largest column of E has this norm.
    pub(super) fn begin(&mut self, deviations: MatRef<'_, f64>, norm: f64, to: &mut Mat<f64>) {
        if self.held == 0 || !fits(norm, self.units[0]) {
            self.flush(to);
            self.units[0] = power_of_two(norm);
        }
        for (from, to) in deviations.col_iter().zip(self.deviations.col_iter_mut()) {
            round(slice(from), self.units[0], slice_mut(to));
        }
    }

    /// W_{L:1} E + Z of the panel, in the place of Z.
    pub(super) fn add_logits(&mut self, product: &SingleProduct, to: MatMut<'_, f64>, par: Par) {
        let (outputs, width) = product.product.shape();
        let mut logits = self.logits.submatrix_mut(0, 0, outputs, to.ncols());
        let deviations = self.deviations.submatrix(0, 0, width, to.ncols());
        multiply(logits.rb_mut(), Accum::Replace, product.product.as_ref(), deviations, 1.0, par);
        let unit = product.unit * self.units[0];
        for (to, from) in to.col_iter_mut().zip(logits.rb().col_iter()) {
            let entries = slice_mut(to).iter_mut().zip(slice(from));
            entries.for_each(|(to, from)| *to += unit * f64::from(*from));
        }
    }

    /// Adds D Eᵀ of the panel, whose largest columns of D have these norms, one for each model.
    pub(super) fn add(&mut self, residuals: MatRef<'_, f64>, norms: &[f64], to: &mut Mat<f64>, par: Par) {
        if self.held == 0 || !self.units[1..].iter().zip(norms).all(|(unit, norm)| fits(*norm, *unit)) {
            self.flush(to);
            self.units[1..].iter_mut().zip(norms).for_each(|(unit, norm)| *unit = power_of_two(*norm));
        }
        let (samples, outputs) = (residuals.ncols(), residuals.nrows() / norms.len());
        for (from, to) in residuals.col_iter().zip(self.residuals.col_iter_mut()) {
            let models = slice(from).chunks_exact(outputs).zip(slice_mut(to).chunks_exact_mut(outputs));
            models.zip(&self.units[1..]).for_each(|((from, to), &unit)| round(from, unit, to));
        }
        let residuals = self.residuals.submatrix(0, 0, residuals.nrows(), samples);
        let deviations = self.deviations.submatrix(0, 0, to.ncols(), samples);
        multiply(self.outer.as_mut(), Accum::Add, residuals, deviations.transpose(), 1.0, par);
        self.held += samples;
        if self.held >= HELD {
            self.flush(to);
        }
    }

    /// Adds what is held.
    pub(super) fn flush(&mut self, to: &mut Mat<f64>) {
        if self.held == 0 {
            return;
        }
        let outputs = to.nrows() / (self.units.len() - 1);
        for (to, from) in to.col_iter_mut().zip(self.outer.col_iter_mut()) {
            let models = slice_mut(to).chunks_exact_mut(outputs).zip(slice_mut(from).chunks_exact_mut(outputs));
            for ((to, from), unit) in models.zip(&self.units[1..]) {
                let unit = self.units[0] * unit;
                for (to, from) in to.iter_mut().zip(from) {
                    *to += unit * f64::from(std::mem::take(from));
                }
            }
        }
        self.held = 0;
    }

    /// W_{L:1}ᵀ D of some samples of the last panel, in units that come with each: of one model after the other.
    pub(super) fn pulls(
        &mut self,
        product: &SingleProduct,
        samples: &[usize],
        par: Par,
    ) -> impl Iterator<Item = (&[f32], f64)> {
        let (outputs, width) = product.product.shape();
        let models = self.units.len() - 1;
        for (m, place) in (0..models).zip((0..).step_by(samples.len().max(1))) {
            for (at, &j) in samples.iter().enumerate() {
                let from = &slice(self.residuals.col(j))[m * outputs..][..outputs];
                slice_mut(self.looked.col_mut(place + at))[..outputs].copy_from_slice(from);
            }
        }
        let columns = models * samples.len();
        let looked = self.looked.submatrix(0, 0, outputs, columns);
        let pulls = self.pulls.submatrix_mut(0, 0, width, columns);
        multiply(pulls, Accum::Replace, product.product.transpose(), looked, 1.0, par);
        let Self { pulls, units, .. } = &*self;
        let unit = move |at: usize| product.unit * units[1 + at / samples.len()];
        (0..columns).map(move |at| (&slice(pulls.col(at))[..width], unit(at)))
    }
}

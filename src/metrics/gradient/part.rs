//! The work of one core: losses and gradients of its share of every batch, a panel of samples at a time.

use faer::{
    Accum, Col, ColMut, ColRef, Mat, MatRef, Par,
    linalg::matmul::matmul,
    prelude::{Reborrow, ReborrowMut},
};

use super::super::features::{PANEL, number_of_parts};
use crate::{
    error::Error,
    linalg::memory::{slice, slice_mut, try_zeros},
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
    panels: Panels,
}

/// Sums over samples under one model, with D = Δ (P - Y) diag(α), the gradient of the losses by the logits.
#[derive(Clone, Debug)]
pub(super) struct Sums {
    /// Σ α l.
    pub(super) loss: f64,
    /// D Hᵀ, K × d.
    pub(super) outer: Mat<f64>,
    /// D 1.
    pub(super) total: Col<f64>,
    /// ‖W_{L:1}ᵀ D‖², of all entries and of those whose feature is not zero.
    pub(super) square: f64,
    pub(super) active_square: f64,
}

/// What a panel of samples is worked on in.
#[derive(Clone, Debug)]
struct Panels {
    features: Mat<f64>,
    logits: Mat<f64>,
    residuals: Mat<f64>,
    pulls: Mat<f64>,
}

impl Sums {
    fn new(width: usize, outputs: usize) -> Result<Self, Error> {
        let outer = try_zeros("gradient of the network", outputs, width as u64)?;
        Ok(Self { loss: 0.0, outer, total: Col::zeros(outputs), square: 0.0, active_square: 0.0 })
    }
}

impl Part {
    fn new(width: usize, outputs: usize, models: usize) -> Result<Self, Error> {
        let panel = |rows| try_zeros("panel of samples", rows, PANEL as u64);
        Ok(Self {
            counts: vec![0; outputs],
            sums: (0..models).map(|_| Sums::new(width, outputs)).collect::<Result<_, _>>()?,
            square: 0.0,
            is_nonnegative: true,
            panels: Panels {
                features: panel(width)?,
                logits: panel(outputs)?,
                residuals: panel(outputs)?,
                pulls: panel(width)?,
            },
        })
    }

    /// As many as the accumulators of features have, for the numbers of all models.
    pub(super) fn all(product: &Mat<f64>, models: usize) -> Result<Vec<Self>, Error> {
        let (outputs, width) = product.shape();
        (0..number_of_parts(width, outputs * models, 0)).map(|_| Self::new(width, outputs, models)).collect()
    }

    /// The sum of all parts, of which there is at least one, from the first to the last.
    pub(super) fn total(parts: Vec<Self>) -> Self {
        let mut parts = parts.into_iter();
        let Some(first) = parts.next() else { unreachable!("there is at least one part") };
        parts.fold(first, |mut sum, part| {
            sum.absorb(&part);
            sum
        })
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, others)| *count += others);
        self.square += other.square;
        self.is_nonnegative &= other.is_nonnegative;
        for (own, others) in self.sums.iter_mut().zip(&other.sums) {
            own.loss += others.loss;
            own.outer += &others.outer;
            own.total += &others.total;
            own.square += others.square;
            own.active_square += others.active_square;
        }
    }

    pub(super) fn add<T: Copy + Into<f64>>(
        &mut self,
        features: MatRef<'_, T>,
        labels: &[usize],
        product: MatRef<'_, f64>,
        bias: Option<&Col<f64>>,
        models: &[Ufm],
        par: Par,
    ) {
        let samples = labels.len();
        for start in (0..samples).step_by(PANEL) {
            let labels = &labels[start..samples.min(start + PANEL)];
            let Panels { features: panel, logits, residuals, pulls } = &mut self.panels;
            let [mut panel, mut logits, mut residuals, mut pulls] = [
                panel.as_mut().subcols_mut(0, labels.len()),
                logits.as_mut().subcols_mut(0, labels.len()),
                residuals.as_mut().subcols_mut(0, labels.len()),
                pulls.as_mut().subcols_mut(0, labels.len()),
            ];
            for (j, &class) in labels.iter().enumerate() {
                let (square, least) = read(features.col(start + j), panel.rb_mut().col_mut(j));
                self.square += square;
                self.is_nonnegative &= least >= 0.0;
                self.counts[class] += 1;
            }
            matmul(logits.rb_mut(), Accum::Replace, product, panel.rb(), 1.0, par);
            if let Some(bias) = bias {
                logits.rb_mut().col_iter_mut().for_each(|mut column| column += bias);
            }
            for (model, sums) in models.iter().zip(&mut self.sums) {
                residuals.copy_from(logits.rb());
                let (loss, smoothing) = (model.output_loss(), model.targets().smoothing());
                for (column, &class) in residuals.rb_mut().col_iter_mut().zip(labels) {
                    sums.loss += loss.of_label(class, smoothing, slice_mut(column));
                }
                residuals.rb().col_iter().for_each(|column| sums.total += column);
                matmul(sums.outer.as_mut(), Accum::Add, residuals.rb(), panel.rb().transpose(), 1.0, par);
                matmul(pulls.rb_mut(), Accum::Replace, product.transpose(), residuals.rb(), 1.0, par);
                for (pull, feature) in pulls.rb().col_iter().zip(panel.rb().col_iter()) {
                    let [square, active] = squares(slice(pull), slice(feature));
                    sums.square += square;
                    sums.active_square += active;
                }
            }
        }
    }
}

/// Copies a sample; its squared norm, and its least entry.
fn read<T: Copy + Into<f64>>(from: ColRef<'_, T>, to: ColMut<'_, f64>) -> (f64, f64) {
    let (mut square, mut least) = (0.0, f64::INFINITY);
    for (to, from) in slice_mut(to).iter_mut().zip(from.iter()) {
        *to = (*from).into();
        square += *to * *to;
        least = least.min(*to);
    }
    (square, least)
}

/// The squared norm of a pull, and that of its entries at features that are not zero.
fn squares(pull: &[f64], feature: &[f64]) -> [f64; 2] {
    let mut sums = [0.0; 2];
    for (pull, feature) in pull.iter().zip(feature) {
        sums[0] += pull * pull;
        sums[1] += if *feature == 0.0 { 0.0 } else { pull * pull };
    }
    sums
}

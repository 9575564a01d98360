//! The work of one core: losses and gradients of its share of every batch, a panel of samples at a time.

use faer::{
    Accum, Col, ColMut, ColRef, Mat, MatMut, MatRef, Par,
    linalg::matmul::matmul,
    prelude::{Reborrow, ReborrowMut},
};

use super::{
    super::{
        features::number_of_parts,
        nearest_center::{Rules, Tally},
    },
    spread::Spread,
};
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
    pub(super) logits: Spread,
    /// Decisions on samples since they were last taken out.
    pub(super) tally: Tally,
    /// Panels so far.
    pub(super) number: u64,
    panels: Panels,
}

/// What all parts need to know of the network.
pub(super) struct Work<'a> {
    pub(super) product: MatRef<'a, f64>,
    pub(super) bias: Option<&'a Col<f64>>,
    pub(super) models: &'a [Ufm],
    pub(super) rules: Option<&'a Rules>,
}

impl Work<'_> {
    /// One panel of so many is looked at.
    fn stride(&self) -> u64 {
        self.models.first().map_or(1, |model| (model.samples() / LOOKED_AT).max(1))
    }
}

/// Samples that are worked on at a time. The outer product with residuals reads and writes K × d numbers a panel.
const PANEL: usize = 256;

/// Samples, or up to half as many again, whose features' misfit is looked at if there are twice as many or more: it takes
/// another product.
const LOOKED_AT: u64 = 1 << 17;

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

/// Sums over some samples of the gradients A = W_{L:1}ᵀ D of the losses by the features.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pulls {
    /// ‖A‖².
    pub(super) square: f64,
    /// The same over the entries whose feature is not zero.
    pub(super) active: f64,
    /// ⟨A, H⟩.
    pub(super) inner: f64,
    /// ‖H‖².
    pub(super) features: f64,
}

/// What a panel of samples is worked on in.
#[derive(Clone, Debug)]
struct Panels {
    features: Mat<f64>,
    /// The features again, a row for each sample: the outer product reads what lies side by side. 100,000 samples of 512
    /// numbers in 1000 classes take 36 s of processor time with it in panels of 256, 39 s without it in panels of 512.
    rows: Mat<f64>,
    logits: Mat<f64>,
    residuals: Mat<f64>,
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
        // Columns 4096 bytes apart would share one place in the cache, where a transpose is read.
        let padded = |rows: usize| if rows.is_multiple_of(64) { rows + 8 } else { rows };
        let panel = |rows| try_zeros("panel of samples", padded(rows), PANEL as u64);
        Ok(Self {
            counts: vec![0; outputs],
            sums: (0..models).map(|_| Sums::new(width, outputs)).collect::<Result<_, _>>()?,
            square: 0.0,
            is_nonnegative: true,
            logits: Spread::new(outputs),
            tally: Tally::default(),
            number: 0,
            panels: Panels {
                features: panel(width)?,
                rows: try_zeros("panel of samples", PANEL + 8, width as u64)?,
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
        for start in (0..labels.len()).step_by(PANEL) {
            let labels = &labels[start..labels.len().min(start + PANEL)];
            let features = features.subcols(start, labels.len());
            // Spread over all of them: files are often sorted by class.
            let is_looked_at = self.number.is_multiple_of(work.stride());
            self.number += 1;
            let [mut panel, mut rows, mut logits, mut residuals, mut pulls] =
                self.panels.of(features.nrows(), work.product.nrows(), labels.len());
            for (j, &class) in labels.iter().enumerate() {
                let (square, least) = read(features.col(j), panel.rb_mut().col_mut(j));
                self.square += square;
                self.is_nonnegative &= least >= 0.0;
                self.counts[class] += 1;
            }
            if let Some(rules) = work.rules {
                panel.rb_mut().col_iter_mut().for_each(|mut column| column -= &rules.center);
                rules.logits(panel.rb(), logits.rb_mut(), par);
                self.tally.absorb(&rules.judge(panel.rb(), logits.rb(), labels, |_| 1));
            } else {
                matmul(logits.rb_mut(), Accum::Replace, work.product, panel.rb(), 1.0, par);
                if let Some(bias) = work.bias {
                    logits.rb_mut().col_iter_mut().for_each(|mut column| column += bias);
                }
            }
            rows.copy_from(panel.rb().transpose());
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
                matmul(sums.outer.as_mut(), Accum::Add, residuals.rb(), rows.rb(), 1.0, par);
                if is_looked_at {
                    matmul(pulls.rb_mut(), Accum::Replace, work.product.transpose(), residuals.rb(), 1.0, par);
                    for (pull, feature) in pulls.rb().col_iter().zip(features.col_iter()) {
                        sums.pulls.look(slice(pull), feature);
                    }
                }
            }
        }
    }
}

impl Panels {
    /// The first columns of all, without the rows that pad them.
    fn of(&mut self, width: usize, outputs: usize, columns: usize) -> [MatMut<'_, f64>; 5] {
        fn of(panel: &mut Mat<f64>, rows: usize, columns: usize) -> MatMut<'_, f64> {
            panel.as_mut().submatrix_mut(0, 0, rows, columns)
        }
        [
            of(&mut self.features, width, columns),
            of(&mut self.rows, columns, width),
            of(&mut self.logits, outputs, columns),
            of(&mut self.residuals, outputs, columns),
            of(&mut self.pulls, width, columns),
        ]
    }
}

impl Pulls {
    fn look<T: Copy + Into<f64>>(&mut self, pull: &[f64], feature: ColRef<'_, T>) {
        for (pull, feature) in pull.iter().zip(feature.iter()) {
            let feature: f64 = (*feature).into();
            self.square += pull * pull;
            self.active += if feature == 0.0 { 0.0 } else { pull * pull };
            self.inner += pull * feature;
            self.features += feature * feature;
        }
    }

    fn absorb(&mut self, other: Self) {
        self.square += other.square;
        self.active += other.active;
        self.inner += other.inner;
        self.features += other.features;
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

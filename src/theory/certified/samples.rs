//! The problem of targets that are a matrix: one row for each output, one column for each distinct target.

use std::collections::HashMap;

use faer::{Mat, MatRef};

use super::{
    groups::{bias, move_shifts_to_bias, scaled_decay, set_base},
    problem::Problem,
};
use crate::{error::Error, linalg::memory::check_room, loss::Loss, model::Ufm};

/// Samples of equal targets: features collapse to their mean, as those of a class do.
#[derive(Clone, Debug)]
pub(super) struct Samples {
    /// The column of every sample.
    pub(super) column_of: Vec<usize>,
    /// A sample of every column.
    first: Vec<usize>,
    /// The samples of every column.
    pub(super) counts: Vec<f64>,
}

impl Samples {
    pub(super) fn new(targets: MatRef<'_, f64>) -> Self {
        let mut index: HashMap<Vec<u64>, usize> = HashMap::new();
        let mut samples = Self { column_of: Vec::new(), first: Vec::new(), counts: Vec::new() };
        for (sample, target) in targets.col_iter().enumerate() {
            // Zeros of either sign are one target.
            let key: Vec<u64> = target.iter().map(|entry| (entry + 0.0).to_bits()).collect();
            let column = *index.entry(key).or_insert(samples.first.len());
            if column == samples.first.len() {
                samples.first.push(sample);
                samples.counts.push(0.0);
            }
            samples.counts[column] += 1.0;
            samples.column_of.push(column);
        }
        samples
    }

    pub(super) fn problem(&self, ufm: &Ufm, targets: MatRef<'_, f64>) -> Result<Problem, Error> {
        let (rows, distinct, total) = (targets.nrows(), self.first.len(), self.column_of.len() as f64);
        // At least as many columns as rows: those that are added have no sample, weigh nothing, and stay zero.
        let columns = distinct.max(rows);
        check_room(&[("matrices of distinct targets", rows, 16 * columns as u64)])?;
        let share = |s: usize| self.counts.get(s).map_or(0.0, |count| count / total);
        let is_cross_entropy = ufm.loss() == Loss::CrossEntropy;
        // -yᵀ log p is τ times that of y/τ: probabilities in single precision have a sum τ near 1.
        let sum = |s: usize| match self.first.get(s) {
            Some(&sample) if is_cross_entropy => targets.col(sample).iter().sum(),
            _ => 1.0,
        };
        let mut problem = Problem {
            is_cross_entropy,
            rows: vec![1.0; rows],
            row_roots: vec![1.0; rows],
            columns: vec![1.0; columns],
            roots: (0..columns).map(|s| if s < distinct { share(s).sqrt() } else { 1.0 }).collect(),
            weights: (0..columns).map(|s| share(s) * sum(s)).collect(),
            scales: vec![1.0; rows],
            shifts: vec![0.0; rows],
            margins: vec![],
            targets: Mat::from_fn(rows, columns, |r, s| {
                self.first.get(s).map_or(0.0, |&sample| targets[(r, sample)] / sum(s))
            }),
            own_targets: vec![],
            lambda: scaled_decay(ufm),
            bias: bias(ufm),
            moves: vec![],
            base: Mat::zeros(rows, columns),
            base_contrasts: vec![],
            base_bias: vec![0.0; rows],
        };
        move_shifts_to_bias(&mut problem);
        if !problem.is_cross_entropy {
            set_base(&mut problem);
        }
        Ok(problem)
    }
}

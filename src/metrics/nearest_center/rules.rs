//! The two rules, what they make of samples, and how their judgments are counted.

use faer::{Accum, Col, ColRef, Mat, MatRef, Par, linalg::matmul::matmul, prelude::Reborrow};

use crate::linalg::{checks::are_equal, memory::slice};

/// Numbers of samples: exact, so that their sums do not depend on any order.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Tally {
    pub(super) samples: u64,
    pub(super) disagreements: u64,
    /// Samples whose class shares the first place with m others, for m = 0, 1, ..
    pub(super) correct: Vec<u64>,
    pub(super) correct_by_center: Vec<u64>,
}

/// Both rules about a center c of the features, so that features far from the origin lose no digits.
#[derive(Clone, Debug)]
pub(super) struct Rules {
    pub(super) center: Col<f64>,
    /// W, K × d.
    pub(super) classifiers: Mat<f64>,
    /// W c + b.
    pub(super) shift: Col<f64>,
    /// h̄_k - c, d × K.
    pub(super) means: Mat<f64>,
    /// ‖h̄_k - c‖².
    pub(super) squares: Col<f64>,
    /// What every class adds to the rounding of its numbers.
    pub(super) sizes: Vec<Sizes>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Sizes {
    /// ‖w_k‖.
    pub(super) classifier: f64,
    /// ‖w_k‖ ‖c‖ + |b_k|, a bound on the shift before cancellation.
    pub(super) shift: f64,
    /// ‖h̄_k - c‖.
    pub(super) mean: f64,
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        // The shape of the means is that of everything else.
        are_equal(self.means.as_ref(), other.means.as_ref())
            && are_equal(self.classifiers.as_ref(), other.classifiers.as_ref())
            && (&self.center, &self.shift, &self.squares) == (&other.center, &other.shift, &other.squares)
            && self.sizes == other.sizes
    }
}

impl Rules {
    pub(super) fn new(
        classifiers: MatRef<'_, f64>,
        bias: Option<ColRef<'_, f64>>,
        center: Col<f64>,
        means: Mat<f64>,
    ) -> Self {
        let mut shift = classifiers * &center;
        if let Some(bias) = bias {
            shift += bias;
        }
        let squares: Col<f64> = means.col_iter().map(|mean| mean.squared_norm_l2()).collect();
        let sizes = |k: usize| {
            let classifier = classifiers.row(k).norm_l2();
            let shift = classifier * center.norm_l2() + bias.map_or(0.0, |bias| bias[k].abs());
            Sizes { classifier, shift, mean: squares[k].sqrt() }
        };
        Self {
            sizes: (0..classifiers.nrows()).map(sizes).collect(),
            squares,
            classifiers: classifiers.to_owned(),
            center,
            shift,
            means,
        }
    }

    /// Judges samples minus the center, one column for each.
    pub(super) fn judge(&self, samples: MatRef<'_, f64>, labels: &[usize], weight: impl Fn(usize) -> u64) -> Tally {
        let mut logits = Mat::<f64>::zeros(self.classifiers.nrows(), samples.ncols());
        let mut nearness = logits.clone();
        matmul(logits.as_mut(), Accum::Replace, self.classifiers.as_ref(), samples, 1.0, Par::Seq);
        matmul(nearness.as_mut(), Accum::Replace, self.means.transpose(), samples, 2.0, Par::Seq);
        // Of a product of d terms, of what goes into it, and of the sum.
        let rounding = 2.0 * (samples.nrows() + 16) as f64 * f64::EPSILON;
        let mut tally = Tally::default();
        for (j, &class) in labels.iter().enumerate() {
            let size = samples.col(j).norm_l2();
            let (mut logits, mut nearness) = (logits.col_mut(j), nearness.col_mut(j));
            logits += &self.shift;
            // ‖h - h̄_k‖² less ‖h‖², negated.
            nearness -= &self.squares;
            let (logits, nearness) = (slice(logits.rb()), slice(nearness.rb()));
            let by_logit = first(logits, |k| rounding * (self.sizes[k].classifier * size + self.sizes[k].shift));
            let by_center = first(nearness, |k| rounding * self.sizes[k].mean * (self.sizes[k].mean + 2.0 * size));
            let agree = by_logit.iter().any(|k| by_center.contains(k));
            let weight = weight(class);
            tally.samples += weight;
            tally.disagreements += if agree { 0 } else { weight };
            for (first, correct) in [(by_logit, &mut tally.correct), (by_center, &mut tally.correct_by_center)] {
                if first.contains(&class) {
                    correct.resize(correct.len().max(first.len()), 0);
                    correct[first.len() - 1] += weight;
                }
            }
        }
        tally
    }
}

/// The classes that may have the largest number, each known up to its rounding.
fn first(values: &[f64], rounding: impl Fn(usize) -> f64) -> Vec<usize> {
    let least = values.iter().enumerate().map(|(k, value)| value - rounding(k)).fold(f64::NEG_INFINITY, f64::max);
    (0..values.len()).filter(|&k| values[k] + rounding(k) >= least).collect()
}

impl Tally {
    pub(super) fn absorb(&mut self, other: &Self) {
        self.samples += other.samples;
        self.disagreements += other.disagreements;
        let lists = [(&mut self.correct, &other.correct), (&mut self.correct_by_center, &other.correct_by_center)];
        for (own, others) in lists {
            own.resize(own.len().max(others.len()), 0);
            own.iter_mut().zip(others).for_each(|(own, others)| *own += others);
        }
    }

    pub(super) fn part(&self, of: f64) -> Option<f64> {
        (self.samples > 0).then(|| of / self.samples as f64)
    }
}

/// Where several classes share the first place, one of them is chosen at random: a sample of m + 1 counts 1/(m + 1).
pub(super) fn shared(correct: &[u64]) -> f64 {
    (1_u64..).zip(correct).map(|(sharing, &samples)| samples as f64 / sharing as f64).sum()
}

//! The two rules, what they make of samples, and how their judgments are counted.

use faer::{
    Accum, Col, ColRef, Mat, MatMut, MatRef, Par,
    linalg::matmul::matmul,
    prelude::{Reborrow, ReborrowMut},
};

use crate::linalg::{checks::are_equal, cores::all_cores, memory::slice};

/// Numbers of samples of every class: exact, so that their sums do not depend on any order. Lists end with the last class
/// seen.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(in crate::metrics) struct Tally {
    pub(super) samples: Vec<u64>,
    pub(super) disagreements: u64,
    /// Samples whose class shares the first place with m others, for m = 0, 1, ..
    pub(super) correct: Vec<Vec<u64>>,
    pub(super) correct_by_center: Vec<Vec<u64>>,
}

/// Both rules about a center c of the features, so that features far from the origin lose no digits.
#[derive(Clone, Debug)]
pub(in crate::metrics) struct Rules {
    pub(in crate::metrics) center: Col<f64>,
    /// W, K × d.
    pub(in crate::metrics) classifiers: Mat<f64>,
    /// W c + b.
    pub(in crate::metrics) shift: Col<f64>,
    /// h̄_k - c, d × K.
    pub(in crate::metrics) means: Mat<f64>,
    /// ‖h̄_k - c‖².
    pub(super) squares: Col<f64>,
    /// What every class adds to the rounding of its numbers.
    pub(super) sizes: Vec<Sizes>,
    /// The distance of every class mean to the nearest other one, from below.
    pub(super) apart: Vec<f64>,
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
            && self.apart == other.apart
    }
}

impl Rules {
    pub(super) fn new(
        classifiers: MatRef<'_, f64>,
        bias: Option<ColRef<'_, f64>>,
        center: Col<f64>,
        means: Mat<f64>,
        apart: Vec<f64>,
    ) -> Self {
        let classifiers = classifiers.to_owned();
        // faer's operators add up in an order that depends on the number of threads.
        let mut shift = Col::zeros(classifiers.nrows());
        matmul(shift.as_mat_mut(), Accum::Replace, classifiers.as_ref(), center.as_mat(), 1.0, Par::Seq);
        if let Some(bias) = bias {
            shift += bias;
        }
        let squares: Col<f64> = means.col_iter().map(|mean| mean.squared_norm_l2()).collect();
        let sizes = |k: usize| {
            let classifier = classifiers.row(k).norm_l2();
            let shift = classifier * center.norm_l2() + bias.map_or(0.0, |bias| bias[k].abs());
            Sizes { classifier, shift, mean: squares[k].sqrt() }
        };
        Self { sizes: (0..classifiers.nrows()).map(sizes).collect(), squares, classifiers, center, shift, means, apart }
    }

    /// Whether the shift is that of a bias, up to the rounding of another machine.
    pub(in crate::metrics) fn has_bias(&self, bias: Option<&Col<f64>>) -> bool {
        let rounding = 2.0 * (self.center.nrows() + 16) as f64 * f64::EPSILON;
        (0..self.shift.nrows()).all(|k| {
            let shift: f64 = self.classifiers.row(k).iter().zip(self.center.iter()).map(|(w, c)| w * c).sum();
            let shift = shift + bias.map_or(0.0, |bias| bias[k]);
            (shift - self.shift[k]).abs() <= rounding * self.sizes[k].shift
        })
    }

    /// W (h - c) + W c + b of samples minus the center, one column for each.
    pub(in crate::metrics) fn logits(&self, samples: MatRef<'_, f64>, mut logits: MatMut<'_, f64>, par: Par) {
        matmul(logits.rb_mut(), Accum::Replace, self.classifiers.as_ref(), samples, 1.0, par);
        logits.col_iter_mut().for_each(|mut column| column += &self.shift);
    }

    /// The logits of class means, K × K.
    pub(in crate::metrics) fn logits_of_means(&self) -> Mat<f64> {
        let mut logits = Mat::zeros(self.classifiers.nrows(), self.means.ncols());
        self.logits(self.means.as_ref(), logits.as_mut(), all_cores());
        logits
    }

    /// Judges samples minus the center, one column for each, of which the logits are known.
    pub(in crate::metrics) fn judge(
        &self,
        samples: MatRef<'_, f64>,
        logits: MatRef<'_, f64>,
        labels: &[usize],
        weight: impl Fn(usize) -> u64,
    ) -> Tally {
        // Of a product of d terms, of what goes into it, and of the sum.
        let rounding = 2.0 * (samples.nrows() + 16) as f64 * f64::EPSILON;
        let (near, far): (Vec<usize>, Vec<usize>) =
            (0..labels.len()).partition(|&j| self.is_nearest(samples.col(j), labels[j], rounding));
        let mut tally = Tally::default();
        let by_logit = |j: usize, size: f64| {
            first(slice(logits.col(j)), |k| rounding * (self.sizes[k].classifier * size + self.sizes[k].shift))
        };
        for j in near {
            let by_logit = by_logit(j, samples.col(j).norm_l2());
            tally.count(labels[j], &by_logit, &[labels[j]], weight(labels[j]));
        }
        if far.is_empty() {
            return tally;
        }
        let mut gathered = Mat::<f64>::zeros(samples.nrows(), far.len());
        for (mut to, &j) in gathered.col_iter_mut().zip(&far) {
            to.copy_from(samples.col(j));
        }
        let mut nearness = Mat::<f64>::zeros(self.means.ncols(), far.len());
        matmul(nearness.as_mut(), Accum::Replace, self.means.transpose(), gathered.as_ref(), 2.0, Par::Seq);
        for (mut nearness, &j) in nearness.col_iter_mut().zip(&far) {
            let size = samples.col(j).norm_l2();
            // ‖h - h̄_k‖² less ‖h‖², negated.
            nearness -= &self.squares;
            let by_center =
                first(slice(nearness.rb()), |k| rounding * self.sizes[k].mean * (self.sizes[k].mean + 2.0 * size));
            tally.count(labels[j], &by_logit(j, size), &by_center, weight(labels[j]));
        }
        tally
    }

    /// Whether a sample is nearest to the mean of its own class beyond rounding, by the triangle inequality: with r its
    /// distance and a that of the nearest other mean, ‖h - h̄_l‖² - r² >= a (a - 2r). It spares collapsed features the
    /// product with all class means.
    fn is_nearest(&self, sample: ColRef<'_, f64>, class: usize, rounding: f64) -> bool {
        let apart = self.apart[class];
        if !(apart > 0.0) {
            return false;
        }
        let (sample, mean) = (slice(sample), slice(self.means.col(class)));
        let (distance, size) = distance_and_size(sample, mean);
        let largest = self.sizes[class].mean + apart + 2.0 * f64::sqrt(size);
        // What the product would round, of both classes; another mean as near as the sample allows is no larger.
        let spare = 4.0 * rounding * largest * largest;
        apart * (apart - 2.0 * f64::sqrt(distance)) > spare
    }
}

/// ‖h - m‖² and ‖h‖², in sums side by side: one after another, every term would wait for the sum before it.
fn distance_and_size(sample: &[f64], mean: &[f64]) -> (f64, f64) {
    const LANES: usize = 4;
    let ((samples, sample_rest), (means, mean_rest)) = (sample.as_chunks::<LANES>(), mean.as_chunks::<LANES>());
    let [mut distance, mut size] = [[0.0; LANES]; 2];
    for (h, m) in samples.iter().zip(means) {
        distance = std::array::from_fn(|lane| distance[lane] + (h[lane] - m[lane]) * (h[lane] - m[lane]));
        size = std::array::from_fn(|lane| size[lane] + h[lane] * h[lane]);
    }
    let rest = sample_rest.iter().zip(mean_rest);
    rest.fold((distance.iter().sum(), size.iter().sum()), |(distance, size): (f64, f64), (h, m)| {
        (distance + (h - m) * (h - m), size + h * h)
    })
}

/// The classes that may have the largest number, each known up to its rounding.
fn first(values: &[f64], rounding: impl Fn(usize) -> f64) -> Vec<usize> {
    let least = values.iter().enumerate().map(|(k, value)| value - rounding(k)).fold(f64::NEG_INFINITY, f64::max);
    (0..values.len()).filter(|&k| values[k] + rounding(k) >= least).collect()
}

impl Tally {
    fn count(&mut self, class: usize, by_logit: &[usize], by_center: &[usize], weight: u64) {
        let agree = by_logit.iter().any(|k| by_center.contains(k));
        *at(&mut self.samples, class) += weight;
        self.disagreements += if agree { 0 } else { weight };
        for (first, correct) in [(by_logit, &mut self.correct), (by_center, &mut self.correct_by_center)] {
            if first.contains(&class) {
                *at(at(correct, class), first.len() - 1) += weight;
            }
        }
    }

    pub(in crate::metrics) fn absorb(&mut self, other: &Self) {
        add(&mut self.samples, &other.samples);
        self.disagreements += other.disagreements;
        let lists = [(&mut self.correct, &other.correct), (&mut self.correct_by_center, &other.correct_by_center)];
        for (own, others) in lists {
            own.resize(own.len().max(others.len()), Vec::new());
            own.iter_mut().zip(others).for_each(|(own, others)| add(own, others));
        }
    }

    pub(super) fn total(&self) -> u64 {
        self.samples.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The part of all samples.
    pub(super) fn part(&self, of: f64) -> Option<f64> {
        let samples = self.total();
        (samples > 0).then(|| of / samples as f64)
    }
}

/// An entry of a list that grows to hold it.
fn at<T: Clone + Default>(list: &mut Vec<T>, place: usize) -> &mut T {
    if list.len() <= place {
        list.resize(place + 1, T::default());
    }
    &mut list[place]
}

fn add(own: &mut Vec<u64>, others: &[u64]) {
    own.resize(own.len().max(others.len()), 0);
    own.iter_mut().zip(others).for_each(|(own, others)| *own += others);
}

/// Where several classes share the first place, one of them is chosen at random: a sample of m + 1 counts 1/(m + 1).
pub(super) fn shared(correct: &[u64]) -> f64 {
    // The sum of nothing is -0.
    (1_u64..).zip(correct).map(|(sharing, &samples)| samples as f64 / sharing as f64).sum::<f64>() + 0.0
}

/// The same over all classes, whose samples are added up before they are divided.
pub(super) fn shared_by_all(correct: &[Vec<u64>]) -> f64 {
    let mut sum = Vec::new();
    for of_class in correct {
        add(&mut sum, of_class);
    }
    shared(&sum)
}

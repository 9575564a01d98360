//! The two rules, what they make of samples, and how their judgments are counted.

use faer::{
    Accum, Col, ColMut, ColRef, Mat, MatMut, MatRef, Par,
    prelude::{Reborrow, ReborrowMut},
};

use crate::linalg::{checks::are_equal, cores::all_cores, memory::slice, product::multiply};

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
    /// Samples that the network puts in a class, which shares the first place with m others.
    pub(super) decided: Vec<Vec<u64>>,
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
        multiply(shift.as_mat_mut(), Accum::Replace, classifiers.as_ref(), center.as_mat(), 1.0, Par::Seq);
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
        multiply(logits.rb_mut(), Accum::Replace, self.classifiers.as_ref(), samples, 1.0, par);
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
        let sample = |j: usize| {
            let (sample, mean) = (samples.col(j), self.means.col(labels[j]));
            (distance(slice(sample), slice(mean)), sample.norm_l2())
        };
        self.judge_each(sample, logits, labels, weight, |j, mut to| to.copy_from(samples.col(j)))
    }

    /// The same of samples minus their class means, whose norms are known too.
    pub(in crate::metrics) fn judge_deviations(
        &self,
        deviations: MatRef<'_, f64>,
        norms: &[f64],
        logits: MatRef<'_, f64>,
        labels: &[usize],
    ) -> Tally {
        let sample = |j: usize| (norms[j], norms[j] + self.sizes[labels[j]].mean);
        self.judge_each(
            sample,
            logits,
            labels,
            |_| 1,
            |j, mut to| {
                to.copy_from(deviations.col(j) + self.means.col(labels[j]));
            },
        )
    }

    /// Judges samples, of which the distance to the mean of their class and (from above) that to the center are known;
    /// `sample` writes one minus the center.
    fn judge_each(
        &self,
        distance_and_size: impl Fn(usize) -> (f64, f64),
        logits: MatRef<'_, f64>,
        labels: &[usize],
        weight: impl Fn(usize) -> u64,
        sample: impl Fn(usize, ColMut<'_, f64>),
    ) -> Tally {
        let width = self.center.nrows();
        // Of a product of d terms, of what goes into it, and of the sum.
        let rounding = 2.0 * (width + 16) as f64 * f64::EPSILON;
        let (mut tally, mut far, mut by_logit, mut by_center) = (Tally::default(), Vec::new(), Vec::new(), Vec::new());
        let (of_classifiers, of_shifts) = self.sizes.iter().fold((0.0_f64, 0.0_f64), |(classifier, shift), sizes| {
            (classifier.max(sizes.classifier), shift.max(sizes.shift))
        });
        let decide = |j: usize, size: f64, by_logit: &mut Vec<usize>| {
            let most = rounding * (of_classifiers * size + of_shifts);
            let of = |k: usize| rounding * (self.sizes[k].classifier * size + self.sizes[k].shift);
            first(slice(logits.col(j)), most, of, by_logit);
        };
        for (j, &class) in labels.iter().enumerate() {
            let (distance, size) = distance_and_size(j);
            if self.is_nearest(class, distance, size, rounding) {
                decide(j, size, &mut by_logit);
                tally.count(class, &by_logit, &[class], weight(class));
            } else {
                far.push((j, size));
            }
        }
        if far.is_empty() {
            return tally;
        }
        let mut gathered = Mat::<f64>::zeros(width, far.len());
        for (to, &(j, _)) in gathered.col_iter_mut().zip(&far) {
            sample(j, to);
        }
        let mut nearness = Mat::<f64>::zeros(self.means.ncols(), far.len());
        multiply(nearness.as_mut(), Accum::Replace, self.means.transpose(), gathered.as_ref(), 2.0, Par::Seq);
        let largest = self.sizes.iter().fold(0.0_f64, |largest, sizes| largest.max(sizes.mean));
        for (mut nearness, &(j, size)) in nearness.col_iter_mut().zip(&far) {
            // ‖h - h̄_k‖² less ‖h‖², negated.
            nearness -= &self.squares;
            let of = |mean: f64| rounding * mean * (mean + 2.0 * size);
            first(slice(nearness.rb()), of(largest), |k| of(self.sizes[k].mean), &mut by_center);
            decide(j, size, &mut by_logit);
            tally.count(labels[j], &by_logit, &by_center, weight(labels[j]));
        }
        tally
    }

    /// Whether a sample at this distance of the mean of its class is nearest to it beyond rounding, by the triangle
    /// inequality: with r its distance and a that of the nearest other mean, ‖h - h̄_l‖² - r² >= a (a - 2r). It spares
    /// collapsed features the product with all class means.
    fn is_nearest(&self, class: usize, distance: f64, size: f64, rounding: f64) -> bool {
        let apart = self.apart[class];
        if !(apart > 0.0) {
            return false;
        }
        let largest = self.sizes[class].mean + apart + 2.0 * size;
        // What the product would round, of both classes; another mean as near as the sample allows is no larger.
        let spare = 4.0 * rounding * largest * largest;
        apart * (apart - 2.0 * distance) > spare
    }
}

/// ‖h - m‖, in sums side by side: one after another, every term would wait for the sum before it.
fn distance(sample: &[f64], mean: &[f64]) -> f64 {
    const LANES: usize = 4;
    let ((samples, sample_rest), (means, mean_rest)) = (sample.as_chunks::<LANES>(), mean.as_chunks::<LANES>());
    let mut squares = [0.0; LANES];
    for (h, m) in samples.iter().zip(means) {
        squares = std::array::from_fn(|lane| squares[lane] + (h[lane] - m[lane]) * (h[lane] - m[lane]));
    }
    let rest = sample_rest.iter().zip(mean_rest);
    rest.fold(squares.iter().sum::<f64>(), |squares, (h, m)| squares + (h - m) * (h - m)).sqrt()
}

/// The classes that may have the largest number, each known up to its rounding, of which none is above `most`.
fn first(values: &[f64], most: f64, rounding: impl Fn(usize) -> f64, classes: &mut Vec<usize>) {
    classes.clear();
    // Usually one value alone can be the largest, whatever the rounding of each.
    if let Some(only) = only_first(values, most) {
        classes.push(only);
        return;
    }
    let least = values.iter().enumerate().map(|(k, value)| value - rounding(k)).fold(f64::NEG_INFINITY, f64::max);
    classes.extend((0..values.len()).filter(|&k| values[k] + rounding(k) >= least));
}

/// The only class that may have the largest number, each known up to this rounding; `None` if there are several.
pub(in crate::metrics) fn only_first(values: &[f64], rounding: f64) -> Option<usize> {
    let largest =
        values.iter().fold(f64::NEG_INFINITY, |largest, &value| if value > largest { value } else { largest });
    let is_near = |value: &f64| *value >= largest - 2.0 * rounding;
    let is_only = values.iter().filter(|value| is_near(value)).count() == 1;
    if is_only { values.iter().position(is_near) } else { None }
}

impl Tally {
    fn count(&mut self, class: usize, by_logit: &[usize], by_center: &[usize], weight: u64) {
        let agree = by_logit.iter().any(|k| by_center.contains(k));
        *at(&mut self.samples, class) += weight;
        self.disagreements += if agree { 0 } else { weight };
        for &k in by_logit {
            *at(at(&mut self.decided, k), by_logit.len() - 1) += weight;
        }
        for (first, correct) in [(by_logit, &mut self.correct), (by_center, &mut self.correct_by_center)] {
            if first.contains(&class) {
                *at(at(correct, class), first.len() - 1) += weight;
            }
        }
    }

    pub(in crate::metrics) fn absorb(&mut self, other: &Self) {
        add(&mut self.samples, &other.samples);
        self.disagreements += other.disagreements;
        let lists = [
            (&mut self.correct, &other.correct),
            (&mut self.correct_by_center, &other.correct_by_center),
            (&mut self.decided, &other.decided),
        ];
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

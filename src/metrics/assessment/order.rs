//! Whether labels belong to features and outputs.

use super::{super::nearest_center::NearestCenter, finding::Finding};

/// Standard deviations from chance.
const BEYOND_CHANCE: f64 = 4.0;
/// The part of samples that is nearest to the own class mean, from which on labels belong to the features. Of labels that
/// mean nothing, with Gaussian features (`cli/tests/trained_thresholds.py`): 0.1 to 0.5 with 16 samples a class in 8
/// directions. In 64 directions it is 0.5 to 0.8, and they are taken for renamed ones: either way nothing is compared.
const SEPARATED: f64 = 0.5;
/// Samples a class, in the mean, from which on chance is told from labels: a sample is a part of its own class mean. With
/// two samples a class 0.5 to 1 of them are nearest to it whatever their labels, with four 0.3 to 0.7, with eight 0.2 to
/// 0.4, in 8 directions.
const TELLING: f64 = 8.0;

/// What is wrong with the order of the labels: nothing belongs together, all classes are renamed, or some are.
pub(super) fn order(counts: &[u64], decisions: &NearestCenter) -> Option<Finding> {
    let (all, some) = (labels(counts, decisions), reordered(counts, decisions));
    match (all, some) {
        // More is said by the classes, if the network is right about all others.
        (Some(Finding::OutputsReordered { .. }), Some(Finding::ClassesReordered { classes }))
            if classes.len() < counts.len() && are_others_right(counts, decisions, &classes) =>
        {
            Some(Finding::ClassesReordered { classes })
        }
        (all, some) => all.or(some),
    }
}

fn are_others_right(counts: &[u64], decisions: &NearestCenter, named: &[(usize, usize)]) -> bool {
    let is_right = |class: usize| decisions.accuracy_of(&[class]).is_some_and(|accuracy| accuracy >= SEPARATED);
    (0..counts.len()).all(|class| named.binary_search_by_key(&class, |&(own, _)| own).is_ok() || is_right(class))
}

/// Whether labels belong to features and outputs at all.
fn labels(counts: &[u64], decisions: &NearestCenter) -> Option<Finding> {
    let (accuracy, center_accuracy) = (decisions.accuracy()?, decisions.center_accuracy()?);
    let samples: f64 = counts.iter().map(|&count| count as f64).sum();
    let frequencies: Vec<f64> = counts.iter().map(|&count| count as f64 / samples).collect();
    if counts.len() < 2 || samples / (counts.len() as f64) < TELLING {
        return None;
    }
    // Decisions as frequent as the labels: those of classes that are renamed are as good as any.
    let renamed = Chance::new(&frequencies, &frequencies, samples).most();
    if accuracy <= renamed && center_accuracy >= SEPARATED.max(renamed) {
        return Some(Finding::OutputsReordered { accuracy, center_accuracy });
    }
    let decided = decisions.decided_parts();
    let others = samples * (1.0 - decided.iter().copied().fold(0.0, f64::max));
    let chance = Chance::new(&decided, &frequencies, samples);
    // Decisions for one class alone are right about as many samples in any order of the labels.
    let is_at_chance = others >= TELLING && accuracy <= chance.most();
    is_at_chance.then_some(Finding::LabelsAtChance { accuracy, chance: chance.accuracy })
}

/// The accuracy of decisions on labels in random order.
struct Chance {
    accuracy: f64,
    deviation: f64,
}

impl Chance {
    /// Of decisions for class k in a part p_k of the samples, of labels in a part q_k. Over all orders of the labels, the
    /// accuracy has the mean and the variance
    ///
    /// ```text
    /// c = Σ p_k q_k,    (c - Σ p_k q_k² - Σ p_k² q_k + c²)/(N - 1)
    /// ```
    fn new(decided: &[f64], frequencies: &[f64], samples: f64) -> Self {
        let sum = |of: fn(f64, f64) -> f64| -> f64 { decided.iter().zip(frequencies).map(|(&p, &q)| of(p, q)).sum() };
        let accuracy = sum(|p, q| p * q);
        let variance = accuracy - sum(|p, q| p * q * (p + q)) + accuracy * accuracy;
        // Negative only by rounding.
        Self { accuracy, deviation: (variance.max(0.0) / (samples - 1.0)).sqrt() }
    }

    /// The most that chance explains. Of few samples, or of one class that has almost all, chance is too close to
    /// perfection to tell.
    fn most(&self) -> f64 {
        (self.accuracy + BEYOND_CHANCE * self.deviation).min(f64::midpoint(1.0, self.accuracy))
    }
}

/// Classes whose outputs name each other: the network is wrong about most samples of each, though these are nearest to
/// their own class mean, and what it decides at the means is a permutation of these classes. Minority classes that have
/// collapsed, which the network takes for frequent ones, are none.
pub(super) fn reordered(counts: &[u64], decisions: &NearestCenter) -> Option<Finding> {
    let decided = decisions.decisions_at_means();
    let is_wrong = |&class: &usize| {
        let part = |accuracy: Option<f64>| accuracy.unwrap_or(1.0);
        decided[class] != class
            && part(decisions.accuracy_of(&[class])) < 1.0 - SEPARATED
            && part(decisions.center_accuracy_of(&[class])) >= SEPARATED
    };
    let is_wrong: Vec<bool> = (0..counts.len()).map(|class| is_wrong(&class)).collect();
    // Who walks from a class to the one that is decided for it, and meets their own steps, has found a circle.
    let (mut walked, mut classes) = (vec![usize::MAX; counts.len()], Vec::new());
    for start in 0..counts.len() {
        let mut class = start;
        while is_wrong[class] && walked[class] == usize::MAX {
            walked[class] = start;
            class = decided[class];
        }
        if is_wrong[class] && walked[class] == start {
            let first = class;
            loop {
                classes.push((class, decided[class]));
                class = decided[class];
                if class == first {
                    break;
                }
            }
        }
    }
    classes.sort_unstable();
    (!classes.is_empty()).then_some(Finding::ClassesReordered { classes })
}

#[cfg(test)]
mod tests {
    use super::Chance;

    /// Over all orders of six labels.
    #[test]
    fn chance_has_the_mean_and_the_variance_of_labels_in_random_order() {
        let (decided, mut labels) = ([0, 0, 0, 1, 1, 2], [0, 0, 1, 2, 2, 2]);
        let mut accuracies = Vec::new();
        permute(&mut labels, 0, &mut |labels| {
            let right = labels.iter().zip(&decided).filter(|(label, decided)| label == decided).count();
            accuracies.push(right as f64 / 6.0);
        });
        assert_eq!(accuracies.len(), 720);
        let mean = accuracies.iter().sum::<f64>() / 720.0;
        let variance = accuracies.iter().map(|accuracy| (accuracy - mean).powi(2)).sum::<f64>() / 720.0;
        let chance = Chance::new(&[0.5, 1.0 / 3.0, 1.0 / 6.0], &[1.0 / 3.0, 1.0 / 6.0, 0.5], 6.0);
        assert!((chance.accuracy - mean).abs() < 1e-14, "{} {mean}", chance.accuracy);
        assert!((chance.deviation.powi(2) - variance).abs() < 1e-14, "{} {variance}", chance.deviation);
    }

    fn permute(labels: &mut [i32; 6], from: usize, each: &mut impl FnMut(&[i32; 6])) {
        if from == labels.len() {
            return each(labels);
        }
        for other in from..labels.len() {
            labels.swap(from, other);
            permute(labels, from + 1, each);
            labels.swap(from, other);
        }
    }
}

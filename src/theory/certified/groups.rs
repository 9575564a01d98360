//! Groups of classes that a loss cannot tell apart, and the reduced problem that they make.

use std::collections::HashMap;

use faer::Mat;

use super::problem::{Bias, Problem};
use crate::{
    classes::ClassCounts, error::Error, linalg::memory::check_room, loss::Loss, model::Ufm,
    theory::group_classes::GroupClasses,
};

/// Classes of equal count, weight, scale, shift and margin.
#[derive(Clone, Debug)]
pub(in crate::theory) struct Group {
    pub(in crate::theory) count: u64,
    pub(in crate::theory) weight: f64,
    /// In rising order.
    pub(in crate::theory) classes: GroupClasses,
}

/// The groups, by falling count; equal counts by their first class.
pub(in crate::theory) fn groups(ufm: &Ufm, classes: &ClassCounts) -> Vec<Group> {
    let loss = ufm.output_loss();
    let lists = [loss.weights(), loss.scales(), loss.shifts(), loss.margins()];
    // Then counts are all that classes differ in, and no class need be looked at.
    if lists.iter().all(Option::is_none) {
        let group = |(r, group): (usize, crate::classes::Group<'_>)| Group {
            count: group.count,
            weight: 1.0,
            classes: GroupClasses::of_count(classes, r),
        };
        return classes.groups().enumerate().map(group).collect();
    }
    let mut index: HashMap<[u64; 5], usize> = HashMap::new();
    let mut groups: Vec<(u64, f64, Vec<usize>)> = Vec::new();
    // A million classes often are long runs of one kind: their key is looked up once.
    let mut last = None;
    for (class, &count) in classes.counts().iter().enumerate() {
        let weight = loss.weight(class);
        let key = [
            count,
            weight.to_bits(),
            loss.scale(class).to_bits(),
            loss.shift(class).to_bits(),
            loss.margin(class).to_bits(),
        ];
        let group = match last {
            Some((same, group)) if same == key => group,
            _ => *index.entry(key).or_insert_with(|| {
                groups.push((count, weight, Vec::new()));
                groups.len() - 1
            }),
        };
        last = Some((key, group));
        groups[group].2.push(class);
    }
    // Stable: groups are in the order of their first classes.
    groups.sort_by_key(|(count, ..)| std::cmp::Reverse(*count));
    let group = |(count, weight, classes)| Group { count, weight, classes: GroupClasses::new(classes) };
    groups.into_iter().map(group).collect()
}

/// √(λ_W λ_H) √N.
pub(super) fn scaled_decay(ufm: &Ufm) -> f64 {
    ufm.layers()[0].decay.sqrt() * ufm.feature_decay().sqrt() * (ufm.samples() as f64).sqrt()
}

pub(super) fn bias(ufm: &Ufm) -> Bias {
    match (ufm.has_bias(), ufm.bias_decay()) {
        (false, _) => Bias::None,
        (true, 0.0) => Bias::Free,
        (true, decay) => Bias::Decayed(decay),
    }
}

/// The problem of groups.
pub(super) fn problem(ufm: &Ufm, classes: &ClassCounts, groups: &[Group]) -> Result<Problem, Error> {
    let (loss, samples) = (ufm.output_loss(), classes.samples() as f64);
    let first = |of: &dyn Fn(usize) -> f64| groups.iter().map(|group| of(group.classes[0])).collect::<Vec<f64>>();
    let sizes: Vec<f64> = groups.iter().map(|group| group.classes.len() as f64).collect();
    let smoothing = ufm.targets().smoothing();
    let everywhere = smoothing / classes.classes() as f64;
    let count = groups.len();
    check_room(&[("matrices of groups of classes", count, 16 * count as u64)])?;
    let mut problem = Problem {
        is_cross_entropy: ufm.loss() == Loss::CrossEntropy,
        roots: groups.iter().map(|group| (group.count as f64 / samples).sqrt()).collect(),
        weights: groups
            .iter()
            .zip(&sizes)
            .map(|(group, m)| group.weight * m * (group.count as f64 / samples))
            .collect(),
        scales: first(&|class| loss.scale(class)),
        shifts: first(&|class| loss.shift(class)),
        margins: first(&|class| loss.margin(class)),
        row_roots: sizes.iter().map(|m| m.sqrt()).collect(),
        rows: sizes.clone(),
        columns: sizes,
        targets: Mat::full(count, count, everywhere),
        own_targets: vec![1.0 - smoothing + everywhere; count],
        lambda: scaled_decay(ufm),
        // The bias of a single group adds the same to all logits, which cross-entropy does not see: it stays at zero,
        // rather than where rounding takes it.
        bias: if count == 1 && ufm.loss() == Loss::CrossEntropy { Bias::None } else { bias(ufm) },
        moves: vec![false; count],
        base: Mat::zeros(count, count),
        base_contrasts: vec![0.0; count],
        base_bias: vec![0.0; count],
    };
    move_shifts_to_bias(&mut problem);
    if !problem.is_cross_entropy {
        set_base(&mut problem);
    }
    Ok(problem)
}

/// A free bias takes the shifts: δ (z + b) + ι is δ (z + b') with b' = b + ι/δ.
pub(super) fn move_shifts_to_bias(problem: &mut Problem) {
    if problem.bias != Bias::Free {
        return;
    }
    for ((base, shift), scale) in problem.base_bias.iter_mut().zip(&mut problem.shifts).zip(&problem.scales) {
        *base -= *shift / scale;
        *shift = 0.0;
    }
}

/// The base of squared errors: B, a and b of a perfect fit. A free bias is the mean of all logits there, so that B s = 0.
pub(super) fn set_base(problem: &mut Problem) {
    let others = |r: usize, s: usize| (problem.targets[(r, s)] - problem.shifts[r]) / problem.scales[r];
    let own = |s: usize| {
        problem.own_targets.get(s).map(|own| (own - problem.shifts[s] + problem.margins[s]) / problem.scales[s])
    };
    let (rows, columns) = (problem.row_count(), problem.column_count());
    let base = Mat::from_fn(rows, columns, |r, s| {
        let sum = match own(s).filter(|_| r == s) {
            // A row of one class has no others.
            Some(own) if problem.rows[r] < 2.0 => own,
            Some(own) => (own - others(r, s)) + problem.rows[r] * others(r, s),
            None => (problem.rows[r] * problem.columns[s]).sqrt() * others(r, s),
        };
        // Columns without a sample stay zero.
        if problem.weights[s] > 0.0 { sum * problem.roots[s] } else { 0.0 }
    });
    let contrast = |s: usize| if problem.rows[s] < 2.0 { 0.0 } else { own(s).unwrap_or(0.0) - others(s, s) };
    let contrasts = (0..problem.own_targets.len()).map(contrast).collect();
    (problem.base, problem.base_contrasts) = (base, contrasts);
    if problem.bias == Bias::Free {
        let mean = |r: usize| -> f64 {
            let logits = (0..columns).map(|s| problem.base[(r, s)] * problem.roots[s] * problem.columns[s].sqrt());
            logits.sum::<f64>() / problem.row_roots[r]
        };
        let means: Vec<f64> = (0..rows).map(mean).collect();
        move_base(problem, &means);
    }
}

/// Another base of squared errors, whose bias is larger by this.
pub(super) fn move_base(problem: &mut Problem, by: &[f64]) {
    for s in (0..problem.column_count()).filter(|&s| problem.weights[s] > 0.0) {
        let size = problem.roots[s] * problem.columns[s].sqrt();
        for (r, by) in by.iter().enumerate() {
            problem.base[(r, s)] -= by * problem.row_roots[r] * size;
        }
    }
    problem.base_bias.iter_mut().zip(by).for_each(|(bias, by)| *bias += by);
}

#[cfg(test)]
mod tests {
    use super::groups;
    use crate::{ClassCounts, ClassWeights, Layer, Loss, Ufm};

    /// Without weights the groups are those of the counts, which are known; with one weight for all they are found class
    /// by class.
    #[test]
    fn groups_of_counts_are_those_found_class_by_class() {
        let classes = ClassCounts::new([3, 5, 3, 7, 5, 5]).unwrap();
        let plain =
            Ufm::new(classes.clone(), [Layer::new(6, 0.1)], 0.1).unwrap().with_loss(Loss::CrossEntropy).unwrap();
        let weighted = plain.clone().with_class_weights(ClassWeights::Given(vec![2.0; 6])).unwrap();
        assert!(plain.output_loss().weights().is_none() && weighted.output_loss().weights().is_some());
        let (known, found) = (groups(&plain, &classes), groups(&weighted, &classes));
        let of = |groups: &[super::Group]| groups.iter().map(|g| (g.count, g.classes.to_vec())).collect::<Vec<_>>();
        assert_eq!(of(&known), of(&found));
        assert_eq!(of(&known), [(7, vec![3]), (5, vec![1, 4, 5]), (3, vec![0, 2])]);
    }
}

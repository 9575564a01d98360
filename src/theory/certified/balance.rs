//! Duals that prove a bound where the bias is free.

use super::{
    bias::{edges, potentials, row_sums, spread},
    fit::Fit,
    problem::{Bias, Outputs, Problem},
};

/// Makes errors P - Y feasible where the bias is free: (P - Y) w = 0, without which they prove nothing. For
/// cross-entropy the columns of P stay probabilities.
pub(super) fn balance(problem: &Problem, fit: &mut Fit) {
    if problem.bias != Bias::Free {
        return;
    }
    let masses = row_sums(problem, &problem.targets, &problem.own_targets);
    if problem.is_cross_entropy {
        drop_rows(problem, fit, &masses);
    }
    let sums = row_sums(problem, &fit.errors.others, &fit.errors.own);
    if !problem.is_cross_entropy {
        let weight: f64 = problem.weights.iter().sum();
        let means: Vec<f64> = sums.iter().zip(&problem.rows).map(|(sum, m)| sum / m / weight).collect();
        change(problem, fit, |r, _| -means[r], |s, _| -means[s]);
        return;
    }
    let x = potentials(edges(problem, &fit.probabilities), vec![0.0; sums.len()], sums.clone());
    if spread(&x) <= 0.5 {
        shift(problem, fit, &x);
    } else {
        mix(problem, fit, &sums, &masses);
    }
}

/// Adds to errors, by row and column for others and by column for own classes.
fn change(problem: &Problem, fit: &mut Fit, others: impl Fn(usize, usize) -> f64, own: impl Fn(usize, f64) -> f64) {
    for s in 0..problem.column_count() {
        let mut added = 0.0;
        for r in (0..problem.row_count()).filter(|&r| problem.others(r, s) > 0.0) {
            let change = others(r, s);
            fit.errors.others[(r, s)] += change;
            added += problem.others(r, s) * change;
        }
        if let Some(error) = fit.errors.own.get_mut(s) {
            *error += own(s, added);
        }
    }
}

/// No class can be less likely than an output that no target has: it is dropped.
fn drop_rows(problem: &Problem, fit: &mut Fit, masses: &[f64]) {
    if masses.iter().all(|mass| *mass > 0.0) {
        return;
    }
    for s in 0..problem.column_count() {
        // Added up, since 1 minus what goes has no digits left where nearly all goes.
        let kept = masses.iter().enumerate().filter(|(_, mass)| **mass > 0.0);
        let kept: f64 = kept.map(|(r, _)| problem.others(r, s) * fit.probabilities.others[(r, s)]).sum();
        let kept = kept + fit.probabilities.own.get(s).copied().unwrap_or(0.0);
        if !(kept > 0.0) {
            // Nothing is left: P = Y proves a bound as well.
            replace_by_targets(problem, fit, s);
            continue;
        }
        let factor = 1.0 / kept;
        for (r, mass) in masses.iter().enumerate() {
            let p = &mut fit.probabilities.others[(r, s)];
            let to = if *mass == 0.0 { 0.0 } else { *p * factor };
            fit.errors.others[(r, s)] += to - *p;
            *p = to;
        }
    }
}

/// P = Y in a column.
fn replace_by_targets(problem: &Problem, fit: &mut Fit, s: usize) {
    fit.errors.others.col_mut(s).fill(0.0);
    fit.probabilities.others.col_mut(s).copy_from(problem.targets.col(s));
    if let (Some(error), Some(p)) = (fit.errors.own.get_mut(s), fit.probabilities.own.get_mut(s)) {
        (*error, *p) = (0.0, problem.own_targets[s]);
    }
}

/// What a shift of the logits by x takes P to, to first order: P - P∘(x - mean of x). Sums over samples are linear
/// in it, so that the x of Newton's step leaves nothing of them. Probabilities stay positive if all x are within 1 of
/// each other.
fn shift(problem: &Problem, fit: &mut Fit, x: &[f64]) {
    let Outputs { others: p, own: p_own } = fit.probabilities.clone();
    let mean = |s: usize| {
        let others: f64 = x.iter().enumerate().map(|(r, x)| problem.others(r, s) * p[(r, s)] * x).sum();
        others + p_own.get(s).map_or(0.0, |p| p * x[s])
    };
    let means: Vec<f64> = (0..problem.column_count()).map(mean).collect();
    // The own class by the sum of the others: it keeps their digits.
    change(problem, fit, |r, s| p[(r, s)] * (means[s] - x[r]), |_, added| -added);
}

/// (1-θ) P + θ C, where all columns of C are the same probabilities, with the least θ for which there are such. Any P
/// will do.
fn mix(problem: &Problem, fit: &mut Fit, sums: &[f64], masses: &[f64]) {
    let odds = sums.iter().zip(masses).filter(|(_, mass)| **mass > 0.0).map(|(sum, mass)| sum / mass);
    let odds = odds.fold(0.0, f64::max);
    let (rest, share) = (1.0 / (1.0 + odds), odds / (1.0 + odds));
    let weight: f64 = problem.weights.iter().sum();
    // θ C, whose rows have the sum θ Y w - (1-θ) (P - Y) w.
    let common = |r: usize| (share * masses[r] - rest * sums[r]).max(0.0) / (problem.rows[r] * weight);
    let Outputs { others, own } = fit.errors.clone();
    let mixed = |error: f64, target: f64, r: usize| -share * (error + target) + common(r);
    change(
        problem,
        fit,
        |r, s| mixed(others[(r, s)], problem.targets[(r, s)], r),
        |s, _| mixed(own[s], problem.own_targets[s], s),
    );
}

#[cfg(test)]
mod tests {
    use faer::Mat;

    use super::{super::bias::row_sums, balance};
    use crate::{
        ClassCounts, Layer, Loss, Targets, Ufm,
        theory::certified::{
            certificate::Certificate,
            groups,
            problem::{Problem, Variables},
            samples::Samples,
            solver::solve,
        },
    };

    fn of_classes(loss: Loss, smoothing: f64) -> Problem {
        let classes = ClassCounts::new([70, 70, 9, 5, 5, 1]).unwrap();
        let targets = Targets::smoothed(classes.clone(), smoothing).unwrap();
        let ufm = Ufm::new(targets, [Layer::new(6, 0.02)], 0.01).unwrap().with_loss(loss).unwrap();
        let ufm = ufm.with_cdt(0.2).unwrap().with_ldam(0.3).unwrap();
        groups::problem(&ufm, &classes, &groups::groups(&ufm, &classes)).unwrap()
    }

    /// Four outputs, the last of which no target has.
    fn of_targets() -> Problem {
        let targets = Mat::from_fn(4, 3, |r, s| if r == 3 { 0.0 } else { [0.5, 0.2, 0.3][(r + s) % 3] });
        let ufm = Ufm::new(Targets::matrix(targets.clone()).unwrap(), [Layer::new(4, 0.02)], 0.01).unwrap();
        Samples::new(targets.as_ref()).problem(&ufm.with_loss(Loss::CrossEntropy).unwrap(), targets.as_ref()).unwrap()
    }

    /// A point of no meaning: B and a of size `size`, a bias of size `bias`.
    fn point(problem: &Problem, size: f64, bias: f64) -> Variables {
        let mut point = problem.zero();
        point.b =
            Mat::from_fn(problem.row_count(), problem.column_count(), |r, s| size * ((7 * r + 3 * s) as f64).sin());
        point.contrasts.iter_mut().enumerate().for_each(|(s, a)| *a = size * (s as f64).cos());
        point.bias.iter_mut().enumerate().for_each(|(r, b)| *b = bias * (5.0 * r as f64).sin());
        point
    }

    #[test]
    fn a_bound_holds_wherever_it_is_found() {
        for mut problem in [
            of_classes(Loss::CrossEntropy, 0.0),
            of_classes(Loss::CrossEntropy, 0.2),
            of_classes(Loss::Squared, 0.1),
            of_targets(),
        ] {
            let least = solve(&mut problem).unwrap().certificate.objective;
            for (size, bias) in [(0.0, 0.0), (0.1, 1e-3), (1.0, 0.1), (1.0, 3.0), (10.0, 10.0), (0.0, 100.0)] {
                let point = point(&problem, size, bias);
                let svd = problem.svd(&point).unwrap();
                let Certificate { objective, lower_bound } = Certificate::new(&problem, &point, &svd).unwrap();
                assert!(objective >= least && lower_bound <= least, "{size} {bias}: {objective} {least} {lower_bound}");
            }
        }
    }

    #[test]
    fn a_balanced_dual_sums_to_nothing_in_rows_and_columns() {
        for problem in [of_classes(Loss::CrossEntropy, 0.0), of_classes(Loss::CrossEntropy, 0.2), of_targets()] {
            for bias in [1e-9, 1e-3, 0.3, 10.0] {
                let mut fit = problem.fit(&point(&problem, 1.0, bias));
                balance(&problem, &mut fit);
                // Sums of a few numbers of at most 1.
                let rounding = 64.0 * f64::EPSILON;
                let sums = row_sums(&problem, &fit.errors.others, &fit.errors.own);
                assert!(sums.iter().all(|sum| sum.abs() <= rounding), "{bias}: {sums:?}");
                for s in (0..problem.column_count()).filter(|&s| problem.weights[s] > 0.0) {
                    let own = fit.errors.own.get(s).copied();
                    let others = (0..problem.row_count()).map(|r| problem.others(r, s) * fit.errors.others[(r, s)]);
                    assert!((others.sum::<f64>() + own.unwrap_or(0.0)).abs() <= rounding, "{bias} {s}");
                    let least = |r: usize| problem.targets[(r, s)] + fit.errors.others[(r, s)];
                    assert!((0..problem.row_count()).all(|r| least(r) >= -rounding), "{bias} {s}");
                    assert!(own.is_none_or(|own| problem.own_targets[s] + own >= -rounding), "{bias} {s}");
                }
            }
        }
    }
}

//! The bias by itself: where B and a stay as they are, and what it leaves of the dual's constraint.
//!
//! In scaled logits x_r = δ_r b_r the curvature of cross-entropy is the Laplacian of a graph: groups of outputs are its
//! nodes, tied to each other by the probabilities that they share, and to the ground by a decay.
//!
//! ```text
//! h_rt = Σ_s w_s π_rs π_ts,   π_rs: the probability of row r in column s
//! ```

use faer::Mat;

use super::{
    fit::Fit,
    frame::product,
    problem::{Bias, Outputs, Problem, Variables},
};
use crate::linalg::memory::{slice, slice_mut};

/// What is sought of a bias where nothing else moves: no logit is known better.
pub(super) const EXACT: f64 = 1e-15;
/// A step lowers a logit by about 1, and ten to fifty are far.
const MOST_STEPS: usize = 200;
/// From here on steps are squared each time, as long as rounding lets them.
const QUADRATIC: f64 = 1e-3;

/// The best bias where B and a are zero, if there are no margins: the logarithms of the shares of the targets.
pub(super) fn start(problem: &Problem, point: &mut Variables) {
    if problem.bias != Bias::Free || !problem.is_cross_entropy {
        return;
    }
    let masses = row_sums(problem, &problem.targets, &problem.own_targets);
    let total: f64 = problem.weights.iter().sum();
    for (r, mass) in masses.iter().enumerate().filter(|(_, mass)| **mass > 0.0) {
        point.bias[r] = ((mass / problem.rows[r] / total).ln() - problem.shifts[r]) / problem.scales[r];
    }
}

/// Newton's method for the bias with B and a fixed, until a step moves no logit by more than `enough`, or only
/// rounding is left.
///
/// log(1+D)/D of a step that moves the logits by D against each other lowers the value: the third derivative of
/// log Σ exp along it is at most D times the second (Bach 2010).
pub(super) fn settle(problem: &Problem, point: &mut Variables, enough: f64) {
    if problem.bias == Bias::None {
        return;
    }
    let mut last = f64::INFINITY;
    for _ in 0..MOST_STEPS {
        let fit = problem.fit(point);
        let step = step(problem, point, &fit);
        let spread = spread(&step);
        let is_finite = step.iter().all(|x| x.is_finite()) && spread.is_finite();
        if !is_finite || spread == 0.0 || (last < QUADRATIC && spread > 0.5 * last) {
            break;
        }
        let t = if problem.is_cross_entropy { spread.ln_1p() / spread } else { 1.0 };
        for ((bias, step), scale) in point.bias.iter_mut().zip(&step).zip(&problem.scales) {
            *bias += t * step / scale;
        }
        if spread <= enough {
            break;
        }
        last = spread;
    }
}

/// The largest of the numbers, all of which are differences to others or to zero, minus the smallest.
fn spread(steps: &[f64]) -> f64 {
    let largest = steps.iter().fold(0.0, |largest: f64, step| largest.max(*step));
    largest - steps.iter().fold(0.0, |least: f64, step| least.min(*step))
}

/// Newton's step, in scaled logits.
fn step(problem: &Problem, point: &Variables, fit: &Fit) -> Vec<f64> {
    let mut gradient = row_sums(problem, &fit.errors.others, &fit.errors.own);
    let mut ground = vec![0.0; problem.row_count()];
    if let Bias::Decayed(decay) = problem.bias {
        let rows = problem.rows.iter().zip(&problem.scales).zip(&point.bias);
        for ((g, ground), ((m, scale), bias)) in gradient.iter_mut().zip(&mut ground).zip(rows) {
            *g += decay * m * bias / scale;
            *ground = decay * m / scale.powi(2);
        }
    }
    for g in &mut gradient {
        *g = -*g;
    }
    if problem.is_cross_entropy {
        return potentials(edges(problem, &fit.probabilities), ground, gradient);
    }
    // Squared error: no output sees another's bias.
    let weight: f64 = problem.weights.iter().sum();
    let curvatures = problem.rows.iter().zip(&ground).map(|(m, ground)| m * weight + ground);
    gradient.iter().zip(curvatures).map(|(g, h)| if h > 0.0 { g / h } else { 0.0 }).collect()
}

/// Σ_s w_s times what the outputs of each row have in column s.
fn row_sums(problem: &Problem, others: &Mat<f64>, own: &[f64]) -> Vec<f64> {
    let mut sums = vec![0.0; problem.row_count()];
    for (s, weight) in problem.weights.iter().enumerate() {
        for (r, (sum, entry)) in sums.iter_mut().zip(slice(others.col(s))).enumerate() {
            *sum +=
                weight * (problem.others(r, s) * entry + if r == s { own.get(s).copied().unwrap_or(0.0) } else { 0.0 });
        }
    }
    sums
}

/// h. Its diagonal means nothing.
fn edges(problem: &Problem, probabilities: &Outputs) -> Mat<f64> {
    let shared = Mat::from_fn(problem.row_count(), problem.column_count(), |r, s| {
        let own = if r == s { probabilities.own.get(s).copied().unwrap_or(0.0) } else { 0.0 };
        problem.others(r, s) * probabilities.others[(r, s)] + own
    });
    let weighted = Mat::from_fn(shared.nrows(), shared.ncols(), |r, s| problem.weights[s] * shared[(r, s)]);
    product(weighted.as_ref(), shared.transpose())
}

/// The x of L x = g, zero at the first node if nothing is tied to the ground. L is the Laplacian of a graph of `edges`.
///
/// Elimination after Grassmann, Taksar and Heyman (1985): degrees are added up from edges again after every node,
/// so that no digit cancels, however far apart the edges are. R³/3 operations.
fn potentials(mut edges: Mat<f64>, mut ground: Vec<f64>, mut g: Vec<f64>) -> Vec<f64> {
    let nodes = g.len();
    let mut degrees = vec![0.0; nodes];
    for k in (0..nodes).rev() {
        let ties = slice(edges.col(k))[..k].to_vec();
        degrees[k] = ties.iter().sum::<f64>() + ground[k];
        // A node that is tied to nothing stays.
        if !(degrees[k] > 0.0) {
            continue;
        }
        for (i, tie) in ties.iter().enumerate() {
            let share = tie / degrees[k];
            ground[i] += share * ground[k];
            g[i] += share * g[k];
            let column = &mut slice_mut(edges.col_mut(i))[..i];
            column.iter_mut().zip(&ties).for_each(|(edge, tie)| *edge += share * tie);
        }
    }
    let mut x = vec![0.0; nodes];
    for k in (0..nodes).filter(|&k| degrees[k] > 0.0) {
        let pull: f64 = slice(edges.col(k))[..k].iter().zip(&x).map(|(tie, x)| tie * x).sum();
        x[k] = (g[k] + pull) / degrees[k];
    }
    x
}

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
        let factor = if kept > 0.0 { 1.0 / kept } else { 0.0 };
        for (r, mass) in masses.iter().enumerate() {
            let p = &mut fit.probabilities.others[(r, s)];
            let to = if *mass == 0.0 { 0.0 } else { *p * factor };
            fit.errors.others[(r, s)] += to - *p;
            *p = to;
        }
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

    use super::{balance, potentials, row_sums};
    use crate::{
        ClassCounts, Layer, Loss, Targets, Ufm,
        theory::certified::{
            certificate::Certificate,
            frame::decompose,
            groups,
            problem::{Problem, Variables},
            samples::Samples,
            solver::solve,
        },
    };

    /// Edges over 200 orders of magnitude: the degrees of a Laplacian that is formed would lose all that is small.
    #[test]
    fn potentials_keep_their_digits_however_far_apart_edges_are() {
        let strengths = [1.0_f64, 1e-100, 1e100, 1e-30];
        let edge = |i: usize, j: usize| strengths[i] * strengths[j];
        let edges = Mat::from_fn(4, 4, |i, j| if i == j { f64::NAN } else { edge(i, j) });
        let x = [0.0, 2.0, -1.0, 0.5];
        let g: Vec<f64> =
            (0..4).map(|i| (0..4).filter(|&j| j != i).map(|j| edge(i, j) * (x[i] - x[j])).sum()).collect();
        let found = potentials(edges, vec![0.0; 4], g);
        for (found, x) in found.iter().zip(x) {
            assert!((found - x).abs() <= 16.0 * f64::EPSILON, "{found} {x}");
        }
    }

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
                let svd = decompose(&problem.matrix(&point)).unwrap();
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

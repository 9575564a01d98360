//! The way to the minimizer: zero if that is enough, otherwise the path, then Newton's method at the rank found.

use super::{
    certificate::Certificate,
    fit::Fit,
    frame::decompose,
    path::{Kink, Path, SHRINK, Stop},
    polish::{Polished, polish},
    problem::{Bias, Problem, Variables},
    smooth::Smooth,
};
use crate::error::Error;

/// The path is left when its gap is below this share of the objective, and gone on if the polished point is worse than
/// [`GOAL`].
const LEAVE: f64 = 1e-5;
/// A gap as small as this is rounding.
const GOAL: f64 = 1e-13;
/// No path goes on beyond this share: dropped singular values would be below the rounding of those that stay.
const END: f64 = 1e-13;

/// A point, what it is made of, and what it proves.
#[derive(Debug)]
pub(super) struct Solution {
    pub(super) polished: Polished,
    pub(super) certificate: Certificate,
}

/// What the law of contrasts says of group s, and where its a_r starts.
fn contrast(problem: &Problem, s: usize) -> (Kink, f64) {
    let q = problem.contrast_q(s);
    let difference = problem.own_targets[s] - problem.targets[(s, s)];
    let margin = problem.margins[s];
    // Squared error with a margin: collapse begins at q = 1 + margin/difference.
    let threshold = if problem.is_cross_entropy { 1.0 } else { 1.0 + margin / difference };
    if problem.rows[s] < 2.0 {
        (Kink::Zero, -problem.base_contrasts[s])
    } else if problem.is_cross_entropy && margin > 0.0 {
        (Kink::Smooth, 0.0)
    } else if q >= threshold {
        (Kink::Zero, -problem.base_contrasts[s])
    } else if problem.is_cross_entropy {
        (Kink::Linear, -0.5 * q.ln() / problem.scales[s])
    } else {
        // Squared error: a is known.
        (Kink::Linear, -difference * q / problem.scales[s])
    }
}

/// The same for all groups; those that are not zero may move.
fn contrasts(problem: &mut Problem, point: &mut Variables) -> Vec<Kink> {
    let found: Vec<(Kink, f64)> = (0..problem.own_targets.len()).map(|s| contrast(problem, s)).collect();
    problem.moves = found.iter().map(|(kink, _)| *kink != Kink::Zero).collect();
    point.contrasts = found.iter().map(|(_, start)| *start).collect();
    found.into_iter().map(|(kink, _)| kink).collect()
}

/// The optimal bias where the point is, roughly: a Newton step entry by entry, damped since logits share a softmax.
fn rough_bias(problem: &Problem, point: &mut Variables) {
    if problem.bias == Bias::None {
        return;
    }
    for _ in 0..100 {
        let fit = problem.fit(point);
        let (gradient, curvature) = (problem.gradient(point, &fit), problem.diagonal(&fit));
        let mut largest = 0.0_f64;
        for ((bias, g), h) in point.bias.iter_mut().zip(&gradient.bias).zip(&curvature.bias) {
            let step = if *h > 0.0 { (g / h).clamp(-2.0, 2.0) } else { 0.0 };
            *bias -= 0.7 * step;
            largest = largest.max(step.abs());
        }
        if largest < 1e-3 {
            break;
        }
    }
}

pub(super) fn solve(problem: &mut Problem) -> Result<Solution, Error> {
    if let Some(zero) = zero(problem)? {
        return Ok(zero);
    }
    let mut point = problem.zero();
    point.b = faer::Scale(-1.0) * &problem.base;
    let kinks = contrasts(problem, &mut point);
    rough_bias(problem, &mut point);
    follow(problem, &kinks, point)
}

/// The point where B and a are zero, if it is the minimizer.
fn zero(problem: &mut Problem) -> Result<Option<Solution>, Error> {
    problem.moves.fill(false);
    let mut point = problem.zero();
    point.b = faer::Scale(-1.0) * &problem.base;
    for s in 0..point.contrasts.len() {
        point.contrasts[s] = -problem.base_contrasts[s];
    }
    rough_bias(problem, &mut point);
    let fit = problem.fit(&point);
    // The bias is rough: closer than a hundredth to the threshold only the path can tell.
    if steepest(problem, &point, &fit)? > 1.01 * problem.lambda {
        return Ok(None);
    }
    let polished = polish(problem, &point, 0, GOAL)?;
    let certificate = Certificate::new(problem, &polished.point, &polished.svd)?;
    // Far below λ there is no doubt, whatever is left of the gap: squares of a large λ are no path to begin on.
    let is_certain = steepest(problem, &polished.point, &problem.fit(&polished.point))? < 0.5 * problem.lambda;
    Ok((is_certain || certificate.gap().abs() <= GOAL).then_some(Solution { polished, certificate }))
}

/// The largest dual of a singular value.
fn steepest(problem: &Problem, point: &Variables, fit: &Fit) -> Result<f64, Error> {
    let between = decompose(&problem.gradient(point, fit).b)?.values[0];
    let within = (0..point.contrasts.len()).map(|s| problem.contrast_dual(fit, s).abs());
    Ok(within.fold(between, f64::max))
}

/// The largest curvature of the fit along an entry of B, or along |a_r| √ν_r.
fn curvature(problem: &Problem, fit: &Fit) -> f64 {
    let diagonal = problem.diagonal(fit);
    let within = diagonal.contrasts.iter().enumerate().filter(|(s, _)| problem.rows[*s] > 1.0);
    let within = within.map(|(s, h)| h / ((problem.rows[s] - 1.0) * problem.roots[s].powi(2)));
    within.fold(diagonal.b.norm_max(), f64::max).max(f64::MIN_POSITIVE)
}

fn follow(problem: &Problem, kinks: &[Kink], point: Variables) -> Result<Solution, Error> {
    let (fit, lambda) = (problem.fit(&point), problem.lambda);
    let curvature = curvature(problem, &fit);
    // Here the penalty is as curved as the fit, and no step leads far.
    let mu = lambda * lambda.max(steepest(problem, &point, &fit)?) / curvature;
    if !mu.is_finite() {
        return Err(Error::NoCertificate { because: "decays or class weights whose squares leave the range of f64" });
    }
    let mut path = Path { problem, kinks, smooth: Smooth { lambda, mu } };
    let mut stop = path.at(point)?;
    let mut best: Option<Solution> = None;
    loop {
        stop = path.center(stop)?;
        // Every singular value adds at most μ to the gap.
        let values = problem.row_count() as f64 + problem.rows.iter().map(|m| m - 1.0).sum::<f64>().min(1e3);
        let share = path.smooth.mu * values / stop.value.abs().max(f64::MIN_POSITIVE);
        if share < LEAVE {
            let found = leave(&path, &stop, curvature)?;
            let difference =
                |solution: &Solution| (solution.certificate.objective - solution.certificate.lower_bound).abs();
            let is_better = best.as_ref().is_none_or(|best| difference(&found) < difference(best));
            let is_done = found.certificate.gap().abs() <= GOAL;
            if is_better {
                best = Some(found);
            }
            if is_done || share < END {
                break;
            }
        }
        let before = path.smooth;
        path.smooth.mu *= SHRINK;
        stop = path.enter(stop, before)?;
    }
    best.ok_or(Error::SvdDidNotConverge)
}

/// Chooses what stays, and polishes it.
fn leave(path: &Path<'_>, stop: &Stop, curvature: f64) -> Result<Solution, Error> {
    let problem = path.problem;
    let (sigma, lambda) = (&stop.svd.values, problem.lambda);
    // In the middle of the path σ (λ - e) is about μ: what stays has a large σ, what goes a large λ - e.
    let unit = curvature.min(lambda / sigma[0].max(f64::MIN_POSITIVE));
    let stays = |sigma: f64| sigma * unit > lambda - path.smooth.dual(sigma);
    let rank = sigma.iter().filter(|&&sigma| stays(sigma)).count();
    let moves = (0..problem.moves.len()).map(|s| match path.kinks[s] {
        Kink::Zero => false,
        Kink::Linear => true,
        Kink::Smooth => stays(problem.contrast(&stop.point, s).abs() * problem.roots[s]),
    });
    let fixed = Problem { moves: moves.collect(), ..problem.clone() };
    let polished = polish(&fixed, &stop.point, rank, GOAL)?;
    let certificate = Certificate::new(problem, &polished.point, &polished.svd)?;
    Ok(Solution { polished, certificate })
}

impl Solution {
    pub(super) fn fit(&self, problem: &Problem) -> Fit {
        problem.fit(&self.polished.point)
    }
}

//! The way to the minimizer: zero if that is enough, otherwise the path, then Newton's method at the rank found.

use super::{
    bias,
    certificate::Certificate,
    fit::Fit,
    groups::move_base,
    leave::{Choice, leave},
    path::{DAMPING, Kink, MOST_STEPS, Path},
    polish::{Polished, polish},
    problem::{Bias, Problem, Variables},
    smooth::Smooth,
};
use crate::{error::Error, linalg::spectral_norm};

/// The largest change of a logit that the bias is found to at the start of the path.
const ROUGH: f64 = 1e-3;
/// The dual of zero can be λ within this part of it.
const NEAR: f64 = 1e-6;
/// The path is left when its gap is below this share of the objective, and gone on if the polished point is worse than
/// [`ENOUGH`].
const LEAVE: f64 = 1e-5;
/// Or below this share, if what stays and what goes are [`CLEAR`] times apart.
const LEAVE_EARLY: f64 = 1e-2;
const CLEAR: f64 = 2.5;
/// A gap as small as this is rounding.
const ENOUGH: f64 = 3e-13;
/// A gap beyond this sends the solver along another path.
const PROVED: f64 = 1e-12;
/// A gap beyond this is no rounding, whatever weights there are.
const ROUNDED: f64 = 1e-8;
/// The first μ, in units of that at which the penalty is as curved as the fit, and whether the path is followed exactly.
/// A first μ of 0.03 takes a fifth fewer products than one of 0.1; some in a thousand random models with weights between
/// 1e-3 and 1e3 need another.
const STARTS: [(f64, bool); 5] = [(0.03, false), (0.1, true), (10.0, true), (1e3, true), (1e5, true)];
/// The least curvature of a start, as a share of the damped one: a uniform softmax of 50 classes has 0.08 of it, one that
/// is flat 1e-12.
const FLAT: f64 = 0.01;
/// Every μ is this share of the one before, and this one if no step was needed to get to the middle of the path.
const SHRINK: f64 = 0.1;
const SHRINK_FAST: f64 = 0.01;
/// The way from larger decays: each is this share of the one before, and the first at most so many steps away.
/// A share of 0.1 finds the same models of the tests, and 10,000 random ones as well.
const STEP: f64 = 0.3;
const MOST_DECAYS: i32 = 40;
/// No path goes on beyond this share: dropped singular values would be below the rounding of those that stay.
const END: f64 = 1e-13;

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
        // What the law says where all other outputs are equal.
        let (outputs, apart) = (problem.rows.iter().sum::<f64>(), difference * (1.0 - q));
        let rest = (1.0 - difference) + difference * q;
        (Kink::Linear, ((1.0 + (outputs - 1.0) * apart) / rest).ln() / problem.scales[s])
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

pub(super) fn solve(problem: &mut Problem) -> Result<Polished, Error> {
    if let Some(zero) = zero(problem)? {
        return Ok(from_its_bias(problem, zero));
    }
    let mut point = problem.zero();
    point.b = faer::Scale(-1.0) * &problem.base;
    if let Some((point, rank)) = diagonal(problem) {
        return polish(problem, &point, rank);
    }
    let kinks = contrasts(problem, &mut point);
    bias::start(problem, &mut point);
    bias::settle(problem, &mut point, ROUGH);
    let mut best = search(problem, &kinks, &point);
    if !is_rounded(&best) {
        let other = from_larger_decays(problem);
        if left(&other) < left(&best) {
            best = other;
        }
    }
    best.map(|found| from_its_bias(problem, found))
}

/// The best end of paths from a point.
fn search(problem: &Problem, kinks: &[Kink], point: &Variables) -> Result<Polished, Error> {
    let mut best = Err(Error::SvdDidNotConverge);
    for (start, is_exact) in STARTS {
        let found = follow(problem, kinks, point.clone(), start, is_exact);
        let (before, after) = (left(&best), left(&found));
        if after < before || best.is_err() {
            best = found;
        }
        let gap = best.as_ref().map_or(f64::INFINITY, |best| best.certificate.gap().abs());
        // What another path does not halve either is rounding.
        if gap <= PROVED || (gap <= ROUNDED && !(after < 0.5 * before)) {
            break;
        }
    }
    best
}

/// The minimizer by those at larger decays, from the ones at which it is zero: where logits are adjusted far, no path leads
/// there from the start.
fn from_larger_decays(problem: &Problem) -> Result<Polished, Error> {
    let at = |step: i32| Problem { lambda: problem.lambda * STEP.powi(-step), ..problem.clone() };
    let end = |step: i32| zero(&mut at(step)).ok().flatten().map(|zero| (step, zero.point));
    let mut found = Err(Error::SvdDidNotConverge);
    let Some((zero, mut point)) = (1..=MOST_DECAYS).find_map(end) else { return found };
    for step in (0..zero).rev() {
        let mut larger = at(step);
        let kinks = contrasts(&mut larger, &mut point);
        bias::settle(&larger, &mut point, ROUGH);
        found = search(&larger, &kinks, &point);
        match &found {
            Ok(found) if step > 0 => point.clone_from(&found.point),
            Ok(_) => {}
            Err(_) => break,
        }
    }
    found
}

fn is_rounded(found: &Result<Polished, Error>) -> bool {
    found.as_ref().is_ok_and(|found| found.certificate.gap().abs() <= ROUNDED)
}

/// The same minimizer, polished again with its own bias in the base of squared errors: where that was far, small errors
/// are differences of large numbers, and the gap is their rounding.
fn from_its_bias(problem: &mut Problem, found: Polished) -> Polished {
    if problem.is_cross_entropy || problem.bias == Bias::None {
        return found;
    }
    let mut moved = problem.clone();
    move_base(&mut moved, &found.point.bias);
    let b = problem.matrix(&found.point) - &moved.base;
    let point = Variables { b, bias: vec![0.0; problem.row_count()], ..found.point.clone() };
    match polish(&moved, &point, found.rank) {
        Ok(again) if difference(&again) < difference(&found) => {
            *problem = moved;
            again
        }
        _ => found,
    }
}

/// The minimizer and its rank where the problem splits by class: squared error without a bias, where only the own output
/// has a target. The logit of a class is that of a perfect fit less what the law of contrasts takes, and no less than 0.
fn diagonal(problem: &mut Problem) -> Option<(Variables, usize)> {
    let is_alone = problem.targets.norm_max() == 0.0 && problem.shifts.iter().all(|shift| *shift == 0.0);
    if problem.is_cross_entropy || problem.bias != Bias::None || !problem.has_labels() || !is_alone {
        return None;
    }
    let (mut point, mut rank) = (problem.zero(), 0);
    for s in 0..problem.row_count() {
        let taken = problem.own_targets[s] * problem.contrast_q(s) / problem.scales[s];
        let is_kept = taken * problem.roots[s] < problem.base[(s, s)];
        point.b[(s, s)] = if is_kept { -taken * problem.roots[s] } else { -problem.base[(s, s)] };
        problem.moves[s] = is_kept && problem.rows[s] > 1.0;
        point.contrasts[s] = if problem.moves[s] { -taken } else { -problem.base_contrasts[s] };
        rank += usize::from(is_kept);
    }
    Some((point, rank))
}

/// What is left between the objective and its bound, if there is any.
fn left(found: &Result<Polished, Error>) -> f64 {
    found.as_ref().map_or(f64::INFINITY, difference)
}

/// What is left between the objective and its bound.
fn difference(found: &Polished) -> f64 {
    (found.certificate.objective - found.certificate.lower_bound).abs()
}

/// The point where B and a are zero, if it is the minimizer.
fn zero(problem: &mut Problem) -> Result<Option<Polished>, Error> {
    problem.moves.fill(false);
    let mut point = problem.zero();
    point.b = faer::Scale(-1.0) * &problem.base;
    for s in 0..point.contrasts.len() {
        point.contrasts[s] = -problem.base_contrasts[s];
    }
    bias::start(problem, &mut point);
    bias::settle(problem, &mut point, bias::EXACT);
    let norm = steepest(problem, &point, &problem.fit(&point))?;
    // Closer than this to λ a gap decides, which is rounding if the point is the minimizer.
    if norm > (1.0 + NEAR) * problem.lambda {
        return Ok(None);
    }
    let svd = problem.svd(&point)?;
    let certificate = Certificate::new(problem, &point, &svd)?;
    let is_minimizer = norm <= problem.lambda || certificate.gap().abs() <= ENOUGH;
    Ok(is_minimizer.then_some(Polished { point, svd, rank: 0, certificate }))
}

/// The largest dual of a singular value.
fn steepest(problem: &Problem, point: &Variables, fit: &Fit) -> Result<f64, Error> {
    let between = spectral_norm(problem.gradient(point, fit).b.as_ref())?;
    let within = (0..point.contrasts.len()).map(|s| problem.contrast_dual(fit, s).abs());
    Ok(within.fold(between, f64::max))
}

/// The largest curvature of the fit along an entry of B, or along |a_r| √ν_r. A softmax can be as good as flat at the
/// start, but is not on the way: there it is a share of the damped one.
fn curvature(problem: &Problem, fit: &Fit) -> f64 {
    let largest = |fit: &Fit| {
        let diagonal = problem.diagonal(fit);
        let within = diagonal.contrasts.iter().enumerate().filter(|(s, _)| problem.rows[*s] > 1.0);
        let within = within.map(|(s, h)| h / ((problem.rows[s] - 1.0) * problem.roots[s].powi(2)));
        within.fold(diagonal.b.norm_max(), f64::max).max(f64::MIN_POSITIVE)
    };
    largest(fit).max(FLAT * largest(&Fit { damping: DAMPING, ..fit.clone() }))
}

fn follow(problem: &Problem, kinks: &[Kink], point: Variables, start: f64, is_exact: bool) -> Result<Polished, Error> {
    let (fit, lambda) = (problem.fit(&point), problem.lambda);
    let curvature = curvature(problem, &fit);
    let mu = start * lambda * lambda.max(steepest(problem, &point, &fit)?) / curvature;
    if !mu.is_finite() {
        return Err(Error::NoCertificate { because: "decays or class weights whose squares leave the range of f64" });
    }
    let mut path = Path { problem, kinks, smooth: Smooth { lambda, mu }, is_exact };
    let mut stop = path.at(point)?;
    let mut best: Option<Polished> = None;
    loop {
        let (centered, steps) = path.center(stop);
        stop = centered;
        // Every singular value adds at most μ to the gap; of contrasts, which may be a million, most are far from zero.
        let values = problem.row_count() as f64 + problem.rows.iter().map(|m| m - 1.0).sum::<f64>().min(1e3);
        let share = path.smooth.mu * values / stop.value.abs().max(f64::MIN_POSITIVE);
        if share < LEAVE_EARLY {
            let choice = Choice::new(&path, &stop);
            // What is beyond the range of numbers is no point; the path may go on to one.
            let is_time = share < LEAVE || choice.clarity > CLEAR;
            let found = if is_time { leave(&path, &stop, choice).ok() } else { None };
            let is_done = found.as_ref().is_some_and(|found| found.certificate.gap().abs() <= ENOUGH);
            best = [best, found].into_iter().flatten().min_by(|a, b| difference(a).total_cmp(&difference(b)));
            if is_done {
                break;
            }
        }
        // A point that is not in the middle of the path leads nowhere.
        if !(share >= END) || steps == MOST_STEPS {
            break;
        }
        let before = path.smooth;
        path.smooth.mu *= if steps == 0 { SHRINK_FAST } else { SHRINK };
        stop = path.enter(stop, before);
    }
    best.ok_or(Error::SvdDidNotConverge)
}

//! The path of smoothed problems: from one that is almost quadratic to one whose minimizer shows what stays.
//!
//! Each smoothed problem is convex and smooth. Newton's method minimizes it; a step of Newton's method along the tangent
//! of the path gives the start of the next one, at a tenth of μ or less. Nothing is known in advance of ranks and
//! thresholds: singular values that will vanish shrink with μ, those that stay do not. Near the end of the path all are
//! linear in μ, and one step leads from afar to μ = 0.

use super::{
    conjugate::{self, Preconditioner},
    fit::Fit,
    frame::{Coordinates, Frame, Parts},
    problem::{Problem, Variables},
    smooth::Smooth,
};
use crate::{error::Error, linalg::Svd};

/// What a kink of |a_r| is treated as.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kink {
    /// a_r is zero, by the law of contrasts.
    Zero,
    /// a_r is positive, by the law of contrasts: its penalty is linear.
    Linear,
    /// Not known in advance: smoothed as the singular values are.
    Smooth,
}

/// A point of the path.
pub(super) struct Stop {
    pub(super) point: Variables,
    pub(super) fit: Fit,
    pub(super) svd: Svd,
    pub(super) value: f64,
}

/// A step along the path.
pub(super) struct Tangent {
    /// What it adds to each singular value, to first order.
    pub(super) values: Vec<f64>,
    pub(super) step: Variables,
}

pub(super) struct Path<'a> {
    pub(super) problem: &'a Problem,
    pub(super) kinks: &'a [Kink],
    pub(super) smooth: Smooth,
    /// Whether only a step itself tells how near the middle of the path is. The preconditioner can be wrong by orders.
    pub(super) is_exact: bool,
}

/// Steps of Newton's method at one μ. Two are usual; from a start at which weights of 1e-3 and 1e3 disagree, thirty.
pub(super) const MOST_STEPS: usize = 100;
/// Conjugate gradients are stopped here: Newton's equation need not be solved better than its step is known. With 0.1 they
/// take a quarter more, with 0.5 the path needs more steps. Where a step decides, its decrement must be known.
const STEP_TOLERANCE: f64 = 0.3;
const EXACT_TOLERANCE: f64 = 0.1;
const TANGENT_TOLERANCE: f64 = 0.01;
const MOST_GRADIENTS: usize = 500;
/// Where Newton's method would move a logit further than this, samples are on the wrong side of a softmax that is almost
/// flat there. A step would be far too long, or not a number: it is damped. Sixteen models that had been lost took 626
/// steps in all with these three numbers, and 624 to 841 with 16 or 50, 1/4 or 1/8, and 16, 32 or 64 (at a tolerance of
/// 0.1 for every step).
const FAR: f64 = 16.0;
/// Logits of a sample with an error of 1 move by about 1/DAMPING then.
pub(super) const DAMPING: f64 = 0.25;
/// A step is not made longer if it moves a logit further than this.
const FARTHEST: f64 = 32.0;
/// Below this share of the value a guess of what a step would gain decides nothing: only the step itself shows how far it
/// leads. Guesses were far in the last steps of R = 300, where the steps were not.
const ROUGH: f64 = 1e-2;
/// No shorter part of a first step is tried.
const SHORTEST: f64 = 1e-9;
/// A point is in the middle of the path if a step would lower it by less than this many μ, as far as the preconditioner
/// can tell: the step along the tangent makes up for it.
const CENTERED: f64 = 0.1;

impl Path<'_> {
    /// σ of a contrast, and how many contrasts have it.
    fn contrast(&self, point: &Variables, s: usize) -> (f64, f64) {
        (self.problem.contrast(point, s).abs() * self.problem.roots[s], self.problem.rows[s] - 1.0)
    }

    fn value(&self, point: &Variables, fit: &Fit, svd: &Svd) -> f64 {
        let (problem, smooth) = (self.problem, self.smooth);
        let penalty: f64 = svd.values.iter().map(|&sigma| smooth.value(sigma)).sum();
        let contrasts = self.kinks.iter().enumerate().map(|(s, kink)| {
            let (sigma, count) = self.contrast(point, s);
            match kink {
                Kink::Zero => 0.0,
                Kink::Linear => count * problem.lambda * problem.contrast(point, s) * problem.roots[s],
                Kink::Smooth => count * smooth.value(sigma),
            }
        });
        fit.value + penalty + contrasts.sum::<f64>()
    }

    pub(super) fn at(&self, point: Variables) -> Result<Stop, Error> {
        let (fit, svd) = (self.problem.fit(&point), self.problem.svd(&point)?);
        let value = self.value(&point, &fit, &svd);
        Ok(Stop { point, fit, svd, value })
    }

    fn frame<'b>(&'b self, stop: &'b Stop) -> Frame<'b> {
        let (smooth, sigma) = (self.smooth, &stop.svd.values);
        let rows = self.problem.row_count();
        let contrasts = self.kinks.iter().enumerate().map(|(s, kink)| {
            let (sigma, count) = self.contrast(&stop.point, s);
            if *kink == Kink::Smooth { count * self.problem.roots[s].powi(2) * smooth.curvature(sigma) } else { 0.0 }
        });
        Frame {
            problem: self.problem,
            svd: &stop.svd,
            parts: Parts::new(
                rows,
                |i, j| smooth.difference(sigma[i], sigma[j]),
                |i, j| smooth.sum(sigma[i], sigma[j]),
            ),
            beyond: sigma.iter().map(|&sigma| smooth.sum(sigma, 0.0)).collect(),
            contrasts: contrasts.collect(),
            rank: None,
        }
    }

    /// The gradient of fit and smoothed penalty.
    fn gradient(&self, stop: &Stop, frame: &Frame<'_>) -> Coordinates {
        let problem = self.problem;
        let mut gradient = frame.coordinates(&problem.gradient(&stop.point, &stop.fit));
        for (i, &sigma) in stop.svd.values.iter().enumerate() {
            gradient.y[(i, i)] += self.smooth.dual(sigma);
        }
        for (s, kink) in self.kinks.iter().enumerate() {
            let (sigma, count) = self.contrast(&stop.point, s);
            let sign = problem.contrast(&stop.point, s).signum();
            gradient.contrasts[s] += count
                * problem.roots[s]
                * match kink {
                    Kink::Zero => 0.0,
                    Kink::Linear => problem.lambda,
                    Kink::Smooth => sign * self.smooth.dual(sigma),
                };
        }
        frame.mask(&mut gradient);
        gradient
    }

    /// Newton's method from a point to the middle of the path at this μ; the number of its steps.
    pub(super) fn center(&self, mut stop: Stop) -> (Stop, usize) {
        for steps in 0..MOST_STEPS {
            let frame = self.frame(&stop);
            let mut downhill = self.gradient(&stop, &frame);
            downhill.negate();
            let preconditioner = Preconditioner::new(&frame, &stop.fit);
            let guess = preconditioner.guess(&downhill);
            let is_centered = |step: &Coordinates| !(downhill.dot(step) > CENTERED * self.smooth.mu);
            if !self.is_exact && is_centered(&guess) {
                return (stop, steps);
            }
            let tolerance = if self.is_exact { EXACT_TOLERANCE } else { STEP_TOLERANCE };
            let solve = |preconditioner: &Preconditioner<'_>, fit: &Fit| {
                conjugate::solve(preconditioner, fit, &downhill, tolerance, MOST_GRADIENTS)
            };
            let mut step = guess;
            let is_rough = downhill.dot(&step) > ROUGH * stop.value;
            if !is_rough || !self.is_far(&frame.variables(&step)) {
                step = solve(&preconditioner, &stop.fit);
            }
            if self.is_far(&frame.variables(&step)) {
                let fit = Fit { damping: DAMPING, ..stop.fit.clone() };
                step = solve(&Preconditioner::new(&frame, &fit), &fit);
            }
            if self.is_exact && is_centered(&step) {
                return (stop, steps);
            }
            match self.search(&stop, &frame.variables(&step), downhill.dot(&step)) {
                Some(next) => stop = next,
                None => return (stop, steps),
            }
        }
        (stop, MOST_STEPS)
    }

    /// Whether a step moves a logit further than a softmax is near its quadratic; or is no number.
    pub(super) fn is_far(&self, step: &Variables) -> bool {
        self.problem.is_cross_entropy && !(self.problem.reach(step) <= FAR)
    }

    /// The first of ever shorter steps that lowers the value as it should, or the last of ever longer ones that lowers it
    /// further; `None` if rounding is all that is left.
    fn search(&self, stop: &Stop, step: &Variables, decrement: f64) -> Option<Stop> {
        if !(decrement > 0.0) {
            return None;
        }
        // A softmax is near its quadratic while logits move by about 1: log(1+D)/D is the step of generalized
        // self-concordance (Bach 2010).
        let reach = self.problem.reach(step);
        let first = if self.problem.is_cross_entropy && reach > 1.0 {
            reach.ln_1p() / std::f64::consts::LN_2 / reach
        } else {
            1.0
        };
        // A point beyond the range of numbers is no lower than any.
        let lower = |t: f64, than: f64| self.at(stop.point.plus(t, step)).ok().filter(|next| next.value <= than);
        let mut t = first;
        let mut next = loop {
            if let Some(next) = lower(t, stop.value - 1e-4 * t * decrement) {
                break next;
            }
            t *= 0.5;
            if !(t > SHORTEST * first) {
                return None;
            }
        };
        // Never so far that classes of little weight end where there is no curvature to come back from.
        let longest = if t < first { 0.0 } else { f64::min(1.0, FARTHEST / reach) };
        while 2.0 * t < longest {
            t *= 2.0;
            match lower(t, next.value) {
                Some(longer) => next = longer,
                None => break,
            }
        }
        Some(next)
    }

    /// The point of this path at which to begin, coming from the middle of the one with `before` in the place of μ.
    pub(super) fn enter(&self, stop: Stop, before: Smooth) -> Stop {
        let value = self.value(&stop.point, &stop.fit, &stop.svd);
        let tangent = Path { smooth: before, ..*self }.along(&stop, self.smooth.mu);
        // A tangent that leads too far is no help.
        let there = (!self.is_far(&tangent.step)).then(|| self.at(stop.point.plus(1.0, &tangent.step)).ok()).flatten();
        there.filter(|there| there.value < value).unwrap_or(Stop { value, ..stop })
    }

    /// The step of Newton's method from a point to another μ.
    pub(super) fn along(&self, stop: &Stop, mu: f64) -> Tangent {
        let frame = self.frame(stop);
        let change = mu - self.smooth.mu;
        let mut downhill = self.gradient(stop, &frame);
        downhill.negate();
        for (i, &sigma) in stop.svd.values.iter().enumerate() {
            downhill.y[(i, i)] += change * self.smooth.drift(sigma);
        }
        for (s, kink) in self.kinks.iter().enumerate() {
            if *kink == Kink::Smooth {
                let (sigma, count) = self.contrast(&stop.point, s);
                let sign = self.problem.contrast(&stop.point, s).signum();
                downhill.contrasts[s] += sign * count * self.problem.roots[s] * change * self.smooth.drift(sigma);
            }
        }
        let preconditioner = Preconditioner::new(&frame, &stop.fit);
        let step = conjugate::solve(&preconditioner, &stop.fit, &downhill, TANGENT_TOLERANCE, MOST_GRADIENTS);
        let values = (0..stop.svd.values.nrows()).map(|i| step.y[(i, i)]).collect();
        Tangent { values, step: frame.variables(&step) }
    }
}

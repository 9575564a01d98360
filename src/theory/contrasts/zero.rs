//! The decay from which everything is zero: the spectral norm of the residual at S = 0, with its optimal bias.
//!
//! ```text
//! E = Δ (Y - P) diag(w_k/√n_k)        S = 0 is the minimizer iff √(λ_W λ_H) ≥ ‖E‖_2
//! ```
//!
//! In the basis of group indicators and contrasts E is R × R and one number for each group.

use faer::{Mat, Side, linalg::solvers::Solve};

use super::grouped::Grouped;
use crate::{
    error::Error,
    linalg::{dense_svd, memory::try_zeros},
};

/// p at S = 0.
struct Outputs {
    /// Of a class of group r other than the own, for a sample of group s.
    others: Mat<f64>,
    own: Vec<f64>,
}

/// ‖E‖_2 at S = 0.
pub(super) fn vanishing_lambda(grouped: &Grouped) -> Result<f64, Error> {
    let count = grouped.count();
    if grouped.outputs() == 1.0 && (grouped.is_cross_entropy || grouped.bias == Some(0.0)) {
        // A single class is fitted for nothing.
        return Ok(0.0);
    }
    let outputs = outputs(grouped)?;
    let own_target = 1.0 - grouped.smoothing + grouped.everywhere;
    let mut between = try_zeros("residual of groups", count, count as u64)?;
    let mut largest = 0.0_f64;
    for s in 0..count {
        let unit = grouped.weights[s] / grouped.roots[s];
        let (own, sibling) = (own_target - outputs.own[s], grouped.everywhere - outputs.others[(s, s)]);
        for r in 0..count {
            let entry = grouped.everywhere - outputs.others[(r, s)];
            between[(r, s)] = unit
                * grouped.scales[r]
                * if r == s {
                    own + (grouped.sizes[s] - 1.0) * sibling
                } else {
                    entry * (grouped.sizes[r] * grouped.sizes[s]).sqrt()
                };
        }
        if grouped.sizes[s] > 1.0 {
            largest = largest.max((unit * grouped.scales[s] * (own - sibling)).abs());
        }
    }
    Ok(largest.max(dense_svd(between.as_ref())?.values[0]))
}

fn outputs(grouped: &Grouped) -> Result<Outputs, Error> {
    let count = grouped.count();
    let mut others = try_zeros("outputs of groups", count, count as u64)?;
    if grouped.is_cross_entropy {
        let logits = logits(grouped)?;
        let probabilities = Softmax::new(grouped, &logits)?;
        let own = (0..count).map(|s| probabilities.own(grouped, s)).collect();
        return Ok(Outputs { others: probabilities.others, own });
    }
    let shifted = squared_outputs(grouped);
    for s in 0..count {
        (0..count).for_each(|r| others[(r, s)] = shifted[r]);
    }
    let own = shifted.iter().zip(&grouped.margins).map(|(output, margin)| output - margin).collect();
    Ok(Outputs { others, own })
}

/// ȳ_r = Σ_k w_k y_rk for one class of group r.
fn mean_target(grouped: &Grouped, r: usize) -> f64 {
    (1.0 - grouped.smoothing) * grouped.weights[r] + grouped.everywhere * grouped.total_weight()
}

/// δ b + ι for squared error: rows do not depend on each other.
fn squared_outputs(grouped: &Grouped) -> Vec<f64> {
    let total = grouped.total_weight();
    let output = |r: usize| {
        let (scale, shift) = (grouped.scales[r], grouped.shifts[r]);
        let bias = grouped.bias.map_or(0.0, |decay| {
            let missing = mean_target(grouped, r) - shift * total + grouped.weights[r] * grouped.margins[r];
            scale * missing / (scale * scale * total + decay)
        });
        scale * bias + shift
    };
    (0..grouped.count()).map(output).collect()
}

/// Softmax of logits x = δ b + ι by group, the margin subtracted from that of the own class.
struct Softmax {
    others: Mat<f64>,
    /// log Σ exp.
    logs: Vec<f64>,
}

impl Softmax {
    fn new(grouped: &Grouped, logits: &[f64]) -> Result<Self, Error> {
        let count = logits.len();
        let mut others = try_zeros("probabilities of groups", count, count as u64)?;
        let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let exponentials: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
        let mut logs = Vec::with_capacity(count);
        for s in 0..count {
            // A sum of positive terms: no digits are lost where the own class has most of it.
            let rest = (0..count).map(|r| (grouped.sizes[r] - f64::from(u8::from(r == s))) * exponentials[r]);
            let sum = rest.sum::<f64>() + exponentials[s] * (-grouped.margins[s]).exp();
            (0..count).for_each(|r| others[(r, s)] = exponentials[r] / sum);
            logs.push(largest + sum.ln());
        }
        Ok(Self { others, logs })
    }

    fn own(&self, grouped: &Grouped, s: usize) -> f64 {
        self.others[(s, s)] * (-grouped.margins[s]).exp()
    }

    /// What a sample of group s gives to all classes of group r.
    fn mass(&self, grouped: &Grouped, r: usize, s: usize) -> f64 {
        if r == s {
            (grouped.sizes[s] - 1.0) * self.others[(s, s)] + self.own(grouped, s)
        } else {
            grouped.sizes[r] * self.others[(r, s)]
        }
    }
}

/// The logits δ b + ι of cross-entropy at S = 0: by Newton's method on a convex function of R numbers.
fn logits(grouped: &Grouped) -> Result<Vec<f64>, Error> {
    let Some(decay) = grouped.bias else { return Ok(grouped.shifts.clone()) };
    // Without margins and decay this is the solution.
    let total = grouped.total_weight();
    let mut logits: Vec<f64> = (0..grouped.count()).map(|r| (mean_target(grouped, r) / total).ln()).collect();
    for _ in 0..MOST_STEPS {
        let softmax = Softmax::new(grouped, &logits)?;
        let value = value(grouped, decay, &logits, &softmax);
        let step = newton_step(grouped, decay, &logits, &softmax)?;
        let length = step.iter().fold(0.0_f64, |length, step| length.max(step.abs()));
        let moved = |t: f64| logits.iter().zip(&step).map(|(logit, step)| logit - t * step).collect::<Vec<_>>();
        // Convergence is quadratic: after a step this small only rounding is left.
        if length <= LAST_STEP {
            return Ok(moved(1.0));
        }
        let mut t = 1.0;
        let mut next = moved(t);
        while t > SHORTEST && !(self::value(grouped, decay, &next, &Softmax::new(grouped, &next)?) <= value) {
            t *= 0.5;
            next = moved(t);
        }
        if t <= SHORTEST {
            break;
        }
        logits = next;
    }
    Ok(logits)
}

const MOST_STEPS: usize = 100;
const LAST_STEP: f64 = 1e-7;
/// A shorter step changes nothing but rounding.
const SHORTEST: f64 = 1e-12;

/// Σ_k w_k l_k + λ_b/2 ‖b‖².
fn value(grouped: &Grouped, decay: f64, logits: &[f64], softmax: &Softmax) -> f64 {
    let fits = (0..logits.len()).map(|s| {
        let own = grouped.weights[s] * (softmax.logs[s] + (1.0 - grouped.smoothing) * grouped.margins[s]);
        let bias = (logits[s] - grouped.shifts[s]) / grouped.scales[s];
        grouped.sizes[s] * (own - mean_target(grouped, s) * logits[s] + 0.5 * decay * bias * bias)
    });
    fits.sum()
}

fn newton_step(grouped: &Grouped, decay: f64, logits: &[f64], softmax: &Softmax) -> Result<Vec<f64>, Error> {
    let (count, total) = (logits.len(), grouped.total_weight());
    let weight = |s: usize| grouped.sizes[s] * grouped.weights[s];
    let masses = Mat::from_fn(count, count, |r, s| softmax.mass(grouped, r, s));
    let means: Vec<f64> = (0..count).map(|r| (0..count).map(|s| weight(s) * masses[(r, s)]).sum()).collect();
    let penalty = |r: usize| decay * grouped.sizes[r] / (grouped.scales[r] * grouped.scales[r]);
    let gradient = Mat::from_fn(count, 1, |r, _| {
        means[r] - grouped.sizes[r] * mean_target(grouped, r) + penalty(r) * (logits[r] - grouped.shifts[r])
    });
    // A free bias may move along 1, where the curvature is zero and so is the slope: any curvature there will do.
    let along = if decay == 0.0 { 1.0 / total } else { 0.0 };
    let weighted = Mat::from_fn(count, count, |r, s| weight(s) * masses[(r, s)]);
    let mut curvature = faer::Scale(-1.0) * (&weighted * masses.transpose());
    for r in 0..count {
        for t in 0..count {
            curvature[(r, t)] += along * means[r] * means[t];
        }
        curvature[(r, r)] += means[r] + penalty(r);
    }
    let factors = curvature.llt(Side::Lower).map_err(|_| Error::SvdDidNotConverge)?;
    let step = factors.solve(&gradient);
    Ok((0..count).map(|r| step[(r, 0)]).collect())
}

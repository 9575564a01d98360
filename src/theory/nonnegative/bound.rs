//! The lower bound of an orthogonal solution, from its residual E.
//!
//! With H ≥ 0 the dual norm of the penalty is max ‖E g‖ over unit g ≥ 0, at most the root μ of the largest eigenvalue
//! of the positive part of EᵀE. So P' = Y + t (P - Y) with t = min(1, λ/μ) is feasible for the dual of `certified`.

use faer::Mat;

use super::{Orthogonal, column::Column};
use crate::{
    error::Error,
    linalg::{dense_svd, memory::try_zeros},
    theory::contrasts::grouped::Grouped,
};

/// As far as rounding takes a sum of R² errors p - y from zero, with room.
const DRIFT: f64 = 1e-12;

/// Negative infinity if the bias is free and not optimal.
pub(super) fn lower_bound(grouped: &Grouped, solution: &Orthogonal) -> Result<f64, Error> {
    let (count, bias) = (grouped.count(), &solution.bias);
    let column = |s: usize| Column::new(grouped, s, bias);
    let residuals: Vec<Vec<f64>> = (0..count).map(|s| column(s).residual(&solution.column(s))).collect();
    let norm = positive_norm(grouped, &residuals)?;
    let t = if norm > grouped.lambda { grouped.lambda / norm } else { 1.0 };
    let mut drift = vec![0.0; count];
    let mut value = 0.0;
    for s in 0..count {
        let column = column(s);
        let errors: Vec<f64> = column.fit(&solution.column(s)).errors.iter().map(|error| t * error).collect();
        let weight = grouped.sizes[s] * grouped.weights[s];
        value += weight * dual(grouped, s, &errors);
        for (sum, error) in drift.iter_mut().zip(column.by_group(&errors)) {
            *sum += weight * error;
        }
    }
    // A free bias has to be optimal: otherwise P' is not feasible.
    let farthest = drift.iter().fold(0.0_f64, |farthest, drift| farthest.max(drift.abs()));
    if grouped.bias == Some(0.0) && farthest > DRIFT * grouped.total_weight() {
        return Ok(f64::NEG_INFINITY);
    }
    // ‖Δ(P' - Y) w‖²/(2 λ_b): `drift` has it added up over the m_r equal rows of a group.
    let decay = grouped.bias.filter(|decay| *decay > 0.0);
    let penalty = decay.map_or(0.0, |decay| {
        let rows = drift.iter().zip(&grouped.scales).zip(&grouped.sizes);
        rows.map(|((drift, scale), m)| (scale * drift).powi(2) / m).sum::<f64>() / (2.0 * decay)
    });
    Ok(value - penalty)
}

/// μ: the largest eigenvector of a matrix without negative entries has none either, so it is the same for the classes
/// of a group, and R × R numbers are enough.
fn positive_norm(grouped: &Grouped, residuals: &[Vec<f64>]) -> Result<f64, Error> {
    let count = grouped.count();
    // e_s as a column has its own entry apart; `entry(s, r)` is that of a class of group r that is not the own.
    let entry = |s: usize, r: usize| residuals[s][r];
    let own = |s: usize| residuals[s][count];
    let product = |s: usize, t: usize| {
        let mut sum = 0.0;
        for (r, size) in grouped.sizes.iter().enumerate() {
            let apart = f64::from(u8::from(r == s)) + f64::from(u8::from(r == t));
            // A group of one class has no entry but the own.
            if *size > apart {
                sum += (size - apart) * entry(s, r) * entry(t, r);
            }
        }
        sum + own(s) * entry(t, s) + entry(s, t) * own(t)
    };
    let mut gram: Mat<f64> = try_zeros("products of residuals", count, count as u64)?;
    for s in 0..count {
        let column = Column::new(grouped, s, &[]);
        let siblings = if grouped.sizes[s] > 1.0 { product(s, s).max(0.0) * (grouped.sizes[s] - 1.0) } else { 0.0 };
        gram[(s, s)] = column.norm(&residuals[s]).powi(2) + siblings;
        for t in 0..s {
            let entry = product(s, t).max(0.0) * (grouped.sizes[s] * grouped.sizes[t]).sqrt();
            gram[(s, t)] = entry;
            gram[(t, s)] = entry;
        }
    }
    Ok(dense_svd(gram.as_ref())?.values[0].sqrt())
}

/// What a sample of group s adds to the dual objective at p - y = `errors`, already scaled.
fn dual(grouped: &Grouped, s: usize, errors: &[f64]) -> f64 {
    let count = grouped.count();
    let column = Column::new(grouped, s, &[]);
    let entropy = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    let own_shift = grouped.shifts[s] - grouped.margins[s];
    let (mut sum, mut rest) = (0.0, 0.0);
    for (r, error) in errors[..count].iter().enumerate() {
        let (many, target) = (column.multiplicity(r), grouped.everywhere);
        if many > 0.0 {
            rest += many * (target + error);
            sum += many
                * if grouped.is_cross_entropy {
                    entropy(target + error) + error * grouped.shifts[r]
                } else {
                    -0.5 * error * error - error * (target - grouped.shifts[r])
                };
        }
    }
    let error = errors[count];
    sum + if grouped.is_cross_entropy {
        // p_own = 1 - what is elsewhere, whose digits are kept.
        let mine = if rest < 1.0 { -(1.0 - rest) * (-rest).ln_1p() } else { 0.0 };
        mine + error * own_shift
    } else {
        -0.5 * error * error - error * (column.own_target() - own_shift)
    }
}

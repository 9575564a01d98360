//! The closed forms.

use super::Orthogonal;
use crate::{error::Error, linalg::memory::try_zeros, theory::contrasts::grouped::Grouped};

/// The global minimizer, if it has a closed form.
pub(super) fn solution(grouped: &Grouped) -> Result<Option<Orthogonal>, Error> {
    let all_equal = |values: &[f64]| values.iter().all(|value| *value == values[0]);
    let is_free_of_bias = grouped.bias.is_none() || (grouped.count() == 1 && grouped.is_cross_entropy);
    let column: &dyn Fn(usize) -> (f64, f64) = if !is_free_of_bias {
        return Ok(None);
    } else if grouped.is_cross_entropy && all_equal(&grouped.scales) && all_equal(&grouped.shifts) {
        &|s| cross_entropy(grouped, s)
    } else if !grouped.is_cross_entropy && grouped.smoothing == 0.0 && grouped.shifts.iter().all(|shift| *shift == 0.0)
    {
        &|s| (squared_error(grouped, s), 0.0)
    } else {
        return Ok(None);
    };
    let count = grouped.count();
    let mut others = try_zeros("logits of groups", count, count as u64)?;
    let mut own = vec![0.0; count];
    for (s, own) in own.iter_mut().enumerate() {
        let (mine, other) = column(s);
        *own = mine;
        others.col_mut(s).fill(other);
    }
    Ok(Some(Orthogonal { others, own, bias: vec![0.0; count] }))
}

/// s_k = √n_k M_k (e_k - 1/K):
///
/// ```text
/// p_own = 1 - ε (K-1)/K - N λ/(δ α_k) √((K-1)/(K n_k))
/// δ M_k = max(0, log((K-1) p_own/(1 - p_own)) + m_k)
/// ```
fn cross_entropy(grouped: &Grouped, s: usize) -> (f64, f64) {
    let classes = grouped.outputs();
    if classes < 2.0 {
        return (0.0, 0.0);
    }
    let share = (classes - 1.0) / classes;
    // λ N/(α n) √n
    let missing = grouped.lambda * grouped.roots[s] / (grouped.scales[s] * grouped.weights[s]);
    let elsewhere = grouped.smoothing * share + missing * share.sqrt();
    let odds = (classes - 1.0) * (1.0 - elsewhere) / elsewhere;
    let gap = if odds > 0.0 { (odds.ln() + grouped.margins[s]).max(0.0) / grouped.scales[s] } else { 0.0 };
    let length = gap * grouped.roots[s];
    (length * share, -length / classes)
}

/// s_k = e_k max(0, √n_k (1 + m_k)/δ_k - N λ/(α_k δ_k²)).
fn squared_error(grouped: &Grouped, s: usize) -> f64 {
    let (root, scale) = (grouped.roots[s], grouped.scales[s]);
    let shrinkage = grouped.lambda * (root * root / grouped.weights[s]) / (scale * scale);
    (root * (1.0 + grouped.margins[s]) / scale - shrinkage).max(0.0)
}

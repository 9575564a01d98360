//! What the paper says of these singular values: bounds for any counts, formulas for up to three distinct ones.

use crate::classes::{ClassCounts, root};

/// The intervals [√n_(k+1), √n_(k)] that contain the singular values σ_1 ≥ ... ≥ σ_{K-1} of the centered label matrix,
/// and [0, 0] for σ_K = 0; n_(1) ≥ n_(2) ≥ ... are the counts by falling size. If neighboring counts are equal, their
/// interval is a point.
///
/// # References
///
/// Liu 2024, Theorem 4.4.
#[must_use]
pub fn interlacing_bounds(classes: &ClassCounts) -> Vec<(f64, f64)> {
    let roots: Vec<f64> =
        classes.groups().flat_map(|group| std::iter::repeat_n(root(group.count), group.multiplicity())).collect();
    roots.windows(2).map(|pair| (pair[1], pair[0])).chain([(0.0, 0.0)]).collect()
}

/// The singular values of the centered label matrix by the explicit formulas for up to three distinct counts, by
/// falling value; `None` for more.
///
/// ```text
/// R = 1   √c_1 (K-1 times), 0
/// R = 2   the one root is x = K c_1 c_2 / N
/// R = 3   the two roots of x² - (1/N) Σ_r m_r c_r (Σ_{t≠r} c_t) x + K c_1 c_2 c_3 / N
/// ```
///
/// # References
///
/// Liu 2024, Theorem 4.4 and Theorem B.2.
#[must_use]
pub fn explicit_singular_values(classes: &ClassCounts) -> Option<Vec<f64>> {
    let c: Vec<f64> = classes.groups().map(|group| group.count as f64).collect();
    let w: Vec<f64> = classes.groups().map(|group| group.count as f64 * group.multiplicity() as f64).collect();
    let (k, n) = (classes.classes() as f64, classes.samples() as f64);
    let roots = match c.len() {
        1 => vec![],
        2 => vec![k * c[0] * (c[1] / n)],
        3 => {
            // In δ = x - c_2 the quadratic is N δ² - linear δ + w_2 (c_1 - c_2)(c_3 - c_2): its roots have opposite
            // signs, and neither the discriminant nor the larger root x loses digits. The smaller root follows from the
            // product.
            let (above, below) = (c[0] - c[1], c[2] - c[1]);
            let linear = below * (w[0] + w[1]) + above * (w[1] + w[2]);
            let constant = w[1] * above * below;
            let root = (linear * linear - 4.0 * n * constant).sqrt();
            let offset = if linear >= 0.0 { (linear + root) / (2.0 * n) } else { 2.0 * constant / (linear - root) };
            let larger = c[1] + offset;
            vec![larger, k * c[0] * (c[1] / n) * (c[2] / larger)]
        }
        _ => return None,
    };
    let mut roots = roots.into_iter();
    let mut squares = Vec::with_capacity(classes.classes());
    for group in classes.groups() {
        squares.resize(squares.len() + group.multiplicity() - 1, group.count as f64);
        squares.extend(roots.next());
    }
    squares.push(0.0);
    Some(squares.into_iter().map(f64::sqrt).collect())
}

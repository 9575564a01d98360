//! Singular-value thresholding of a matrix and the nuclear norm as a product of two factors: the effect of the plain
//! model, with one layer, on any target.

use faer::{Mat, MatRef};

use super::svd::{Svd, dense_svd};
use crate::error::{Error, check_not_negative, check_positive};

/// Soft-thresholding of singular values:
///
/// ```text
/// D_τ(A) = U diag(max(σ - τ, 0)) Vᵀ  =  argmin_X  1/2 ‖X - A‖² + τ ‖X‖_*
/// ```
///
/// The result is the thin decomposition of D_τ(A), with one column for each σ > τ; [`Svd::matrix`] multiplies it out.
/// The minimizer is unique. Cost: one dense decomposition.
///
/// # Errors
///
/// [`Error::Domain`] unless τ is finite and not negative; as [`dense_svd`].
///
/// # Example
///
/// ```
/// use neural_collapse::faer::mat;
/// use neural_collapse::linalg::soft_threshold;
///
/// let thresholded = soft_threshold(mat![[3.0, 0.0], [0.0, -1.0]].as_ref(), 1.0)?;
/// assert_eq!(thresholded.values.nrows(), 1);
/// let expected = mat![[2.0, 0.0], [0.0, 0.0]];
/// assert!((thresholded.matrix() - expected).norm_max() < 1e-15);
/// # Ok::<(), neural_collapse::Error>(())
/// ```
///
/// # References
///
/// Cai, Candès, Shen 2010, Theorem 2.1.
pub fn soft_threshold(matrix: MatRef<'_, f64>, threshold: f64) -> Result<Svd, Error> {
    check_not_negative("threshold", threshold)?;
    let svd = dense_svd(matrix)?;
    let rank = svd.values.iter().take_while(|&&value| value > threshold).count();
    Ok(Svd {
        left: svd.left.subcols(0, rank).to_owned(),
        values: faer::Col::from_fn(rank, |i| svd.values[i] - threshold),
        right: svd.right.subcols(0, rank).to_owned(),
    })
}

impl Svd {
    /// The matrix U diag(σ) Vᵀ.
    #[must_use]
    pub fn matrix(&self) -> Mat<f64> {
        &self.left * self.values.as_diagonal() * self.right.transpose()
    }

    /// The nuclear norm ‖A‖_* = Σ σ.
    #[must_use]
    pub fn nuclear_norm(&self) -> f64 {
        self.values.iter().sum()
    }

    /// Factors W and H of A = W H that make the regularization least:
    ///
    /// ```text
    /// min over W H = A of  λ_W/2 ‖W‖² + λ_H/2 ‖H‖²  =  √(λ_W λ_H) ‖A‖_*
    /// W = (λ_H/λ_W)^(1/4) U diag(√σ),      H = (λ_W/λ_H)^(1/4) diag(√σ) Vᵀ
    /// ```
    ///
    /// Unique up to W Rᵀ and R H with R of orthonormal columns.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless both decays are positive and finite.
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{faer::mat, linalg::dense_svd};
    ///
    /// let matrix = mat![[4.0, 0.0], [0.0, 1.0]];
    /// let (weights, features) = dense_svd(matrix.as_ref())?.factors(0.04, 0.01)?;
    /// assert!((&weights * &features - matrix).norm_max() < 1e-15);
    /// let penalty = 0.02 * weights.squared_norm_l2() + 0.005 * features.squared_norm_l2();
    /// assert!((penalty - 0.02 * 5.0).abs() < 1e-15); // √(0.04 · 0.01) · (4 + 1)
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    ///
    /// # References
    ///
    /// Liu 2024, Lemma A.1; Zhu et al. 2021, Lemma 2.3.
    pub fn factors(&self, weight_decay: f64, feature_decay: f64) -> Result<(Mat<f64>, Mat<f64>), Error> {
        check_positive("weight decay", weight_decay)?;
        check_positive("feature decay", feature_decay)?;
        // Roots before the quotient, which could leave the range.
        let ratio = (feature_decay.sqrt() / weight_decay.sqrt()).sqrt();
        let weights = faer::Col::from_fn(self.values.nrows(), |i| ratio * self.values[i].sqrt());
        let features = faer::Col::from_fn(self.values.nrows(), |i| self.values[i].sqrt() / ratio);
        Ok((&self.left * weights.as_diagonal(), features.as_diagonal() * self.right.transpose()))
    }
}

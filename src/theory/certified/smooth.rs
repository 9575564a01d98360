//! A smooth penalty in the place of λ σ: that of the barrier which keeps the dual e of a singular value within λ.
//!
//! ```text
//! φ(σ) = max_e  e σ + μ log(1 - e²/λ²),      φ'(σ) = e,      σ = 2 μ e/(λ² - e²)
//! ```
//!
//! φ tends to λ σ as μ falls. It is self-concordant in units of μ, so that Newton's method converges at every μ; at its
//! minimum each singular value adds at most μ to the duality gap.

/// λ and μ.
#[derive(Clone, Copy, Debug)]
pub(super) struct Smooth {
    pub(super) lambda: f64,
    pub(super) mu: f64,
}

impl Smooth {
    /// √(μ² + λ²σ²).
    pub(super) fn radius(self, sigma: f64) -> f64 {
        self.mu.hypot(self.lambda * sigma)
    }

    /// e = φ'(σ).
    pub(super) fn dual(self, sigma: f64) -> f64 {
        self.lambda * self.lambda * sigma / (self.mu + self.radius(sigma))
    }

    /// φ(σ).
    pub(super) fn value(self, sigma: f64) -> f64 {
        let radius = self.radius(sigma);
        let square = (self.lambda * sigma).powi(2);
        self.dual(sigma) * sigma - self.mu * (square / (2.0 * self.mu * (self.mu + radius))).ln_1p()
    }

    /// φ''(σ).
    pub(super) fn curvature(self, sigma: f64) -> f64 {
        self.difference(sigma, sigma)
    }

    /// (φ'(σ) - φ'(τ))/(σ - τ), by a formula that does not cancel.
    pub(super) fn difference(self, sigma: f64, tau: f64) -> f64 {
        let (one, other) = (self.radius(sigma), self.radius(tau));
        let cross = sigma * other + tau * one;
        let share = if cross > 0.0 { self.mu * self.mu * (sigma + tau) / cross } else { self.mu };
        self.lambda * self.lambda * (self.mu + share) / ((self.mu + one) * (self.mu + other))
    }

    /// (φ'(σ) + φ'(τ))/(σ + τ).
    pub(super) fn sum(self, sigma: f64, tau: f64) -> f64 {
        let sum = sigma + tau;
        if sum > 0.0 { (self.dual(sigma) + self.dual(tau)) / sum } else { self.lambda * self.lambda / (2.0 * self.mu) }
    }

    /// -∂φ'(σ)/∂μ.
    pub(super) fn drift(self, sigma: f64) -> f64 {
        self.dual(sigma) / self.radius(sigma)
    }
}

#[cfg(test)]
mod tests {
    use super::Smooth;

    #[test]
    fn derivatives_are_those_of_the_value() {
        let smooth = Smooth { lambda: 0.7, mu: 0.03 };
        let h = 1e-5;
        // Central differences: h² times a third derivative of at most λ³/μ² ~ 400, and a rounding of 1e-16/h.
        let tolerance = 400.0 * h * h + 1e-10;
        for sigma in [0.01, 0.1, 1.0, 5.0] {
            let first = (smooth.value(sigma + h) - smooth.value(sigma - h)) / (2.0 * h);
            let second = (smooth.dual(sigma + h) - smooth.dual(sigma - h)) / (2.0 * h);
            assert!((first - smooth.dual(sigma)).abs() < tolerance, "{sigma}");
            assert!((second - smooth.curvature(sigma)).abs() < 100.0 * tolerance, "{sigma}");
            let lower = Smooth { mu: smooth.mu - h, ..smooth };
            let upper = Smooth { mu: smooth.mu + h, ..smooth };
            let drift = (lower.dual(sigma) - upper.dual(sigma)) / (2.0 * h);
            assert!((drift - smooth.drift(sigma)).abs() < 100.0 * tolerance, "{sigma}");
        }
        assert_eq!(smooth.curvature(0.0), 0.7 * 0.7 / 0.06);
    }
}

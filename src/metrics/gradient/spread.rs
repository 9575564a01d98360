//! How much the outputs of a network differ from sample to sample.

use faer::{Col, ColRef, Scale};

/// How much logits differ from sample to sample.
#[derive(Clone, Debug)]
pub(super) struct Spread {
    /// Σ z.
    pub(super) total: Col<f64>,
    /// Σ ‖z‖².
    pub(super) square: f64,
}

impl Spread {
    /// What a sum of squares is rounded by, as a part of it.
    const ROUNDING: f64 = 64.0 * f64::EPSILON;

    pub(super) fn new(outputs: usize) -> Self {
        Self { total: Col::zeros(outputs), square: 0.0 }
    }

    pub(super) fn add(&mut self, logits: ColRef<'_, f64>, count: f64) {
        self.total += Scale(count) * logits;
        self.square += count * logits.squared_norm_l2();
    }

    pub(super) fn absorb(&mut self, other: &Self) {
        self.total += &other.total;
        self.square += other.square;
    }

    /// The root of their mean square about their mean, from above: what cancels is rounded, and may be out of range.
    pub(super) fn per_sample(&self, samples: f64) -> f64 {
        let square = self.square - self.total.squared_norm_l2() / samples + Self::ROUNDING * self.square;
        let spread = square / samples;
        if spread.is_finite() { spread.max(0.0).sqrt() } else { f64::INFINITY }
    }
}

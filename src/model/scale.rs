//! How large and how stiff a model is: the scale of its starts and of its bias.

use super::Ufm;
use crate::{classes::ClassCounts, linalg::wide::Wide, loss::Loss};

/// What the decays have to pull against in a direction of the target.
struct Pull {
    /// σ², of the outputs that the loss asks for, in units of the logits' reach: n_k/δ_k² for a class.
    square: f64,
    /// q = N (λ_H λ_1 ··· λ_L)^(1/(L+1))/(α_k δ_k² (1-ε) σ^(2L/(L+1))): the direction has collapsed from about 1 on.
    q: f64,
    /// The margin of the class.
    margin: f64,
}

impl Ufm {
    /// √τ of a direction of the largest target that does not shrink, its singular value in every block in balanced
    /// variables; σ² = n_max for labels.
    ///
    /// Outputs of the squared loss go to the targets. Those of cross-entropy go as far as the decays let them: by the
    /// law of contrasts for L = 1 the probability of the own class exceeds those of the others by (1-ε) (1-q), which is a
    /// logit of 7 at K = 10, q = 1e-2. For L = 1 any level does. For L ≥ 2 zero is a local minimizer, which small starts end
    /// at: measured for eight classes, L = 3, q = 0.2, a start at the level of logits of 1 ends there, at this level it
    /// does not.
    pub(crate) fn balanced_level_root(&self) -> f64 {
        let square = if self.loss.is_plain_squared() {
            self.targets.largest_square()
        } else {
            self.pulls().map(|pull| pull.square * self.reach(&pull).powi(2)).fold(0.0, f64::max)
        };
        self.decays().level_root(Wide::new(square)).to_f64()
    }

    /// The scale s of the bias in balanced variables b/√s. With q_0 the least q of a class, at most 1, r the reach of its
    /// logits, and κ the mean of α δ²,
    ///
    /// ```text
    /// squared loss    1/((κ + λ_b) q_0),  plain: q_0 = N (λ_H λ_1 ··· λ_L / n_max^L)^(1/(L+1)), κ = 1
    /// cross-entropy   r/(κ q_0 + λ_b)
    /// ```
    ///
    /// The bias can trade places with a shift of all features. Along that valley only regularizers curve: if outputs move
    /// by Δ, features at the balanced level move by Δ √(N λ/z) = Δ √(κ q_0/r) in balanced variables, and so should b.
    /// Across it the curvature is that of the other blocks, up to 1/q_0 for the squared loss, whose e is q_0 to first
    /// order, but only about r for cross-entropy, whose own curvature at the minimum, p (1-p), is about q_0; the decay of
    /// the bias is not to exceed it. Measured for cross-entropy, gradient descent, decays of 5e-3 and 1e-4: 750 steps at
    /// s = 1/q_0, 210 at r/q_0, 5500 at 0.1/q_0.
    pub(crate) fn bias_scale(&self) -> f64 {
        if self.loss.is_plain_squared() {
            let q = self.decays().q(Wide::new(self.targets.largest_square()));
            return Wide::ONE.over(q).to_f64().max(1.0) / (1.0 + self.bias_decay());
        }
        let least = self.pulls().min_by(|a, b| a.q.total_cmp(&b.q));
        let (q, reach) = least.map_or((1.0, 1.0), |pull| (pull.q.min(1.0), self.reach(&pull)));
        match self.loss.kind {
            Loss::Squared => 1.0 / (q * (self.curvature() + self.bias_decay())),
            Loss::CrossEntropy => reach / (self.curvature() * q + self.bias_decay()),
        }
    }

    /// κ: the curvature of the mean loss by the bias, up to a factor of about two for cross-entropy.
    fn curvature(&self) -> f64 {
        let largest = (0..self.outputs()).map(|output| self.loss.scale(output)).fold(0.0, f64::max);
        let weight = self.class_counts().map_or(1.0, |classes| {
            let weighted = classes.counts().iter().enumerate().map(|(k, &count)| count as f64 * self.loss.weight(k));
            weighted.sum::<f64>() / classes.samples() as f64
        });
        weight * largest * largest
    }

    /// One for each class, or one for a matrix of targets, which has no weights and adjustments.
    fn pulls(&self) -> impl Iterator<Item = Pull> {
        let (decays, smoothing) = (self.decays(), self.targets.smoothing());
        let counts = self.class_counts().map(ClassCounts::counts);
        let of_class = move |(k, count): (usize, &u64)| {
            let (scale, weight) = (self.loss.scale(k), self.loss.weight(k));
            let square = *count as f64 / (scale * scale);
            let q = decays.q(Wide::new(square)).to_f64() / (weight * scale * scale * (1.0 - smoothing));
            Pull { square, q, margin: self.loss.margin(k) }
        };
        let matrix = counts.is_none().then(|| {
            let square = self.targets.largest_square();
            Pull { square, q: decays.q(Wide::new(square)).to_f64(), margin: 0.0 }
        });
        counts.into_iter().flatten().enumerate().map(of_class).chain(matrix)
    }

    /// By how much the logit of the own class, times δ, exceeds the others where decays leave it.
    fn reach(&self, pull: &Pull) -> f64 {
        let gap = match self.loss.kind {
            Loss::Squared => 1.0,
            Loss::CrossEntropy => {
                // Of a direction that collapses nothing is left: any scale will do.
                let smoothing = self.targets.smoothing();
                // By what is missing to 1, whose digits are kept where decays are tiny.
                let behind = (smoothing + (1.0 - smoothing) * pull.q.min(1.0)).max(f64::MIN_POSITIVE);
                let ahead = 1.0 - behind;
                ((behind + self.outputs() as f64 * ahead).ln() - behind.ln()).max(1.0)
            }
        };
        // Without a bias the outputs have to make up for shifts that the squared loss does not want.
        let is_moved = !self.bias && self.loss.kind == Loss::Squared;
        let outputs = if is_moved { self.outputs() } else { 0 };
        gap + pull.margin + (0..outputs).map(|output| self.loss.shift(output).abs()).fold(0.0, f64::max)
    }
}

//! Up to which decays a rank is kept, where nothing closed says: by bisection between certified minimizers.

use crate::{
    error::Error,
    model::{Layer, Ufm},
    theory::{Goal, Limit},
};

/// Where a bisection ends: a direction that is closer to its threshold changes the objective by the square of this, which
/// is rounding, and the solver can take it for zero.
const WIDTH: f64 = 1e-6;

impl Ufm {
    /// Up to which factor on both decays the certified minimizer reaches a goal of rank, for one layer and any loss: the
    /// decay from which on a class loses its own direction, also one that is alone with its count.
    ///
    /// No closed form is known for that ([`Contrasts::largest_scale`](crate::theory::Contrasts::largest_scale) has the
    /// one for classes of equal count). This is a bisection, to a relative 2e-6: closer to its threshold a direction
    /// changes the objective by no more than rounding. It begins at the factor from which on everything is zero and goes
    /// down by halves until the goal is reached: at the factor returned it is, just above and at all larger factors that
    /// were tried it is not. That the rank falls as decays grow is not proved.
    ///
    /// [`Goal::AllDirections`] is the rank of small decays: K, or K - 1 for cross-entropy or a free bias.
    /// [`Limit::Never`] if the layer is too narrow, or no minimizer has the rank. [`Limit::Always`] for a single class
    /// that is fitted for nothing. Factors are turned into decays by
    /// [`Contrasts::layer_decay`](crate::theory::Contrasts::layer_decay) and
    /// [`Contrasts::feature_decay`](crate::theory::Contrasts::feature_decay).
    ///
    /// Cost: about 25 certified minimizers; a tenth of a second for ten groups, several seconds for fifty.
    ///
    /// # Errors
    ///
    /// [`Error::NoClosedForm`] for a ratio of norms, [`Error::Domain`] for a rank of zero. As
    /// [`Ufm::certified_minimizer`], so [`Error::NoCertificate`] for two or more layers or nonnegative features.
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, Layer, Loss, Ufm, theory::{Goal, Limit}};
    ///
    /// let ufm = Ufm::new("100,50,10".parse::<ClassCounts>()?, [Layer::new(8, 5e-3)], 5e-4)?
    ///     .with_loss(Loss::CrossEntropy)?;
    /// // Every count is there once: the law of contrasts has nothing to say.
    /// assert_eq!(ufm.contrasts()?.largest_scale(), Some(Limit::Always));
    /// // But from a larger decay on three classifiers lie on a line.
    /// let scale = ufm.certified_largest_scale(Goal::AllDirections)?.value().unwrap();
    /// let rank_at = |scale: f64| {
    ///     let layer = Layer::new(8, 5e-3 * scale * scale);
    ///     let ufm = Ufm::new("100,50,10".parse::<ClassCounts>()?, [layer], 5e-4)?.with_loss(Loss::CrossEntropy)?;
    ///     Ok::<_, neural_collapse::Error>(ufm.certified_minimizer()?.rank())
    /// };
    /// assert_eq!((rank_at(0.999 * scale)?, rank_at(1.001 * scale)?), (2, 1));
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn certified_largest_scale(&self, goal: Goal) -> Result<Limit, Error> {
        let contrasts = self.contrasts()?;
        let full = contrasts.full_rank();
        let rank = match goal {
            Goal::AllDirections if full == 0 => return Ok(Limit::Always),
            Goal::AllDirections => full,
            Goal::Rank(0) => return Err(Error::Domain { argument: "rank", value: 0.0, accepted: "at least 1" }),
            Goal::Rank(rank) => rank,
            Goal::NormRatio(_) => return Err(Error::NoClosedForm { because: "a ratio of norms with this loss" }),
        };
        let Some(mut above) = contrasts.vanishing_scale()?.value().filter(|_| rank <= full.min(self.feature_width()))
        else {
            return Ok(Limit::Never);
        };
        // Something is left up to there, in a layer of any width: the steepest direction has rank 1.
        if rank == 1 {
            return Ok(Limit::Below(above));
        }
        let mut below = 0.5 * above;
        while !self.keeps(rank, below)? {
            (below, above) = (0.5 * below, below);
            if below == 0.0 {
                return Ok(Limit::Never);
            }
        }
        while above - below > WIDTH * above {
            let middle = f64::midpoint(below, above);
            if self.keeps(rank, middle)? { below = middle } else { above = middle }
        }
        // A minimizer that needs more room than there is has the rank, but is not the one of this layer.
        self.scaled(below).certified_minimizer().map(|_| Limit::Below(below))
    }

    /// Whether the minimizer of a layer that is wide enough has this rank, with both decays times a factor.
    fn keeps(&self, rank: usize, scale: f64) -> Result<bool, Error> {
        match self.scaled(scale).certified_minimizer() {
            Ok(minimizer) => Ok(minimizer.rank() >= rank),
            Err(Error::WidthBelowRank { rank: needed, .. }) => Ok(needed >= rank),
            Err(error) => Err(error),
        }
    }

    /// The model with both decays times a factor, as a decay of the layer: only their product decides on the rank.
    fn scaled(&self, scale: f64) -> Self {
        let Layer { width, decay, .. } = self.layers()[0];
        self.with_layers(vec![Layer::new(width, decay * scale * scale)])
    }
}

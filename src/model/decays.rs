//! The combined weight of the decays: q and τ, the two numbers that every closed form is made of.

use super::Ufm;
use crate::linalg::wide::Wide;

/// The decays of a model, multiplied once for any number of singular values.
///
/// For a singular value σ of the target and z of the prediction (Liu 2024, Lemma A.2, better conditioned):
///
/// ```text
/// q = N (λ_H λ_1 ··· λ_L / σ^(2L))^(1/(L+1))     decides how much of σ is left
/// τ = (z² λ_H λ_1 ··· λ_L)^(1/(L+1))             = λ_l w_l² = λ_H h²: the balanced level of all blocks
/// ```
///
/// Products of decays can leave the range of `f64` even if q and τ do not. They are stored with a wide exponent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decays {
    /// λ_H λ_1 ··· λ_L.
    product: Wide,
    /// N^(L+1) times that.
    scaled: Wide,
    depth: usize,
}

impl Decays {
    pub(super) fn new(ufm: &Ufm) -> Self {
        let layers = ufm.layers().iter();
        let product =
            layers.fold(Wide::new(ufm.feature_decay()), |product, layer| product.times(Wide::new(layer.decay)));
        let samples = Wide::new(ufm.samples() as f64).power(ufm.depth() + 1);
        Self { product, scaled: samples.times(product), depth: ufm.depth() }
    }

    /// q, of σ².
    ///
    /// At most 3 (L+1) rounding errors (half an epsilon each) under the root, which divides them by L+1, and 4 in it;
    /// an error of σ² of one epsilon counts less than twice.
    pub(crate) fn q(&self, square: Wide) -> Wide {
        self.scaled.over(square.power(self.depth)).root(self.depth + 1)
    }

    /// τ, of z².
    pub(crate) fn level(&self, square: Wide) -> Wide {
        square.times(self.product).root(self.depth + 1)
    }

    /// √τ, of z².
    pub(crate) fn level_root(&self, square: Wide) -> Wide {
        square.times(self.product).root(2 * (self.depth + 1))
    }

    /// What `decay`, one of the L + 1, would have to be for this q at this σ, by the definition of q: the factor on all
    /// decays together can be beyond the range of `f64` even if this one is not.
    pub(crate) fn decay_for(&self, q: f64, target: f64, decay: f64) -> f64 {
        let power = Wide::new(q).power(self.depth + 1);
        let over = Wide::new(target).power(2 * self.depth).over(self.scaled);
        power.times(over).times(Wide::new(decay)).to_f64()
    }
}

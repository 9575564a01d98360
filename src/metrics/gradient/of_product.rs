//! What one matrix says of the layers whose product it may be.

use faer::Mat;

use super::{
    implied::{ImpliedDecay, implied},
    network::NetworkGradient,
};
use crate::{error::Error, linalg::dense_svd};

impl NetworkGradient {
    /// The decay of `depth` layers of which this network's one matrix W = U S Vᵀ is the product, and how far it is from
    /// rest as such. Layers at rest with decays λ_l have the same λ_l ‖W_l‖² in every direction, so that the gradient of
    /// the loss by their product is
    ///
    /// ```text
    /// A = R Hᵀ/N = λ U S^(2/L - 1) Vᵀ,    λ = (λ_1 ··· λ_L)^(1/L)
    /// ```
    ///
    /// Both sides are multiplied by Wᵀ, so that directions without a size count for nothing; what of A is outside of the
    /// rows of W counts as misfit as well. `None` with several matrices, or if one of the two sides is zero. Cost: a thin
    /// decomposition of W, O(K² d) operations.
    pub(in crate::metrics) fn product_decay(&self, depth: usize) -> Result<Option<ImpliedDecay>, Error> {
        let [weights] = &self.network.weights[..] else { return Ok(None) };
        let scale = -1.0 / self.samples();
        let outer = Mat::from_fn(weights.nrows(), weights.ncols(), |i, j| scale * self.sums.outer[(i, j)]);
        let svd = dense_svd(weights.as_ref())?;
        let power = 2.0 / depth as f64;
        let scaled =
            Mat::from_fn(svd.left.nrows(), svd.left.ncols(), |i, k| svd.left[(i, k)] * svd.values[k].powf(power));
        let (ours, theirs) = (&outer * weights.transpose(), &scaled * svd.left.transpose());
        let along = &outer * &svd.right;
        let outside = (outer.squared_norm_l2() - along.squared_norm_l2()).max(0.0).sqrt() / outer.norm_l2();
        let of_product = implied(ours.as_ref(), theirs.as_ref())?;
        Ok(of_product.map(|of| ImpliedDecay { misfit: of.misfit.max(outside), ..of }))
    }
}

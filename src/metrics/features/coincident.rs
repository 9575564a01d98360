//! Classes whose means coincide, from the features alone.

use super::{FeatureStatistics, MOST_PAIRED, pairs::Pairs};
use crate::error::Error;

impl FeatureStatistics {
    /// Marks for [`FeatureStatistics::class_distance_normalized_variance_between`] from the features alone: for every class
    /// the first one with the same mean, as after a collapse of minority classes. Two means are the same if they are about
    /// as close as samples are to their class means, and much closer than other means:
    ///
    /// ```text
    /// ‖h̄_k - h̄_l‖² ≤ 5 (var_k + var_l)    and    ‖h̄_k - h̄_l‖² ≤ max_j ‖h̄_j - h_G‖²/100
    /// ```
    ///
    /// with the largest over the classes j that are farther from h_G than their samples from h̄_j.
    /// Each class has its own mark beyond 4096 classes. Cost: K² d operations of a matrix product.
    ///
    /// # Errors
    ///
    /// [`Error::ZeroCount`] for a class without samples; [`Error::TooLarge`].
    pub fn coincident_means(&self) -> Result<Vec<usize>, Error> {
        let variances = self.variances()?;
        if variances.len() > MOST_PAIRED {
            return Ok((0..variances.len()).collect());
        }
        let pairs = Pairs::new(self.means.as_ref(), self.global_mean().as_ref(), &self.errors)?;
        Ok(pairs.coincident(&variances))
    }
}

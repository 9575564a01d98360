//! The decays at which a direction collapses, and the classes of a group with it.

use super::limit::Limit;
use crate::{
    error::Error,
    theory::minimizer::{Direction, Minimizer, directions::ScalarProblem},
};

impl Minimizer {
    /// The feature decay at which the direction at this index collapses, with the decays of the layers unchanged:
    ///
    /// ```text
    /// λ_H = (q_L/N)^(L+1) σ^(2L) / (λ_1 ··· λ_L)
    /// ```
    ///
    /// Zero for a target that is zero or cut off by a width, and if it is below the range of `f64`.
    ///
    /// # Panics
    ///
    /// If `direction` is not below the number of directions.
    #[must_use]
    pub fn critical_feature_decay(&self, direction: usize) -> f64 {
        self.critical_decay(direction, self.ufm.feature_decay())
    }

    /// The decay of layer `layer` (from 0) at which the direction at this index collapses, with all other decays
    /// unchanged. Zero for a target that is zero or cut off by a width.
    ///
    /// # Panics
    ///
    /// If `direction` is not below the number of directions, or `layer` not below the number of layers.
    #[must_use]
    pub fn critical_layer_decay(&self, direction: usize, layer: usize) -> f64 {
        let depth = self.ufm.depth();
        assert!(layer < depth, "there is no layer {layer}: there are {depth}, counted from 0");
        self.critical_decay(direction, self.ufm.layers()[layer].decay)
    }

    fn critical_decay(&self, direction: usize, decay: f64) -> f64 {
        let count = self.directions.len();
        assert!(direction < count, "there is no direction {direction}: there are {count}, counted from 0");
        let Direction { critical_scale, target, .. } = self.directions[direction];
        if critical_scale == 0.0 {
            return 0.0;
        }
        ScalarProblem::new(&self.ufm).critical_decay(target, decay)
    }

    /// Up to which factor on all L + 1 decays together the classes of group `r` (in order of falling count) do not share
    /// one classifier: above it they do, minority collapse in the sense of Fang et al. 2021.
    ///
    /// [`Limit::Never`] if a width cuts off the directions that distinguish its classes. [`Limit::Always`] for a group
    /// of one class, and without a bias: there classes do not share a classifier before they vanish
    /// ([`Minimizer::vanishing_scale`]).
    ///
    /// For a single decay take the power L + 1 of this factor. If it is below 1, the group has already collapsed.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] as [`Minimizer::geometry`].
    ///
    /// # Panics
    ///
    /// If `r` is not below the number of groups.
    pub fn coincidence_scale(&self, r: usize) -> Result<Limit, Error> {
        self.check_group(r)?;
        let own = self.directions().iter().find(|direction| direction.group == Some(r));
        Ok(match own.filter(|_| self.ufm().has_bias()) {
            None => Limit::Always,
            Some(direction) if direction.critical_scale > 0.0 => Limit::Below(direction.critical_scale),
            Some(_) => Limit::Never,
        })
    }

    fn check_group(&self, r: usize) -> Result<(), Error> {
        let groups = self.label_spectrum()?.class_counts().groups().len();
        assert!(r < groups, "there is no group {r}: there are {groups}, counted from 0");
        Ok(())
    }

    /// The factor on all L + 1 decays together at which the classifiers and class means of group `r` become zero. With
    /// a bias this is where the last direction that reaches the group collapses.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] as [`Minimizer::geometry`].
    ///
    /// # Panics
    ///
    /// If `r` is not below the number of groups.
    pub fn vanishing_scale(&self, r: usize) -> Result<f64, Error> {
        self.check_group(r)?;
        let reaches = |direction: &&Direction| direction.group == Some(r) || direction.group.is_none();
        Ok(self.directions().iter().filter(reaches).map(|direction| direction.critical_scale).fold(0.0, f64::max))
    }
}

//! Points next to a point: everything at zero, and a step in class space.

use faer::{Mat, Scale};

use super::Point;
use crate::{classes::root, model::Ufm};

impl Point {
    /// The point moved by `step` times a change of its weights and of its weighted features, see
    /// [`PointRef::weighted_features`].
    pub(crate) fn moved(mut self, ufm: &Ufm, weights: &[Mat<f64>], weighted_features: &Mat<f64>, step: f64) -> Self {
        for (to, change) in self.parameters.weights.iter_mut().zip(weights) {
            *to += Scale(step) * change;
        }
        let features = &mut self.parameters.features;
        match ufm.class_counts() {
            Some(classes) if self.reduction.is_none() => {
                for (change, columns) in weighted_features.col_iter().zip(classes.ranges()) {
                    let step = step / root(columns.len() as u64);
                    for column in columns {
                        let mut sample = features.col_mut(column);
                        sample += Scale(step) * change;
                    }
                }
            }
            _ => {
                let mut features = features.subcols_mut(0, weighted_features.ncols());
                features += Scale(step) * weighted_features;
            }
        }
        self
    }
}

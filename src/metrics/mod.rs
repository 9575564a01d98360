//! How far a point, or a trained network, is from neural collapse as the theory describes it.

mod collapse;
mod distance;
mod features;
mod frames;
mod nearest_center;
mod singular_values;
mod variability;

pub use collapse::{Collapse, collapse, network_collapse};
pub use distance::distance;
pub use features::{FeatureAccumulator, FeatureStatistics, Label, Rows, ScatterAccumulator};
pub use frames::{FrameDistances, frame_distances, self_duality};
pub use nearest_center::{NearestCenter, minimizer_disagreement};
pub use singular_values::{SingularValues, singular_value_error, singular_values};
pub use variability::Nc1Convention;

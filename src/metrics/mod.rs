//! How far a point, or a trained network, is from neural collapse as the theory describes it.

mod assessment;
mod class_ranks;
mod collapse;
mod distance;
mod features;
mod frames;
mod gradient;
mod measurement;
mod nearest_center;
mod singular_values;
mod variability;

pub use assessment::{Assessment, Finding};
pub use class_ranks::ClassRanks;
pub use collapse::{Collapse, collapse, network_collapse};
pub use distance::{Distance, distance, network_distance};
pub use features::{FeatureAccumulator, FeatureStatistics, Label, NumberedStatistics, Rows, ScatterAccumulator};
pub use frames::{FrameDistances, effective_rank, frame_distances, row_sum, self_duality};
pub use gradient::{GradientAccumulator, ImpliedDecay, ImpliedDecays, NetworkGradient};
pub use measurement::{
    BlockSpectrum, ClassGeometry, Contradiction, DecaySource, GroupAccuracy, LastLayers, LayerMetrics, Line,
    Measurement, Measuring, Pass, Question, Step, Target, Training, Verdict, short,
};
pub use nearest_center::{NearestCenter, optimum_disagreement};
pub use singular_values::{SingularValues, singular_value_error, singular_values};
pub use variability::Nc1Convention;

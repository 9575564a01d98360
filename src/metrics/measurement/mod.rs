//! A network measured as a whole: which passes over its samples that takes, which theory applies to it, and how far it is
//! from the optimum of that theory.

mod class_geometry;
mod contradiction;
mod last_layers;
mod layer_metrics;
mod lines;
mod numbers;
mod passes;
mod question;
mod result;
mod stages;
mod target;
mod training;

pub use self::{
    class_geometry::ClassGeometry,
    contradiction::Contradiction,
    last_layers::LastLayers,
    layer_metrics::{BlockSpectrum, LayerMetrics},
    lines::{Line, Verdict},
    numbers::short,
    passes::{Measuring, Pass, Step},
    question::{DecaySource, Question},
    result::{GroupAccuracy, Measurement},
    target::Target,
    training::Training,
};

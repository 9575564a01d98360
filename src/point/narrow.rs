//! The smallest form of a point: samples reduced, layers as narrow as what a start spans.

use faer::Mat;

use super::{Point, reduction::Reduction};
use crate::{
    error::Error,
    linalg::{memory::try_zeros, orthonormal::orthonormal},
    model::Ufm,
    parameters::Parameters,
};

impl Point {
    /// The same point with its samples reduced.
    pub(crate) fn reduce(self, ufm: &Ufm) -> Result<Self, Error> {
        match (ufm.class_counts(), &self.reduction) {
            (Some(classes), None) => {
                let (reduction, features) = Reduction::new(classes, self.parameters.features.as_ref())?;
                Ok(Self { parameters: Parameters { features, ..self.parameters }, reduction: Some(reduction), ..self })
            }
            _ => Ok(self),
        }
    }

    /// The same point with layers no wider than what their neighbors span: d_1 = 512 becomes 2 K for class means and
    /// one layer. The gradient stays in that span, and so does a descent by any equivariant method.
    pub(crate) fn narrow(mut self, ufm: &Ufm) -> Result<Self, Error> {
        if self.frames.is_some() {
            return Ok(self);
        }
        let parameters = &mut self.parameters;
        let mut frames = Vec::with_capacity(ufm.depth());
        let mut narrowed = false;
        for l in 0..ufm.depth() {
            // What comes into this width: G, or the layer below, whose own input may be narrow already.
            let incoming = if l == 0 { &parameters.features } else { &parameters.weights[l - 1] };
            let outgoing = &parameters.weights[l];
            let width = ufm.layers()[l].width;
            let span = incoming.ncols() + outgoing.nrows();
            if span >= width {
                frames.push(Mat::identity(width, width));
                continue;
            }
            narrowed = true;
            let mut vectors = try_zeros("vectors that a start spans", width, span as u64)?;
            vectors.subcols_mut(0, incoming.ncols()).copy_from(incoming);
            vectors.subcols_mut(incoming.ncols(), outgoing.nrows()).copy_from(outgoing.transpose());
            let frame = orthonormal(vectors)?;
            let (incoming, outgoing) = (frame.transpose() * incoming, outgoing * &frame);
            if l == 0 {
                parameters.features = incoming;
            } else {
                parameters.weights[l - 1] = incoming;
            }
            parameters.weights[l] = outgoing;
            frames.push(frame);
        }
        self.frames = narrowed.then_some(frames);
        Ok(self)
    }
}

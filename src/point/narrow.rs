//! The smallest form of a point: samples reduced, layers as narrow as what a start spans.

use faer::Mat;

use super::{Point, reduction::Reduction, widened_parameters};
use crate::{
    error::Error,
    linalg::{memory::try_zeros, orthonormal::orthonormal},
    model::Ufm,
    parameters::Parameters,
};

/// What is too large if a loss needs the features of all samples.
const ALL_SAMPLES: &str =
    "features H of all samples, which this loss needs unless a start has collapsed (Point::collapsed)";

impl Point {
    /// The form that an equivariant descent works on: samples reduced and layers narrow as far as that is exact.
    ///
    /// Nonnegative features can be neither rotated nor mixed. If features of a class are equal they remain equal, under
    /// any loss, and √n_k times such a feature is nonnegative if that is.
    pub(crate) fn smallest(self, ufm: &Ufm) -> Result<Self, Error> {
        if ufm.has_nonnegative_features() {
            self.with_exact_samples(ufm)?.without_frames().projected().reduce(ufm)
        } else {
            self.reduce(ufm)?.narrow(ufm)
        }
    }

    /// The form with the features of all samples.
    pub(crate) fn largest(self, ufm: &Ufm) -> Result<Self, Error> {
        let point: Self = self.into_parameters()?.into();
        Ok(if ufm.has_nonnegative_features() { point.projected() } else { point })
    }

    /// The same point with its samples reduced, as far as this is exact for the loss.
    fn reduce(self, ufm: &Ufm) -> Result<Self, Error> {
        let Some(classes) = ufm.class_counts() else { return Ok(self) };
        if self.reduction.is_some() {
            return self.with_exact_samples(ufm);
        }
        let features = self.parameters.features.as_ref();
        let reduced = if ufm.can_rotate_samples() {
            Some(Reduction::new(classes, features)?)
        } else {
            Reduction::of_collapsed(classes, features)?
        };
        let Some((reduction, features)) = reduced else { return Ok(self) };
        Ok(Self { parameters: Parameters { features, ..self.parameters }, reduction: Some(reduction), ..self })
    }

    /// The same point with the features of all samples if they are reduced, have not collapsed, and samples may not be
    /// rotated.
    fn with_exact_samples(self, ufm: &Ufm) -> Result<Self, Error> {
        if ufm.can_rotate_samples() { Ok(self) } else { self.with_samples_unless_collapsed() }
    }

    /// The same point with the features of all samples if they are reduced and have not collapsed.
    pub(super) fn with_samples_unless_collapsed(mut self) -> Result<Self, Error> {
        let Some(reduction) = &self.reduction else { return Ok(self) };
        let k = reduction.classes().classes();
        let features = self.parameters.features.as_ref();
        if features.subcols(k, features.ncols() - k).norm_max() == 0.0 {
            if features.ncols() > k {
                self.reduction = Some(Reduction::contrasts(reduction.classes()));
                self.parameters.features = features.subcols(0, k).to_owned();
            }
            return Ok(self);
        }
        self.parameters.features = reduction.expand(features).map_err(needs_all_samples)?;
        self.reduction = None;
        Ok(self)
    }

    /// The same point with layers of full width.
    fn without_frames(mut self) -> Self {
        if let Some(frames) = self.frames.take() {
            self.parameters = widened_parameters(self.parameters, &frames);
        }
        self
    }

    /// The closest point whose features are not negative. Its features are those of the model itself, or √n_k times them.
    fn projected(mut self) -> Self {
        for column in self.parameters.features.col_iter_mut() {
            // Written so that NaN comes through.
            column.iter_mut().for_each(|entry| *entry = if *entry < 0.0 { 0.0 } else { *entry });
        }
        self
    }

    /// The same point with layers no wider than what their neighbors span: d_1 = 512 becomes 2 K for class means and
    /// one layer. The gradient stays in that span, and so does a descent by any equivariant method.
    fn narrow(mut self, ufm: &Ufm) -> Result<Self, Error> {
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

/// The error of a loss that needs the features of all samples, if these are too large.
pub(super) fn needs_all_samples(error: Error) -> Error {
    match error {
        Error::TooLarge { rows, cols, .. } => Error::TooLarge { what: ALL_SAMPLES, rows, cols },
        other => other,
    }
}

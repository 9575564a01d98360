//! What measurements see of a point: blocks in the frames of a narrow start, class means weighted by √n_k, deviations.

use faer::{ColRef, Mat, MatRef};

use super::{
    Point, PointRef,
    columns::{Column, reduced_columns, sample_columns},
};
use crate::{
    classes::ClassCounts,
    error::{Block, Error},
    linalg::{checks::check_shape, memory::try_zeros},
    model::Ufm,
    parameters::{Parameters, class_means, weighted},
};

impl<'a> PointRef<'a> {
    /// Weights, features and bias in the frames of a narrow start, samples reduced or not: as a descent works on them.
    pub(crate) fn parameters(self) -> &'a Parameters {
        self.parameters
    }

    /// What every column of features is compared with.
    pub(crate) fn compared_with(self, ufm: &Ufm) -> Vec<Column> {
        match self.reduction {
            Some(reduction) => reduced_columns(reduction.classes(), self.parameters.features.ncols()),
            None => sample_columns(ufm),
        }
    }

    /// The product W_{L:1} = W_L ··· W_1 that belongs to the features of [`PointRef::weighted_features`]: in the
    /// frame of a narrow start if there is one.
    pub(crate) fn framed_product(self) -> Mat<f64> {
        self.parameters.product()
    }

    /// W_1 .. W_L, in the frames of a narrow start if there is one.
    pub(crate) fn framed_weights(self) -> &'a [Mat<f64>] {
        &self.parameters.weights
    }

    /// The bias b; `None` if the model has none.
    #[must_use]
    pub fn bias(self) -> Option<ColRef<'a, f64>> {
        self.parameters.bias()
    }

    /// The features in the space of the right singular vectors of the target: H̄ D, d_1 × K, for labels, and H for a matrix of
    /// targets; in the frame of a narrow start if there is one.
    pub(crate) fn weighted_features(self, ufm: &Ufm) -> Result<Mat<f64>, Error> {
        self.check(ufm)?;
        let features: MatRef<'_, f64> = self.parameters.features();
        let Some(classes) = ufm.class_counts() else {
            return Ok(features.to_owned());
        };
        if self.reduction.is_some() {
            return Ok(features.subcols(0, classes.classes()).to_owned());
        }
        Ok(weighted(classes, class_means(classes, features)))
    }

    /// H, or G if samples are reduced; in the frame of a narrow start if there is one.
    pub(crate) fn features(self) -> MatRef<'a, f64> {
        self.parameters.features()
    }

    /// Whether samples are reduced.
    pub(crate) fn is_reduced(self) -> bool {
        self.reduction.is_some()
    }

    /// Shows a visitor the deviations of the features from their class means, some columns at a time: those of a class,
    /// or, if samples are reduced, all of T. The sum of the products E Eᵀ is N Σ_W either way.
    pub(crate) fn visit_deviations(
        self,
        classes: &ClassCounts,
        mut visit: impl FnMut(MatRef<'_, f64>),
    ) -> Result<(), Error> {
        let features = self.features();
        if self.reduction.is_some() {
            let k = classes.classes();
            visit(features.subcols(k, features.ncols() - k));
            return Ok(());
        }
        let means = class_means(classes, features);
        for (mean, columns) in means.col_iter().zip(classes.ranges()) {
            let mut deviations = try_zeros("deviations", features.nrows(), columns.len() as u64)?;
            for (mut to, column) in deviations.col_iter_mut().zip(columns) {
                to.copy_from(features.col(column) - mean);
            }
            visit(deviations.as_ref());
        }
        Ok(())
    }

    /// The point, to be changed.
    pub(crate) fn to_point(self) -> Point {
        Point {
            parameters: self.parameters.clone(),
            reduction: self.reduction.cloned(),
            frames: self.frames.map(<[_]>::to_vec),
        }
    }

    /// The model with layers of the widths that this point has.
    pub(crate) fn model(self, ufm: &Ufm) -> Ufm {
        let mut widths = self.parameters.weights.iter().map(Mat::ncols);
        ufm.with_widths(|width| widths.next().unwrap_or(width))
    }

    /// Whether the point belongs to this model.
    pub(crate) fn check(self, ufm: &Ufm) -> Result<(), Error> {
        let narrow;
        let model = match self.frames {
            None => ufm,
            Some(frames) => {
                if frames.len() != ufm.depth() {
                    return Err(Error::LayerCount { expected: ufm.depth(), found: frames.len() });
                }
                for (l, (frame, layer)) in frames.iter().zip(ufm.layers()).enumerate() {
                    // Of the weights W_l itself only their part inside of the frames is there, frame by frame.
                    let rows = frames.get(l + 1).map_or(self.parameters.weights[l].nrows(), Mat::nrows);
                    check_shape(Block::Weights(l), (rows, layer.width), (rows, frame.nrows()))?;
                }
                let mut frames = frames.iter();
                narrow = ufm.with_widths(|width| frames.next().map_or(width, Mat::ncols));
                &narrow
            }
        };
        match self.reduction {
            None => self.parameters.check_shapes(model),
            Some(reduction) => {
                ufm.class_counts().ok_or(Error::NoClassCounts)?.check_same(reduction.classes().counts())?;
                self.parameters.check_blocks(model, self.parameters.features.ncols())
            }
        }
    }
}

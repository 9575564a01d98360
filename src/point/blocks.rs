//! The blocks of a point for whoever wants to see them, at full width and without the N columns of features.

use faer::{ColRef, Mat};

use super::{Point, PointRef, widened};
use crate::{error::Error, model::Ufm, parameters::unweighted};

impl Point {
    /// A look at the point: what measurements take, and what has its blocks.
    #[must_use]
    pub fn look(&self) -> PointRef<'_> {
        self.into()
    }

    /// The weights W_1 .. W_L, W_l of d_{l+1} × d_l. Cost: that of a copy, and a product a layer for a narrow start.
    ///
    /// # Example
    ///
    /// The classifiers that a descent on 10^9 samples has found:
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, Layer, Point, Ufm, descent::Descent};
    ///
    /// let ufm = Ufm::new(ClassCounts::balanced(10, 100_000_000)?, [Layer::new(32, 1e-3)], 1e-11)?;
    /// let run = Descent::default().minimize(&ufm, Point::gaussian_seeded(&ufm, 1.0, 0)?)?;
    /// assert_eq!(run.point.weights()[0].shape(), (10, 32));
    /// assert_eq!(run.point.class_means(&ufm)?.shape(), (32, 10));
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    #[must_use]
    pub fn weights(&self) -> Vec<Mat<f64>> {
        self.look().weights()
    }

    /// The product W_{L:1} = W_L ··· W_1, K × d_1.
    #[must_use]
    pub fn product(&self) -> Mat<f64> {
        self.look().product()
    }

    /// The class means H̄, d_1 × K.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets are a matrix; as [`Ufm::objective`], if the point belongs to another model.
    pub fn class_means(&self, ufm: &Ufm) -> Result<Mat<f64>, Error> {
        self.look().class_means(ufm)
    }

    /// The bias b, if there is one.
    #[must_use]
    pub fn bias(&self) -> Option<ColRef<'_, f64>> {
        self.look().bias()
    }
}

impl PointRef<'_> {
    /// As [`Point::weights`].
    #[must_use]
    pub fn weights(self) -> Vec<Mat<f64>> {
        let weights = self.framed_weights();
        match self.frames {
            None => weights.to_vec(),
            Some(frames) => weights.iter().enumerate().map(|(l, weights)| widened(weights, frames, l)).collect(),
        }
    }

    /// As [`Point::product`].
    #[must_use]
    pub fn product(self) -> Mat<f64> {
        let product = self.framed_product();
        match self.frames {
            None => product,
            // The frames between the layers are orthonormal and cancel.
            Some(frames) => product * frames[0].transpose(),
        }
    }

    /// As [`Point::class_means`].
    ///
    /// # Errors
    ///
    /// As [`Point::class_means`].
    pub fn class_means(self, ufm: &Ufm) -> Result<Mat<f64>, Error> {
        let classes = ufm.class_counts().ok_or(Error::NoClassCounts)?;
        let means = unweighted(classes, self.weighted_features(ufm)?);
        Ok(match self.frames {
            None => means,
            Some(frames) => &frames[0] * means,
        })
    }
}

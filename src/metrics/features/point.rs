//! The network of some features as a point of a model.

use faer::{Col, Mat, MatRef, Scale};

use super::{FeatureStatistics, Scatter};
use crate::{
    error::Error,
    linalg::{dense_svd, memory::try_zeros, orthonormal::orthonormal},
    model::Ufm,
    point::Point,
};

impl FeatureStatistics {
    /// The network of these features as a point of a model, with layers W_1 .. W_L and, if the model has one, a bias.
    /// Use it for the objective, the distance from the minimizers and singular values.
    ///
    /// Its class means are those of the features. Its deviations T from them are fewer, but no measurement of this
    /// crate depends on that: T Tᵀ is the full scatter, or, after a second pass, agrees with it along the basis of that
    /// pass and in its trace. From the full scatter a descent by an equivariant method has the same trajectory as from
    /// all features (see [`Point`]).
    ///
    /// Cost: a decomposition of the scatter, O(d³) or O(r³) operations.
    ///
    /// # Errors
    ///
    /// As [`Parameters::new`](crate::Parameters::new); [`Error::NoClassCounts`] if the targets of the model are not
    /// labels, [`Error::ClassCounts`] if they are those of other class counts; [`Error::NeedsSamples`] for cross-entropy,
    /// class weights or nonnegative features; [`Error::NoScatter`] if the scatter has not been gathered along the rows
    /// of W_{L:1}; [`Error::TooLarge`], [`Error::SvdDidNotConverge`].
    pub fn point(&self, ufm: &Ufm, weights: Vec<Mat<f64>>, bias: Option<Col<f64>>) -> Result<Point, Error> {
        self.check_belongs_to(ufm)?;
        if !ufm.can_rotate_samples() {
            return Err(Error::NeedsSamples);
        }
        let (width, classes) = self.means.shape();
        let freedom = usize::try_from(ufm.samples()).unwrap_or(usize::MAX) - classes;
        let deviations = self.deviations(freedom)?;
        let mut reduced = try_zeros("reduced features", width, (classes + deviations.ncols()) as u64)?;
        reduced.subcols_mut(0, classes).copy_from(self.weighted_means());
        reduced.subcols_mut(classes, deviations.ncols()).copy_from(&deviations);
        let point = Point::reduced(ufm, weights, reduced, bias)?;
        self.check_along(point.parameters.product().as_ref())?;
        Ok(point)
    }

    /// T, d × min(d, N - K) or d × min(r, N - K), with the scatter T Tᵀ along the directions that it was gathered in.
    fn deviations(&self, freedom: usize) -> Result<Mat<f64>, Error> {
        let (basis, scatter) = match self.scatter.as_ref().ok_or(Error::NoScatter)? {
            Scatter::Full(scatter) => (None, scatter),
            Scatter::Along { basis, scatter } => (Some(basis), scatter),
        };
        let svd = dense_svd(scatter.as_ref())?;
        // The scatter of N - K degrees of freedom has no higher rank.
        let columns = svd.values.nrows().min(freedom);
        let mut roots = svd.left.subcols(0, columns).to_owned();
        for (mut column, value) in roots.col_iter_mut().zip(svd.values.iter()) {
            column *= Scale(value.sqrt());
        }
        let Some(basis) = basis else { return Ok(roots) };
        let mut deviations = if columns > 0 || freedom == 0 {
            basis * &roots
        } else {
            // No direction is known, only the total.
            try_zeros("deviations", basis.nrows(), 1)?
        };
        if deviations.ncols() > 0 && basis.ncols() < basis.nrows() {
            // The variation in other directions: all of it is put in one of them.
            let rest = (self.squares.iter().sum::<f64>() - roots.squared_norm_l2()).max(0.0).sqrt();
            let mut extended = try_zeros("basis", basis.nrows(), basis.ncols() as u64 + 1)?;
            extended.subcols_mut(0, basis.ncols()).copy_from(basis);
            let other = orthonormal(extended)?;
            let mut first = deviations.col_mut(0);
            first += Scale(rest) * other.col(basis.ncols());
        }
        Ok(deviations)
    }

    /// Whether the scatter is known along the rows of a product of layers.
    fn check_along(&self, product: MatRef<'_, f64>) -> Result<(), Error> {
        let Some(Scatter::Along { basis, .. }) = &self.scatter else { return Ok(()) };
        let outside = product - (product * basis) * basis.transpose();
        // Rounding of the projection, and of the basis.
        let rounding = 8.0 * product.ncols() as f64 * f64::EPSILON * product.norm_l2();
        if outside.norm_l2() <= rounding { Ok(()) } else { Err(Error::NoScatter) }
    }
}

//! A minimizer as matrices: classifiers and class means in the space that they share, or all parameters in a gauge.

use faer::{Col, ColRef, Mat, MatRef};
use rand::Rng;

use super::Minimizer;
use crate::{
    classes::root,
    error::Error,
    linalg::{
        memory::{check_room, try_zeros},
        orthonormal::random_orthonormal,
    },
    parameters::{Parameters, unweighted},
};

impl Minimizer {
    /// The classifiers in the space of rank dimensions that they share with the class means, W_{L:1} = A Q_1ᵀ with A =
    /// U diag(w), K × rank: Gram matrices, norms and angles are those of any minimizer.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the matrix does not fit in memory.
    pub fn classifiers(&self) -> Result<Mat<f64>, Error> {
        let mut classifiers = self.spectrum.left_vectors(self.rank)?;
        scale_columns(&mut classifiers, &self.kept(|direction| direction.product));
        Ok(classifiers)
    }

    /// The class means in the same space, H̄ = Q_1 M with M = diag(h) Vᵀ D⁻¹, rank × K.
    ///
    /// # Errors
    ///
    /// [`Error::NoClassCounts`] if the targets are not labels; [`Error::TooLarge`] if the matrix does not fit in
    /// memory.
    ///
    /// # Example
    ///
    /// ```
    /// use neural_collapse::{ClassCounts, Layer, Ufm};
    ///
    /// let ufm = Ufm::new(ClassCounts::paper_cifar10(), [Layer::new(64, 5e-3)], 1e-4)?;
    /// let minimizer = ufm.minimizer()?;
    /// let logits = minimizer.classifiers()? * minimizer.class_means()?;
    /// let logit = minimizer.geometry()?.logit(0, 9).unwrap();
    /// assert!((logits[(0, 9)] - logit).abs() < 1e-15);
    /// # Ok::<(), neural_collapse::Error>(())
    /// ```
    pub fn class_means(&self) -> Result<Mat<f64>, Error> {
        let classes = self.ufm.class_counts().ok_or(Error::NoClassCounts)?;
        let two = ("class means", self.rank, 2 * classes.classes() as u64);
        check_room(&[two])?;
        let mut right = self.spectrum.right_vectors(self.rank)?;
        scale_columns(&mut right, &self.kept(|direction| direction.feature));
        let mut means = try_zeros("class means", self.rank, classes.classes() as u64)?;
        means.copy_from(right.transpose());
        Ok(unweighted(classes, means))
    }

    /// A minimizer in the canonical gauge, every Q_l the first columns of the identity:
    ///
    /// ```text
    /// W_L = U diag(w_L) Q_Lᵀ,   W_l = Q_{l+1} diag(w_l) Q_lᵀ,   H̄ = Q_1 diag(h) Vᵀ D⁻¹,   b = mean of the targets, n/N for one-hot labels
    /// ```
    ///
    /// Cost: O(K rank + d_1 N) numbers.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`] if the matrices do not fit in memory, before any work is done for them.
    pub fn parameters(&self) -> Result<Parameters, Error> {
        self.assemble(|width, rank| {
            let mut frame = try_zeros("gauge", width, rank as u64)?;
            frame.diagonal_mut().column_vector_mut().fill(1.0);
            Ok(frame)
        })
    }

    /// A minimizer in a random gauge: every Q_l uniform (Haar) among the matrices of orthonormal columns.
    ///
    /// # Errors
    ///
    /// As [`Minimizer::parameters`].
    pub fn random_parameters(&self, rng: &mut (impl Rng + ?Sized)) -> Result<Parameters, Error> {
        self.assemble(|width, rank| random_orthonormal(width, rank, rng))
    }

    /// Checks that there is memory for parameters and for what they are computed from.
    fn check_room(&self) -> Result<(), Error> {
        let (ufm, rank) = (&self.ufm, self.rank as u64);
        // The matrix of weighted means has one column for each class, or for each sample.
        let columns = if ufm.class_counts().is_some() { ufm.outputs() as u64 } else { ufm.samples() };
        let widest = ufm.layers().iter().map(|layer| layer.width).max().unwrap_or(0);
        let mut matrices = vec![
            ("features H", ufm.feature_width(), ufm.samples()),
            ("weighted class means", ufm.feature_width(), columns),
            ("left singular vectors", ufm.outputs(), rank),
            ("right singular vectors", self.rank, columns),
            // Those of two layers at a time.
            ("gauges", widest, 2 * rank),
        ];
        matrices.extend((0..ufm.depth()).map(|l| ("weights", ufm.weight_shape(l).0, ufm.weight_shape(l).1 as u64)));
        check_room(&matrices)
    }

    fn assemble(&self, mut gauge: impl FnMut(usize, usize) -> Result<Mat<f64>, Error>) -> Result<Parameters, Error> {
        self.check_room()?;
        let layers = self.ufm.layers();
        // U first, then Q_L .. Q_1: each layer needs the two frames at its sides.
        let mut above = self.spectrum.left_vectors(self.rank)?;
        let mut weights = Vec::with_capacity(layers.len());
        for (l, layer) in layers.iter().enumerate().rev() {
            let below = gauge(layer.width, self.rank)?;
            weights.push(scaled_product(
                above.as_ref(),
                self.kept(|direction| direction.layers[l]).as_ref(),
                below.transpose(),
            ));
            above = below;
        }
        weights.reverse();
        let right = self.spectrum.right_vectors(self.rank)?;
        let weighted_means =
            scaled_product(above.as_ref(), self.kept(|direction| direction.feature).as_ref(), right.transpose());
        let features = match self.ufm.class_counts() {
            None => weighted_means,
            Some(classes) => {
                let mut features = try_zeros("features H", self.ufm.feature_width(), classes.samples())?;
                for (class, samples) in classes.ranges().enumerate() {
                    let mean = weighted_means.col(class) / root(samples.len() as u64);
                    for sample in samples {
                        features.col_mut(sample).copy_from(&mean);
                    }
                }
                features
            }
        };
        Parameters::new(&self.ufm, weights, features, self.bias())
    }
}

/// A becomes A diag(values).
fn scale_columns(matrix: &mut Mat<f64>, values: &Col<f64>) {
    for (column, &value) in matrix.col_iter_mut().zip(values.iter()) {
        column.iter_mut().for_each(|entry| *entry *= value);
    }
}

/// A diag(values) B.
fn scaled_product(left: MatRef<'_, f64>, values: ColRef<'_, f64>, right: MatRef<'_, f64>) -> Mat<f64> {
    left * values.as_diagonal() * right
}

//! The gradient of squared loss, which class means and scatter determine: no pass over the samples is needed.

use std::sync::Arc;

use faer::{Accum, Col, Mat, MatRef, Scale};

use super::{
    kernels::Pulls,
    network::{Network, NetworkGradient},
    part::Sums,
    spread::Spread,
};
use crate::{
    error::Error,
    linalg::{
        cores::all_cores,
        memory::{slice_mut, try_zeros},
        product::multiply,
    },
    metrics::features::FeatureStatistics,
    model::Ufm,
    parameters::check_layers,
};

impl FeatureStatistics {
    /// The gradient of a network with layers W_1 .. W_L and a bias under a model of squared loss without class weights,
    /// from class means h̄_k and the whole scatter S. Deviations E from the means have residuals Δ² W E, so that
    ///
    /// ```text
    /// D Hᵀ = Σ_k n_k d_k h̄_kᵀ + Δ² W S,     d_k: the residual at a class mean,   Δ: scales of the logits
    /// ```
    ///
    /// and all other sums follow in the same way. What only single samples tell is left out: features count as of any
    /// sign. Cost: O(K d²) operations, 3 d K numbers.
    ///
    /// # Errors
    ///
    /// [`Error::NeedsSamples`] for cross-entropy or class weights; [`Error::NoScatter`] unless the statistics have the
    /// scatter of one pass, in all directions; [`Error::NoClassCounts`], [`Error::ClassCounts`], and as
    /// [`GradientAccumulator::new`](super::GradientAccumulator::new) for layers and bias.
    pub fn gradient(
        &self,
        ufm: &Ufm,
        weights: Vec<Mat<f64>>,
        bias: Option<Col<f64>>,
    ) -> Result<NetworkGradient, Error> {
        self.check_belongs_to(ufm)?;
        check_layers(ufm, &weights, bias.as_ref().map(Col::as_ref))?;
        if !ufm.output_loss().is_rotation_invariant() {
            return Err(Error::NeedsSamples);
        }
        let scatter = self.full_scatter().ok_or(Error::NoScatter)?;
        let product = weights[1..].iter().fold(weights[0].clone(), |product, weights| weights * product);
        let mut sums = Sums::new(product.ncols(), product.nrows())?;
        let mut spread = Spread::new(product.nrows());
        self.add_means(ufm, &product, bias.as_ref(), &mut sums, &mut spread)?;
        add_deviations(ufm, &product, scatter, &mut sums, &mut spread)?;
        // So far the features' gradient at deviations, ‖Wᵀ D‖² in both.
        sums.pulls.active = sums.pulls.square;
        sums.pulls.inner = inner(&sums.outer, &product);
        sums.pulls.features = self.squared_norm();
        Ok(NetworkGradient {
            model: ufm.clone(),
            network: Arc::new(Network { weights, bias, product }),
            sums,
            square: self.squared_norm(),
            is_nonnegative: false,
            spread: spread.per_sample(ufm.samples() as f64),
        })
    }

    /// Adds n_k times what a sample at the mean of its class has.
    fn add_means(
        &self,
        ufm: &Ufm,
        product: &Mat<f64>,
        bias: Option<&Col<f64>>,
        sums: &mut Sums,
        spread: &mut Spread,
    ) -> Result<(), Error> {
        let (loss, smoothing) = (ufm.output_loss(), ufm.targets().smoothing());
        let counts = ufm.class_counts().ok_or(Error::NoClassCounts)?.counts();
        let mut residuals = multiplied(product.as_ref(), self.class_means())?;
        for ((class, mut column), &count) in residuals.col_iter_mut().enumerate().zip(counts) {
            let count = count as f64;
            if let Some(bias) = bias {
                column += bias;
            }
            spread.add(column.as_ref(), count);
            sums.loss += count * loss.of_label(class, smoothing, slice_mut(column.as_mut()));
            sums.total += Scale(count) * column.as_ref();
            sums.residual += count * column.squared_norm_l2();
            // With √n_k on both sides of a product it counts every sample.
            column *= Scale(count.sqrt());
        }
        sums.outer += multiplied(residuals.as_ref(), self.weighted_means().transpose())?;
        sums.pulls.square += multiplied(product.transpose(), residuals.as_ref())?.squared_norm_l2();
        Ok(())
    }
}

/// Adds what deviations E from class means have, E Eᵀ being the scatter: residuals Δ² W E.
fn add_deviations(
    ufm: &Ufm,
    product: &Mat<f64>,
    scatter: MatRef<'_, f64>,
    sums: &mut Sums,
    spread: &mut Spread,
) -> Result<(), Error> {
    let loss = ufm.output_loss();
    let (outputs, width) = product.shape();
    let scaled = |power: i32| Mat::from_fn(outputs, width, |k, i| loss.scale(k).powi(power) * product[(k, i)]);
    let residual = scaled(2);
    let outer = multiplied(residual.as_ref(), scatter)?;
    // tr(A S Bᵀ) is ⟨A S, B⟩; negative only by rounding.
    sums.loss += 0.5 * inner(&outer, product).max(0.0);
    sums.residual += inner(&outer, &residual).max(0.0);
    spread.square += inner(&outer, &scaled(-2)).max(0.0);
    sums.outer += &outer;
    // Wᵀ Δ² W, the pull of a deviation on itself.
    let pull = multiplied(product.transpose(), residual.as_ref())?;
    sums.pulls =
        Pulls { square: sums.pulls.square + inner(&multiplied(pull.as_ref(), scatter)?, &pull).max(0.0), ..sums.pulls };
    Ok(())
}

/// A product on all cores.
pub(super) fn multiplied(left: MatRef<'_, f64>, right: MatRef<'_, f64>) -> Result<Mat<f64>, Error> {
    let mut product = try_zeros("gradient of the network", left.nrows(), right.ncols() as u64)?;
    multiply(product.as_mut(), Accum::Replace, left, right, 1.0, all_cores());
    Ok(product)
}

/// ⟨A, B⟩.
fn inner(a: &Mat<f64>, b: &Mat<f64>) -> f64 {
    a.col_iter().zip(b.col_iter()).map(|(a, b)| a.transpose() * b).sum()
}

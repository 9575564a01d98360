//! Random starts.

use faer::MatMut;
use rand::{Rng, SeedableRng, rngs::Xoshiro256PlusPlus};
use rand_distr::{Distribution, StandardNormal};

use super::Parameters;
use crate::{
    error::{Block, Error, check_not_negative, check_positive},
    model::Ufm,
};

impl Parameters {
    /// A Gaussian start whose scale means the same for every model: in the balanced variables √λ_l W_l and √λ_H H̄D,
    /// each block is `scale` times the level √τ, τ = (λ_H λ_1 ··· λ_L n_max)^{1/(L+1)}.
    ///
    /// At a minimizer every block has the same singular values in these variables, none larger than √τ. A Gaussian
    /// p × q matrix of standard deviation s has its largest singular value near s (√p + √q), so that
    ///
    /// ```text
    /// entries of W_l  ~  N(0, v_l²),   v_l = scale · √(τ/λ_l) / (√d_l + √d_{l+1})
    /// entries of H    ~  N(0, v_H²),   v_H = scale · √(τ/λ_H) / (√d_1 + √K)
    /// b               =  0
    /// ```
    ///
    /// For L = 1 any positive scale leads to the global minimum, but a larger scale takes more steps. The level of H̄ D
    /// is that of a minimizer, and the deviations from class means are √(N/K) times as large. With 10⁸ samples for each
    /// class, or a scale of 10⁴, this can take more than 10⁵ steps. Then use L-BFGS, a smaller scale or a start without
    /// deviations ([`Point::collapsed`](crate::Point::collapsed)). For L ≥ 2 zero is a local minimizer, and a start far
    /// below the balanced level ends there: choose a scale of about 1 and widths of several times K. For many layers
    /// even these can be too small.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless `scale` is positive and finite; [`Error::TooLarge`] if the features do not fit in
    /// memory.
    pub fn gaussian(ufm: &Ufm, scale: f64, rng: &mut (impl Rng + ?Sized)) -> Result<Self, Error> {
        check_positive("scale", scale)?;
        let deviations = gaussian_deviations(ufm, scale);
        Self::from_fn(ufm, |block| {
            let deviation = match block {
                Block::Weights(l) => deviations.weights[l],
                _ => deviations.features,
            };
            let normal: f64 = StandardNormal.sample(rng);
            deviation * normal
        })
    }

    /// [`Parameters::gaussian`] from a seed alone, for callers with another version of rand, or none: the same seed is the
    /// same start in every release that does not say otherwise under "Value-breaking".
    ///
    /// # Errors
    ///
    /// As [`Parameters::gaussian`].
    pub fn gaussian_seeded(ufm: &Ufm, scale: f64, seed: u64) -> Result<Self, Error> {
        Self::gaussian(ufm, scale, &mut Xoshiro256PlusPlus::seed_from_u64(seed))
    }

    /// A Gaussian start as frameworks draw it: entries of every W_l with standard deviation `weights`, entries of H
    /// with standard deviation `features`, b = 0.
    ///
    /// # Errors
    ///
    /// [`Error::Domain`] unless both are finite and not negative; [`Error::TooLarge`] if the features do not fit in
    /// memory.
    pub fn gaussian_with_deviations(
        ufm: &Ufm,
        weights: f64,
        features: f64,
        rng: &mut (impl Rng + ?Sized),
    ) -> Result<Self, Error> {
        check_not_negative("standard deviation of weights", weights)?;
        check_not_negative("standard deviation of features", features)?;
        Self::from_fn(ufm, |block| {
            let deviation = match block {
                Block::Weights(_) => weights,
                _ => features,
            };
            let normal: f64 = StandardNormal.sample(rng);
            deviation * normal
        })
    }

    /// Fills weights and features column by column, in the order W_1 .. W_L, H; the bias is zero.
    fn from_fn(ufm: &Ufm, mut entry: impl FnMut(Block) -> f64) -> Result<Self, Error> {
        let mut parameters = Self::with_columns(ufm, ufm.samples())?;
        for (l, weights) in parameters.weights.iter_mut().enumerate() {
            fill(weights.as_mut(), || entry(Block::Weights(l)));
        }
        fill(parameters.features.as_mut(), || entry(Block::Features));
        Ok(parameters)
    }
}

/// The standard deviations of a Gaussian start.
pub(crate) struct Deviations {
    pub(crate) weights: Vec<f64>,
    pub(crate) features: f64,
}

pub(crate) fn gaussian_deviations(ufm: &Ufm, scale: f64) -> Deviations {
    let level = ufm.balanced_level_root();
    let deviation = |decay: f64, (rows, cols): (usize, usize)| {
        scale * level / decay.sqrt() / ((rows as f64).sqrt() + (cols as f64).sqrt())
    };
    Deviations {
        weights: (0..ufm.depth()).map(|l| deviation(ufm.layers()[l].decay, ufm.weight_shape(l))).collect(),
        features: deviation(ufm.feature_decay(), (ufm.feature_width(), ufm.outputs())),
    }
}

/// Fills a matrix column by column.
pub(crate) fn fill(matrix: MatMut<'_, f64>, mut entry: impl FnMut() -> f64) {
    for column in matrix.col_iter_mut() {
        column.iter_mut().for_each(|value| *value = entry());
    }
}

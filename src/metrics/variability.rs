//! NC1, the variability of features within classes compared with that between classes, in the conventions of the field.

use faer::{Col, MatRef};

use crate::{
    error::Error,
    linalg::{dense_svd, memory::try_zeros},
    names::named,
};

/// Conventions of NC1: the matrix Σ_B that the scatter within classes is compared with. Σ_W = Σ (h - h̄_k)(h - h̄_k)ᵀ/N
/// is the same in all of them.
///
/// With balanced classes the first three agree; under imbalance they differ by factors.
///
/// All of them divide by the squared distance of the class means in every direction, so that the direction in which the
/// means are closest decides. If minority classes have collapsed, as the theory can require, their means differ only by
/// noise. NC1 is then large or random in a network that has reached its optimum.
/// [`FeatureStatistics::trace_ratio`](super::features::FeatureStatistics::trace_ratio), which sums before it divides,
/// is a better measure of variability there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
pub enum Nc1Convention {
    /// tr(Σ_W Σ_B⁺)/K, Σ_B = Σ_k (h̄_k - h_G)(h̄_k - h_G)ᵀ/K with the mean h_G of all features: Zhu et al. 2021, Dang
    /// et al. 2023, Liu 2024.
    #[default]
    Global,
    /// tr(Σ_W Σ_B⁺)/K, as [`Self::Global`] but with the unweighted mean of class means instead of h_G.
    UnweightedMean,
    /// tr(Σ_W Σ_B⁺)/K, Σ_B = Σ_k n_k/N (h̄_k - h_G)(h̄_k - h_G)ᵀ: the scatter between classes of the analysis of
    /// variance.
    WeightedClasses,
    /// tr(Σ_W Σ_B⁺) with the Σ_B of [`Self::Global`], not divided by K.
    Undivided,
}

named!(
    Nc1Convention, "NC1 convention":
    Global = "global", UnweightedMean = "unweighted-mean", WeightedClasses = "weighted-classes",
    Undivided = "undivided",
);

/// tr(Σ_W Σ_B⁺), divided or not, as Σ ‖p_iᵀ E‖²/(N s_i²) with the singular values s_i and left vectors p_i of the
/// centered class means and the deviations E from them: a sum of squares, without a d_1 × d_1 inverse. `None` if all
/// class means are equal up to rounding.
///
/// `means` is d_1 × K, no count is zero; `errors` are how far each mean may be from the true one; `along` gives ‖pᵀ E‖²
/// for every column p of a matrix.
pub(crate) fn nc1(
    means: MatRef<'_, f64>,
    counts: &[u64],
    convention: Nc1Convention,
    errors: &[f64],
    along: impl FnOnce(MatRef<'_, f64>) -> Result<Vec<f64>, Error>,
) -> Result<Option<f64>, Error> {
    let classes = counts.len() as f64;
    let samples: f64 = counts.iter().map(|&count| count as f64).sum();
    let weight = |k: usize| match convention {
        Nc1Convention::UnweightedMean => 1.0 / classes,
        _ => counts[k] as f64 / samples,
    };
    let center = weighted_mean(means, weight);
    let mut centered = try_zeros("centered class means", means.nrows(), means.ncols() as u64)?;
    let mut rounding = 0.0_f64;
    for (k, mut column) in centered.col_iter_mut().enumerate() {
        let scale = match convention {
            Nc1Convention::WeightedClasses => (counts[k] as f64 / samples * classes).sqrt(),
            _ => 1.0,
        };
        column.copy_from(faer::Scale(scale) * (means.col(k) - &center));
        rounding = rounding.hypot(scale * errors[k]);
    }
    let svd = dense_svd(centered.as_ref())?;
    // Of K means about their mean at most K - 1 directions are left, and a direction below their rounding does not
    // count.
    let rank = svd.values.iter().filter(|value| **value > rounding).count().min(counts.len() - 1);
    if rank == 0 {
        return Ok(None);
    }
    let within = along(svd.left.subcols(0, rank))?;
    // One after the other: the square of a singular value may be below the range of `f64`.
    let trace: f64 = within.iter().zip(svd.values.iter()).map(|(sum, value)| sum / samples / value / value).sum();
    Ok(Some(if convention == Nc1Convention::Undivided { classes * trace } else { trace }))
}

/// How far the mean of n features may be from the true one, if their distance from what they were summed up about is
/// `spread` in the quadratic mean.
///
/// A partial sum of i of them is of size i · spread, and rounded by half an epsilon of that: n² ε spread/4 in all,
/// which the mean divides by n. What is added to it at the end, and subtracted from it later, is rounded a few times.
/// Distances whose squares are below the range of `f64` count as zero.
pub(crate) fn mean_error(norm: f64, samples: f64, spread: f64) -> f64 {
    const TINY: f64 = 1e-146;
    (f64::EPSILON * (8.0 * norm + samples * spread / 4.0)).max(TINY)
}

/// Σ_k `weight(k)` h̄_k, exact if all class means are equal.
pub(crate) fn weighted_mean(means: MatRef<'_, f64>, weight: impl Fn(usize) -> f64) -> Col<f64> {
    let first = means.col(0);
    let mut mean = Col::<f64>::zeros(means.nrows());
    for (k, column) in means.col_iter().enumerate() {
        mean += faer::Scale(weight(k)) * (column - first);
    }
    mean + first
}

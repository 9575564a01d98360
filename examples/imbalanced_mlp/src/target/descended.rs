//! The minimum of a model that has no theory.

use anyhow::Result;
use neural_collapse::{
    Error, Parameters, Point, Ufm,
    descent::{Descent, Method, Run, Trajectory},
    faer::{Col, Mat},
    linalg::dense_svd,
    rand::{SeedableRng, rngs::Xoshiro256PlusPlus},
};
use rayon::prelude::*;

use super::{Source, Target};

/// Descents for a minimum that nothing else gives: from collapsed features, which the minimizers have. For three layers of
/// ten classes under cross-entropy each of forty ended at an objective of its own, 6 % apart.
const STARTS: u64 = 32;
/// Steps of each: ten times what L-BFGS takes for three layers of ten classes.
const STEPS: usize = 20_000;
/// Descents that end within this share of the lowest objective end at the same minimum.
const SAME: f64 = 1e-6;

/// The lowest of several descents on free features.
pub(super) fn by_descent(ufm: &Ufm) -> Result<Target> {
    let descent = descent(ufm);
    let run = |seed: u64| descent.minimize(ufm, collapsed(ufm, &mut Xoshiro256PlusPlus::seed_from_u64(seed))?);
    let mut runs = (0..STARTS).into_par_iter().map(run).collect::<Result<Vec<Run>, Error>>()?;
    runs.sort_by(|a, b| a.objective.total_cmp(&b.objective));
    let best = &runs[0];
    let same = runs.iter().filter(|run| run.objective - best.objective <= SAME * best.objective).count();
    let source = Source::Descent { starts: runs.len(), same };
    let (product, means) = (best.point.product(), best.point.class_means(ufm)?);
    let rank = rank(&best.point, ufm)?;
    Target::of_blocks(
        ufm,
        source,
        best.objective,
        rank,
        [product, means],
        best.point.bias().map(|bias| bias.to_owned()).as_ref(),
    )
}

/// Where a descent ends that starts at a network.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Nearby {
    /// Its objective.
    pub objective: f64,
    /// The rank of its prediction.
    pub rank: usize,
}

/// A descent from these layers, class means and bias, with all features of a class equal.
pub(super) fn descend_from(ufm: &Ufm, layers: &[Mat<f64>], means: &Mat<f64>, bias: Option<Col<f64>>) -> Result<Nearby> {
    let mut features = Mat::zeros(means.nrows(), usize::try_from(ufm.samples())?);
    let classes = ufm.class_counts().ok_or(Error::NoClassCounts)?.counts().iter().enumerate();
    let classes = classes.flat_map(|(class, &count)| (0..count).map(move |_| class));
    for (mut feature, class) in features.col_iter_mut().zip(classes) {
        feature.copy_from(means.col(class));
    }
    let run = descent(ufm).minimize(ufm, Parameters::new(ufm, layers.to_vec(), features, bias)?)?;
    Ok(Nearby { objective: run.objective, rank: rank(&run.point, ufm)? })
}

fn descent(ufm: &Ufm) -> Descent {
    let method = if ufm.has_nonnegative_features() { Method::Nesterov } else { Method::LBFGS };
    Descent::new(method).with_step_limit(STEPS).with_trajectory(Trajectory::Off)
}

/// The rank of the prediction W_{L:1} H̄ where a descent has ended.
fn rank(point: &Point, ufm: &Ufm) -> Result<usize> {
    // A singular value that has come to rest above this is one that the minimizer has.
    let values = dense_svd((point.product() * point.class_means(ufm)?).as_ref())?.values;
    let largest = values.iter().copied().fold(0.0, f64::max);
    Ok(values.iter().filter(|&&value| value > SAME * largest && largest > 0.0).count())
}

/// A random start whose features are equal within classes, as those of minimizers are: K columns are enough for it.
fn collapsed(ufm: &Ufm, rng: &mut Xoshiro256PlusPlus) -> Result<Point, Error> {
    if !ufm.has_nonnegative_features() {
        return Point::collapsed(ufm, 1.0, rng);
    }
    // In layers of low rank, as above, projections to nonnegative features end far from the minimum.
    let (weights, mut features, bias) = Parameters::gaussian(ufm, 1.0, rng)?.into_parts();
    let mut start = 0;
    for &count in ufm.class_counts().ok_or(Error::NoClassCounts)?.counts() {
        let first = features.col(start).to_owned();
        // As many as there are columns.
        let end = start + usize::try_from(count).unwrap_or(usize::MAX);
        (start..end).for_each(|j| features.col_mut(j).copy_from(&first));
        start = end;
    }
    Ok(Parameters::new(ufm, weights, features, bias)?.into())
}

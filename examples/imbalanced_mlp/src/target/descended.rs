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
    of_point(ufm, &best.point, best.objective, Source::Descent { starts: runs.len(), same })
}

/// A descent from these layers, class means and bias, with all features of a class equal.
pub(super) fn descend_from(ufm: &Ufm, layers: &[Mat<f64>], means: &Mat<f64>, bias: Option<Col<f64>>) -> Result<Target> {
    let mut features = Mat::zeros(means.nrows(), usize::try_from(ufm.samples())?);
    let classes = ufm.class_counts().ok_or(Error::NoClassCounts)?.counts().iter().enumerate();
    let classes = classes.flat_map(|(class, &count)| (0..count).map(move |_| class));
    for (mut feature, class) in features.col_iter_mut().zip(classes) {
        feature.copy_from(means.col(class));
    }
    let run = descent(ufm).minimize(ufm, Parameters::new(ufm, layers.to_vec(), features, bias)?)?;
    of_point(ufm, &run.point, run.objective, Source::Descent { starts: 1, same: 1 })
}

fn descent(ufm: &Ufm) -> Descent {
    let method = if ufm.has_nonnegative_features() { Method::Nesterov } else { Method::LBFGS };
    Descent::new(method).with_step_limit(STEPS).with_trajectory(Trajectory::Off)
}

/// The end of a descent.
fn of_point(ufm: &Ufm, point: &Point, objective: f64, source: Source) -> Result<Target> {
    let (product, means) = (point.product(), point.class_means(ufm)?);
    // A singular value that has come to rest above this is one that the minimizer has.
    let values = dense_svd((&product * &means).as_ref())?.values;
    let largest = values.iter().copied().fold(0.0, f64::max);
    let rank = values.iter().filter(|&&value| value > SAME * largest && largest > 0.0).count();
    let bias = point.bias().map(|bias| bias.to_owned());
    Target::of_blocks(ufm, source, objective, rank, [product, means], bias.as_ref())
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

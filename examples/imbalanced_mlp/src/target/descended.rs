//! The minimum of a model that has no theory.

use anyhow::Result;
use neural_collapse::{
    Error, Parameters, Point, Ufm,
    descent::{Descent, Method, Run, Trajectory},
    linalg::dense_svd,
    rand::{SeedableRng, rngs::Xoshiro256PlusPlus},
};

use super::{Source, Target};

/// Descents for a minimum that nothing else gives: from collapsed features, which the minimizers have.
const STARTS: u64 = 4;
/// Steps of each: ten times what L-BFGS takes for three layers of ten classes.
const STEPS: usize = 20_000;
/// Descents that end within this share of the lowest objective end at the same minimum.
const SAME: f64 = 1e-6;

/// The lowest of several descents on free features.
pub(super) fn by_descent(ufm: &Ufm) -> Result<Target> {
    let method = if ufm.has_nonnegative_features() { Method::Nesterov } else { Method::LBFGS };
    let descent = Descent::new(method).with_step_limit(STEPS).with_trajectory(Trajectory::Off);
    let run = |seed: u64| descent.minimize(ufm, collapsed(ufm, &mut Xoshiro256PlusPlus::seed_from_u64(seed))?);
    let mut runs = (0..STARTS).map(run).collect::<Result<Vec<Run>, Error>>()?;
    runs.sort_by(|a, b| a.objective.total_cmp(&b.objective));
    let best = &runs[0];
    let same = runs.iter().filter(|run| run.objective - best.objective <= SAME * best.objective).count();
    let source = Source::Descent { starts: runs.len(), same };
    let (product, means) = (best.point.product(), best.point.class_means(ufm)?);
    // A singular value that has come to rest above this is one that the minimizer has.
    let values = dense_svd((&product * &means).as_ref())?.values;
    let largest = values.iter().copied().fold(0.0, f64::max);
    let rank = values.iter().filter(|&&value| value > SAME * largest && largest > 0.0).count();
    Target::of_blocks(
        ufm,
        source,
        best.objective,
        rank,
        [product, means],
        best.point.bias().map(|bias| bias.to_owned()).as_ref(),
    )
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

//! Any features, labels and layers: an error, or numbers that are numbers, in one batch as in two.

#![no_main]

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use neural_collapse::{Layer, Ufm, faer::{Mat, MatRef}, metrics::{network_collapse, FeatureAccumulator, FeatureStatistics, ScatterAccumulator, frame_distances, self_duality, NearestCenter, Nc1Convention}};

#[derive(Arbitrary, Debug)]
struct Input {
    width: u8,
    classes: u8,
    labels: Vec<u8>,
    numbers: Vec<f64>,
    single: bool,
    along: bool,
    cut: u8,
    product: Vec<f64>,
    decays: [f64; 2],
}

fn matrix(numbers: &[f64], rows: usize, cols: usize) -> Mat<f64> {
    let at = |i: usize| numbers.get(i % numbers.len().max(1)).copied().unwrap_or(0.0);
    Mat::from_fn(rows, cols, |i, j| at(j * rows + i))
}

fn is_number(value: Option<f64>) {
    assert!(value.is_none_or(|value| value >= 0.0), "{value:?}");
}

fuzz_target!(|input: Input| {
    let (width, classes) = (usize::from(input.width % 9), usize::from(input.classes % 7));
    let labels: Vec<usize> = input.labels.iter().take(40).map(|&label| usize::from(label % 8)).collect();
    let features = matrix(&input.numbers, width, labels.len());
    let Some(statistics) = statistics(&input, &features, &labels, classes) else { return };
    for convention in
        [Nc1Convention::Global, Nc1Convention::UnweightedMean, Nc1Convention::WeightedClasses, Nc1Convention::Undivided]
    {
        if let Ok(value) = statistics.nc1(convention) {
            is_number(value);
        }
    }
    [statistics.trace_ratio(), statistics.class_distance_normalized_variance()].into_iter().flatten().for_each(is_number);
    assert!(!(statistics.squared_norm() < 0.0));

    let product = matrix(&input.product, classes, width);
    if let Ok(frames) = frame_distances(product.transpose()) {
        let all = [frames.equinorm, frames.equiangularity, frames.maximal_angle, frames.simplex, frames.orthogonal];
        all.into_iter().for_each(is_number);
    }
    if let Ok(value) = self_duality(product.as_ref(), statistics.class_means()) {
        is_number(value);
    }
    if let Ok(mut rules) = NearestCenter::new(product.as_ref(), None, &statistics) {
        if rules.add(features.as_ref(), &labels).is_ok() {
            [rules.accuracy(), rules.center_accuracy(), rules.disagreement()].into_iter().for_each(is_number);
        }
    }
    let Ok(counts) = statistics.class_counts() else { return };
    let Ok(ufm) = Ufm::new(counts, [Layer::new(width, input.decays[0])], input.decays[1]) else { return };
    let Ok(minimizer) = ufm.minimizer() else { return };
    if let Ok(collapse) = network_collapse(&minimizer.into(), product.as_ref(), &statistics) {
        let all = [collapse.nc1, collapse.nc2_classifier, collapse.nc2_features, collapse.nc3, collapse.alignment];
        all.into_iter().for_each(is_number);
    }
});

/// In two batches, with the scatter as a whole or along what counts; none where something is refused.
fn statistics(input: &Input, features: &Mat<f64>, labels: &[usize], classes: usize) -> Option<FeatureStatistics> {
    let width = features.nrows();
    let mut first = if input.along {
        FeatureAccumulator::new(width, classes).ok()?
    } else {
        FeatureAccumulator::with_scatter(width, classes).ok()?
    };
    let cut = usize::from(input.cut) % (labels.len() + 1);
    let parts = [(0, cut), (cut, labels.len() - cut)];
    let single = Mat::from_fn(width, labels.len(), |i, j| features[(i, j)] as f32);
    let part = |(start, length): (usize, usize)| (features.subcols(start, length), &labels[start..start + length]);
    let mut add = |(start, length)| -> Option<()> {
        let (features, labels): (MatRef<'_, f64>, _) = part((start, length));
        if input.single { first.add(single.subcols(start, length), labels).ok() } else { first.add(features, labels).ok() }
    };
    parts.into_iter().try_for_each(&mut add)?;
    let statistics = first.finish();
    if !input.along {
        return Some(statistics);
    }
    let mut second = ScatterAccumulator::new(statistics).ok()?;
    for (start, length) in parts {
        let (features, labels) = part((start, length));
        if input.single {
            second.add(single.subcols(start, length), labels).ok()?;
        } else {
            second.add(features, labels).ok()?;
        }
    }
    second.finish().ok()
}

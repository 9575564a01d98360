//! Numbered batches: the same bits whoever has taken in which of them, and in whatever order they are merged.

use neural_collapse::{
    Error,
    faer::Mat,
    metrics::{FeatureAccumulator, FeatureStatistics, Nc1Convention, NumberedStatistics},
};
use rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus, seq::SliceRandom};
use rand_distr::StandardNormal;

const WIDTH: usize = 5;
const CLASSES: usize = 3;

/// B × d and labels; classes far from the origin, so that every sum rounds.
fn batch(number: u64) -> (Mat<f64>, Vec<usize>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(number);
    let labels: Vec<usize> = (0..7).map(|_| rng.random_range(0..CLASSES)).collect();
    let features = Mat::from_fn(7, WIDTH, |i, _| 10.0 * labels[i] as f64 + rng.sample::<f64, _>(StandardNormal));
    (features, labels)
}

fn gathered(numbers: impl IntoIterator<Item = u64>) -> NumberedStatistics {
    let mut all = NumberedStatistics::with_scatter(WIDTH, CLASSES).unwrap();
    for number in numbers {
        let (features, labels) = batch(number);
        all.add_rows(number, features.as_ref(), &labels).unwrap();
    }
    all
}

fn statistics(all: &NumberedStatistics) -> FeatureStatistics {
    all.statistics().unwrap()
}

#[test]
fn any_split_and_any_order_give_the_same_bits() {
    // Numbers that begin anywhere, with gaps.
    let numbers: Vec<u64> = (5..40).filter(|number| number % 9 != 0).collect();
    let expected = statistics(&gathered(numbers.iter().copied()));
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    for workers in [1, 2, 3, 8] {
        let mut shards = vec![Vec::new(); workers];
        for &number in &numbers {
            shards[rng.random_range(0..workers)].push(number);
        }
        for shard in &mut shards {
            shard.shuffle(&mut rng);
        }
        let mut shards: Vec<NumberedStatistics> = shards.into_iter().map(gathered).collect();
        while shards.len() > 1 {
            let other = shards.swap_remove(rng.random_range(0..shards.len()));
            let place = rng.random_range(0..shards.len());
            shards[place].merge(other).unwrap();
        }
        assert_eq!(statistics(&shards[0]), expected);
    }
    // The same samples in one stream, but for the order of sums of 210 numbers.
    let mut stream = FeatureAccumulator::with_scatter(WIDTH, CLASSES).unwrap();
    for &number in &numbers {
        let (features, labels) = batch(number);
        stream.add_rows(features.as_ref(), &labels).unwrap();
    }
    assert_eq!((stream.shape(), stream.has_scatter()), ((WIDTH, CLASSES), true));
    assert_eq!(stream.counts(), gathered(numbers).counts());
    let nc1 = |statistics: FeatureStatistics| statistics.nc1(Nc1Convention::Global).unwrap().unwrap();
    // Means of size 20 and deviations of size 1, squared once.
    let rounding = 210.0 * 20.0 * 20.0 * f64::EPSILON;
    assert!((nc1(stream.finish()) / nc1(expected) - 1.0).abs() <= rounding);
}

#[test]
fn each_number_is_taken_once_and_by_the_same_kind() {
    let mut own = gathered([0, 1, 6]);
    let (features, labels) = batch(1);
    let again = own.add_rows(1, features.as_ref(), &labels);
    assert_eq!(again, Err(Error::BatchNumber { batch: 1 }));
    assert_eq!(again.unwrap_err().to_string(), "batch 1: it has been taken in before, each number is accepted once");
    assert_eq!(own.merge(gathered([7, 6])), Err(Error::BatchNumber { batch: 6 }));
    let large = own.add_rows(1 << 53, features.as_ref(), &labels).unwrap_err().to_string();
    assert_eq!(large, "batch: 9007199254740992 given, numbers below 2^53 are accepted");
    assert_eq!(own.merge(NumberedStatistics::new(WIDTH, CLASSES).unwrap()), Err(Error::NoScatter));
    let other = NumberedStatistics::with_scatter(WIDTH + 1, CLASSES).unwrap();
    assert!(matches!(own.merge(other), Err(Error::Shape { .. })));
    assert!(matches!(own.add_rows(9, features.as_ref(), &labels[1..]), Err(Error::Shape { .. })));
    // Nothing of all that has been taken in.
    assert_eq!(statistics(&own), statistics(&gathered([0, 1, 6])));
}

#[test]
fn no_batches_are_no_samples() {
    let empty = NumberedStatistics::new(WIDTH, CLASSES).unwrap();
    assert_eq!((empty.shape(), empty.has_scatter(), empty.counts()), ((WIDTH, CLASSES), false, vec![0; CLASSES]));
    assert_eq!(statistics(&empty).class_counts(), Err(Error::ZeroCount { class: 0 }));
    assert_eq!(NumberedStatistics::new(WIDTH, 0).unwrap_err(), Error::NoClasses);
}

#[cfg(feature = "serde")]
#[test]
fn saved_numbered_batches_go_on_to_the_same_bits() {
    let saved = serde_json::to_value(gathered([0, 1, 2, 9])).unwrap();
    let mut read: NumberedStatistics = serde_json::from_value(saved.clone()).unwrap();
    read.merge(gathered([3, 8])).unwrap();
    assert_eq!(statistics(&read), statistics(&gathered([0, 1, 2, 3, 8, 9])));
    let refused = |place: &str, value: serde_json::Value| {
        let mut broken = saved.clone();
        *broken.pointer_mut(place).unwrap() = value;
        serde_json::from_value::<NumberedStatistics>(broken).unwrap_err().to_string()
    };
    assert!(refused("/version", 2.into()).contains("version 2"));
    assert!(refused("/nodes/0/start", 1.into()).contains("a node at 1 with level 1"));
    assert!(refused("/nodes/0/level", 60.into()).contains("a node at 0 with level 60"));
    assert!(refused("/nodes/1/start", 1.into()).contains("batch 1: it has been taken in before"));
    assert!(refused("/empty", saved.pointer("/nodes/0/statistics").unwrap().clone()).contains("has samples"));
}

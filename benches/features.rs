//! NC1 of a million features of 512 numbers in single precision, streamed in batches: in one pass with the whole
//! scatter, and in two with what NC1 needs of it.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use neural_collapse::{
    faer::{Mat, MatRef},
    metrics::{FeatureAccumulator, Nc1Convention, ScatterAccumulator},
};

const WIDTH: usize = 512;
const BATCH: usize = 4096;
/// Samples.
const SAMPLES: usize = 1_000_000;

/// Numbers that look random, the same in every batch of a pass: 2 GB of them would measure the memory.
fn batch() -> Mat<f32> {
    let mut state = 1_u64;
    Mat::from_fn(WIDTH, BATCH, |_, _| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        #[allow(clippy::cast_possible_truncation)]
        let uniform = (state >> 40) as f32 / (1_u64 << 24) as f32;
        uniform
    })
}

fn pass(samples: usize, classes: usize, features: MatRef<'_, f32>, mut add: impl FnMut(MatRef<'_, f32>, &[usize])) {
    for start in (0..samples).step_by(BATCH) {
        let size = BATCH.min(samples - start);
        let labels: Vec<usize> = (start..start + size).map(|i| (i * 7 + i / 13) % classes).collect();
        add(features.subcols(0, size), &labels);
    }
}

fn features(c: &mut Criterion) {
    let batch = batch();
    let mut group = c.benchmark_group("nc1");
    group.sample_size(10).throughput(Throughput::Elements(SAMPLES as u64));
    group.bench_function("K=1000, one pass", |b| {
        b.iter(|| {
            let mut accumulator = FeatureAccumulator::with_scatter(WIDTH, 1000).expect("an accumulator");
            pass(SAMPLES, 1000, batch.as_ref(), |features, labels| {
                accumulator.add(features, labels).expect("a good batch");
            });
            black_box(accumulator.finish().nc1(Nc1Convention::Global))
        });
    });
    group.bench_function("K=10, two passes", |b| {
        b.iter(|| {
            let mut first = FeatureAccumulator::new(WIDTH, 10).expect("an accumulator");
            pass(SAMPLES, 10, batch.as_ref(), |features, labels| first.add(features, labels).expect("a good batch"));
            let mut second = ScatterAccumulator::new(first.finish()).expect("classes with samples");
            pass(SAMPLES, 10, batch.as_ref(), |features, labels| second.add(features, labels).expect("a good batch"));
            black_box(second.finish().expect("the same samples").nc1(Nc1Convention::Global))
        });
    });
    group.finish();
}

criterion_group!(benches, features);
criterion_main!(benches);

//! The structured spectrum of class labels compared with a dense decomposition of the same matrix, values alone and with
//! all vectors, for R = K distinct counts and for 20 (R = 20).
//!
//! `benches/peers/spectrum.py` compares this with NumPy.

use std::{hint::black_box, time::Duration};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use neural_collapse::{
    ClassCounts,
    linalg::dense_svd,
    theory::{LabelSpectrum, centered_label_matrix},
};

/// Long enough for ten samples of everything but the largest decompositions.
const SHORT: Duration = Duration::from_millis(700);

/// Counts 10, 17, 24, ..., in turn, `distinct` of them.
fn counts(classes: usize, distinct: usize) -> ClassCounts {
    let counts: Vec<u64> = (0..classes).map(|k| 10 + 7 * (k % distinct) as u64).collect();
    ClassCounts::new(counts).expect("valid counts")
}

fn spectrum(c: &mut Criterion) {
    for (name, distinct) in [("R=K", usize::MAX), ("R=20", 20)] {
        let mut group = c.benchmark_group(name);
        group.sample_size(10).warm_up_time(SHORT).measurement_time(SHORT);
        for classes in [64, 128, 256, 512, 1024, 2048] {
            let counts = counts(classes, distinct);
            group.bench_function(BenchmarkId::new("values", classes), |b| {
                b.iter(|| LabelSpectrum::centered(black_box(&counts)));
            });
            group.bench_function(BenchmarkId::new("vectors", classes), |b| {
                b.iter(|| LabelSpectrum::centered(black_box(&counts)).both_vectors(classes));
            });
            let matrix = centered_label_matrix(&counts).expect("a matrix that fits in memory");
            group.bench_function(BenchmarkId::new("dense", classes), |b| {
                b.iter(|| dense_svd(black_box(matrix.as_ref())));
            });
        }
        group.finish();
    }
    let mut group = c.benchmark_group("R=1000");
    group.sample_size(10).warm_up_time(SHORT).measurement_time(SHORT);
    for classes in [10_000, 100_000, 1_000_000] {
        let counts = counts(classes, 1000);
        group.bench_function(BenchmarkId::new("values", classes), |b| {
            b.iter(|| LabelSpectrum::centered(black_box(&counts)));
        });
    }
    group.finish();
}

criterion_group!(benches, spectrum);
criterion_main!(benches);

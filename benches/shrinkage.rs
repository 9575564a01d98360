//! The scalar solvers, compared with one call of `powf`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use neural_collapse::theory::scalar::{scalar_minimizer, shrinkage};

fn scalar(c: &mut Criterion) {
    let mut group = c.benchmark_group("scalar problem");
    group.bench_function("powf", |b| b.iter(|| black_box(0.1_f64).powf(black_box(0.7))));
    for layers in [1, 2, 6, 100] {
        group.bench_function(BenchmarkId::new("shrinkage", layers), |b| b.iter(|| shrinkage(black_box(3e-3), layers)));
        group.bench_function(BenchmarkId::new("lemma-a2", layers), |b| {
            b.iter(|| scalar_minimizer(black_box(3e-3), layers));
        });
    }
    group.finish();
}

criterion_group!(benches, scalar);
criterion_main!(benches);

//! The closed form, from counts to every singular value of every layer.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use neural_collapse::{
    ClassCounts, Layer, Ufm,
    theory::{
        label_spectrum::LabelSpectrum,
        spectrum::{centered_label_matrix, dense_svd},
    },
};

fn minimizer(c: &mut Criterion) {
    let mut group = c.benchmark_group("minimizer");
    let profiles = [
        ("cifar10", ClassCounts::paper_cifar10()),
        ("emnist-letters", ClassCounts::paper_emnist_letters()),
        ("distinct-1024", ClassCounts::new((1..=1024).collect::<Vec<u64>>()).expect("valid counts")),
    ];
    for (name, classes) in profiles {
        let ufm = Ufm::biased(classes, [Layer::new(512, 5e-4), Layer::new(512, 5e-4)], 1e-5).expect("a valid model");
        group.bench_function(name, |b| b.iter(|| black_box(&ufm).minimizer()));
    }
    group.finish();
}

/// The structured spectrum beside a dense decomposition of the same matrix, values and all vectors.
fn spectrum(c: &mut Criterion) {
    let mut group = c.benchmark_group("spectrum with vectors");
    group.sample_size(10);
    for classes in [64, 256, 1024] {
        let counts = ClassCounts::new((1..=classes as u64).collect::<Vec<u64>>()).expect("valid counts");
        group.bench_function(BenchmarkId::new("structured", classes), |b| {
            b.iter(|| {
                let spectrum = LabelSpectrum::centered(black_box(&counts));
                (spectrum.left_vectors(classes), spectrum.right_vectors(classes))
            });
        });
        let matrix = centered_label_matrix(&counts).expect("a small matrix");
        group.bench_function(BenchmarkId::new("dense", classes), |b| b.iter(|| dense_svd(black_box(matrix.as_ref()))));
    }
    group.finish();
}

criterion_group!(benches, minimizer, spectrum);
criterion_main!(benches);

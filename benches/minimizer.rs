//! The closed form, from counts to every singular value of every layer.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use neural_collapse::{ClassCounts, Layer, Ufm};

fn million() -> ClassCounts {
    ClassCounts::new((0..1_000_000).map(|k| 1 + k * 7919 % 1000).collect::<Vec<u64>>()).expect("valid counts")
}

fn minimizer(c: &mut Criterion) {
    let mut group = c.benchmark_group("minimizer");
    let profiles = [
        ("cifar10", ClassCounts::paper_cifar10()),
        ("emnist-letters", ClassCounts::paper_emnist_letters()),
        ("1024 distinct counts", ClassCounts::new((1..=1024).collect::<Vec<u64>>()).expect("valid counts")),
        ("a million classes, 1000 distinct counts", million()),
    ];
    for (name, classes) in profiles {
        let ufm = Ufm::biased(classes, [Layer::new(512, 5e-4), Layer::new(512, 5e-4)], 1e-5).expect("a valid model");
        group.bench_function(name, |b| b.iter(|| black_box(&ufm).minimizer()));
    }
    group.finish();
}

criterion_group!(benches, minimizer);
criterion_main!(benches);

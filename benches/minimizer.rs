//! The closed form, from counts to every singular value of every layer and to the angle between two classes.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use neural_collapse::{ClassCounts, Layer, Ufm};

fn counts() -> Vec<u64> {
    (0..1_000_000).map(|k| 1 + k * 7919 % 1000).collect()
}

fn million() -> ClassCounts {
    ClassCounts::new(counts()).expect("valid counts")
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
        let ufm = Ufm::new(classes, [Layer::new(512, 5e-4), Layer::new(512, 5e-4)], 1e-5).expect("a valid model");
        group.bench_function(name, |b| b.iter(|| black_box(&ufm).minimizer()));
    }
    group.finish();
}

/// From a million numbers to the angle between two classes: `RAYON_NUM_THREADS=1` for one core.
fn million_classes(c: &mut Criterion) {
    let counts = counts();
    c.bench_function("a million classes, from counts to an angle", |b| {
        b.iter(|| {
            let classes = ClassCounts::new(black_box(counts.clone()))?;
            let minimizer = Ufm::new(classes, [Layer::new(2_000_000, 1e-9)], 1e-9)?.minimizer()?;
            minimizer.geometry().map(|geometry| geometry.classifiers().cosine(0, 1))
        });
    });
}

criterion_group!(benches, minimizer, million_classes);
criterion_main!(benches);

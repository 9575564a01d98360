//! Certified minimizers of cross-entropy with a free bias: small ones many times, large ones and soft labels once, with
//! their gaps.
//!
//! `benches/peers/cross_entropy.py` compares this with CVXPY. Lines `gap NAME NUMBER` and `bound NAME NUMBER` are
//! printed for every model, and a line `seconds NAME NUMBER` for those that are timed once.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use criterion::{Criterion, criterion_group, criterion_main};
use neural_collapse::{ClassCounts, Layer, Loss, Targets, Ufm, faer::Mat, theory::Certified};

const SHORT: Duration = Duration::from_secs(1);

/// √(λ_W λ_H) such that q = N λ/√n of the largest class is `q`; λ_W is four times λ_H.
fn model(counts: Vec<u64>, q: f64) -> Ufm {
    let classes = ClassCounts::new(counts).expect("valid counts");
    let decay = q * (classes.group(0).count as f64).sqrt() / classes.samples() as f64;
    let width = classes.classes();
    let ufm = Ufm::new(classes, [Layer::new(width, 2.0 * decay)], decay / 2.0).expect("a valid model");
    ufm.with_loss(Loss::CrossEntropy).expect("class labels have every loss")
}

/// `number` counts from `largest` down to `smallest` in equal ratios, each rounded.
fn ratios(number: usize, largest: f64, smallest: f64) -> Vec<u64> {
    let step = |k: usize| k as f64 / (number as f64 - 1.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (0..number).map(|k| (largest * (smallest / largest).powf(step(k))).round() as u64).collect()
}

/// Three groups of 1280, 128 and 13 samples a class.
fn three_groups(classes: usize) -> Vec<u64> {
    [1280, 128, 13].into_iter().flat_map(|count| vec![count; classes / 3]).collect()
}

/// Soft labels of so many outputs, all distinct, one sample each.
fn soft(outputs: usize, samples: usize) -> Ufm {
    let raw = |k: usize, i: usize| (2.0 * (1.7 * ((k + 1) * (i + 1)) as f64).sin()).exp();
    let sum = |i: usize| (0..outputs).map(|k| raw(k, i)).sum::<f64>();
    let targets = Targets::matrix(Mat::from_fn(outputs, samples, |k, i| raw(k, i) / sum(i))).expect("finite targets");
    let ufm = Ufm::new(targets, [Layer::new(outputs, 2e-5)], 2e-6).expect("a valid model");
    ufm.with_loss(Loss::CrossEntropy).expect("columns are probabilities")
}

fn report(name: &str, minimizer: &Certified) {
    println!("gap {name} {:e}", minimizer.gap());
    println!("bound {name} {:e}", minimizer.lower_bound());
}

fn small(c: &mut Criterion) {
    let models = [
        ("K=10 R=10", model(ratios(10, 1280.0, 13.0), 0.05)),
        ("K=30 R=30", model(ratios(30, 1280.0, 13.0), 0.05)),
        ("K=30 R=3", model(three_groups(30), 0.05)),
        ("K=50 R=50", model(ratios(50, 12800.0, 13.0), 0.02)),
        ("K=999999 R=3", model(three_groups(999_999), 0.05)),
    ];
    let mut group = c.benchmark_group("certified");
    group.sample_size(10).warm_up_time(SHORT).measurement_time(SHORT);
    for (name, ufm) in models {
        if is_wanted(name) {
            report(name, &ufm.certified_minimizer().expect("a wide layer"));
        }
        group.bench_function(name, |b| b.iter(|| black_box(&ufm).certified_minimizer()));
    }
    group.finish();
}

/// Whether the name contains the filter of the command line, if there is one, as criterion's names do.
fn is_wanted(name: &str) -> bool {
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-'));
    filter.is_none_or(|filter| format!("certified/{name}").contains(&filter))
}

/// Seconds each: one run says enough.
fn large(_: &mut Criterion) {
    let models = [
        ("K=300 R=300", model(ratios(300, 128_000.0, 13.0), 0.01)),
        ("ImageNet-LT q=0.1", model(ratios(1000, 1280.0, 5.0), 0.1)),
        ("ImageNet-LT q=0.01", model(ratios(1000, 1280.0, 5.0), 0.01)),
        ("soft labels 100x2000", soft(100, 2000)),
        ("soft labels 300x3000", soft(300, 3000)),
    ];
    for (name, ufm) in models.into_iter().filter(|(name, _)| is_wanted(name)) {
        let start = Instant::now();
        let minimizer = ufm.certified_minimizer().expect("a wide layer");
        println!("seconds {name} {}", start.elapsed().as_secs_f64());
        report(name, &minimizer);
    }
}

criterion_group!(benches, small, large);
criterion_main!(benches);

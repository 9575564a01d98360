//! One step of gradient descent, reduced and on all samples, beside a matrix product of the machine.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use neural_collapse::{
    ClassCounts, Layer, Parameters, Ufm,
    descent::{Descent, Method, StepSize},
    faer::Mat,
};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

/// Steps of a run: enough that its start and end do not count.
const STEPS: usize = 20;

fn descend(c: &mut Criterion) {
    let mut group = c.benchmark_group("20 steps");
    group.sample_size(10);
    for (name, classes) in
        [("cifar10", ClassCounts::paper_cifar10()), ("emnist-letters", ClassCounts::paper_emnist_letters())]
    {
        let ufm = Ufm::biased(classes, [Layer::new(512, 5e-4)], 1e-5).expect("a valid model");
        let start = Parameters::gaussian(&ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0)).expect("a start");
        for (kind, reduced) in [("reduced", true), ("all samples", false)] {
            let descent = Descent::new(Method::GradientDescent)
                .with_step_size(StepSize::Fixed(1e-3))
                .with_reduction(reduced)
                .with_step_limit(STEPS);
            let id = format!("{name}, {kind}");
            group.bench_function(id, |b| b.iter(|| descent.minimize(&ufm, black_box(start.clone()))));
        }
    }
    group.finish();
}

/// The machine's own matrix product, 2 · 1024³ operations: what a step, of 6 d K operations a column, is measured against.
fn peak(c: &mut Criterion) {
    let matrix = Mat::<f64>::from_fn(1024, 1024, |i, j| (i + j) as f64);
    let mut group = c.benchmark_group("matrix product");
    group.sample_size(10);
    group.bench_function("1024 x 1024", |b| b.iter(|| black_box(&matrix) * &matrix));
    group.finish();
}

criterion_group!(benches, descend, peak);
criterion_main!(benches);

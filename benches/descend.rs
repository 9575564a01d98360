//! One step of gradient descent, reduced and on all samples, compared with a matrix product of the machine.

use std::{hint::black_box, ops::ControlFlow, time::Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use neural_collapse::{
    ClassCounts, Layer, Parameters, Ufm,
    descent::{Descent, Method, StepSize},
    faer::Mat,
};
use rand::{SeedableRng, rngs::Xoshiro256PlusPlus};

fn descend(c: &mut Criterion) {
    let mut group = c.benchmark_group("step");
    group.sample_size(10);
    for (name, classes) in
        [("cifar10", ClassCounts::paper_cifar10()), ("emnist-letters", ClassCounts::paper_emnist_letters())]
    {
        let ufm = Ufm::new(classes, [Layer::new(512, 5e-4)], 1e-5).expect("a valid model");
        let start = Parameters::gaussian(&ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(0)).expect("a start");
        for (kind, reduced) in [("reduced", true), ("all samples", false)] {
            let descent = Descent::new(Method::GradientDescent)
                .with_step_size(StepSize::Fixed(1e-3))
                .with_gradient_tolerance(0.0)
                .with_reduction(reduced);
            // Only the steps count, from the first point that the observer sees to the last.
            let steps = |steps: u64| {
                let (mut first, mut last) = (Instant::now(), Instant::now());
                let limited = descent.with_step_limit(usize::try_from(steps).expect("a number of steps"));
                let run = limited.minimize_observed(&ufm, start.clone(), |progress| {
                    last = Instant::now();
                    if progress.record.step == 0 {
                        first = last;
                    }
                    ControlFlow::Continue(())
                });
                black_box(run).expect("a run");
                last - first
            };
            group.bench_function(format!("{name}, {kind}"), |b| b.iter_custom(steps));
        }
    }
    group.finish();
}

/// The machine's own matrix product, 2 · 1024³ operations: what a step, of 6 d K operations a column, is measured
/// against.
fn peak(c: &mut Criterion) {
    let matrix = Mat::<f64>::from_fn(1024, 1024, |i, j| (i + j) as f64);
    let mut group = c.benchmark_group("matrix product");
    group.sample_size(10);
    group.bench_function("1024 x 1024", |b| b.iter(|| black_box(&matrix) * &matrix));
    group.finish();
}

criterion_group!(benches, descend, peak);
criterion_main!(benches);

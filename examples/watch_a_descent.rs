//! A descent with an observer: watch the gap fall, measure on the way, stop when you have seen enough, and go on.
//!
//!     cargo run --release --example watch_a_descent

use std::ops::ControlFlow;

use neural_collapse::{
    ClassCounts, Error, Layer, Point, Ufm,
    critical::ending,
    descent::{Descent, Method},
    metrics::collapse,
    rand::{SeedableRng, rngs::Xoshiro256PlusPlus},
};

fn main() -> Result<(), Error> {
    // Three linear layers on the paper's CIFAR-10 profile.
    let layers = [Layer::new(64, 5e-4), Layer::new(64, 5e-4), Layer::new(64, 5e-4)];
    let ufm = Ufm::new(ClassCounts::paper_cifar10(), layers, 1e-5)?;
    let minimizer = ufm.minimizer()?;

    for (name, method) in [("Nesterov", Method::Nesterov), ("L-BFGS", Method::LBFGS)] {
        // The same start for both: a generator that is seeded anew.
        let start = Point::gaussian(&ufm, 1.0, &mut Xoshiro256PlusPlus::seed_from_u64(1))?;
        let descent = Descent::new(method).with_optimum(minimizer.objective()).with_gap_tolerance(1e-10);
        println!("{name}\n{:>6}  {:>9}  {:>9}  {:>9}  {:>9}", "step", "gap", "gradient", "NC1", "NC3");
        let mut next = 1;
        let (mut run, found) = descent.minimize_until(&ufm, start, |progress| {
            // Powers of two are enough for people. An observer is called at every step: keep it short.
            if progress.record.step < next {
                return ControlFlow::Continue(());
            }
            next *= 2;
            let gap = progress.gap.unwrap_or(f64::NAN);
            let show = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.1e}"));
            // Metrics at a point on the way, against the minimizer, which the descent knows nothing of. `Break` ends the
            // run, with a value of your own: here what has gone wrong, or what has been found.
            let metrics = match collapse(&minimizer, &progress.point()) {
                Ok(metrics) => metrics,
                Err(error) => return ControlFlow::Break(Err(error)),
            };
            println!(
                "{:>6}  {gap:>9.1e}  {:>9.1e}  {:>9}  {:>9}",
                progress.record.step,
                progress.record.gradient_norm,
                show(metrics.nc1),
                show(metrics.nc3),
            );
            match metrics.nc3 {
                Some(nc3) if nc3 < 0.01 => ControlFlow::Break(Ok(nc3)),
                _ => ControlFlow::Continue(()),
            }
        })?;
        if let (Some(nc3), Some(state)) = (found.transpose()?, run.state.take()) {
            println!("{:>6}  weights and class means agree, NC3 {nc3:.1e}: enough seen", run.steps);
            // The rest of the run, as if it had not been broken off: the same steps, to the last bit. With the feature
            // `serde` the state can be saved, and go on another day.
            run = descent.minimize(&ufm, state)?;
        }
        println!(
            "{:>6}  {:>9.1e}  {}, {} evaluations\n",
            run.steps,
            run.gap.unwrap_or(f64::NAN),
            ending(&minimizer, &run)?,
            run.evaluations
        );
    }
    Ok(())
}

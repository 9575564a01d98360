//! Any model: an error, or a minimizer that its own parameters attain and that no descent goes below.

#![no_main]

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use neural_collapse::{ClassCounts, Layer, Parameters, Ufm, descent::{Descent, Method, Stop, Variables}, Point, metrics::{collapse, distance}, critical::ending, rand::{SeedableRng, rngs::Xoshiro256PlusPlus}};

#[derive(Arbitrary, Debug)]
struct Input {
    counts: Vec<u16>,
    layers: Vec<(u8, f64)>,
    feature_decay: f64,
    bias: bool,
    scale: f64,
    method: u8,
    plain: bool,
    all_columns: bool,
    collapsed: bool,
    steps: u8,
    seed: u64,
}

fuzz_target!(|input: Input| {
    let counts: Vec<u64> = input.counts.iter().take(8).map(|&count| u64::from(count)).collect();
    let Ok(counts) = ClassCounts::new(counts) else { return };
    let layers: Vec<Layer> =
        input.layers.iter().take(5).map(|&(width, decay)| Layer::new(usize::from(width % 12), decay)).collect();
    let Ok(ufm) = Ufm::new(counts.clone(), layers, input.feature_decay).map(|ufm| ufm.with_bias(input.bias)) else { return };
    let minimizer = ufm.minimizer().unwrap();
    let optimum = minimizer.objective();
    assert!((0.0..=0.5).contains(&optimum), "{optimum}");
    for direction in minimizer.directions() {
        assert!((0.0..=1.0).contains(&direction.shrinkage), "{direction:?}");
        assert!(direction.prediction >= 0.0 && direction.prediction <= direction.target, "{direction:?}");
    }
    minimizer.geometry().map(drop).unwrap_or_default();

    // Sums of at most this many terms, all of one sign.
    let (samples, widths) = (ufm.samples(), ufm.layers().iter().map(|layer| layer.width as u64).sum::<u64>());
    // Beyond, squares of weights at the minimum leave the range of floats.
    let mut decays = ufm.layers().iter().map(|layer| layer.decay).chain([ufm.feature_decay()]);
    if samples > 200 || !decays.all(|decay| (1e-60..1e60).contains(&decay)) {
        return;
    }
    let terms = 8.0 * ((samples + widths + 8) * (widths + 8)) as f64;
    // Each is rounded relative to its size, and below the normal numbers by a part of the least of them.
    let rounding = terms * (f64::EPSILON * optimum + f64::MIN_POSITIVE);
    if let Ok(parameters) = minimizer.parameters() {
        if let Ok(reached) = ufm.objective(&parameters) {
            assert!(reached >= optimum - rounding, "{reached} {optimum}");
        }
        collapse(&minimizer, &parameters).map(drop).unwrap_or_default();
        distance(&minimizer, &parameters).map(drop).unwrap_or_default();
    }

    let mut rng = Xoshiro256PlusPlus::seed_from_u64(input.seed);
    let start = if input.collapsed {
        Point::collapsed(&ufm, input.scale, &mut rng)
    } else {
        Parameters::gaussian(&ufm, input.scale, &mut rng).map(Point::from)
    };
    let Ok(start) = start else { return };
    let method = match input.method % 5 {
        0 => Method::GradientDescent,
        1 => Method::HeavyBall { momentum: 0.9 },
        2 => Method::Nesterov,
        3 => Method::LBFGS,
        _ => Method::ADAM,
    };
    let variables = if input.plain { Variables::Plain } else { Variables::Balanced };
    let descent = Descent::new(method)
        .with_variables(variables)
        .with_reduction(!input.all_columns)
        .with_step_limit(usize::from(input.steps % 32));
    let Ok(run) = descent.minimize(&ufm, start) else { return };
    if run.stop == Stop::Diverged {
        return;
    }
    assert!(run.objective >= optimum - rounding, "{} {optimum}", run.objective);
    ending(&minimizer, &run).map(drop).unwrap_or_default();
});

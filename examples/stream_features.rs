//! Stream features of your own: batches as a framework gives them, rows of `f32` and labels of `i64`, never all in
//! memory.
//!
//!     cargo run --release --example stream_features
//!
//! Two passes: class means first, then the scatter about them. Each pass could run in as many processes as there are
//! files, and their accumulators be merged.

use neural_collapse::{
    Error, Layer, Ufm,
    faer::Mat,
    metrics::{FeatureAccumulator, Nc1Convention, ScatterAccumulator, network_collapse},
    rand::{RngExt, SeedableRng, rngs::Xoshiro256PlusPlus},
};

const CLASSES: usize = 4;
const LAST: i64 = 3;
const WIDTH: usize = 32;
const BATCHES: u64 = 50;

/// A batch: 128 rows of `WIDTH` numbers and their labels. Yours comes from a data loader; this one draws a class mean
/// and noise.
fn batch(number: u64) -> (Vec<f32>, Vec<i64>) {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(number);
    // Class k has one of 2^(k+1) samples, the last class the rest.
    let labels: Vec<i64> = (0..128).map(|_| i64::from(rng.random::<u32>().leading_zeros()).min(LAST)).collect();
    let row = |&label: &i64| {
        let mut row: Vec<f32> = (0..WIDTH).map(|_| 0.02 * (rng.random::<f32>() - 0.5)).collect();
        // Feature vectors after a ReLU: one axis a class.
        row[usize::try_from(label).unwrap_or(0)] += 1.0;
        row
    };
    let features = labels.iter().flat_map(row).collect();
    (features, labels)
}

fn main() -> Result<(), Error> {
    // The first pass: class means and variances. A row is a sample, as in every framework; nothing is copied.
    let mut first = FeatureAccumulator::new(WIDTH, CLASSES)?;
    for number in 0..BATCHES {
        let (features, labels) = batch(number);
        first.add_rows(&features, &labels)?;
    }
    let statistics = first.finish();
    let classes = statistics.class_counts()?;
    println!("{} samples, counts {classes}", classes.samples());

    // The second pass: the scatter about these means, as exact as if all features were in memory.
    let mut second = ScatterAccumulator::new(statistics)?;
    for number in 0..BATCHES {
        let (features, labels) = batch(number);
        second.add_rows(&features, &labels)?;
    }
    let statistics = second.finish()?;

    println!("\nNC1 in the four conventions of the literature:");
    for convention in
        [Nc1Convention::Global, Nc1Convention::UnweightedMean, Nc1Convention::WeightedClasses, Nc1Convention::Undivided]
    {
        let nc1 = statistics.nc1(convention)?.map_or("-".into(), |nc1| format!("{nc1:.3e}"));
        println!("{:<16}  {nc1}", format!("{convention:?}"));
    }

    // Compared with the optimum of a model of these counts: a head that reads one axis a class.
    let weights = Mat::from_fn(CLASSES, WIDTH, |k, j| f64::from(u8::from(k == j)));
    let ufm = Ufm::new(classes, [Layer::new(WIDTH, 5e-3)], 1e-5)?.without_bias();
    let collapse = network_collapse(&ufm.optimum()?, weights.as_ref(), &statistics)?;
    println!("\ncompared with the optimum for these counts, zero is there:");
    for (name, value) in [
        ("NC1", collapse.nc1),
        ("NC2 classifier", collapse.nc2_classifier),
        ("NC2 features", collapse.nc2_features),
        ("NC3", collapse.nc3),
    ] {
        println!("{name:<16}  {}", value.map_or("-".into(), |value| format!("{value:.3e}")));
    }
    Ok(())
}

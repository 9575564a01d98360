//! The Rust figure that `update.py` compares with: batches of 4096 x 512 in float32, 100 classes, in seconds a batch.

use std::time::Instant;

use neural_collapse::{Error, metrics::FeatureAccumulator};

const ROWS: usize = 4096;
const WIDTH: usize = 512;
const CLASSES: usize = 100;
const BATCHES: usize = 40;

fn main() -> Result<(), Error> {
    // Numbers of any size do: the work does not depend on them.
    let mut state = 1_u32;
    let mut number = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 16_777_216.0 - 0.5
    };
    let features: Vec<f32> = (0..ROWS * WIDTH).map(|_| number()).collect();
    let labels: Vec<usize> = (0..ROWS).map(|sample| sample * 7919 % CLASSES).collect();
    for scatter in [true, false] {
        let mut accumulator = if scatter {
            FeatureAccumulator::with_scatter(WIDTH, CLASSES)?
        } else {
            FeatureAccumulator::new(WIDTH, CLASSES)?
        };
        let mut seconds = Vec::new();
        for _ in 0..BATCHES {
            let start = Instant::now();
            accumulator.add_rows(&features[..], &labels)?;
            seconds.push(start.elapsed().as_secs_f64());
        }
        seconds.sort_by(f64::total_cmp);
        println!(
            "{}: {:.6} median, {:.6} least",
            if scatter { "scatter" } else { "means" },
            seconds[BATCHES / 2],
            seconds[0]
        );
    }
    Ok(())
}

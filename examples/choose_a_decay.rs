//! Choose a decay: the largest that keeps every class apart, or the small classifiers from being too small.
//!
//!     cargo run --release --example choose_a_decay
//!
//! The network: a long tail of ten classes from 5000 samples to 50, a head of width 512 trained with PyTorch's `MSELoss`
//! and a penalty on the features, averaged over samples.

use neural_collapse::{
    ClassCounts, Error, FeatureConvention, Layer, LossConvention, TrainingConvention, Ufm,
    theory::{Goal, Limit},
};

/// What the training code has: `weight_decay` of the head, and the factor of the mean of ‖h‖²/2 in its loss.
const WEIGHT_DECAY: f64 = 5e-4;
const FEATURE_PENALTY: f64 = 1e-3;

fn main() -> Result<(), Error> {
    let classes = ClassCounts::long_tail(10, 5000, 100.0)?;
    let (outputs, samples) = (classes.classes(), classes.samples());

    // MSELoss averages over outputs as well as samples; the theory halves the sum over outputs. Convert once.
    let training = TrainingConvention::new(LossConvention::Mean, FeatureConvention::Mean);
    let layer_decay = training.layer_decay(WEIGHT_DECAY, outputs)?;
    let feature_decay = training.feature_decay(FEATURE_PENALTY, outputs, samples)?;
    let ufm = Ufm::new(classes, [Layer::new(512, layer_decay)], feature_decay)?;
    let minimizer = ufm.minimizer()?;
    println!("least training loss {:.6}", training.loss(minimizer.objective(), outputs));
    println!("rank {} of {}\n", minimizer.rank(), outputs);

    // Limits come in the theory's units; the factor takes them back to what the optimizer is given.
    let to_weight_decay = WEIGHT_DECAY / layer_decay;
    println!("{:<50}  largest weight_decay", "to keep");
    let goals = [
        ("every direction, so that no two classes coincide", Goal::AllDirections),
        ("five directions", Goal::Rank(5)),
        ("classifiers of a tenth of the largest or more", Goal::NormRatio(0.1)),
        ("classifiers of a third of the largest or more", Goal::NormRatio(0.333)),
    ];
    for (name, goal) in goals {
        match minimizer.largest_layer_decay(goal, 0)? {
            Limit::Below(decay) => println!("{name:<50}  {:.6}", decay * to_weight_decay),
            Limit::Never => println!("{name:<50}  none: no decay is small enough"),
            Limit::Always => println!("{name:<50}  any"),
        }
    }

    // Halfway to the first limit, which class is weakest?
    let Limit::Below(limit) = minimizer.largest_layer_decay(Goal::AllDirections, 0)? else { return Ok(()) };
    let halfway = Ufm::new(ufm.targets().clone(), [Layer::new(512, 0.5 * limit)], feature_decay)?.minimizer()?;
    let geometry = halfway.geometry()?;
    println!("\nHalf of the first limit, a classifier's norm by class:");
    for class in 0..outputs {
        let norm = geometry.classifiers().norm(class).unwrap_or(0.0);
        println!("{class:>5}  {norm:.4}  {}", "#".repeat(bar(norm)));
    }
    Ok(())
}

/// A norm as a bar, forty characters for 1.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn bar(norm: f64) -> usize {
    (40.0 * norm).round().clamp(0.0, 60.0) as usize
}

//! Decays of another loss than that of the theory: converted as `neural-collapse predict` does.

mod program;

use clap::Parser;
use imbalanced_mlp::{configuration::Configuration, data::TrainingSet, flags::Flags, train::Trainer};
use neural_collapse::faer::{Col, MatRef};
use program::{SMALL, program, succeed};

/// Ten classes, 64 samples: MSELoss is 2/K = 1/5 of the loss of the theory.
const THEORY: &str = "--layer-decay 3e-3 --feature-decay 6e-4 --bias-decay 1e-2";
const MEAN: &str = "--layer-decay 6e-4 --feature-decay 7.68e-3 --bias-decay 2e-3 --loss-convention mean \
                    --feature-convention mean";

fn read(decays: &str) -> (Flags, TrainingSet, Configuration) {
    let flags = Flags::parse_from(format!("test {SMALL} {decays}").split_whitespace());
    let set = flags.training_set().unwrap();
    let configuration = flags.configuration(&set).unwrap();
    (flags, set, configuration)
}

fn trained(decays: &str) -> Trainer {
    let (flags, set, configuration) = read(decays);
    let ufm = configuration.ufm(&set.counts).unwrap();
    let mut trainer = Trainer::new(&configuration, &configuration.shape(&set).unwrap(), &ufm, &set, &flags.device());
    for _ in 0..5 {
        trainer = trainer.step(&configuration);
    }
    trainer
}

#[test]
fn decays_of_another_convention_have_the_same_target_and_train_the_same_network() {
    let minimum = |decays: &str| {
        let (_, set, configuration) = read(decays);
        configuration.ufm(&set.counts).unwrap().optimum().unwrap().objective()
    };
    let (ours, theirs) = (minimum(THEORY), minimum(MEAN));
    // Decays that round twice.
    assert!((theirs / ours - 1.0).abs() <= 8.0 * f64::EPSILON, "{ours} {theirs}");
    // Training has floats of 32 bits, to which both round alike.
    let (ours, theirs) = (trained(THEORY).state().unwrap(), trained(MEAN).state().unwrap());
    assert_eq!((ours.layers, ours.bias, ours.features), (theirs.layers, theirs.bias, theirs.features));
}

/// What is trained is the loss that the decays were given for, divided by 2/K.
#[test]
fn what_is_trained_is_that_loss_up_to_a_constant() {
    let (_, set, _) = read(MEAN);
    let trainer = trained(MEAN);
    let state = trainer.state().unwrap();
    let samples = set.labels.len();
    let features = MatRef::from_column_major_slice(&state.features, 16, samples);
    let bias: Col<f64> = state.bias.unwrap().into_iter().collect();
    let (mut mse, mut square) = (0.0, 0.0);
    for (feature, &label) in features.col_iter().zip(&set.labels) {
        let feature: Col<f64> = feature.iter().map(|&x| f64::from(x)).collect();
        let mut residual = &state.layers[0] * &feature + &bias;
        residual[label] -= 1.0;
        mse += residual.squared_norm_l2() / (10 * samples) as f64;
        square += feature.squared_norm_l2();
    }
    let penalties = 6e-4 / 2.0 * state.layers[0].squared_norm_l2()
        + 2e-3 / 2.0 * bias.squared_norm_l2()
        + 7.68e-3 / (2 * samples) as f64 * square;
    let trained = trainer.objective().unwrap();
    // Sums of numbers of one sign in 32 bits: 10 outputs of 16 products for each sample.
    let rounding = (10 * 16 * samples) as f64 * f64::from(f32::EPSILON);
    assert!(((mse + penalties) / (0.2 * trained) - 1.0).abs() < rounding, "{mse} {penalties} {trained}");
}

#[test]
fn the_report_has_the_decays_as_they_were_given_and_as_the_theory_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, flags: &str| {
        String::from_utf8(succeed(program(&format!("{SMALL} {flags}"), &folder.path().join(name))).stdout).unwrap()
    };
    let text = run("mean", MEAN);
    for words in [
        "decays               layers 3e-3, features 6e-4, bias 1e-2\n",
        "given as layers 6e-4, features 7.68e-3, bias 2e-3; loss convention mean, feature convention mean\n",
        "trained with 3e-3\n",
    ] {
        assert!(text.contains(words), "{words:?} is not in {text}");
    }
    assert!(!run("theory", THEORY).contains("given as"));
    // The cross-entropy is a mean over samples in every framework; the penalty of the features is not.
    let entropy = "--loss cross-entropy --loss-convention half-sum --feature-decay 6.4e-3 --feature-convention mean";
    let text = run("entropy", entropy);
    assert!(text.contains("features 1e-4\n"), "{text}");
    // Without a penalty of the features there is none to convert.
    let text = run("free", "--no-feature-decay --loss-convention sum --layer-decay 2e-3");
    assert!(text.contains("layers 1e-3, features not penalized\n") && text.contains("given as layers 2e-3;"), "{text}");
}

//! A run that is interrupted, or killed, and goes on is bitwise the run that is not.

mod program;

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use clap::Parser;
use imbalanced_mlp::{checkpoint, flags::Flags, train::Trainer};
use program::{SMALL, fail, metrics, program, succeed};

/// From the middle of an epoch, state for state.
#[test]
fn a_checkpoint_goes_on_bitwise() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let flags = Flags::parse_from(format!("test {SMALL} --layers 2").split_whitespace());
    let set = flags.training_set().unwrap();
    let configuration = flags.configuration(&set).unwrap();
    let ufm = configuration.ufm(&set.counts).unwrap();
    let shape = configuration.shape(&set).unwrap();
    let new = || Trainer::new(&configuration, &shape, &ufm, &set, &flags.device());
    let steps = |trainer: Trainer, count: usize| (0..count).fold(trainer, |trainer, _| trainer.step(&configuration));
    let half = steps(new(), 11);
    checkpoint::save(&path, &configuration, &half, 2.5).unwrap();
    let whole = steps(half, 12);
    let (resumed, seconds) = checkpoint::load(&path, &configuration, new()).unwrap();
    assert_eq!((resumed.step, seconds), (11, 2.5));
    let resumed = steps(resumed, 12);
    let (whole, resumed) = (whole.state().unwrap(), resumed.state().unwrap());
    assert_eq!(whole.features, resumed.features);
    assert_eq!((whole.layers, whole.bias), (resumed.layers, resumed.bias));
}

/// A program whose first rows are there.
fn started(mut command: Command, folder: &Path) -> Child {
    let child = command.stdout(Stdio::null()).spawn().unwrap();
    let start = Instant::now();
    while !folder.join("metrics.csv").exists() || metrics(folder).len() < 3 {
        assert!(start.elapsed() < Duration::from_mins(1), "no third row after a minute");
        std::thread::sleep(Duration::from_millis(5));
    }
    child
}

#[test]
#[cfg(unix)]
fn an_interrupted_run_and_a_killed_one_go_on() {
    // Long enough that it is not over before it is stopped.
    let long = SMALL.replace("--epochs 6", "--epochs 120");
    let folder = tempfile::tempdir().unwrap();
    let out = |name: &str| folder.path().join(name);
    succeed(program(&long, &out("whole")));
    let whole = metrics(&out("whole"));
    assert_eq!(whole.len(), 61);

    let mut interrupted = started(program(&long, &out("interrupted")), &out("interrupted"));
    Command::new("kill").args(["-INT", &interrupted.id().to_string()]).status().unwrap();
    assert!(interrupted.wait().unwrap().success());
    assert!(metrics(&out("interrupted")).len() < whole.len());
    for file in ["training.svg", "geometry.svg", "checkpoint.safetensors"] {
        assert!(out("interrupted").join(file).exists(), "{file}");
    }
    succeed(program(&format!("{long} --resume"), &out("interrupted")));
    assert_eq!(metrics(&out("interrupted")), whole);

    let mut killed = started(program(&long, &out("killed")), &out("killed"));
    killed.kill().unwrap();
    killed.wait().unwrap();
    assert!(metrics(&out("killed")).len() < whole.len());
    succeed(program(&format!("{long} --resume"), &out("killed")));
    assert_eq!(metrics(&out("killed")), whole);

    // Over, and over again.
    succeed(program(&format!("{long} --resume"), &out("killed")));
    assert_eq!(metrics(&out("killed")), whole);
}

#[test]
fn other_checkpoints_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let resume = |arguments: &str| program(&format!("{SMALL} --resume {arguments}"), folder.path());
    fail(resume(""), &["--resume", "checkpoint.safetensors", "No such file"]);
    succeed(program(SMALL, folder.path()));
    fail(program(SMALL, folder.path()), &["a run in this folder already", "--resume", "--overwrite"]);
    fail(resume("--seed 1"), &["another configuration", "seed is 0 there and 1 here"]);
    fail(resume("--layers 2"), &["another configuration", "layer_decay"]);
    fail(
        resume("--loss cross-entropy"),
        &["another configuration", "loss is \"squared\" there and \"cross-entropy\" here"],
    );
    fail(resume("--ldam 0.5"), &["another configuration", "ldam is 0.0 there and 0.5 here"]);
    fail(resume("--cdt 0.3"), &["another configuration", "cdt is 0.0 there and 0.3 here"]);
    fail(resume("--bias-decay 0.1"), &["another configuration", "bias_decay is 0.0 there and 0.1 here"]);
    fail(resume("--class-weights inverse"), &["another configuration", "class_weights"]);
    // The default decays, of another loss.
    fail(
        resume("--loss-convention mean"),
        &["another configuration", "layer_decay is [0.0005] there and [0.0025] here"],
    );
    fail(resume("--feature-convention mean"), &["another configuration", "feature_decay is 0.00001 there"]);
    fail(resume("--no-feature-decay"), &["another configuration", "feature_decay is 0.00001 there and null here"]);
    let file = folder.path().join("checkpoint.safetensors");
    let bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 1;
    let mut damaged = bytes.clone();
    damaged[last] ^= 1;
    for (bytes, words) in
        [(&bytes[..last], "damaged"), (&bytes[..100], "damaged"), (&damaged[..], "checksum"), (b"", "damaged")]
    {
        std::fs::write(&file, bytes).unwrap();
        fail(resume(""), &["--resume", "checkpoint.safetensors", words]);
    }
    std::fs::write(&file, &bytes).unwrap();
    std::fs::write(folder.path().join("metrics.csv"), "epoch,loss\n0,1\n").unwrap();
    fail(resume(""), &["--resume", "metrics.csv", "first line"]);
    succeed(program(&format!("{SMALL} --overwrite"), folder.path()));
    assert_eq!(metrics(folder.path()).len(), 4);
}

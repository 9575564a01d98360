//! The experiments of `results`, small.

mod program;

use std::{path::Path, process::Command};

use program::{fail, program, succeed};

const TINY: &str = "--width 16 --epochs 2 --seeds 1";

/// A column of the summary, for every network.
fn column(folder: &Path, title: &str) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("summary.csv")).unwrap();
    let mut lines = text.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let titles = lines.next().unwrap();
    let at = titles.iter().position(|name| *name == title).unwrap_or_else(|| panic!("no {title} in {text}"));
    lines.map(|line| line[at].to_owned()).collect()
}

#[test]
fn every_claim_is_reproduced() {
    for (claim, networks, title) in [
        ("a", &["cross-entropy"][..], "gap"),
        ("b", &["below", "beyond"], "predicted_30x2"),
        ("c", &["none", "inverse-root", "inverse"], "found_30x2"),
        ("d", &["squared", "cross-entropy"], "lower_bound"),
        ("d-open", &["one-large"], "lower_bound"),
        ("e", &["sgd", "adamw"], "misfit_1"),
        ("f", &["three-layers"], "minimum_nearby"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let text = succeed(program(&format!("reproduce {claim} {TINY}"), folder.path())).stdout;
        let text = String::from_utf8(text).unwrap();
        let (predicted, found) = text.split_once("Found:").unwrap();
        for name in networks {
            assert!(predicted.contains(name) && found.contains(name), "{name} is not in {text}");
            let run = folder.path().join(format!("{name}-seed0"));
            assert!(std::fs::read_to_string(run.join("report.txt")).unwrap().contains("reached (network)"));
            assert!(run.join("metrics.csv").exists() && run.join("training.svg").exists());
        }
        assert_eq!(column(folder.path(), "network"), networks);
        assert!(column(folder.path(), title).iter().all(|number| number.parse::<f64>().is_ok()));
        let figure = std::fs::read_to_string(folder.path().join("claim.svg")).unwrap();
        assert!(figure.starts_with("<svg") && !figure.contains("NaN"));
    }
}

/// Before training, the theory says whom weights keep apart: digits have two classes each of 150, 120, 90, 60 and 30.
#[test]
fn fates_are_predicted_before_training() {
    let folder = tempfile::tempdir().unwrap();
    succeed(program(&format!("reproduce c {TINY}"), folder.path()));
    let coincident = |count: u32| -> Vec<bool> {
        let predicted = column(folder.path(), &format!("predicted_{count}x2"));
        // Siblings that share a classifier differ by rounding.
        predicted.iter().map(|number| number.parse::<f64>().unwrap() < 1e-9).collect()
    };
    assert_eq!(coincident(150), [false, false, true]);
    assert_eq!(coincident(90), [false, false, false]);
    assert_eq!(coincident(30), [true, false, false]);
}

/// The interval of the minimum, where it is not known.
#[test]
fn an_open_minimum_is_an_interval() {
    let folder = tempfile::tempdir().unwrap();
    let text = succeed(program(&format!("reproduce d-open {TINY}"), folder.path())).stdout;
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("2.185644e-2 to 2.459282e-2"), "{text}");
    let number = |title: &str| column(folder.path(), title)[0].parse::<f64>().unwrap();
    assert!(number("lower_bound") < 0.9 * number("minimum"));
}

#[test]
fn a_claim_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let run = |epochs: &str| {
        succeed(program(&format!("reproduce b --width 16 --seeds 2 {epochs}"), folder.path()));
        std::fs::read_to_string(folder.path().join("summary.csv")).unwrap()
    };
    let first = run("--epochs 2 --jobs 2");
    // All is there: nothing is trained again, and the reports keep their times.
    let report = || std::fs::read_to_string(folder.path().join("below-seed1/report.txt")).unwrap();
    let told = report();
    assert!(!told.contains("steps                0 in"), "{told}");
    assert_eq!(run("--epochs 2 --jobs 1"), first);
    assert_eq!(report(), told);
    assert_eq!(column(folder.path(), "seed"), ["0", "1", "0", "1"]);
    // A checkpoint of other epochs is of another run.
    fail(program("reproduce b --width 16 --seeds 2 --epochs 3", folder.path()), &["below, seed 0", "epochs is 2"]);
}

/// a and d have networks of the same name, of other flags.
#[test]
fn claims_without_a_folder_do_not_share_one() {
    let folder = tempfile::tempdir().unwrap();
    for claim in ["a", "b", "c", "d", "d-open", "e", "f"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_imbalanced-mlp"));
        command.args(["reproduce", claim]).args(TINY.split_whitespace()).current_dir(folder.path());
        succeed(command);
        assert!(folder.path().join("target/reproduce").join(claim).join("summary.csv").exists());
    }
    let mut help = Command::new(env!("CARGO_BIN_EXE_imbalanced-mlp"));
    help.args(["reproduce", "--help"]);
    assert!(String::from_utf8(succeed(help).stdout).unwrap().contains("target/reproduce/<CLAIM>"));
}

#[test]
fn errors_of_a_claim_name_the_flag() {
    let folder = tempfile::tempdir().unwrap();
    for (flags, words) in [
        ("reproduce g", &["g", "possible values"][..]),
        ("reproduce a --seeds 0", &["--seeds", "at least 1"]),
        ("reproduce a --jobs 0", &["--jobs", "at least 1"]),
        ("reproduce a --epochs 0", &["--epochs", "at least 1"]),
        ("reproduce a --interval 0", &["--interval", "at least 1"]),
        ("reproduce a --learning-rate 0", &["--learning-rate", "positive"]),
        ("reproduce a --width 0", &["--width", "at least 1"]),
        ("reproduce b --data idx nowhere nothing", &["nowhere"]),
        ("reproduce d-open --data idx nowhere nothing", &["--data", "cifar10"]),
        ("reproduce b --data letters", &["--data letters", "digits"]),
    ] {
        fail(program(flags, folder.path()), words);
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

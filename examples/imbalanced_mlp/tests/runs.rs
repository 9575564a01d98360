//! Whole runs on the digits that come with the program.

mod program;

use program::{SMALL, fail, metrics, program, succeed};

#[test]
fn a_small_run_says_what_it_did() {
    let folder = tempfile::tempdir().unwrap();
    let full = SMALL.replace("--batch 16", "--batch full --no-bias --layers 2");
    for (name, flags) in [("biased", SMALL), ("free", &full)] {
        let out = folder.path().join(name);
        let output = succeed(program(flags, &out));
        let text = String::from_utf8(output.stdout).unwrap();
        for word in ["minimum (theory)", "reached (network)", "ms a step", "NC1", "alignment", "accuracy"] {
            assert!(text.contains(word), "{word:?} is not in {text}");
        }
        let rows = metrics(&out);
        let epochs: Vec<_> = rows.iter().map(|row| row.split(',').next().unwrap()).collect();
        assert_eq!(epochs, ["0", "2", "4", "6"]);
        let number = |row: usize, column: usize| rows[row].split(',').nth(column).unwrap().parse::<f64>().unwrap();
        // Training has lowered the objective, and it is above the minimum.
        assert!(number(3, 1) < number(0, 1) && number(3, 2) > 0.0);
        for figure in ["training.svg", "geometry.svg"] {
            let svg = std::fs::read_to_string(out.join(figure)).unwrap();
            assert!(svg.starts_with("<svg") && !svg.contains("NaN"));
        }
    }
}

#[test]
fn one_seed_is_one_run_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let run = |name: &str, flags: &str| {
        succeed(program(&format!("{SMALL} {flags}"), &folder.path().join(name)));
        metrics(&folder.path().join(name))
    };
    let one = run("one", "--threads 1");
    assert_eq!(one, run("two", "--threads 2"));
    assert_ne!(one, run("other", "--seed 1"));
}

#[test]
fn a_learning_rate_that_diverges_is_noticed_and_the_last_good_state_kept() {
    let folder = tempfile::tempdir().unwrap();
    fail(
        program(&format!("{SMALL} --learning-rate 1e6"), folder.path()),
        &["epoch 2", "diverged", "epoch 0 is kept", "--learning-rate below 1e6"],
    );
    assert_eq!(metrics(folder.path()).len(), 1);
    assert!(folder.path().join("checkpoint.safetensors").exists());
}

#[test]
fn errors_name_flags_out_of_range() {
    let folder = tempfile::tempdir().unwrap();
    for (flags, words) in [
        ("--width 0", &["--width", "at least 1"][..]),
        ("--width 100000000", &["--width 100000000", "accepted"]),
        ("--width 18446744073709551615", &["--width 18446744073709551615", "accepted"]),
        ("--layers 0", &["--layers", "1 to 1000"]),
        ("--layers 3 --layer-decay 1e-3,1e-3", &["--layer-decay", "2 values", "--layers 3"]),
        ("--layer-decay 0", &["--layer-decay", "decay of", "0"]),
        ("--layer-decay nan", &["--layer-decay", "NaN"]),
        ("--feature-decay -1", &["--feature-decay", "-1"]),
        ("--learning-rate 0", &["--learning-rate", "positive"]),
        ("--learning-rate nan", &["--learning-rate", "positive"]),
        ("--drop-at 0.5,1.5", &["--drop-at", "1.5", "between 0 and 1"]),
        ("--epochs 0", &["--epochs", "at least 1"]),
        ("--interval 0", &["--interval", "at least 1"]),
        ("--threads 0", &["--threads", "at least 1"]),
        ("--batch 0", &["--batch", "`full`"]),
        ("--batch half", &["--batch", "half", "`full`"]),
        ("--counts 5,5y", &["--counts", "entry 1", "5y"]),
    ] {
        fail(program(flags, folder.path()), words);
    }
    assert!(!folder.path().join("metrics.csv").exists());
}

#[test]
fn a_folder_that_cannot_be_written_is_reported_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    fail(program(SMALL, &file), &["--out", "file"]);
    fail(program(SMALL, &file.join("below")), &["--out", "below"]);
    // Where a file of the results cannot be replaced.
    std::fs::create_dir_all(folder.path().join("out/metrics.csv")).unwrap();
    fail(program(&format!("{SMALL} --overwrite"), &folder.path().join("out")), &["--out", "metrics.csv"]);
    // And nothing is left of the attempt.
    assert_eq!(std::fs::read_dir(folder.path().join("out")).unwrap().count(), 1);
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_standard_error_leaves_the_exit_status() {
    let folder = tempfile::tempdir().unwrap();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = program("--width 0", folder.path()).stderr(full).status().unwrap();
    assert_eq!(status.code(), Some(2));
}

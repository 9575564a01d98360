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
        for word in [
            "minimum (theory)",
            "reached (network)",
            "ms a step",
            "NC1",
            "alignment",
            "accuracy",
            "implied decay",
            "the theory predicted a minimum of",
            "The network is not there yet",
            "Own class minus sibling, 2 classes of 12: predicted 0.",
        ] {
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
fn every_loss_is_trained_and_compared_with_its_own_theory() {
    let folder = tempfile::tempdir().unwrap();
    for (name, flags, words) in [
        ("entropy", "--loss cross-entropy", &["proved to", "W_1", "trained with 1e-5"][..]),
        ("weights", "--loss cross-entropy --class-weights inverse-root", &["class weights", "weight 0.7"]),
        ("adjusted", "--label-smoothing 0.1 --logit-adjustment 1", &["label smoothing 0.1, logit adjustment 1"]),
        ("margins", "--loss cross-entropy --ldam 0.5", &["margins 0.5 n^(-1/4)", "proved to"]),
        ("temperatures", "--loss cross-entropy --cdt 0.3", &["temperatures (n/n_max)^0.3", "proved to"]),
        ("bias", "--loss cross-entropy --bias-decay 0.1", &["features 1e-5, bias 1e-1", "proved to"]),
        ("relu", "--relu-features", &["features after a ReLU", "orthogonal class means"]),
        ("deep", "--loss cross-entropy --layers 2", &["of 32 ended", "A descent on free", "minimum nearby"]),
        ("free", "--loss cross-entropy --no-feature-decay", &["trained with none", ", without the penalty"]),
        ("ramp", "--loss cross-entropy --decay-ramp 0.5", &["growing from a tenth over 50 % of the run"]),
        (
            "sgd",
            "--loss cross-entropy --optimizer sgd --weight-decay 1e-2",
            &["by the optimizer", "epochs of sgd", ", without penalties", ", trained with 1e-2"],
        ),
        (
            "adamw",
            "--loss cross-entropy --optimizer adamw --weight-decay 0.5",
            &["all weights and biases 5e-1", "trained with none: adamw shrinks weights"],
        ),
    ] {
        let out = folder.path().join(name);
        let text = String::from_utf8(succeed(program(&format!("{SMALL} {flags}"), &out)).stdout).unwrap();
        for word in words {
            assert!(text.contains(word), "{name}: {word:?} is not in {text}");
        }
        let file = std::fs::read_to_string(out.join("metrics.csv")).unwrap();
        let lines: Vec<Vec<&str>> = file.lines().map(|line| line.split(',').collect()).collect();
        let column = |title: &str| lines[0].iter().position(|name| *name == title).unwrap();
        assert!(lines.iter().all(|line| line.len() == lines[0].len()));
        // Groups of 12, 8 and 4 samples: what they are given adds up to no more than 1 for probabilities.
        for group in ["12x2", "8x2", "4x6"] {
            let number = |title: &str| lines[4][column(&format!("{title}_{group}"))].parse::<f64>();
            let (own, sibling) = (number("own").unwrap(), number("sibling").unwrap());
            assert!(!flags.contains("entropy") || (own > 0.0 && sibling > 0.0 && own + sibling < 1.0), "{name}");
            // The law is that of one layer, with features of any sign. Without their penalty it needs the decay that they
            // imply, which is not positive this early.
            assert!(
                ["free", "sgd", "adamw"].contains(&name) || number("law").is_ok() == (name != "relu" && name != "deep"),
                "{name}"
            );
        }
        let implied = lines[4][column("implied_1")].parse::<f64>().unwrap();
        assert!(implied.is_finite() && lines[4][column("misfit_1")].parse::<f64>().unwrap() <= 1.0);
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
        ("--loss hinge", &["--loss", "hinge", "squared, cross-entropy"]),
        ("--class-weights twice", &["--class-weights", "entry 0", "twice", "inverse-root"]),
        ("--class-weights 1,2", &["--class-weights", "2 given", "10 classes"]),
        ("--class-weights 1x9,0", &["--class-weights", "class 9", "positive"]),
        ("--class-weights effective:1", &["--class-weights", "beta", "0 <= beta < 1"]),
        // A rule has no weight for a class without samples.
        ("--counts 20,0,8x8 --class-weights inverse", &["--counts", "class 1", "0 samples"]),
        ("--weight-convention mean", &["--weight-convention", "mean", "samples, weights"]),
        ("--loss-convention median", &["--loss-convention", "median", "mean, half-mean, sum, half-sum"]),
        ("--feature-convention sum", &["--feature-convention", "sum", "total, mean"]),
        (
            "--loss cross-entropy --loss-convention mean",
            &["--loss-convention: mean given, which scales the squared error", "leave --loss-convention out"],
        ),
        ("--loss-convention mean --layer-decay -1", &["--layer-decay", "-1"]),
        ("--loss-convention mean --layer-decay 0", &["--layer-decay", "0"]),
        ("--loss-convention mean --feature-decay inf", &["--feature-decay", "inf"]),
        ("--feature-convention mean --feature-decay -1", &["--feature-decay", "-1"]),
        ("--loss-convention sum --bias-decay nan", &["--bias-decay", "NaN"]),
        ("--loss-convention mean --weight-decay 1e-3", &["--loss-convention", "--weight-decay"]),
        ("--feature-convention mean --weight-decay 1e-3", &["--feature-convention", "--weight-decay"]),
        ("--feature-convention mean --no-feature-decay", &["--feature-convention", "--no-feature-decay"]),
        ("--label-smoothing 1", &["--label-smoothing", "1"]),
        ("--label-smoothing nan", &["--label-smoothing", "NaN"]),
        ("--logit-adjustment inf", &["--logit-adjustment", "class 0", "finite"]),
        ("--ldam -1", &["--ldam", "margins: -", "class 0"]),
        ("--ldam nan", &["--ldam", "NaN"]),
        ("--cdt 10000", &["--cdt", "scales of logits: 0.0 given for class"]),
        ("--cdt -10000", &["--cdt", "inf given for class"]),
        ("--bias-decay -1", &["--bias-decay", "-1"]),
        ("--bias-decay inf", &["--bias-decay", "inf"]),
        ("--bias-decay 1 --no-bias", &["--bias-decay", "--no-bias"]),
        ("--bias-decay 1 --weight-decay 1e-3", &["--bias-decay", "--weight-decay"]),
        ("--optimizer lion", &["--optimizer", "lion", "adam, adamw and sgd"]),
        ("--optimizer adamw", &["--optimizer adamw", "--weight-decay"]),
        ("--weight-decay 0", &["--weight-decay", "positive"]),
        ("--weight-decay nan", &["--weight-decay", "NaN"]),
        ("--weight-decay 1e-3 --layer-decay 1e-3", &["--weight-decay", "--layer-decay"]),
        ("--weight-decay 1e-3 --loss cross-entropy --layers 2", &["--weight-decay", "--layers 2"]),
        ("--decay-ramp 1", &["--decay-ramp", "SHARE < 1"]),
        ("--decay-ramp -0.5", &["--decay-ramp", "0 <= SHARE"]),
        ("--decay-ramp 0.5 --weight-decay 1e-3", &["--decay-ramp", "--weight-decay"]),
        ("--no-feature-decay --feature-decay 1e-4", &["--no-feature-decay", "--feature-decay"]),
        ("--no-feature-decay --layers 2 --loss cross-entropy", &["--no-feature-decay", "--layers 2"]),
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

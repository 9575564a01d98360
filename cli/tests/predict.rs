//! `neural-collapse predict`, as a person and as a script would call it.

mod program;

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use neural_collapse::{ClassCounts, Layer, Ufm, theory::Goal};
use program::program;
use serde_json::Value;

fn predict(arguments: &str) -> Command {
    program("predict", arguments)
}

fn run(arguments: &str) -> Output {
    predict(arguments).output().unwrap()
}

fn json(arguments: &str) -> Value {
    let output = run(arguments);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn json_numbers_are_the_library_s_to_the_last_digit() {
    let object = json("--counts 500x2,400,20 --widths 64,32 --layer-decay 1e-3,2e-3 --feature-decay 1e-4 --json");
    let layers = [Layer::new(64, 1e-3), Layer::new(32, 2e-3)];
    let minimizer =
        Ufm::new(ClassCounts::new([500, 500, 400, 20]).unwrap(), layers, 1e-4).unwrap().minimizer().unwrap();
    let keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
    let model = ["classes", "samples", "layers", "bias", "loss", "objective", "lower_bound", "gap", "rank", "unique"];
    assert_eq!(keys, [&model[..], &["directions", "limits", "angle", "groups", "clusters"]].concat());
    assert_eq!((&object["classes"], &object["samples"], &object["layers"]), (&4.into(), &1420.into(), &2.into()));
    assert_eq!(
        (&object["bias"], &object["unique"], &object["rank"]),
        (&true.into(), &true.into(), &minimizer.rank().into())
    );
    assert_eq!(object["objective"].as_f64(), Some(minimizer.objective()));
    let directions = object["directions"].as_array().unwrap();
    assert_eq!(directions.len(), minimizer.directions().len());
    let mut last = f64::INFINITY;
    for (direction, expected) in directions.iter().zip(minimizer.directions()) {
        let number = |key: &str| direction[key].as_f64().unwrap();
        assert!(number("target") <= last);
        last = number("target");
        assert_eq!(direction["multiplicity"], expected.multiplicity);
        assert_eq!(number("target"), expected.target);
        assert_eq!(number("shrinkage"), expected.shrinkage);
        assert_eq!(number("prediction"), expected.prediction);
        assert_eq!(number("product"), expected.product);
        assert_eq!(number("feature"), expected.feature);
        let layers: Vec<f64> = direction["layers"].as_array().unwrap().iter().map(|w| w.as_f64().unwrap()).collect();
        assert_eq!(layers, expected.layers);
    }
    // The zero direction is listed, and is collapsed.
    assert_eq!((last, directions.last().unwrap()["shrinkage"].as_f64()), (0.0, Some(1.0)));
}

/// Fates, norms, angles and critical decays: those of the library, group by group.
#[test]
fn json_has_every_group_and_limit() {
    let model = "--counts 500x2,400,21,20 --widths 64,32 --layer-decay 8e-3,6e-3 --feature-decay 1e-3 --angle 2";
    let object = json(&format!("{model} --json"));
    let classes = ClassCounts::new([500, 500, 400, 21, 20]).unwrap();
    let layers = [Layer::new(64, 8e-3), Layer::new(32, 6e-3)];
    let minimizer = Ufm::new(classes.clone(), layers, 1e-3).unwrap().minimizer().unwrap();
    let geometry = minimizer.geometry().unwrap();
    let groups = object["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 4);
    let mut fates = Vec::new();
    for (r, (object, group)) in groups.iter().zip(classes.groups()).enumerate() {
        let class = group.classes[0];
        assert_eq!((&object["count"], &object["classes"]), (&group.count.into(), &group.multiplicity().into()));
        assert_eq!(object["first_class"], class);
        assert_eq!(object["norm"].as_f64(), geometry.classifiers().norm(class));
        let nearest = geometry.nearest(class).unwrap();
        assert_eq!(object["nearest"]["class"], nearest.class);
        assert_eq!(object["nearest"]["count"], classes.counts()[nearest.class]);
        assert_eq!(object["nearest"]["degrees"].as_f64(), Some(nearest.angle.to_degrees()));
        assert_eq!(object["merged"], nearest.angle <= 2_f64.to_radians());
        assert_eq!(object["coincidence_scale"].as_f64(), minimizer.coincidence_scale(r).unwrap().value());
        assert_eq!(object["vanishing_scale"].as_f64(), minimizer.vanishing_scale(r).ok());
        fates.push(object["fate"].as_str().unwrap());
    }
    assert_eq!(fates, ["distinct", "single", "single", "single"]);
    assert_eq!(object["clusters"], serde_json::json!([{ "classes": 3, "counts": [400, 21, 20] }]));
    let (limits, goal) = (&object["limits"], Goal::AllDirections);
    assert_eq!(
        (&limits["kept"], limits["scale"].as_f64()),
        (&"below".into(), minimizer.largest_scale(goal).unwrap().value())
    );
    assert_eq!(limits["feature_decay"].as_f64(), minimizer.largest_feature_decay(goal).unwrap().value());
    assert_eq!(limits["layer_decays"][1].as_f64(), minimizer.largest_layer_decay(goal, 1).unwrap().value());
    // What is infinite, is not there or is open is null.
    let rest = "--layer-decay 1e-3 --feature-decay 1e-3 --json";
    let one = json(&format!("--counts 9 --widths 4 {rest}"));
    assert_eq!((&one["limits"]["kept"], &one["limits"]["scale"]), (&"always".into(), &Value::Null));
    assert_eq!((&one["groups"][0]["fate"], &one["groups"][0]["nearest"]), (&"vanished".into(), &Value::Null));
    let cut = json(&format!("--counts 50x2,20 --widths 1 --no-bias {rest}"));
    assert_eq!((&cut["limits"]["kept"], &cut["clusters"]), (&"never".into(), &Value::Null));
    assert_eq!((&cut["groups"][0]["norm"], &cut["groups"][0]["merged"]), (&Value::Null, &Value::Null));
}

/// 201 distinct counts: the minority, at the end, is shown, and every angle is.
#[test]
fn long_tails_are_shown_from_both_ends() {
    let counts: Vec<String> = (0..201).map(|k| (5000.0 * 0.98_f64.powi(k)).floor().to_string()).collect();
    let model = format!("--counts {} --widths 512 --layer-decay 1e-4 --feature-decay 1e-4", counts.join(","));
    let table = String::from_utf8(run(&model).stdout).unwrap();
    let groups: Vec<_> = table.lines().skip_while(|line| !line.contains("nearest angle")).skip(1).collect();
    assert_eq!(groups.len(), 61, "{table}");
    assert!(groups[0].contains(" 5000 ") && groups[60].contains(" 87 "), "{table}");
    assert_eq!(groups[30].trim(), "... 141 more between, all of them with --json");
    assert!(groups.iter().enumerate().all(|(i, row)| i == 30 || row.contains('°')), "{table}");
    assert!(groups[60].ends_with("one, with no other of its count, within 1° of another"), "{table}");
    assert!(table.contains("... 141 more between") && table.contains("classifiers in chains of steps within 1°: "));
    let object = json(&format!("{model} --json"));
    let groups = object["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 201);
    assert!(groups.iter().all(|group| group["nearest"]["degrees"].is_number() && group["fate"] == "single"));
    assert_eq!((&groups[0]["merged"], &groups[200]["merged"]), (&false.into(), &true.into()));
}

#[test]
fn decays_are_printed_as_they_were_meant() {
    // 0.039/(2/10) is 1.9499999999999998e-1 in double precision.
    let flags = "--counts 9x10 --widths 16 --layer-decay 0.039 --loss-convention mean --feature-decay 1e-3";
    let table = String::from_utf8(run(flags).stdout).unwrap();
    assert!(table.contains("layers 0.195, features 5e-3\n"), "{table}");
}

#[test]
fn single_values_serve_all_layers() {
    let object = json("--counts 9,5 --widths 8 --layer-decay 1e-3 --layers 3 --feature-decay 1e-4 --no-bias --json");
    assert_eq!((&object["layers"], &object["bias"]), (&3.into(), &false.into()));
    assert_eq!(object["directions"][0]["layers"].as_array().unwrap().len(), 3);
    let longer = json("--counts 9,5 --widths 8,7 --layer-decay 1e-3 --feature-decay 1e-4 --json");
    assert_eq!(longer["layers"], 2);
}

#[test]
fn decays_are_those_of_the_loss_that_is_named() {
    let model = "--counts 9,5,2 --widths 8 --json";
    let theory = json(&format!("{model} --layer-decay 3e-3 --feature-decay 6e-4"));
    // MSELoss for three classes: α = 2/3; 16 samples.
    let mean = "--layer-decay 2e-3 --loss-convention mean --feature-decay 6.4e-3 --feature-convention mean";
    let mean = json(&format!("{model} {mean}"));
    let (ours, theirs) = (mean["objective"].as_f64().unwrap(), theory["objective"].as_f64().unwrap());
    // Decays that round twice.
    assert!((ours / theirs - 1.0).abs() <= 8.0 * f64::EPSILON, "{ours} {theirs}");
}

#[test]
fn counts_come_from_files_and_from_standard_input() {
    let expected = json("--counts 9x3,5 --widths 8 --layer-decay 1e-3 --feature-decay 1e-4 --json");
    let path = std::env::temp_dir().join(format!("neural-collapse-counts-{}", std::process::id()));
    std::fs::write(&path, "9\n9, 9\n5\n").unwrap();
    let rest = "--widths 8 --layer-decay 1e-3 --feature-decay 1e-4 --json";
    let from_file = json(&format!("--counts-file {} {rest}", path.display()));
    std::fs::remove_file(&path).unwrap();
    assert_eq!(from_file, expected);

    let mut child =
        predict(&format!("--counts-file - {rest}")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"9x3 5").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), expected);
}

#[test]
fn a_million_classes_are_predicted_too() {
    let object = json("--counts 1x999999,1000 --widths 2000000 --layer-decay 1e-9 --feature-decay 1e-9 --json");
    let multiplicities = object["directions"].as_array().unwrap().iter().map(|d| d["multiplicity"].as_u64().unwrap());
    assert_eq!(multiplicities.sum::<u64>(), 1_000_000);
}

#[test]
fn mistakes_are_explained() {
    let good = "--widths 8 --layer-decay 1e-3 --feature-decay 1e-4";
    for (arguments, explanation) in [
        (format!("--counts 5,x {good}"), "entry 1"),
        (format!("--counts 5,0 {good}"), "class 1"),
        (format!("--counts , {good}"), "entry 0"),
        (format!("--counts 5,,3 {good}"), "--counts: class counts: entry 1"),
        (format!("--counts 5x9007199254740993 {good}"), "memory"),
        (format!("--counts-file /no/such/file {good}"), "/no/such/file"),
        (format!("--counts-file / {good}"), "directory"),
        (good.to_owned(), "--counts"),
        (format!("--counts 5 --counts-file - {good}"), "cannot be used"),
        ("--counts 5,4 --widths 0 --layer-decay 1e-3 --feature-decay 1e-4".into(), "d_1"),
        ("--counts 5,4 --widths x --layer-decay 1e-3 --feature-decay 1e-4".into(), "--widths"),
        ("--counts 5,4 --widths 8 --layer-decay 0 --feature-decay 1e-4".into(), "W_1"),
        ("--counts 5,4 --widths 8 --layer-decay nan --feature-decay 1e-4".into(), "NaN"),
        ("--counts 5,4 --widths 8 --layer-decay 1e-3 --feature-decay inf".into(), "inf"),
        ("--counts 5,4 --widths 8 --layer-decay 1e-3 --feature-decay=-1".into(), "-1.0"),
        ("--counts 5,4 --widths 8 --layer-decay -1e-3 --feature-decay 1".into(), "--layer-decay: weight decay: -0.001"),
        ("--counts 5,4 --widths -8 --layer-decay 1e-3 --feature-decay 1".into(), "--widths"),
        (format!("--counts -5,4 {good}"), "-5"),
        (format!("--counts 5,4 {good} --angle -1"), "--angle: -1.0 given, 0 to 180"),
        (format!("--counts 5,4 {good} --angle nan"), "--angle: NaN given"),
        (format!("--counts 5,4 --layers 0 {good}"), "--layers: 0"),
        (format!("--counts 5,4 --layers 99999999999 {good}"), "--layers"),
        ("--counts 5,4 --widths 8,9,10 --layer-decay 1e-3,1e-3 --feature-decay 1e-4".into(), "--layer-decay: 2 values"),
        ("--counts 5,4 --widths 8,9 --layers 3 --layer-decay 1e-3 --feature-decay 1e-4".into(), "--widths: 2 values"),
    ] {
        let output = run(&arguments);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {message}");
        assert!(message.contains(explanation) && message.starts_with("error"), "{arguments}: {message}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn the_table_tells_of_minority_collapse_and_ties() {
    let table = |arguments| String::from_utf8(run(arguments).stdout).unwrap();
    let collapse = table("--counts 1500,600x5,50x20 --widths 512 --layer-decay 5e-3 --feature-decay 5e-4");
    // Norm 0.1287 and angle as the dense product of a minimizer has them.
    let last = "      20         50    0.128705          0.00°  one for all (minority collapse)";
    assert_eq!(collapse.lines().last(), Some(last), "{collapse}");
    assert!(collapse.contains("minimizer  unique"));
    // The smallest margin of all is that of the twenty, which have collapsed: 0.813116 of the decays, and its square.
    let limits = "no class collapses below 0.813116 times all decays together, 3.3058e-4 of the features";
    assert!(collapse.contains(limits), "{collapse}");
    let narrow = table("--counts 1500,600x5,50x20 --widths 6 --layer-decay 1e-5 --feature-decay 1e-5");
    assert!(narrow.ends_with("one for all (cut by the width)\n"), "{narrow}");
    let cut = table("--counts 50x2,20 --widths 1 --layer-decay 1e-3 --feature-decay 1e-3 --no-bias");
    assert!(cut.contains("the width cuts through equal targets"), "{cut}");
}

#[test]
fn a_closed_pipe_is_not_an_error() {
    // 100,000 directions are more than a pipe holds.
    let counts: Vec<String> = (1..=3000).map(|count| count.to_string()).collect();
    let arguments = "--counts-file - --widths 8 --layer-decay 1e-3 --feature-decay 1e-4 --json";
    let mut child =
        predict(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    child.stdin.take().unwrap().write_all(counts.join(" ").as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_disk_is_reported() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = program("predict", "--counts 3,2 --widths 4 --layer-decay 1e-3 --feature-decay 1e-3");
    let output = command.stdout(full).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.starts_with("error: standard output: ") && !message.contains("panicked"), "{message}");
}

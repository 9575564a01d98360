//! `neural-collapse descend`, as a person and as a script would call it.

mod program;

use program::program;
use serde_json::Value;

const MODEL: &str = "--counts 60x2,20,5 --widths 12 --layer-decay 5e-3 --feature-decay 1e-3";

fn json(arguments: &str) -> Value {
    let output = program("descend", &format!("{MODEL} --json {arguments}")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn every_method_says_what_it_did() {
    for (method, columns) in [("gd", 16), ("heavy-ball", 16), ("nesterov", 16), ("lbfgs", 16), ("adam", 145)] {
        let object = json(&format!("--method {method} --steps 5000 --threads 2"));
        let keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(
            keys,
            [
                "method",
                "steps",
                "evaluations",
                "columns",
                "seconds",
                "seconds_per_step",
                "objective",
                "optimum",
                "gap",
                "stop",
                "rank",
                "unique",
                "ending",
                "distance",
                "nc1",
                "nc2",
                "nc3",
                "trajectory"
            ]
        );
        assert_eq!((&object["method"], &object["columns"]), (&method.into(), &columns.into()));
        let number = |key: &str| object[key].as_f64().unwrap();
        assert_eq!(number("gap"), (number("objective") - number("optimum")) / number("optimum"));
        let steps = object["steps"].as_u64().unwrap();
        let trajectory = object["trajectory"].as_array().unwrap();
        assert!(trajectory.len() <= 1000 && trajectory.len() as u64 <= steps + 1);
        assert_eq!(trajectory[0]["step"], 0);
        assert_eq!(trajectory[trajectory.len() - 1]["step"], steps);
        if method != "adam" {
            assert_eq!(object["stop"], "gap");
        }
    }
    assert_eq!(json("--full --plain")["columns"], 145);
    assert_eq!(json("--collapsed")["columns"], 4);
    assert_eq!(json("--steps 0")["stop"], "step limit");
    assert_eq!(json("--step 1e9")["stop"], "diverged");
}

#[test]
fn step_limits_name_what_needs_fewer_steps() {
    let table = |flags: &str| {
        let output = program("descend", &format!("{MODEL} {flags}")).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    for (flags, advice) in [
        ("--steps 3", Some("the step limit came first: --method lbfgs or --collapsed needs fewer steps")),
        ("--steps 3 --scale 100", Some("--method lbfgs or --collapsed or a smaller --scale needs fewer steps")),
        ("--steps 3 --collapsed", Some("--method lbfgs needs fewer steps")),
        ("--steps 3 --collapsed --method lbfgs", Some("more --steps are needed")),
        ("", None),
    ] {
        let table = table(flags);
        assert_eq!(table.contains("the step limit came first"), advice.is_some(), "{flags}: {table}");
        assert!(advice.is_none_or(|advice| table.contains(advice)), "{flags}: {table}");
    }
}

#[test]
fn one_seed_is_one_run_on_any_number_of_threads() {
    let (one, two) = (json("--seed 7 --threads 1"), json("--seed 7 --threads 3"));
    assert_eq!((&one["objective"], &one["trajectory"]), (&two["objective"], &two["trajectory"]));
    assert_ne!(one["trajectory"][0], json("--seed 8")["trajectory"][0]);
}

#[test]
fn figures_are_written_whole() {
    let folder = std::env::temp_dir().join(format!("descend-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("descent.svg");
    let output = program("descend", &format!("{MODEL} --plot {}", path.display())).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("global minimum"));
    let figure = std::fs::read_to_string(&path).unwrap();
    assert!(figure.trim_end().ends_with("</svg>") && figure.contains("relative gap"));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1);

    // A folder in its place: an error, and nothing left of the attempt.
    let taken = folder.join("taken.svg");
    std::fs::create_dir(&taken).unwrap();
    let output = program("descend", &format!("{MODEL} --plot {}", taken.display())).output().unwrap();
    assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains("taken.svg"));
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 2);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn bad_flags_are_named() {
    for (flags, named) in [
        ("--threads 0", "--threads"),
        ("--threads 1000000", "--threads: 1000000 given, 1 to 1024 are accepted"),
        ("--step -1", "step size"),
        ("--step nan", "step size"),
        ("--gap -1", "gap tolerance"),
        ("--scale 0", "scale"),
        ("--method newton", "newton"),
        ("--plot figure.png", ".svg"),
        ("--plot /no/such/folder/figure.svg", "figure.svg"),
        ("--collapsed --full", "--full"),
    ] {
        let output = program("descend", &format!("{MODEL} {flags}")).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty(), "{flags}");
        assert!(message.contains(named) && !message.contains("panicked"), "{flags}: {message}");
    }
}

#[test]
#[cfg(unix)]
fn interrupts_end_with_the_result_so_far() {
    use std::process::{Command, Stdio};
    // Steps so short that the run would go on for hours.
    let arguments = format!("{MODEL} --json --step 1e-12 --gap 0 --steps 1000000000");
    let child = program("descend", &arguments).stdout(Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(output.status.success() && object["stop"] == "interrupted" && object["steps"].as_u64() > Some(0));
}

//! The examples, as a person would run them.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// `cargo test` puts the examples next to the folder of the test programs.
fn example(name: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let program: PathBuf = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is missing: run `cargo test`, which builds the examples", program.display());
    Command::new(program)
}

/// Lines are printed one by one: the first finds nobody.
#[test]
fn a_closed_pipe_is_not_an_error() {
    let mut command = example("theory_meets_descent");
    let mut child = command.args(["--width", "16"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
#[cfg(target_os = "linux")]
fn a_full_standard_error_leaves_the_exit_status() {
    for arguments in [["--layer-decay", "-1"], ["--no-such-flag", ""]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = example("theory_meets_descent").args(arguments).stderr(full).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}

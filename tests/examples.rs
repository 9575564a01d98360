//! The examples, as a person would run them.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
};

/// `cargo test` puts the examples beside the folder of the test programs.
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

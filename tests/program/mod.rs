//! The example programs, as a person and as a script would call them.

use std::{path::PathBuf, process::Command};

/// `cargo test` puts the example programs beside the folder of the test programs.
pub(crate) fn program(name: &str, arguments: &str) -> Command {
    let tests = std::env::current_exe().unwrap();
    let program: PathBuf = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(program.exists(), "{} is missing: run `cargo test`, which builds the examples", program.display());
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace());
    command
}

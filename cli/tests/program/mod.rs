//! The command, as a person and as a script would call it.

use std::process::Command;

/// `neural-collapse` with these words, split at spaces.
pub(crate) fn program(subcommand: &str, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neural-collapse"));
    command.arg(subcommand).args(arguments.split_whitespace());
    command
}

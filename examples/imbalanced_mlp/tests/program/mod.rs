//! The program, as a person or a script would call it.

// Every test program has its own use of this.
#![allow(dead_code)]

use std::{
    path::Path,
    process::{Command, Output},
};

/// A run so small that it takes seconds.
pub(crate) const SMALL: &str = "--counts 12x2,8x2,4x6 --width 16 --batch 16 --epochs 6 --interval 2";

/// The program with these words, its results in a folder.
pub(crate) fn program(arguments: &str, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_imbalanced-mlp"));
    command.args(arguments.split_whitespace()).arg("--out").arg(folder);
    command
}

/// Runs to the end.
pub(crate) fn succeed(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Runs into an error, which is one line and no panic, and has all of these words.
pub(crate) fn fail(mut command: Command, words: &[&str]) {
    let output = command.output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{message}");
    assert!(message.starts_with("error: ") && !message.contains("panicked"), "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in {message:?}");
    }
}

/// The rows of the metrics without the seconds, which no two runs share.
pub(crate) fn metrics(folder: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(folder.join("metrics.csv")).unwrap();
    text.lines().skip(1).map(|line| line.rsplit_once(',').unwrap().0.to_owned()).collect()
}

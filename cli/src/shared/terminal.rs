//! What a program says at its end, and how it ends.

use std::{
    io::{self, Write},
    process::ExitCode,
};

/// Prints the text, or what is wrong.
pub(crate) fn finish(text: Result<String, String>) -> ExitCode {
    let written = match text {
        Ok(text) => io::stdout().lock().write_all(text.as_bytes()),
        Err(message) => {
            complain(&message);
            return ExitCode::from(2);
        }
    };
    match written {
        // A reader that has seen enough, as in `predict | head`.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(&format!("standard output: {error}"));
            ExitCode::FAILURE
        }
        _ => ExitCode::SUCCESS,
    }
}

/// Says something that is good to know and not wrong.
pub(crate) fn note(message: &str) {
    writeln!(io::stderr(), "note: {message}").unwrap_or_default();
}

/// Says what is wrong; if standard error is full or closed, only the exit status does.
fn complain(message: &str) {
    writeln!(io::stderr(), "error: {message}").unwrap_or_default();
}

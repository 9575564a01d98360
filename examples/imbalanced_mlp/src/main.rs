//! Trains a network on imbalanced real data, and compares its last layers with what the theory predicts.
//!
//!     cargo run --release -p imbalanced-mlp

#![warn(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    io::{self, Write},
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, Result};
use clap::Parser;
use imbalanced_mlp::{
    flags::{Command, Flags},
    reproduce::reproduce,
    run::run,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let text = match main_with(&Flags::parse()) {
        Ok(text) => text,
        Err(error) => {
            complain(&format!("{error:#}"));
            return ExitCode::from(2);
        }
    };
    match io::stdout().lock().write_all(text.as_bytes()) {
        // A reader that has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("standard output: {error}"));
            ExitCode::FAILURE
        }
        Ok(()) => ExitCode::SUCCESS,
    }
}

/// Says what is wrong; if standard error is full or closed, only the exit status does.
fn complain(message: &str) {
    writeln!(io::stderr(), "error: {message}").unwrap_or_default();
}

fn main_with(flags: &Flags) -> Result<String> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = interrupted.clone();
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed)).context("Ctrl-C")?;
    match &flags.command {
        Some(Command::Reproduce(command)) => reproduce(command, &interrupted),
        None => run(flags, &interrupted),
    }
}

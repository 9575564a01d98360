//! For packagers: completions and the man page, made from the flags.

use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use crate::CommandLine;

/// Prints the completions of a shell.
///
///     neural-collapse completions bash > /etc/bash_completion.d/neural-collapse
#[derive(Args)]
pub(crate) struct Completions {
    shell: Shell,
}

/// Writes the man pages, one of the command and one a subcommand.
#[derive(Args)]
pub(crate) struct Man {
    /// Folder of the man pages
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    out: PathBuf,
}

pub(crate) fn completions(flags: &Completions) -> Result<String, String> {
    let mut text = Vec::new();
    generate(flags.shell, &mut CommandLine::command(), "neural-collapse", &mut text);
    String::from_utf8(text).map_err(|error| error.to_string())
}

pub(crate) fn man(flags: &Man) -> Result<String, String> {
    std::fs::create_dir_all(&flags.out)
        .and_then(|()| clap_mangen::generate_to(CommandLine::command(), &flags.out))
        .map_err(|error| format!("--out {}: {error}", flags.out.display()))?;
    Ok(String::new())
}

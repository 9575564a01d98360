//! The command `neural-collapse`: one folder a subcommand, and `shared` for what several of them do.

mod descend;
mod figures;
mod measure;
mod predict;
mod shared;
mod shell;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Where must the last layers of a classifier end, and has training got there?
///
/// When a classifier is trained past zero training error, its features shrink to the means of their classes and the last
/// layer lines up with these means: neural collapse. From class sizes and weight decays the theory says in closed form
/// where the last layers end, and which minority classes lose a classifier of their own.
#[derive(Parser)]
#[command(name = "neural-collapse", version, max_term_width = 100, subcommand_required = true)]
#[command(after_help = "Start here, with ten classes of 500 to 100 samples:
  neural-collapse predict --counts 500x2,400x2,300x2,200x2,100x2 --widths 512 --layer-decay 5e-3 --feature-decay 1e-4")]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Predict(predict::Flags),
    Descend(descend::Flags),
    Measure(measure::Flags),
    Figures(figures::Flags),
    #[command(hide = true)]
    Completions(shell::Completions),
    #[command(hide = true)]
    Man(shell::Man),
}

/// Exit codes: 0, or 2 for flags and files that are refused, or 1 if the output cannot be written.
fn main() -> ExitCode {
    shared::terminal::finish(match CommandLine::parse().command {
        Command::Predict(flags) => predict::run(&flags),
        Command::Descend(flags) => descend::run(&flags),
        Command::Measure(flags) => measure::run(&flags),
        Command::Figures(flags) => figures::run(&flags),
        Command::Completions(flags) => shell::completions(&flags),
        Command::Man(flags) => shell::man(&flags),
    })
}

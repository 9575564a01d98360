//! How far a run is.

use std::{
    fmt::Write,
    io::{self, IsTerminal},
};

use indicatif::{ProgressBar, ProgressState, ProgressStyle};

pub(super) fn progress_bar(total: u64, done: u64) -> ProgressBar {
    let bar = if io::stderr().is_terminal() { ProgressBar::new(total) } else { ProgressBar::hidden() };
    if let Ok(style) = ProgressStyle::with_template("{bar:40} {rate}, {eta} left, {msg}") {
        let rate = |state: &ProgressState, to: &mut dyn Write| {
            // Go on if the bar cannot be written.
            write!(to, "{:.1} steps a second", state.per_sec()).unwrap_or_default();
        };
        bar.set_style(style.with_key("rate", rate));
    }
    bar.set_position(done);
    bar.reset_eta();
    bar
}

//! Figures of what the theory says, and of descents that agree: what `docs/gallery.md` and `docs/cross-entropy.md` show.

mod losses;
mod panel;
mod subjects;

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::shared::svg_file;

/// Draws the figures of docs/gallery.md and docs/cross-entropy.md.
#[derive(Args)]
pub(crate) struct Flags {
    /// Folder of the figures, NAME.svg each
    #[arg(long, value_name = "FOLDER", default_value = "docs/gallery")]
    out: PathBuf,
    /// One figure alone
    #[arg(long, value_enum)]
    only: Option<Name>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Name {
    /// Norms and angles of classifiers as decay grows, for both profiles of the paper
    Decay,
    /// Norms and angles of classifiers as the imbalance grows
    Imbalance,
    /// Rank and prediction against decay, for 1, 2, 3 and 6 layers
    Staircase,
    /// Singular values of labels between the roots of neighboring counts
    Interlacing,
    /// The metrics of neural collapse along descents from a random start
    Trajectories,
    /// Angles and contrasts as decay grows, for squared loss and for cross-entropy
    Losses,
    /// The decays at which groups collapse, for weights from none to 1/n
    Weights,
}

pub(crate) fn run(flags: &Flags) -> Result<String, String> {
    std::fs::create_dir_all(&flags.out).map_err(|error| format!("--out {}: {error}", flags.out.display()))?;
    let mut written = String::new();
    for name in Name::value_variants().iter().filter(|name| flags.only.is_none_or(|only| only == **name)) {
        let panels = match name {
            Name::Decay => subjects::decay(),
            Name::Imbalance => subjects::imbalance(),
            Name::Staircase => subjects::staircase(),
            Name::Interlacing => subjects::interlacing(),
            Name::Trajectories => subjects::trajectories(),
            Name::Losses => losses::losses(),
            Name::Weights => losses::weights(),
        };
        let panels = panels.map_err(|error| error.to_string())?;
        let file = flags.out.join(format!("{name:?}.svg").to_lowercase());
        svg_file::check(&file)?;
        svg_file::write(&file, &panel::render(panels))?;
        written += &file.display().to_string();
        written += "\n";
    }
    Ok(written)
}

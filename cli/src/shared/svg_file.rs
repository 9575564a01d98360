//! Figures on disk: all of one, or the one that was there before.

use std::{io, path::Path};

/// Whether a figure can be there, before any work is done for it.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let wrong = if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) {
        "a name that ends in .svg is accepted"
    } else if !folder.is_dir() {
        "there is no such folder"
    } else if path.is_dir() {
        "this is a folder"
    } else {
        return Ok(());
    };
    Err(format!("--plot {}: {wrong}", path.display()))
}

/// Writes to a temporary file and renames it; where that fails nothing is left of it.
pub(crate) fn write(path: &Path, svg: &str) -> Result<(), String> {
    let temporary = path.with_extension("svg.part");
    let written = std::fs::write(&temporary, svg).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error: io::Error| {
        // It may never have been there.
        std::fs::remove_file(&temporary).unwrap_or_default();
        format!("--plot {}: {error}", path.display())
    })
}

//! Figures on disk: all of one, or the one that was there before.

use std::{io, path::Path};

/// Whether the name of a figure is one, before any work is done for it.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    if path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("svg")) {
        Ok(())
    } else {
        Err(format!("--plot {}: a name that ends in .svg is accepted", path.display()))
    }
}

/// Writes to a temporary file and renames it.
pub(crate) fn write(path: &Path, svg: &str) -> Result<(), String> {
    let failed = |error: io::Error| format!("--plot {}: {error}", path.display());
    let temporary = path.with_extension("svg.part");
    std::fs::write(&temporary, svg).map_err(failed)?;
    std::fs::rename(&temporary, path).map_err(failed)
}

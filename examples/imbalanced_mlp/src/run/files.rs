//! The files of a run.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::{flags::Flags, report};

/// The files of a run.
#[derive(Debug)]
pub(super) struct Files {
    pub(super) metrics: PathBuf,
    pub(super) checkpoint: PathBuf,
    pub(super) training: PathBuf,
    pub(super) geometry: PathBuf,
}

impl Files {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            metrics: folder.join("metrics.csv"),
            checkpoint: folder.join("checkpoint.safetensors"),
            training: folder.join("training.svg"),
            geometry: folder.join("geometry.svg"),
        }
    }

    pub(super) fn list(&self) -> String {
        let files = [&self.metrics, &self.training, &self.geometry, &self.checkpoint];
        report::table(&files.map(|file| ("written", file.display().to_string())))
    }
}

/// A folder that can be written to, and holds no run but one that is to go on or to be replaced.
pub(super) fn prepare(flags: &Flags, files: &Files) -> Result<()> {
    let folder = || format!("--out {}", flags.out.display());
    std::fs::create_dir_all(&flags.out).with_context(folder)?;
    let other = [&files.metrics, &files.checkpoint].into_iter().find(|file| file.exists());
    if let (Some(file), false, false) = (other, flags.resume, flags.overwrite) {
        bail!(
            "{}: there is a run in this folder already ({}); --resume goes on with it, --overwrite begins anew",
            folder(),
            file.display()
        );
    }
    Ok(())
}

//! CIFAR-10 in its official binary layout (Krizhevsky 2009): records of a label and 3 × 1024 pixels, red, green, blue.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use super::Images;

const CLASSES: u8 = 10;
const PIXELS: usize = 3 * 1024;
const RECORD: usize = 1 + PIXELS;

/// Files one after another; of a folder the five training batches, by name.
pub(super) fn load(paths: &[PathBuf]) -> Result<Images> {
    let mut images = Images {
        name: "cifar10".into(),
        inputs: PIXELS,
        channels: 3,
        pixels: Vec::new(),
        labels: Vec::new(),
        ordered: false,
    };
    for path in paths {
        let files = if path.is_dir() { batches(path)? } else { vec![path.clone()] };
        for file in files {
            append(&mut images, &file).with_context(|| format!("--data cifar10 {}", file.display()))?;
        }
    }
    Ok(images)
}

/// The training batches of a folder.
fn batches(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("--data cifar10 {}", folder.display());
    let mut files = Vec::new();
    for entry in folder.read_dir().with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name.starts_with("data_batch") && path.extension().is_some_and(|extension| extension == "bin") {
            files.push(path);
        }
    }
    files.sort();
    ensure!(!files.is_empty(), "{}: no file data_batch_*.bin in this folder", failed());
    Ok(files)
}

fn append(images: &mut Images, file: &Path) -> Result<()> {
    let bytes = std::fs::read(file)?;
    ensure!(!bytes.is_empty(), "the file is empty, records of {RECORD} bytes are accepted");
    if bytes.len() % RECORD != 0 {
        bail!(
            "{} bytes are {} records of {RECORD} bytes and {} bytes more: the file is cut short, or in another layout",
            bytes.len(),
            bytes.len() / RECORD,
            bytes.len() % RECORD
        );
    }
    for (index, record) in bytes.chunks_exact(RECORD).enumerate() {
        let label = record[0];
        ensure!(
            label < CLASSES,
            "record {index} (counted from 0) has label {label}, accepted are 0 to {}",
            CLASSES - 1
        );
        images.labels.push(usize::from(label));
        images.pixels.extend_from_slice(&record[1..]);
    }
    Ok(())
}

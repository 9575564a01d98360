//! Features of one file, or of several one after another.

use super::{Array, Batch, name};

/// Samples x width, over all files.
#[derive(Debug)]
pub(crate) struct Features {
    parts: Vec<Array>,
    samples: usize,
    width: usize,
}

/// Where a batch begins.
pub(crate) struct Place<'a> {
    /// Its file.
    pub(crate) array: &'a Array,
    /// Its first row in that file, and among all.
    pub(crate) row: usize,
    pub(crate) sample: usize,
}

impl Features {
    /// The files of the flag `--features` in order: all of one width.
    pub(crate) fn open(values: &[String]) -> Result<Self, String> {
        let parts = Array::open_all("--features", values)?;
        let (mut samples, mut width) = (0_usize, None);
        for array in &parts {
            let (rows, cols) = array.sides()?;
            if let Some(width) = width.filter(|&width| width != cols) {
                return Err(array.says(&format_args!("{cols} numbers a sample, {} has {width}", parts[0].name)));
            }
            width = Some(cols);
            samples = samples.checked_add(rows).ok_or_else(|| array.says(&"more samples than can be counted"))?;
        }
        Ok(Self { parts, samples, width: width.unwrap_or(0) })
    }

    pub(crate) fn samples(&self) -> usize {
        self.samples
    }

    /// Numbers a sample.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The name of the only file, or of the first of several.
    pub(crate) fn name(&self) -> String {
        name("--features", &self.parts)
    }

    /// Shows all samples in batches of at most `size`, file after file.
    pub(crate) fn batches(
        &self,
        size: usize,
        mut visit: impl FnMut(&Place<'_>, Batch<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut before = 0;
        for array in &self.parts {
            let (rows, _) = array.sides()?;
            array.batches(size, |row, batch| visit(&Place { array, row, sample: before + row }, batch))?;
            before += rows;
        }
        Ok(())
    }
}

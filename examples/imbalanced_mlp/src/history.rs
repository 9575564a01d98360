//! Measurements of a run, and the CSV file that they are appended to as they come.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::measure::Measurement;

const HEADER: &str = "epoch,objective,gap,nc1,nc2_classifier,nc2_features,nc3,alignment,accuracy,seconds";

/// A measurement and its epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Epochs done.
    pub epoch: f64,
    /// The numbers.
    pub measurement: Measurement,
    /// Seconds of training and measuring so far, whatever was interrupted between.
    pub seconds: f64,
}

/// All measurements of a run, in memory and in a file.
#[derive(Debug)]
pub struct History {
    /// By rising epoch.
    pub rows: Vec<Row>,
    path: PathBuf,
    file: File,
}

impl History {
    /// A file that begins with `rows`, whatever it was before: written under another name and renamed.
    ///
    /// # Errors
    ///
    /// Where the file cannot be written.
    pub fn create(path: &Path, rows: Vec<Row>) -> Result<Self> {
        let text = rows.iter().map(|row| format!("{}\n", line(row))).collect::<Vec<_>>().concat();
        write_whole(path, format!("{HEADER}\n{text}").as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).with_context(|| path.display().to_string())?;
        Ok(Self { rows, path: path.to_owned(), file })
    }

    /// The rows of a file.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read or has other columns. A last line without an end is left out: a run that was
    /// killed has not finished it.
    pub fn read(path: &Path) -> Result<Vec<Row>> {
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(name)?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut lines = whole.lines();
        ensure!(lines.next() == Some(HEADER), "{}: the first line is not {HEADER:?}", name());
        let numbered = lines.enumerate();
        numbered.map(|(i, line)| parse(line).with_context(|| format!("{}: line {}", name(), i + 2))).collect()
    }

    /// Adds a row to the file, and then here.
    ///
    /// # Errors
    ///
    /// Where the file cannot be written.
    pub fn append(&mut self, row: Row) -> Result<()> {
        writeln!(self.file, "{}", line(&row)).with_context(|| self.path.display().to_string())?;
        self.rows.push(row);
        Ok(())
    }
}

/// A file that is there as a whole or not at all: written under another name, and renamed; where that fails nothing is
/// left of it.
///
/// # Errors
///
/// Where it cannot be written.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let temporary = path.with_file_name(name);
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    };
    write()
        // The temporary file may never have been there.
        .inspect_err(|_| std::fs::remove_file(&temporary).unwrap_or_default())
        .with_context(|| path.display().to_string())
}

fn line(row: &Row) -> String {
    let m = &row.measurement;
    let metrics = [m.nc1, m.nc2_classifier, m.nc2_features, m.nc3, m.alignment];
    // The shortest text that reads back as the same number; nothing if there is none.
    let metrics = metrics.map(|metric| metric.map_or_else(String::new, |x| format!("{x:e}"))).join(",");
    let Measurement { objective, gap, accuracy, .. } = m;
    format!("{},{objective:e},{gap:e},{metrics},{accuracy},{:.3}", row.epoch, row.seconds)
}

fn parse(line: &str) -> Result<Row> {
    let fields: Vec<&str> = line.split(',').collect();
    let columns = HEADER.split(',').count();
    ensure!(fields.len() == columns, "{} fields, {columns} are accepted", fields.len());
    let metric = |i: usize| match fields[i] {
        "" => Ok(None),
        text => text.parse().map(Some).with_context(|| format!("{text:?} is not a number")),
    };
    let number = |i: usize| metric(i)?.context("a number is missing");
    let measurement = Measurement {
        objective: number(1)?,
        gap: number(2)?,
        nc1: metric(3)?,
        nc2_classifier: metric(4)?,
        nc2_features: metric(5)?,
        nc3: metric(6)?,
        alignment: metric(7)?,
        accuracy: number(8)?,
    };
    Ok(Row { epoch: number(0)?, measurement, seconds: number(9)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let measurement = Measurement {
            objective: 0.1,
            gap: 1.0 / 3.0,
            nc1: None,
            nc2_classifier: Some(1e-300),
            nc2_features: Some(0.5),
            nc3: Some(2.0),
            alignment: Some(0.25),
            accuracy: 0.125,
        };
        let row = |epoch| Row { epoch, measurement, seconds: 1.5 };
        let mut history = History::create(&path, vec![row(0.0)]).unwrap();
        history.append(row(10.0)).unwrap();
        assert_eq!(History::read(&path).unwrap(), history.rows);
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "20,1e-").unwrap();
        assert_eq!(History::read(&path).unwrap(), history.rows);
        std::fs::write(&path, format!("{HEADER}\n1,2\n")).unwrap();
        let message = format!("{:#}", History::read(&path).unwrap_err());
        assert!(message.ends_with("line 2: 2 fields, 10 are accepted"), "{message}");
    }
}

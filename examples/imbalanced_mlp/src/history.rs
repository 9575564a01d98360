//! Measurements of a run, and the CSV file that they are appended to as they come.

use std::{
    fs::{File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};

use crate::{
    groups::{Group, Probabilities},
    measure::Measurement,
};

/// The columns of every run. Those of its groups and layers follow, and the seconds.
const HEADER: &str = "epoch,objective,gap,nc1,nc2_classifier,nc2_features,nc3,alignment,accuracy";

/// The columns of a run's file: it depends on the groups of classes and on the layers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Columns {
    groups: Vec<String>,
    layers: usize,
}

impl Columns {
    /// For these groups of classes, and layers.
    #[must_use]
    pub fn new(groups: &[Group], layers: usize) -> Self {
        Self { groups: groups.iter().map(|group| group.name(groups)).collect(), layers }
    }

    fn header(&self) -> String {
        let groups = self.groups.iter().map(|name| format!(",own_{name},sibling_{name},law_{name}"));
        let blocks = (1..=self.layers).map(|l| l.to_string()).chain(["features".into()]);
        let implied = blocks.map(|name| format!(",implied_{name},misfit_{name}"));
        HEADER.to_owned() + &groups.chain(implied).collect::<String>() + ",seconds"
    }
}

/// A measurement and its epoch.
#[derive(Clone, Debug, PartialEq)]
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
    pub fn create(path: &Path, columns: &Columns, rows: Vec<Row>) -> Result<Self> {
        let text = rows.iter().map(|row| format!("{}\n", line(row))).collect::<Vec<_>>().concat();
        write_whole(path, format!("{}\n{text}", columns.header()).as_bytes())?;
        let file = OpenOptions::new().append(true).open(path).with_context(|| path.display().to_string())?;
        Ok(Self { rows, path: path.to_owned(), file })
    }

    /// The rows of a file.
    ///
    /// # Errors
    ///
    /// Where the file cannot be read or has other columns. A last line without an end is left out: a run that was
    /// killed has not finished it.
    pub fn read(path: &Path, columns: &Columns) -> Result<Vec<Row>> {
        let name = || path.display().to_string();
        let text = std::fs::read_to_string(path).with_context(name)?;
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        let mut lines = whole.lines();
        let header = columns.header();
        ensure!(lines.next() == Some(&header), "{}: the first line is not {header:?}", name());
        let numbered = lines.enumerate();
        numbered.map(|(i, line)| parse(line, columns).with_context(|| format!("{}: line {}", name(), i + 2))).collect()
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
    let metrics = [Some(m.objective), m.gap, m.nc1, m.nc2_classifier, m.nc2_features, m.nc3, m.alignment];
    let groups = m.groups.iter().zip(&m.laws).flat_map(|(group, &law)| [Some(group.own), group.sibling, law]);
    let implied = m.implied.iter().flat_map(|implied| [implied.map(|both| both.0), implied.map(|both| both.1)]);
    // The shortest text that reads back as the same number; nothing if there is none.
    let text = |number: Option<f64>| number.map_or_else(String::new, |x| format!("{x:e}"));
    let all = |numbers: &mut dyn Iterator<Item = Option<f64>>| numbers.map(text).collect::<Vec<_>>().join(",");
    let (metrics, rest) = (all(&mut metrics.into_iter()), all(&mut groups.chain(implied)));
    format!("{},{metrics},{},{rest},{:.3}", row.epoch, m.accuracy, row.seconds)
}

fn parse(line: &str, columns: &Columns) -> Result<Row> {
    let fields: Vec<&str> = line.split(',').collect();
    let expected = columns.header().split(',').count();
    ensure!(fields.len() == expected, "{} fields, {expected} are accepted", fields.len());
    let metric = |i: usize| match fields[i] {
        "" => Ok(None),
        text => text.parse().map(Some).with_context(|| format!("{text:?} is not a number")),
    };
    let number = |i: usize| metric(i)?.context("a number is missing");
    let first = HEADER.split(',').count();
    let implied = first + 3 * columns.groups.len();
    let at = |i: usize| (0..columns.groups.len()).map(move |g| first + 3 * g + i);
    let group = |i: usize| Ok(Probabilities { own: number(i)?, sibling: metric(i + 1)? });
    let decay = |i: usize| Ok(metric(i)?.zip(metric(i + 1)?));
    let measurement = Measurement {
        objective: number(1)?,
        gap: metric(2)?,
        nc1: metric(3)?,
        nc2_classifier: metric(4)?,
        nc2_features: metric(5)?,
        nc3: metric(6)?,
        alignment: metric(7)?,
        accuracy: number(8)?,
        groups: at(0).map(group).collect::<Result<_>>()?,
        laws: at(2).map(metric).collect::<Result<_>>()?,
        implied: (0..=columns.layers).map(|l| decay(implied + 2 * l)).collect::<Result<_>>()?,
    };
    Ok(Row { epoch: number(0)?, measurement, seconds: number(expected - 1)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_read_back_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.csv");
        let group = |count, classes| Group { count, weight: 1.0, classes };
        let columns = Columns::new(&[group(9, vec![1]), group(4, vec![0, 2])], 2);
        let measurement = Measurement {
            objective: 0.1,
            gap: Some(1.0 / 3.0),
            nc1: None,
            nc2_classifier: Some(1e-300),
            nc2_features: Some(0.5),
            nc3: Some(2.0),
            alignment: Some(0.25),
            accuracy: 0.125,
            groups: vec![
                Probabilities { own: 1.0 / 7.0, sibling: None },
                Probabilities { own: 0.25, sibling: Some(1e-9) },
            ],
            laws: vec![None, Some(0.5)],
            implied: vec![Some((5e-4, 0.1)), None, Some((-1e-5, 1.0))],
        };
        let row = |epoch| Row { epoch, measurement: measurement.clone(), seconds: 1.5 };
        let mut history = History::create(&path, &columns, vec![row(0.0)]).unwrap();
        history.append(row(10.0)).unwrap();
        assert_eq!(History::read(&path, &columns).unwrap(), history.rows);
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "20,1e-").unwrap();
        assert_eq!(History::read(&path, &columns).unwrap(), history.rows);
        assert!(columns.header().ends_with(
            "law_9x1,own_4x2,sibling_4x2,law_4x2,implied_1,misfit_1,implied_2,misfit_2,\
            implied_features,misfit_features,seconds"
        ));
        std::fs::write(&path, format!("{}\n1,2\n", columns.header())).unwrap();
        let message = format!("{:#}", History::read(&path, &columns).unwrap_err());
        assert!(message.ends_with("line 2: 2 fields, 22 are accepted"), "{message}");
    }
}

//! Counts as a list: separated by commas, spaces or line ends, under one line of header or none.

use csv::StringRecord;
use neural_collapse::ClassCounts;

use super::{
    Counts,
    number::{is_name, number, zero},
    suspicion::{Thousands, refuse_ids},
    table,
};

const WHICH_COLUMN: &str = "in a table, say which column has the counts, --counts-column NAME or INDEX (from 0)";

/// Entries and where they stand.
struct List {
    /// Counts, each with the number of its classes.
    entries: Vec<(u64, u64)>,
    /// The lines that have entries, each with the number of its entries.
    lines: Vec<(usize, usize)>,
    /// What holds numbers with commas together: words between spaces.
    commas: Thousands,
    /// What holds numbers with spaces together: lines.
    spaces: Thousands,
    has_commas: bool,
}

pub(crate) fn class_counts(text: &str) -> Result<ClassCounts, String> {
    let mut lines = lines(text).peekable();
    let header = lines.next_if(|(_, line)| is_header(line)).map(|(at, line)| (at, header_cells(line).len()));
    if let Some((at, columns @ 2..)) = header {
        return Err(format!("line {at} is a header of {columns} columns: {WHICH_COLUMN}"));
    }
    let mut list = List {
        entries: Vec::new(),
        lines: Vec::new(),
        commas: Thousands::new(','),
        spaces: Thousands::new(' '),
        has_commas: text.contains(','),
    };
    // Between quotes a comma does not separate.
    let quoted: String =
        lines.clone().filter(|(_, line)| line.contains('"')).flat_map(|(_, line)| [line, "\n"]).collect();
    let mut quoted = table::records(&quoted, b',');
    for (at, line) in lines {
        if line.contains('"') {
            let cells = quoted.next().map_or_else(|| Ok(StringRecord::new()), |(_, cells)| cells);
            list.read_cells(at, cells.map_err(|why| format!("line {at}: {why}"))?.iter())?;
        } else {
            list.read(at, line)?;
        }
    }
    list.finish(header.map(|(at, _)| at))
}

/// The lines that are not empty, each with its number from 1.
fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> + Clone {
    (1..).zip(text.split('\n').map(str::trim)).filter(|(_, line)| !line.is_empty())
}

fn is_header(line: &str) -> bool {
    let cells = header_cells(line);
    cells.iter().copied().any(is_name) && cells.iter().all(|cell| cell.is_empty() || is_name(cell))
}

fn header_cells(line: &str) -> Vec<&str> {
    let line = line.strip_suffix(',').unwrap_or(line);
    line.split([',', '\t', ';']).map(|cell| cell.trim().trim_matches('"')).collect()
}

impl List {
    /// Reads a line that is not empty.
    fn read(&mut self, at: usize, line: &str) -> Result<(), String> {
        self.look_for_thousands(at, line)?;
        let before = self.entries.len();
        for field in line.strip_suffix(',').unwrap_or(line).split(',').map(str::trim) {
            // Between two commas there is an entry: one that is missing would be a class that is missing.
            let missing = field.is_empty().then_some("");
            for word in field.split_ascii_whitespace().chain(missing) {
                self.push(at, word)?;
            }
        }
        self.lines.push((at, self.entries.len() - before));
        Ok(())
    }

    /// Reads a line of cells in quotes, of which an empty one may be the last.
    fn read_cells<'a>(&mut self, at: usize, cells: impl Iterator<Item = &'a str>) -> Result<(), String> {
        let before = self.entries.len();
        let mut cells = cells.peekable();
        while let Some(cell) = cells.next() {
            if !cell.is_empty() || cells.peek().is_some() {
                self.push(at, cell)?;
            }
        }
        self.lines.push((at, self.entries.len() - before));
        Ok(())
    }

    fn look_for_thousands(&mut self, at: usize, line: &str) -> Result<(), String> {
        for word in line.split_ascii_whitespace().map(|word| word.trim_end_matches(',')).filter(|word| !word.is_empty())
        {
            self.commas.see(at, word)?;
        }
        if self.has_commas { Ok(()) } else { self.spaces.see(at, line) }
    }

    fn push(&mut self, at: usize, word: &str) -> Result<(), String> {
        let index = self.entries.len();
        let entry = match repeated(word) {
            Some(entry) => entry,
            None => (number(word).map_err(|why| format!("line {at}, entry {index} (counted from 0): {why}"))?, 1),
        };
        self.entries.push(entry);
        Ok(())
    }

    /// The counts below the line of a header, if they are not suspected to be something else.
    fn finish(self, header: Option<usize>) -> Result<ClassCounts, String> {
        let width = self.lines.first().map_or(0, |&(_, entries)| entries);
        let is_table = self.lines.iter().all(|&(_, entries)| entries == width);
        if is_table && self.entries.iter().all(|&(_, classes)| classes == 1) {
            let numbers: Vec<u64> = self.entries.iter().map(|&(count, _)| count).collect();
            refuse_ids(&numbers, width)?;
        }
        self.commas.verdict(1)?;
        if let Some(above) = header {
            if let Some((at, entries)) = self.lines.iter().find(|(_, entries)| *entries > 1) {
                return Err(format!("line {above} is a header and line {at} has {entries} numbers: {WHICH_COLUMN}"));
            }
            if self.entries.is_empty() {
                return Err(format!("line {above} is a header, and no counts follow"));
            }
        }
        // On a single line, spaces say that these are several classes.
        self.spaces.verdict(2)?;
        if let Some(index) = self.entries.iter().position(|&(count, _)| count == 0) {
            let line = line_of(&self.lines, index);
            return Err(format!("line {line}, entry {index} (counted from 0): {}", zero("0")));
        }
        let mut counts = Counts::default();
        for (count, classes) in self.entries {
            counts.push(count, classes);
        }
        counts.finish()
    }
}

/// The line of an entry, given the number of entries of each line.
fn line_of(lines: &[(usize, usize)], index: usize) -> usize {
    let mut ends = lines.iter().scan(0, |end, &(at, entries)| {
        *end += entries;
        Some((at, *end))
    });
    ends.find(|&(_, end)| end > index).map_or(0, |(at, _)| at)
}

/// `CxM`: M classes of C samples each.
fn repeated(word: &str) -> Option<(u64, u64)> {
    let (count, classes) = word.split_once(['x', 'X'])?;
    let is_plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if is_plain(count) && is_plain(classes) { Some((count.parse().ok()?, classes.parse().ok()?)) } else { None }
}

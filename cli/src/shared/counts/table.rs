//! Counts as a column of a table: CSV, TSV, or columns between spaces.

use csv::{ReaderBuilder, StringRecord};
use neural_collapse::ClassCounts;

use super::{
    Counts,
    number::{count, is_name, shown},
};

/// Names of columns that a message lists at most.
const MOST_NAMES: usize = 20;

/// The counts in a column, by its name in the first line or by its index from 0, in the order of the rows.
pub(crate) fn class_counts(text: &str, column: &str) -> Result<ClassCounts, String> {
    let mut rows = rows(text).peekable();
    let Some((above, first)) = rows.next().transpose()? else { return Err("there are no rows".into()) };
    let index = position(&first, column.trim())?;
    let is_header = is_name(&first[index]) || column.trim().parse::<usize>().is_err();
    match rows.peek() {
        None if is_header => return Err(format!("line {above} is a header, and no counts follow")),
        Some(Ok((_, second))) if !is_header => refuse_hidden_header(above, &first, second)?,
        _ => {}
    }
    let data = if is_header { None } else { Some(Ok((above, first.clone()))) };
    let mut counts = Counts::default();
    for row in data.into_iter().chain(rows) {
        let (at, row) = row?;
        if row.len() != first.len() {
            return Err(format!("line {at} has {} cells, line {above} has {}", row.len(), first.len()));
        }
        let count = count(&row[index]).map_err(|why| {
            let name = if at == above { "; if it is the name of the column, --counts-column takes it" } else { "" };
            format!("line {at}, column {index} (counted from 0): {why}{name}")
        })?;
        counts.push(count, 1);
    }
    counts.finish()
}

/// The index of the column in a table with this first line.
fn position(first: &StringRecord, column: &str) -> Result<usize, String> {
    let named: Vec<usize> = (0..first.len()).filter(|&i| first[i] == *column).collect();
    match (column.parse::<usize>(), named.as_slice()) {
        // Columns that pandas has numbered, behind one with the index.
        (Ok(index), &[other]) if other != index && first.get(index).is_some_and(is_name) => Err(format!(
            "{index} is the index of one column and the name of another, {other} (counted from 0): rename that"
        )),
        (Ok(index), _) if index < first.len() => Ok(index),
        (Err(_), &[index]) => Ok(index),
        (Err(_), &[one, other, ..]) => {
            Err(format!("columns {one} and {other} (counted from 0) have this name: give the index of one of them"))
        }
        _ => Err(format!("there is no such column, the first line has {}", names(first))),
    }
}

/// A first line may be a header although the name of the column is a number, as that of a year is: then numbers stand
/// below another name.
fn refuse_hidden_header(above: usize, first: &StringRecord, second: &StringRecord) -> Result<(), String> {
    let is_name_above_number = |(name, cell): (&str, &str)| is_name(name) && count(cell).is_ok();
    match first.iter().zip(second).find(|&pair| is_name_above_number(pair)) {
        Some((name, _)) => Err(format!(
            "line {above} looks like a header, with {} above a number, and has a number in this column: rename the \
             column, or, if line {above} is not a header, put one above it",
            shown(name)
        )),
        None => Ok(()),
    }
}

/// The rows that are not empty, each with its line from 1. The first of them shows what separates the cells: a tab,
/// or else a semicolon, or else a comma, or else, where rows have several words, spaces.
fn rows(text: &str) -> Box<dyn Iterator<Item = Result<(usize, StringRecord), String>> + '_> {
    let lines = || text.split('\n').zip(1..).filter(|(line, _)| !line.trim().is_empty());
    let first = lines().next().map_or("", |(line, _)| line);
    // Between quotes nothing separates.
    let outside: String = first.split('"').step_by(2).collect();
    let delimiter = ['\t', ';', ','].into_iter().find(|&delimiter| outside.contains(delimiter));
    let has_words = |(line, _): (&str, usize)| line.split_ascii_whitespace().count() > 1;
    if delimiter.is_none() && !text.contains('"') && lines().take(2).all(has_words) {
        return Box::new(lines().map(|(line, at)| Ok((at, line.split_ascii_whitespace().collect()))));
    }
    let delimiter = delimiter.and_then(|delimiter| u8::try_from(delimiter).ok()).unwrap_or(b',');
    let has_cells = |row: &StringRecord| row.iter().any(|cell| !cell.is_empty());
    let rows = records(text, delimiter).filter(move |(_, row)| row.as_ref().map_or(true, has_cells));
    Box::new(rows.map(|(line, row)| row.map(|row| (line, row)).map_err(|why| format!("line {line}: {why}"))))
}

/// The rows of a CSV, each with its line from 1.
pub(crate) fn records(text: &str, delimiter: u8) -> impl Iterator<Item = (usize, Result<StringRecord, String>)> {
    let mut builder = ReaderBuilder::new();
    let mut reader = builder.delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes());
    std::iter::from_fn(move || {
        let (start, line) = (reader.position().byte(), reader.position().line());
        let mut row = StringRecord::new();
        let read = reader.read_record(&mut row);
        // Empty lines are skipped before a row.
        let rest = usize::try_from(start).ok().and_then(|start| text.as_bytes().get(start..)).unwrap_or_default();
        let skipped = rest.iter().take_while(|&&byte| byte == b'\n').count();
        let line = usize::try_from(line).unwrap_or(usize::MAX).saturating_add(skipped);
        let row = match read {
            Ok(false) => return None,
            Err(error) => Err(error.to_string()),
            Ok(true) if row.iter().any(|cell| cell.contains('\n')) => {
                Err("a cell in quotes does not end on this line: is a quote missing?".into())
            }
            Ok(true) => {
                row.trim();
                Ok(row)
            }
        };
        Some((line, row))
    })
}

/// The names of columns as a message lists them.
fn names(first: &StringRecord) -> String {
    let listed: Vec<_> = first.iter().take(MOST_NAMES).map(shown).collect();
    let dots = if first.len() > MOST_NAMES { ", ..." } else { "" };
    let columns = if first.len() == 1 { "column" } else { "columns" };
    format!("{} {columns}: {}{dots}", first.len(), listed.join(", "))
}

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
    let mut rows = rows(text);
    let Some((above, first)) = rows.next().transpose()? else { return Err("there are no rows".into()) };
    let index = position(&first, column.trim())?;
    let is_header = is_name(&first[index]) || column.trim().parse::<usize>().is_err();
    let mut counts = Counts::default();
    let data = if is_header { None } else { Some(Ok((above, first.clone()))) };
    let mut last = above;
    for row in data.into_iter().chain(rows) {
        let (at, row) = row?;
        if row.len() != first.len() {
            return Err(format!("line {at} has {} cells, line {above} has {}", row.len(), first.len()));
        }
        if !is_header && last == above && at != above {
            refuse_hidden_header(above, &first, &row)?;
        }
        last = at;
        let count = count(&row[index]).map_err(|why| {
            let name = if at == above { "; if it is the name of the column, --counts-column takes it" } else { "" };
            format!("line {at}, column {index} (counted from 0): {why}{name}")
        })?;
        counts.push(count, 1);
    }
    if is_header && last == above {
        return Err(format!("line {above} is a header, and no counts follow"));
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
            "line {above} looks like a header, with {} above a number, and has a number in the column: give the name of the \
             column, or change it",
            shown(name)
        )),
        None => Ok(()),
    }
}

/// The rows that are not empty, each with its line from 1. What separates the cells is told by the first of them: a tab,
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
    Box::new(records(text, delimiter).filter(|row| row.as_ref().is_err() || row.as_ref().is_ok_and(has_cells)))
}

fn has_cells((_, row): &(usize, StringRecord)) -> bool {
    row.iter().any(|cell| !cell.is_empty())
}

/// The rows of a CSV, each with its line from 1.
pub(crate) fn records(text: &str, delimiter: u8) -> impl Iterator<Item = Result<(usize, StringRecord), String>> {
    let mut builder = ReaderBuilder::new();
    let mut reader = builder.delimiter(delimiter).has_headers(false).flexible(true).from_reader(text.as_bytes());
    std::iter::from_fn(move || {
        let (start, line) = (reader.position().byte(), reader.position().line());
        let mut row = StringRecord::new();
        match reader.read_record(&mut row) {
            Ok(false) => return None,
            Err(error) => return Some(Err(error.to_string())),
            Ok(true) => {}
        }
        // Empty lines are skipped before a row.
        let rest = usize::try_from(start).ok().and_then(|start| text.as_bytes().get(start..)).unwrap_or_default();
        let skipped = rest.iter().take_while(|&&byte| byte == b'\n').count();
        let line = usize::try_from(line).unwrap_or(usize::MAX).saturating_add(skipped);
        if row.iter().any(|cell| cell.contains('\n')) {
            return Some(Err(format!("line {line} has a cell in quotes that does not end there: is a quote missing?")));
        }
        row.trim();
        Some(Ok((line, row)))
    })
}

/// The names of columns as a message lists them.
fn names(first: &StringRecord) -> String {
    let listed: Vec<_> = first.iter().take(MOST_NAMES).map(shown).collect();
    let dots = if first.len() > MOST_NAMES { ", ..." } else { "" };
    let columns = if first.len() == 1 { "column" } else { "columns" };
    format!("{} {columns}: {}{dots}", first.len(), listed.join(", "))
}

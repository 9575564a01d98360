//! Lists of numbers that are probably something else: numbers with separators between thousands, classes with their ids.

use super::number::{reads_as_thousands, thousands};

/// The most groups of digits that are suspected to be one number: classes of a billion samples and more are not.
const MOST_GROUPS: usize = 3;

/// What the pieces of a file look like that a separator could hold together: 1,234 and 500,400,300 and 56.
pub(crate) struct Thousands {
    separator: char,
    pieces: usize,
    /// The fewest and the most groups of a piece.
    groups: (usize, usize),
    /// Whether the first group of a piece has one or two digits, as in 1,234.
    is_short: bool,
    /// A piece of several groups that is not one number: neither are the others.
    is_list: bool,
    /// The first piece of several groups, and its line.
    first: Option<(usize, String)>,
}

impl Thousands {
    pub(crate) fn new(separator: char) -> Self {
        Self { separator, pieces: 0, groups: (usize::MAX, 0), is_short: false, is_list: false, first: None }
    }

    /// Looks at one piece; one with zeros that no list has, as 1,005, is refused at once.
    pub(crate) fn see(&mut self, line: usize, piece: &str) -> Result<(), String> {
        let groups = || piece.split(self.separator);
        let count = groups().count();
        self.pieces += 1;
        self.groups = (self.groups.0.min(count), self.groups.1.max(count));
        if count == 1 {
            return Ok(());
        }
        let is_number = reads_as_thousands(groups());
        if is_number && groups().any(|group| group.starts_with('0')) {
            return Err(format!("line {line}: {}", thousands(piece)));
        }
        self.is_short |= groups().next().is_some_and(|group| group.len() < 3);
        self.is_list |= !is_number || count > MOST_GROUPS;
        self.first.get_or_insert_with(|| (line, piece.to_owned()));
        Ok(())
    }

    /// The suspicion, where every piece reads as one number, and either some have more groups than others (1,234 and
    /// 987), or all have two, not all of three digits (1,234 and 12,345). `fewest` pieces are needed for that.
    pub(crate) fn verdict(&self, fewest: usize) -> Result<(), String> {
        let is_ragged = self.groups.0 != self.groups.1;
        let is_paired = self.groups == (2, 2) && self.is_short && self.pieces >= fewest;
        match &self.first {
            Some((line, piece)) if !self.is_list && (is_ragged || is_paired) => {
                let apart = piece.split(self.separator).collect::<Vec<_>>().join(", ");
                Err(format!("line {line}: {}; if these are several classes, write {apart}", thousands(piece)))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses rows of numbers in which one column, or the first of two rows, numbers the classes.
pub(crate) fn refuse_ids(numbers: &[u64], width: usize) -> Result<(), String> {
    let column = |c: usize| numbers.iter().skip(c).step_by(width).copied().collect::<Vec<_>>();
    let rows = numbers.len().checked_div(width).unwrap_or(0);
    if width < 2 || rows < 2 {
        return Ok(());
    }
    // Of lists in rising order every column rises.
    let is_sorted = numbers.is_sorted();
    let is_ids = |c: usize| are_ids(&column(c), is_sorted);
    let found = if is_ids(0) {
        Some((0, "1"))
    } else if width == 2 && is_ids(1) {
        // As `sort | uniq -c` prints.
        Some((1, "0"))
    } else {
        None
    };
    if let Some((ids, counts)) = found {
        let first: Vec<_> = column(ids).iter().take(3).map(u64::to_string).collect();
        let dots = if rows > 3 { ", ..." } else { "" };
        return Err(format!(
            "column {ids} (counted from 0) of {width} is {}{dots}: are these ids of classes? Say which column has the \
             counts, --counts-column {counts}; if all are counts, write one a line",
            first.join(", ")
        ));
    }
    let (first, rest) = numbers.split_at(width);
    if rows == 2 && width > 2 && is_range(first) && rest[0] != first[width - 1] + 1 {
        return Err("the first of two lines numbers the classes: delete it; if all are counts, write one a line".into());
    }
    Ok(())
}

/// Whether numbers are 0 .. n-1 or 1 .. n in some order, or rise from 0 or 1 with gaps where the whole list does not.
fn are_ids(column: &[u64], is_sorted: bool) -> bool {
    let rises = column.len() > 2 && column[0] <= 1 && column.is_sorted_by(|a, b| a < b);
    let mut sorted = column.to_vec();
    sorted.sort_unstable();
    is_range(&sorted) || (rises && !is_sorted)
}

/// Whether numbers are 0 .. n-1 or 1 .. n.
fn is_range(numbers: &[u64]) -> bool {
    numbers.first().is_some_and(|&first| first <= 1)
        && numbers.windows(2).all(|pair| pair[1].checked_sub(pair[0]) == Some(1))
}

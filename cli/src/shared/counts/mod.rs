//! Files of class counts: what is exact and unambiguous is read, and what may be something else is refused with the way
//! out. `docs/counts.md` has the rules.

mod input;
mod json;
mod list;
mod number;
mod suspicion;
mod table;

use std::{fmt::Write as _, path::Path};

use neural_collapse::ClassCounts;

/// The counts in a file, in a pipe or, for `-`, in standard input; of a table, in a column by its name or its index.
pub(crate) fn read(path: &Path, column: Option<&str>) -> Result<ClassCounts, String> {
    let source = match column {
        Some(column) => format!("--counts-file {} --counts-column {column}", path.display()),
        None => format!("--counts-file {}", path.display()),
    };
    input::bytes(path).and_then(|bytes| parse(bytes, column)).map_err(|why| format!("{source}: {why}"))
}

/// The counts in the bytes of a file.
pub(crate) fn parse(bytes: Vec<u8>, column: Option<&str>) -> Result<ClassCounts, String> {
    let text = input::text(bytes)?;
    let is_json = text.trim_ascii_start().starts_with(['[', '{']);
    match column {
        Some(_) if is_json => {
            Err("this looks like JSON, which has no columns: give a list without --counts-column".into())
        }
        Some(column) => table::class_counts(&text, column),
        None if is_json => json::class_counts(&text),
        None => list::class_counts(&text),
    }
}

/// Counts that were read, in the text form of the library: it looks at the memory that repetitions need.
#[derive(Default)]
struct Counts {
    text: String,
}

impl Counts {
    fn push(&mut self, count: u64, classes: u64) {
        // Writing to a String cannot fail.
        write!(self.text, "{count}x{classes},").unwrap_or_default();
    }

    fn finish(self) -> Result<ClassCounts, String> {
        self.text.parse().map_err(|error: neural_collapse::Error| error.to_string())
    }
}

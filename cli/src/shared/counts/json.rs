//! Counts as a list in JSON.

use neural_collapse::ClassCounts;
use serde_json::value::RawValue;

use super::{
    Counts,
    number::{count, shown},
};

/// A list of whole numbers, each read from its digits.
pub(crate) fn class_counts(text: &str) -> Result<ClassCounts, String> {
    if text.trim_ascii_start().starts_with('{') {
        return Err(
            "this is a JSON object, keys with values: write the counts alone, in the order of the classes, as \
                    [500, 400]; in Python json.dump(list(counts.values()), FILE)"
                .into(),
        );
    }
    let entries: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| {
        let hint = match error.to_string() {
            why if why.starts_with("invalid number") => " (a leading zero, or a separator between thousands?)",
            _ if !text.contains(',') => " (NumPy prints without commas: write array.tolist())",
            _ => "",
        };
        format!("this begins as a JSON list and is not one: {error}{hint}")
    })?;
    let mut counts = Counts::default();
    for (index, entry) in entries.into_iter().enumerate() {
        let word = entry.get();
        let read = if word.starts_with(['[', '{', '"']) || word.starts_with(char::is_alphabetic) {
            Err(format!(
                "{} is not a number: write the counts alone, in the order of the classes, as [500, 400]",
                shown(word)
            ))
        } else {
            count(word)
        };
        counts.push(read.map_err(|why| format!("entry {index} (counted from 0): {why}"))?, 1);
    }
    counts.finish()
}

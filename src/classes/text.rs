//! Class counts as text: `500, 600x5, 20`.

use std::{fmt, str::FromStr};

use super::{ClassCounts, empty};
use crate::error::Error;

/// The text form of class counts: `C` is a class of C samples, `CxM` stands for M such classes; entries are separated
/// by commas, spaces, tabs or line ends; a comma may follow the last one.
///
/// Every number is a class: `1,234` is two classes, and ids in a column before the counts are classes too. A number
/// with a leading zero, as in 1,005, or with another separator between thousands than a comma or a plain space is
/// refused.
///
/// # Errors
///
/// [`Error::MalformedCounts`] names the entry; as [`ClassCounts::new`].
impl FromStr for ClassCounts {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (text, mut counts) = (text.trim_ascii(), Vec::new());
        // Between two commas there is an entry: one that is missing would be a class that is missing.
        let fields = text.strip_suffix(',').unwrap_or(text).split(',').flat_map(|field| {
            // No other spaces: those that do not break stand between thousands.
            let words = field.split_ascii_whitespace();
            let missing = field.trim_ascii().is_empty() && !text.is_empty();
            words.chain(missing.then_some(""))
        });
        for (index, word) in fields.enumerate() {
            let malformed = || Error::MalformedCounts { index, word: word.to_owned() };
            let (count, classes) = word.split_once(['x', 'X']).unwrap_or((word, "1"));
            let is_number = |digits: &str| {
                // The end of a number with a separator between thousands, or an id, begins with zeros.
                digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits.len() < 2 || !digits.starts_with('0'))
            };
            if !is_number(count) || !is_number(classes) {
                return Err(malformed());
            }
            let count: u64 = count.parse().map_err(|_| malformed())?;
            let classes: usize = classes.parse().ok().filter(|&classes| classes > 0).ok_or_else(malformed)?;
            // Words of one class at a time grow as any vector; a large repetition is looked at first.
            if classes > 1 {
                empty(counts.len().saturating_add(classes))?;
            }
            counts.resize(counts.len() + classes, count);
        }
        Self::new(counts)
    }
}

/// The text form, equal neighbors written as `CxM`; it parses back to the same counts.
impl fmt::Display for ClassCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, run) in self.counts().chunk_by(|a, b| a == b).enumerate() {
            let separator = if i == 0 { "" } else { "," };
            match run.len() {
                1 => write!(f, "{separator}{}", run[0])?,
                classes => write!(f, "{separator}{}x{classes}", run[0])?,
            }
        }
        Ok(())
    }
}

//! What stands after a flag: a file, a tensor of a file, or a pattern for several.

use std::path::Path;

/// A file, and a tensor of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    Npy(&'a Path),
    /// FILE.safetensors:TENSOR
    Tensor(&'a Path, Option<&'a str>),
    /// model.safetensors.index.json:TENSOR
    Indexed(&'a Path, Option<&'a str>),
}

/// Splits `FILE:TENSOR` after an ending that files of tensors have. Folders may have such an ending too, and a file or a
/// tensor a colon: of several ways to split, the first whose file is there.
pub(super) fn split(value: &str) -> Named<'_> {
    let splits = value.match_indices(':').map(|(at, _)| (&value[..at], Some(&value[at + 1..])));
    let mut splits: Vec<_> = splits.chain([(value, None)]).filter(|(file, _)| has_tensors(file)).collect();
    let is_there = |file: &str| Path::new(file).exists() && !Path::new(file).is_dir();
    let first = splits.iter().position(|(file, _)| is_there(file)).unwrap_or(0);
    if splits.is_empty() {
        return Named::Npy(Path::new(value));
    }
    let (file, tensor) = splits.swap_remove(first);
    let file = Path::new(file);
    if file.extension().is_some_and(|extension| extension == "json") {
        Named::Indexed(file, tensor)
    } else {
        Named::Tensor(file, tensor)
    }
}

fn has_tensors(file: &str) -> bool {
    Path::new(file).extension().is_some_and(|extension| extension == "safetensors" || extension == "json")
}

/// The values that a value stands for: those of a quoted pattern as `feat-*.npy` in natural order, 2 before 10.
pub(super) fn expand(flag: &str, value: &str) -> Result<Vec<String>, String> {
    let (file, tensor) = match split(value) {
        Named::Npy(file) => (file, None),
        Named::Tensor(file, tensor) | Named::Indexed(file, tensor) => (file, tensor),
    };
    let pattern = file.to_string_lossy();
    if file.exists() || !pattern.contains(['*', '?', '[']) {
        return Ok(vec![value.to_owned()]);
    }
    let failed = |message: &dyn std::fmt::Display| format!("{flag} {value}: {message}");
    // A shell's `*` leaves out hidden files too.
    let options = glob::MatchOptions { require_literal_leading_dot: true, ..Default::default() };
    let mut files = Vec::new();
    for file in glob::glob_with(&pattern, options).map_err(|error| failed(&error))? {
        let file = file.map_err(|error| failed(&error))?;
        let name = file.to_str().ok_or_else(|| failed(&format_args!("{} is not UTF-8", file.display())))?;
        files.push(name.to_owned());
    }
    if files.is_empty() {
        return Err(failed(&"no file matches this pattern"));
    }
    files.sort_by(|one, other| alphanumeric_sort::compare_str(one, other));
    let suffix = tensor.map(|tensor| format!(":{tensor}")).unwrap_or_default();
    Ok(files.into_iter().map(|file| file + &suffix).collect())
}

//! Any bytes as an .npy or a safetensors file, or as the index of a model: an error with the name of the file, or numbers.

#![no_main]
#![allow(dead_code)]

#[path = "../../cli/src/measure/arrays/mod.rs"]
mod arrays;

use arrays::{Array, Batch, Features};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, bytes)) = data.split_first() else { return };
    let ending = ["npy", "safetensors", "index.json"][usize::from(kind % 3)];
    let path = std::env::temp_dir().join(format!("neural-collapse-fuzz-{}.{ending}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let value = path.display().to_string();
    match Array::open("--features", &value) {
        Err(message) => assert!(message.starts_with(&format!("--features {value}: ")), "{message}"),
        Ok(array) => numbers(&array, bytes.len()),
    }
    // Twice the same file: twice its rows.
    if let Ok(features) = Features::open(&[value.clone(), value]) {
        assert!(features.samples() * features.width() <= 2 * bytes.len());
    }
});

/// Every way to read an array: there are no more numbers than bytes.
fn numbers(array: &Array, length: usize) {
    if let Ok(matrix) = array.matrix() {
        assert!(matrix.nrows() * matrix.ncols() <= length);
    }
    if let Ok(vector) = array.vector() {
        assert!(vector.nrows() <= length);
    }
    let Ok((rows, cols)) = array.sides() else { return };
    assert!(rows * cols <= length);
    let mut entries = 0;
    let count = |row, col, _| {
        assert!(row < rows && col < cols);
        entries += 1;
        Ok(())
    };
    if array.entries((rows, cols), count).is_ok() {
        assert_eq!(entries, rows * cols);
    }
    let mut seen = 0;
    let batch = |start, batch: Batch<'_>| {
        assert!(start == seen && batch.len() <= 3);
        seen += batch.len();
        Ok(())
    };
    if array.batches(3, batch).is_ok() {
        assert_eq!(seen, rows);
    }
}

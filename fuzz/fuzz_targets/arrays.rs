//! Any bytes as an .npy or a safetensors file: an error with the name of the file, or numbers.

#![no_main]
#![allow(dead_code)]

#[path = "../../cli/src/measure/arrays.rs"]
mod arrays;

use arrays::{Array, Batch};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&kind, bytes)) = data.split_first() else { return };
    let ending = if kind % 2 == 0 { "npy" } else { "safetensors" };
    let path = std::env::temp_dir().join(format!("neural-collapse-fuzz-{}.{ending}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    let value = path.display().to_string();
    match Array::open("--features", &value) {
        Err(message) => assert!(message.starts_with(&format!("--features {value}: ")), "{message}"),
        Ok(array) => {
            array.matrix().map(drop).unwrap_or_default();
            array.vector().map(drop).unwrap_or_default();
            if let Ok(integers) = array.integers() {
                assert!(integers.iter().len() * 8 >= integers.iter().count());
            }
            let rows = |_, batch: Batch<'_>| match batch {
                Batch::Single(batch) if batch.ncols() <= 3 => Ok(()),
                Batch::Double(batch) if batch.ncols() <= 3 => Ok(()),
                _ => Err("a batch that is too large".into()),
            };
            if let Err(message) = array.batches(3, rows) {
                assert!(!message.contains("too large"));
            }
        }
    }
});

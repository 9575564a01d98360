//! Runs of the program `measure`, and files for it.

// Every test program calls a part of this.
#![allow(dead_code)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

use crate::program::program;

/// A folder of its own for a test, made anew.
pub(crate) fn folder(name: &str) -> PathBuf {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("measure").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

pub(crate) fn run(arguments: &str, folder: &Path) -> Output {
    let mut command: Command = program("measure", arguments);
    command.current_dir(folder).output().unwrap()
}

pub(crate) fn json(arguments: &str, folder: &Path) -> Value {
    let output = run(&format!("{arguments} --json"), folder);
    assert!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The message of a run that must fail.
pub(crate) fn refusal(arguments: &str, folder: &Path) -> String {
    let output = run(arguments, folder);
    assert_eq!(output.status.code(), Some(2), "{arguments}: {}", String::from_utf8_lossy(&output.stdout));
    assert!(output.stdout.is_empty());
    String::from_utf8(output.stderr).unwrap()
}

/// Whether every message says what it must.
pub(crate) fn check(cases: &[(String, &str)]) {
    for (message, expected) in cases {
        assert!(message.contains(expected), "{message} should contain {expected}");
    }
}

/// Whether a tree of numbers is that of a table, each number up to the rounding that the table has for it.
pub(crate) fn compare_up_to(rounding: &Value, path: &str, ours: &Value, table: &Value) {
    match table {
        Value::Object(entries) => {
            for (key, value) in entries {
                compare_up_to(&rounding[key], &format!("{path}/{key}"), &ours[key], value);
            }
        }
        Value::Array(entries) => {
            assert_eq!(ours.as_array().map(Vec::len), Some(entries.len()), "{path}: {ours} {table}");
            for (place, value) in entries.iter().enumerate() {
                compare_up_to(&rounding[place], &format!("{path}/{place}"), &ours[place], value);
            }
        }
        Value::Null => assert!(ours.is_null(), "{path}: {ours} null"),
        table => {
            let [ours, table, rounding] = [ours, table, rounding].map(|number| number.as_f64().unwrap_or(f64::NAN));
            assert!((ours - table).abs() <= rounding, "{path}: {ours} {table} {rounding}");
        }
    }
}

/// An .npy file of version 1.
pub(crate) fn npy(descr: &str, fortran: bool, shape: &str, data: &[u8]) -> Vec<u8> {
    let order = if fortran { "True" } else { "False" };
    let header = format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}");
    let header = format!("{header:<117}\n");
    [&npy_start(1, header.len())[..], header.as_bytes(), data].concat()
}

/// What an .npy file of a version begins with, up to the length of its header.
pub(crate) fn npy_start(version: u8, length: usize) -> Vec<u8> {
    let mut file = b"\x93NUMPY".to_vec();
    file.extend([version, 0]);
    file.extend(&u32::try_from(length).unwrap().to_le_bytes()[..if version == 1 { 2 } else { 4 }]);
    file
}

pub(crate) fn doubles(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A safetensors file with this header.
pub(crate) fn tensors(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

pub(crate) const FLAGS: &str = "--weights W.npy --features H.npy --labels y.npy --layer-decay 1e-2 \
                                --feature-decay 1e-2 --loss-convention half-sum --feature-convention total";

pub(crate) const WEIGHTS: [f64; 4] = [1.0, 0.1, -1.0, 0.1];
pub(crate) const FEATURES: [f64; 10] = [0.5, 0.1, 0.6, 0.0, -0.5, 0.1, -0.4, 0.1, -0.5, 0.0];

/// Two classes of two and three samples in the plane.
pub(crate) fn small(name: &str) -> PathBuf {
    let folder = folder(name);
    fs::write(folder.join("W.npy"), npy("<f8", false, "(2, 2)", &doubles(&WEIGHTS))).unwrap();
    fs::write(folder.join("H.npy"), npy("<f8", false, "(5, 2)", &doubles(&FEATURES))).unwrap();
    fs::write(folder.join("y.npy"), npy("|u1", false, "(5,)", &[0, 0, 1, 1, 1])).unwrap();
    folder
}

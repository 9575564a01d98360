//! Networks that `trained.py` has trained, and what the command says of them.

// Every test program calls a part of this.
#![allow(dead_code)]

use std::{fs, path::PathBuf};

use serde_json::Value;

use crate::measure::{folder, json, run};

/// A network that `trained.py` has trained.
pub(crate) struct Trained {
    pub(crate) folder: PathBuf,
    /// The command line without decays, and what training minimized, for the same command line.
    pub(crate) flags: String,
    pub(crate) decays: String,
    pub(crate) expected: Value,
}

impl Trained {
    pub(crate) fn new(case: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/trained").join(case);
        let content: Value = serde_json::from_slice(&fs::read(folder.join("expected.json")).unwrap()).unwrap();
        let words = |key: &str| -> String {
            let words = content[key].as_array().map(Vec::as_slice).unwrap_or_default();
            words.iter().map(|word| word.as_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        let (flags, decays) = (words("flags"), words("decay_flags"));
        Self { folder, flags, decays, expected: content["expected"].clone() }
    }

    pub(crate) fn measured(&self) -> Value {
        json(&self.flags, &self.folder)
    }

    pub(crate) fn with(&self, decays: &str) -> Value {
        json(&format!("{} {decays}", self.flags), &self.folder)
    }

    pub(crate) fn table(&self, decays: &str) -> String {
        let output = run(&format!("{} {decays}", self.flags), &self.folder);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The same arrays in a folder of their own, to be changed there.
    pub(crate) fn copied(&self, name: &str) -> Self {
        let copy = folder(name);
        for entry in fs::read_dir(&self.folder).unwrap() {
            let file = entry.unwrap();
            fs::copy(file.path(), copy.join(file.file_name())).unwrap();
        }
        let (flags, decays, expected) = (self.flags.clone(), self.decays.clone(), self.expected.clone());
        Self { folder: copy, flags, decays, expected }
    }

    /// The rows of an array of float32 or, with `bytes` 8, of one number each.
    pub(crate) fn rows(&self, file: &str, rows: usize) -> Vec<Vec<u8>> {
        // The header of a small array has 128 bytes.
        let data = fs::read(self.folder.join(file)).unwrap()[128..].to_vec();
        data.chunks(data.len() / rows).map(<[u8]>::to_vec).collect()
    }

    pub(crate) fn labels(&self) -> Vec<u64> {
        let bytes = fs::read(self.folder.join("y.npy")).unwrap();
        bytes[128..].chunks(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap())).collect()
    }

    /// The same arrays in another folder, where each sample has the label that `new` makes of all labels and its place.
    pub(crate) fn relabeled(&self, name: &str, new: impl Fn(&[u64], usize) -> u64) -> Self {
        let (copy, labels) = (self.copied(&format!("implied-{name}")), self.labels());
        let bytes = fs::read(copy.folder.join("y.npy")).unwrap();
        let relabeled = (0..labels.len()).flat_map(|sample| new(&labels, sample).to_le_bytes());
        let all: Vec<u8> = bytes[..128].iter().copied().chain(relabeled).collect();
        fs::write(copy.folder.join("y.npy"), all).unwrap();
        copy
    }

    pub(crate) fn shuffled(&self, case: &str) -> Self {
        // Labels are in random order already: half a turn gives each sample that of another one.
        self.relabeled(&format!("{case}-shuffled"), |labels, sample| labels[(sample + labels.len() / 2) % labels.len()])
    }

    pub(crate) fn renumbered(&self, case: &str) -> Self {
        self.relabeled(&format!("{case}-renumbered"), |labels, sample| {
            (labels[sample] + 1) % (labels.iter().max().unwrap() + 1)
        })
    }
}

pub(crate) fn findings(measured: &Value) -> Vec<String> {
    measured["findings"].as_array().unwrap().iter().map(|finding| finding.as_str().unwrap().to_owned()).collect()
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

/// The verdicts of a table, by the names of their lines: the last word of a line of metrics.
pub(crate) fn verdicts(table: &str) -> Vec<(String, String)> {
    let lines = table.lines().skip_while(|line| !line.starts_with("metric")).skip(1);
    let lines = lines.take_while(|line| !line.is_empty() && !line.starts_with("reached:"));
    lines.map(|line| (line[..26].trim().to_owned(), line.split_whitespace().last().unwrap().to_owned())).collect()
}

pub(crate) fn has_verdict((_, verdict): &(String, String)) -> bool {
    ["reached", "near", "far"].contains(&verdict.as_str())
}

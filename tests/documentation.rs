//! Documentation as rustdoc and the readers of the package see it.

use std::{fs, path::Path, process::Command};

/// Source files in a folder and below it.
fn sources(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
    files.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// What a line of documentation says, if it is one.
fn documentation(line: &str) -> Option<&str> {
    let line = line.trim_start();
    line.strip_prefix("///").or_else(|| line.strip_prefix("//!"))
}

/// Whether Markdown takes the line for a quotation, a heading or an item of a list.
fn is_block(text: &str) -> bool {
    let text = text.trim_start();
    let digits = text.trim_start_matches(|character: char| character.is_ascii_digit());
    let is_numbered = digits.len() < text.len() && (digits.starts_with(") ") || digits.starts_with(". "));
    is_numbered || text.starts_with(['>', '#']) || ["- ", "+ ", "* "].iter().any(|mark| text.starts_with(mark))
}

/// A sentence that is wrapped before a number and a bracket, or before a sign of comparison, loses them.
#[test]
fn no_sentence_goes_on_with_a_mark_of_a_block() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut wrong = Vec::new();
    for path in ["src", "examples", "tests"].into_iter().flat_map(|folder| sources(&root.join(folder))) {
        let (mut before, mut in_code, mut in_block) = ("", false, false);
        for (number, line) in (1..).zip(fs::read_to_string(&path).unwrap().leak().lines()) {
            let text = documentation(line).unwrap_or("");
            in_code ^= text.trim_start().starts_with("```");
            let begins = before.trim().is_empty();
            // A list or a quotation goes on to the next empty line.
            in_block = !text.trim().is_empty() && (in_block || begins && is_block(text));
            if !begins && !in_block && !in_code && is_block(text) {
                wrong.push(format!("{}:{number}: {line}", path.display()));
            }
            before = if text.trim_start().starts_with("```") { "" } else { text };
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Cargo leaves out folders that are packages of their own, whatever `include` says: a figure of a network is copied.
#[test]
fn figures_of_the_readme_are_in_the_package() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["package", "--list", "--allow-dirty", "--offline", "--package=neural-collapse"]).current_dir(root);
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let files = String::from_utf8(output.stdout).unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let figures = readme.split("![").skip(1).map(|text| text.split(['(', ')']).nth(1).unwrap());
    let missing: Vec<&str> = figures.clone().filter(|figure| !files.lines().any(|file| file == *figure)).collect();
    assert!(figures.count() > 0 && missing.is_empty(), "not in the package: {missing:?}");
    let [copy, figure] = ["docs/network.svg", "examples/imbalanced_mlp/results/letters-L1-collapse/geometry.svg"]
        .map(|file| fs::read(root.join(file)).unwrap());
    assert!(copy == figure, "docs/network.svg is not the figure of the network any more: copy it again");
}

//! The page of guarantees names tests: they are there.

use std::{fs, path::Path};

#[test]
fn every_promise_has_its_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/guarantees.md")).unwrap();
    // Nor has a number that is still to be measured been forgotten.
    let is_left_open = |line: &str| !line.is_empty() && line.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    assert!(!page.split_whitespace().any(|word| word.len() > 4 && word != "EVIDENCE" && is_left_open(word)));
    let sources = |file: &str| -> Vec<String> {
        // Of the library, of the command, of both, or of the Python package.
        let single = [format!("tests/{file}.rs"), format!("cli/tests/{file}.rs"), format!("python/tests/{file}.py")];
        let single = single.map(|file| root.join(file));
        let single: Vec<_> = single.iter().filter(|file| file.exists()).collect();
        if !single.is_empty() {
            return single.into_iter().map(|file| fs::read_to_string(file).unwrap()).collect();
        }
        let folder = root.join(format!("tests/{file}"));
        let entries = fs::read_dir(&folder).unwrap_or_else(|_| panic!("there is no tests/{file}"));
        entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect()
    };
    let named: Vec<(&str, &str)> =
        page.split('`').skip(1).step_by(2).filter_map(|code| code.split_once("::")).collect();
    let named = named.into_iter().filter(|(file, _)| *file != "file");
    let mut count = 0;
    for (file, test) in named {
        let is_there = sources(file)
            .iter()
            .any(|text| [format!("fn {test}("), format!("def {test}(")].iter().any(|head| text.contains(head)));
        assert!(is_there, "{file}::{test} is promised and not there");
        count += 1;
    }
    assert!(count > 40, "only {count} tests are named");
}

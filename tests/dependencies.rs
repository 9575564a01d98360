//! What comes in with dependencies, of the library, of the command, and of their tests: versions of Rust, and licenses.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;
use spdx::{Expression, Licensee, ParseMode};

/// What `cargo metadata` says of the two packages, as they are built on this platform.
///
/// In a copy of their manifests: the workspace has other packages, one of whose libraries needs a newer Rust, and whose
/// sources need not be on this machine. The lock file is the same, so that versions are.
fn metadata() -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("minimum_rust");
    fs::create_dir_all(copy.join("cli")).unwrap();
    let mut manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    for (members, kept) in [
        (
            r#"members = ["cli", "examples/imbalanced_mlp", "examples/theory_meets_descent", "python"]"#,
            r#"members = ["cli"]"#,
        ),
        (r#"default-members = [".", "cli", "examples/theory_meets_descent"]"#, r#"default-members = [".", "cli"]"#),
    ] {
        assert!(manifest.contains(members), "the workspace has other members");
        manifest = manifest.replace(members, kept);
    }
    fs::write(copy.join("Cargo.toml"), manifest).unwrap();
    for file in ["Cargo.lock", "cli/Cargo.toml"] {
        fs::copy(root.join(file), copy.join(file)).unwrap();
    }
    // Targets must be there, whatever they hold.
    let benches = fs::read_dir(root.join("benches")).unwrap().map(|entry| entry.unwrap().file_name());
    let benches = benches.map(|name| Path::new("benches").join(name)).filter(|path| path.extension().is_some());
    for file in benches.chain(["src/lib.rs".into(), "cli/src/main.rs".into()]) {
        let file = copy.join(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, "").unwrap();
    }
    let cargo = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO")).args(arguments).current_dir(&copy).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let version = cargo(&["-vV"]);
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let arguments = ["metadata", "--format-version=1", "--offline", "--features=serde", "--filter-platform", host];
    serde_json::from_str(&cargo(&arguments)).unwrap()
}

/// 1.88 is 1.88.0.
fn version(text: &str) -> [u64; 3] {
    let mut numbers = text.split('.').map(|number| number.parse().unwrap());
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

/// All packages that these two are made of, by themselves or by way of others.
fn reached<'a>(metadata: &'a Value, ours: [&'a Value; 2]) -> Vec<&'a Value> {
    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let (mut reached, mut open) = (BTreeSet::new(), ours.map(|package| package["id"].as_str().unwrap()).to_vec());
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            let node = nodes.iter().find(|node| node["id"] == id).unwrap();
            open.extend(node["deps"].as_array().unwrap().iter().map(|dependency| dependency["pkg"].as_str().unwrap()));
        }
    }
    let packages = metadata["packages"].as_array().unwrap().iter();
    let reached: Vec<&Value> = packages.filter(|package| reached.contains(package["id"].as_str().unwrap())).collect();
    // The walk has arrived at faer, of the library, at clap, of the command, and at proptest, of the tests.
    for name in ["faer", "clap", "proptest"] {
        assert!(reached.iter().any(|package| package["name"] == name), "{name} has not been reached");
    }
    reached
}

fn ours(metadata: &Value) -> [&Value; 2] {
    let packages = metadata["packages"].as_array().unwrap();
    ["neural-collapse", "neural-collapse-cli"]
        .map(|name| packages.iter().find(|package| package["name"] == name).unwrap())
}

#[test]
fn no_dependency_needs_a_newer_rust() {
    let metadata = metadata();
    let ours = ours(&metadata);
    let declared = ours[0]["rust_version"].as_str().unwrap();
    assert_eq!(ours[1]["rust_version"], declared, "the two packages declare different minimum versions");
    let reached = reached(&metadata, ours);
    let newer_than = |limit: &str| -> Vec<String> {
        let newer = reached
            .iter()
            .filter(|package| package["rust_version"].as_str().is_some_and(|needed| version(needed) > version(limit)));
        newer
            .map(|package| format!("{} {}: {}", package["name"], package["version"], package["rust_version"]))
            .collect()
    };
    // The comparison sees our own version.
    assert!(newer_than("1.87").len() >= 2);
    let newer = newer_than(declared);
    assert!(newer.is_empty(), "these need a newer Rust than {declared}: {newer:#?}");
}

/// Those that the list `allow` of deny.toml names.
fn allowed_licenses() -> Vec<Licensee> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("deny.toml")).unwrap();
    let list = text.split_once("\nallow = [").unwrap().1.split_once(']').unwrap().0;
    let names = list.split('"').skip(1).step_by(2);
    names.map(|name| Licensee::parse(name).unwrap()).collect()
}

#[test]
fn every_dependency_has_a_license_that_is_allowed() {
    let (metadata, allowed) = (metadata(), allowed_licenses());
    let is_allowed = |license: &str, allowed: &[Licensee]| {
        let expression = Expression::parse_mode(license, ParseMode::LAX).unwrap();
        expression.evaluate(|needed| allowed.iter().any(|license| license.satisfies(needed)))
    };
    assert!(is_allowed("MIT OR GPL-3.0-only", &allowed) && !is_allowed("MIT AND GPL-3.0-only", &allowed));
    for package in reached(&metadata, ours(&metadata)) {
        let license = package["license"].as_str().unwrap_or_else(|| panic!("{} has no license", package["name"]));
        assert!(is_allowed(license, &allowed), "{}: {license}", package["name"]);
    }
}

#[test]
fn every_dependency_comes_from_one_registry() {
    let metadata = metadata();
    let reached = reached(&metadata, ours(&metadata));
    let sources: BTreeSet<&str> = reached.iter().filter_map(|package| package["source"].as_str()).collect();
    assert!(sources.len() == 1 && sources.iter().all(|source| source.starts_with("registry+")), "{sources:?}");
}

//! The minimum version of Rust is one that every dependency accepts, of the library, of the command, and of their tests.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use serde_json::Value;

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

#[test]
fn no_dependency_needs_a_newer_rust() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().unwrap();
    let ours = ["neural-collapse", "neural-collapse-cli"]
        .map(|name| packages.iter().find(|package| package["name"] == name).unwrap());
    let declared = ours[0]["rust_version"].as_str().unwrap();
    assert_eq!(ours[1]["rust_version"], declared, "the two packages declare different minimum versions");

    let nodes = metadata["resolve"]["nodes"].as_array().unwrap();
    let (mut reached, mut open) = (BTreeSet::new(), ours.map(|package| package["id"].as_str().unwrap()).to_vec());
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            let node = nodes.iter().find(|node| node["id"] == id).unwrap();
            open.extend(node["deps"].as_array().unwrap().iter().map(|dependency| dependency["pkg"].as_str().unwrap()));
        }
    }
    let newer_than = |limit: &str| -> Vec<String> {
        let reached = packages.iter().filter(|package| reached.contains(package["id"].as_str().unwrap()));
        let newer = reached
            .filter(|package| package["rust_version"].as_str().is_some_and(|needed| version(needed) > version(limit)));
        newer
            .map(|package| format!("{} {}: {}", package["name"], package["version"], package["rust_version"]))
            .collect()
    };
    // The walk has arrived at faer, of the library, and at clap, of the command, and the comparison sees our own version.
    for name in ["faer", "clap", "proptest"] {
        let of_name = |package: &&Value| package["name"] == name && reached.contains(package["id"].as_str().unwrap());
        assert!(packages.iter().any(|package| of_name(&package)), "{name} has not been reached");
    }
    assert!(newer_than("1.87").len() >= 2);
    let newer = newer_than(declared);
    assert!(newer.is_empty(), "these need a newer Rust than {declared}: {newer:#?}");
}

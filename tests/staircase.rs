//! The source tree is a staircase: data flows down it, and a file imports only from rooms above its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// The rooms, from the top of the staircase: the files and folders of `src`.
const ROOMS: [&str; 15] = [
    "error",
    "names",
    "linalg",
    "classes",
    "targets",
    "loss",
    "conventions",
    "model",
    "parameters",
    "objective",
    "point",
    "theory",
    "descent",
    "critical",
    "metrics",
];

/// Each is the judge of the other: neither may know how the other works.
const STRANGERS: (&str, &str) = ("theory", "descent");

/// Files that hold documentation only.
const PAGES: [&str; 2] = ["lib", "documentation"];

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(sources(&path)) } else { files.push(path) }
    }
    files.sort();
    files
}

/// The module of a file: `src/theory/spectrum/mod.rs` is `theory::spectrum`.
fn module(root: &Path, file: &Path) -> Vec<String> {
    let path = file.strip_prefix(root).unwrap().with_extension("");
    let mut parts: Vec<String> = path.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
    if parts.last().is_some_and(|last| last == "mod") {
        parts.pop();
    }
    parts
}

/// The code of a file, without comments and without its tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    text.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The paths of a tree of imports: `a::{b, c::d}` is a::b and a::c::d.
fn leaves(tree: &str, prefix: &[String]) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let (head, list) = tree.split_once('{').map_or((tree, None), |(head, rest)| (head, Some(rest)));
    let segments = head.split("::").map(str::trim).filter(|segment| !segment.is_empty());
    let path: Vec<String> = prefix.iter().cloned().chain(segments.map(str::to_owned)).collect();
    let Some(list) = list else { return vec![path] };
    let list = list.rsplit_once('}').unwrap().0;
    let (mut depth, mut start, mut paths) = (0, 0, Vec::new());
    for (i, c) in list.char_indices().chain([(list.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                if !list[start..i].trim().is_empty() {
                    paths.extend(leaves(&list[start..i], &path));
                }
                start = i + 1;
            }
            _ => {}
        }
    }
    paths
}

/// What a file imports from the crate, as absolute paths. What it re-exports it does not need itself.
fn imports(module: &[String], code: &str) -> Vec<Vec<String>> {
    let statements = code.split(';').filter_map(|statement| {
        let statement = statement.trim_start_matches(|c: char| c.is_whitespace() || c == '}');
        statement.strip_prefix("use ")
    });
    let used = statements.flat_map(|tree| leaves(tree, &[]));
    // Paths in the code itself count as well.
    let inline = code.split("crate::").skip(1).map(|rest| {
        let end = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
        vec!["crate".to_owned(), rest[..end].to_owned()]
    });
    let inline = inline.filter(|path| !path[1].is_empty());
    used.chain(inline)
        .filter_map(|path| match path[0].as_str() {
            "crate" => Some(path[1..].to_vec()),
            "self" => Some([module, &path[1..]].concat()),
            "super" => {
                let ups = path.iter().take_while(|segment| *segment == "super").count();
                Some([&module[..module.len() - ups], &path[ups..]].concat())
            }
            _ => None,
        })
        .collect()
}

/// Every file's module and what it imports.
fn house() -> BTreeMap<Vec<String>, Vec<Vec<String>>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let of = |file: PathBuf| {
        let module = module(&root, &file);
        let imports = imports(&module, &code(&fs::read_to_string(&file).unwrap()));
        (module, imports)
    };
    sources(&root).into_iter().map(of).filter(|(module, _)| !PAGES.contains(&module[0].as_str())).collect()
}

#[test]
fn a_file_imports_only_from_rooms_above_its_own() {
    let step = |room: &str| ROOMS.iter().position(|name| *name == room);
    let house = house();
    for (module, imports) in &house {
        let name = module.join("::");
        let own = step(&module[0]).unwrap_or_else(|| panic!("{name} is in no room: put it on the staircase"));
        for import in imports {
            let path = import.join("::");
            let other = step(&import[0]).unwrap_or_else(|| panic!("{name} imports {path}: name the file it is in"));
            assert!(other <= own, "{name} imports {path}, which is further down");
            let pair = (module[0].as_str(), import[0].as_str());
            assert!(pair != STRANGERS && pair != (STRANGERS.1, STRANGERS.0), "{name} imports {path}: they are judges");
        }
    }
    assert!(house.values().map(Vec::len).sum::<usize>() > 200, "the imports have not been found");
}

#[test]
fn products_clear_the_registers() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let own = |file: &PathBuf| code(&fs::read_to_string(file).unwrap()).contains("matmul");
    let users: Vec<_> = sources(&root).into_iter().filter(own).map(|file| module(&root, &file).join("::")).collect();
    assert_eq!(users, ["linalg::product"], "products go through linalg::product, which clears the registers");
}

#[test]
fn no_two_files_need_each_other() {
    let house = house();
    // The file that an import leads to: the longest module that is a prefix of it.
    let file =
        |import: &[String]| (1..=import.len()).rev().map(|n| import[..n].to_vec()).find(|m| house.contains_key(m));
    let needs = |module: &Vec<String>| -> BTreeSet<Vec<String>> {
        house[module].iter().filter_map(|import| file(import)).filter(|other| other != module).collect()
    };
    // Files whose needs are all met leave, until nobody is left or nobody can go.
    let mut rest: BTreeMap<_, _> = house.keys().map(|module| (module.clone(), needs(module))).collect();
    loop {
        let met: Vec<_> = rest.iter().filter(|(_, needs)| needs.is_empty()).map(|(module, _)| module.clone()).collect();
        if met.is_empty() {
            break;
        }
        for module in met {
            rest.remove(&module);
            for needs in rest.values_mut() {
                needs.remove(&module);
            }
        }
    }
    let cycle: Vec<_> = rest.iter().map(|(module, needs)| format!("{} needs {needs:?}", module.join("::"))).collect();
    assert!(cycle.is_empty(), "files that wait for each other:\n{}", cycle.join("\n"));
}

//! What the compiler cannot check: layers, where `unsafe` may stand, how long a file may be.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::path::{Path, PathBuf};

/// Lower layers first. A file may name its own layer's module and those before it.
const LAYERS: [&[&str]; 8] = [
    &["lsn", "checksum", "sync"],
    &["error"],
    &["extent", "format"],
    &["options", "progress", "observer"],
    &["storage"],
    &["segment", "manifest", "watermark"],
    &["walk", "stale", "log", "inspect", "reader"],
    &["typed"],
];

fn sources(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
    found
}

fn all() -> Vec<(PathBuf, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    ["src", "cli/src"]
        .iter()
        .flat_map(|dir| sources(&root.join(dir)))
        .map(|path| {
            (path.strip_prefix(root).unwrap().to_owned(), std::fs::read_to_string(&path).unwrap())
        })
        .collect()
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The first module of `src` that a line names which the module `own` must not know.
fn forbidden<'a>(own: &str, line: &'a str) -> Option<&'a str> {
    let own_layer = layer(own)?;
    line.split("crate::").skip(1).find_map(|rest| {
        let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next()?;
        (name != own && layer(name)? >= own_layer).then_some(name)
    })
}

/// These siblings may build on one another; others of one layer may not.
fn is_allowed_sibling(own: &str, name: &str) -> bool {
    matches!(
        (own, name),
        ("log", "walk" | "stale")
            | ("stale", "walk")
            | ("inspect", "walk" | "stale" | "log")
            | ("reader", "inspect" | "log")
            | ("format", "format")
            | ("options", "progress" | "observer")
            | ("progress" | "observer", "options")
            | ("manifest", "watermark")
            | ("watermark", "manifest")
    )
}

#[test]
fn each_layer_knows_only_those_below() {
    for (path, text) in all().iter().filter(|(path, _)| path.starts_with("src")) {
        let own = path.components().nth(1).unwrap().as_os_str().to_str().unwrap();
        let own = own.trim_end_matches(".rs");
        // The one upward look: an error names the version of the format.
        for line in text.lines().filter(|line| !line.contains("crate::format::VERSION")) {
            if line.trim_start().starts_with("//") {
                continue;
            }
            if let Some(name) = forbidden(own, line) {
                assert!(is_allowed_sibling(own, name), "{}: {line}", path.display());
            }
        }
    }
    assert_eq!(forbidden("format", "use crate::storage::File;"), Some("storage"));
    assert_eq!(forbidden("log", "use crate::format::DATA_START;"), None);
}

#[test]
fn unsafe_stands_only_in_the_storage_layer_and_before_a_cpu_instruction() {
    for (path, text) in all() {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        let found = code.filter(|line| {
            line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe")
        });
        let allowed = path.starts_with("src/storage") || path == Path::new("src/checksum.rs");
        assert!(allowed || found.count() == 0, "{}", path.display());
    }
}

#[test]
fn files_can_be_read_in_one_sitting_and_nothing_is_left_undone() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("todo", "!"),
        concat!("unimplement", "ed!"),
    ];
    for (path, text) in all() {
        let code = text.lines().filter(|line| {
            let line = line.trim_start();
            !line.is_empty() && !line.starts_with("//")
        });
        assert!(code.count() <= 400, "{} is too long", path.display());
        for mark in marks {
            assert!(!text.contains(mark), "{} holds {mark}", path.display());
        }
    }
}

/// The table of mutations in README.md names those of `mutants.sh`, each once, and how many they are.
#[test]
fn the_list_of_mutations_is_that_of_the_script() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let script = std::fs::read_to_string(tests.join("mutants.sh")).unwrap();
    let names = script.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let is_call = words.next().is_some_and(|word| ["mutant", "interleaved"].contains(&word));
        words.next().filter(|_| is_call)
    });
    let mut names: Vec<&str> = names.collect();
    let page = std::fs::read_to_string(tests.join("README.md")).unwrap();
    let (text, table) = page.split_once("| noticed by | what is broken |").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_suffix(" |")?.rsplit_once("| "));
    let mut listed: Vec<&str> = rows.flat_map(|(_, names)| names.split(", ")).collect();
    names.sort_unstable();
    listed.sort_unstable();
    assert_eq!(names, listed);
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a name twice");
    assert!(text.contains(&format!("\n{} of them, by the test", names.len())), "{}", names.len());
}

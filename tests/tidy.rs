//! What the compiler cannot check: layers, where `unsafe` may stand, how long a file may be.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::visit::Visit;

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

/// The modules of `src` that a source names, by whatever path: in groups, by `super`, through what `lib.rs` exports, inside
/// macros.
struct Named<'a> {
    /// Where the code stands, from the root.
    module: Vec<String>,
    exports: &'a BTreeMap<String, String>,
    found: BTreeSet<String>,
}

impl Named<'_> {
    fn see(&mut self, path: &[String]) {
        let mut at = self.module.clone();
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("crate") => (at, rest) = (Vec::new(), &path[1..]),
            Some("self") => rest = &path[1..],
            Some("super") => {}
            _ => return,
        }
        while let Some(("super", behind)) = rest.split_first().map(|(name, rest)| (&**name, rest)) {
            at.pop();
            rest = behind;
        }
        let Some(name) = at.first().or(rest.first()) else { return };
        self.found.insert(self.exports.get(name).unwrap_or(name).clone());
    }
}

impl<'ast> Visit<'ast> for Named<'_> {
    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        flatten(&item.tree, &mut Vec::new(), &mut |path| self.see(path));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Vec<String> = path.segments.iter().map(|part| part.ident.to_string()).collect();
        self.see(&names);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, called: &'ast syn::Macro) {
        let text = called.tokens.to_string();
        let words: Vec<String> =
            text.split_whitespace().filter(|word| *word != "::").map(str::to_owned).collect();
        for at in words.iter().enumerate().filter(|(_, word)| *word == "crate").map(|(at, _)| at) {
            self.see(&words[at..]);
        }
        syn::visit::visit_macro(self, called);
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        // A test may ask the whole library.
        if module.ident == "tests" {
            return;
        }
        self.module.push(module.ident.to_string());
        syn::visit::visit_item_mod(self, module);
        self.module.pop();
    }
}

fn flatten(tree: &syn::UseTree, before: &mut Vec<String>, see: &mut impl FnMut(&[String])) {
    match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            flatten(&path.tree, before, see);
            before.pop();
        }
        syn::UseTree::Group(group) => {
            group.items.iter().for_each(|tree| flatten(tree, before, see))
        }
        syn::UseTree::Glob(_) => see(before),
        syn::UseTree::Name(syn::UseName { ident })
        | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
            before.push(ident.to_string());
            see(before);
            before.pop();
        }
    }
}

/// Where each name comes from that the root of the library has of a module.
fn exports() -> BTreeMap<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs");
    let root = syn::parse_file(&std::fs::read_to_string(root).unwrap()).unwrap();
    let mut exports = BTreeMap::from([("sim".to_owned(), "storage".to_owned())]);
    for item in &root.items {
        let syn::Item::Use(item) = item else { continue };
        flatten(&item.tree, &mut Vec::new(), &mut |path| {
            exports.insert(path[path.len() - 1].clone(), path[0].clone());
        });
    }
    exports
}

/// The modules that `own` must not know among those that the source at `module` names.
fn forbidden(module: &[&str], source: &str, exports: &BTreeMap<String, String>) -> Vec<String> {
    let module: Vec<String> = module.iter().map(|name| (*name).to_owned()).collect();
    let own = module[0].clone();
    let mut named = Named { module, exports, found: BTreeSet::new() };
    named.visit_file(&syn::parse_file(source).unwrap());
    let Some(own_layer) = layer(&own) else { return Vec::new() };
    let too_high = |name: &String| *name != own && layer(name).is_some_and(|of| of >= own_layer);
    named.found.into_iter().filter(too_high).collect()
}

/// These know a higher layer today, and are to stop.
const KNOWN: [(&str, &str); 1] = [
    // An event holds what `log` says of an opening and a checkpoint: plain data, which belongs below both.
    ("observer", "log"),
];

/// These siblings may build on one another; others of one layer may not.
fn is_allowed_sibling(own: &str, name: &str) -> bool {
    matches!(
        (own, name),
        ("log", "walk" | "stale")
            | ("stale", "walk")
            | ("inspect", "walk" | "stale" | "log")
            | ("reader", "walk" | "inspect" | "log")
            | ("format", "format")
            | ("options", "progress" | "observer")
            | ("progress" | "observer", "options")
            | ("manifest", "watermark")
            | ("watermark", "manifest")
    )
}

#[test]
fn each_layer_knows_only_those_below() {
    let exports = exports();
    let mut wrong = Vec::new();
    for (path, text) in all().iter().filter(|(path, _)| path.starts_with("src")) {
        let module = path.with_extension("");
        let module: Vec<&str> = module.iter().skip(1).filter_map(|name| name.to_str()).collect();
        let module: Vec<&str> = module.into_iter().filter(|name| *name != "mod").collect();
        for name in forbidden(&module, text, &exports) {
            let own = module[0];
            // An error names the version of the format.
            let is_known = KNOWN.contains(&(own, &name)) || (own, &*name) == ("error", "format");
            if !is_known && !is_allowed_sibling(own, &name) {
                wrong.push(format!("{} knows {name}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (module, source) in [
        (&["format"][..], "use crate::storage::File;"),
        (&["format"], "use crate::{format::ALIGN, storage::{File, Disk as Real}};"),
        (&["format", "frame"], "use super::super::storage::*;"),
        (&["format"], "fn f(_: &dyn super::storage::File) {}"),
        (&["format"], "mod inner { use super::super::sim::SimDisk; }"),
        (&["format"], "fn f() { println!(\"{}\", crate::storage::DIRECT_ALIGN); }"),
    ] {
        assert_eq!(forbidden(module, source, &exports), ["storage"], "{source}");
    }
    assert_eq!(forbidden(&["observer"], "use crate::{Lsn, Recovery};", &exports), ["log"]);
    let fine = "use crate::format::DATA_START; use super::tell; use std::{fs, io};";
    assert_eq!(forbidden(&["log", "read"], fine, &exports), [""; 0]);
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

//! What the fuzz targets do, as plain functions: `tests/fuzz_corpus.rs` calls them too, without a fuzzer.

pub mod common;
pub mod manifest;
pub mod open_dir;
pub mod operations;
pub mod seeds;
pub mod segment;

#[allow(dead_code, reason = "the crash tests use more of it")]
#[path = "../../tests/crash/history.rs"]
mod history;
#[allow(dead_code, reason = "the crash tests use more of it")]
#[path = "../../tests/crash/model.rs"]
mod model;
#[allow(dead_code, reason = "the crash tests use more of it")]
#[path = "../../tests/crash/notes.rs"]
mod notes;

/// Takes any bytes.
pub type Body = fn(&[u8]);

/// Each target: its name, what it does, and what it begins from.
pub const TARGETS: [(&str, Body, seeds::Seeds); 4] = [
    ("segment", segment::run, seeds::segment),
    ("manifest", manifest::run, seeds::manifest),
    ("open_dir", open_dir::run, seeds::open_dir),
    ("operations", operations::run, seeds::operations),
];

//! The fuzz targets without a fuzzer, on their seeds, on what a fuzzer has found here, and on all that once
//! failed (`fuzz/README.md`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a test, and what it shares with the fuzzer"
)]

#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn files(kind: &str, target: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(kind).join(target);
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn check(target: &str) {
    let (_, body, seeds) = fuzz::TARGETS.into_iter().find(|(name, ..)| *name == target).unwrap();
    let check = |what: &dyn std::fmt::Display, data: &[u8]| {
        let done = catch_unwind(AssertUnwindSafe(|| body(data)));
        assert!(done.is_ok(), "{target} fails on {what}");
    };
    seeds().iter().enumerate().for_each(|(n, data)| check(&format!("seed {n}"), data));
    let regressions = files("regressions", target);
    for path in &regressions {
        check(&path.display(), &std::fs::read(path).unwrap());
    }
    // What a long run has found may be much.
    let seconds = std::env::var("DURALOG_CORPUS_SECONDS").ok().and_then(|s| s.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(1));
    let found = files("corpus", target);
    let mut tried = 0;
    for path in found.iter().take_while(|_| Instant::now() < until) {
        // A fuzzer at work may have put a smaller one in its place.
        let Ok(data) = std::fs::read(path) else { continue };
        check(&path.display(), &data);
        tried += 1;
    }
    let (regressions, found) = (regressions.len(), found.len());
    eprintln!("{target}: seeds, {regressions} regressions, {tried} of {found} in the corpus");
}

#[test]
fn p11_any_segment() {
    check("segment");
}

#[test]
fn p11_any_manifest() {
    check("manifest");
}

#[test]
fn p11_any_directory() {
    check("open_dir");
}

#[test]
fn p1_to_p6_any_operations() {
    check("operations");
}

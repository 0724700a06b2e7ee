//! What the surroundings of a log do to it: its files linked, removed or cut by others, root at its side, the process's limits.
//!
//! What could end in a signal runs in a child: this binary again, where [`child`] is the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    unreachable_pub,
    dead_code,
    reason = "a test"
)]

mod alone;
mod calls;
mod descriptors;
mod links;
mod locked;
mod owners;
mod parents;
#[path = "../real_fs/process.rs"]
mod process;
mod removed;
mod truncated;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use duralog::{Log, Options};

/// What a child does, when one is asked for; else nothing.
#[test]
fn child() {
    let Some(task) = process::task() else { return };
    match task.name.as_str() {
        "truncated" => truncated::child(&task),
        other => panic!("no such task: {other}"),
    }
}

pub const SEGMENT: u64 = 64 << 10;

pub fn small() -> Options {
    Options::new().segment_size(SEGMENT)
}

/// Records of about a thousand bytes each, from number `from` on.
pub fn append(log: &Log, from: usize, count: usize) {
    for n in from..from + count {
        log.append(format!("{n:06} {}", "x".repeat(1000)).as_bytes()).unwrap();
    }
    log.commit().unwrap();
}

/// The numbers of the records, in order.
pub fn numbers(log: &Log) -> Vec<usize> {
    log.replay().map(|record| number(record.unwrap().payload())).collect()
}

pub fn number(payload: &[u8]) -> usize {
    std::str::from_utf8(&payload[..6]).unwrap().parse().unwrap()
}

/// Every file of a directory, and what is in it.
pub fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(&path).unwrap())).collect()
}

pub fn named(dir: &Path, end: &str) -> Vec<PathBuf> {
    let mut paths: Vec<_> =
        contents(dir).into_keys().filter(|path| path.to_str().unwrap().ends_with(end)).collect();
    paths.sort();
    paths
}

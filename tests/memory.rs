//! P9: what a log takes of the process does not grow with what it keeps.
//!
//! The only test of its binary: it looks at the whole process.

#![allow(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::fs;
use std::time::Duration;

use duralog::{Log, Options};

const SEGMENT: u64 = 256 * 1024;

/// KiB of memory that belong to no file.
fn anonymous() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// How often a segment is mapped, and how many descriptors of segments there are.
fn segments_held() -> (usize, usize) {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let mapped = maps.lines().filter(|line| line.ends_with(".seg")).count();
    let links =
        fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    (mapped, links.filter(|to| to.extension().is_some_and(|end| end == "seg")).count())
}

/// `count` segments more, and then every record read.
fn fill_and_replay(log: &Log, count: u64) {
    for n in 0..count * (SEGMENT / 4096) {
        log.append(&[n as u8; 4000]).unwrap();
        if n % 256 == 0 {
            log.commit().unwrap();
        }
    }
    log.commit().unwrap();
    assert!(log.replay().all(|record| record.is_ok()));
}

/// What is held once the background has caught up: the active segment and the spare ones.
fn settled() -> (usize, usize) {
    let few = |(mapped, open): (usize, usize)| mapped <= 4 && open <= 4;
    for _ in 0..3000 {
        if few(segments_held()) {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    segments_held()
}

#[test]
fn p9_memory_mappings_and_descriptors_do_not_grow_with_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = Options::new().segment_size(SEGMENT).open(dir.path()).unwrap();
    fill_and_replay(&log, 20);
    let before = anonymous();
    fill_and_replay(&log, 400);
    let after = anonymous();
    // 100 MiB more are kept. A kept segment takes half a KiB in the catalog.
    assert!(after < before + 1024, "{before} KiB, then {after}");
    let (mapped, open) = settled();
    assert!(mapped <= 4 && open <= 4, "{mapped} mapped, {open} open; {:?}", log.stats());
    log.close().unwrap();
}

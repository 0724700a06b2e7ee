//! Logs of many segments: what is done for each of them, counted, and what an open still finds.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use duralog::sim::{Call, SimDisk};
use duralog::{Error, Log, Options};

fn options() -> Options {
    Options::new().segment_size(16 << 10)
}

/// A log of `count` sealed segments, closed.
fn fill(log: &Log, count: u64) {
    for n in 0..count {
        log.append(&n.to_le_bytes()).unwrap();
        log.roll().unwrap();
    }
    log.close().unwrap();
}

/// Files that an open of such a log opens.
fn opened(count: u64) -> u64 {
    let disk = SimDisk::new(1);
    fill(&options().open_on(&disk).unwrap(), count);
    let before = disk.count(Call::Open);
    let log = options().open_on(&disk).unwrap();
    let opened = disk.count(Call::Open) - before;
    assert_eq!(log.recovery().segments, count + 1);
    assert_eq!(log.replay().count() as u64, count);
    opened
}

#[test]
fn p9_an_open_after_a_close_opens_no_sealed_segment() {
    assert_eq!(opened(50), opened(3));
}

fn sealed(dir: &Path) -> PathBuf {
    let mut names: Vec<PathBuf> = fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    names.retain(|name| name.extension().is_some_and(|ext| ext == "seg"));
    names.sort();
    names.swap_remove(1)
}

#[test]
fn p5_a_sealed_segment_that_is_missing_or_short_is_found_by_the_open() {
    let damage: [fn(&Path); 2] = [
        |path| fs::remove_file(path).unwrap(),
        |path| OpenOptions::new().write(true).open(path).unwrap().set_len(12 << 10).unwrap(),
    ];
    for damage in damage {
        let dir = tempfile::tempdir().unwrap();
        fill(&options().open(dir.path()).unwrap(), 4);
        let path = sealed(dir.path());
        damage(&path);
        let refused = options().open(dir.path()).unwrap_err();
        assert!(matches!(&refused, Error::Corrupt(what) if what.path == path), "{refused}");
    }
}

#[test]
fn p5_a_sealed_segment_with_another_header_is_found_by_who_reads_it() {
    let dir = tempfile::tempdir().unwrap();
    fill(&options().open(dir.path()).unwrap(), 4);
    let path = sealed(dir.path());
    OpenOptions::new().write(true).open(&path).unwrap().write_at(&[1], 40).unwrap();
    let log = options().open(dir.path()).unwrap();
    let read: Vec<_> = log.replay().collect();
    assert_eq!(read.len(), 2, "the record before it, and the error");
    let refused = read[1].as_ref().unwrap_err();
    assert!(matches!(refused, Error::Corrupt(what) if what.path == path), "{refused}");
}

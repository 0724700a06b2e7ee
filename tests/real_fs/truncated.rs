//! Someone truncates a sealed segment that is mapped. Reads populate the pages before they touch them, so
//! that the missing ones are an error.
//!
//! Not protected, and outside the contract (the crate's documentation says so): a page that had been
//! populated when it was cut off, such as that of a `Record` that is held, or the rest of the 2 MiB that a
//! replay has already populated; and an append's stores into an active segment that was truncated. All of
//! these are SIGBUS.

use std::path::{Path, PathBuf};

use duralog::{Log, Lsn, Options};

use crate::disk::Disk;
use crate::process::{self, Task};

/// Several populated windows to a segment.
const SEGMENT: u64 = 8 << 20;
const RECORD: usize = 10_000;

fn options() -> Options {
    Options::new().segment_size(SEGMENT).spare_segments(0)
}

/// Three sealed segments, and their records' positions.
fn fill(log: &Log) -> Vec<Lsn> {
    let mut lsns = Vec::new();
    for sealed in 0..3u8 {
        while log.end().get() < (u64::from(sealed) + 1) * SEGMENT - 2 * RECORD as u64 {
            lsns.push(log.append(&[sealed; RECORD]).unwrap());
        }
        log.roll().unwrap();
    }
    log.commit().unwrap();
    lsns
}

fn second(dir: &Path) -> PathBuf {
    dir.join("0000000000000002.seg")
}

/// Opens, maps the second segment in the way that `how` says, lets it be truncated, and reads on.
pub fn child(task: &Task) {
    let log = options().open(&task.dir).unwrap();
    let lsns = fill(&log);
    let in_second = |lsn: &&Lsn| lsn.get() / SEGMENT == 1;
    let (first, last) = (lsns.iter().find(in_second), lsns.iter().rfind(in_second));
    let (first, last) = (*first.unwrap(), *last.unwrap());
    let mut replay = log.replay_from(first).unwrap();
    // A replay that stands in the segment, or a record of it, keeps it mapped.
    let held = (task.how == "read").then(|| log.read(first).unwrap());
    if task.how == "replay" {
        assert_eq!(replay.next().unwrap().unwrap().payload(), [1; RECORD]);
    }
    println!("\nmapped");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let error = match task.how.as_str() {
        "read" => log.read(last).unwrap_err(),
        _ => replay.find_map(Result::err).unwrap(),
    };
    assert!(!error.is_full() && !error.is_poisoned(), "{error}");
    assert!(error.to_string().contains("0000000000000002.seg"), "{error}");
    // A log that was whole up to there is not told as one that ends there.
    assert!(log.replay().any(|record| record.is_err()));
    // What lies elsewhere is there, and the log goes on.
    assert_eq!(log.read(*lsns.last().unwrap()).unwrap().payload(), [2; RECORD]);
    let more = log.append_durable(b"more").unwrap();
    assert_eq!(log.read(more).unwrap().payload(), b"more");
    drop(held);
    println!("\nerror: {error}");
}

fn truncate_under_a_reader(dir: &Path, how: &str, len: u64) {
    let mut child = process::start("truncated", dir, how);
    child.expect("mapped");
    std::fs::OpenOptions::new().write(true).open(second(dir)).unwrap().set_len(len).unwrap();
    child.say("go");
    assert!(child.finish().contains("error: "));
    let error = options().open(dir).unwrap_err();
    assert!(error.is_corrupt(), "{error}");
}

fn truncate_each_way(path: &Path) {
    // At a window's end, inside a window, inside a page.
    for (n, len) in [2 << 20, 3 << 20, (5 << 20) + 1234].into_iter().enumerate() {
        for how in ["replay", "read", "unmapped"] {
            let dir = path.join(format!("{how}-{n}"));
            truncate_under_a_reader(&dir, how, len);
            std::fs::remove_dir_all(dir).unwrap();
        }
    }
}

#[test]
fn p7_a_truncated_segment_is_an_error_for_its_reader_and_corrupt_when_opened() {
    truncate_each_way(tempfile::tempdir().unwrap().path());
}

#[test]
fn p7_a_truncated_segment_is_an_error_on_xfs() {
    let Some(disk) = Disk::new("xfs") else { return };
    truncate_each_way(&disk.path());
}

#[test]
fn p7_a_truncated_segment_is_an_error_on_btrfs() {
    let Some(disk) = Disk::new("btrfs") else { return };
    truncate_each_way(&disk.path());
}

//! Not a byte is free when the log is opened: after a kill, and after a close.

use std::path::Path;
use std::time::Instant;

use duralog::{Error, Log, Lsn, Options, Tail};

use crate::brim::{fill_disk, free_disk};
use crate::disk::{Disk, leave};
use crate::full::options;
use crate::process::{self, Task};

/// Of which the reserve does not hold one.
const SEGMENT: u64 = 1 << 20;

fn large(how: &str) -> Options {
    options(how).segment_size(SEGMENT).spare_segments(0)
}

/// Appends until there is no room. On btrfs, where every write needs some, the sync may meet the full disk, and is final.
fn append_all(log: &Log) -> (Vec<Lsn>, Error) {
    let mut lsns = Vec::new();
    loop {
        match log.append(&[9; 5000]) {
            Ok(lsn) => lsns.push(lsn),
            Err(error) => return (lsns, error),
        }
    }
}

/// A log without a spare file, on a disk without room for another segment: it ends as by a kill, and then the disk
/// is filled to the last byte. Its records, all durable.
fn left_full(disk: &Path, dir: &Path, how: &str) -> usize {
    leave(disk, 8 << 20);
    let log = large(how).open(dir).unwrap();
    let mut durable = 0;
    // Until a sync, or an append, says that there is no room.
    while log.append_durable(&[9; 5000]).is_ok() {
        durable += 1;
    }
    drop(log);
    fill_disk(disk);
    durable
}

fn opened(dir: &Path, how: &str, why: &str) -> Log {
    let begin = Instant::now();
    let log = large(how).open(dir).unwrap_or_else(|error| panic!("{why}: {error}"));
    println!("{why}: opened in {:.1} ms", begin.elapsed().as_secs_f64() * 1000.0);
    log
}

fn one_round(disk: &Path, dir: &Path, how: &str) {
    let (how, may_poison) = how.split_once('-').map_or((how, false), |(how, _)| (how, true));
    let durable = left_full(disk, dir, how);
    let log = opened(dir, how, "after a kill");
    let found: Vec<Lsn> = log.replay().map(|record| record.unwrap().lsn()).collect();
    assert!(found.len() >= durable, "{} of {durable}", found.len());
    fill_disk(disk);
    let (more, full) = append_all(&log);
    assert!(full.is_full() && !full.is_poisoned(), "{full}");
    assert!(may_poison || more.len() > 4, "{}", more.len());
    fill_disk(disk);
    if may_poison && log.commit().is_err() {
        return; // it was told
    }
    log.commit().unwrap();
    fill_disk(disk);
    let given = log.checkpoint(found[found.len() / 2]).unwrap();
    assert!(given.segments >= 1, "{given:?}");
    // Another takes what was given back.
    fill_disk(disk);
    log.close().unwrap();
    fill_disk(disk);
    let log = opened(dir, how, "after a close");
    // Unless an append failed half-way.
    assert!(may_poison || log.recovery().tail == Tail::Clean);
    let kept = log.replay().count();
    assert!(kept >= found.len() / 2 + more.len(), "{kept}");
    let (_, full) = append_all(&log);
    assert!(full.is_full() && !full.is_poisoned(), "{full}");
    // There is room: without reopening.
    free_disk(disk);
    log.append_durable(&[8; SEGMENT as usize / 2]).unwrap();
    drop(log);
    opened(dir, how, "with room");
    std::fs::remove_dir_all(dir).unwrap();
}

pub fn child(task: &Task) {
    for n in 0..3 {
        one_round(&task.dir, &task.dir.join(format!("log-{n}")), &task.how);
        free_disk(&task.dir);
    }
}

fn run(kind: &'static str, how: &str) {
    let Some(disk) = Disk::new(kind) else { return };
    eprintln!("{kind}, {how}:\n{}", process::run("zero", &disk.path(), how));
}

#[test]
fn p7_a_log_opens_with_not_a_byte_free_on_ext4() {
    run("ext4", "auto");
    run("ext4", "mmap");
    run("ext4", "pwrite");
}

#[test]
fn p7_a_log_opens_with_not_a_byte_free_on_xfs() {
    run("xfs", "auto");
}

#[test]
fn p7_a_log_opens_with_not_a_byte_free_on_btrfs() {
    run("btrfs", "auto-maybe");
}

#[test]
fn p7_a_log_opens_with_not_a_byte_free_on_tmpfs() {
    run("tmpfs", "mmap");
}

//! The log keeps a reserve, so that a checkpoint needs no room; by one thread, where each step is known.

use std::path::Path;

use duralog::{Log, Lsn, Options};

use crate::brim::{fill_disk, free_disk, give_room};
use crate::disk::Disk;
use crate::full::options;

const SEGMENT: u64 = 64 << 10;

fn small(how: &str) -> Options {
    options(how).segment_size(SEGMENT)
}

/// Appends until there is no room.
fn append_all(log: &Log, lsns: &mut Vec<Lsn>) {
    let full = loop {
        match log.append(&[9; 1000]) {
            Ok(lsn) => lsns.push(lsn),
            Err(error) => break error,
        }
    };
    assert!(full.is_full() && !full.is_poisoned(), "{full}");
}

/// Not a byte is free, and yet a checkpoint is possible: it gives room for more.
fn checkpoint_makes_room(log: &Log, lsns: &[Lsn], disk: &Path) {
    // A segment that the background thread is just trying to make leaves its room behind once.
    for _ in 0..3 {
        fill_disk(disk);
        assert!(log.append(&[9; SEGMENT as usize / 2]).unwrap_err().is_full());
    }
    let kept = lsns[lsns.len() / 2];
    assert!(log.checkpoint(kept).unwrap().segments > 2);
    let more = log.append_durable(b"there is room again").unwrap();
    assert_eq!(log.read(more).unwrap().payload(), b"there is room again");
}

fn goes_on(kind: &'static str, how: &str) {
    let Some(disk) = Disk::new(kind) else { return };
    disk.leave(2 << 20);
    // How much of a full disk is left to no one differs from time to time (xfs: 5 to 46 blocks).
    for round in 0..4 {
        let dir = disk.path().join(format!("log-{round}"));
        one_round(&disk, &dir, how);
        free_disk(&disk.path());
        std::fs::remove_dir_all(dir).unwrap();
        disk.leave(2 << 20);
    }
}

fn one_round(disk: &Disk, dir: &Path, how: &str) {
    let log = small(how).open(dir).unwrap();
    let mut lsns = Vec::new();
    append_all(&log, &mut lsns);
    // All that was appended can be made durable and read, and the error stays an error.
    log.commit().unwrap();
    assert_eq!(log.replay().count(), lsns.len());
    assert!(log.append(&[9; 1000]).unwrap_err().is_full());
    checkpoint_makes_room(&log, &lsns, &disk.path());
    drop(log);
    let log = small(how).open(dir).unwrap();
    let kept = lsns.len() / 2;
    assert_eq!(log.replay_from(lsns[kept]).unwrap().count(), lsns.len() - kept + 1);
}

#[test]
fn p7_a_checkpoint_needs_no_room_on_tmpfs() {
    goes_on("tmpfs", "mmap");
    goes_on("tmpfs", "pwrite");
}

#[test]
fn p7_a_checkpoint_needs_no_room_on_ext4() {
    goes_on("ext4", "mmap");
    goes_on("ext4", "pwrite");
}

#[test]
fn p7_a_checkpoint_needs_no_room_on_xfs() {
    goes_on("xfs", "auto");
}

/// A segment that just fits leaves no room for the manifest that names it. If that takes the reserve, a
/// checkpoint has none.
#[test]
fn p7_the_reserve_is_not_spent_on_appends() {
    let Some(disk) = Disk::new("tmpfs") else { return };
    disk.leave(1 << 20);
    let log = small("auto").open(disk.path().join("log")).unwrap();
    let mut lsns = Vec::new();
    while lsns.len() < 400 {
        lsns.push(log.append(&[1; 1000]).unwrap());
    }
    fill_disk(&disk.path());
    append_all(&log, &mut lsns);
    give_room(&disk.path(), SEGMENT);
    append_all(&log, &mut lsns);
    log.commit().unwrap();
    checkpoint_makes_room(&log, &lsns, &disk.path());
}

/// A kill between the two system calls that make the reserve leaves it without blocks.
#[test]
fn p7_a_reserve_that_a_kill_left_empty_is_filled_again() {
    let Some(disk) = Disk::new("tmpfs") else { return };
    disk.leave(1 << 20);
    let dir = disk.path().join("log");
    small("auto").open(&dir).unwrap().close().unwrap();
    std::fs::File::create(dir.join("RESERVE")).unwrap();
    let log = small("auto").open(&dir).unwrap();
    let mut lsns = Vec::new();
    append_all(&log, &mut lsns);
    log.commit().unwrap();
    checkpoint_makes_room(&log, &lsns, &disk.path());
}

//! The disk fills to the last byte under many threads.

use std::path::Path;

use duralog::{Error, Log, Options, Result, WriteMethod};

use crate::brim::{Told, fill_disk, free_disk, give_room};
use crate::disk::Disk;
use crate::process::{self, Task};

/// What the log may take before the disk is full.
const ROOM: u64 = 8 << 20;
const SEGMENT: u64 = 128 << 10;

/// By the word that names a way to write.
pub fn options(how: &str) -> Options {
    let write = match how {
        "mmap" => WriteMethod::Mmap,
        "pwrite" => WriteMethod::Pwrite,
        _ => WriteMethod::Auto,
    };
    Options::new().segment_size(SEGMENT).write_method(write)
}

/// An open on a full disk succeeds or says that it is full.
fn open_full(dir: &Path, how: &str) -> Option<Log> {
    match options(how).open(dir) {
        Ok(log) => Some(log),
        Err(error) => {
            assert!(error.is_full() && !error.is_corrupt(), "{error}");
            None
        }
    }
}

fn expect_full<T: std::fmt::Debug>(result: Result<T>) -> Error {
    let error = result.unwrap_err();
    assert!(error.is_full(), "{error}");
    error
}

/// On a log that is not poisoned, on a disk without a free byte.
fn go_on_without_reopening(log: &Log, told: &mut Told, disk: &Path) {
    told.committed(log.commit().unwrap());
    told.check(log);
    fill_disk(disk);
    let middle = told.middle(log);
    // Appends may have used the reserve up: then nothing has changed, and some room is enough. That a
    // checkpoint needs none is shown in `reserve`.
    let checkpoint = log.checkpoint(middle).or_else(|error| {
        assert!(error.is_full() && !error.is_poisoned(), "{error}");
        assert!(log.checkpoint_lsn() < middle);
        told.check(log);
        give_room(disk, 2 << 20);
        log.checkpoint(middle)
    });
    let freed = checkpoint.unwrap();
    assert!(freed.segments > 2, "{freed:?}");
    assert_eq!(log.checkpoint_lsn(), middle);
    told.check(log);
    for n in 0..20u8 {
        told.append_durable(log, &[n; 5000]);
    }
    told.check(log);
}

pub fn child(task: &Task) {
    let (disk, how) = (task.dir.as_path(), task.how.as_str());
    let dir = disk.join("log");
    let mut told = Told::default();
    let log = options(how).open(&dir).unwrap();
    told.fill(&log, disk, 400);
    told.check(&log);
    let again = expect_full(log.append(&[0; 100_000]));
    assert_eq!(again.is_poisoned(), told.poisoned);
    if told.poisoned {
        println!("\npoisoned");
    } else {
        go_on_without_reopening(&log, &mut told, disk);
        told.fill(&log, disk, 0);
        told.check(&log);
    }
    // As a crash, then by a close; the disk is still full.
    drop(log);
    for close in [false, true, true] {
        fill_disk(disk);
        let Some(log) = open_full(&dir, how) else { continue };
        told.check(&log);
        if close {
            log.close().unwrap_or_else(|error| assert!(error.is_full(), "{error}"));
        }
    }
    free_disk(disk);
    for _ in 0..2 {
        let log = options(how).open(&dir).unwrap();
        told.check(&log);
        told.append_durable(&log, b"there is room again");
        log.close().unwrap();
    }
    told.check(&options(how).open(&dir).unwrap());
    duralog::inspect::Inspector::open(&dir).unwrap().verify().unwrap();
}

fn full(kind: &'static str, how: &str, may_poison: bool) {
    let Some(disk) = Disk::new(kind) else { return };
    disk.leave(ROOM);
    let printed = process::run("full", &disk.path(), how);
    assert!(may_poison || !printed.contains("poisoned"), "a full disk is no failed sync here");
}

#[test]
fn p7_a_full_ext4_is_an_error_and_loses_nothing() {
    full("ext4", "auto", false);
}

#[test]
fn p7_a_full_ext4_is_an_error_and_loses_nothing_by_pwrite() {
    full("ext4", "pwrite", false);
}

#[test]
fn p7_a_full_xfs_is_an_error_and_loses_nothing() {
    full("xfs", "auto", false);
}

/// btrfs needs space for every write, so that a sync may meet the full disk and is final.
#[test]
fn p7_a_full_btrfs_is_an_error_and_loses_nothing() {
    full("btrfs", "auto", true);
}

#[test]
fn p7_a_full_tmpfs_is_an_error_and_loses_nothing() {
    for how in ["mmap", "pwrite"] {
        full("tmpfs", how, false);
    }
}

/// `Full` says that nothing was appended: that holds after a crash too, also where a part of the
/// write had reached the file. Each record fills its pages, and the word behind it begins the next.
#[test]
fn p7_what_failed_for_want_of_room_is_not_there_after_a_crash() {
    let Some(disk) = Disk::new("btrfs") else { return };
    disk.leave(24 << 20);
    const PAGES: u64 = 64;
    for pages in [1, 2, PAGES, PAGES + 1, 2 * PAGES] {
        let dir = disk.path().join(format!("log-{pages}"));
        let open = || Options::new().segment_size(4 << 20).open(&dir).unwrap();
        let log = open();
        // No one else writes meanwhile.
        let begin = std::time::Instant::now();
        while log.stats().segments_ready == 0 {
            assert!(begin.elapsed().as_secs() < 60, "the background thread has found no room");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        fill_disk(&disk.path());
        give_room(&disk.path(), pages * 4096);
        let page = |n: u32| n.to_le_bytes().repeat((PAGES as usize * 4096 - 8) / 4);
        let mut appended = 0;
        let error = loop {
            match log.append(&page(appended)) {
                Ok(_) => appended += 1,
                Err(error) => break error,
            }
        };
        assert!(error.is_full() && !error.is_poisoned(), "{error}");
        drop(log);
        free_disk(&disk.path());
        let log = open();
        let found: Vec<_> = log.replay().map(|record| record.unwrap().payload().to_vec()).collect();
        assert_eq!(found.len(), appended as usize, "records found, records appended");
        assert!((0..appended).zip(&found).all(|(n, found)| page(n) == *found));
        drop(log);
        std::fs::remove_dir_all(dir).unwrap();
    }
}

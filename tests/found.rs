//! What reading the code found, where no simulated disk is needed: each of these failed once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::cell::Cell;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use duralog::{Log, Options, WriteMethod};

fn small() -> Options {
    Options::new().segment_size(65536)
}

fn payloads(log: &Log) -> Vec<Vec<u8>> {
    log.replay().map(|record| record.unwrap().payload().to_vec()).collect()
}

fn segments(dir: &Path) -> Vec<std::path::PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|e| e == "seg")).collect()
}

/// Bytes of a caller that panics, or says another length, when asked again.
struct Moody<'a> {
    asked: &'a Cell<usize>,
    panics_at: usize,
}

impl AsRef<[u8]> for Moody<'_> {
    fn as_ref(&self) -> &[u8] {
        self.asked.set(self.asked.get() + 1);
        assert_ne!(self.asked.get(), self.panics_at, "the caller's own code");
        &[7; 5000][..1000 * (self.asked.get() % 5)]
    }
}

/// The caller's code in a batch may panic, and need not say the same twice.
#[test]
fn p3_a_batch_is_whole_whatever_the_callers_code_does() {
    for write in [WriteMethod::Mmap, WriteMethod::Pwrite, WriteMethod::Auto] {
        for panics_at in 1..12 {
            let dir = tempfile::tempdir().unwrap();
            let log = small().write_method(write).open(dir.path()).unwrap();
            let asked = Cell::new(0);
            let batch = [(); 3].map(|()| Moody { asked: &asked, panics_at });
            let appended = catch_unwind(AssertUnwindSafe(|| log.append_batch(&batch)));
            let whole = appended.map_or(0, |lsns| lsns.unwrap().len());
            assert_eq!(payloads(&log).len(), whole);
            log.append_durable(b"after").unwrap();
            let stats = log.stats();
            assert_eq!(stats.appends, whole as u64 + 1);
            drop(log);
            let log = small().write_method(write).open(dir.path()).unwrap();
            let found = payloads(&log);
            assert_eq!(found.len(), whole + 1, "{write:?} {panics_at}");
            assert_eq!(found.last().unwrap(), b"after");
            let bytes: usize = found.iter().map(Vec::len).sum();
            assert_eq!(stats.bytes, bytes as u64);
        }
    }
}

/// After a checkpoint of everything the log begins behind what was durable, and that is durable too.
#[test]
fn positions_are_in_order_after_a_checkpoint_of_everything() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    for round in 0..5 {
        let durable = log.append_durable(&[7; 100]).unwrap();
        let in_order = |log: &Log| log.head() <= log.durable() && log.durable() <= log.end();
        log.checkpoint(log.durable()).unwrap();
        assert!(in_order(&log), "round {round}: {} {} {}", log.head(), log.durable(), log.end());
        assert!(log.head() > durable);
        assert_eq!(log.commit().unwrap(), log.end());
        log.checkpoint(log.end()).unwrap();
        assert_eq!(log.replay_range(..log.durable()).unwrap().count(), 0);
    }
    log.append(b"not durable").unwrap();
    assert!(log.durable() < log.end());
}

/// What a reader held is given back soon after it lets go, though no one appends any more.
#[test]
fn p10_what_a_reader_held_is_given_back_without_another_append() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().spare_segments(0).open(dir.path()).unwrap();
    let lsn = log.append_durable(&[7; 60_000]).unwrap();
    let held = log.read(lsn).unwrap();
    let next = log.append_durable(&[8; 60_000]).unwrap();
    let begun = Instant::now();
    while log.stats().segments_ready == 0 || log.stats().durable < log.end() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    // The worker has done its round and waits; only then comes what it has to be told of.
    std::thread::sleep(Duration::from_millis(200));
    // Not of everything: to end a segment wakes it.
    log.checkpoint(next).unwrap();
    assert_eq!(log.stats().segments_held, 1);
    drop(held);
    while log.stats().segments_held > 0 {
        assert!(begun.elapsed() < Duration::from_secs(120), "it is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A log that was restored by a tool that leaves out zeros: a store into a hole needs space, and would be a signal
/// on a full disk.
#[test]
fn p7_holes_of_a_restored_log_are_filled_before_they_are_stored_into() {
    let dir = tempfile::tempdir().unwrap();
    let open = || small().write_method(WriteMethod::Mmap).open(dir.path()).unwrap();
    let log = open();
    log.append_durable(&[7; 1000]).unwrap();
    let begun = Instant::now();
    while log.stats().segments_ready == 0 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    log.close().unwrap();
    drop(log);
    for path in segments(dir.path()) {
        let whole = std::fs::read(&path).unwrap();
        let used = whole.len() - whole.iter().rev().take_while(|byte| **byte == 0).count();
        std::fs::remove_file(&path).unwrap();
        let file = std::fs::File::create_new(&path).unwrap();
        file.write_all_at(&whole[..used], 0).unwrap();
        file.set_len(whole.len() as u64).unwrap();
    }
    let holes = |dir: &Path| {
        let paths = segments(dir).into_iter();
        let metadata = paths.map(|path| std::fs::metadata(path).unwrap());
        metadata.filter(|m| m.blocks() * 512 < m.len()).count()
    };
    if holes(dir.path()) == 0 {
        eprintln!("skipped: this file system makes no holes");
        return;
    }
    let log = open();
    assert_eq!(holes(dir.path()), 0);
    log.append_durable(&[8; 60_000]).unwrap();
    assert_eq!(payloads(&log).len(), 2);
}

/// A tool that leaves out zeros makes a hole of the whole reserve.
#[test]
fn p7_the_reserve_of_a_restored_log_is_filled_again() {
    let dir = tempfile::tempdir().unwrap();
    small().open(dir.path()).unwrap().close().unwrap();
    let reserve = dir.path().join("RESERVE");
    let len = std::fs::metadata(&reserve).unwrap().len();
    let before = std::fs::metadata(&reserve).unwrap().blocks() * 512;
    // Restored by a tool that leaves out zeros.
    std::fs::remove_file(&reserve).unwrap();
    std::fs::File::create_new(&reserve).unwrap().set_len(len).unwrap();
    eprintln!("before {before}, after cp {}", std::fs::metadata(&reserve).unwrap().blocks() * 512);
    let log = small().open(dir.path()).unwrap();
    log.append_durable(&[7; 60_000]).unwrap();
    log.append_durable(&[7; 60_000]).unwrap();
    let held = std::fs::metadata(&reserve).unwrap().blocks() * 512;
    assert!(held >= len, "the reserve of {len} bytes holds {held} back");
}

//! The promises P1 to P12, each by a test that names it. Power cuts are simulated elsewhere; here P1 and P2
//! are shown by crashes of the process (a drop without close, and real kills in `cli/tests/kill.rs`).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

mod refused;
mod space;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use duralog::{Error, Log, Lsn, Options, SyncMethod, SyncPolicy, Tail, WriteMethod};

pub(crate) fn small() -> Options {
    Options::new().segment_size(65536)
}

pub(crate) fn payloads(log: &Log) -> Vec<Vec<u8>> {
    log.replay().map(|record| record.unwrap().payload().to_vec()).collect()
}

pub(crate) fn segment_files(dir: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".seg")).collect();
    names.sort();
    names
}

#[test]
fn p1_committed_is_durable_after_each_way_to_commit() {
    for method in [SyncMethod::Fdatasync, SyncMethod::Msync] {
        for write in [WriteMethod::Mmap, WriteMethod::Pwrite, WriteMethod::Auto] {
            let dir = tempfile::tempdir().unwrap();
            let log = small().sync_method(method).write_method(write).open(dir.path()).unwrap();
            let a = log.append(b"a").unwrap();
            assert!(log.durable() <= a);
            log.commit_to(a).unwrap();
            assert!(log.durable() > a);
            let b = log.append_durable(b"b").unwrap();
            assert!(log.durable() > b);
            log.append(b"c").unwrap();
            assert_eq!(log.commit().unwrap(), log.end());
            assert!(log.stats().syncs >= 3);
            drop(log);
            let log = small().open(dir.path()).unwrap();
            assert_eq!(payloads(&log), [b"a", b"b", b"c"]);
        }
    }
}

#[test]
fn p1_a_commit_covers_a_roll() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    let first = log.append(&[1; 60_000]).unwrap();
    let second = log.append(&[2; 60_000]).unwrap();
    log.commit_to(second).unwrap();
    assert!(log.durable() > second && second > first);
}

#[test]
fn p1_threads_share_syncs_and_none_returns_early() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let log = &log;
            scope.spawn(move || {
                for _ in 0..50 {
                    let lsn = log.append_durable(&[thread; 100]).unwrap();
                    assert!(log.durable() > lsn);
                }
            });
        }
    });
    let stats = log.stats();
    assert_eq!(stats.appends, 400);
    assert!(stats.records_per_sync >= 1.0);
}

#[test]
fn p2_what_comes_back_is_what_was_appended_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut all: Vec<Vec<u8>> = Vec::new();
    for life in 0..5u8 {
        let log = small().open(dir.path()).unwrap();
        assert_eq!(payloads(&log), all, "life {life}");
        for n in 0..300usize {
            let record = vec![life ^ n as u8; n * 7 % 900];
            log.append(&record).unwrap();
            all.push(record);
        }
        log.commit().unwrap();
        if life % 2 == 0 {
            log.close().unwrap();
        }
    }
}

#[test]
fn p2_no_lsn_names_two_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut highest = Lsn::MIN;
    for _ in 0..10 {
        let log = small().open(dir.path()).unwrap();
        for _ in 0..3 {
            let lsn = log.append(b"x").unwrap();
            assert!(lsn > highest);
            highest = lsn;
        }
        let keep = log.append(b"keep").unwrap();
        let cut = log.append(b"cut").unwrap();
        log.truncate_after(keep).unwrap();
        highest = cut;
    }
}

#[test]
fn p3_a_batch_is_all_or_nothing_wherever_it_is_torn() {
    for cut_at in [8, 40, 60, 100] {
        let dir = tempfile::tempdir().unwrap();
        let log = small().open(dir.path()).unwrap();
        log.append(b"before").unwrap();
        let lsns = log.append_batch(&[[1u8; 20], [2; 20], [3; 20]]).unwrap();
        assert_eq!(lsns.len(), 3);
        drop(log);
        // As if the pages behind had not reached the disk.
        let path = dir.path().join(&segment_files(dir.path())[0]);
        let mut bytes = std::fs::read(&path).unwrap();
        let from = usize::try_from(lsns[0].get()).unwrap() + cut_at;
        bytes[from..].fill(0);
        std::fs::write(&path, bytes).unwrap();
        let log = small().open(dir.path()).unwrap();
        let whole = cut_at >= 92;
        assert_eq!(payloads(&log).len(), if whole { 4 } else { 1 }, "cut at {cut_at}");
        if !whole {
            assert_eq!(log.recovery().tail, Tail::Torn { at: lsns[0] });
        }
    }
}

#[test]
fn p4_appended_survives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    for n in 0..2000u32 {
        log.append(&n.to_le_bytes()).unwrap();
    }
    drop(log); // no sync, no close
    let log = small().open(dir.path()).unwrap();
    assert_eq!(log.replay().count(), 2000);
    assert_eq!(log.recovery().records, 2000);
    assert!(matches!(log.recovery().tail, Tail::Unclean { .. }));
    assert_eq!(log.durable(), log.end());
}

#[test]
fn background_policies_make_records_durable_without_a_commit() {
    for policy in [SyncPolicy::Interval(Duration::from_millis(5)), SyncPolicy::Bytes(10_000)] {
        let dir = tempfile::tempdir().unwrap();
        let log = small().sync_policy(policy).open(dir.path()).unwrap();
        let lsn = log.append(&[1; 20_000]).unwrap();
        for _ in 0..12_000 {
            if log.durable() > lsn {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(log.durable() > lsn, "{policy:?}");
    }
}

#[test]
fn readers_run_beside_appends_rolls_and_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (log, done) = (&log, &done);
        for _ in 0..2 {
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let mut last: Option<u32> = None;
                    for record in log.replay() {
                        let record = match record {
                            Err(Error::Gone { .. }) => break,
                            record => record.unwrap(),
                        };
                        let n = u32::from_le_bytes(record.payload()[..4].try_into().unwrap());
                        assert!(last.is_none_or(|last| last + 1 == n));
                        assert!(record.payload()[4..].iter().all(|byte| *byte == n as u8));
                        last = Some(n);
                    }
                }
            });
        }
        for n in 0..5000u32 {
            let mut payload = n.to_le_bytes().to_vec();
            payload.resize(4 + n as usize % 500, n as u8);
            log.append(&payload).unwrap();
            if n % 700 == 699 {
                log.checkpoint(log.commit().unwrap()).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

//! Where a log begins, and from where it can be read: the same for the log itself and for everyone that looks from outside
//! (P5).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

use std::path::Path;

use duralog::inspect::Inspector;
use duralog::sim::SimDisk;
use duralog::{Error, Log, Lsn, Options, Reader};

fn options() -> Options {
    Options::new().segment_size(16 << 10)
}

fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn write(log: &Log, count: u32) -> Vec<Lsn> {
    (0..count).map(|n| log.append_durable(&n.to_le_bytes().repeat(250)).unwrap()).collect()
}

/// How many records come from `from` on, by each way to read; none: it is not in the log.
fn from(log: &Log, dir: &Path, from: Lsn) -> Option<usize> {
    let known = |error: Error| assert!(matches!(error, Error::OutOfRange { .. }), "{error}");
    let counts = [
        log.replay_from(from).map_err(known).ok().map(Iterator::count),
        log.replay_range(from..).map_err(known).ok().map(Iterator::count),
        Inspector::open(dir).unwrap().records_from(from).map_err(known).ok().map(Iterator::count),
        Reader::open(dir).unwrap().replay_from(from).map_err(known).ok().map(Iterator::count),
    ];
    assert!(counts.iter().all(|count| *count == counts[0]), "{from}: {counts:?}");
    counts[0]
}

#[test]
fn a_replay_begins_at_the_checkpoint_and_at_the_minimum_whatever_has_gone() {
    let dir = in_memory();
    let log = options().open(dir.path()).unwrap();
    assert_eq!(from(&log, dir.path(), log.checkpoint_lsn()), Some(0));
    let lsns = write(&log, 100);
    // Nothing was ever let go of: every position before the end is in the log.
    for below in [log.checkpoint_lsn(), Lsn::MIN, Lsn::new(8), Lsn::new(4095), log.head()] {
        assert_eq!(from(&log, dir.path(), below), Some(100), "{below}");
    }
    log.checkpoint(lsns[50]).unwrap();
    let left = log.replay().count();
    assert!((50..100).contains(&left));
    assert_eq!(from(&log, dir.path(), log.checkpoint_lsn()), Some(50));
    assert_eq!(from(&log, dir.path(), Lsn::MIN), Some(left));
    assert_eq!(from(&log, dir.path(), lsns[0]), None);
    log.checkpoint(log.durable()).unwrap();
    log.roll().unwrap();
    log.checkpoint(log.durable()).unwrap();
    for at in [log.checkpoint_lsn(), Lsn::MIN, log.end()] {
        assert_eq!(from(&log, dir.path(), at), Some(0), "{at}");
    }
    assert_eq!(from(&log, dir.path(), Lsn::new(log.end().get() + 1 + (1 << 40))), None);
}

/// An open whose power was cut leaves a log without a segment, or with sealed ones alone.
#[test]
fn p5_the_head_is_one_wherever_a_recovery_was_interrupted() {
    let disk = SimDisk::new(7);
    let log = options().open_on(&disk).unwrap();
    write(&log, 60);
    log.checkpoint(log.durable()).unwrap();
    drop(log);
    let (mut empty, mut at) = (0, 0);
    loop {
        let disk = disk.crash(1);
        disk.cut_power_at(at);
        let whole = options().open_on(&disk).is_ok();
        if whole {
            break;
        }
        disk.restart();
        let dir = in_memory();
        for name in disk.files() {
            std::fs::write(dir.path().join(&name), disk.bytes(&name).unwrap()).unwrap();
        }
        let inspector = Inspector::open(dir.path()).unwrap();
        let summary = inspector.summary();
        let reader = Reader::open(dir.path()).unwrap();
        assert_eq!(summary.head, reader.head().unwrap(), "cut at {at}");
        assert!(summary.head <= reader.end().unwrap().max(summary.head), "cut at {at}");
        // From the checkpoint on nothing has gone, wherever the head is.
        let records = reader.replay_from(summary.checkpoint).unwrap().count();
        assert_eq!(records, inspector.records_from(summary.checkpoint).unwrap().count());
        empty += u32::from(summary.segments.is_empty());
        if summary.segments.is_empty() {
            assert!(summary.head >= summary.checkpoint, "cut at {at}");
        }
        at += 1;
    }
    assert!(empty > 0, "no cut point of {at} left a log without a segment");
}

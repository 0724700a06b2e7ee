//! Reading beside a writer: what it does meanwhile is neither damage nor the end of the log, and damage stays
//! damage (P5).
//!
//! `records()` is lazy: each test takes some records, lets the writer act, and goes on.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::path::Path;

use duralog::inspect::{Inspector, Records};
use duralog::{Error, Log, Lsn, Options, Tail};

fn options() -> Options {
    Options::new().segment_size(16 << 10)
}

/// Appends and commits records that say their numbers.
fn write(log: &Log, numbers: std::ops::Range<u32>) -> Vec<Lsn> {
    numbers.map(|n| log.append_durable(&n.to_le_bytes().repeat(50)).unwrap()).collect()
}

/// The numbers of the records to the end of the walk, or the error that it ended with.
fn numbers(records: &mut Records<'_>) -> Result<Vec<u32>, Error> {
    records
        .map(|record| {
            let payload = record?.payload;
            let number: [u8; 4] = payload[..4].try_into().unwrap();
            assert!(payload == number.repeat(payload.len() / 4), "a record has changed");
            Ok(u32::from_le_bytes(number))
        })
        .collect()
}

/// What recovery leaves that was killed between its two manifests: all sealed, none active.
fn interrupt_recovery(dir: &Path) {
    // It stumbles over a directory with the name of a segment that it means to remove.
    let stone = dir.join("0000000000000000.seg");
    std::fs::create_dir(&stone).unwrap();
    options().open(dir).unwrap_err();
    std::fs::remove_dir(&stone).unwrap();
}

#[test]
fn an_interrupted_recovery_is_no_clean_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let last = *write(&log, 0..5).last().unwrap();
    drop(log);
    interrupt_recovery(dir.path());
    let inspector = Inspector::open(dir.path()).unwrap();
    let summary = inspector.summary();
    assert!(summary.clean_end.is_none() && summary.segments.iter().all(|s| s.end.is_some()));
    let at = Lsn::new(last.get() + 208);
    let mut records = inspector.records();
    assert_eq!(numbers(&mut records).unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(records.tail(), Some(Tail::Unclean { at }));
    let verified = inspector.verify().unwrap();
    assert_eq!((verified.tail, verified.end, verified.records), (Tail::Unclean { at }, at, 5));
    // From behind the last record too.
    let mut none = inspector.records_from(Lsn::new(at.get() + 8)).unwrap();
    assert_eq!((none.by_ref().count(), none.tail()), (0, Some(Tail::Unclean { at })));
    assert_eq!(options().open(dir.path()).unwrap().recovery().tail, Tail::Unclean { at });
}

#[test]
fn an_interrupted_recovery_of_nothing_is_no_clean_end_either() {
    let dir = tempfile::tempdir().unwrap();
    drop(options().open(dir.path()).unwrap());
    interrupt_recovery(dir.path());
    let inspector = Inspector::open(dir.path()).unwrap();
    assert!(inspector.summary().segments.is_empty());
    assert!(matches!(inspector.verify().unwrap().tail, Tail::Unclean { .. }));
}

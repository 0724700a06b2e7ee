//! A walk is lazy: what it has not come to it shows as it is now, and from wherever it begins, only what is in the
//! log. Each of these failed once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use duralog::inspect::{Inspector, SegmentState};
use duralog::{Error, Log, Lsn, Options, Tail};

fn options() -> Options {
    Options::new().segment_size(16 << 10)
}

/// A log whose background thread has done its round: it changes the manifest no more.
fn open(dir: &Path) -> Log {
    let log = options().open(dir).unwrap();
    let begun = Instant::now();
    let ready = || {
        let inspector = Inspector::open(dir).unwrap();
        inspector.summary().segments.last().is_some_and(|last| last.state == SegmentState::Ready)
    };
    while !ready() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(2));
    }
    log
}

#[test]
fn p5_what_was_committed_since_the_last_look_is_shown() {
    for watermark in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        if !watermark {
            // As where stores are not safe.
            drop(std::fs::remove_file(dir.path().join("WATERMARK")));
        }
        log.append_durable(b"0").unwrap();
        let inspector = Inspector::open(dir.path()).unwrap();
        let mut records = inspector.records();
        assert_eq!(records.next().unwrap().unwrap().payload, b"0");
        for _ in 0..5 {
            log.append_durable(b"more").unwrap();
        }
        log.append(b"not committed").unwrap();
        assert_eq!(records.by_ref().filter(Result::is_ok).count(), 6);
        assert_eq!(records.tail(), Some(Tail::Unclean { at: log.end() }));
    }
}

#[test]
fn p5_a_walk_follows_a_writer_for_as_long_as_it_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append_durable(b"0").unwrap();
    let inspector = Inspector::open(dir.path()).unwrap();
    let mut records = inspector.records();
    records.next().unwrap().unwrap();
    for n in 1..100 {
        let lsn = log.append_durable(&[7; 300]).unwrap();
        let found = records.next().map(|record| record.unwrap().lsn);
        assert_eq!(found, Some(lsn), "record {n}");
    }
    assert!(records.next().is_none());
}

/// After a power cut frames of a segment may be on the disk, and the end frame that leads to it not.
#[test]
fn p2_nothing_is_shown_from_behind_a_hole() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.append(b"kept").unwrap();
    let manifest = std::fs::read(dir.path().join("MANIFEST")).unwrap();
    let end = log.end();
    log.roll().unwrap();
    let lost = log.append(b"behind a hole").unwrap();
    drop(log);
    std::fs::write(dir.path().join("MANIFEST"), manifest).unwrap();
    drop(std::fs::remove_file(dir.path().join("WATERMARK")));
    let summary = Inspector::open(dir.path()).unwrap().summary().clone();
    for entry in std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        if name.ends_with(".seg") && !summary.segments.iter().any(|s| s.file == name) {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let first = &summary.segments[0];
    let file = std::fs::File::options().write(true).open(dir.path().join(&first.file)).unwrap();
    file.write_all_at(&[0; 64], end.get() - first.base.get()).unwrap();
    let inspector = Inspector::open(dir.path()).unwrap();
    assert_eq!(inspector.records().count(), 1);
    let mut records = inspector.records_from(lost).unwrap();
    assert_eq!(records.by_ref().count(), 0);
    let log = options().open(dir.path()).unwrap();
    assert_eq!(records.tail(), Some(log.recovery().tail));
    assert!(log.read(lost).is_err());
}

#[test]
fn a_walk_says_the_same_end_wherever_it_begins() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let first = log.append_durable(b"0").unwrap();
    let inspector = Inspector::open(dir.path()).unwrap();
    let last = inspector.summary().segments.last().unwrap();
    let positions = [0, 5000, last.size - 8, last.size].map(|at| last.base.get() + at);
    for from in positions.into_iter().chain([first.get() + 8, log.end().get()]) {
        let mut records = inspector.records_from(Lsn::new(from)).unwrap();
        assert_eq!(records.by_ref().count(), 0);
        assert_eq!(records.tail(), Some(Tail::Unclean { at: log.end() }), "from {from}");
    }
}

#[test]
fn a_walk_may_begin_at_what_was_appended_since_the_inspector_was_opened() {
    let dir = tempfile::tempdir().unwrap();
    options().open(dir.path()).unwrap().close().unwrap();
    let inspector = Inspector::open(dir.path()).unwrap();
    let log = options().open(dir.path()).unwrap();
    log.append_durable(b"0").unwrap();
    let lsn = log.append_durable(b"1").unwrap();
    assert_eq!(inspector.records_from(lsn).unwrap().count(), 1);
}

#[test]
fn what_mkfs_leaves_is_no_log_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("lost+found")).unwrap();
    assert!(matches!(Inspector::open(dir.path()), Err(Error::NoLog { .. })));
    let opened = options().create(false).open(dir.path());
    assert!(matches!(opened, Err(Error::NoLog { .. })));
}

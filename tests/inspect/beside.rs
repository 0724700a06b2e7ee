//! One thing that the writer does beside a walk, or did before it.

use std::os::unix::fs::FileExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use duralog::inspect::Inspector;
use duralog::{Error, Lsn, Options, Tail};

use super::{bare, damage, in_memory, interrupt_recovery, numbers, options, segment_at, write};

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

/// Waits for the background: a segment stands ready behind the active one.
fn until_one_is_ready(dir: &Path) {
    let ready = || {
        let summary = Inspector::open(dir).unwrap().summary().clone();
        summary.segments.last().unwrap().state == duralog::inspect::SegmentState::Ready
    };
    for _ in 0..3000 {
        if ready() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("no segment became ready");
}

#[test]
fn p5_damage_is_an_error_though_the_writer_changes_the_manifest() {
    // What the writer does meanwhile: a checkpoint that frees nothing, and a roll, by which the segment is sealed.
    for (roll, from_the_start) in [(false, true), (false, false), (true, true), (true, false)] {
        let dir = tempfile::tempdir().unwrap();
        let log = options().open(dir.path()).unwrap();
        let lsns = write(&log, 0..40);
        until_one_is_ready(dir.path());
        let inspector = Inspector::open(dir.path()).unwrap();
        let mut records = inspector.records();
        if !from_the_start {
            records.next().unwrap().unwrap();
        }
        damage(dir.path(), lsns[20]);
        if roll {
            log.roll().unwrap();
        }
        log.checkpoint(lsns[1]).unwrap();
        // Sees the damage or, where it had read that part before, the records: never fewer.
        match numbers(&mut records) {
            Ok(found) => assert!(!from_the_start && found.len() == 39, "{found:?}"),
            Err(error) => assert!(error.is_corrupt(), "{error}"),
        }
        let found = inspector.verify().unwrap_err();
        assert!(found.is_corrupt() && found.to_string().contains("offset"), "{found}");
        // And by the newest manifest.
        let newest = Inspector::open(dir.path()).unwrap();
        assert!(numbers(&mut newest.records()).unwrap_err().is_corrupt());
        assert!(newest.verify().unwrap_err().is_corrupt());
    }
}

/// No mark vouches for the last group, but the watermark does, as it is now.
#[test]
fn p5_damage_to_what_was_committed_beside_the_walk_is_an_error() {
    // Behind what the walk has read, and right where it begins.
    for before in [5, 0] {
        let dir = tempfile::tempdir().unwrap();
        let log = options().open(dir.path()).unwrap();
        if !dir.path().join("WATERMARK").exists() {
            return eprintln!("skipped: no watermark on this file system");
        }
        until_one_is_ready(dir.path());
        write(&log, 0..before);
        let inspector = Inspector::open(dir.path()).unwrap();
        let last = write(&log, before..before + 1)[0];
        damage(dir.path(), last);
        assert!(numbers(&mut inspector.records()).unwrap_err().is_corrupt());
        assert!(inspector.verify().unwrap_err().is_corrupt());
    }
}

#[test]
fn p5_a_segment_that_is_recycled_under_the_walk_is_not_its_end() {
    let dir = tempfile::tempdir().unwrap();
    // Larger than what the walk reads at once.
    let log = Options::new().segment_size(4 << 20).open(dir.path()).unwrap();
    let write = |numbers: std::ops::Range<u32>| {
        for n in numbers {
            log.append(&n.to_le_bytes().repeat(25_000)).unwrap();
        }
        log.commit().unwrap()
    };
    let end = write(0..35);
    let inspector = Inspector::open(dir.path()).unwrap();
    let (first, _) = segment_at(dir.path(), Lsn::MIN);
    let inode = first.metadata().unwrap().ino();
    let mut records = inspector.records();
    assert_eq!(numbers(records.by_ref().take(2)).unwrap(), [0, 1]);
    log.checkpoint(end).unwrap();
    write(1000..1120);
    let files = std::fs::read_dir(dir.path()).unwrap();
    assert!(files.map(|f| f.unwrap().metadata().unwrap()).any(|f| f.ino() == inode), "recycled");
    assert!(!first.exists(), "recycled");
    match numbers(&mut records) {
        Err(Error::Gone { head, .. }) => assert!(head >= end),
        other => panic!("{other:?}"),
    }
    let verified = inspector.verify().unwrap();
    assert_eq!(verified.records, 120);
    assert!(matches!(verified.tail, Tail::Unclean { .. }));
}

#[test]
fn a_cut_beside_the_walk_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = bare().open(dir.path()).unwrap();
    let lsns = write(&log, 0..5);
    until_one_is_ready(dir.path());
    let inspector = Inspector::open(dir.path()).unwrap();
    let (mut before, mut beyond) = (inspector.records(), inspector.records());
    assert_eq!(numbers(before.by_ref().take(2)).unwrap(), [0, 1]);
    assert_eq!(numbers(beyond.by_ref().take(5)).unwrap(), [0, 1, 2, 3, 4]);
    // The walk follows the end frame into a segment that the cut leaves out.
    log.roll().unwrap();
    write(&log, 5..8);
    log.truncate_after(lsns[3]).unwrap();
    write(&log, 10..12);
    // What has been shown and is cut away cannot be taken back: the walk says that it is gone.
    for mut records in [before, beyond] {
        match numbers(&mut records) {
            Err(Error::Gone { lsn, .. }) => assert_eq!(lsn, lsns[4]),
            other => panic!("{other:?}"),
        }
        assert_eq!(records.tail(), None);
    }
    let newest = Inspector::open(dir.path()).unwrap();
    assert_eq!(numbers(&mut newest.records()).unwrap(), [0, 1, 2, 3, 10, 11]);
    assert_eq!(inspector.verify().unwrap().records, 6);
}

#[test]
fn a_cut_between_segments_beside_the_walk_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = bare().open(dir.path()).unwrap();
    let lsns = write(&log, 0..5);
    until_one_is_ready(dir.path());
    let inspector = Inspector::open(dir.path()).unwrap();
    let mut records = inspector.records();
    assert_eq!(numbers(records.by_ref().take(2)).unwrap(), [0, 1]);
    log.roll().unwrap();
    write(&log, 5..8);
    log.truncate_after(lsns[4]).unwrap();
    write(&log, 10..12);
    assert_eq!(numbers(&mut records).unwrap(), [2, 3, 4, 10, 11]);
    assert!(matches!(records.tail(), Some(Tail::Unclean { .. })));
    assert_eq!(inspector.verify().unwrap().records, 7);
}

#[test]
fn a_cut_into_a_sealed_segment_beside_the_walk_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = bare().open(dir.path()).unwrap();
    let lsns = write(&log, 0..200);
    let inspector = Inspector::open(dir.path()).unwrap();
    let sealed = inspector.summary().segments.iter().filter(|s| s.end.is_some()).count();
    assert!(sealed > 1);
    let mut records = inspector.records();
    assert_eq!(numbers(records.by_ref().take(2)).unwrap(), [0, 1]);
    log.truncate_after(lsns[9]).unwrap();
    write(&log, 200..203);
    let found = numbers(&mut records);
    assert!(matches!(found, Err(Error::Gone { .. })), "{found:?}");
    let verified = inspector.verify().unwrap();
    assert_eq!(verified.records, 13);
}

#[test]
fn a_recovery_beside_the_walk_is_no_damage() {
    for rolled in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let log = bare().open(dir.path()).unwrap();
        let lsns = write(&log, 0..5);
        until_one_is_ready(dir.path());
        let inspector = Inspector::open(dir.path()).unwrap();
        let mut records = inspector.records();
        assert_eq!(numbers(records.by_ref().take(2)).unwrap(), [0, 1]);
        if rolled {
            // The end frame leads to a segment that is empty, so recovery drops it.
            log.roll().unwrap();
        }
        drop(log);
        if !rolled {
            // A torn tail, where recovery punches a hole.
            let (path, base) = segment_at(dir.path(), lsns[4]);
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.write_all_at(&[7; 8192], lsns[4].get() - base.get() + 208).unwrap();
        }
        let mut late = inspector.records();
        assert_eq!(numbers(late.by_ref().take(3)).unwrap(), [0, 1, 2]);
        let log = bare().open(dir.path()).unwrap();
        write(&log, 5..8);
        assert_eq!(numbers(&mut records).unwrap(), [2, 3, 4, 5, 6, 7]);
        assert_eq!(numbers(&mut late).unwrap(), [3, 4, 5, 6, 7]);
        assert!(matches!(late.tail(), Some(Tail::Unclean { .. })));
        assert_eq!(inspector.verify().unwrap().records, 8);
        log.close().unwrap();
        assert_eq!(inspector.verify().unwrap().tail, Tail::Clean);
    }
}

/// The other way round: what was closed when the inspector looked and is open now is not called closed.
#[test]
fn a_log_that_was_opened_again_is_not_called_clean() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    write(&log, 0..5);
    log.close().unwrap();
    let inspector = Inspector::open(dir.path()).unwrap();
    let mut records = inspector.records();
    assert_eq!(numbers(records.by_ref().take(2)).unwrap(), [0, 1]);
    let log = options().open(dir.path()).unwrap();
    write(&log, 5..8);
    assert_eq!(numbers(&mut records).unwrap(), [2, 3, 4, 5, 6, 7]);
    assert!(matches!(records.tail(), Some(Tail::Unclean { .. })));
    let verified = inspector.verify().unwrap();
    assert_eq!((verified.records, matches!(verified.tail, Tail::Unclean { .. })), (8, true));
}

/// The walk has read ahead to where the log ended, and marks that were written since vouch for that place.
#[test]
fn what_was_appended_since_is_no_damage() {
    // Marks beyond what is read at once, and in the next segment.
    for (size, len, roll) in [(4 << 20, 25_000, false), (16 << 10, 50, true)] {
        let dir = tempfile::tempdir().unwrap();
        let log = Options::new().segment_size(size).open(dir.path()).unwrap();
        let write = |numbers: std::ops::Range<u32>| {
            for n in numbers {
                log.append_durable(&n.to_le_bytes().repeat(len)).unwrap();
            }
        };
        write(0..5);
        until_one_is_ready(dir.path());
        let inspector = Inspector::open(dir.path()).unwrap();
        let mut records = inspector.records();
        assert_eq!(numbers(records.by_ref().take(2)).unwrap(), [0, 1]);
        write(5..18);
        if roll {
            log.roll().unwrap();
            write(18..20);
        }
        let all: Vec<u32> = (2..if roll { 20 } else { 18 }).collect();
        assert_eq!(numbers(&mut records).unwrap(), all);
        assert!(matches!(records.tail(), Some(Tail::Unclean { .. })));
    }
}

#[test]
fn behind_an_error_nothing_comes() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let lsns = write(&log, 0..100);
    damage(dir.path(), lsns[50]);
    let inspector = Inspector::open(dir.path()).unwrap();
    let mut records = inspector.records();
    assert_eq!(records.by_ref().take_while(Result::is_ok).count(), 50);
    assert!(records.next().is_none());
    let reader = duralog::Reader::open(dir.path()).unwrap();
    let mut replay = reader.replay().unwrap();
    while let Ok(Some(_)) = replay.next_payload() {}
    assert_eq!(replay.next_payload().unwrap(), None);
    assert!(replay.next().is_none());
}

#[test]
fn records_beside_a_writer_end() {
    let dir = in_memory();
    let log = Options::new().segment_size(1 << 20).open(dir.path()).unwrap();
    write(&log, 0..10);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in (10..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                write(&log, n..n + 1);
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let began = Instant::now();
        let inspector = Inspector::open(dir.path()).unwrap();
        let records = inspector.records().take_while(|_| began.elapsed().as_secs() < 20);
        assert!(numbers(records).unwrap().len() >= 10);
        stop.store(true, Ordering::Relaxed);
        assert!(began.elapsed().as_secs() < 20, "it goes on");
    });
}

/// What was appended between the opening of the inspector and the walk is not new, however much it is.
#[test]
fn records_hold_all_that_there_is_when_they_are_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let inspector = Inspector::open(dir.path()).unwrap();
    for n in 0..40 {
        log.append(&[n; 16]).unwrap();
        log.roll().unwrap();
    }
    assert_eq!(inspector.records().count(), 40);
}

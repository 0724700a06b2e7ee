//! Beginning anew: at a later position, or behind the end.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use duralog::inspect::Inspector;
use duralog::{Error, Log, Lsn, Options};

fn open(dir: &Path) -> Log {
    Options::new().segment_size(64 << 10).open(dir).unwrap()
}

fn fill(log: &Log, records: u32) -> Vec<Lsn> {
    (0..records).map(|n| log.append(&[n as u8; 5000]).unwrap()).collect()
}

fn segments(dir: &Path) -> usize {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_str().unwrap().ends_with(".seg")).count()
}

#[test]
fn a_log_goes_on_exactly_where_it_is_told() {
    for (records, commits) in [(0, false), (3, false), (40, false), (40, true)] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        let old = fill(&log, records);
        if commits {
            log.commit().unwrap();
        }
        // One that is surely beyond the segments that were made, and a far one.
        for (to, closes) in [
            (log.end().get().next_multiple_of(4096) + 3 * (64 << 10), true),
            (log.end().get().next_multiple_of(4096) + (1 << 40), false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let log = open(dir.path());
            fill(&log, records);
            let before = log.durable();
            let to = Lsn::new(to);
            assert_eq!(log.reset_to(to).unwrap(), to);
            let all = [log.head(), log.durable(), log.end(), log.checkpoint_lsn()];
            assert_eq!(all, [to; 4]);
            assert_eq!(log.replay().count(), 0);
            // Again: a follower that does not know whether it was done.
            assert_eq!(log.reset_to(to).unwrap(), to);
            assert_eq!(log.append_durable(b"first").unwrap(), to);
            let mut gone = false;
            for lsn in &old {
                assert!(log.read(*lsn).is_err());
                // What the background had synced by then was durable when it was dropped; nothing after a record that was not.
                match log.commit_to(*lsn) {
                    Ok(()) => assert!(!gone, "{lsn}"),
                    Err(Error::Gone { .. }) => {
                        assert!(*lsn >= before);
                        gone = true;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
            if closes {
                log.close().unwrap();
            }
            drop(log);
            assert_eq!(Inspector::open(dir.path()).unwrap().verify().unwrap().records, 1);
            let log = open(dir.path());
            assert_eq!(log.read(to).unwrap().payload(), b"first");
            assert_eq!((log.replay().count(), log.checkpoint_lsn()), (1, to));
        }
    }
}

/// Windows never overlap: by an LSN a reader knows the segment, whatever became of it.
#[test]
fn where_a_log_cannot_begin_it_begins_behind() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    fill(&log, 3);
    let windows = |dir: &Path| {
        let inspector = Inspector::open(dir).unwrap();
        inspector.summary().segments.iter().map(|s| s.base.get() + s.size).max().unwrap()
    };
    let used = windows(dir.path());
    let start = log.reset_to(log.end()).unwrap();
    assert!(start.get() >= used + 4096, "{start}, windows up to {used}");
    let odd = Lsn::new((1 << 30) + 1);
    assert_eq!(log.reset_to(odd).unwrap(), Lsn::new((1 << 30) + 4096));
}

/// A follower that does not know whether its reset came about asks again, also behind a crash, where the log goes on in
/// another segment.
#[test]
fn a_reset_that_is_asked_for_again_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    fill(&log, 3);
    let to = Lsn::new(1 << 40);
    assert_eq!(log.reset_to(to).unwrap(), to);
    drop(log);
    let log = open(dir.path());
    let start = log.head();
    assert!(start > to);
    assert_eq!(log.reset_to(to).unwrap(), start);
    assert_eq!(log.append(b"behind").unwrap(), start);
    // With something in it, it would be lost.
    assert!(matches!(log.reset_to(to), Err(Error::OutOfRange { .. })));
    assert_eq!(log.replay().count(), 1);
}

/// A follower that has shown nothing of the segment that it stands in does not pass over what was dropped there.
#[test]
fn p2_a_follower_that_has_shown_nothing_is_told_of_a_reset() {
    for far in [None, Some(4096), Some(1 << 20)] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        log.set_metadata(b"term 1").unwrap();
        log.commit().unwrap();
        let mut follower = log.follow(log.head()).unwrap();
        assert!(follower.try_next().unwrap().is_none());
        log.append(b"dropped").unwrap();
        match far {
            None => log.truncate_all().unwrap(),
            Some(far) => drop(log.reset_to(Lsn::new(log.end().get() + far)).unwrap()),
        }
        for _ in 0..100 {
            log.append(&[1; 1016]).unwrap();
        }
        log.commit().unwrap();
        let next = follower.try_next();
        assert!(matches!(next, Err(Error::Gone { .. })), "{next:?}");
    }
}

fn sound(error: &Error) {
    assert!(!error.is_corrupt(), "{error}");
}

/// What is dropped ends before the log is seen beyond it.
#[test]
fn p5_a_reset_is_no_damage_to_those_who_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stopping = StopOnDrop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                log.replay().filter_map(Result::err).for_each(|error| sound(&error));
            }
        });
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let Ok(follower) = log.follow(log.head()) else { continue };
                let mut follower = follower.published();
                let next = (0..100).map(|_| follower.try_next());
                next.filter_map(Result::err).for_each(|error| sound(&error));
            }
        });
        for _ in 0..200 {
            fill(&log, 3);
            log.truncate_all().unwrap();
        }
        drop(stopping);
    });
}

/// Exactly this: no file, no number, no record.
#[test]
fn a_position_that_cannot_be_is_an_error_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    fill(&log, 3);
    log.commit().unwrap();
    // The background has named the next segment, and writes no manifest from now on.
    while log.stats().segments_ready == 0 {
        std::thread::yield_now();
    }
    let (stats, manifest) = (log.stats(), std::fs::read(dir.path().join("MANIFEST")));
    let below = log.reset_to(Lsn::new(log.end().get() - 1));
    assert!(matches!(below, Err(Error::OutOfRange { .. })), "{below:?}");
    for lsn in [u64::MAX, 1 << 63, (1 << 63) - (4 << 30)] {
        let beyond = log.reset_to(Lsn::new(lsn));
        assert!(matches!(beyond, Err(Error::InvalidOption { .. })), "{lsn} {beyond:?}");
    }
    let after = (log.stats(), std::fs::read(dir.path().join("MANIFEST")));
    assert_eq!(after.0.end, stats.end);
    assert_eq!(after.1.unwrap(), manifest.unwrap());
    assert_eq!(log.replay().count(), 3);
    // The last one: and it can be used.
    let last = Lsn::new((1 << 63) - (4 << 30) - (64 << 10));
    assert_eq!(log.reset_to(last).unwrap(), last);
    assert_eq!(log.append_durable(b"last").unwrap(), last);
    drop(log);
    assert_eq!(Inspector::open(dir.path()).unwrap().verify().unwrap().records, 1);
}

#[test]
fn all_is_truncated_and_the_space_comes_back_but_for_what_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let log = Options::new().segment_size(64 << 10).spare_segments(0).open(dir.path()).unwrap();
    let lsns = fill(&log, 100);
    log.commit().unwrap();
    let held = log.read(lsns[50]).unwrap();
    let mut replay = log.replay();
    assert_eq!(replay.next().unwrap().unwrap().lsn(), lsns[0]);
    let before = segments(dir.path());
    log.truncate_all().unwrap();
    assert!(segments(dir.path()) <= before - 5, "{before}, {}", segments(dir.path()));
    assert!(log.stats().segments_held >= 1);
    assert_eq!(held.payload(), [50; 5000]);
    // It stands in its segment, and may see that to the end.
    let rest: Vec<_> = replay.collect();
    assert!(matches!(rest.last(), Some(Err(Error::Gone { .. }))), "{:?}", rest.last());
    drop((rest, held));
    let first = log.append_durable(b"first").unwrap();
    assert!(first > lsns[99]);
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.replay().map(|r| r.unwrap().lsn()).collect::<Vec<_>>(), [first]);
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Those who append meanwhile are told of each record: that it is durable, or that it is gone.
#[test]
fn p1_p2_beginning_anew_beside_threads_that_append_and_commit() {
    for jumps in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let log = Options::new().segment_size(16 << 10).open(dir.path()).unwrap();
        let stop = AtomicBool::new(false);
        let (committed, last) = std::thread::scope(|scope| {
            let stopping = StopOnDrop(&stop);
            let threads: Vec<_> = (0..3u8)
                .map(|thread| {
                    let (log, stop) = (&log, &stop);
                    scope.spawn(move || {
                        let mut committed = Vec::new();
                        while !stop.load(Ordering::Relaxed) {
                            let lsn = log.append(&[thread; 3000]).unwrap();
                            match log.commit_to(lsn) {
                                Ok(()) => committed.push(lsn),
                                Err(Error::Gone { .. }) => assert!(lsn < log.head()),
                                Err(error) => panic!("{error}"),
                            }
                        }
                        committed
                    })
                })
                .collect();
            let mut last = Lsn::MIN;
            for n in 0..60u64 {
                let mark = log.append_durable(b"before");
                if jumps {
                    let to = Lsn::new((log.end().get() + (1 << 20)) / 4096 * 4096 + n % 3);
                    let start = log.reset_to(to).unwrap();
                    assert!(start >= to && start.get() < to.get() + 4096);
                    last = start;
                } else {
                    log.truncate_all().unwrap();
                    last = last.max(mark.as_ref().copied().unwrap_or(last));
                }
                if let Ok(mark) = mark {
                    assert!(mark < log.head() && log.read(mark).is_err());
                }
            }
            drop(stopping);
            let committed = threads.into_iter().flat_map(|thread| thread.join().unwrap());
            (committed.collect::<Vec<_>>(), last)
        });
        drop(log);
        let log = open(dir.path());
        let found: Vec<Lsn> = log.replay().map(|record| record.unwrap().lsn()).collect();
        let head = log.head();
        assert!(found.iter().all(|lsn| *lsn >= last));
        let owed = committed.iter().filter(|lsn| **lsn >= head);
        assert!(owed.clone().all(|lsn| found.contains(lsn)));
        assert!(owed.count() <= found.len());
    }
}

//! Following: what comes, in order, once, and an error where something was missed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

mod ends;
mod gone;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use duralog::sim::SimDisk;
use duralog::{Error, Follower, Log, Lsn, Options, Record, SyncPolicy};

/// Small segments, and no sync that no one asked for.
pub(crate) fn options() -> Options {
    let policy = SyncPolicy::Interval(Duration::from_secs(3600));
    Options::new().sync_policy(policy).segment_size(16 << 10)
}

pub(crate) fn open(dir: &std::path::Path) -> Log {
    options().open(dir).unwrap()
}

pub(crate) fn number(record: &Record) -> u32 {
    u32::from_le_bytes(record.payload()[..4].try_into().unwrap())
}

/// 1000 bytes, so that a segment holds some twelve.
pub(crate) fn append(log: &Log, n: u32) -> Lsn {
    let mut payload = vec![n as u8; 1000];
    payload[..4].copy_from_slice(&n.to_le_bytes());
    log.append(&payload).unwrap()
}

pub(crate) fn append_all(log: &Log, range: std::ops::Range<u32>) {
    for n in range {
        append(log, n);
    }
}

/// What there is now.
pub(crate) fn now(follower: &mut Follower) -> Vec<u32> {
    let mut seen = Vec::new();
    while let Some(record) = follower.try_next().unwrap() {
        seen.push(number(&record));
    }
    seen
}

pub(crate) fn numbers(range: std::ops::Range<u32>) -> Vec<u32> {
    range.collect()
}

#[test]
fn it_shows_what_is_durable_and_if_asked_what_is_published() {
    // Without a background, which would sync what is full.
    let log = options().open_on(&SimDisk::new(1)).unwrap();
    let mut durable = log.follow(log.head()).unwrap();
    let mut published = log.follow(log.head()).unwrap().published();
    // Over several segments, so that what ends a segment is met by both at their own time.
    for n in 0..30 {
        append(&log, n);
        assert_eq!(now(&mut published), [n]);
        assert_eq!(now(&mut durable), [0u32; 0]);
    }
    log.commit().unwrap();
    append(&log, 30);
    assert_eq!(now(&mut durable), numbers(0..30));
    assert_eq!(now(&mut published), [30]);
    assert_eq!(log.stats().waiting, 0);
}

#[test]
fn it_shows_each_record_once_in_order_from_where_it_is_told_to() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let lsns: Vec<Lsn> = (0..40).map(|n| append(&log, n)).collect();
    log.commit().unwrap();
    for (n, lsn) in (0..).zip(&lsns) {
        assert_eq!(now(&mut log.follow(*lsn).unwrap()), numbers(n..40));
        // Between two records: the next one.
        assert_eq!(now(&mut log.follow(Lsn::new(lsn.get() + 1)).unwrap()), numbers(n + 1..40));
    }
    assert_eq!(now(&mut log.follow(log.durable()).unwrap()), [0u32; 0]);
    let beyond = log.follow(Lsn::new(log.end().get() + 1));
    assert!(matches!(beyond, Err(Error::OutOfRange { .. })));
}

#[test]
fn by_its_position_another_one_goes_on_also_in_another_life() {
    let dir = tempfile::tempdir().unwrap();
    let mut seen = Vec::new();
    let mut position = Lsn::MIN;
    for life in 0..6u32 {
        let log = open(dir.path());
        for n in 0..10 {
            append(&log, life * 10 + n);
        }
        log.commit().unwrap();
        position = position.max(log.head());
        // Some are left for the next life, and each is shown by another follower.
        for _ in 0..if life == 5 { 60 } else { 7 } {
            let mut follower = log.follow(position).unwrap();
            assert_eq!(follower.position(), position);
            seen.extend(follower.try_next().unwrap().map(|record| number(&record)));
            position = follower.position();
        }
        if life % 2 == 0 {
            log.close().unwrap();
        }
    }
    assert_eq!(seen, numbers(0..60));
}

#[test]
fn the_payloads_alone_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append_all(&log, 0..30);
    let mut records = log.follow(log.head()).unwrap().published();
    let mut payloads = log.follow(log.head()).unwrap().published();
    while let Some((lsn, payload)) = payloads.next_payload().unwrap() {
        let record = records.try_next().unwrap().unwrap();
        assert_eq!((record.lsn(), record.payload()), (lsn, payload));
        assert_eq!(records.position(), payloads.position());
    }
    assert!(records.try_next().unwrap().is_none());
}

#[test]
fn it_waits_for_a_time_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(open(dir.path()));
    for published in [false, true] {
        let follower = log.follow(log.durable()).unwrap();
        let mut follower = if published { follower.published() } else { follower };
        assert!(follower.next_timeout(Duration::from_millis(2)).unwrap().is_none());
        assert!(follower.next_timeout(Duration::ZERO).unwrap().is_none());
        assert_eq!(log.stats().waiting, 0);
        let appending = {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                while log.stats().waiting == 0 {
                    thread::yield_now();
                }
                append(&log, 7);
                if !published {
                    log.commit().unwrap();
                }
            })
        };
        let record = follower.next_timeout(Duration::from_secs(60)).unwrap().unwrap();
        assert_eq!(number(&record), 7);
        appending.join().unwrap();
        log.commit().unwrap();
        assert_eq!(log.stats().waiting, 0);
    }
}

#[test]
fn batches_come_whole() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(open(dir.path()));
    let mut followers =
        [log.follow(log.head()).unwrap(), log.follow(log.head()).unwrap().published()];
    let appending = {
        let log = Arc::clone(&log);
        thread::spawn(move || {
            for n in 0..300u32 {
                log.append_batch(&[n.to_le_bytes(); 3]).unwrap();
                if n % 3 == 0 {
                    log.commit().unwrap();
                }
            }
            log.commit().unwrap();
        })
    };
    let mut seen = [0, 0];
    while seen != [900, 900] {
        for (follower, seen) in followers.iter_mut().zip(&mut seen) {
            // Whatever it shows at one moment is a number of batches.
            while let Some(record) = follower.try_next().unwrap() {
                assert_eq!(number(&record), *seen / 3);
                *seen += 1;
            }
            assert_eq!(*seen % 3, 0);
        }
    }
    appending.join().unwrap();
}

/// Waits for the background to seal and recycle; followers on threads of their own.
#[test]
fn p2_many_follow_beside_appends_rolls_and_checkpoints() {
    const RECORDS: u32 = 2000;
    let dir = tempfile::tempdir().unwrap();
    let log = Options::new().segment_size(32 << 10).open(dir.path()).unwrap();
    let follow = |published: bool| {
        let follower = log.follow(log.head()).unwrap();
        if published { follower.published() } else { follower }
    };
    let followers: Vec<_> = [false, true, false, true].into_iter().map(follow).collect();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let threads: Vec<_> = followers
            .into_iter()
            .enumerate()
            .map(|(i, mut follower)| {
                let log = &log;
                scope.spawn(move || {
                    let mut next = 0;
                    while next < RECORDS {
                        let record = match follower.next_timeout(Duration::from_secs(60)) {
                            Ok(record) => record.expect("it comes"),
                            // It was too slow: what is there goes on where the log begins.
                            Err(Error::Gone { head, .. }) => {
                                follower = log.follow(head).unwrap_or_else(|_| {
                                    log.follow(log.head()).expect("passed twice at once")
                                });
                                if i % 2 == 1 {
                                    follower = follower.published();
                                }
                                continue;
                            }
                            Err(error) => panic!("{error}"),
                        };
                        let n = number(&record);
                        assert!(n >= next, "{n} after {next}");
                        next = n + 1;
                    }
                })
            })
            .collect();
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                log.checkpoint(log.durable()).unwrap();
                thread::sleep(Duration::from_millis(1));
            }
        });
        for n in 0..RECORDS {
            append(&log, n);
            if n % 5 == 0 {
                log.commit().unwrap();
            }
            if n % 97 == 0 {
                log.roll().unwrap();
            }
            if n == RECORDS - 200 {
                // What comes last stays, so that the slowest sees it.
                stop.store(true, Ordering::SeqCst);
            }
        }
        log.commit().unwrap();
        for thread in threads {
            thread.join().unwrap();
        }
    });
    assert_eq!(log.stats().waiting, 0);
}

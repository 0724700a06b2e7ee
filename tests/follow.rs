//! Following: what comes, in order, once, and an error where something was missed.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Error, Follower, Log, Lsn, Options, Record, Result, SyncPolicy};
use futures_util::StreamExt;

/// Small segments, and no sync that no one asked for.
fn options() -> Options {
    let policy = SyncPolicy::Interval(Duration::from_secs(3600));
    Options::new().sync_policy(policy).segment_size(16 << 10)
}

fn open(dir: &std::path::Path) -> Log {
    options().open(dir).unwrap()
}

fn number(record: &Record) -> u32 {
    u32::from_le_bytes(record.payload()[..4].try_into().unwrap())
}

/// 1000 bytes, so that a segment holds some twelve.
fn append(log: &Log, n: u32) -> Lsn {
    let mut payload = vec![n as u8; 1000];
    payload[..4].copy_from_slice(&n.to_le_bytes());
    log.append(&payload).unwrap()
}

fn append_all(log: &Log, range: std::ops::Range<u32>) {
    for n in range {
        append(log, n);
    }
}

/// What there is now.
fn now(follower: &mut Follower) -> Vec<u32> {
    let mut seen = Vec::new();
    while let Some(record) = follower.try_next().unwrap() {
        seen.push(number(&record));
    }
    seen
}

fn numbers(range: std::ops::Range<u32>) -> Vec<u32> {
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
fn a_loop_over_it_ends_when_the_log_is_closed_and_all_was_shown() {
    for published in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let log = open(dir.path());
        let follower = log.follow(log.head()).unwrap();
        let mut follower = if published { follower.published() } else { follower };
        let reading = thread::spawn(move || {
            let seen: Vec<u32> =
                (&mut follower).into_iter().map(|record| number(&record.unwrap())).collect();
            assert!(matches!(follower.try_next(), Err(Error::Closed)));
            assert!((&mut follower).into_iter().next().is_none());
            seen
        });
        // Not more than is in open segments: behind a close no other is opened.
        append_all(&log, 0..10);
        log.close().unwrap();
        assert_eq!(reading.join().unwrap(), numbers(0..10));
    }
}

#[test]
fn a_loop_over_it_says_so_when_not_all_could_be_shown() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let mut stands = log.follow(log.head()).unwrap();
    let behind = log.follow(log.head()).unwrap();
    append_all(&log, 0..40);
    log.commit().unwrap();
    while log.stats().segments_sealed < 3 {
        thread::yield_now();
    }
    assert_eq!(number(&stands.try_next().unwrap().unwrap()), 0);
    log.close().unwrap();
    // What it stands in is shown to its end; the next is closed, and may be another's.
    let mut seen: Vec<Result<u32>> = stands.into_iter().map(|r| r.map(|r| number(&r))).collect();
    assert!(matches!(seen.pop(), Some(Err(Error::Closed))));
    let seen: Vec<u32> = seen.into_iter().map(Result::unwrap).collect();
    assert_eq!(seen, numbers(1..seen.len() as u32 + 1));
    assert!(seen.len() > 5 && seen.len() < 20);
    assert!(matches!(behind.into_iter().next(), Some(Err(Error::Closed))));
}

#[test]
fn a_dropped_log_ends_it_with_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let follower = log.follow(log.head()).unwrap();
    append(&log, 0);
    log.commit().unwrap();
    append(&log, 1);
    let reading = thread::spawn(move || follower.into_iter().collect::<Vec<_>>());
    while log.stats().waiting == 0 {
        thread::yield_now();
    }
    drop(log);
    let seen = reading.join().unwrap();
    assert_eq!(number(seen[0].as_ref().unwrap()), 0);
    assert!(matches!(&seen[1..], [Err(Error::Closed)]));
}

#[test]
fn p6_a_poisoned_log_shows_what_is_durable_and_then_the_failure() {
    let disk = SimDisk::new(1);
    let log = options().open_on(&disk).unwrap();
    let follower = log.follow(log.head()).unwrap();
    append(&log, 0);
    log.commit().unwrap();
    append(&log, 1);
    let mut late = log.follow(log.head()).unwrap();
    let reading = thread::spawn(move || follower.into_iter().collect::<Vec<_>>());
    while log.stats().waiting == 0 {
        thread::yield_now();
    }
    disk.order(Fault::new(Call::Sync, 1, 5));
    assert!(log.commit().is_err());
    for seen in [reading.join().unwrap(), (&mut late).into_iter().collect()] {
        assert_eq!(number(seen[0].as_ref().unwrap()), 0);
        assert!(matches!(&seen[1..], [Err(Error::Poisoned { .. })]));
    }
    assert!(matches!(late.try_next(), Err(Error::Poisoned { .. })));
}

#[test]
fn p10_a_checkpoint_past_a_slow_one_is_an_error_but_its_segment_stays() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let mut slow = log.follow(log.head()).unwrap();
    let not_begun = log.follow(log.head()).unwrap();
    append_all(&log, 0..60);
    log.commit().unwrap();
    assert_eq!(number(&slow.try_next().unwrap().unwrap()), 0);
    log.checkpoint(log.durable()).unwrap();
    assert_eq!(log.stats().segments_held, 1);
    // Files are used again meanwhile.
    append_all(&log, 60..120);
    log.commit().unwrap();
    let mut seen = Vec::new();
    let error = loop {
        match slow.try_next() {
            Ok(record) => seen.push(number(&record.unwrap())),
            Err(error) => break error,
        }
    };
    assert_eq!(seen, numbers(1..seen.len() as u32 + 1));
    assert!(seen.len() > 5);
    let (position, begins) = (slow.position(), log.head());
    let is_gone = |error: &Error| matches!(error, Error::Gone { lsn, head } if (*lsn, *head) == (position, begins));
    assert!(is_gone(&error), "{error}");
    // It stays so, and an iterator says it once.
    assert!(is_gone(&slow.try_next().unwrap_err()));
    assert!(matches!(log.follow(position), Err(Error::Gone { .. })));
    let not_begun: Vec<_> = not_begun.into_iter().collect();
    assert!(matches!(&not_begun[..], [Err(Error::Gone { .. })]));
    drop(slow);
    log.checkpoint(log.durable()).unwrap();
    assert_eq!(log.stats().segments_held, 0);
}

/// One that has seen all that a checkpoint gives up has missed nothing, wherever it stands, and lets go.
#[test]
fn p10_a_checkpoint_of_what_it_has_shown_is_none_of_its_business() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(open(dir.path()));
    let mut follower = log.follow(log.head()).unwrap();
    let mut published = log.follow(log.head()).unwrap().published();
    for n in 0..50 {
        append(&log, n);
        log.commit().unwrap();
        assert_eq!(now(&mut follower), [n]);
        assert_eq!(now(&mut published), [n]);
        let position = follower.position();
        log.checkpoint(log.durable()).unwrap();
        // Also by its position, though the log begins behind it now.
        assert!(log.head() > position);
        assert_eq!(now(&mut log.follow(position).unwrap()), [0u32; 0]);
        assert_eq!(now(&mut follower), [0u32; 0]);
        assert_eq!(now(&mut published), [0u32; 0]);
    }
    // One that sleeps in a segment that is given up is woken to let go of it.
    append(&log, 50);
    log.commit().unwrap();
    let sleeping = thread::spawn(move || {
        assert_eq!(number(&follower.try_next().unwrap().unwrap()), 50);
        assert_eq!(now(&mut published), [50]);
        let published = thread::spawn(move || published.into_iter().next().is_none());
        follower.into_iter().next().is_none() && published.join().unwrap()
    });
    while log.stats().waiting < 2 {
        thread::yield_now();
    }
    log.checkpoint(log.durable()).unwrap();
    while log.stats().segments_held > 0 {
        log.checkpoint(log.durable()).unwrap();
        thread::yield_now();
    }
    log.close().unwrap();
    assert!(sleeping.join().unwrap());
}

#[test]
fn p2_a_cut_below_it_is_an_error_and_nothing_that_was_cut_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let lsns: Vec<Lsn> = (0..40).map(|n| append(&log, n)).collect();
    log.commit().unwrap();
    let at = |shown: usize| {
        let mut follower = log.follow(log.head()).unwrap();
        (0..shown).for_each(|_| drop(follower.try_next().unwrap().unwrap()));
        follower
    };
    // In the segment of the cut before it, at it and behind it; in later segments; at the start of one.
    let mut followers: Vec<Follower> = (0..=40).map(at).collect();
    let by_position = followers[40].position();
    log.truncate_after(lsns[17]).unwrap();
    append(&log, 100);
    log.commit().unwrap();
    for (shown, follower) in followers.iter_mut().enumerate() {
        if shown <= 18 {
            let expected: Vec<u32> = (shown as u32..18).chain([100]).collect();
            assert_eq!(now(follower), expected, "{shown} were shown before the cut");
        } else {
            let error = follower.try_next().unwrap_err();
            assert!(matches!(error, Error::Gone { lsn, .. } if lsn == follower.position()));
            let by_position = log.follow(follower.position());
            assert!(matches!(by_position, Err(Error::Gone { .. })), "{shown}");
        }
    }
    assert!(matches!(log.follow(by_position), Err(Error::Gone { .. })));
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

#[test]
fn as_a_stream_on_tokio() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Options::new().segment_size(16 << 10).open(dir.path()).unwrap());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        let follow = |published: bool| {
            let follower = log.follow(log.head()).unwrap();
            let mut follower = if published { follower.published() } else { follower };
            tokio::spawn(async move {
                let mut seen = Vec::new();
                while let Some(record) = follower.next().await {
                    seen.push(number(&record.unwrap()));
                }
                assert!(follower.next().await.is_none());
                seen
            })
        };
        let readers = [follow(false), follow(true), follow(false)];
        for n in 0..200 {
            let lsn = append(&log, n);
            log.when_durable(lsn).await.unwrap();
        }
        // Followers have no thread: they see the rest while this one waits.
        while log.stats().waiting < 3 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        log.close().unwrap();
        for reader in readers {
            assert_eq!(reader.await.unwrap(), numbers(0..200));
        }
    });
}

#[test]
fn a_stream_that_is_dropped_leaves_nothing_and_another_task_can_go_on_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        for published in [false, true] {
            let follower = log.follow(log.durable()).unwrap();
            let mut follower = if published { follower.published() } else { follower };
            let waited = tokio::time::timeout(Duration::from_millis(2), follower.next()).await;
            assert!(waited.is_err());
            // It waits in the name of the task that asked last.
            assert_eq!(log.stats().waiting, 1);
            append(&log, 1);
            log.commit().unwrap();
            let task = tokio::spawn(async move { follower.next().await.unwrap().unwrap() });
            assert_eq!(number(&task.await.unwrap()), 1);
            assert_eq!(log.stats().waiting, 0);
        }
        let mut follower = log.follow(log.durable()).unwrap();
        let waited = tokio::time::timeout(Duration::from_millis(2), follower.next()).await;
        assert!(waited.is_err());
        drop(follower);
        assert_eq!(log.stats().waiting, 0);
    });
}

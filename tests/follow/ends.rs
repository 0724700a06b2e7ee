//! How it ends: a close, a drop, a failure.

use std::thread;

use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Error, Result};

use crate::{append, append_all, number, numbers, open, options};

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

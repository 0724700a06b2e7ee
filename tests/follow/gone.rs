//! Checkpoints and cuts beside it: what is gone is an error, never passed over.

use std::sync::Arc;
use std::thread;

use duralog::{Error, Follower, Lsn};

use crate::{append, append_all, now, number, numbers, open};

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

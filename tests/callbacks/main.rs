//! Others' code inside the log: callbacks and observers, called by one thread of the log, and what they may do there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "a test"
)]

mod calls;
mod kept;
mod panics;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::thread;
use std::time::Duration;

use duralog::sim::SimDisk;
use duralog::{Error, Event, Log, Lsn, Options, SyncPolicy, WhenFull};

/// Only what is asked for is synced.
pub(crate) const NEVER: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn small() -> Options {
    Options::new().segment_size(16 << 10)
}

/// Waits until all that is queued was delivered.
pub(crate) fn settle(log: &Log) {
    let (send, settled) = mpsc::channel();
    log.on_durable(log.end(), move |_| send.send(()).unwrap());
    settled.recv().unwrap();
}

/// A log of a few segments, however much is appended.
fn endless() -> Options {
    small().max_bytes(128 << 10, WhenFull::DropOldest)
}

/// Makes a record durable `left` times, each time in the callback of the one before.
fn again(log: &Arc<Log>, left: u64, done: mpsc::Sender<()>) {
    if left == 0 {
        return done.send(()).unwrap();
    }
    let lsn = log.append(b"again").unwrap();
    let next = Arc::clone(log);
    log.on_durable(lsn, move |durable| {
        durable.unwrap();
        again(&next, left - 1, done);
    });
    log.commit_to(lsn).unwrap();
}

/// Each level took some hundred bytes of stack when it was called where the sync ended.
#[test]
fn callbacks_that_commit_do_not_nest() {
    let log = Arc::new(endless().open_on(&SimDisk::new(1)).unwrap());
    let (send, done) = mpsc::channel();
    again(&log, 100_000, send);
    done.recv().unwrap();
}

#[test]
fn an_observer_that_commits_at_each_sync_does_not_nest() {
    let place: Arc<OnceLock<Weak<Log>>> = Arc::default();
    let (mine, syncs) = (Arc::clone(&place), Arc::new(AtomicU64::new(0)));
    let (count, (send, done)) = (Arc::clone(&syncs), mpsc::channel());
    let observer = move |event: &Event<'_>| {
        let Event::Synced { .. } = event else { return };
        let Some(log) = mine.get().and_then(Weak::upgrade) else { return };
        match count.fetch_add(1, Ordering::Relaxed) {
            0..100_000 => drop(log.append_durable(b"again").unwrap()),
            100_000 => send.send(()).unwrap(),
            _ => {}
        }
    };
    let options = endless().observer(Arc::new(observer));
    let log = Arc::new(options.open_on(&SimDisk::new(1)).unwrap());
    place.set(Arc::downgrade(&log)).unwrap();
    log.append_durable(b"first").unwrap();
    done.recv().unwrap();
}

/// The lock of a user's own state, taken around a commit and in the callback of it.
#[test]
fn a_commit_under_a_lock_that_its_callback_takes_returns() {
    for policy in [SyncPolicy::OnCommit, SyncPolicy::Bytes(1), SyncPolicy::Interval(NEVER)] {
        let dir = tempfile::tempdir().unwrap();
        let mine: Arc<Mutex<Vec<Lsn>>> = Arc::default();
        let state = Arc::clone(&mine);
        let observer = move |event: &Event<'_>| {
            if let Event::Synced { durable, .. } = event {
                state.lock().unwrap().push(*durable);
            }
        };
        let options = small().sync_policy(policy).observer(Arc::new(observer));
        let log = options.open(dir.path()).unwrap();
        let held = mine.lock().unwrap();
        let lsn = log.append(b"one").unwrap();
        let state = Arc::clone(&mine);
        log.on_durable(lsn, move |durable| {
            durable.unwrap();
            state.lock().unwrap().push(lsn);
        });
        log.commit().unwrap();
        // And of what is durable already.
        let state = Arc::clone(&mine);
        log.on_durable(lsn, move |_| state.lock().unwrap().push(lsn));
        drop(held);
        log.close().unwrap();
        let told = mine.lock().unwrap();
        assert_eq!(told.iter().filter(|at| **at == lsn).count(), 2);
        assert!(told.len() >= 3, "{told:?}");
    }
}

#[derive(Clone, Copy, Debug)]
enum Told {
    Synced(Lsn),
    Called(Lsn),
}

/// The event of a sync, then the callbacks of the records that it made durable, in order of their LSNs.
#[test]
fn a_callback_comes_after_the_event_of_its_sync() {
    let diary: Arc<Mutex<Vec<Told>>> = Arc::default();
    let pages = Arc::clone(&diary);
    let observer = move |event: &Event<'_>| {
        if let Event::Synced { durable, .. } = event {
            pages.lock().unwrap().push(Told::Synced(*durable));
        }
    };
    let log = small().observer(Arc::new(observer)).open_on(&SimDisk::new(1)).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for n in 0..200 {
                    let lsn = log.append(b"one").unwrap();
                    if n % 3 == 0 {
                        log.commit().unwrap(); // then it is durable already
                    }
                    let pages = Arc::clone(&diary);
                    log.on_durable(lsn, move |_| pages.lock().unwrap().push(Told::Called(lsn)));
                }
            });
        }
    });
    log.close().unwrap();
    let told = diary.lock().unwrap();
    let (mut durable, mut calls) = (Lsn::MIN, 0);
    for told in told.iter() {
        match *told {
            Told::Synced(to) => {
                assert!(to > durable, "{to} after {durable}");
                durable = to;
            }
            Told::Called(lsn) => {
                assert!(lsn < durable, "{lsn} is called before the event of its sync");
                calls += 1;
            }
        }
    }
    assert_eq!(calls, 600);
}

/// Commits do not grow the queue of an observer that is behind (P9).
#[test]
fn p9_syncs_that_an_observer_is_late_for_are_one_event() {
    const COMMITS: u64 = 2000;
    let seen: Arc<Mutex<Vec<(Lsn, u64, u64)>>> = Arc::default();
    let (let_go, held) = mpsc::channel::<()>();
    let (keep, held) = (Arc::clone(&seen), Mutex::new(held));
    let observer = move |event: &Event<'_>| {
        let &Event::Synced { durable, records, syncs, .. } = event else { return };
        keep.lock().unwrap().push((durable, records, syncs));
        held.lock().unwrap().recv().unwrap_err();
    };
    // One segment, so that nothing else happens.
    let options = Options::new().segment_size(1 << 20).observer(Arc::new(observer));
    let dir = tempfile::tempdir().unwrap();
    let log = options.sync_policy(SyncPolicy::Interval(NEVER)).open(dir.path()).unwrap();
    for _ in 0..COMMITS {
        log.append_durable(b"one").unwrap();
    }
    drop(let_go);
    let durable = log.durable();
    log.close().unwrap();
    let seen = seen.lock().unwrap();
    assert!(seen.len() <= 3, "{} events", seen.len());
    assert_eq!(seen.iter().map(|(_, records, _)| records).sum::<u64>(), COMMITS);
    assert_eq!(seen.iter().map(|(.., syncs)| syncs).sum::<u64>(), COMMITS);
    assert_eq!(seen.last().unwrap().0, durable);
}

/// What was queued behind a callback that ends the log is delivered all the same.
#[test]
fn what_is_queued_behind_a_close_in_a_callback_is_delivered() {
    for closes in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let log =
            Arc::new(small().sync_policy(SyncPolicy::Interval(NEVER)).open(dir.path()).unwrap());
        let lsn = log.append(b"one").unwrap();
        let later = log.append(b"two").unwrap();
        let (hand_over, handed) = mpsc::channel::<Arc<Log>>();
        let (send, outcomes) = mpsc::channel();
        let (begins, begun) = mpsc::channel();
        log.on_durable(lsn, move |_| {
            begins.send(()).unwrap();
            let log = handed.recv().unwrap();
            if closes {
                log.close().unwrap();
            }
            drop(log);
        });
        log.commit_to(lsn).unwrap();
        begun.recv().unwrap(); // all that follows is queued behind it
        let waits = log.append(b"three").unwrap();
        for lsn in [later, waits] {
            let send = send.clone();
            log.on_durable(lsn, move |outcome| send.send(outcome).unwrap());
        }
        drop(send);
        hand_over.send(log).unwrap();
        outcomes.recv().unwrap().unwrap();
        let last = outcomes.recv().unwrap();
        assert_eq!(last.is_ok(), closes, "{last:?}");
        assert!(closes || matches!(last, Err(Error::Closed)));
        assert!(outcomes.recv().is_err(), "once each");
    }
}

/// It waits for what only the end of the log can bring, and the end waits for it.
#[test]
fn a_drop_ends_the_wait_of_a_callback() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().sync_policy(SyncPolicy::Interval(NEVER)).open(dir.path()).unwrap();
    let durable = log.append_durable(b"one").unwrap();
    let ticket = log.when_durable(log.append(b"two").unwrap());
    let (send, inside) = mpsc::channel();
    let (tell, outcome) = mpsc::channel();
    log.on_durable(durable, move |_| {
        send.send(()).unwrap();
        tell.send(ticket.wait()).unwrap();
    });
    inside.recv().unwrap();
    drop(log);
    assert!(matches!(outcome.try_recv().unwrap(), Err(Error::Closed)));
}

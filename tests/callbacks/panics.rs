//! A panic inside the log, on a thread that others depend on: the log is poisoned, and no one waits for ever.

use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Error, Event, Log, Result, SyncPolicy};

use crate::{NEVER, small};

fn panicked(outcome: Result<()>) {
    match outcome {
        Err(Error::Poisoned { cause }) => {
            assert!(matches!(*cause, Error::Panicked { .. }), "{cause}");
            assert!(cause.to_string().contains("a panic by order"), "{cause}");
        }
        other => panic!("{other:?}"),
    }
}

/// A log, the next such call of which panics; with its background, or no one else to meet it.
fn with_panic(
    background: bool,
    policy: SyncPolicy,
    call: Call,
) -> (SimDisk, Log, mpsc::Receiver<String>) {
    let disk = SimDisk::new(1);
    disk.set_background(background);
    let (send, failed) = mpsc::channel();
    let observer = move |event: &Event<'_>| {
        if let Event::Failed(error) = event {
            send.send(error.to_string()).unwrap();
        }
    };
    let log = small().sync_policy(policy).observer(Arc::new(observer)).open_on(&disk).unwrap();
    log.append_durable(b"one").unwrap();
    log.step().unwrap(); // the next segment is there
    disk.order(Fault::new(call, 1, 0).panicking());
    (disk, log, failed)
}

#[test]
fn p6_a_panic_of_the_background_thread_poisons() {
    let (disk, log, failed) =
        with_panic(true, SyncPolicy::Interval(Duration::from_millis(1)), Call::Sync);
    // Under this policy it only waits.
    let ticket = log.append(b"two").map(|lsn| log.when_durable(lsn));
    if let Ok(ticket) = ticket {
        panicked(ticket.wait());
    }
    assert!(failed.recv().unwrap().contains("duralog"));
    panicked(log.append(b"three").map(drop));
    panicked(log.close());
    assert_eq!(disk.struck(), 1);
}

#[test]
fn p6_a_panic_of_the_thread_that_syncs_for_tickets_poisons() {
    let (disk, log, failed) = with_panic(false, SyncPolicy::OnCommit, Call::Sync);
    let lsn = log.append(b"two").unwrap();
    let (send, outcome) = mpsc::channel();
    log.on_durable(lsn, move |durable| send.send(durable).unwrap());
    panicked(outcome.recv().unwrap());
    assert!(failed.recv().unwrap().contains("duralog-sync"));
    panicked(log.commit().map(drop));
    assert_eq!(disk.struck(), 1);
}

/// A caller leads while it syncs: those behind it would wait for ever.
#[test]
fn p6_a_panic_of_a_thread_that_leads_ends_those_who_follow() {
    let (disk, log, _failed) = with_panic(false, SyncPolicy::Interval(NEVER), Call::Sync);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| match log.append(b"two") {
                Ok(lsn) => panicked(log.commit_to(lsn)),
                Err(error) => panicked(Err(error)),
            });
        }
    });
    panicked(log.close());
    assert_eq!(disk.struck(), 1);
}

/// The background thread makes the next segment; no append that needs one later may succeed.
#[test]
fn p6_a_panic_while_a_segment_is_made_ends_appends() {
    for call in [Call::Create, Call::Allocate, Call::Rename] {
        let (disk, log, failed) = with_panic(true, SyncPolicy::Interval(NEVER), call);
        drop(log.roll()); // into the one that is ready, unless the background has met it already
        while disk.struck() == 0 {
            thread::yield_now();
        }
        // It has panicked, and is about to say so.
        let ended = (0..2000).find_map(|_| {
            thread::sleep(Duration::from_millis(1));
            log.append(b"x").err()
        });
        assert!(ended.is_some(), "{call:?}: appends went on");
        panicked(ended.map_or(Ok(()), Err));
        assert!(failed.recv().unwrap().contains("a panic by order"));
        drop(log);
        assert_eq!(disk.struck(), 1, "{call:?}");
    }
}

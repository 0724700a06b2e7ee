//! The table in the documentation of `Observer`, call by call and policy by policy: each from a callback and from an
//! observer. What hangs here hangs the log.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use duralog::{Error, Event, Log, Lsn, Result, SyncPolicy};

use crate::{NEVER, settle, small};

/// The log, and a record of it, for a call that is made elsewhere.
type Place = Arc<Mutex<Option<(Arc<Log>, Lsn)>>>;

struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// A call: its name, and one that is to succeed. `lsn` is a record that is durable.
type Call = (&'static str, fn(&Arc<Log>, Lsn) -> Result<()>);

const CALLS: &[Call] = &[
    ("append", |log, _| log.append(b"x").map(drop)),
    ("append_batch", |log, _| log.append_batch(&["x", "y"]).map(drop)),
    ("append, a segment", |log, _| log.append(&[1; 12_000]).map(drop)),
    ("append_durable", |log, _| log.append_durable(b"x").map(drop)),
    ("commit", |log, _| log.append(b"x").and_then(|_| log.commit()).map(drop)),
    ("commit_to", |log, _| log.append(b"x").and_then(|lsn| log.commit_to(lsn))),
    ("Durable::wait", |log, _| log.append(b"x").and_then(|lsn| log.when_durable(lsn).wait())),
    ("a ticket awaited", |log, _| log.append(b"x").and_then(|lsn| block_on(log.when_durable(lsn)))),
    ("on_durable", |log, _| log.append(b"x").map(|lsn| log.on_durable(lsn, drop))),
    ("on_durable of what is durable", |log, lsn| {
        log.on_durable(lsn, drop);
        Ok(())
    }),
    ("read", |log, lsn| log.read(lsn).map(drop)),
    ("replay", |log, _| log.replay().find_map(Result::err).map_or(Ok(()), Err)),
    ("follow", |log, lsn| {
        let mut follower = log.follow(lsn)?;
        follower.next_timeout(Duration::from_secs(3600)).map(drop)
    }),
    ("follow what is published", |log, _| {
        let mut follower = log.follow(log.end())?.published();
        log.append(b"x")?;
        follower.next_timeout(Duration::from_secs(3600)).map(drop)
    }),
    ("roll", |log, _| log.roll().map(drop)),
    ("checkpoint", |log, _| log.checkpoint(log.durable()).map(drop)),
    ("truncate_after", |log, lsn| log.append(b"x").and_then(|_| log.truncate_after(lsn))),
    ("truncate_all", |log, _| log.truncate_all()),
    ("reset_to", |log, _| log.reset_to(Lsn::new(1 << 30)).map(drop)),
    ("set_metadata", |log, _| log.set_metadata(b"x").map(drop)),
    ("a consumer", |log, lsn| {
        let consumer = log.consumer("x")?;
        let acked = consumer.ack(lsn)?;
        log.commit_to(acked)?;
        consumer.follow()?.try_next()?;
        consumer.remove().map(drop)
    }),
    ("archiving", |log, _| log.archived_up_to(Lsn::MIN).and_then(|()| log.stop_archiving())),
    ("what is asked", |log, _| {
        drop((log.stats(), log.blockers(), log.consumers(), log.metadata(), log.archived()));
        let _seen = (log.head(), log.end(), log.durable(), log.checkpoint_lsn(), log.recovery());
        Ok(())
    }),
    ("close", |log, _| log.close()),
    ("dropping the last handle", |_, _| Ok(())),
];

/// The last two end the log.
const ENDS: usize = 2;

fn policies() -> [SyncPolicy; 3] {
    [SyncPolicy::OnCommit, SyncPolicy::Bytes(1), SyncPolicy::Interval(Duration::from_millis(1))]
}

/// Whatever was called, the log and its background go on.
fn goes_on(log: &Log) {
    let lsn = log.append(b"after").unwrap();
    log.when_durable(lsn).wait().unwrap();
    settle(log);
}

#[test]
fn a_callback_may_make_every_call_under_every_policy() {
    for policy in policies() {
        for (n, (name, call)) in CALLS.iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let log = Arc::new(small().sync_policy(policy).open(dir.path()).unwrap());
            let lsn = log.append_durable(b"one").unwrap();
            let (hand_over, handed) = mpsc::channel::<Arc<Log>>();
            let (send, outcome) = mpsc::channel();
            let next = log.append(b"two").unwrap();
            log.on_durable(next, move |durable| {
                let log = handed.recv().unwrap();
                let made = durable.and_then(|()| call(&log, lsn));
                drop(log);
                send.send(made).unwrap();
            });
            let ends = n >= CALLS.len() - ENDS;
            hand_over.send(Arc::clone(&log)).unwrap();
            let log = (!ends).then_some(log);
            let made = outcome.recv().unwrap();
            assert!(made.is_ok(), "{name} under {policy:?}: {made:?}");
            if let Some(log) = log {
                goes_on(&log);
                log.close().unwrap();
            }
            drop(Log::open(dir.path()).unwrap()); // the lock is free
        }
    }
}

#[test]
fn an_observer_may_make_every_call_under_every_policy() {
    for policy in policies() {
        for (n, (name, call)) in CALLS.iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let place: Place = Arc::default();
            let (mine, (send, outcome)) = (Arc::clone(&place), mpsc::channel());
            let observer = move |event: &Event<'_>| {
                let Event::Synced { .. } = event else { return };
                let Some((log, lsn)) = mine.lock().unwrap().take() else { return };
                let made = call(&log, lsn);
                drop(log);
                send.send(made).unwrap();
            };
            let options = small().sync_policy(policy).observer(Arc::new(observer));
            let log = Arc::new(options.open(dir.path()).unwrap());
            let lsn = log.append_durable(b"one").unwrap();
            settle(&log);
            let ends = n >= CALLS.len() - ENDS;
            // One that ends the log may do so before this thread has come from its commit.
            log.append(b"two").unwrap();
            let weak = Arc::downgrade(&log);
            *place.lock().unwrap() = Some((Arc::clone(&log), lsn));
            drop(log.commit());
            let log = (!ends).then_some(log);
            let made = outcome.recv().unwrap();
            assert!(made.is_ok(), "{name} under {policy:?}: {made:?}");
            if let Some(log) = log {
                goes_on(&log);
                log.close().unwrap();
            }
            assert!(weak.upgrade().is_none());
            drop(Log::open(dir.path()).unwrap());
        }
    }
}

/// The policy syncs on while a callback waits, for whatever it waits.
#[test]
fn a_callback_that_waits_stops_no_sync() {
    let dir = tempfile::tempdir().unwrap();
    let options = small().in_background(Duration::from_millis(1));
    let log = Arc::new(options.open(dir.path()).unwrap());
    let (let_go, held) = mpsc::channel::<()>();
    let (send, inside) = mpsc::channel();
    let first = log.append(b"one").unwrap();
    log.on_durable(first, move |_| {
        send.send(()).unwrap();
        held.recv().unwrap_err();
    });
    inside.recv().unwrap();
    for _ in 0..5 {
        log.when_durable(log.append(b"x").unwrap()).wait().unwrap();
    }
    drop(let_go);
    log.close().unwrap();
}

/// Not in the table, since it can be said only once: what is refused after a close is queued too.
#[test]
fn a_callback_after_a_close_is_told_so_by_the_same_thread() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().sync_policy(SyncPolicy::Interval(NEVER)).open(dir.path()).unwrap();
    let lsn = log.append_durable(b"one").unwrap();
    log.close().unwrap();
    let (send, receive) = mpsc::channel();
    log.on_durable(lsn, move |outcome| {
        send.send((outcome, thread::current().name().map(str::to_owned))).unwrap();
    });
    let (outcome, thread) = receive.recv().unwrap();
    assert!(matches!(outcome, Err(Error::Closed)));
    assert_eq!(thread.as_deref(), Some("duralog-events"));
}

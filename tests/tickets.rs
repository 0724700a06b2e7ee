//! Tickets: awaited by tokio and by executors of a few lines, waited for by threads, called back.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test"
)]

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Durable, Error, Log, Lsn, Options, Result, SyncPolicy};

/// An executor: it parks the thread until it is woken.
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

/// A waker that only counts.
#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn poll(ticket: &mut Durable, waker: &Arc<Count>) -> Poll<Result<()>> {
    let waker = Waker::from(Arc::clone(waker));
    std::pin::Pin::new(ticket).poll(&mut Context::from_waker(&waker))
}

/// A log that syncs only when told to: in an hour by itself, and then tickets ask for nothing.
fn quiet(dir: &std::path::Path) -> Log {
    let policy = SyncPolicy::Interval(Duration::from_secs(3600));
    Options::new().sync_policy(policy).segment_size(64 << 10).open(dir).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[test]
fn p1_a_ticket_is_ready_once_its_record_is_durable_on_tokio() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Log::open(dir.path()).unwrap());
    runtime().block_on(async {
        for n in 0..50u32 {
            let lsn = log.append(&n.to_le_bytes()).unwrap();
            log.when_durable(lsn).await.unwrap();
            assert!(lsn < log.durable());
            // And again, when it is so already.
            log.when_durable(lsn).await.unwrap();
        }
    });
    assert_eq!(log.stats().waiting, 0);
}

#[test]
fn many_tickets_share_few_syncs_and_need_no_thread_each() {
    const TASKS: u64 = 2000;
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Log::open(dir.path()).unwrap());
    let before = log.stats().syncs;
    runtime().block_on(async {
        let tasks: Vec<_> = (0..TASKS)
            .map(|n| {
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    let lsn = log.append(&n.to_le_bytes()).unwrap();
                    log.when_durable(lsn).await.unwrap();
                    assert!(lsn < log.durable());
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    });
    let syncs = log.stats().syncs - before;
    assert!(syncs <= TASKS / 20, "{syncs} syncs for {TASKS} tickets");
    assert_eq!(log.stats().waiting, 0);
}

#[test]
fn a_ticket_belongs_to_no_runtime() {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Log::open(dir.path()).unwrap());
    let ticket = log.when_durable(log.append(b"one").unwrap());
    let elsewhere = thread::spawn(move || block_on(ticket));
    elsewhere.join().unwrap().unwrap();
    log.when_durable(log.append(b"two").unwrap()).wait().unwrap();
    assert_eq!(log.durable(), log.end());
}

#[test]
fn the_waker_of_the_last_poll_is_woken_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let log = quiet(dir.path());
    let mut ticket = log.when_durable(log.append(b"one").unwrap());
    let wakers: Vec<Arc<Count>> = (0..3).map(|_| Arc::default()).collect();
    for waker in &wakers {
        assert!(poll(&mut ticket, waker).is_pending());
    }
    assert_eq!(log.stats().waiting, 1);
    // Those that were replaced are held by no one.
    assert_eq!(Arc::strong_count(&wakers[0]), 1);
    log.commit().unwrap();
    let woken: Vec<usize> = wakers.iter().map(|w| w.0.load(Ordering::SeqCst)).collect();
    assert_eq!(woken, [0, 0, 1]);
    assert!(matches!(poll(&mut ticket, &wakers[0]), Poll::Ready(Ok(()))));
    assert_eq!(log.stats().waiting, 0);
}

#[test]
fn a_dropped_ticket_cancels_nothing_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = quiet(dir.path());
    let waker = Arc::<Count>::default();
    let mut tickets: Vec<Durable> = Vec::new();
    for n in 0..100u32 {
        let mut ticket = log.when_durable(log.append(&n.to_le_bytes()).unwrap());
        assert!(poll(&mut ticket, &waker).is_pending());
        tickets.push(ticket);
    }
    assert_eq!(log.stats().waiting, 100);
    drop(tickets);
    assert_eq!(log.stats().waiting, 0);
    assert_eq!(Arc::strong_count(&waker), 1);
    log.commit().unwrap();
    assert_eq!(waker.0.load(Ordering::SeqCst), 0);
    assert_eq!(log.replay_range(..log.durable()).unwrap().count(), 100);
}

/// Also where no one else commits: the poll asked for the sync, and that is not taken back.
#[test]
fn p1_a_ticket_that_was_polled_and_dropped_still_makes_its_record_durable() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path()).unwrap();
    let lsn = log.append(b"one").unwrap();
    let mut ticket = log.when_durable(lsn);
    drop(poll(&mut ticket, &Arc::default()));
    drop(ticket);
    while log.durable() <= lsn {
        thread::yield_now();
    }
}

#[test]
fn under_an_interval_tickets_ask_for_nothing_and_are_woken_by_the_policy() {
    let dir = tempfile::tempdir().unwrap();
    let policy = SyncPolicy::Interval(Duration::from_millis(20));
    let log = Options::new().sync_policy(policy).open(dir.path()).unwrap();
    let before = log.stats().syncs;
    runtime().block_on(async {
        let lsns: Vec<Lsn> = (0..200u32).map(|n| log.append(&n.to_le_bytes()).unwrap()).collect();
        for lsn in lsns {
            log.when_durable(lsn).await.unwrap();
        }
    });
    log.when_durable(log.append(b"by a thread").unwrap()).wait().unwrap();
    let syncs = log.stats().syncs - before;
    assert!(syncs <= 20, "{syncs} syncs");
}

#[test]
fn a_callback_is_called_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path()).unwrap();
    let calls: Arc<Vec<AtomicUsize>> = Arc::new((0..500).map(|_| AtomicUsize::new(0)).collect());
    for n in 0..calls.len() {
        let lsn = log.append(b"one").unwrap();
        let calls = Arc::clone(&calls);
        log.on_durable(lsn, move |outcome| {
            outcome.unwrap();
            calls[n].fetch_add(1, Ordering::SeqCst);
        });
    }
    log.close().unwrap();
    assert!(calls.iter().all(|calls| calls.load(Ordering::SeqCst) == 1));
    assert_eq!(log.stats().waiting, 0);
}

/// Whatever the caller holds, it is never called on its stack: for what is durable, refused, or committed by it.
#[test]
fn a_callback_is_called_by_a_thread_of_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let log = quiet(dir.path());
    let (send, receive) = mpsc::channel();
    let tell = || {
        let send = send.clone();
        move |outcome: Result<()>| {
            send.send((outcome.is_ok(), thread::current().name().map(str::to_owned))).unwrap();
        }
    };
    let thread = Some("duralog-events".to_owned());
    let lsn = log.append_durable(b"one").unwrap();
    log.on_durable(lsn, tell());
    assert_eq!(receive.recv().unwrap(), (true, thread.clone()));
    log.on_durable(log.end(), tell());
    assert_eq!(receive.recv().unwrap(), (false, thread.clone()));
    let lsn = log.append(b"two").unwrap();
    log.on_durable(lsn, tell());
    assert!(receive.try_recv().is_err());
    log.commit().unwrap();
    assert_eq!(receive.recv().unwrap(), (true, thread));
}

#[test]
fn a_callback_that_panics_harms_no_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = quiet(dir.path());
    let called = Arc::new(AtomicUsize::new(0));
    let lsn = log.append(b"one").unwrap();
    let also = || {
        let called = Arc::clone(&called);
        move |_| {
            called.fetch_add(1, Ordering::SeqCst);
        }
    };
    log.on_durable(lsn, |_| panic!("on purpose"));
    log.on_durable(lsn, also());
    log.commit().unwrap();
    log.on_durable(lsn, |_| panic!("on purpose, of what is durable"));
    log.on_durable(log.end(), |_| panic!("on purpose, of what is refused"));
    log.on_durable(lsn, also());
    while called.load(Ordering::SeqCst) < 2 {
        thread::yield_now();
    }
    log.append_durable(b"two").unwrap();
    log.close().unwrap();
    assert_eq!(called.load(Ordering::SeqCst), 2);
}

/// The thread that calls it cannot wait for its own end.
#[test]
fn a_callback_may_close_or_drop_the_log() {
    for policy in [SyncPolicy::OnCommit, SyncPolicy::Interval(Duration::from_millis(5))] {
        for close in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let log = Options::new().sync_policy(policy).open(dir.path()).unwrap();
            let (hand_over, log_there) = mpsc::channel::<Log>();
            let (send, receive) = mpsc::channel();
            let lsn = log.append(b"one").unwrap();
            log.on_durable(lsn, move |outcome| {
                outcome.unwrap();
                let log = log_there.recv().unwrap();
                if close {
                    log.close().unwrap();
                }
                drop(log);
                send.send(()).unwrap();
            });
            hand_over.send(log).unwrap();
            receive.recv().unwrap();
            assert_eq!(Log::open(dir.path()).unwrap().replay().count(), 1);
        }
    }
}

#[test]
fn a_ticket_is_refused_as_a_commit_is() {
    let dir = tempfile::tempdir().unwrap();
    let log = quiet(dir.path());
    let refused = |lsn: Lsn, is: fn(&Error) -> bool| {
        assert!(is(&block_on(log.when_durable(lsn)).unwrap_err()));
        assert!(is(&log.when_durable(lsn).wait().unwrap_err()));
        let (send, receive) = mpsc::channel();
        log.on_durable(lsn, move |outcome| send.send(outcome).unwrap());
        assert!(is(&receive.recv().unwrap().unwrap_err()));
    };
    refused(log.end(), |error| matches!(error, Error::OutOfRange { .. }));
    let keep = log.append(b"keep").unwrap();
    let undo = log.append(b"undo").unwrap();
    log.truncate_after(keep).unwrap();
    refused(undo, |error| matches!(error, Error::Gone { .. }));
    log.close().unwrap();
    refused(keep, |error| matches!(error, Error::Closed));
}

#[test]
fn a_cut_wakes_the_tickets_of_what_it_takes_away() {
    let dir = tempfile::tempdir().unwrap();
    let log = quiet(dir.path());
    let keep = log.append(b"keep").unwrap();
    let undo = log.append(b"undo").unwrap();
    let (waker, mut kept, mut undone) =
        (Arc::<Count>::default(), log.when_durable(keep), log.when_durable(undo));
    assert!(poll(&mut kept, &waker).is_pending() && poll(&mut undone, &waker).is_pending());
    let (send, receive) = mpsc::channel();
    log.on_durable(undo, move |outcome| send.send(outcome).unwrap());
    log.truncate_after(keep).unwrap();
    assert_eq!(waker.0.load(Ordering::SeqCst), 2);
    assert!(matches!(poll(&mut kept, &waker), Poll::Ready(Ok(()))));
    assert!(matches!(poll(&mut undone, &waker), Poll::Ready(Err(Error::Gone { .. }))));
    assert!(matches!(receive.recv().unwrap(), Err(Error::Gone { .. })));
}

#[test]
fn p7_after_a_close_every_ticket_is_ok_and_after_a_drop_it_is_closed() {
    for close in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let log = quiet(dir.path());
        let lsn = log.append(b"one").unwrap();
        let (mut polled, unpolled, waited) =
            (log.when_durable(lsn), log.when_durable(lsn), log.when_durable(lsn));
        let waker = Arc::<Count>::default();
        assert!(poll(&mut polled, &waker).is_pending());
        let waiting = thread::spawn(move || waited.wait());
        let (send, receive) = mpsc::channel();
        log.on_durable(lsn, move |outcome| send.send(outcome).unwrap());
        if close {
            log.close().unwrap();
        }
        drop(log);
        assert_eq!(waker.0.load(Ordering::SeqCst), 1);
        let outcomes = [
            block_on(polled),
            unpolled.wait(),
            waiting.join().unwrap(),
            receive.try_recv().unwrap(),
        ];
        for outcome in outcomes {
            if close {
                outcome.unwrap();
            } else {
                assert!(matches!(outcome, Err(Error::Closed)), "{outcome:?}");
            }
        }
        let found = Log::open(dir.path()).unwrap().replay().count();
        assert_eq!(found, 1); // by the page cache, if not by a sync
    }
}

/// A ticket outlives its log; who waits for it must not sync files that are the next instance's.
#[test]
fn a_ticket_of_a_dropped_log_syncs_nothing() {
    let disk = SimDisk::new(1);
    let log = Options::new().open_on(&disk).unwrap();
    let ticket = log.when_durable(log.append(b"one").unwrap());
    drop(log);
    let syncs = disk.count(Call::Sync);
    assert!(matches!(ticket.wait(), Err(Error::Closed)));
    assert_eq!(disk.count(Call::Sync), syncs);
}

#[test]
fn p6_a_failed_sync_ends_every_ticket() {
    let disk = SimDisk::new(1);
    let log = Options::new().open_on(&disk).unwrap();
    let durable = log.append_durable(b"durable").unwrap();
    let early = log.when_durable(durable);
    disk.order(Fault::new(Call::Sync, 1, 5));
    let lsn = log.append(b"one").unwrap();
    let (send, receive) = mpsc::channel();
    log.on_durable(lsn, move |outcome| send.send(outcome).unwrap());
    let ticket = log.when_durable(lsn);
    let failed = |outcome: Result<()>| assert!(outcome.is_err_and(|error| error.is_poisoned()));
    failed(receive.recv().unwrap());
    failed(block_on(ticket));
    failed(block_on(log.when_durable(lsn)));
    early.wait().unwrap(); // made before, and true
    assert_eq!(log.stats().waiting, 0);
    assert_eq!(disk.struck(), 1);
}

/// Not by a sync: an append that fails poisons under the lock of the tail, and no one is there to be woken by it.
#[test]
fn p6_a_failed_append_ends_tickets_that_wait_for_the_policy() {
    let disk = SimDisk::new(1);
    let policy = SyncPolicy::Interval(Duration::from_secs(3600));
    let options = Options::new().sync_policy(policy).write_method(duralog::WriteMethod::Pwrite);
    let log = options.open_on(&disk).unwrap();
    let ticket = log.when_durable(log.append(b"one").unwrap());
    let waiting = thread::spawn(move || block_on(ticket));
    while log.stats().waiting == 0 {
        thread::yield_now();
    }
    disk.order(Fault::new(Call::Write, 1, 5));
    assert!(log.append(b"two").is_err_and(|error| error.is_poisoned()));
    assert!(waiting.join().unwrap().is_err_and(|error| error.is_poisoned()));
}

/// An executor that polls from any of its threads, each time with another waker.
#[test]
fn p1_tickets_move_between_threads_while_others_commit() {
    #[derive(Default)]
    struct Pool {
        ready: Mutex<Vec<usize>>,
        changed: Condvar,
    }
    struct Task(Arc<Pool>, usize);
    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.ready.lock().unwrap().push(self.1);
            self.0.changed.notify_one();
        }
    }
    const TASKS: usize = 300;
    let dir = tempfile::tempdir().unwrap();
    let log = Options::new().segment_size(16 << 10).open(dir.path()).unwrap();
    let pool = Arc::new(Pool::default());
    pool.ready.lock().unwrap().extend(0..TASKS);
    let tickets: Vec<Mutex<Option<(Lsn, Durable)>>> =
        (0..TASKS).map(|_| Mutex::default()).collect();
    let done = AtomicUsize::new(0);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while done.load(Ordering::SeqCst) < TASKS {
                    let mut ready = pool.ready.lock().unwrap();
                    let Some(n) = ready.pop() else {
                        drop(pool.changed.wait_timeout(ready, Duration::from_millis(1)).unwrap());
                        continue;
                    };
                    drop(ready);
                    let mut ticket = tickets[n].lock().unwrap();
                    let (lsn, future) = ticket.get_or_insert_with(|| {
                        let lsn = log.append(&[7; 300]).unwrap();
                        (lsn, log.when_durable(lsn))
                    });
                    let waker = Waker::from(Arc::new(Task(Arc::clone(&pool), n)));
                    let polled = std::pin::Pin::new(future).poll(&mut Context::from_waker(&waker));
                    if let Poll::Ready(outcome) = polled {
                        outcome.unwrap();
                        assert!(*lsn < log.durable());
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
        scope.spawn(|| {
            for _ in 0..100 {
                log.append_durable(&[8; 300]).unwrap();
            }
        });
    });
    assert_eq!(log.stats().waiting, 0);
}

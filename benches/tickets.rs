//! What tickets, followers, consumers and observers cost, and how late they are. `cargo bench --bench tickets [-- DIR]`.
//!
//! The variants of a figure take turns, and each is the median of its rounds.

#![allow(clippy::unwrap_used, clippy::cast_precision_loss, reason = "a program to measure with")]

use std::future::Future;
use std::path::Path;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use duralog::{Event, Log, Lsn, Options, SyncPolicy};

const ROUNDS: usize = 9;

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

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Its name, and one round of it.
type Variant<'a> = (&'a str, Box<dyn FnMut() -> f64 + 'a>);

/// Runs the variants in turn, and tells the median of each and its ratio to the first.
fn compare(what: &str, unit: &str, variants: &mut [Variant<'_>]) {
    let mut found = vec![Vec::new(); variants.len()];
    for _ in 0..ROUNDS {
        for ((_, run), found) in variants.iter_mut().zip(&mut found) {
            found.push(run());
        }
    }
    println!("{what}");
    let medians: Vec<f64> = found.into_iter().map(median).collect();
    let first = medians.first().copied().unwrap_or(1.0);
    for ((name, _), median) in variants.iter().zip(medians) {
        println!("  {name:<44} {median:>10.1} {unit}  {:>5.2}", median / first);
    }
}

fn per_call(calls: u32, mut call: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..calls).for_each(|_| call());
    start.elapsed().as_nanos() as f64 / f64::from(calls)
}

fn lazy() -> Options {
    Options::new().sync_policy(SyncPolicy::Interval(Duration::from_secs(3600)))
}

fn open(dir: &Path, options: Options) -> Log {
    std::fs::remove_dir_all(dir).ok();
    options.open(dir).unwrap()
}

fn commits(dir: &Path, calls: u32) {
    let log = open(&dir.join("log"), Options::new());
    let watched = lazy().observer(Arc::new(|_: &Event<'_>| {}));
    let watched = open(&dir.join("watched"), watched);
    let consumed = open(&dir.join("consumed"), lazy());
    let consumer = consumed.consumer("mailer").unwrap();
    let lazy = open(&dir.join("lazy"), lazy());
    let waker = Waker::noop();
    let mut variants: Vec<Variant<'_>> = vec![
        (
            "append and commit_to",
            Box::new(|| {
                per_call(calls, || {
                    let lsn = lazy.append(&[7; 100]).unwrap();
                    lazy.commit_to(lsn).unwrap();
                })
            }),
        ),
        (
            "the same, and a ticket that it covers",
            Box::new(|| {
                per_call(calls, || {
                    let lsn = lazy.append(&[7; 100]).unwrap();
                    let mut ticket = lazy.when_durable(lsn);
                    let polled = Pin::new(&mut ticket).poll(&mut Context::from_waker(waker));
                    assert!(polled.is_pending());
                    lazy.commit_to(lsn).unwrap();
                })
            }),
        ),
        (
            "append, an ack of the one before, commit_to",
            Box::new(|| {
                let mut last = consumed.append_durable(&[7; 100]).unwrap();
                per_call(calls, || {
                    let lsn = consumed.append(&[7; 100]).unwrap();
                    consumer.ack(last).unwrap();
                    consumed.commit_to(lsn).unwrap();
                    last = lsn;
                })
            }),
        ),
        (
            "with an observer that does nothing",
            Box::new(|| {
                per_call(calls, || {
                    let lsn = watched.append(&[7; 100]).unwrap();
                    watched.commit_to(lsn).unwrap();
                })
            }),
        ),
        (
            "append, and a ticket awaited",
            Box::new(|| {
                per_call(calls, || {
                    let lsn = log.append(&[7; 100]).unwrap();
                    block_on(log.when_durable(lsn)).unwrap();
                })
            }),
        ),
        (
            "append, and Durable::wait",
            Box::new(|| {
                per_call(calls, || {
                    let lsn = log.append(&[7; 100]).unwrap();
                    log.when_durable(lsn).wait().unwrap();
                })
            }),
        ),
    ];
    compare("commit of 100 bytes, one thread", "ns", &mut variants);
}

fn appends(dir: &Path) {
    const CALLS: u32 = 200_000;
    let append = |log: &Log| {
        let time = per_call(CALLS, || {
            log.append(&[7; 100]).unwrap();
        });
        log.commit().unwrap();
        log.checkpoint(log.durable()).unwrap();
        time
    };
    // The same segments again and again, and none is waited for.
    let options = || lazy().segment_size(64 << 20).spare_segments(4);
    let log = open(&dir.join("log"), options());
    let watched = open(&dir.join("watched"), options().observer(Arc::new(|_: &Event<'_>| {})));
    let measured = open(&dir.join("measured"), options().measure(true));
    let consumed = open(&dir.join("consumed"), options());
    consumed.consumer("mailer").unwrap();
    let acked = open(&dir.join("acked"), options());
    let consumer = acked.consumer("mailer").unwrap();
    let mut variants: Vec<Variant<'_>> = vec![
        ("append of 100 bytes", Box::new(|| append(&log))),
        ("with an observer that does nothing", Box::new(|| append(&watched))),
        ("with histograms", Box::new(|| append(&measured))),
        ("in a log with a consumer", Box::new(|| append(&consumed))),
        (
            "an ack, instead of an append",
            Box::new(|| {
                let lsn = acked.append_durable(&[7; 100]).unwrap();
                let time = per_call(CALLS, || {
                    consumer.ack(lsn).unwrap();
                });
                acked.commit().unwrap();
                acked.checkpoint(acked.durable()).unwrap();
                time
            }),
        ),
        (
            "a follower waits for what is durable",
            Box::new(|| {
                let mut follower = log.follow(log.end()).unwrap();
                let thread = thread::spawn(move || follower.next_timeout(Duration::from_secs(60)));
                while log.stats().waiting == 0 {
                    thread::yield_now();
                }
                let time = append(&log);
                drop(thread.join().unwrap());
                time
            }),
        ),
        (
            "a follower reads what is published",
            Box::new(|| {
                let mut follower = log.follow(log.end()).unwrap().published();
                let thread = thread::spawn(move || {
                    for _ in 0..CALLS {
                        follower.next_timeout(Duration::from_secs(60)).unwrap().unwrap();
                    }
                });
                let time = append(&log);
                thread.join().unwrap();
                time
            }),
        ),
    ];
    compare("append", "ns", &mut variants);
}

fn catching_up(dir: &Path) {
    const RECORDS: u64 = 1_000_000;
    let log = open(&dir.join("log"), lazy());
    for _ in 0..RECORDS {
        log.append(&[7; 100]).unwrap();
    }
    log.commit().unwrap();
    let each = |run: &dyn Fn() -> u64| {
        let start = Instant::now();
        assert_eq!(run(), RECORDS);
        start.elapsed().as_nanos() as f64 / RECORDS as f64
    };
    let follow = || log.follow(log.head()).unwrap();
    let mut variants: Vec<Variant<'_>> = vec![
        (
            "Replay::next_payload",
            Box::new(|| {
                each(&|| {
                    let (mut replay, mut n) = (log.replay(), 0);
                    while replay.next_payload().unwrap().is_some() {
                        n += 1;
                    }
                    n
                })
            }),
        ),
        (
            "Follower::next_payload",
            Box::new(|| {
                each(&|| {
                    let (mut follower, mut n) = (follow(), 0);
                    while follower.next_payload().unwrap().is_some() {
                        n += 1;
                    }
                    n
                })
            }),
        ),
        ("Replay, records", Box::new(|| each(&|| log.replay().count() as u64))),
        (
            "Follower, records",
            Box::new(|| {
                each(&|| {
                    let (mut follower, mut n) = (follow(), 0);
                    while follower.try_next().unwrap().is_some() {
                        n += 1;
                    }
                    n
                })
            }),
        ),
    ];
    compare("a record of 100 bytes, of a backlog", "ns", &mut variants);
}

fn percentiles(name: &str, mut nanos: Vec<i128>) {
    nanos.sort_unstable();
    let at = |part: usize| nanos.get(nanos.len() * part / 100).copied().unwrap_or(0) as f64 / 1e3;
    println!("  {name:<44} p50 {:>8.1} us  p99 {:>8.1} us", at(50), at(99));
}

/// From the return of a commit to the delivery of its record: negative where the follower was first.
fn latency(dir: &Path, calls: u32, rest: Duration) {
    let log = open(&dir.join("log"), Options::new());
    let follower = log.follow(log.end()).unwrap();
    let (send, delivered): (_, Receiver<(Lsn, Instant)>) = channel();
    let following = thread::spawn(move || {
        for record in follower {
            send.send((record.unwrap().lsn(), Instant::now())).unwrap();
        }
    });
    let mut committed = Vec::new();
    for _ in 0..calls {
        thread::sleep(rest);
        let start = Instant::now();
        let lsn = log.append_durable(&[7; 100]).unwrap();
        committed.push((lsn, start, Instant::now()));
    }
    log.close().unwrap();
    following.join().unwrap();
    let (mut commit, mut whole, mut late) = (Vec::new(), Vec::new(), Vec::new());
    let nanos = |from: Instant, to: Instant| match to.checked_duration_since(from) {
        Some(after) => i128::try_from(after.as_nanos()).unwrap(),
        None => -i128::try_from(from.duration_since(to).as_nanos()).unwrap(),
    };
    for ((lsn, start, done), (seen, at)) in committed.into_iter().zip(delivered) {
        assert_eq!(lsn, seen);
        commit.push(nanos(start, done));
        whole.push(nanos(start, at));
        late.push(nanos(done, at));
    }
    println!("a commit and its delivery to a follower's thread, {rest:?} between commits");
    percentiles("append_durable", commit);
    percentiles("from its call to delivery", whole);
    percentiles("from its return to delivery", late);
    let log = open(&dir.join("log"), Options::new());
    let mut awaited = Vec::new();
    for _ in 0..calls {
        thread::sleep(rest);
        let start = Instant::now();
        let lsn = log.append(&[7; 100]).unwrap();
        block_on(log.when_durable(lsn)).unwrap();
        awaited.push(i128::try_from(start.elapsed().as_nanos()).unwrap());
    }
    percentiles("append and a ticket awaited", awaited);
    // The commit, so that both are of the same sync: from where it wakes its committer to the callback.
    let (send, called) = channel();
    let (mut after, mut called_back) = (Vec::new(), Vec::new());
    for _ in 0..calls {
        thread::sleep(rest);
        let start = Instant::now();
        let lsn = log.append(&[7; 100]).unwrap();
        let send = send.clone();
        log.on_durable(lsn, move |_| send.send(Instant::now()).unwrap());
        log.commit_to(lsn).unwrap();
        let done = Instant::now();
        let at = called.recv().unwrap();
        called_back.push(nanos(start, at));
        after.push(nanos(done, at));
    }
    percentiles("append, a callback and commit, to the callback", called_back);
    percentiles("from the return of the commit to the callback", after);
}

fn main() {
    let home = std::env::args().skip(1).find(|argument| !argument.starts_with("--"));
    let home = home.unwrap_or_else(|| "target".into());
    let dir = Path::new(&home).join("duralog-bench-tickets");
    std::fs::create_dir_all(&dir).unwrap();
    appends(&dir);
    catching_up(&dir);
    commits(&dir, 200);
    latency(&dir, 500, Duration::ZERO);
    latency(&dir, 200, Duration::from_millis(2));
    std::fs::remove_dir_all(&dir).unwrap();
}

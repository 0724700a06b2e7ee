//! Latencies and group sizes in `stats`, and the events of `tracing`.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::fmt::Write;
use std::sync::{Arc, Mutex};
use std::thread;

use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Histograms, Log, Options, TracingObserver};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Level, Metadata, Subscriber};

fn small() -> Options {
    Options::new().segment_size(16 << 10)
}

fn measured(log: &Log) -> Histograms {
    log.stats().histograms.unwrap()
}

#[test]
fn nothing_is_measured_unless_asked_for() {
    let log = small().open_on(&SimDisk::new(1)).unwrap();
    log.append_durable(b"one").unwrap();
    assert_eq!(log.stats().histograms, None);
}

#[test]
fn each_call_that_succeeds_is_counted_once() {
    let disk = SimDisk::new(1);
    let log = small().measure(true).open_on(&disk).unwrap();
    assert_eq!(measured(&log), Histograms::default());
    log.append(b"one").unwrap();
    log.append_batch(&["two", "three"]).unwrap();
    log.append_durable(b"four").unwrap();
    log.commit().unwrap(); // nothing to sync, yet a wait
    assert!(log.append(&vec![0; 1 << 20]).is_err());
    let seen = measured(&log);
    assert_eq!((seen.append.count(), seen.commit.count(), seen.sync.count()), (3, 2, 1));
    assert_eq!((seen.group.count(), seen.group.min(), seen.group.max()), (1, 4, 4));
    assert!(seen.append.min() > 0 && seen.sync.max() <= seen.commit.max());
    log.step().unwrap(); // the background is no caller
    let lsn = log.append(b"five").unwrap();
    log.commit_to(lsn).unwrap();
    let more = measured(&log).commit.since(&seen.commit).unwrap();
    assert_eq!((more.count(), measured(&log).group.max()), (1, 4));
    disk.order(Fault::new(Call::Sync, 1, 5));
    let before = measured(&log);
    log.append(b"six").unwrap();
    assert!(log.commit().is_err());
    let seen = measured(&log);
    assert_eq!((seen.commit, seen.sync, seen.group), (before.commit, before.sync, before.group));
    drop(log);
    let log = small().measure(true).open_on(&disk).unwrap();
    assert_eq!(measured(&log), Histograms::default());
}

#[test]
fn threads_lose_no_count() {
    let dir = tempfile::tempdir().unwrap();
    let log = Options::new().measure(true).open(dir.path()).unwrap();
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| {
                for number in 0..500 {
                    let lsn = log.append(b"one").unwrap();
                    if number % 50 == 0 {
                        log.commit_to(lsn).unwrap();
                    }
                    if number % 100 == 0 {
                        let seen = measured(&log);
                        // What a look shows of a group is whole.
                        assert_eq!(seen.group.count(), seen.sync.count());
                        assert!(seen.commit.count() * 50 <= seen.append.count() + 12 * 50);
                    }
                }
            });
        }
    });
    let (seen, stats) = (measured(&log), log.stats());
    assert_eq!((seen.append.count(), seen.commit.count()), (6000, 120));
    assert_eq!((seen.sync.count(), seen.group.count()), (stats.syncs, stats.syncs));
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<(Level, String)>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        write!(self.0, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Lines {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "duralog"
    }

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        self.0.lock().unwrap().push((*event.metadata().level(), text.0));
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[test]
fn tracing_is_told_each_event_at_its_level() {
    let lines = Lines::default();
    let disk = SimDisk::new(1);
    // For all threads: one of the log's delivers events.
    tracing::subscriber::set_global_default(lines.clone()).unwrap();
    let log = small().observer(Arc::new(TracingObserver)).open_on(&disk).unwrap();
    let settle = || {
        let (send, settled) = std::sync::mpsc::channel();
        log.on_durable(log.end(), move |_| send.send(()).unwrap());
        settled.recv().unwrap();
    };
    log.append_durable(b"one").unwrap();
    settle();
    log.roll().unwrap();
    log.step().unwrap();
    settle();
    log.checkpoint(log.durable()).unwrap();
    log.step().unwrap();
    let kept = log.append(b"two").unwrap();
    log.truncate_after(kept).unwrap();
    log.append(b"three").unwrap();
    disk.order(Fault::new(Call::Sync, 1, 5));
    assert!(log.commit().is_err());
    drop(log);
    drop(small().observer(Arc::new(TracingObserver)).open_on(&disk).unwrap());
    let mut lines = lines.0.lock().unwrap();
    let mut syncs = 0;
    lines.retain(|(level, _)| {
        syncs += usize::from(*level == Level::DEBUG);
        *level != Level::DEBUG || syncs == 1
    });
    let expected = [
        (Level::INFO, "message=opened head=4096 "),
        (Level::DEBUG, "message=synced durable="),
        (Level::INFO, "message=segment sealed id=1 base=0 "),
        (Level::INFO, "message=segment recycled id=1 "),
        (Level::INFO, "message=checkpoint lsn="),
        (Level::INFO, "message=segment sealed id=2 "),
        (Level::INFO, "message=cut back end="),
        (Level::ERROR, "message=the log is poisoned error="),
        (Level::INFO, "message=opened head="),
        (Level::INFO, "message=segment found id=2 "),
    ];
    for (line, expected) in lines.iter().zip(&expected) {
        assert!(line.0 == expected.0 && line.1.starts_with(expected.1), "{line:?} {expected:?}");
    }
    assert!(lines.len() >= expected.len(), "{lines:#?}");
}

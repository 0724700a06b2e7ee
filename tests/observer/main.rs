//! What an observer is told: each thing once, in order, with no lock held; and that sealed segments can be shipped by it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

mod close;
mod failures;
mod shipping;

use std::sync::{Arc, Mutex, mpsc};

use duralog::sim::SimDisk;
use duralog::{Event, Log, Lsn, Observer, Options, Tail};

/// Two records of this length fit in a segment of the smallest size.
pub(crate) const HALF: usize = 5000;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Told {
    Recovered(Tail),
    Found(u64, Lsn),
    Sealed(u64, Lsn),
    Recycled(u64),
    Removed(u64),
    Checkpoint(Lsn),
    CutBack(Lsn, Lsn),
    Synced(Lsn, u64),
    Full,
    Failed(String),
}

pub(crate) fn told(event: &Event<'_>) -> Told {
    match event {
        Event::Recovered(recovery) => Told::Recovered(recovery.tail),
        Event::Found(segment) => Told::Found(segment.id, segment.end),
        Event::Sealed(segment) => Told::Sealed(segment.id, segment.end),
        Event::Recycled { id, .. } => Told::Recycled(*id),
        Event::Removed { id, .. } => Told::Removed(*id),
        Event::Checkpoint { lsn, .. } => Told::Checkpoint(*lsn),
        Event::CutBack { end, resumes } => Told::CutBack(*end, *resumes),
        Event::Synced { durable, records, .. } => Told::Synced(*durable, *records),
        Event::Full(error) => {
            assert!(error.is_full());
            Told::Full
        }
        Event::Failed(error) => Told::Failed(error.to_string()),
        other => panic!("{other:?}"),
    }
}

/// Remembers all that it is told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary(Arc<Mutex<Vec<Told>>>);

impl Observer for Diary {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(told(event));
    }
}

impl Diary {
    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// Once all that has happened was delivered.
    fn take_of(&self, log: &Log) -> Vec<Told> {
        settle(log);
        self.take()
    }

    /// The same without the syncs.
    fn changes_of(&self, log: &Log) -> Vec<Told> {
        let mut all = self.take_of(log);
        all.retain(|told| !matches!(told, Told::Synced(..)));
        all
    }
}

/// Waits until everything that has happened was delivered: callbacks and events share one queue.
pub(crate) fn settle(log: &Log) {
    let (send, settled) = mpsc::channel();
    log.on_durable(log.end(), move |_| send.send(()).unwrap()); // refused, so queued at once
    settled.recv().unwrap();
}

pub(crate) fn small() -> Options {
    Options::new().segment_size(16 << 10).spare_segments(1)
}

pub(crate) fn on(disk: &SimDisk, diary: &Diary) -> Log {
    small().observer(Arc::new(diary.clone())).open_on(disk).unwrap()
}

/// What must hold of any log's events: `Recovered` first and once; each segment at most once sealed, and out once, in
/// order, after it was sealed unless it was cut away.
pub(crate) fn check(all: &[Told]) {
    let mut sealed = Vec::new();
    let mut out = Vec::new();
    let mut cut = false;
    for (at, told) in all.iter().enumerate() {
        match told {
            Told::Recovered(_) => assert_eq!(at, 0),
            Told::Found(id, _) | Told::Sealed(id, _) => {
                assert!(sealed.iter().all(|before| before < id), "{id} late, or twice: {all:#?}");
                sealed.push(*id);
            }
            Told::Recycled(id) | Told::Removed(id) => {
                assert!(cut || sealed.contains(id), "{id} never sealed: {all:#?}");
                assert!(!out.contains(id), "{id} out twice: {all:#?}");
                out.push(*id);
            }
            Told::CutBack(..) => cut = true,
            _ => {}
        }
    }
    assert!(matches!(all[0], Told::Recovered(_)));
}

#[test]
fn each_change_of_a_segment_is_told_once_and_in_order() {
    let (disk, diary) = (SimDisk::new(1), Diary::default());
    let log = on(&disk, &diary);
    assert_eq!(diary.take_of(&log), [Told::Recovered(Tail::Clean)]);
    let first = log.append_durable(&[1; HALF]).unwrap();
    assert_eq!(diary.take_of(&log), [Told::Synced(log.durable(), 1)]);
    log.append(&[2; HALF]).unwrap();
    let one = log.end();
    log.append(&[3; HALF]).unwrap(); // in the next segment
    log.commit().unwrap();
    assert_eq!(diary.take_of(&log), [Told::Synced(log.durable(), 2)]); // full and durable, but no manifest says so
    log.step().unwrap();
    assert_eq!(diary.changes_of(&log), [Told::Sealed(1, one)]);
    log.step().unwrap();
    log.checkpoint(first).unwrap(); // frees nothing
    assert_eq!(diary.changes_of(&log), [Told::Checkpoint(first)]);
    log.checkpoint(one).unwrap();
    assert_eq!(diary.changes_of(&log), [Told::Recycled(1), Told::Checkpoint(one)]);
    // What a checkpoint passes before any manifest calls it sealed is told to be sealed all the same, and held until then.
    let all = log.commit().unwrap();
    log.checkpoint(all).unwrap();
    let mut told = diary.changes_of(&log);
    log.step().unwrap();
    told.extend(diary.changes_of(&log));
    assert_eq!(told.remove(0), Told::Sealed(2, all));
    // By the checkpoint itself, or later: as the event is delivered.
    let out = told.iter().position(|t| matches!(t, Told::Recycled(2) | Told::Removed(2))).unwrap();
    told.remove(out);
    assert_eq!(told, [Told::Checkpoint(all)]);
    // Cut away: what is left of the active segment is sealed, what was beyond goes.
    let kept = log.append_durable(&[4; HALF]).unwrap();
    let cut = log.end();
    for _ in 0..4 {
        log.append(&[5; HALF]).unwrap();
    }
    log.truncate_after(kept).unwrap();
    let all = diary.changes_of(&log);
    assert_eq!(all[..2], [Told::Sealed(3, cut), Told::CutBack(cut, log.end())], "{all:?}");
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(all[2..].iter().all(|t| matches!(t, Told::Recycled(4 | 5) | Told::Removed(4 | 5))));
    log.close().unwrap();
    assert_eq!(diary.changes_of(&log), []);
}

#[test]
fn the_rules_hold_whatever_is_done() {
    for seed in 0..40_u64 {
        let (disk, diary) = (SimDisk::new(seed), Diary::default());
        let mut log = on(&disk, &diary);
        let mut draw = seed;
        let mut next = |n: u64| {
            draw = draw
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (draw >> 33) % n
        };
        for _ in 0..60 {
            match next(10) {
                0..=4 => drop(log.append(&vec![7; next(9000) as usize]).unwrap()),
                5 => drop(log.commit().unwrap()),
                6 => log.step().unwrap(),
                7 => drop(log.checkpoint(log.durable()).unwrap()),
                8 => {
                    let kept = log.replay().last().map(|record| record.unwrap().lsn());
                    if let Some(lsn) = kept.filter(|lsn| *lsn >= log.checkpoint_lsn()) {
                        log.truncate_after(lsn).unwrap();
                    }
                }
                _ => {
                    if next(2) == 0 {
                        log.close().unwrap();
                    }
                    drop(log);
                    check(&diary.take());
                    log = on(&disk, &diary);
                }
            }
        }
        drop(log);
        check(&diary.take());
    }
}

/// Whoever ships segments learns at open what a crash may have kept it from.
#[test]
fn an_open_tells_what_was_sealed_before_and_what_recovery_sealed() {
    let (disk, diary) = (SimDisk::new(1), Diary::default());
    let log = on(&disk, &diary);
    for _ in 0..3 {
        log.append_durable(&[1; HALF]).unwrap();
    }
    log.step().unwrap();
    let sealed = diary.changes_of(&log)[1].clone();
    let Told::Sealed(1, one) = sealed else { panic!("{sealed:?}") };
    let two = log.end();
    drop(log);
    let log = on(&disk, &diary);
    let recovered = Told::Recovered(Tail::Unclean { at: two });
    assert_eq!(diary.take(), [recovered, Told::Found(1, one), Told::Sealed(2, two)]);
    log.close().unwrap();
    drop(log);
    drop(on(&disk, &diary));
    let again = [Told::Recovered(Tail::Clean), Told::Found(1, one), Told::Found(2, two)];
    assert_eq!(diary.take(), again);
}

/// The end of a segment, and its file's bytes.
pub(crate) type Copied = (Lsn, Vec<u8>);

#[test]
fn several_observers_are_told_the_same() {
    let (disk, diaries) = (SimDisk::new(1), [(); 4].map(|()| Diary::default()));
    let [a, b, c, d] = diaries.clone();
    let observer: (Vec<Diary>, (Arc<dyn Observer>, Diary)) = (vec![a, b], (Arc::new(c), d));
    let log = small().observer(Arc::new(observer)).open_on(&disk).unwrap();
    log.append_durable(b"one").unwrap();
    log.close().unwrap();
    let told = diaries.map(|diary| diary.take());
    assert_eq!(told[0].len(), 2);
    assert!(told.iter().all(|each| *each == told[0]));
}

/// Dropped by a reset before any sync covered it: it is not told as complete and durable.
#[test]
fn what_a_reset_drops_is_not_told_as_sealed() {
    let disk = SimDisk::new(1);
    let seen = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&seen);
    let observer = move |event: &Event<'_>| {
        *counter.lock().unwrap() += usize::from(matches!(event, Event::Sealed(_)));
    };
    let log = Options::new().segment_size(64 << 10).observer(Arc::new(observer));
    let log = log.open_on(&disk).unwrap();
    log.append(b"never committed").unwrap();
    log.roll().unwrap();
    log.truncate_all().unwrap();
    settle(&log);
    assert_eq!(*seen.lock().unwrap(), 0);
}

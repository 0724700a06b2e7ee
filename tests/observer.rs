//! What an observer is told: each thing once, in order, with no lock held; and that sealed segments can be shipped by it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::panic::panic_any;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::thread;
use std::time::Duration;

use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Error, Event, Log, Lsn, Observer, Options, SealedSegment, Tail, WriteMethod};

/// Two records of this length fit in a segment of the smallest size.
const HALF: usize = 5000;

#[derive(Clone, Debug, PartialEq)]
enum Told {
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

fn told(event: &Event<'_>) -> Told {
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
struct Diary(Arc<Mutex<Vec<Told>>>);

impl Observer for Diary {
    fn event(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(told(event));
    }
}

impl Diary {
    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.0.lock().unwrap())
    }

    /// But for the syncs, which have no place in the order.
    fn take_ordered(&self) -> Vec<Told> {
        let mut all = self.take();
        all.retain(|told| !matches!(told, Told::Synced(..)));
        all
    }
}

fn small() -> Options {
    Options::new().segment_size(16 << 10).spare_segments(1)
}

fn on(disk: &SimDisk, diary: &Diary) -> Log {
    small().observer(Arc::new(diary.clone())).open_on(disk).unwrap()
}

/// What must hold of any log's events: `Recovered` first and once; each segment at most once sealed, and out once, in
/// order, after it was sealed unless it was cut away.
fn check(all: &[Told]) {
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
    assert_eq!(diary.take(), [Told::Recovered(Tail::Clean)]);
    let first = log.append_durable(&[1; HALF]).unwrap();
    assert_eq!(diary.take(), [Told::Synced(log.durable(), 1)]);
    log.append(&[2; HALF]).unwrap();
    let one = log.end();
    log.append(&[3; HALF]).unwrap(); // in the next segment
    log.commit().unwrap();
    assert_eq!(diary.take(), [Told::Synced(log.durable(), 2)]); // full and durable, but no manifest says so
    log.step().unwrap();
    assert_eq!(diary.take_ordered(), [Told::Sealed(1, one)]);
    log.step().unwrap();
    log.checkpoint(first).unwrap(); // frees nothing
    assert_eq!(diary.take_ordered(), [Told::Checkpoint(first)]);
    log.checkpoint(one).unwrap();
    assert_eq!(diary.take_ordered(), [Told::Recycled(1), Told::Checkpoint(one)]);
    // What a checkpoint passes before any manifest calls it sealed is told to be sealed all the same, and held until then.
    let all = log.commit().unwrap();
    log.checkpoint(all).unwrap();
    assert_eq!(diary.take_ordered(), [Told::Sealed(2, all), Told::Checkpoint(all)]);
    log.step().unwrap();
    let [Told::Recycled(2) | Told::Removed(2)] = diary.take_ordered()[..] else { panic!() };
    // Cut away: what is left of the active segment is sealed, what was beyond goes.
    let kept = log.append_durable(&[4; HALF]).unwrap();
    let cut = log.end();
    for _ in 0..4 {
        log.append(&[5; HALF]).unwrap();
    }
    log.truncate_after(kept).unwrap();
    let all = diary.take_ordered();
    assert_eq!(all[..2], [Told::Sealed(3, cut), Told::CutBack(cut, log.end())], "{all:?}");
    assert_eq!(all.len(), 4, "{all:?}");
    assert!(all[2..].iter().all(|t| matches!(t, Told::Recycled(4 | 5) | Told::Removed(4 | 5))));
    log.close().unwrap();
    assert_eq!(diary.take_ordered(), []);
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
    let sealed = diary.take_ordered()[1].clone();
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
    assert_eq!(diary.take_ordered(), again);
}

/// The failure is told once, whoever meets it, and however many are told that the log is poisoned.
#[test]
fn p6_the_failure_that_poisons_is_told_once() {
    type Act = fn(&Log);
    let acts: [(Call, WriteMethod, Act); 5] = [
        (Call::Sync, WriteMethod::Mmap, |log| drop(log.commit())),
        (Call::Sync, WriteMethod::Mmap, |log| drop(log.append_durable(b"more"))),
        (Call::Rename, WriteMethod::Mmap, |log| drop(log.checkpoint(log.durable()))),
        (Call::Write, WriteMethod::Pwrite, |log| drop(log.append(b"more"))),
        (Call::Write, WriteMethod::Pwrite, |log| drop(log.append_batch(&["more"]))),
    ];
    for (call, write, act) in acts {
        let (disk, diary) = (SimDisk::new(1), Diary::default());
        let options = small().write_method(write).observer(Arc::new(diary.clone()));
        let log = options.open_on(&disk).unwrap();
        log.append_durable(&[1; HALF]).unwrap();
        log.append(&[1; 100]).unwrap();
        disk.order(Fault::new(call, 1, 5));
        act(&log);
        assert!(matches!(diary.take().last(), Some(Told::Failed(_))), "{call:?} is told at once");
        drop(log.commit().unwrap_err());
        drop(log.step().unwrap_err());
        drop(log.append(b"more").unwrap_err());
        drop(log.close().unwrap_err());
        drop(log);
        assert_eq!(diary.take(), [], "{call:?}");
    }
}

/// Also when it was the background thread that met it, and no one asks the log for anything.
#[test]
fn p6_a_failure_in_the_background_is_told() {
    let disk = SimDisk::new(1);
    disk.set_background(true);
    let (send, failed) = mpsc::channel();
    let observer = move |event: &Event<'_>| {
        if let Event::Failed(error) = event {
            drop(send.send(error.to_string()));
        }
    };
    let policy = duralog::SyncPolicy::Interval(Duration::from_millis(1));
    let log = small().sync_policy(policy).observer(Arc::new(observer)).open_on(&disk).unwrap();
    disk.order(Fault::new(Call::Sync, 1, 5).forever());
    log.append(b"one").unwrap();
    assert!(failed.recv().unwrap().contains("os error 5"));
    drop(log);
    assert_eq!(failed.try_iter().count(), 0);
}

/// An operator learns of it while the active segment still has room.
#[test]
fn p7_a_full_disk_is_told_before_an_append_fails_and_once() {
    let (disk, diary) = (SimDisk::new(1), Diary::default());
    let log = on(&disk, &diary);
    let pages = |name: &String| disk.bytes(name).unwrap().len().div_ceil(4096) as u64;
    disk.set_capacity(Some(disk.files().iter().map(pages).sum::<u64>() * 4096));
    diary.take();
    for _ in 0..3 {
        assert!(log.step().unwrap_err().is_full());
        log.append_durable(b"there is room yet").unwrap();
    }
    assert_eq!(diary.take_ordered(), [Told::Full]);
    disk.set_capacity(None);
    log.step().unwrap();
    assert_eq!(diary.take_ordered(), []);
}

/// Whatever an observer asks of the log, on whatever thread it is told: no lock is held.
#[test]
fn an_observer_may_call_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let place: Arc<OnceLock<Weak<Log>>> = Arc::default();
    let (calls, diary) = (Arc::new(AtomicU64::new(0)), Diary::default());
    let failed: Arc<Mutex<Vec<Error>>> = Arc::default(); // a panic would be caught
    let (seen, count, failing) = (Arc::clone(&place), Arc::clone(&calls), Arc::clone(&failed));
    let meddler = move |event: &Event<'_>| {
        let Some(log) = seen.get().and_then(Weak::upgrade) else { return };
        // A sync of what it appends is an event again: so not for ever.
        if count.fetch_add(1, Ordering::Relaxed) > 400 {
            return;
        }
        drop((log.stats(), log.head(), log.recovery().clone()));
        let mut results = vec![
            log.replay().find_map(Result::err).map_or(Ok(()), Err),
            log.append(&[3; 300]).and_then(|lsn| log.read(lsn)).map(drop),
            log.commit().map(drop),
            log.checkpoint(log.durable()).map(drop),
            log.roll().map(drop),
        ];
        if matches!(event, Event::Recycled { .. })
            && let Some(Ok(record)) = log.replay().last()
        {
            results.push(log.truncate_after(record.lsn()));
        }
        let errors = results.into_iter().filter_map(Result::err);
        // Others cut, checkpoint and close meanwhile.
        let odd = errors.filter(|error| {
            !matches!(error, Error::Closed | Error::Gone { .. } | Error::OutOfRange { .. })
        });
        failing.lock().unwrap().extend(odd);
    };
    let observer = Arc::new((meddler, diary.clone()));
    let log = Arc::new(small().observer(observer).open(dir.path()).unwrap());
    place.set(Arc::downgrade(&log)).unwrap();
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for _ in 0..20 {
                    match log.append_durable(&[1; HALF]) {
                        Ok(_) | Err(Error::Gone { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    log.close().unwrap();
    assert!(calls.load(Ordering::Relaxed) > 50);
    assert!(failed.lock().unwrap().is_empty(), "{failed:?}");
    check(&diary.take());
}

/// The end of a segment, and its file's bytes.
type Copied = (Lsn, Vec<u8>);

/// Copies, byte for byte, of all that was told to be sealed, however fast checkpoints give the files up: in the event itself,
/// and by another thread that holds the segments meanwhile.
#[test]
fn sealed_segments_can_be_shipped_beside_checkpoints_that_hurry() {
    for later in [false, true] {
        let (dir, diary) = (tempfile::tempdir().unwrap(), Diary::default());
        let (send, segments) = mpsc::channel::<SealedSegment>();
        let copies: Arc<Mutex<BTreeMap<Lsn, Copied>>> = Arc::default();
        let ship = {
            let copies = Arc::clone(&copies);
            move |segment: &SealedSegment| {
                thread::sleep(Duration::from_micros(300)); // the log hurries on
                let bytes = std::fs::read(&segment.path).unwrap();
                assert_eq!(bytes.len() as u64, segment.size);
                let whole = copies.lock().unwrap().insert(segment.base, (segment.end, bytes));
                assert!(whole.is_none(), "twice");
            }
        };
        let failed = Arc::new(AtomicU64::new(0));
        let observer = {
            let (ship, failed) = (ship.clone(), Arc::clone(&failed));
            move |event: &Event<'_>| {
                if let Event::Sealed(segment) = event {
                    if later {
                        send.send((*segment).clone()).unwrap();
                    } else {
                        failed.fetch_add(1, Ordering::Relaxed);
                        ship(segment); // a panic is caught, and leaves the count
                        failed.fetch_sub(1, Ordering::Relaxed);
                    }
                }
            }
        };
        let shipping = thread::spawn(move || segments.iter().for_each(|segment| ship(&segment)));
        let log = small().observer(Arc::new((observer, diary.clone()))).open(dir.path()).unwrap();
        let mut records = Vec::new();
        let done = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    log.checkpoint(log.durable()).unwrap();
                    thread::yield_now();
                }
            });
            for number in 0..400_u64 {
                let payload = number.to_le_bytes().repeat(100 + number as usize % 600);
                let lsn = log.append(&payload).unwrap();
                records.push((lsn, payload));
                if number % 5 == 0 {
                    log.commit().unwrap();
                }
            }
            done.store(true, Ordering::Relaxed);
        });
        log.close().unwrap();
        drop(log);
        shipping.join().unwrap();
        assert_eq!(failed.load(Ordering::Relaxed), 0, "an event panicked");
        let all = diary.take_ordered();
        check(&all);
        let end =
            all.iter().filter_map(|t| if let Told::Sealed(_, end) = t { Some(*end) } else { None });
        let end = end.max().unwrap();
        let copies = copies.lock().unwrap();
        let mut found = 0;
        for (lsn, payload) in records.iter().filter(|(lsn, _)| *lsn < end) {
            let (base, (end, bytes)) = copies.range(..=*lsn).next_back().unwrap();
            let at = (lsn.get() - base.get()) as usize + 8;
            assert!(
                lsn < end && bytes[at..at + payload.len()] == payload[..],
                "{lsn} is not in the copies"
            );
            found += 1;
        }
        assert!(found > 300, "{found}");
        assert!(all.iter().any(|told| matches!(told, Told::Recycled(_))), "nothing was recycled");
    }
}

/// While a segment is held, its file stays, whatever checkpoints and the background do.
#[test]
fn p10_a_sealed_segment_that_an_observer_holds_keeps_its_file() {
    let disk = SimDisk::new(1);
    let held: Arc<Mutex<Vec<SealedSegment>>> = Arc::default();
    let (holding, diary) = (Arc::clone(&held), Diary::default());
    let observer = move |event: &Event<'_>| {
        if let Event::Sealed(segment) = event {
            holding.lock().unwrap().push((*segment).clone());
        }
    };
    let log = small().observer(Arc::new((observer, diary.clone()))).open_on(&disk).unwrap();
    let mut before = BTreeMap::new();
    let name = |s: &SealedSegment| s.path.file_name().unwrap().to_str().unwrap().to_owned();
    for number in 0..12 {
        log.append_durable(&[number; HALF]).unwrap();
        log.step().unwrap();
        log.checkpoint(log.durable()).unwrap();
        for segment in held.lock().unwrap().iter() {
            let bytes = disk.bytes(&name(segment)).expect("it is gone");
            assert_eq!(before.entry(segment.id).or_insert_with(|| bytes.clone()), &bytes);
        }
    }
    let segments = std::mem::take(&mut *held.lock().unwrap()).len();
    let out = |told: &Told| matches!(told, Told::Recycled(_) | Told::Removed(_));
    assert!(segments > 5 && !diary.take().iter().any(out));
    log.step().unwrap();
    assert_eq!(diary.take().iter().filter(|told| out(told)).count(), segments);
}

#[test]
fn a_panic_in_an_observer_stays_there() {
    let (dir, diary) = (tempfile::tempdir().unwrap(), Diary::default());
    let observer = (diary.clone(), |_: &Event<'_>| panic_any("the observer's own"));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if info.payload().downcast_ref::<&str>() != Some(&"the observer's own") {
            hook(info);
        }
    }));
    let log = small().observer(Arc::new(observer)).open(dir.path()).unwrap();
    for _ in 0..20 {
        log.append_durable(&[1; HALF]).unwrap();
        log.checkpoint(log.durable()).unwrap();
    }
    log.close().unwrap();
    let all = diary.take();
    assert_eq!(all.iter().filter(|told| matches!(told, Told::Checkpoint(_))).count(), 20);
    check(&all);
}

/// However long the observer takes: when `close` returns, no thread is in it, and nothing is left to tell.
#[test]
fn all_is_told_before_a_close_returns() {
    let (disk, diary) = (SimDisk::new(1), Diary::default());
    let (send, inside) = mpsc::channel();
    let slow = move |event: &Event<'_>| {
        if matches!(event, Event::Synced { .. }) {
            send.send(()).unwrap();
            thread::sleep(Duration::from_millis(50));
        }
    };
    let log = small().observer(Arc::new((slow, diary.clone()))).open_on(&disk).unwrap();
    for _ in 0..3 {
        log.append(&[1; HALF]).unwrap();
    }
    thread::scope(|scope| {
        let committing = scope.spawn(|| log.commit());
        inside.recv().unwrap();
        log.close().unwrap();
        let all = diary.take();
        check(&all);
        assert!(all.iter().any(|told| matches!(told, Told::Sealed(1, _))), "{all:?}");
        assert!(all.iter().any(|told| matches!(told, Told::Synced(_, 3))), "{all:?}");
        committing.join().unwrap().unwrap();
        assert_eq!(diary.take(), []);
    });
}

/// Says who came to the end of it, or to a panic.
struct Done(mpsc::Sender<Option<String>>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.send(thread::current().name().map(str::to_owned)).unwrap();
    }
}

/// On the background thread, too, which cannot wait for itself to end.
#[test]
fn an_observer_may_close_the_log_or_let_go_of_the_last_of_it() {
    for closes in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let place: Arc<Mutex<Option<Arc<Log>>>> = Arc::default();
        let (send, done) = mpsc::channel();
        let mine = Arc::clone(&place);
        let observer = move |event: &Event<'_>| {
            let Event::Sealed(_) = event else { return };
            let Some(log) = mine.lock().unwrap().take() else { return };
            let _done = Done(send.clone());
            if closes {
                log.close().unwrap();
            }
            drop(log); // the last
        };
        let log = Arc::new(small().observer(Arc::new(observer)).open(dir.path()).unwrap());
        let mut given = place.lock().unwrap(); // the observer waits for it
        for _ in 0..3 {
            log.append(&[1; HALF]).unwrap();
        }
        *given = Some(log);
        drop(given);
        let by = done.recv().unwrap();
        assert_eq!(by.as_deref(), Some("duralog"), "it was to be the background thread");
        // Its lock is free.
        let log = Log::open(dir.path()).unwrap();
        assert_eq!(log.recovery().tail == Tail::Clean, closes);
        assert_eq!(log.replay().count(), 3);
    }
}

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
    assert_eq!(*seen.lock().unwrap(), 0);
}

#[test]
fn p6_a_failure_that_a_note_meets_is_told() {
    let disk = SimDisk::new(1);
    let failed = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&failed);
    let observer = move |event: &Event<'_>| {
        *counter.lock().unwrap() += usize::from(matches!(event, Event::Failed { .. }));
    };
    let options = Options::new().segment_size(64 << 10).write_method(WriteMethod::Pwrite);
    let log = options.observer(Arc::new(observer)).open_on(&disk).unwrap();
    disk.order(Fault::new(Call::Write, 1, 5));
    log.set_metadata(b"x").unwrap_err();
    assert_eq!(*failed.lock().unwrap(), 1);
}

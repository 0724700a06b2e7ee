//! Sealed segments can be shipped by an observer, which may call the log and hold files back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak, mpsc};
use std::thread;
use std::time::Duration;

use duralog::sim::SimDisk;
use duralog::{Error, Event, Log, Lsn, SealedSegment};

use crate::{Copied, Diary, HALF, Told, check, settle, small};

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
        let all = diary.take();
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
        settle(&log);
        for segment in held.lock().unwrap().iter() {
            let bytes = disk.bytes(&name(segment)).expect("it is gone");
            assert_eq!(before.entry(segment.id).or_insert_with(|| bytes.clone()), &bytes);
        }
    }
    let segments = std::mem::take(&mut *held.lock().unwrap()).len();
    let out = |told: &Told| matches!(told, Told::Recycled(_) | Told::Removed(_));
    assert!(segments > 5 && !diary.take_of(&log).iter().any(out));
    log.step().unwrap();
    assert_eq!(diary.take_of(&log).iter().filter(|told| out(told)).count(), segments);
}

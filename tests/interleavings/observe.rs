//! What an observer is told, by whichever thread, while it calls the log itself.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};

use duralog::sim::{Call, Fault};
use duralog::{Error, Event, Log, Lsn};
use shuttle::thread;

use super::bench::{Bench, HALF, WHOLE, draw, join};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Told {
    Sealed(u64, Lsn),
    Out(u64),
    Checkpoint,
    Synced,
    Failed,
}

/// A lock of the test's own is no point to switch at: it is held for a push.
type Diary = Arc<Mutex<Vec<Told>>>;

/// Remembers, then meddles; what goes wrong there it remembers too, since a panic would be caught. It appends a few times
/// only: each is one more to seal, so it would go on by itself for as long as no one else comes to run.
fn observer(diary: &Diary, place: &Arc<OnceLock<Weak<Log>>>) -> impl Fn(&Event<'_>) + use<> {
    let (diary, place) = (Arc::clone(diary), Arc::clone(place));
    let appends = AtomicU64::new(0);
    move |event| {
        let told = match event {
            Event::Sealed(segment) => Told::Sealed(segment.id, segment.end),
            Event::Recycled { id, .. } | Event::Removed { id, .. } => Told::Out(*id),
            Event::Checkpoint { .. } => Told::Checkpoint,
            Event::Synced { .. } => Told::Synced,
            _ => return,
        };
        diary.lock().unwrap().push(told);
        let Some(log) = place.get().and_then(Weak::upgrade) else { return };
        let result = match told {
            Told::Sealed(..) => log.checkpoint(log.durable()).map(drop),
            Told::Out(_) => log.replay().find_map(Result::err).map_or(Ok(()), Err),
            Told::Checkpoint if appends.fetch_add(1, Ordering::Relaxed) < 4 => {
                log.append(b"by the observer").map(drop)
            }
            _ => {
                drop(log.stats());
                Ok(())
            }
        };
        if !matches!(result, Ok(()) | Err(Error::Closed | Error::Gone { .. })) {
            diary.lock().unwrap().push(Told::Failed);
        }
    }
}

#[test]
fn an_observer_is_told_in_order_and_all_of_it_before_a_close_returns() {
    super::explore(|| {
        let mut bench = Bench::new();
        let (diary, place) = (Diary::default(), Arc::default());
        bench.options = bench.options.clone().observer(Arc::new(observer(&diary, &place)));
        let log = Arc::new(bench.options.clone().open_on(&bench.disk).unwrap());
        drop(place.set(Arc::downgrade(&log)));
        let appending = (1..3_u8).map(|number| {
            let log = Arc::clone(&log);
            thread::spawn(move || {
                for _ in 0..2 {
                    match log.append_durable(&[number; WHOLE]) {
                        Ok(_) | Err(Error::Closed | Error::Gone { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            })
        });
        let appending: Vec<_> = appending.collect();
        let early = draw(2) == 0;
        if early {
            join(appending);
            log.close().unwrap();
        } else {
            log.close().unwrap();
            let told = diary.lock().unwrap().clone();
            join(appending);
            assert_eq!(told, *diary.lock().unwrap(), "told after a close");
        }
        drop(log);
        let told = diary.lock().unwrap().clone();
        let mut sealed = Vec::new();
        for one in &told {
            match one {
                Told::Sealed(id, _) => {
                    assert!(sealed.last().is_none_or(|before| before < id), "{told:?}");
                    sealed.push(*id);
                }
                Told::Out(id) => assert!(sealed.contains(id), "{told:?}"),
                Told::Failed => panic!("{told:?}"),
                Told::Checkpoint | Told::Synced => {}
            }
        }
        // Four that fill a segment each: all but the last were sealed, if all were appended.
        assert!(!early || sealed.len() >= 3, "{told:?}");
    });
}

/// Events and callbacks share one queue: each callback comes after the event of the sync that made its record durable,
/// once, and all of them before a close, or a drop, returns. A callback that commits is in no one's way.
#[test]
fn callbacks_and_events_are_delivered_in_order_and_all_of_them_before_the_end() {
    #[derive(Clone, Copy, Debug)]
    enum Entry {
        Synced(Lsn),
        Called(Lsn),
    }
    super::explore(|| {
        let mut bench = Bench::new();
        let diary: Arc<Mutex<Vec<Entry>>> = Arc::default();
        let pages = Arc::clone(&diary);
        let observer = move |event: &Event<'_>| {
            if let Event::Synced { durable, .. } = event {
                pages.lock().unwrap().push(Entry::Synced(*durable));
            }
        };
        bench.options = bench.options.clone().observer(Arc::new(observer));
        let log = Arc::new(bench.options.clone().open_on(&bench.disk).unwrap());
        let meddles = draw(2) == 0;
        let threads = (0..2).map(|number| {
            let (log, diary) = (Arc::clone(&log), Arc::clone(&diary));
            thread::spawn(move || {
                for _ in 0..2 {
                    let lsn = log.append(&[number; HALF]).unwrap();
                    if draw(2) == 0 {
                        log.commit_to(lsn).unwrap();
                    }
                    let (pages, weak) = (Arc::clone(&diary), Arc::downgrade(&log));
                    log.on_durable(lsn, move |outcome| {
                        outcome.unwrap();
                        pages.lock().unwrap().push(Entry::Called(lsn));
                        if let Some(log) = weak.upgrade().filter(|_| meddles) {
                            match log.append_durable(b"by a callback") {
                                Ok(_) | Err(Error::Closed) => {}
                                Err(error) => panic!("{error}"),
                            }
                        }
                    });
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        join(threads);
        log.close().unwrap();
        let told = diary.lock().unwrap().clone();
        drop(log);
        assert_eq!(told.len(), diary.lock().unwrap().len(), "told after a close");
        let (mut durable, mut called) = (Lsn::MIN, Vec::new());
        for entry in told {
            match entry {
                Entry::Synced(to) => durable = durable.max(to),
                Entry::Called(lsn) => {
                    assert!(lsn < durable, "{lsn} before the event of its sync");
                    assert!(!called.contains(&lsn), "{lsn} twice");
                    called.push(lsn);
                }
            }
        }
        assert_eq!(called.len(), 4);
    });
}

/// An append and a sync may fail at once, each for its own reason: the log has one failure.
#[test]
fn p6_of_two_failures_at_once_one_is_told() {
    super::explore(|| {
        let mut bench = Bench::new();
        let failures = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&failures);
        let observer = move |event: &Event<'_>| {
            if let Event::Failed(_) = event {
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        bench.options = bench.options.clone().observer(Arc::new(observer));
        let log = Arc::new(bench.options.clone().open_on(&bench.disk).unwrap());
        log.append(&[1; HALF]).unwrap();
        bench.disk.order(Fault::new(Call::Sync, 1, 5).forever());
        bench.disk.order(Fault::new(Call::Rename, 1, 5).forever());
        let works: [fn(&Log); 2] = [
            |log| drop(log.append(&[2; HALF]).and_then(|_| log.commit()).unwrap_err()),
            |log| drop(log.checkpoint(log.durable())),
        ];
        let threads = works.map(|work| {
            let log = Arc::clone(&log);
            thread::spawn(move || work(&log))
        });
        join(threads);
        drop(log);
        assert_eq!(failures.load(Ordering::Relaxed), 1);
    });
}

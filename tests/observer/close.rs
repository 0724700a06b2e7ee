//! The end: all is told before it, and an observer may bring it about.

use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use duralog::sim::SimDisk;
use duralog::{Event, Log, Tail};

use crate::{Diary, HALF, Told, check, small};

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
struct Done(mpsc::Sender<(bool, Option<String>)>);

impl Drop for Done {
    fn drop(&mut self) {
        self.0.send((thread::panicking(), thread::current().name().map(str::to_owned))).unwrap();
    }
}

/// The thread that delivers cannot wait for itself.
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
        let by = done.recv().unwrap(); // and no panic on the way
        assert_eq!(by, (false, Some("duralog-events".to_owned())));
        // Its lock is free.
        let log = Log::open(dir.path()).unwrap();
        assert_eq!(log.recovery().tail == Tail::Clean, closes);
        assert_eq!(log.replay().count(), 3);
    }
}

//! What fails is told once, and before who waits for it: a failed sync, a full disk, a panic of the observer itself.

use std::panic::panic_any;
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Event, Log, Options, WriteMethod};

use crate::{Diary, HALF, Told, check, on, settle, small};

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
        let told = diary.take_of(&log);
        assert!(matches!(told.last(), Some(Told::Failed(_))), "{call:?} is told at once: {told:?}");
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
    diary.take_of(&log);
    for _ in 0..3 {
        assert!(log.step().unwrap_err().is_full());
        log.append_durable(b"there is room yet").unwrap();
    }
    assert_eq!(diary.changes_of(&log), [Told::Full]);
    disk.set_capacity(None);
    log.step().unwrap();
    assert_eq!(diary.changes_of(&log), []);
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
    settle(&log);
    assert_eq!(*failed.lock().unwrap(), 1);
}

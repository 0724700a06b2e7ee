//! A moment without a free descriptor.

use std::cell::Cell;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use duralog::{Error, Log, Options, SyncPolicy, WriteMethod};

use crate::alone::{WAYS, in_a_child};

const EMFILE: i32 = 24;

fn is_short(error: &Error) -> bool {
    matches!(error, Error::Io { source, .. } if source.raw_os_error() == Some(EMFILE))
}

/// Takes all descriptors that are left.
fn hog() -> Vec<File> {
    let mut held = Vec::new();
    loop {
        match File::open("/dev/null") {
            Ok(file) => held.push(file),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(EMFILE));
                return held;
            }
        }
    }
}

fn busy_log(dir: &Path, way: WriteMethod) -> Log {
    Options::new().segment_size(64 << 10).write_method(way).open(dir).unwrap()
}

#[test]
fn p7_a_moment_without_descriptors_ends_no_log() {
    if !in_a_child("descriptors::p7_a_moment_without_descriptors_ends_no_log", "ulimit -n 64; exec")
    {
        return;
    }
    for way in WAYS {
        let home = tempfile::tempdir().unwrap();
        let idle = Options::new()
            .sync_policy(SyncPolicy::Interval(Duration::from_millis(1)))
            .open(home.path().join("idle"))
            .unwrap();
        idle.append_durable(b"before").unwrap();
        let dir = home.path().join("busy");
        let log = busy_log(&dir, way);
        let appended = Cell::new(0);
        let append = |log: &Log| log.append(&[7; 1000]).map(|_| appended.set(appended.get() + 1));
        append(&log).unwrap();

        let mut held = hog();
        // Into the ready segments, and then there is no file to go on in.
        let error =
            (0..10_000).find_map(|_| append(&log).err()).expect("no segment without a file");
        assert!(is_short(&error), "{way:?}: {error}");
        // Not final. It may even go on: what had a descriptor open at that moment may have closed it.
        assert!(append(&log).err().is_none_or(|error| is_short(&error)), "{way:?}");
        log.commit().unwrap();
        // The worker may have had one open when they were taken, and closed it since.
        let mut short = |call: &dyn Fn() -> Result<(), Error>| {
            (0..1000).find_map(|_| {
                held.extend(hog());
                call().err()
            })
        };
        let error = short(&|| log.checkpoint(log.durable()).map(drop)).expect("no descriptor");
        assert!(is_short(&error), "{way:?}: {error}");
        let error = short(&|| log.truncate_all().map(|()| appended.set(0))).expect("no descriptor");
        assert!(is_short(&error), "{way:?}: {error}");
        // For the worker to look round some more.
        std::thread::sleep(Duration::from_millis(100));
        idle.append_durable(b"meanwhile").unwrap();
        drop(held);

        for _ in 0..200 {
            append(&log).unwrap();
        }
        log.commit().unwrap();
        log.close().unwrap();
        idle.append_durable(b"after").unwrap();
        idle.close().unwrap();
        drop(log);
        let log = busy_log(&dir, way);
        assert_eq!(log.recovery().tail, duralog::Tail::Clean);
        assert_eq!(log.replay().map(Result::unwrap).count(), appended.get(), "{way:?}");
    }
}

//! Segments removed, moved or replaced by another program under a writer.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use duralog::{Error, Log, Options, WriteMethod};

use crate::{append, named, numbers, small};

/// What someone does to the active segment of a log in `dir`.
type Act = fn(dir: &Path, active: &Path);

const ACTS: [(&str, Act); 4] = [
    ("removed", |_, active| fs::remove_file(active).unwrap()),
    ("moved away", |dir, active| fs::rename(active, dir.with_extension("moved")).unwrap()),
    ("replaced by a copy", |dir, active| {
        let copy = dir.with_extension("copy");
        fs::copy(active, &copy).unwrap();
        fs::rename(copy, active).unwrap();
    }),
    ("removed, and linked elsewhere", |dir, active| {
        fs::hard_link(active, dir.with_extension("link")).unwrap();
        fs::remove_file(active).unwrap();
    }),
];

fn is_removed(error: &Error, active: &Path) -> bool {
    let Error::Poisoned { cause } = error else { return false };
    matches!(&**cause, Error::Removed { path } if path == active)
}

/// The name is looked for once a second.
fn first_failure(again: impl Fn() -> Result<(), Error>) -> Error {
    let began = Instant::now();
    loop {
        if let Err(error) = again() {
            return error;
        }
        assert!(began.elapsed() < Duration::from_secs(300), "it is not seen");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn p1_nothing_is_acknowledged_for_long_into_a_segment_that_was_removed() {
    for way in [WriteMethod::Auto, WriteMethod::Mmap, WriteMethod::Pwrite] {
        for (what, act) in ACTS {
            let home = tempfile::tempdir().unwrap();
            let dir = home.path().join("log");
            let log = small().write_method(way).open(&dir).unwrap();
            append(&log, 0, 10);
            let active = &named(&dir, ".seg")[0];
            act(&dir, active);
            let error = first_failure(|| log.append_durable(b"lost").map(drop));
            assert!(is_removed(&error, active), "{what}: {error}");
            assert!(error.to_string().contains("was removed or replaced by another program"));
            assert!(is_removed(&log.append(b"later").unwrap_err(), active));
        }
    }
}

#[test]
fn p1_nothing_is_acknowledged_for_long_into_a_directory_that_was_removed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    let log = small().open(&dir).unwrap();
    append(&log, 0, 10);
    // The background thread may be making a file there.
    while dir.exists() {
        drop(fs::remove_dir_all(&dir));
    }
    // Of the segment, or of what that thread needed in the directory.
    assert!(first_failure(|| log.append_durable(b"lost").map(drop)).is_poisoned());
    assert!(log.append(b"later").unwrap_err().is_poisoned());
}

#[test]
fn p1_a_full_segment_that_was_removed_before_its_sync_is_not_acknowledged() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    let log = small().open(&dir).unwrap();
    let first = log.append(&[7; 60_000]).unwrap();
    let active = &named(&dir, ".seg")[0];
    fs::remove_file(active).unwrap();
    // It does not fit behind the first.
    let second = log.append(&[8; 60_000]);
    let ended = second.and_then(|_| log.commit());
    assert!(is_removed(&ended.unwrap_err(), active));
    assert!(log.durable() <= first);
}

/// No sync need have looked since.
#[test]
fn p1_no_clean_end_is_written_for_a_segment_that_was_removed() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    let log = small().open(&dir).unwrap();
    append(&log, 0, 10);
    log.commit().unwrap();
    let active = &named(&dir, ".seg")[0];
    fs::remove_file(active).unwrap();
    assert!(is_removed(&log.close().unwrap_err(), active));
}

#[test]
fn what_is_synced_in_the_background_meets_it_too() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("log");
    let log = small().in_background(Duration::from_millis(5)).open(&dir).unwrap();
    log.append(b"one").unwrap();
    let active = &named(&dir, ".seg")[0];
    fs::remove_file(active).unwrap();
    let error = first_failure(|| log.append(b"more").map(drop));
    assert!(is_removed(&error, active), "{error}");
}

#[test]
fn a_directory_that_is_renamed_is_the_same_log() {
    let home = tempfile::tempdir().unwrap();
    let (dir, renamed) = (home.path().join("log"), home.path().join("renamed"));
    let log = small().open(&dir).unwrap();
    append(&log, 0, 10);
    fs::rename(&dir, &renamed).unwrap();
    append(&log, 10, 300);
    log.close().unwrap();
    let log: Log = Options::new().open(&renamed).unwrap();
    assert_eq!(numbers(&log), (0..310).collect::<Vec<_>>());
}

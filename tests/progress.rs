//! How far an opening has come, and the end of one by its caller.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, Mutex};

use duralog::sim::SimDisk;
use duralog::{Error, Options, Progress, Tail};

type Told = Arc<Mutex<Vec<Progress>>>;

/// Options that remember what they were told, and end the opening at call `last`.
fn listening(size: u64, last: usize) -> (Options, Told) {
    let told = Told::default();
    let to = Arc::clone(&told);
    let options = Options::new().segment_size(size).progress(move |progress| {
        let mut told = to.lock().unwrap();
        told.push(*progress);
        if told.len() == last { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    (options, told)
}

fn check(told: &[Progress], bytes: u64, segments: u64) {
    let (first, last) = (told.first().unwrap(), told.last().unwrap());
    assert_eq!((first.bytes, first.segments), (0, 0));
    assert_eq!((last.bytes, last.segments), (bytes, segments));
    assert!(told.iter().all(|at| (at.bytes_total, at.segments_total) == (bytes, segments)));
    let grows = |pair: &[Progress]| {
        pair[0].bytes <= pair[1].bytes && pair[0].segments <= pair[1].segments && pair[0] != pair[1]
    };
    assert!(told.windows(2).all(grows), "{told:?}");
}

const SIZE: u64 = 16 << 10;

/// Five segments that no manifest calls sealed: nothing was synced.
fn unsealed() -> SimDisk {
    let disk = SimDisk::new(1);
    let log = Options::new().segment_size(SIZE).open_on(&disk).unwrap();
    for n in 0..9u8 {
        log.append(&[n; 5000]).unwrap();
    }
    drop(log);
    disk
}

fn files(disk: &SimDisk) -> BTreeMap<String, Vec<u8>> {
    disk.files().into_iter().map(|name| (name.clone(), disk.bytes(&name).unwrap())).collect()
}

#[test]
fn an_opening_tells_of_each_segment_up_to_the_end() {
    let disk = unsealed();
    let (options, told) = listening(SIZE, 0);
    let log = options.open_on(&disk).unwrap();
    assert_eq!(log.recovery().records, 9);
    let told = told.lock().unwrap();
    check(&told, 5 * SIZE, 5);
    for segments in 0..=5 {
        assert!(told.iter().any(|at| at.segments == segments), "{segments} of {told:?}");
    }
}

#[test]
fn p5_a_cancelled_opening_changes_nothing_and_the_next_does_all_of_it() {
    for last in 1.. {
        let disk = unsealed();
        let before = files(&disk);
        let (options, told) = listening(SIZE, last);
        match options.open_on(&disk) {
            Ok(_) => {
                assert!(last > 6 && told.lock().unwrap().len() < last);
                return;
            }
            Err(error) => assert!(matches!(error, Error::Cancelled), "{error}"),
        }
        assert_eq!(told.lock().unwrap().len(), last);
        assert!(files(&disk) == before, "cancelled at call {last}");
        let log = Options::new().segment_size(SIZE).open_on(&disk).unwrap();
        assert_eq!(log.replay().count(), 9);
    }
}

#[test]
fn the_opening_of_a_closed_log_and_of_a_new_one_tells_nothing() {
    let disk = SimDisk::new(1);
    for _ in 0..2 {
        let (options, told) = listening(SIZE, 1);
        let log = options.open_on(&disk).unwrap();
        assert_eq!(log.recovery().tail, Tail::Clean);
        assert_eq!(told.lock().unwrap().len(), 0);
        log.append(&[7; 9000]).unwrap();
        log.close().unwrap();
    }
}

fn bytes_of(dir: &Path) -> BTreeMap<std::path::PathBuf, Vec<u8>> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

/// Of one large segment too, where there are records and where marks are looked for behind them.
#[test]
fn a_large_segment_is_told_of_in_pieces_and_the_directory_stays_as_it_was() {
    const LARGE: u64 = 72 << 20;
    let dir = tempfile::tempdir().unwrap();
    let log = Options::new().segment_size(LARGE).open(dir.path()).unwrap();
    for _ in 0..34 {
        log.append(&[7; 1 << 20]).unwrap();
    }
    drop(log);
    let before = bytes_of(dir.path());
    for last in [2, 4] {
        let (options, _) = listening(LARGE, last);
        let cancelled = options.open(dir.path());
        assert!(matches!(cancelled, Err(Error::Cancelled)), "{cancelled:?}");
        assert!(bytes_of(dir.path()) == before);
    }
    let (options, told) = listening(LARGE, 0);
    let log = options.open(dir.path()).unwrap();
    assert_eq!(log.recovery().records, 34);
    let told = told.lock().unwrap();
    let total = told[0].bytes_total;
    check(&told, total, total / LARGE);
    for pair in told.windows(2) {
        assert!(pair[1].bytes - pair[0].bytes <= (16 << 20) + (2 << 20), "{told:?}");
    }
}

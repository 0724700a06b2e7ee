//! Hard links: `cp -al`, rsnapshot, a sealed segment that is linked into an archive.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use duralog::inspect::{Inspector, SegmentReader};
use duralog::{Error, Event, Log, Options, Reader, SealedSegment, WriteMethod};

use crate::{append, contents, named, number, numbers, small};

const WAYS: [WriteMethod; 3] = [WriteMethod::Auto, WriteMethod::Mmap, WriteMethod::Pwrite];

/// As `cp -al` does.
fn link_all(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for path in contents(from).into_keys() {
        fs::hard_link(&path, to.join(path.file_name().unwrap())).unwrap();
    }
}

/// What the error says to do.
fn copy_in_place(path: &Path) {
    let copy = path.with_extension("copy");
    fs::copy(path, &copy).unwrap();
    fs::rename(&copy, path).unwrap();
}

/// Opens a log, and copies the files that it names as linked.
fn open_with_copies(dir: &Path, options: &Options) -> Log {
    loop {
        match options.clone().open(dir) {
            Err(Error::Linked { path, links }) => {
                assert!(links > 1);
                copy_in_place(&path);
            }
            opened => return opened.unwrap(),
        }
    }
}

fn records_of(dir: &Path) -> Vec<usize> {
    let mut replay = Reader::open(dir).unwrap().replay().unwrap();
    let mut found = Vec::new();
    while let Some((_, payload)) = replay.next_payload().unwrap() {
        found.push(number(payload));
    }
    found
}

#[test]
fn p10_a_snapshot_made_of_links_never_changes() {
    for way in WAYS {
        let home = tempfile::tempdir().unwrap();
        let (dir, snap) = (home.path().join("log"), home.path().join("snap"));
        let options = small().write_method(way);
        let log = options.clone().open(&dir).unwrap();
        append(&log, 0, 400);
        // Spare files too are linked with the rest.
        log.checkpoint(log.replay().nth(100).unwrap().unwrap().lsn()).unwrap();
        log.close().unwrap();
        link_all(&dir, &snap);
        let before = contents(&snap);
        let kept = records_of(&snap);
        assert!(kept.len() > 250 && *kept.last().unwrap() == 399);

        let log = open_with_copies(&dir, &options);
        append(&log, 400, 10);
        // All that the snapshot shares leaves the log, and several times as much is appended.
        log.checkpoint(log.durable()).unwrap();
        append(&log, 410, 1000);
        log.checkpoint(log.durable()).unwrap();
        append(&log, 1410, 300);
        assert_eq!(*numbers(&log).last().unwrap(), 1709);
        log.close().unwrap();
        assert!(contents(&snap) == before, "{way:?}: the snapshot has changed");
        assert_eq!(records_of(&snap), kept);
        Inspector::open(&snap).unwrap().verify().unwrap();

        // It is a log of its own.
        let log = open_with_copies(&snap, &options);
        append(&log, 400, 1);
        assert_eq!(numbers(&log).len(), kept.len() + 1);
    }
}

#[test]
fn p10_neither_the_reserve_nor_the_watermark_is_shared_with_a_snapshot() {
    let home = tempfile::tempdir().unwrap();
    let (dir, snap) = (home.path().join("log"), home.path().join("snap"));
    small().open(&dir).unwrap().close().unwrap();
    link_all(&dir, &snap);
    let log = open_with_copies(&dir, &small());
    append(&log, 0, 1);
    for name in ["RESERVE", "WATERMARK"] {
        let status = fs::metadata(dir.join(name)).unwrap();
        assert_eq!(status.nlink(), 1, "{name}");
        assert_ne!(status.ino(), fs::metadata(snap.join(name)).unwrap().ino(), "{name}");
    }
}

/// A log that tells of each segment that is sealed.
fn observed(dir: &Path) -> (Log, Receiver<SealedSegment>) {
    let (send, sealed) = channel();
    let observer = move |event: &Event<'_>| {
        if let Event::Sealed(segment) = event {
            drop(send.send((*segment).clone()));
        }
    };
    (small().observer(Arc::new(observer)).open(dir).unwrap(), sealed)
}

#[test]
fn p10_a_sealed_segment_that_is_linked_into_an_archive_keeps_its_bytes() {
    let home = tempfile::tempdir().unwrap();
    let (dir, archive) = (home.path().join("log"), home.path().join("archive"));
    fs::create_dir(&archive).unwrap();
    let (log, sealed) = observed(&dir);
    append(&log, 0, 300);
    let newest = log.append(b"000300").unwrap();
    log.commit().unwrap();
    log.roll().unwrap();
    let mut archived: Vec<(PathBuf, duralog::Lsn)> = Vec::new();
    while archived.last().is_none_or(|(_, end)| *end <= newest) {
        // Held, its file stays under its name until it is linked.
        let segment = sealed.recv().unwrap();
        let to = archive.join(segment.path.file_name().unwrap());
        fs::hard_link(&segment.path, &to).unwrap();
        archived.push((to, segment.end));
    }
    drop(sealed);
    let before = contents(&archive);
    log.checkpoint(log.durable()).unwrap();
    assert!(contents(&archive) == before, "a checkpoint has changed the archive");
    append(&log, 301, 600);
    log.checkpoint(log.durable()).unwrap();
    append(&log, 901, 600);
    log.close().unwrap();
    assert!(contents(&archive) == before, "recycling has changed the archive");
    let mut found = Vec::new();
    for (path, end) in archived {
        let file = fs::File::open(&path).unwrap();
        for record in SegmentReader::new(&path, file).unwrap().until(end).unwrap() {
            found.push(number(&record.unwrap().payload));
        }
    }
    assert_eq!(found, (0..=300).collect::<Vec<_>>());
}

#[test]
fn p10_a_spare_file_that_is_linked_is_not_recycled() {
    let home = tempfile::tempdir().unwrap();
    let (dir, kept) = (home.path().join("log"), home.path().join("kept"));
    fs::create_dir(&kept).unwrap();
    let log = small().open(&dir).unwrap();
    append(&log, 0, 300);
    let names = named(&dir, ".seg");
    log.checkpoint(log.durable()).unwrap();
    // With a segment ready the background takes none of the spare files until they are linked.
    while log.stats().segments_ready == 0 {
        std::thread::yield_now();
    }
    // Those that are left of the oldest wait to be recycled.
    let spare: Vec<_> = names[..3].iter().filter(|path| path.exists()).collect();
    assert!(!spare.is_empty());
    for path in spare {
        fs::hard_link(path, kept.join(path.file_name().unwrap())).unwrap();
    }
    let before = contents(&kept);
    append(&log, 300, 300);
    assert!(contents(&kept) == before);
    assert_eq!(*numbers(&log).last().unwrap(), 599);
}

#[test]
fn p8_a_closed_log_and_its_linked_copy_are_not_both_appended_to() {
    for way in WAYS {
        let home = tempfile::tempdir().unwrap();
        let (dir, copy) = (home.path().join("log"), home.path().join("copy"));
        let options = small().write_method(way);
        let log = options.clone().open(&dir).unwrap();
        append(&log, 0, 10);
        log.close().unwrap();
        link_all(&dir, &copy);
        let before = contents(&dir);
        for dir in [&dir, &copy] {
            let error = options.clone().open(dir).unwrap_err();
            let Error::Linked { path, links: 2 } = &error else { panic!("{error}") };
            assert!(path.starts_with(dir));
            assert!(error.to_string().contains("is also linked elsewhere (2 names)"), "{error}");
        }
        assert!(contents(&dir) == before, "what was refused has changed");
        // Who only looks is not refused.
        assert_eq!(records_of(&copy), (0..10).collect::<Vec<_>>());

        let (first, second) = (open_with_copies(&copy, &options), options.open(&dir).unwrap());
        append(&first, 100, 100);
        append(&second, 10, 100);
        drop((first, second));
        let log = small().open(&dir).unwrap();
        assert_eq!(numbers(&log), (0..110).collect::<Vec<_>>());
        let log = small().open(&copy).unwrap();
        assert_eq!(numbers(&log).len(), 110);
    }
}

#[test]
fn p1_the_recovery_of_a_linked_copy_takes_nothing_from_the_log_that_runs() {
    for way in WAYS {
        let home = tempfile::tempdir().unwrap();
        let (dir, copy) = (home.path().join("log"), home.path().join("copy"));
        let options = small().write_method(way);
        let log = options.clone().open(&dir).unwrap();
        append(&log, 0, 10);
        link_all(&dir, &copy);
        // It finds the log open, ends it where it is now, and goes on elsewhere.
        let other = options.clone().open(&copy).unwrap();
        assert_eq!(numbers(&other), (0..10).collect::<Vec<_>>());
        append(&log, 10, 30);
        append(&other, 100, 200);
        other.checkpoint(other.durable()).unwrap();
        append(&other, 300, 200);
        append(&log, 40, 100);
        drop((log, other));
        let log = options.open(&dir).unwrap();
        assert_eq!(numbers(&log), (0..140).collect::<Vec<_>>(), "{way:?}");
    }
}

#[test]
fn p1_what_is_behind_the_end_of_a_linked_segment_is_not_punched() {
    for way in WAYS {
        let home = tempfile::tempdir().unwrap();
        let (dir, copy) = (home.path().join("log"), home.path().join("copy"));
        let options = small().write_method(way);
        let log = options.clone().open(&dir).unwrap();
        append(&log, 0, 10);
        link_all(&dir, &copy);
        append(&log, 10, 30);
        // Where the copy's recovery ends the segment, the log that runs goes on.
        let active = &named(&dir, ".seg")[0];
        let held = fs::metadata(active).unwrap().blocks();
        drop(fs::remove_file(copy.join("WATERMARK")));
        drop(options.clone().open(&copy).unwrap());
        assert_eq!(fs::metadata(active).unwrap().blocks(), held, "{way:?}");
        drop(log);
        assert_eq!(numbers(&options.open(&dir).unwrap()), (0..40).collect::<Vec<_>>());
    }
}

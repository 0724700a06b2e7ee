//! What a log gives up by itself: beyond so many bytes, of such an age, and below a hard cap.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use duralog::{Error, Event, Log, Lsn, Options, SealedSegment, WhenFull};

const SIZE: u64 = 64 << 10;
const HOUR: Duration = Duration::from_secs(3600);

fn options() -> Options {
    Options::new().segment_size(SIZE).spare_segments(1)
}

fn capped(segments: u64, when_full: WhenFull) -> Options {
    options().max_bytes(segments * SIZE, when_full)
}

/// Fills a segment with two records, durably; the LSN of the last.
fn fill(log: &Log) -> Lsn {
    let lsns = log.append_batch(&[[7u8; 20_000], [8; 20_000]]).unwrap();
    log.roll().unwrap();
    log.commit().unwrap();
    lsns[1]
}

/// Waits for the background: a hang is a failure.
fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn sealed(log: &Log, segments: u64) {
    until("sealed", || log.stats().segments_sealed == segments);
}

fn names(dir: &Path) -> BTreeSet<String> {
    let names = std::fs::read_dir(dir).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.ends_with(".seg")).collect()
}

/// Bytes of the segment files; none if they changed meanwhile. No id is ever used again, so the same names are the same
/// files.
fn bytes(dir: &Path) -> Option<u64> {
    let before = names(dir);
    let sizes = before.iter().map(|name| Some(std::fs::metadata(dir.join(name)).ok()?.len()));
    let sum = sizes.sum::<Option<u64>>()?;
    (names(dir) == before).then_some(sum)
}

fn is_cap(error: &Error) -> bool {
    matches!(error, Error::Full { op: "max_bytes", .. })
}

/// Appends until there is no room; how many went in.
fn append_until_full(log: &Log) -> u64 {
    for appended in 0.. {
        match log.append(&[7; 5000]) {
            Ok(_) => {}
            Err(error) if is_cap(&error) => return appended,
            Err(error) => panic!("{error}"),
        }
        assert!(appended < 10_000, "it never was full");
    }
    0
}

#[test]
fn p10_what_is_sealed_beyond_so_many_bytes_goes_and_no_more() {
    for kept in [0, 3] {
        let dir = tempfile::tempdir().unwrap();
        let limit = kept * SIZE + SIZE / 2; // whole segments
        let log = options().retain_bytes(limit).open(dir.path()).unwrap();
        let lsns: Vec<Lsn> = (0..10).map(|_| fill(&log)).collect();
        until("all beyond gone", || log.replay().count() as u64 == kept * 2);
        sealed(&log, kept);
        assert!(log.checkpoint_lsn() > lsns[9 - kept as usize]);
        assert!(log.checkpoint_lsn() <= log.head());
        drop(log);
        let log = options().open(dir.path()).unwrap();
        assert_eq!(log.replay().count() as u64, kept * 2, "it came back, or went");
    }
}

#[test]
fn p10_what_is_too_old_goes_and_nothing_behind_what_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    for _ in 0..5 {
        fill(&log);
    }
    sealed(&log, 5);
    let date = |nth: usize, ago: Duration| {
        let path = dir.path().join(names(dir.path()).iter().nth(nth).unwrap());
        let file = std::fs::File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - ago).unwrap();
    };
    for (nth, ago) in [(0, 3), (1, 2), (3, 2)] {
        date(nth, HOUR * ago);
    }
    log.close().unwrap();
    let log = options().retain_age(HOUR).open(dir.path()).unwrap();
    until("the two oldest gone", || log.replay().count() == 6);
    fill(&log); // one more round
    sealed(&log, 4);
    assert_eq!(log.replay().count(), 8);
    date(0, HOUR / 2); // of those that are left
    fill(&log);
    sealed(&log, 5);
    assert_eq!(log.replay().count(), 10);
}

/// Not every file system keeps a file's time by what is stored through a mapping: tmpfs does not.
#[test]
fn p10_what_is_young_stays_whatever_its_files_time_says() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().retain_age(HOUR).open(dir.path()).unwrap();
    let young = log.append_durable(b"young").unwrap();
    let path = dir.path().join(names(dir.path()).first().unwrap());
    let file = std::fs::File::options().write(true).open(path).unwrap();
    log.roll().unwrap();
    file.set_modified(SystemTime::now() - 2 * HOUR).unwrap();
    log.commit().unwrap();
    sealed(&log, 1);
    fill(&log);
    sealed(&log, 2);
    assert!(log.read(young).is_ok());
}

#[test]
fn p10_age_needs_no_append_to_be_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().retain_age(Duration::from_millis(300)).open(dir.path()).unwrap();
    let newest = fill(&log);
    until("it is too old", || log.head() > newest);
    assert_eq!(log.replay().count(), 0);
}

#[test]
fn p10_retention_waits_for_consumers_and_for_the_archive() {
    let dir = tempfile::tempdir().unwrap();
    let options = options().retain_bytes(0).retain_age(Duration::ZERO);
    let log = options.open(dir.path()).unwrap();
    log.archived_up_to(Lsn::MIN).unwrap();
    let mailer = log.consumer("mailer").unwrap();
    let first = fill(&log);
    let second = fill(&log);
    sealed(&log, 2);
    // Not committed: a crash would take it back.
    mailer.ack(second).unwrap();
    log.archived_up_to(log.durable()).unwrap();
    until("the consumer's are gone", || log.head() > second);
    let third = fill(&log);
    sealed(&log, 1);
    assert_eq!(log.read(third).unwrap().payload(), &[8; 20_000]);
    mailer.ack(third).unwrap();
    let fourth = fill(&log); // commits
    sealed(&log, 2);
    assert!(log.head() < third, "it is not archived");
    assert!(log.read(first).is_err());
    log.archived_up_to(third).unwrap();
    log.archived_up_to(log.durable()).unwrap();
    until("the third is gone", || log.head() > third);
    assert_eq!(log.read(fourth).unwrap().payload(), &[8; 20_000], "it is not acknowledged");
}

#[test]
fn max_bytes_holds_three_segments_at_least() {
    let dir = tempfile::tempdir().unwrap();
    let error = options().max_bytes(3 * SIZE - 1, WhenFull::Refuse).open(dir.path()).unwrap_err();
    assert!(matches!(error, Error::InvalidOption { option: "max_bytes", .. }));
    options().max_bytes(3 * SIZE, WhenFull::Refuse).open(dir.path()).unwrap();
}

#[test]
fn p7_a_full_log_refuses_and_goes_on_after_a_checkpoint() {
    for spare in [0, 4] {
        let dir = tempfile::tempdir().unwrap();
        let told = Arc::new(Mutex::new(0));
        let tell = Arc::clone(&told);
        let observer = move |event: &Event<'_>| match event {
            Event::Full(error) if is_cap(error) => *tell.lock().unwrap() += 1,
            Event::Full(error) | Event::Failed(error) => panic!("{error}"),
            _ => {}
        };
        let options = capped(4, WhenFull::Refuse).spare_segments(spare);
        let log = options.observer(Arc::new(observer)).open(dir.path()).unwrap();
        let reserve = || std::fs::metadata(dir.path().join("RESERVE")).unwrap().len();
        until("a reserve", || dir.path().join("RESERVE").exists());
        let before = reserve();
        let appended = append_until_full(&log);
        assert!(appended > 4 * 11, "all of the cap is used");
        log.append(b"small, fits").unwrap();
        assert_eq!(bytes(dir.path()), Some(4 * SIZE));
        // Nothing else is refused.
        log.commit().unwrap();
        assert_eq!(log.replay().count() as u64, appended + 1);
        assert_eq!(reserve(), before);
        assert_eq!(append_until_full(&log), 0);
        for _ in 0..3 {
            log.checkpoint(log.commit().unwrap()).unwrap();
            assert!(append_until_full(&log) > 0);
            assert!(bytes(dir.path()).is_none_or(|bytes| bytes <= 4 * SIZE));
        }
        assert!(*told.lock().unwrap() > 0);
        log.close().unwrap();
    }
}

/// Beside a look at the files at all times, a slow follower, a consumer that is passed, and a record that is held.
#[test]
fn p10_a_log_that_drops_its_oldest_never_fails_and_never_passes_the_cap() {
    for (cap, spare, commits) in [(3, 0, false), (3, 1, true), (6, 0, true), (6, 2, false)] {
        let dir = tempfile::tempdir().unwrap();
        let options = capped(cap, WhenFull::DropOldest).spare_segments(spare);
        let log = options.open(dir.path()).unwrap();
        let first = log.append_durable(&[9; 5000]).unwrap();
        // It takes one of the segments of the cap.
        let held = (cap > 3).then(|| log.read(first).unwrap());
        let mut follower = log.follow(first).unwrap();
        let consumer = log.consumer("slow").unwrap();
        let done = AtomicBool::new(false);
        let looks = std::thread::scope(|scope| {
            let looks = scope.spawn(|| {
                let mut looks = 0;
                while !done.load(Ordering::Acquire) {
                    if let Some(bytes) = bytes(dir.path()) {
                        assert!(bytes <= cap * SIZE, "{bytes} bytes");
                        looks += 1;
                    }
                }
                looks
            });
            for n in 0..3000u32 {
                let lsn = log.append(&[n as u8; 5000]).unwrap();
                if commits && n % 7 == 0 {
                    log.commit_to(lsn).unwrap();
                }
            }
            done.store(true, Ordering::Release);
            looks.join().unwrap()
        });
        assert!(looks > 0);
        if let Some(held) = &held {
            assert_eq!(held.payload(), &[9; 5000]);
        }
        assert!(log.head() > consumer.position().unwrap());
        let gone = loop {
            match follower.try_next() {
                Ok(record) => assert!(record.is_some(), "it missed that it was passed"),
                Err(error) => break error,
            }
        };
        assert!(matches!(gone, Error::Gone { .. }));
        drop(held);
        drop(follower);
        let found: Vec<u8> = log.replay().map(|r| r.unwrap().payload()[0]).collect();
        let expected = (0..3000u32).rev().take(found.len()).map(|n| n as u8);
        assert!(found.iter().rev().copied().eq(expected), "what is left is the newest");
        // All but what is ready ahead, and one that is to go when the next is made.
        assert!(found.len() as u64 >= (cap - 3) * 11);
        log.close().unwrap();
    }
}

/// Whoever is told of every seal may hold a segment a moment longer.
#[test]
fn p10_an_observer_that_holds_nothing_back_is_in_no_ones_way() {
    let dir = tempfile::tempdir().unwrap();
    let options = capped(8, WhenFull::DropOldest).observer(Arc::new(|_: &Event<'_>| {}));
    let log = options.open(dir.path()).unwrap();
    for n in 0..1000u32 {
        log.append(&[n as u8; 5000]).unwrap();
        if n % 8 == 0 {
            log.commit().unwrap();
        }
    }
    assert!(bytes(dir.path()).is_none_or(|bytes| bytes <= 8 * SIZE));
}

#[test]
fn p10_what_readers_and_the_observer_hold_is_not_dropped_for_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let kept: Arc<Mutex<Vec<SealedSegment>>> = Arc::default();
    let keeper = Arc::clone(&kept);
    let observer = move |event: &Event<'_>| {
        if let Event::Sealed(segment) = event {
            keeper.lock().unwrap().push((*segment).clone());
        }
    };
    for observed in [false, true] {
        let dir = dir.path().join(observed.to_string());
        let options = capped(5, WhenFull::DropOldest);
        let options = match observed {
            true => options.observer(Arc::new(observer.clone())),
            false => options,
        };
        let log = options.open(&dir).unwrap();
        let mut held = Vec::new();
        let mut first = None;
        while held.len() < 1000 {
            let lsn = match log.append(&[8; 20_000]) {
                Ok(lsn) => lsn,
                Err(error) if is_cap(&error) => break,
                Err(error) => panic!("{error}"),
            };
            first = first.or(Some(lsn));
            held.push((!observed).then(|| log.read(lsn).unwrap()));
        }
        let first = first.unwrap();
        assert_eq!(bytes(&dir), Some(5 * SIZE));
        assert_eq!(log.read(first).unwrap().payload(), &[8; 20_000]);
        drop(held);
        kept.lock().unwrap().clear();
        for _ in 0..12 {
            log.append(&[7; 5000]).unwrap();
        }
        assert!(log.head() > first);
        drop(log);
    }
}

#[test]
fn p10_what_is_not_archived_is_never_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let log = capped(4, WhenFull::DropOldest).open(dir.path()).unwrap();
    let first = fill(&log);
    log.archived_up_to(Lsn::MIN).unwrap();
    append_until_full(&log);
    assert_eq!(log.read(first).unwrap().payload(), &[8; 20_000]);
    log.commit().unwrap();
    log.archived_up_to(Lsn::new(first.get() + 40_000)).unwrap();
    // By the append, or by the background, which was woken.
    log.append(&[7; 5000]).unwrap();
    assert!(log.head() > first);
    append_until_full(&log);
    assert_eq!(bytes(dir.path()), Some(4 * SIZE));
}

/// Where a user's checkpoint went past what was not archived, the background frees it also at the cap.
#[test]
fn p10_an_archive_that_comes_further_makes_room_at_the_cap() {
    let dir = tempfile::tempdir().unwrap();
    let log = capped(4, WhenFull::Refuse).spare_segments(0).open(dir.path()).unwrap();
    log.archived_up_to(Lsn::MIN).unwrap();
    let first = log.append(b"the oldest").unwrap();
    append_until_full(&log);
    log.commit().unwrap();
    log.checkpoint(log.durable()).unwrap();
    assert_eq!(log.head().get(), 4096);
    log.archived_up_to(log.durable()).unwrap();
    until("what is archived is gone", || log.head() > first);
    log.append(&[7; 5000]).unwrap();
}

#[test]
fn p10_a_smaller_cap_is_met_in_the_background() {
    for (when_full, clean) in [
        (WhenFull::DropOldest, true),
        (WhenFull::DropOldest, false),
        (WhenFull::Refuse, true),
        (WhenFull::Refuse, false),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let log = options().spare_segments(4).open(dir.path()).unwrap();
        let lsns: Vec<Lsn> = (0..12).map(|_| fill(&log)).collect();
        log.checkpoint(lsns[2]).unwrap();
        if clean {
            log.close().unwrap();
        } else {
            drop(log);
        }
        let log = capped(5, when_full).spare_segments(4).open(dir.path()).unwrap();
        assert_eq!(log.stats().segments_spare, 0, "spare files were kept above the cap");
        let is_below = || bytes(dir.path()).is_some_and(|bytes| bytes <= 5 * SIZE);
        if when_full == WhenFull::DropOldest {
            until("below the cap", is_below);
        } else {
            append_until_full(&log);
            assert!(log.read(lsns[3]).is_ok());
            log.checkpoint(lsns[10]).unwrap();
        }
        log.append(&[7; 5000]).unwrap();
        assert!(log.read(lsns[11]).is_ok());
        for _ in 0..50 {
            log.append_durable(&[7; 5000]).unwrap();
            if when_full == WhenFull::Refuse {
                log.checkpoint(log.durable()).unwrap();
            }
        }
        until("below the cap", is_below);
    }
}

#[test]
fn p10_a_log_at_its_cap_is_cut_and_reset() {
    let dir = tempfile::tempdir().unwrap();
    let log = capped(3, WhenFull::DropOldest).open(dir.path()).unwrap();
    for _ in 0..50 {
        let lsn = log.append(&[7; 5000]).unwrap();
        log.append(&[8; 5000]).unwrap();
        log.commit().unwrap();
        match log.truncate_after(lsn) {
            // To make room for the segment to go on in, what was to be cut may have had to go.
            Ok(()) | Err(Error::Gone { .. } | Error::OutOfRange { .. }) => {}
            Err(error) => panic!("{error}"),
        }
        assert!(bytes(dir.path()).is_none_or(|bytes| bytes <= 3 * SIZE));
    }
    let to = Lsn::new(1 << 30);
    assert_eq!(log.reset_to(to).unwrap(), to);
    assert_eq!(log.append_durable(b"first").unwrap(), to);
    assert!(bytes(dir.path()).is_none_or(|bytes| bytes <= 3 * SIZE));
}

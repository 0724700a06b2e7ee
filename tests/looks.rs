//! Looks from outside beside a running writer: what it does meanwhile is no damage (P5).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::num::NonZero;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use duralog::inspect::{Frames, HoleKind, Inspector, Piece};
use duralog::{Log, Lsn, Options, Reader};

fn options() -> Options {
    Options::new().segment_size(64 << 10)
}

/// "as of some moment since the call": a cut leaves the metadata alone.
#[test]
fn what_is_kept_is_of_some_moment_since_the_call_beside_cuts() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let first = log.append_durable(b"first").unwrap();
    log.set_metadata(&0u64.to_le_bytes()).unwrap();
    log.commit().unwrap();
    let (done, floor) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let until = Instant::now() + Duration::from_secs(3);
            let mut n = 0u64;
            let mut keep = first;
            while Instant::now() < until {
                keep = log.append(b"kept").unwrap_or(keep);
                for _ in 0..5 {
                    n += 1;
                    let lsn = log.set_metadata(&n.to_le_bytes()).unwrap();
                    log.commit_to(lsn).unwrap();
                    floor.store(n, Ordering::Release);
                }
                log.truncate_after(keep).unwrap();
                if n % 100 == 0 {
                    log.checkpoint(log.durable()).unwrap();
                }
            }
            done.store(true, Ordering::Release);
        });
        let (mut looks, mut errors) = (0, Vec::new());
        while !done.load(Ordering::Acquire) {
            let least = floor.load(Ordering::Acquire);
            match Inspector::open(dir.path()).and_then(|log| log.kept()) {
                Ok(kept) => {
                    looks += 1;
                    let n = u64::from_le_bytes(kept.metadata[..].try_into().unwrap());
                    if n < least {
                        back.push((least, n));
                    }
                }
                Err(error) => errors.push(error.to_string()),
            }
        }
        assert!(looks > 0 && errors.is_empty(), "{looks} looks, errors: {errors:?}");
    });
    assert!(
        back.is_empty(),
        "{} looks went back, such as {:?}",
        back.len(),
        &back[..back.len().min(5)]
    );
}

#[test]
fn frames_beside_a_writer_show_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = Options::new().segment_size(1 << 20).open(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    let mut damaged = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let until = Instant::now() + Duration::from_secs(3);
            let mut i = 0u64;
            while Instant::now() < until {
                let lsn = log.append(&[7; 100]).unwrap();
                i += 1;
                if i % 5000 == 0 {
                    log.commit().unwrap();
                    log.checkpoint(Lsn::new(lsn.get().saturating_sub(2 << 20))).unwrap();
                }
            }
            done.store(true, Ordering::Release);
        });
        let mut looks = 0;
        while !done.load(Ordering::Acquire) {
            looks += 1;
            let mut state = None;
            for piece in Frames::open(dir.path()).unwrap() {
                match piece {
                    Piece::Segment(segment) => state = Some((segment.id, segment.end)),
                    Piece::Hole(hole) if hole.kind == HoleKind::Damaged => {
                        damaged.push((state, hole.offsets));
                    }
                    _ => {}
                }
            }
        }
        assert!(looks > 0);
    });
    assert!(
        damaged.is_empty(),
        "{} holes called damaged, such as {:?}",
        damaged.len(),
        &damaged[..damaged.len().min(5)]
    );
}

/// A running writer cuts a sealed segment, recycles and resets while it is verified.
#[test]
fn a_deep_verification_beside_cuts_and_resets_finds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    let mut found = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let until = Instant::now() + Duration::from_secs(3);
            let mut lsns = Vec::new();
            let mut i = 0usize;
            while Instant::now() < until {
                lsns.push(log.append(&[7; 900]).unwrap());
                i += 1;
                if i % 400 == 0 {
                    log.commit().unwrap();
                    let at = lsns[lsns.len() - 100];
                    log.truncate_after(at).unwrap();
                    lsns.truncate(lsns.len() - 99);
                }
                if i % 3000 == 0 {
                    let at = Lsn::new((log.end().get() + (10 << 20)) / 4096 * 4096);
                    log.reset_to(at).unwrap();
                    lsns.clear();
                }
                if i % 700 == 0 && lsns.len() > 200 {
                    log.commit().unwrap();
                    log.checkpoint(lsns[lsns.len() - 150]).unwrap();
                }
            }
            done.store(true, Ordering::Release);
        });
        let (mut looks, mut gone) = (0, 0);
        while !done.load(Ordering::Acquire) {
            match Inspector::open(dir.path())
                .and_then(|log| log.verify_deep(NonZero::new(2).unwrap(), |_| {}))
            {
                Ok(deep) => {
                    looks += 1;
                    found.extend(deep.damage);
                }
                Err(duralog::Error::Gone { .. }) => gone += 1,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(looks > 0, "{gone} gone");
    });
    assert!(found.is_empty(), "{}: {:?}", found.len(), &found[..found.len().min(3)]);
}

/// Processes and threads that this system has made so far.
fn threads_made() -> u64 {
    let stat = std::fs::read_to_string("/proc/stat").unwrap();
    stat.lines().find_map(|line| line.strip_prefix("processes ")?.parse().ok()).unwrap()
}

/// The documentation says "up to": an empty log needs none but the caller's.
#[test]
fn p9_a_deep_verification_makes_no_more_threads_than_segments() {
    const THREADS: usize = 200_000;
    let dir = tempfile::tempdir().unwrap();
    options().open(dir.path()).unwrap().close().unwrap();
    let log = Inspector::open(dir.path()).unwrap();
    let before = threads_made();
    std::thread::spawn(|| {}).join().unwrap();
    assert!(threads_made() > before, "it does not count");
    let found = log.verify_deep(NonZero::new(THREADS).unwrap(), |_| {}).unwrap();
    assert!(found.damage.is_empty());
    // Whatever else runs on this system makes far fewer meanwhile.
    let made = threads_made() - before;
    assert!(made < THREADS as u64 / 2, "{made}");
}

/// The notes lie in a segment that is cut away whole: the manifest takes them in, and the file goes.
#[test]
fn what_is_kept_is_of_some_moment_since_the_call_beside_cuts_of_segments() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().spare_segments(0).open(dir.path()).unwrap();
    log.append_durable(b"first").unwrap();
    log.set_metadata(&0u64.to_le_bytes()).unwrap();
    log.commit().unwrap();
    let (done, floor) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut back = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let until = Instant::now() + Duration::from_secs(3);
            let mut n = 0u64;
            while Instant::now() < until {
                let keep = log.append_durable(b"kept").unwrap();
                log.roll().unwrap();
                for _ in 0..2 {
                    n += 1;
                    let lsn = log.set_metadata(&n.to_le_bytes()).unwrap();
                    log.commit_to(lsn).unwrap();
                    floor.store(n, Ordering::Release);
                }
                log.truncate_after(keep).unwrap();
                if n % 20 == 0 {
                    log.checkpoint(keep).unwrap();
                }
            }
            eprintln!("{n} notes");
            done.store(true, Ordering::Release);
        });
        let (mut looks, mut errors) = (0, Vec::new());
        while !done.load(Ordering::Acquire) {
            let least = floor.load(Ordering::Acquire);
            match Inspector::open(dir.path()).and_then(|log| log.kept()) {
                Ok(kept) => {
                    looks += 1;
                    let n = u64::from_le_bytes(kept.metadata[..].try_into().unwrap());
                    if n < least {
                        back.push((least, n));
                    }
                }
                Err(error) => errors.push(error.to_string()),
            }
        }
        assert!(looks > 0 && errors.is_empty(), "{looks} looks, errors: {errors:?}");
    });
    assert!(
        back.is_empty(),
        "{} looks went back, such as {:?}",
        back.len(),
        &back[..back.len().min(5)]
    );
}

/// "none if the writer has opened the log anew in between"
#[test]
fn a_writer_that_began_anew_and_did_more_has_no_difference() {
    let dir = tempfile::tempdir().unwrap();
    let log = Log::open(dir.path()).unwrap();
    log.append_durable(b"one").unwrap();
    let before = Reader::open(dir.path()).unwrap().sync_stats().unwrap().unwrap();
    log.close().unwrap();
    let log = Log::open(dir.path()).unwrap();
    for _ in 0..200 {
        log.append_durable(b"another").unwrap();
    }
    let now = Reader::open(dir.path()).unwrap().sync_stats().unwrap().unwrap();
    let since = now.since(&before);
    assert!(
        since.is_none(),
        "{:?} of {:?} syncs",
        since.map(|s| (s.syncs(), s.percentile(50.0))),
        now.syncs()
    );
}

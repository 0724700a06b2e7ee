//! What was never written is passed over by who looks from outside, and nothing behind it is overlooked.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::fs::File;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use duralog::inspect::{Frames, HoleKind, Inspector, Piece};
use duralog::{Error, Log, Lsn, Options};
use rustix::fs::{FallocateFlags, fallocate};

/// Of the first segment; the blocks are the file system's again, and read as zero.
fn punch(dir: &Path, range: Range<u64>) -> bool {
    let file = File::options().write(true).open(dir.join("0000000000000001.seg")).unwrap();
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let punched = fallocate(file, flags, range.start, range.end - range.start);
    if punched.is_err() {
        eprintln!("skipped: no holes on this file system");
    }
    punched.is_ok()
}

/// A log that is not closed: records of a mebibyte each, each durable before the next. Of that only its marks speak.
fn open_log(dir: &Path) -> Vec<Lsn> {
    let log = Log::open(dir).unwrap();
    let lsns = (0..7).map(|n| log.append_durable(&[n; 1 << 20]).unwrap()).collect();
    drop(log);
    std::fs::remove_file(dir.join("WATERMARK")).unwrap();
    lsns
}

/// Marks lie behind each record. All but the last is gone with the hole, which ends right before it or far before.
#[test]
fn p5_what_vouches_for_a_record_is_found_behind_a_hole() {
    for from in [2, 5] {
        let dir = tempfile::tempdir().unwrap();
        let lsns = open_log(dir.path());
        let mark = lsns[6].get() - 24;
        let end = mark / 4096 * 4096;
        if !punch(dir.path(), lsns[from].get() / 4096 * 4096..end) {
            return;
        }
        let damage = Inspector::open(dir.path()).unwrap().verify().unwrap_err();
        let Error::Corrupt(at) = &damage else { panic!("{damage}") };
        assert!(at.lsns.start >= lsns[from - 1] && at.lsns.start <= lsns[from], "{damage}");
        assert!(at.lsns.end > lsns[5], "{damage}");
        // As the log's own opening says.
        let opened = Log::open(dir.path()).unwrap_err();
        assert_eq!(opened.to_string(), damage.to_string());
    }
}

#[test]
fn frames_are_shown_behind_a_hole() {
    let dir = tempfile::tempdir().unwrap();
    let lsns = open_log(dir.path());
    if !punch(dir.path(), lsns[2].get() / 4096 * 4096..lsns[5].get() / 4096 * 4096) {
        return;
    }
    let (mut seen, mut damaged) = (Vec::new(), 0);
    for piece in Frames::open(dir.path()).unwrap() {
        match piece {
            Piece::Frame(frame) => seen.push(frame.lsn),
            Piece::Hole(hole) if hole.kind == HoleKind::Damaged => damaged += 1,
            _ => {}
        }
    }
    assert_eq!(damaged, 1);
    // What ends before it, and what begins behind it.
    let sound = [&lsns[..1], &lsns[6..]].concat();
    assert!(sound.iter().all(|lsn| seen.contains(lsn)), "{sound:?} of {seen:?}");
    assert!(!seen.contains(&lsns[3]) && !seen.contains(&lsns[4]));
}

/// Each look takes far longer than the writer needs for a record more: the file was used before, so that all of it is read.
/// Who runs after it shows nearly the whole segment, 1.5 million records, since its looks get shorter towards the end.
#[test]
fn a_writer_that_goes_on_and_on_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let log = Options::new().segment_size(32 << 20).open(dir.path()).unwrap();
    for n in 0..130 {
        let lsn = log.append_durable(&[n; 1 << 20]).unwrap();
        log.checkpoint(lsn).unwrap();
    }
    let seen = AtomicBool::new(false);
    let shown = std::thread::scope(|scope| {
        scope.spawn(|| {
            // As many as two segments hold, should no one ever have seen enough.
            for n in 0..4_000_000u32 {
                if seen.load(Ordering::Acquire) {
                    break;
                }
                log.append(&n.to_le_bytes()).unwrap();
                let appended = Instant::now();
                while appended.elapsed() < Duration::from_micros(5) {
                    std::hint::spin_loop();
                }
            }
        });
        std::thread::sleep(Duration::from_millis(20));
        let mut shown = 0;
        for piece in Frames::open(dir.path()).unwrap() {
            match piece {
                Piece::Frame(_) => shown += 1,
                Piece::Hole(hole) if hole.kind == HoleKind::Damaged => return Err(hole),
                _ => {}
            }
        }
        let kept = Inspector::open(dir.path()).unwrap().kept();
        seen.store(true, Ordering::Release);
        assert!(kept.unwrap().consumers.is_empty());
        Ok(shown)
    });
    let shown = shown.unwrap();
    assert!((1..1_000_000).contains(&shown), "{shown}");
}

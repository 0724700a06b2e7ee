//! One thing that the writer does beside a follower.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use duralog::inspect::Inspector;
use duralog::sim::SimDisk;
use duralog::{Error, Lsn, Reader};

use super::{append, drain, follow, in_memory, number, options, payload, wait_for, write};

#[test]
fn p1_what_is_not_durable_does_not_come() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let (mut durable, mut published) = (follow(dir.path()), follow(dir.path()).published());
    append(&log, 0..3);
    assert_eq!(drain(&mut durable).unwrap(), [0u32; 0]);
    assert_eq!(drain(&mut published).unwrap(), [0, 1, 2]);
    log.commit().unwrap();
    append(&log, 3..5);
    assert_eq!(drain(&mut durable).unwrap(), [0, 1, 2]);
    assert_eq!(drain(&mut published).unwrap(), [3, 4]);
    assert_eq!(drain(&mut follow(dir.path())).unwrap(), [0, 1, 2]);
}

/// Where there are only the marks to go by: what a note says in their place is the user's.
#[test]
fn p1_a_note_is_no_mark() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    std::fs::remove_file(dir.path().join("WATERMARK")).unwrap();
    write(&log, 0..1);
    log.set_metadata(&[0x11; 60]).unwrap();
    append(&log, 1..3);
    assert_eq!(drain(&mut follow(dir.path())).unwrap(), [0]);
}

/// What was appended in a segment that a cut then left counts for nothing, though what is durable lies beyond.
#[test]
fn p1_what_was_cut_before_it_was_durable_does_not_come() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let keep = write(&log, 0..3)[2];
    let mut follower = follow(dir.path());
    assert_eq!(drain(&mut follower).unwrap(), [0, 1, 2]);
    append(&log, 3..6);
    log.truncate_after(keep).unwrap();
    write(&log, 6..8);
    assert_eq!(drain(&mut follower).unwrap(), [6, 7]);
}

/// Nor of what a reset dropped, wherever the log goes on.
#[test]
fn p1_what_a_reset_dropped_before_it_was_durable_does_not_come() {
    for ahead in [None, Some(0), Some(4096), Some(1 << 20)] {
        let dir = tempfile::tempdir().unwrap();
        let log = options().segment_size(64 << 10).open(dir.path()).unwrap();
        write(&log, 0..3);
        let mut follower = follow(dir.path());
        assert_eq!(drain(&mut follower).unwrap(), [0, 1, 2]);
        append(&log, 3..6);
        match ahead {
            None => log.truncate_all().unwrap(),
            Some(ahead) => drop(log.reset_to(Lsn::new(log.end().get() + ahead)).unwrap()),
        }
        write(&log, 100..102);
        let dropped = drain(&mut follower);
        assert!(matches!(dropped, Err(Error::Gone { .. })), "{dropped:?}");
        assert_eq!(drain(&mut follow(dir.path())).unwrap(), [100, 101]);
    }
}

#[test]
fn a_follower_goes_through_rolls_and_recycled_files() {
    for spare in [0, 2] {
        let dir = in_memory();
        let log = options().spare_segments(spare).open(dir.path()).unwrap();
        let (mut durable, mut published) = (follow(dir.path()), follow(dir.path()).published());
        let mut names = BTreeMap::<u64, BTreeSet<_>>::new();
        for round in 0..100 {
            write(&log, round * 30..(round + 1) * 30);
            let all: Vec<u32> = (round * 30..(round + 1) * 30).collect();
            assert_eq!(drain(&mut durable).unwrap(), all);
            assert_eq!(drain(&mut published).unwrap(), all);
            // All of it may go, or all that the follower has seen.
            let at = if round % 2 == 0 { log.durable() } else { durable.position() };
            log.checkpoint(at).unwrap();
            for segment in &Inspector::open(dir.path()).unwrap().summary().segments {
                if let Ok(status) = dir.path().join(&segment.file).metadata() {
                    names.entry(status.ino()).or_default().insert(segment.id);
                }
            }
        }
        let mut again = Reader::open(dir.path()).unwrap().follow(durable.position()).unwrap();
        write(&log, 9000..9001);
        assert_eq!(drain(&mut again).unwrap(), [9000]);
        let reused = names.values().any(|names| names.len() > 5);
        assert!(spare == 0 || reused, "nothing was recycled: {names:?}");
    }
}

#[test]
fn a_batch_comes_whole() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let mut follower = follow(dir.path());
    let batch: Vec<Vec<u8>> = (0..5).map(|n| payload(n, 100)).collect();
    log.append_batch(&batch).unwrap();
    log.commit().unwrap();
    let reader = Reader::open(dir.path()).unwrap();
    for seen in 0..5 {
        // From its middle too.
        let mut again = reader.follow(follower.position()).unwrap();
        assert_eq!(drain(&mut again).unwrap(), (seen..5).collect::<Vec<_>>());
        assert_eq!(number(follower.try_next_payload().unwrap().unwrap().1), seen);
    }
    assert_eq!(follower.position(), log.durable());
    assert_eq!(reader.replay().unwrap().map(|r| number(&r.unwrap().payload)).sum::<u32>(), 10);
}

#[test]
fn a_close_is_no_end_and_the_next_writer_is_followed() {
    for published in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut log = options().open(dir.path()).unwrap();
        let mut follower = follow(dir.path());
        if published {
            follower = follower.published();
        }
        let waiting = std::thread::spawn(move || {
            follower.map(|record| number(&record.unwrap().payload)).take(40).collect::<Vec<_>>()
        });
        for round in 0..4 {
            write(&log, round * 10..(round + 1) * 10);
            if round % 2 == 0 {
                log.close().unwrap();
            }
            drop(log);
            std::thread::sleep(Duration::from_millis(20));
            log = options().open(dir.path()).unwrap();
        }
        assert_eq!(waiting.join().unwrap(), (0..40).collect::<Vec<_>>());
    }
}

/// What the writer had not synced when it died, the next one finds in the cache and makes durable.
#[test]
fn what_recovery_makes_durable_comes() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let mut follower = follow(dir.path());
    write(&log, 0..2);
    append(&log, 2..5);
    assert_eq!(drain(&mut follower).unwrap(), [0, 1]);
    drop(log);
    assert_eq!(drain(&mut follower).unwrap(), [0u32; 0]);
    let log = options().open(dir.path()).unwrap();
    assert_eq!(wait_for(&mut follower, 3).unwrap(), [2, 3, 4]);
    // And it stands behind the torn tail, in the next segment.
    write(&log, 5..6);
    assert_eq!(wait_for(&mut follower, 1).unwrap(), [5]);
    assert_eq!(follower.position(), log.durable());
}

#[test]
fn a_segment_that_was_empty_and_is_dropped_takes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    write(&log, 0..2);
    log.checkpoint(log.durable()).unwrap();
    let mut follower = follow(dir.path());
    assert_eq!(drain(&mut follower).unwrap(), [0u32; 0]);
    let at = follower.position();
    drop(log);
    // The segment in which the follower stands held nothing.
    let log = options().open(dir.path()).unwrap();
    write(&log, 2..4);
    assert_eq!(wait_for(&mut follower, 2).unwrap(), [2, 3]);
    assert_eq!(drain(&mut Reader::open(dir.path()).unwrap().follow(at).unwrap()).unwrap(), [2, 3]);
}

/// Without a watermark the marks say what is durable; and a new one is found.
#[test]
fn a_log_without_a_watermark_is_followed_by_its_marks() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    std::fs::remove_file(dir.path().join("WATERMARK")).unwrap();
    let mut follower = follow(dir.path());
    let mut found = Vec::new();
    for n in 0..200 {
        write(&log, n..n + 1);
        found.extend(drain(&mut follower).unwrap());
        assert!(found.len() as u32 <= n + 1);
        // The next append says that the last one was synced.
        assert!(found.len() as u32 >= n, "{found:?}");
    }
    log.close().unwrap();
    found.extend(wait_for(&mut follower, 200 - found.len()).unwrap());
    assert_eq!(found, (0..200).collect::<Vec<_>>());
    let log = options().open(dir.path()).unwrap();
    assert!(dir.path().join("WATERMARK").exists());
    write(&log, 200..203);
    assert_eq!(wait_for(&mut follower, 3).unwrap(), [200, 201, 202]);
}

/// A watermark of another inode: made anew by a tool, or by a writer that found it unfit.
#[test]
fn a_watermark_that_was_made_anew_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut log = options().open(dir.path()).unwrap();
    let mut follower = follow(dir.path());
    for round in 0..3 {
        write(&log, round..round + 1);
        assert_eq!(wait_for(&mut follower, 1).unwrap(), [round]);
        log.close().unwrap();
        std::fs::remove_file(dir.path().join("WATERMARK")).unwrap();
        log = options().open(dir.path()).unwrap();
    }
}

/// Where stores may be signals the watermark is written.
#[test]
fn a_log_that_is_written_by_pwrite_alone_has_a_watermark_too() {
    let disk = SimDisk::new(3);
    disk.set_stores_are_safe(false);
    let log = options().open_on(&disk).unwrap();
    let reader = Reader::open_on(&disk).unwrap();
    let mut follower = reader.follow(reader.head().unwrap()).unwrap();
    for n in 0..50 {
        write(&log, n..n + 1);
        assert_eq!(reader.durable().unwrap(), log.durable());
        assert_eq!(drain(&mut follower).unwrap(), [n]);
        append(&log, 100 + n..101 + n);
        assert_eq!(drain(&mut follower).unwrap(), [0u32; 0]);
        log.commit().unwrap();
        assert_eq!(drain(&mut follower).unwrap(), [100 + n]);
        log.step().unwrap();
    }
}

#[test]
fn positions_are_those_of_the_writer() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let reader = options().open_reader(dir.path()).unwrap();
    let check = || {
        assert_eq!(reader.head().unwrap(), log.head());
        // What is rolled is synced in the background.
        let before = log.durable();
        let durable = reader.durable().unwrap();
        assert!(before <= durable && durable <= log.durable(), "{before} {durable}");
        assert_eq!(reader.end().unwrap(), log.end());
    };
    check();
    for n in 0..100 {
        append(&log, n * 10..n * 10 + 7);
        check();
        write(&log, n * 10 + 7..n * 10 + 8);
        check();
    }
    let mid = log.durable();
    let first = append(&log, 2000..2003)[0];
    let found = |from: Lsn| {
        let replay = reader.replay_from(from).unwrap();
        replay.map(|record| number(&record.unwrap().payload)).collect::<Vec<_>>()
    };
    assert_eq!(found(mid), [2000, 2001, 2002]);
    assert_eq!(found(Lsn::new(first.get() + 8)), [2001, 2002]);
    assert_eq!(found(reader.head().unwrap()).len(), 803);
    // Into a record that is durable, and into one that is not.
    let lsns: Vec<Lsn> = reader.replay().unwrap().map(|record| record.unwrap().lsn).collect();
    for at in [3, 300, 799, 801] {
        assert_eq!(found(Lsn::new(lsns[at].get() + 16)).len(), 802 - at);
        assert_eq!(found(lsns[at]).len(), 803 - at);
    }
}

fn damage(dir: &Path, lsn: Lsn) {
    let inspector = Inspector::open(dir).unwrap();
    let segment = inspector.summary().segments.iter().rfind(|s| s.base <= lsn).unwrap();
    let file = std::fs::File::options().read(true).write(true).open(dir.join(&segment.file));
    let (file, at) = (file.unwrap(), lsn.get() - segment.base.get() + 20);
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

#[test]
fn p5_damage_is_an_error_where_it_is_and_again() {
    // In the active segment, in one that was rolled, and in one that is sealed; met while following, and from the start.
    for roll in 0..3 {
        for published in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let log = options().open(dir.path()).unwrap();
            let lsns = write(&log, 0..20);
            for n in 0..roll {
                log.roll().unwrap();
                write(&log, 100 + n..101 + n);
            }
            let mut late = follow(dir.path());
            damage(dir.path(), lsns[12]);
            if published {
                late = late.published();
            }
            for n in 0..12 {
                assert_eq!(number(&late.try_next().unwrap().unwrap().payload), n);
            }
            for _ in 0..2 {
                let error = late.try_next().unwrap_err();
                assert!(error.is_corrupt() && error.to_string().contains("offset"), "{error}");
            }
            // Behind the last record, before the mark.
            assert_eq!(late.position(), Lsn::new(lsns[11].get() + 208));
            let replay = Reader::open(dir.path()).unwrap().replay().unwrap();
            assert!(replay.last().unwrap().unwrap_err().is_corrupt());
        }
    }
}

/// What goes on for ever elsewhere is shown to where it was at some moment.
#[test]
fn a_replay_beside_a_writer_ends() {
    for slow in [false, true] {
        let dir = in_memory();
        let size = if slow { 16 << 10 } else { 1 << 20 };
        let log = options().segment_size(size).open(dir.path()).unwrap();
        write(&log, 0..10);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in (10..).take_while(|_| !stop.load(Ordering::Relaxed)) {
                    write(&log, n..n + 1);
                    std::thread::sleep(Duration::from_millis(u64::from(!slow)));
                }
            });
            let began = Instant::now();
            let replay = Reader::open(dir.path()).unwrap().replay().unwrap();
            for (n, record) in (0..).zip(replay) {
                assert_eq!(number(&record.unwrap().payload), n);
                std::thread::sleep(Duration::from_micros(if slow { 500 } else { 0 }));
                if began.elapsed() > Duration::from_secs(20) {
                    stop.store(true, Ordering::Relaxed);
                    panic!("still at it, with record {n}");
                }
            }
            stop.store(true, Ordering::Relaxed);
        });
    }
}

/// Cuts and resets take what it is about to walk over.
#[test]
fn the_end_is_found_beside_cuts() {
    let dir = in_memory();
    let log = options().open(dir.path()).unwrap();
    write(&log, 0..10);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| {
            let reader = Reader::open(dir.path()).unwrap();
            while !stop.load(Ordering::Relaxed) {
                reader.end()?;
            }
            Ok::<(), Error>(())
        });
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(2) && !looks.is_finished() {
            let lsns = write(&log, 0..4);
            append(&log, 4..6);
            log.truncate_after(lsns[1]).unwrap();
            log.checkpoint(log.durable()).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
        looks.join().unwrap().unwrap();
    });
}

//! The log seen from outside, byte for byte: what it keeps, each frame, each damage.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::num::NonZero;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use duralog::inspect::{Deep, Frame, FrameKind, Frames, HoleKind, Inspector, Piece, Salvage};
use duralog::{Log, Lsn, Options};

fn options() -> Options {
    Options::new().segment_size(64 << 10)
}

fn deep(dir: &Path, threads: usize) -> Deep {
    Inspector::open(dir).unwrap().verify_deep(NonZero::new(threads).unwrap(), |_| {}).unwrap()
}

fn write_at(dir: &Path, id: u64, offset: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    let path = dir.join(format!("{id:016x}.seg"));
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.write_all_at(bytes, offset).unwrap();
}

/// Forty records of a kilobyte in each of some segments; the LSNs.
fn filled(dir: &Path, segments: usize) -> Vec<Lsn> {
    let log = options().open(dir).unwrap();
    let mut lsns = Vec::new();
    for _ in 0..segments {
        lsns.extend((0..40).map(|i| log.append(&[i; 1024]).unwrap()));
        log.roll().unwrap();
    }
    log.close().unwrap();
    lsns
}

#[test]
fn what_is_kept_is_what_the_writer_says_at_every_stage() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let kept = || Inspector::open(dir.path()).unwrap().kept().unwrap();
    assert!(kept().consumers.is_empty());
    for round in 0..6u8 {
        let name = format!("consumer {round}");
        let lsn = log.append_durable(&[round; 3000]).unwrap();
        let consumer = log.consumer(&name).unwrap();
        consumer.ack(lsn).unwrap();
        log.set_metadata(&[round; 10]).unwrap();
        if round == 2 {
            log.consumer("consumer 0").unwrap().remove().unwrap();
            log.archived_up_to(lsn).unwrap();
        }
        // Noted among records that are not durable; then by the manifest; then in segments that are gone.
        let look = |when: &str| {
            let kept = kept();
            assert_eq!(kept.consumers, log.consumers().unwrap(), "{round} {when}");
            assert_eq!(kept.metadata, log.metadata().unwrap(), "{round} {when}");
            assert_eq!(kept.archived, log.archived().unwrap(), "{round} {when}");
            assert_eq!(kept.end, log.end(), "{round} {when}");
        };
        look("appended");
        log.commit().unwrap();
        // The watermark is above what the manifest took in.
        look("committed");
        log.roll().unwrap();
        look("rolled");
        log.archived_up_to(log.durable()).unwrap();
        log.checkpoint(lsn).unwrap();
        look("checkpointed");
        let mut salvage = Salvage::open(dir.path()).unwrap();
        salvage.by_ref().for_each(drop);
        assert_eq!(salvage.kept().metadata, log.metadata().unwrap(), "{round}");
    }
    let consumers = log.consumers().unwrap();
    log.close().unwrap();
    assert_eq!(kept().consumers.len(), consumers.len());
}

#[test]
fn what_is_kept_is_read_beside_a_writer_that_rolls_and_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let mailer = log.consumer("mailer").unwrap();
    log.commit().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..3000 {
                let lsn = log.append(&[7; 500]).unwrap();
                log.commit_to(lsn).unwrap();
                mailer.ack(lsn).unwrap();
                log.checkpoint_to_slowest().unwrap();
            }
            done.store(true, Ordering::Release);
        });
        let mut last = Lsn::MIN;
        while !done.load(Ordering::Acquire) {
            let kept = Inspector::open(dir.path()).unwrap().kept().unwrap();
            assert_eq!(kept.consumers[0].name, "mailer");
            assert!(kept.consumers[0].position >= last, "it went back");
            last = kept.consumers[0].position;
        }
        assert!(last > Lsn::MIN);
    });
}

#[test]
fn every_byte_of_a_segment_is_in_one_piece() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 3);
    write_at(dir.path(), 2, 5000, &[0xFF; 100]);
    let mut at = 0;
    let mut segments = 0;
    for piece in Frames::open(dir.path()).unwrap() {
        match piece {
            Piece::Segment(segment) => {
                assert!(segment.base.get() >= at);
                assert_eq!(at % (64 << 10), 0, "the one before is not whole");
                at = segment.base.get() + 4096;
                segments += 1;
            }
            Piece::Frame(Frame { lsn, len, .. }) => {
                assert_eq!(lsn.get(), at);
                at += len;
            }
            Piece::Hole(hole) => {
                assert_eq!(hole.lsns.start.get(), at);
                let hurt = hole.lsns.start.get() < (64 << 10) + 8000 && segments == 2;
                assert_eq!(hole.kind == HoleKind::Damaged, hurt, "{hole:?}");
                at = hole.lsns.end.get();
            }
            _ => panic!("a piece unknown"),
        }
    }
    assert!(segments >= 4, "the ready one too: {segments}");
}

#[test]
fn frames_can_be_begun_in_the_middle_and_their_payloads_read() {
    let dir = tempfile::tempdir().unwrap();
    let lsns = filled(dir.path(), 2);
    let mut frames = Frames::open(dir.path()).unwrap().from(lsns[60]);
    assert!(matches!(frames.next(), Some(Piece::Segment(segment)) if segment.id == 2));
    assert!(matches!(frames.next(), Some(Piece::Frame(frame)) if frame.lsn == lsns[60]));
    assert_eq!(frames.payload().unwrap(), [20; 1024]);
    let second = Frames::open(dir.path()).unwrap().of_segment(2).unwrap();
    let records = second
        .filter(|piece| matches!(piece, Piece::Frame(Frame { kind: FrameKind::Record(1024), .. })));
    assert_eq!(records.count(), 40);
    assert!(Frames::open(dir.path()).unwrap().of_segment(99).is_none());
}

#[test]
fn a_torn_tail_is_seen_as_one() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    log.append_durable(b"one").unwrap();
    std::mem::drop(log);
    let end = Inspector::open(dir.path()).unwrap().verify().unwrap().end;
    write_at(dir.path(), 1, end.get(), &[0x11; 16]);
    let holes = Frames::open(dir.path()).unwrap().filter_map(|piece| match piece {
        Piece::Hole(hole) if hole.kind == HoleKind::Torn => Some(hole.lsns.start),
        _ => None,
    });
    // A drop without a close leaves the log open.
    assert_eq!(holes.collect::<Vec<_>>(), [end]);
}

#[test]
fn p5_a_deep_verification_finds_every_damage_and_counts_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let lsns = filled(dir.path(), 5);
    for threads in [1, 3, 16] {
        let found = deep(dir.path(), threads);
        assert_eq!((found.verified.records, found.damage.len()), (200, 0), "{threads}");
        let plain = Inspector::open(dir.path()).unwrap().verify().unwrap();
        assert_eq!(found.verified, plain);
    }
    // Two in the second, one in the fourth, its header; what verify tells of is the first.
    for lsn in [lsns[43], lsns[70], lsns[130]] {
        write_at(dir.path(), lsn.get() / (64 << 10) + 1, lsn.get() % (64 << 10) + 100, &[0xEE]);
    }
    write_at(dir.path(), 5, 20, &[0xEE]);
    let found = deep(dir.path(), 2);
    assert_eq!(found.verified.records, 197);
    let starts: Vec<Lsn> = found.damage.iter().map(|gap| gap.lsns.start).collect();
    assert_eq!(starts, [lsns[43], lsns[70], lsns[130], Lsn::MIN]);
    assert!(found.damage[..3].iter().all(|gap| gap.committed), "{:?}", found.damage);
    assert_eq!(found.damage[3].segment, Some(5));
}

#[test]
fn p5_a_deep_verification_finds_damage_in_what_is_not_sealed() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 1);
    let log = options().open(dir.path()).unwrap();
    let lsn = log.append_durable(&[1; 100]).unwrap();
    log.append_durable(&[2; 100]).unwrap();
    log.append_durable(&[3; 100]).unwrap();
    log.close().unwrap();
    let info = Inspector::open(dir.path()).unwrap().summary().clone();
    let active = info.segments.iter().find(|s| lsn >= s.base && lsn.get() < s.base.get() + s.size);
    let active = active.unwrap();
    write_at(dir.path(), active.id, lsn.get() - active.base.get() + 50, &[0xEE]);
    let found = deep(dir.path(), 2);
    assert_eq!((found.verified.records, found.damage.len()), (40, 1));
    assert_eq!(found.damage[0].lsns.start, lsn);
}

#[test]
fn progress_grows_and_ends_with_all() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 6);
    let told = Mutex::new(Vec::new());
    let inspector = Inspector::open(dir.path()).unwrap();
    inspector.verify_deep(NonZero::new(3).unwrap(), |at| told.lock().unwrap().push(*at)).unwrap();
    let told = told.into_inner().unwrap();
    assert!(told.windows(2).all(|two| two[0].bytes <= two[1].bytes));
    let (first, last) = (told[0], told[told.len() - 1]);
    assert_eq!((first.bytes, last.bytes), (0, last.bytes_total));
    assert_eq!(last.segments, last.segments_total);
}

#[test]
fn a_deep_verification_beside_a_writer_finds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..4000 {
                let lsn = log.append(&[7; 1000]).unwrap();
                if i % 100 == 99 {
                    log.commit().unwrap();
                    log.checkpoint(Lsn::new(lsn.get().saturating_sub(200 << 10))).unwrap();
                }
            }
            done.store(true, Ordering::Release);
        });
        while !done.load(Ordering::Acquire) {
            match Inspector::open(dir.path()).unwrap().verify_deep(NonZero::new(2).unwrap(), |_| {})
            {
                Ok(found) => assert_eq!(found.damage, [], "{:?}", found.verified),
                Err(error) => assert!(matches!(error, duralog::Error::Gone { .. }), "{error}"),
            }
        }
    });
}

#[test]
fn the_log_that_takes_its_place_begins_beyond() {
    let dir = tempfile::tempdir().unwrap();
    filled(dir.path(), 2);
    let beyond = Salvage::open(dir.path()).unwrap().beyond();
    std::fs::remove_file(dir.path().join("MANIFEST")).unwrap();
    // Others may have been here.
    assert!(Salvage::open(dir.path()).unwrap().beyond().get() > beyond.get() + (1 << 39));
    let new = tempfile::tempdir().unwrap();
    let log = Log::open(new.path()).unwrap();
    log.reset_to(beyond).unwrap();
    assert!(log.append(b"one").unwrap() >= beyond);
}

type Found = Vec<(Lsn, Vec<u8>)>;

fn replayed(log: &Log) -> Found {
    let records = log.replay().map(|record| record.unwrap());
    records.map(|record| (record.lsn(), record.payload().to_vec())).collect()
}

/// Four lives: two that end in a close, two in a kill; with batches, rolls and a checkpoint.
fn lived(dir: &Path) -> Found {
    let mut found = Vec::new();
    for life in 0..4u8 {
        let log = options().open(dir).unwrap();
        for i in 0..30 {
            log.append_batch(&[[life; 900], [i; 900]]).unwrap();
            log.commit().unwrap();
        }
        log.consumer("mailer").unwrap().ack(log.append_durable(&[life]).unwrap()).unwrap();
        log.commit().unwrap();
        if life == 2 {
            log.checkpoint(log.consumer("mailer").unwrap().position().unwrap()).unwrap();
        }
        found = replayed(&log);
        if life % 2 == 0 {
            log.close().unwrap();
        }
    }
    found
}

#[test]
fn p2_a_rebuilt_log_has_each_record_where_it_was() {
    let temp = tempfile::tempdir().unwrap();
    let (dir, new) = (temp.path().join("log"), temp.path().join("new"));
    let before = lived(&dir);
    assert_eq!(Salvage::rebuild(&dir, &new).unwrap(), None, "the manifest is there");
    std::fs::remove_file(dir.join("MANIFEST")).unwrap();
    let report = Salvage::rebuild(&dir, &new).unwrap().unwrap();
    let log = options().open(&new).unwrap();
    let after = replayed(&log);
    // What the checkpoint had let go of may be there again, before the rest.
    assert_eq!(after[after.len() - before.len()..], before);
    assert_eq!(report.records, after.len() as u64);
    let (last, _) = before.last().unwrap();
    assert!(log.consumer("mailer").unwrap().position().unwrap() > *last);
    // It is a log like any other.
    let more = log.append_durable(b"more").unwrap();
    log.close().unwrap();
    assert_eq!(Inspector::open(&new).unwrap().records_from(more).unwrap().count(), 1);
    assert_eq!(deep(&new, 2).damage, []);
    let error = Salvage::rebuild(&dir, &new).unwrap_err();
    assert!(matches!(error, duralog::Error::NotALog { .. }), "{error}");
}

#[test]
fn p5_a_log_of_which_more_is_lost_is_not_rebuilt() {
    let hurts: [fn(&Path); 3] = [
        |dir| write_at(dir, 1, 4200, &[0xEE]),
        |dir| write_at(dir, 2, 30, &[0xEE]),
        |dir| std::fs::remove_file(dir.join("0000000000000002.seg")).unwrap(),
    ];
    for (i, hurt) in hurts.iter().enumerate() {
        let temp = tempfile::tempdir().unwrap();
        let (dir, new) = (temp.path().join("log"), temp.path().join("new"));
        filled(&dir, 3);
        std::fs::remove_file(dir.join("MANIFEST")).unwrap();
        hurt(&dir);
        assert_eq!(Salvage::rebuild(&dir, &new).unwrap(), None, "{i}");
        assert!(!new.exists(), "{i}");
    }
}

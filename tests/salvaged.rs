//! A salvage of logs that single faults have hurt: whatever it gives as sound was appended and checked, and is the log's.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::path::{Path, PathBuf};

use duralog::inspect::{Doubt, Found, Gap, Salvage};
use duralog::{Log, Lsn, Options};

fn options() -> Options {
    Options::new().segment_size(64 << 10)
}

fn segment(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:016x}.seg"))
}

/// The payloads that are given as sound.
fn sound(dir: &Path) -> Vec<Vec<u8>> {
    let records = Salvage::open(dir).unwrap().filter_map(|found| match found {
        Found::Record(record) => Some(record.payload),
        _ => None,
    });
    records.collect()
}

fn flip(dir: &Path, lsn: Lsn, offset: u64, bit: u8) {
    let mut bytes = std::fs::read(segment(dir, 1)).unwrap();
    bytes[(lsn.get() + offset) as usize] ^= bit;
    std::fs::write(segment(dir, 1), bytes).unwrap();
}

/// One bit makes a part of it, by its kind, a mark; and the rest of a batch is not one.
#[test]
fn p3_a_batch_of_which_a_bit_of_a_kind_flipped_is_not_given_as_sound() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    log.append(b"before").unwrap();
    let lsns = log.append_batch(&[[b'a'; 16], [b'b'; 16], [b'c'; 16], [b'd'; 16]]).unwrap();
    log.append(b"after").unwrap();
    log.close().unwrap();
    flip(dir.path(), lsns[1], 7, 0x10);
    assert_eq!(sound(dir.path()), [&b"before"[..], b"after"]);
}

/// What the salvage has read of a log of four large records in a batch, before their file becomes another's; of a second
/// batch, a part is damaged already.
fn overtaken(hurt: bool, end: fn(Log)) -> (Vec<Found>, Lsn) {
    let dir = tempfile::tempdir().unwrap();
    let log = Options::new().segment_size(8 << 20).max_record_size(1 << 20).open(dir.path());
    let log = log.unwrap();
    let lsns = log.append_batch(&vec![vec![b'a'; 600 << 10]; 4]).unwrap();
    end(log);
    if hurt {
        flip(dir.path(), lsns[3], 100, 1);
    }
    let mut salvage = Salvage::open(dir.path()).unwrap();
    let mut found = vec![salvage.next().unwrap()];
    let mut bytes = std::fs::read(segment(dir.path(), 1)).unwrap();
    bytes[4096..].fill(b'X');
    std::fs::write(segment(dir.path(), 1), bytes).unwrap();
    found.extend(salvage);
    (found, lsns[1])
}

#[test]
fn p5_what_a_salvage_hands_out_was_checked_though_the_file_changes() {
    for hurt in [false, true] {
        for found in overtaken(hurt, |log| log.close().unwrap()).0 {
            let payload = match found {
                Found::Record(record) => record.payload,
                Found::Doubtful(doubtful) => doubtful.record.payload,
                _ => continue,
            };
            assert!(payload.iter().all(|byte| *byte == b'a'));
        }
    }
}

#[test]
fn p5_what_cannot_be_read_again_was_committed_where_there_is_evidence() {
    let ends: [(bool, fn(Log)); 3] = [
        (true, |log| log.close().unwrap()),
        (true, |log| assert!(log.commit().is_ok())),
        (false, drop),
    ];
    for (committed, end) in ends {
        let (found, second) = overtaken(false, end);
        let gap = |found: Found| match found {
            Found::Gap(gap) if gap.what.contains("any more") => Some(gap),
            _ => None,
        };
        let gaps: Vec<Gap> = found.into_iter().filter_map(gap).collect();
        let [gap] = &gaps[..] else { panic!("{gaps:?}") };
        assert!(gap.lsns.start == second && gap.committed == committed, "{gap:?}");
    }
}

/// A reset begins anew in the window of a segment that was only ready, and may still be there.
#[test]
fn p5_of_segments_that_overlap_the_later_one_is_the_logs() {
    for spare in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let log = options().spare_segments(spare).open(dir.path()).unwrap();
        log.append_durable(b"old").unwrap();
        for _ in 0..300 {
            if segment(dir.path(), 2).exists() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let ready = std::fs::read(segment(dir.path(), 2)).unwrap();
        log.reset_to(Lsn::new(70_000)).unwrap();
        for _ in 0..20 {
            log.append_durable(b"new").unwrap();
        }
        log.close().unwrap();
        // As a crash behind the reset leaves it.
        std::fs::write(segment(dir.path(), 2), ready).unwrap();
        std::fs::remove_file(dir.path().join("MANIFEST")).unwrap();
        let sound = sound(dir.path());
        assert_eq!(sound.iter().filter(|payload| *payload == b"new").count(), 20, "{spare}");
    }
}

#[test]
fn where_the_manifest_is_lost_the_watermark_says_which_log_it_is() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (dir, records) in dirs.iter().zip([1, 4]) {
        let log = options().open(dir.path()).unwrap();
        for _ in 0..records {
            log.append_durable(if records == 1 { b"ours" } else { b"theirs" }).unwrap();
            log.roll().unwrap();
        }
        log.close().unwrap();
    }
    let [ours, theirs] = [dirs[0].path(), dirs[1].path()];
    std::fs::remove_file(ours.join("MANIFEST")).unwrap();
    for id in 1..=4 {
        std::fs::copy(segment(theirs, id), segment(ours, id + 10)).unwrap();
    }
    assert_eq!(sound(ours), [b"ours"]);
}

/// It is doubtful which of two files of one segment is the log's, if neither is where it should be: one of them is given.
#[test]
fn a_copy_is_left_over() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    log.append(b"once").unwrap();
    log.close().unwrap();
    std::fs::remove_file(dir.path().join("MANIFEST")).unwrap();
    std::fs::copy(segment(dir.path(), 1), segment(dir.path(), 7)).unwrap();
    assert_eq!(sound(dir.path()), [b"once"]);
    let left = Salvage::open(dir.path()).unwrap().filter(
        |found| matches!(found, Found::Doubtful(doubtful) if doubtful.why == Doubt::Leftover),
    );
    assert_eq!(left.count(), 1);
}

/// An empty segment made ready behind the active one is no later part of the log: what the watermark vouches for before it
/// was the log's.
#[test]
fn p5_without_a_manifest_the_watermark_vouches_though_a_segment_is_ready() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let lsns: Vec<Lsn> = (0..9).map(|i| log.append(&[i; 100]).unwrap()).collect();
    log.commit().unwrap();
    while log.stats().segments_ready == 0 {
        std::thread::yield_now();
    }
    log.close().unwrap();
    flip(dir.path(), lsns[4], 20, 1);
    std::fs::remove_file(dir.path().join("MANIFEST")).unwrap();
    let mut salvage = Salvage::open(dir.path()).unwrap();
    let gaps: Vec<Gap> = salvage
        .by_ref()
        .filter_map(|found| match found {
            Found::Gap(gap) if !gap.lsns.is_empty() => Some(gap),
            _ => None,
        })
        .collect();
    assert!(gaps.len() == 1 && gaps[0].committed, "{gaps:?}");
    assert_eq!((salvage.report().records, salvage.report().doubtful), (8, 0));
}

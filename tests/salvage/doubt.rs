//! What is given as doubtful, and what as whole; where nothing is to be had.

use duralog::inspect::{Doubt, Salvage};
use duralog::sim::SimDisk;
use duralog::{Error, Lsn};

use crate::{Files, closed, fill, options, read_dir, salvage, write_dir};

#[test]
fn p3_a_batch_is_given_whole_or_as_doubtful() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let batch = log.append_batch(&[b"one!".repeat(200), b"two!".repeat(200), b"tre!".repeat(200)]);
    let batch = batch.unwrap();
    let behind = log.append(&b"more".repeat(200)).unwrap();
    let last = log.append(&b"last".repeat(200)).unwrap();
    log.close().unwrap();
    let sound = read_dir(dir.path());
    let name = "0000000000000001.seg";
    let hurt = |lsn: Lsn, at: usize| {
        let mut hurt = sound.clone();
        hurt.get_mut(name).unwrap()[lsn.get() as usize + at] ^= 0xFF;
        let seen = salvage(write_dir(&hurt).path());
        let records: Vec<Lsn> = seen.records.keys().map(|lsn| Lsn::new(*lsn)).collect();
        let doubtful: Vec<(Lsn, Doubt)> =
            seen.doubtful.iter().map(|(lsn, (_, why))| (Lsn::new(*lsn), *why)).collect();
        (records, doubtful)
    };
    let unfinished = |n: usize| (batch[n], Doubt::Unfinished);
    // A payload, so that each length still leads to the next frame and its kind says what was lost.
    assert_eq!(hurt(batch[0], 50), (vec![behind, last], vec![unfinished(1), unfinished(2)]));
    assert_eq!(hurt(batch[1], 50), (vec![behind, last], vec![unfinished(0), unfinished(2)]));
    assert_eq!(hurt(batch[2], 50), (vec![behind, last], vec![unfinished(0), unfinished(1)]));
    // A length: no one knows what stood there.
    let after = |lsn: Lsn| (lsn, Doubt::AfterGap);
    let lost = vec![unfinished(0), unfinished(1), after(behind)];
    assert_eq!(hurt(batch[2], 5), (vec![last], lost));
    assert_eq!(hurt(behind, 50), ([batch.clone(), vec![last]].concat(), vec![]));
    // Alone: neither its neighbours nor a zero behind it bear it out.
    let mut hurt = sound.clone();
    let bytes = hurt.get_mut(name).unwrap();
    for lsn in [batch[2], last] {
        bytes[lsn.get() as usize + 5] ^= 0xFF;
    }
    let seen = salvage(write_dir(&hurt).path());
    assert_eq!(seen.doubtful[&behind.get()].1, Doubt::Alone);
}

/// Behind a hole that nothing vouches for the log has ended, whatever is there.
#[test]
fn what_was_never_committed_is_doubtful_behind_a_hole() {
    let disk = SimDisk::new(1);
    let log = options().open_on(&disk).unwrap();
    let kept = log.append_durable(b"kept").unwrap();
    let torn = log.append(b"torn").unwrap();
    let behind = log.append(b"behind").unwrap();
    let mut files: Files =
        disk.files().into_iter().map(|n| (n.clone(), disk.bytes(&n).unwrap())).collect();
    files.get_mut("0000000000000001.seg").unwrap()[torn.get() as usize + 9] ^= 1;
    let dir = write_dir(&files);
    let seen = salvage(dir.path());
    assert!(seen.records.keys().eq([&kept.get()]), "{seen:?}");
    assert_eq!(seen.doubtful[&behind.get()].1, Doubt::BeyondEnd);
    let gap = &seen.gaps[0];
    assert!(gap.lsns == (torn..behind) && !gap.committed, "{gap:?}");
    assert_eq!((seen.report().missing, seen.report().missing_committed), (16, 0));
    // As a recovery has it.
    let log = options().open(dir.path()).unwrap();
    assert_eq!(log.replay().map(|record| record.unwrap().lsn()).collect::<Vec<_>>(), [kept]);
}

#[test]
fn what_a_checkpoint_let_go_of_is_doubtful() {
    let disk = SimDisk::new(1);
    let log = options().spare_segments(4).open_on(&disk).unwrap();
    fill(&log);
    log.step().unwrap();
    log.checkpoint(log.durable()).unwrap();
    log.step().unwrap();
    let in_log: Vec<u64> = log.replay().map(|record| record.unwrap().lsn().get()).collect();
    log.close().unwrap();
    let mut files = Files::new();
    disk.files().iter().for_each(|n| drop(files.insert(n.clone(), disk.bytes(n).unwrap())));
    let seen = salvage(write_dir(&files).path());
    assert!(seen.records.keys().eq(&in_log), "{:?}", seen.records.keys());
    assert!(!seen.doubtful.is_empty() && seen.gaps.is_empty(), "{:?}", seen.gaps);
    assert!(seen.doubtful.values().all(|(_, why)| *why == Doubt::Leftover));
    // A segment of another log is told of, and not read.
    let stranger = closed()["0000000000000001.seg"].clone();
    files.insert("00000000000000ee.seg".to_owned(), stranger);
    let again = salvage(write_dir(&files).path());
    assert!(again.records == seen.records && again.gaps[0].what.contains("another log"));
}

#[test]
fn where_no_log_is_there_is_nothing_to_salvage() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(Salvage::open(dir.path()), Err(Error::NoLog { .. })));
    assert!(matches!(Salvage::open(dir.path().join("none")), Err(Error::NoLog { .. })));
    std::fs::write(dir.path().join("other"), "").unwrap();
    assert!(matches!(Salvage::open(dir.path()), Err(Error::NotALog { .. })));
    // A segment file that holds nothing is the trace of a log.
    std::fs::write(dir.path().join("0000000000000001.seg"), "").unwrap();
    assert_eq!(salvage(dir.path()).gaps.len(), 2);
}

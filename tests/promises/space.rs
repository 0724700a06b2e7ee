//! P9, P10: what an open reads, what a checkpoint frees; a file that is used again.

use std::time::Duration;

use duralog::{Error, Lsn, Record, Tail};

use crate::{payloads, segment_files, small};

#[test]
fn p9_a_clean_open_reads_no_records_and_kills_do_not_grow_the_directory() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    for _ in 0..500 {
        log.append(&[7; 500]).unwrap();
    }
    log.close().unwrap();
    let log = small().open(dir.path()).unwrap();
    assert_eq!((log.recovery().records, log.recovery().tail), (0, Tail::Clean));
    drop(log);
    for _ in 0..3 {
        drop(small().open(dir.path()).unwrap());
    }
    let before = segment_files(dir.path()).len();
    for _ in 0..100 {
        drop(small().open(dir.path()).unwrap());
    }
    assert!(segment_files(dir.path()).len() <= before + 3);
}

#[test]
fn p10_a_checkpoint_frees_what_it_may_and_not_what_a_reader_holds() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().spare_segments(0).open(dir.path()).unwrap();
    let lsns: Vec<Lsn> = (0..500u32).map(|n| log.append(&[n as u8; 1000]).unwrap()).collect();
    log.commit().unwrap();
    let held: Record = log.read(lsns[0]).unwrap();
    let file = dir.path().join(&segment_files(dir.path())[0]);
    let given_back = log.checkpoint(lsns[400]).unwrap();
    assert!(given_back.segments >= 3);
    assert!(file.exists(), "a reader holds it");
    assert_eq!(held.payload(), [0; 1000]);
    assert!(log.head() <= lsns[400]);
    assert!(matches!(log.read(lsns[0]), Err(Error::OutOfRange { .. })));
    let kept: Vec<Lsn> = log.replay_from(lsns[400]).unwrap().map(|r| r.unwrap().lsn()).collect();
    assert_eq!(kept, lsns[400..]);
    drop(held);
    for _ in 0..3000 {
        if !file.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!file.exists(), "given back once the reader let go");
    drop(log);
    let log = small().open(dir.path()).unwrap();
    let kept: Vec<Lsn> = log.replay_from(lsns[400]).unwrap().map(|r| r.unwrap().lsn()).collect();
    assert_eq!(kept, lsns[400..]);
    assert_eq!(log.checkpoint_lsn(), lsns[400]);
}

#[test]
fn p10_recycled_segments_never_show_their_old_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut kept = Vec::new();
    for life in 0..20u8 {
        let log = small().open(dir.path()).unwrap();
        assert_eq!(payloads(&log), kept);
        for n in 0..150usize {
            log.append(&[life, n as u8].repeat(300)).unwrap();
        }
        log.commit().unwrap();
        log.checkpoint(log.durable()).unwrap();
        assert_eq!(log.replay().count(), 0);
        kept = vec![vec![life; 10], vec![life; 20]];
        for record in &kept {
            log.append(record).unwrap();
        }
        assert_eq!(payloads(&log), kept);
    }
    assert!(segment_files(dir.path()).len() <= 6);
}

#[test]
fn p2_each_life_of_a_file_has_a_salt_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let mut salts = std::collections::BTreeMap::new();
    for _ in 0..6 {
        let log = small().open(dir.path()).unwrap();
        log.append_durable(b"x").unwrap();
        log.checkpoint(log.durable()).unwrap();
        log.close().unwrap();
        let inspector = duralog::inspect::Inspector::open(dir.path()).unwrap();
        for segment in &inspector.summary().segments {
            salts.insert(segment.id, segment.salt);
        }
    }
    let distinct: std::collections::BTreeSet<_> = salts.values().collect();
    assert!(distinct.len() == salts.len() && salts.len() > 3, "{salts:?}");
}

//! A manifest that is not the log's newest is damage for everyone that looks; and no file is removed whose content cannot be
//! read (P2, P5, P11).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::path::Path;

use duralog::inspect::{Found, Inspector, Salvage};
use duralog::{Error, Log, Lsn, Options, Reader};

/// What someone does to a file.
type Act = fn(&Path);

type Files = BTreeMap<String, Vec<u8>>;

const MANIFEST: &str = "MANIFEST";

fn options() -> Options {
    Options::new().segment_size(16 << 10)
}

/// Thousands of syncs: in memory, where the system has a file system for that.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn read_dir(dir: &Path) -> Files {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|e| (e.file_name().into_string().unwrap(), std::fs::read(e.path()).unwrap()))
        .collect()
}

fn put(dir: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(dir.join(name), bytes).unwrap();
}

/// Not on every file system is there one.
fn remove_watermark(dir: &Path) {
    drop(std::fs::remove_file(dir.join("WATERMARK")));
}

fn segment(id: u64) -> String {
    format!("{id:016x}.seg")
}

fn write(log: &Log, count: u32) -> Vec<Lsn> {
    (0..count).map(|n| log.append_durable(&n.to_le_bytes().repeat(250)).unwrap()).collect()
}

/// What everyone that goes by the manifest comes to: each has to refuse, and nothing may change.
fn refused(dir: &Path) -> Vec<Error> {
    let before = read_dir(dir);
    let consumers = |dir: &Path| Inspector::open(dir)?.kept().map(drop);
    let verified = |dir: &Path| Inspector::open(dir)?.verify().map(drop);
    let errors = vec![
        options().open(dir).map(drop).unwrap_err(),
        Inspector::open(dir).map(drop).unwrap_err(),
        consumers(dir).unwrap_err(),
        verified(dir).unwrap_err(),
        Reader::open(dir).map(drop).unwrap_err(),
    ];
    assert!(read_dir(dir) == before, "something was changed");
    errors
}

/// The same of those that had opened the log before its manifest became what it is.
fn refused_late(inspector: &Inspector, reader: &Reader) -> Vec<Error> {
    vec![
        inspector.verify().unwrap_err(),
        inspector.kept().unwrap_err(),
        inspector.records_from(Lsn::MIN).map(drop).unwrap_err(),
        reader.head().unwrap_err(),
        reader.end().unwrap_err(),
        reader.replay().map(drop).unwrap_err(),
        reader.replay_from(Lsn::MIN).map(drop).unwrap_err(),
        reader.follow(Lsn::MIN).map(drop).unwrap_err(),
    ]
}

/// A log of many segments whose manifest was put back from when it had one, and no watermark.
fn stale() -> (tempfile::TempDir, Inspector, Reader, u64) {
    let dir = in_memory();
    let log = options().open(dir.path()).unwrap();
    write(&log, 3);
    log.close().unwrap();
    let old = read_dir(dir.path());
    let log = options().open(dir.path()).unwrap();
    write(&log, 100);
    log.close().unwrap();
    let (inspector, reader) =
        (Inspector::open(dir.path()).unwrap(), Reader::open(dir.path()).unwrap());
    let next = 1 + old.keys().filter(|name| name.ends_with(".seg")).count() as u64;
    // What the old one names is as it was: nothing else contradicts it.
    old.iter().for_each(|(name, bytes)| put(dir.path(), name, bytes));
    remove_watermark(dir.path());
    (dir, inspector, reader, next)
}

#[test]
fn p5_a_manifest_older_than_its_segments_is_damage_for_everyone_that_looks() {
    let (dir, inspector, reader, _) = stale();
    let errors = refused(dir.path()).into_iter().chain(refused_late(&inspector, &reader));
    for error in errors {
        assert!(
            error.is_corrupt() && error.to_string().contains("is older than segment"),
            "{error}"
        );
    }
}

#[test]
fn p11_a_segment_of_a_later_version_is_never_removed() {
    for (version, features) in [(1u32, 1u32), (2, 0)] {
        let (dir, inspector, reader, next) = stale();
        let newer: Vec<String> = read_dir(dir.path())
            .into_keys()
            .filter(|name| *name >= segment(next) && name.ends_with("seg"))
            .collect();
        assert!(newer.len() > 4);
        for name in &newer {
            let mut bytes = std::fs::read(dir.path().join(name)).unwrap();
            bytes[8..12].copy_from_slice(&version.to_le_bytes());
            bytes[12..16].copy_from_slice(&features.to_le_bytes());
            let sum = crc32c(&bytes[..16]);
            bytes[16..20].copy_from_slice(&sum.to_le_bytes());
            put(dir.path(), name, &bytes);
        }
        let errors = refused(dir.path()).into_iter().chain(refused_late(&inspector, &reader));
        for error in errors {
            let same = matches!(error, Error::UnsupportedFormat { version: v, features: f, .. } if v == version && f == features);
            assert!(same, "{error}");
        }
        // Below the next id one may be left over: it is let be.
        newer.iter().for_each(|name| {
            std::fs::rename(dir.path().join(name), dir.path().join("0000000000000000.seg")).unwrap()
        });
        let kept = std::fs::read(dir.path().join("0000000000000000.seg")).unwrap();
        write(&options().open(dir.path()).unwrap(), 50);
        assert!(std::fs::read(dir.path().join("0000000000000000.seg")).unwrap() == kept);
    }
}

/// Where the log went on after a clean close, though no segment is new: in the one it was closed in, or in one made ready.
#[test]
fn p5_an_older_clean_manifest_is_damage_where_the_log_went_on_at_its_end() {
    for cut in [false, true] {
        let dir = in_memory();
        let log = options().open(dir.path()).unwrap();
        let one = log.append_durable(b"one").unwrap();
        while Inspector::open(dir.path()).unwrap().summary().segments.len() < 2 {
            std::thread::yield_now();
        }
        log.close().unwrap();
        let old = std::fs::read(dir.path().join(MANIFEST)).unwrap();
        let log = options().open(dir.path()).unwrap();
        if cut {
            log.truncate_after(one).unwrap();
        }
        log.append_durable(b"two").unwrap();
        log.close().unwrap();
        let (inspector, reader) =
            (Inspector::open(dir.path()).unwrap(), Reader::open(dir.path()).unwrap());
        put(dir.path(), MANIFEST, &old);
        remove_watermark(dir.path());
        let errors = refused(dir.path()).into_iter().chain(refused_late(&inspector, &reader));
        for error in errors {
            assert!(error.is_corrupt() && error.to_string().contains("went on"), "{error}");
        }
        let salvaged = Salvage::open(dir.path()).unwrap();
        let records = salvaged.filter(|found| matches!(found, Found::Record(_))).count();
        assert_eq!(records, 2, "a salvage goes by the headers then");
    }
}

#[test]
fn a_segment_of_another_log_is_named_by_everyone_that_looks() {
    let other = in_memory();
    let log = options().open(other.path()).unwrap();
    write(&log, 1);
    log.close().unwrap();
    let stranger = std::fs::read(other.path().join(segment(1))).unwrap();
    for id in [0, 77] {
        let dir = in_memory();
        let log = options().open(dir.path()).unwrap();
        let lsns = write(&log, 30);
        log.close().unwrap();
        let (inspector, reader) =
            (Inspector::open(dir.path()).unwrap(), Reader::open(dir.path()).unwrap());
        put(dir.path(), &segment(id), &stranger);
        let errors = refused(dir.path()).into_iter().chain(refused_late(&inspector, &reader));
        for error in errors {
            let Error::Corrupt(at) = &error else { panic!("{error}") };
            assert!(at.path.ends_with(segment(id)) && at.what.contains("another log"), "{error}");
            assert!(at.what.contains("move it out"), "{error}");
        }
        let mut salvage = Salvage::open(dir.path()).unwrap();
        let found: Vec<Found> = salvage.by_ref().collect();
        let records = found.iter().filter(|found| matches!(found, Found::Record(_))).count();
        let told =
            |found: &Found| matches!(found, Found::Gap(gap) if gap.what.contains("another log"));
        assert!(records == lsns.len() && found.iter().any(told) && salvage.report().by_manifest);
        // As it says.
        std::fs::remove_file(dir.path().join(segment(id))).unwrap();
        assert_eq!(options().open(dir.path()).unwrap().replay().count(), lsns.len());
    }
}

#[test]
fn p11_what_cannot_be_read_is_let_be_and_its_number_is_not_used() {
    let dir = in_memory();
    let log = options().spare_segments(0).open(dir.path()).unwrap();
    write(&log, 30);
    log.close().unwrap();
    let sound = read_dir(dir.path());
    let last = sound.keys().filter(|name| name.ends_with(".seg")).count() as u64;
    let named = sound[&segment(1)].clone();
    let header_lost: Vec<u8> = [vec![0; 76], named[76..].to_vec()].concat();
    let noise: Vec<u8> =
        (0..20_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let strange = [
        (segment(0), noise.clone()),
        (segment(last + 1), noise.clone()),
        (segment(last + 2), vec![7]),
        (segment(last + 4), header_lost),
        (segment(last + 5), named),
        (segment(u64::MAX), noise),
    ];
    strange.iter().for_each(|(name, bytes)| put(dir.path(), name, bytes));
    for round in 0..3 {
        let log = options().spare_segments(0).open(dir.path()).unwrap();
        // After a crash the segment that had been made ready goes.
        assert!(log.recovery().segments_removed <= u64::from(round == 2), "{round}");
        assert_eq!(log.replay().count(), 30 + 50 * round);
        write(&log, 50);
        // What leaves the log goes all the same, and the new segments are others.
        if round == 1 {
            drop(log);
        } else {
            log.close().unwrap();
        }
        assert!(Inspector::open(dir.path()).unwrap().verify().is_ok());
    }
    let now = read_dir(dir.path());
    for (name, bytes) in &strange {
        assert!(now[name] == *bytes, "{name} was touched");
    }
}

#[test]
fn p9_what_an_interrupted_creation_leaves_is_removed() {
    let dir = in_memory();
    let log = options().spare_segments(0).open(dir.path()).unwrap();
    write(&log, 3);
    log.close().unwrap();
    let before = read_dir(dir.path());
    let last = before.keys().filter(|name| name.ends_with(".seg")).count() as u64;
    put(dir.path(), &segment(last + 1), &[]);
    put(dir.path(), &segment(last + 2), &[0; 16 << 10]);
    put(dir.path(), &segment(last + 3), &[0; 100]);
    let log = options().spare_segments(0).open(dir.path()).unwrap();
    assert_eq!(log.recovery().segments_removed, 3);
    log.close().unwrap();
    assert!(read_dir(dir.path()).len() <= before.len() + 1);
}

#[test]
fn p5_open_finds_damage_in_what_it_goes_on_after() {
    for back in [0, 1, 30] {
        let dir = in_memory();
        let large = || Options::new().segment_size(1 << 20);
        let log = large().open(dir.path()).unwrap();
        let lsns = write(&log, 400);
        log.close().unwrap();
        let at = lsns[lsns.len() - 1 - back];
        flip(dir.path(), at);
        let before = read_dir(dir.path());
        let Error::Corrupt(found) = large().open(dir.path()).unwrap_err() else { panic!() };
        assert!(found.lsns.start <= at && found.lsns.end > at, "{found:?}");
        assert!(read_dir(dir.path()) == before, "something was changed");
    }
    // Without a mark, which a commit leaves, all of the segment is read.
    let dir = in_memory();
    let log = options().open(dir.path()).unwrap();
    let first = log.append(b"first").unwrap();
    log.append(&[1; 8000]).unwrap();
    log.close().unwrap();
    flip(dir.path(), first);
    assert!(options().open(dir.path()).unwrap_err().is_corrupt());
}

/// Flips a bit of the record at `lsn` of the first segment.
fn flip(dir: &Path, lsn: Lsn) {
    let mut bytes = std::fs::read(dir.join(segment(1))).unwrap();
    bytes[lsn.get() as usize + 10] ^= 1;
    put(dir, &segment(1), &bytes);
}

#[test]
fn a_ready_segment_that_is_lost_after_a_clean_close_is_made_again() {
    let lose: [(&str, Act); 4] = [
        ("removed", |path| std::fs::remove_file(path).unwrap()),
        ("zeroed", |path| std::fs::write(path, [0; 16 << 10]).unwrap()),
        ("cut", |path| std::fs::write(path, [0; 100]).unwrap()),
        ("noise", |path| std::fs::write(path, [7; 16 << 10]).unwrap()),
    ];
    for (what, lose) in lose {
        for closed in [true, false] {
            let dir = in_memory();
            let log = options().open(dir.path()).unwrap();
            let lsns = write(&log, 5);
            let ready = loop {
                let summary = Inspector::open(dir.path()).unwrap().summary().clone();
                if summary.segments.len() == 2 {
                    break summary.segments[1].file.clone();
                }
            };
            if closed {
                log.close().unwrap();
            } else {
                drop(log);
            }
            lose(&dir.path().join(&ready));
            let looked = Inspector::open(dir.path()).unwrap();
            if !closed {
                // Something may have been in it.
                assert!(options().open(dir.path()).unwrap_err().is_corrupt(), "{what}");
                assert!(looked.verify().unwrap_err().is_corrupt(), "{what}");
                continue;
            }
            assert_eq!(looked.verify().unwrap().records, 5, "{what}");
            let log = options().open(dir.path()).unwrap();
            assert_eq!(log.recovery().ready_lost, 1, "{what}");
            let found: Vec<Lsn> = log.replay().map(|record| record.unwrap().lsn()).collect();
            assert_eq!(found, lsns, "{what}");
            // In the same segment, and through others.
            assert!(log.append(b"on").unwrap().get() < 16 << 10);
            write(&log, 50);
            log.close().unwrap();
            let log = options().open(dir.path()).unwrap();
            assert_eq!((log.recovery().ready_lost, log.replay().count()), (0, 56), "{what}");
        }
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| {
            if sum & 1 == 1 { sum >> 1 ^ 0x82F6_3B78 } else { sum >> 1 }
        })
    })
}

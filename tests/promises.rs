//! The promises P1 to P12, each by a test that names it. Power cuts are simulated elsewhere; here P1 and P2
//! are shown by crashes of the process (a drop without close, and real kills in `cli/tests/kill.rs`).

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use duralog::{Error, Log, Lsn, Options, Record, SyncMethod, SyncPolicy, Tail, WriteMethod};

fn small() -> Options {
    Options::new().segment_size(65536)
}

fn payloads(log: &Log) -> Vec<Vec<u8>> {
    log.replay().map(|record| record.unwrap().payload().to_vec()).collect()
}

fn segment_files(dir: &Path) -> Vec<String> {
    let names =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| name.ends_with(".seg")).collect();
    names.sort();
    names
}

#[test]
fn p1_committed_is_durable_after_each_way_to_commit() {
    for method in [SyncMethod::Fdatasync, SyncMethod::Msync] {
        for write in [WriteMethod::Mmap, WriteMethod::Pwrite, WriteMethod::Auto] {
            let dir = tempfile::tempdir().unwrap();
            let log = small().sync_method(method).write_method(write).open(dir.path()).unwrap();
            let a = log.append(b"a").unwrap();
            assert!(log.durable() <= a);
            log.commit_to(a).unwrap();
            assert!(log.durable() > a);
            let b = log.append_durable(b"b").unwrap();
            assert!(log.durable() > b);
            log.append(b"c").unwrap();
            assert_eq!(log.commit().unwrap(), log.end());
            assert!(log.stats().syncs >= 3);
            drop(log);
            let log = small().open(dir.path()).unwrap();
            assert_eq!(payloads(&log), [b"a", b"b", b"c"]);
        }
    }
}

#[test]
fn p1_a_commit_covers_a_roll() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    let first = log.append(&[1; 60_000]).unwrap();
    let second = log.append(&[2; 60_000]).unwrap();
    log.commit_to(second).unwrap();
    assert!(log.durable() > second && second > first);
}

#[test]
fn p1_threads_share_syncs_and_none_returns_early() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            let log = &log;
            scope.spawn(move || {
                for _ in 0..50 {
                    let lsn = log.append_durable(&[thread; 100]).unwrap();
                    assert!(log.durable() > lsn);
                }
            });
        }
    });
    let stats = log.stats();
    assert_eq!(stats.appends, 400);
    assert!(stats.records_per_sync >= 1.0);
}

#[test]
fn p2_what_comes_back_is_what_was_appended_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut all: Vec<Vec<u8>> = Vec::new();
    for life in 0..5u8 {
        let log = small().open(dir.path()).unwrap();
        assert_eq!(payloads(&log), all, "life {life}");
        for n in 0..300usize {
            let record = vec![life ^ n as u8; n * 7 % 900];
            log.append(&record).unwrap();
            all.push(record);
        }
        log.commit().unwrap();
        if life % 2 == 0 {
            log.close().unwrap();
        }
    }
}

#[test]
fn p2_no_lsn_names_two_records() {
    let dir = tempfile::tempdir().unwrap();
    let mut highest = Lsn::MIN;
    for _ in 0..10 {
        let log = small().open(dir.path()).unwrap();
        for _ in 0..3 {
            let lsn = log.append(b"x").unwrap();
            assert!(lsn > highest);
            highest = lsn;
        }
        let keep = log.append(b"keep").unwrap();
        let cut = log.append(b"cut").unwrap();
        log.truncate_after(keep).unwrap();
        highest = cut;
    }
}

#[test]
fn p3_a_batch_is_all_or_nothing_wherever_it_is_torn() {
    for cut_at in [8, 40, 60, 100] {
        let dir = tempfile::tempdir().unwrap();
        let log = small().open(dir.path()).unwrap();
        log.append(b"before").unwrap();
        let lsns = log.append_batch(&[[1u8; 20], [2; 20], [3; 20]]).unwrap();
        assert_eq!(lsns.len(), 3);
        drop(log);
        // As if the pages behind had not reached the disk.
        let path = dir.path().join(&segment_files(dir.path())[0]);
        let mut bytes = std::fs::read(&path).unwrap();
        let from = usize::try_from(lsns[0].get()).unwrap() + cut_at;
        bytes[from..].fill(0);
        std::fs::write(&path, bytes).unwrap();
        let log = small().open(dir.path()).unwrap();
        let whole = cut_at >= 92;
        assert_eq!(payloads(&log).len(), if whole { 4 } else { 1 }, "cut at {cut_at}");
        if !whole {
            assert_eq!(log.recovery().tail, Tail::Torn { at: lsns[0] });
        }
    }
}

#[test]
fn p4_appended_survives_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    for n in 0..2000u32 {
        log.append(&n.to_le_bytes()).unwrap();
    }
    drop(log); // no sync, no close
    let log = small().open(dir.path()).unwrap();
    assert_eq!(log.replay().count(), 2000);
    assert_eq!(log.recovery().records, 2000);
    assert!(matches!(log.recovery().tail, Tail::Unclean { .. }));
    assert_eq!(log.durable(), log.end());
}

#[test]
fn p5_damage_before_a_mark_is_an_error_that_says_where() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    // Only the marks vouch: the last manifest was written when nothing had been appended, and the watermark
    // is taken away.
    while log.stats().segments_ready == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let first = log.append_durable(b"first record").unwrap();
    log.append_durable(b"second record").unwrap();
    log.append_durable(b"third record").unwrap();
    drop(log);
    // Not on every file system is there one.
    drop(std::fs::remove_file(dir.path().join("WATERMARK")));
    let name = segment_files(dir.path())[0].clone();
    let path = dir.path().join(&name);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[usize::try_from(first.get()).unwrap() + 9] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    match small().open(dir.path()).unwrap_err() {
        Error::Corrupt(damage) => {
            assert_eq!((damage.path, damage.offset), (path.clone(), first.get()));
            assert_eq!(damage.segment, Some(1));
            assert!(damage.lsns.start == first && damage.lsns.end > first);
        }
        other => panic!("{other}"),
    }
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "nothing was written over the evidence");
}

#[test]
fn p5_a_torn_tail_is_cut_and_reported() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    log.append_durable(b"committed").unwrap();
    let torn = log.append(b"not committed").unwrap();
    drop(log);
    let path = dir.path().join(&segment_files(dir.path())[0]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[usize::try_from(torn.get()).unwrap() + 9] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let log = small().open(dir.path()).unwrap();
    assert_eq!(payloads(&log), [b"committed"]);
    assert!(matches!(log.recovery().tail, Tail::Torn { at } if at <= torn));
}

#[test]
fn p7_options_out_of_range_and_records_too_large_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    for (options, name) in [
        (Options::new().segment_size(4096), "segment_size"),
        (Options::new().segment_size(65537), "segment_size"),
        (Options::new().spare_segments(65), "spare_segments"),
        (small().max_record_size(65536), "max_record_size"),
        (small().sync_policy(SyncPolicy::Bytes(0)), "sync_policy"),
        (small().sync_policy(SyncPolicy::Interval(Duration::ZERO)), "sync_policy"),
    ] {
        let error = options.open(dir.path()).unwrap_err();
        assert!(
            matches!(&error, Error::InvalidOption { option, .. } if *option == name),
            "{error}"
        );
        assert!(error.to_string().contains(name));
    }
    let log = small().open(dir.path()).unwrap();
    let max = 65536 - 4096 - 64;
    assert!(log.append(&vec![0; max]).is_ok());
    assert!(matches!(log.append(&vec![0; max + 1]), Err(Error::RecordTooLarge { .. })));
    assert!(matches!(
        log.append_batch(&[vec![0; max], vec![0; 8]]),
        Err(Error::BatchTooLarge { .. })
    ));
    assert_eq!(log.replay().count(), 1);
}

#[test]
fn p8_a_second_writer_is_locked_out_and_readers_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    log.append(b"one").unwrap();
    assert!(small().open(dir.path()).unwrap_err().is_locked());
    let inspector = duralog::inspect::Inspector::open(dir.path()).unwrap();
    assert_eq!(inspector.records().count(), 1);
    log.close().unwrap();
    small().open(dir.path()).unwrap();
}

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

#[test]
fn p12_files_are_private_and_links_are_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let log = small().open(&path).unwrap();
    log.append_durable(b"secret").unwrap();
    log.close().unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o700);
    for entry in std::fs::read_dir(&path).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().mode() & 0o777, 0o600);
    }
    let segment = path.join(&segment_files(&path)[0]);
    let elsewhere = dir.path().join("elsewhere");
    std::fs::rename(&segment, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &segment).unwrap();
    assert!(small().open(&path).unwrap_err().is_corrupt());
}

#[test]
fn bad_positions_are_errors_that_say_what_and_where() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    let a = log.append(&[1; 100]).unwrap();
    let batch = log.append_batch(&["x", "y"]).unwrap();
    let inside = Lsn::new(a.get() + 8);
    assert!(matches!(log.read(inside), Err(Error::NotARecord { .. })));
    assert!(matches!(log.read(Lsn::new(a.get() + 3)), Err(Error::NotARecord { .. })));
    assert!(matches!(log.read(Lsn::MIN), Err(Error::OutOfRange { .. })));
    assert!(matches!(log.read(log.end()), Err(Error::OutOfRange { .. })));
    assert!(matches!(log.truncate_after(inside), Err(Error::NotARecord { .. })));
    assert!(matches!(log.truncate_after(batch[0]), Err(Error::InsideBatch { .. })));
    assert!(matches!(log.commit_to(log.end()), Err(Error::OutOfRange { .. })));
    assert!(matches!(log.checkpoint(log.end()), Err(Error::NotDurable { .. })));
    assert!(matches!(
        log.replay_from(Lsn::new(log.end().get() + 1)),
        Err(Error::OutOfRange { .. })
    ));
    assert_eq!(log.replay_from(inside).unwrap().next().unwrap().unwrap().lsn(), batch[0]);
    assert_eq!(log.replay_range(a..batch[0]).unwrap().count(), 1);
    log.commit().unwrap();
    log.truncate_after(a).unwrap();
    assert!(matches!(log.commit_to(batch[1]), Err(Error::Gone { .. })));
    assert!(matches!(log.read(batch[1]), Err(Error::Gone { .. })));
    log.close().unwrap();
    log.close().unwrap();
    assert!(matches!(log.append(b"x"), Err(Error::Closed)));
    assert!(matches!(log.replay().next(), Some(Err(Error::Closed))));
}

#[test]
fn a_directory_of_something_else_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("diary.txt"), "dear diary").unwrap();
    assert!(matches!(small().open(dir.path()), Err(Error::NotALog { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    let missing = dir.path().join("missing");
    assert!(matches!(small().create(false).open(&missing), Err(Error::NoLog { .. })));
    assert!(!missing.exists());
}

#[test]
fn background_policies_make_records_durable_without_a_commit() {
    for policy in [SyncPolicy::Interval(Duration::from_millis(5)), SyncPolicy::Bytes(10_000)] {
        let dir = tempfile::tempdir().unwrap();
        let log = small().sync_policy(policy).open(dir.path()).unwrap();
        let lsn = log.append(&[1; 20_000]).unwrap();
        for _ in 0..12_000 {
            if log.durable() > lsn {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(log.durable() > lsn, "{policy:?}");
    }
}

#[test]
fn readers_run_beside_appends_rolls_and_checkpoints() {
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (log, done) = (&log, &done);
        for _ in 0..2 {
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let mut last: Option<u32> = None;
                    for record in log.replay() {
                        let record = match record {
                            Err(Error::Gone { .. }) => break,
                            record => record.unwrap(),
                        };
                        let n = u32::from_le_bytes(record.payload()[..4].try_into().unwrap());
                        assert!(last.is_none_or(|last| last + 1 == n));
                        assert!(record.payload()[4..].iter().all(|byte| *byte == n as u8));
                        last = Some(n);
                    }
                }
            });
        }
        for n in 0..5000u32 {
            let mut payload = n.to_le_bytes().to_vec();
            payload.resize(4 + n as usize % 500, n as u8);
            log.append(&payload).unwrap();
            if n % 700 == 699 {
                log.checkpoint(log.commit().unwrap()).unwrap();
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// What waits behind a close must not change the log after it: the lock is released, and it is another's.
#[test]
fn p8_nothing_is_written_after_a_close() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..60 {
        let log = small().open(dir.path()).unwrap();
        assert_eq!(log.recovery().tail, Tail::Clean, "round {round}");
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    loop {
                        let done = log
                            .append_durable(b"x")
                            .and_then(|lsn| log.checkpoint(lsn).map(|_| lsn))
                            .and_then(|lsn| log.truncate_after(lsn));
                        match done {
                            Err(Error::Closed) => return,
                            Ok(()) | Err(Error::Gone { .. } | Error::OutOfRange { .. }) => {}
                            Err(error) => panic!("{error}"),
                        }
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(1 + round % 5));
            log.close().unwrap();
        });
    }
}

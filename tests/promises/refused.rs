//! P5, P7, P8, P12: what is damaged, too large, locked or not ours is an error that says so.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use duralog::{Error, Lsn, Options, SyncPolicy, Tail};

use crate::{payloads, segment_files, small};

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
    log.commit_to(batch[1]).unwrap(); // it was durable when it was cut away
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

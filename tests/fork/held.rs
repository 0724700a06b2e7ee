//! What a child lets go of, and what it may open itself.

use std::path::Path;

use duralog::{Error, Log};

use crate::calls::numbers;
use crate::{By, Report, alone, fork, small};

/// Every file, and what is in it but the evidence of syncs.
fn contents(dir: &Path) -> Vec<(std::ffi::OsString, Vec<u8>)> {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let mut files: Vec<_> =
        files.map(|file| (file.file_name(), std::fs::read(file.path()).unwrap())).collect();
    files.sort();
    files
}

fn until_idle(log: &Log) {
    while log.stats().segments_ready == 0 {
        std::thread::yield_now();
    }
}

#[test]
fn p8_drop_and_close_in_a_child_change_nothing_and_unlock_nothing() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut log = Some(small().open(dir.path()).unwrap());
    log.as_ref().unwrap().append_durable(&0_u32.to_le_bytes()).unwrap();
    // Not synced: a close would.
    log.as_ref().unwrap().append(&1_u32.to_le_bytes()).unwrap();
    let mut consumer = Some(log.as_ref().unwrap().consumer("one").unwrap());
    let mut follower = Some(log.as_ref().unwrap().follow(duralog::Lsn::MIN).unwrap());
    until_idle(log.as_ref().unwrap());
    let before = contents(dir.path());
    let child = fork(By::Fork, |_| {
        let mut report = Report::default();
        let log = log.take().unwrap();
        report.refused("close", log.close());
        drop((consumer.take(), log, follower.take()));
        report.end()
    });
    child.done();
    assert_eq!(contents(dir.path()), before);
    let again = small().open(dir.path()).unwrap_err();
    assert!(again.is_locked(), "{again}");
    let log = log.unwrap();
    log.append_durable(&2_u32.to_le_bytes()).unwrap();
    assert_eq!(numbers(&log), [0, 1, 2]);
    log.close().unwrap();
    assert_eq!(numbers(&small().open(dir.path()).unwrap()), [0, 1, 2]);
}

#[test]
fn p8_a_child_opens_the_log_once_its_parent_has_closed_it_and_another_at_once() {
    let _alone = alone();
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = small().open(dir.path()).unwrap();
    log.append_durable(&0_u32.to_le_bytes()).unwrap();
    let mut child = fork(By::Fork, |parent| {
        let mut report = Report::default();
        let locked = small().open(dir.path());
        report.check(matches!(locked, Err(Error::Locked { .. })), "the parent's is open");
        let another = small().open(other.path()).unwrap();
        another.append_durable(&7_u32.to_le_bytes()).unwrap();
        report.refused("the parent's", log.append(b"x"));
        parent.tell();
        parent.wait();
        let own = small().open(dir.path()).unwrap();
        own.append_durable(&1_u32.to_le_bytes()).unwrap();
        report.check(numbers(&own) == [0, 1], "records");
        report.refused("the parent's, next to its own", log.append(b"x"));
        // And the child of the child has neither.
        let grandchild = fork(By::Fork, |_| {
            let mut report = Report::default();
            report.refused("the grandparent's", log.append(b"x"));
            report.refused("the parent's own", own.append(b"x"));
            report.refused("another", another.commit());
            let third = small().open(dir.path());
            report.check(matches!(third, Err(Error::Locked { .. })), "locked");
            report.end()
        });
        report.check(grandchild.report().is_empty(), "grandchild");
        another.close().unwrap();
        own.close().unwrap();
        report.end()
    });
    child.wait();
    log.close().unwrap();
    child.tell();
    child.done();
    assert!(matches!(log.append(b"x"), Err(Error::Closed)));
    assert_eq!(numbers(&small().open(dir.path()).unwrap()), [0, 1]);
    assert_eq!(numbers(&small().open(other.path()).unwrap()), [7]);
}

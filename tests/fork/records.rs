//! Records that a child inherited.

use duralog::{Log, Reader, Record};

use crate::{By, Report, alone, fork, small};

fn payload(n: u32) -> Vec<u8> {
    let mut payload = vec![u8::try_from(n % 251).unwrap(); 1000];
    payload[..4].copy_from_slice(&n.to_le_bytes());
    payload
}

fn is_whole(record: &Record) -> bool {
    let n = u32::from_le_bytes(record.payload()[..4].try_into().unwrap());
    record.payload() == payload(n)
}

fn append(log: &Log, from: u32, count: u32) {
    (from..from + count).for_each(|n| assert!(log.append(&payload(n)).is_ok()));
    log.commit().unwrap();
}

#[test]
fn p10_records_stay_readable_in_a_child_whatever_the_parent_does_to_their_files() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut log = Some(small().spare_segments(8).open(dir.path()).unwrap());
    append(log.as_ref().unwrap(), 0, 200);
    let mut records: Vec<Record> =
        log.as_ref().unwrap().replay().collect::<Result<_, _>>().unwrap();
    let mut child = fork(By::Fork, |parent| {
        let mut report = Report::default();
        drop(log.take());
        report.check(records.iter().all(is_whole), "after the log was dropped");
        parent.tell();
        parent.wait();
        report.check(records.iter().all(is_whole), "after the parent let go of them");
        let copies = records.clone();
        records.clear();
        report.check(copies.iter().all(is_whole), "copies");
        drop(copies);
        report.end()
    });
    child.wait();
    records.clear();
    let log = log.unwrap();
    log.checkpoint(log.durable()).unwrap();
    // What is recycled holds other records now.
    append(&log, 1000, 600);
    log.checkpoint(log.durable()).unwrap();
    append(&log, 2000, 600);
    child.tell();
    child.done();
}

/// But files that were mapped at no fork are recycled as ever.
#[test]
fn a_fork_keeps_no_later_file_from_being_recycled() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log = small().spare_segments(8).open(dir.path()).unwrap();
    append(&log, 0, 200);
    fork(By::Fork, |_| String::new()).done();
    // Others of this program fork too.
    let recycled = (1..500).any(|round| {
        append(&log, round * 1000, 200);
        log.checkpoint(log.durable()).unwrap();
        log.stats().segments_spare > 0
    });
    assert!(recycled, "{:?}", log.stats());
}

#[test]
fn a_reader_goes_on_in_a_child() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    append(&log, 0, 10);
    let reader = Reader::open(dir.path()).unwrap();
    let mut follower = reader.follow(reader.head().unwrap()).unwrap();
    for _ in 0..5 {
        assert!(follower.try_next().unwrap().is_some());
    }
    let mut child = fork(By::Fork, |parent| {
        let mut report = Report::default();
        parent.wait();
        report.check(reader.replay().unwrap().count() == 20, "replay");
        let rest = std::iter::from_fn(|| follower.try_next().unwrap());
        report.check(rest.count() == 15, "follower");
        report.end()
    });
    append(&log, 10, 10);
    child.tell();
    child.done();
    let rest = std::iter::from_fn(|| follower.try_next().unwrap());
    assert_eq!(rest.count(), 15, "each has a position of its own");
}

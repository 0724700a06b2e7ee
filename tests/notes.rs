//! What the log keeps beside the records: consumers, metadata, how far it is archived; and who holds what.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use duralog::{Error, Holder, Log, Lsn, Options};

const SIZE: u64 = 16 << 10;

fn open(dir: &Path) -> Log {
    Options::new().segment_size(SIZE).spare_segments(1).open(dir).unwrap()
}

/// Appends a segment's worth of records, durably; the LSN of the last.
fn fill(log: &Log) -> Lsn {
    let lsns = log.append_batch(&[[7u8; 5000], [8; 5000]]).unwrap();
    log.roll().unwrap();
    log.commit().unwrap();
    lsns[1]
}

/// Waits for the background: a hang is a failure.
fn until(is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "it never came about");
        std::thread::yield_now();
    }
}

/// The background has sealed all that is full.
fn settled(log: &Log, sealed: u64) {
    until(|| log.stats().segments_sealed >= sealed);
}

fn holders(log: &Log) -> Vec<Holder> {
    log.blockers().unwrap().into_iter().map(|blocker| blocker.holder).collect()
}

#[test]
fn p1_a_committed_position_is_there_after_a_crash_a_close_and_the_recycling_of_its_segment() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let mut lsns: Vec<Lsn> = (0..3).map(|_| fill(&log)).collect();
    log.set_metadata(b"term 1").unwrap();
    let mailer = log.consumer("mailer").unwrap();
    let lsn = mailer.ack(lsns[0]).unwrap();
    log.commit_to(lsn).unwrap();
    let position = mailer.position().unwrap();
    assert!(lsns[0] < position && position < lsns[1]);
    drop(log); // a crash
    let log = open(dir.path());
    let mailer = log.consumer("mailer").unwrap();
    assert_eq!(
        (mailer.position().unwrap(), &log.metadata().unwrap()[..]),
        (position, &b"term 1"[..])
    );
    // Where the notes lie goes, and is put to another use.
    lsns.extend((0..4).map(|_| fill(&log)));
    log.checkpoint(log.durable()).unwrap();
    lsns.extend((0..4).map(|_| fill(&log)));
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.consumers().unwrap()[0].position, position);
    log.close().unwrap();
    let log = open(dir.path());
    assert_eq!(
        (log.consumers().unwrap()[0].position, &log.metadata().unwrap()[..]),
        (position, &b"term 1"[..])
    );
    // A checkpoint went past it, and it says so by being below the head.
    assert!(position < log.head());
    let mailer = log.consumer("mailer").unwrap();
    mailer.ack(lsns[9]).unwrap();
    assert_eq!(log.replay_from(mailer.position().unwrap()).unwrap().count(), 2);
}

#[test]
fn notes_are_no_records_and_stand_in_the_way_of_none() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let first = log.append(b"first").unwrap();
    log.set_metadata(&[1; 4096]).unwrap();
    let mailer = log.consumer("mailer").unwrap();
    let last = log.append(b"last").unwrap();
    log.commit().unwrap();
    let note = mailer.ack(first).unwrap();
    assert_eq!(log.replay().count(), 2);
    assert_eq!(log.replay_from(mailer.position().unwrap()).unwrap().count(), 1);
    assert_eq!(log.stats().appends, 2);
    assert!(matches!(log.read(note), Err(Error::NotARecord { .. })));
    assert!(matches!(mailer.ack(note), Err(Error::NotDurable { .. })));
    log.commit().unwrap();
    assert!(matches!(mailer.ack(note), Err(Error::NotARecord { .. })));
    // Cut away are records, not what was noted behind them.
    log.truncate_after(first).unwrap();
    assert_eq!(
        (log.metadata().unwrap().len(), mailer.position().unwrap()),
        (4096, mailer.position().unwrap())
    );
    assert!(matches!(mailer.ack(last), Err(Error::Gone { .. })));
    drop(log);
    let log = open(dir.path());
    assert_eq!(
        (log.metadata().unwrap().len(), log.consumers().unwrap().len(), log.replay().count()),
        (4096, 1, 1)
    );
}

#[test]
fn a_position_goes_forward_with_acks_and_anywhere_with_a_seek() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let lsns = log.append_batch(&["a", "b", "c"]).unwrap();
    let mailer = log.consumer("mailer").unwrap();
    assert!(matches!(mailer.ack(lsns[0]), Err(Error::NotDurable { .. })));
    assert!(matches!(mailer.seek(log.end()), Err(Error::NotDurable { .. })));
    log.commit().unwrap();
    let left = || log.replay_from(mailer.position().unwrap()).unwrap().count();
    mailer.ack(lsns[1]).unwrap();
    assert_eq!(left(), 1);
    mailer.ack(lsns[0]).unwrap();
    assert_eq!(left(), 1, "an earlier one changes nothing");
    mailer.seek(lsns[0]).unwrap();
    assert_eq!(left(), 3);
    log.checkpoint(log.commit().unwrap()).unwrap();
    assert!(matches!(mailer.seek(lsns[2]), Err(Error::OutOfRange { .. })));
    assert!(matches!(log.replay_from(lsns[2]).map(drop), Err(Error::OutOfRange { .. })));
    mailer.seek(log.checkpoint_lsn()).unwrap();
    assert_eq!(left(), 0, "where the checkpoint is can be read from");
    mailer.remove().unwrap();
    let seek = mailer.seek(log.checkpoint_lsn());
    for refused in [mailer.ack(lsns[0]), seek, mailer.remove(), mailer.position()] {
        assert!(matches!(refused, Err(Error::InvalidConsumer { .. })));
    }
    assert!(log.consumers().unwrap().is_empty());
    log.close().unwrap();
    assert!(matches!(log.set_metadata(b""), Err(Error::Closed)));
    assert!(matches!(log.consumer("mailer"), Err(Error::Closed)));
}

#[test]
fn p9_what_a_log_keeps_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    assert!(matches!(log.set_metadata(&[0; 4097]), Err(Error::MetadataTooLarge { len: 4097 })));
    for name in [String::new(), "n".repeat(256)] {
        assert!(matches!(log.consumer(&name), Err(Error::InvalidConsumer { .. })));
    }
    for n in 0..1024 {
        log.consumer(&format!("{n}{}", "n".repeat(250))).unwrap();
    }
    assert!(matches!(log.consumer("one more"), Err(Error::InvalidConsumer { .. })));
    log.close().unwrap();
    assert_eq!(open(dir.path()).consumers().unwrap().len(), 1024);
}

#[test]
fn p10_a_checkpoint_to_the_slowest_leaves_what_a_consumer_needs() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let lsns: Vec<Lsn> = (0..6).map(|_| fill(&log)).collect();
    assert_eq!(log.checkpoint_to_slowest().unwrap().segments, 0, "no one to go by");
    let (fast, slow) = (log.consumer("fast").unwrap(), log.consumer("slow").unwrap());
    log.commit().unwrap();
    fast.ack(lsns[5]).unwrap();
    slow.ack(lsns[1]).unwrap();
    // A crash could still take the acks back.
    assert_eq!(log.checkpoint_to_slowest().unwrap().segments, 0);
    log.commit().unwrap();
    assert_eq!(log.checkpoint_to_slowest().unwrap().segments, 2);
    assert_eq!(log.checkpoint_lsn(), slow.position().unwrap());
    drop(log);
    let log = open(dir.path());
    let slow = log.consumer("slow").unwrap();
    assert_eq!(log.replay_from(slow.position().unwrap()).unwrap().count(), 8);
    // One who has just come is not passed over, though a crash would forget it.
    slow.ack(lsns[5]).unwrap();
    log.commit().unwrap();
    log.consumer("new").unwrap();
    log.checkpoint_to_slowest().unwrap();
    assert_eq!(log.checkpoint_lsn(), log.head());
}

#[test]
fn p10_nothing_that_has_not_been_archived_is_given_back_and_it_goes_once_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    log.archived_up_to(Lsn::MIN).unwrap();
    let lsns: Vec<Lsn> = (0..4).map(|_| fill(&log)).collect();
    settled(&log, 4);
    assert_eq!(log.checkpoint(log.durable()).unwrap().segments, 0);
    drop(log);
    let log = open(dir.path());
    assert_eq!((log.replay().count(), log.archived().unwrap()), (8, Some(Lsn::MIN)));
    assert!(matches!(log.archived_up_to(Lsn::new(1 << 40)), Err(Error::NotDurable { .. })));
    log.archived_up_to(lsns[2]).unwrap();
    log.archived_up_to(lsns[0]).unwrap(); // changes nothing
    assert_eq!(log.archived().unwrap(), Some(lsns[2]));
    // By itself, the checkpoint having passed long ago.
    until(|| log.head() >= lsns[1]);
    assert_eq!(log.replay().count(), 4);
    log.stop_archiving().unwrap();
    until(|| log.head() >= lsns[3]);
    assert_eq!(log.replay().count(), 0);
}

#[test]
fn who_holds_the_oldest_segment_is_named_with_what_it_holds() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    assert_eq!(log.blockers().unwrap(), []);
    let lsns: Vec<Lsn> = (0..4).map(|_| fill(&log)).collect();
    assert_eq!(holders(&log), [Holder::Checkpoint]);
    let mailer = log.consumer("mailer").unwrap();
    log.consumer("ahead").unwrap().ack(lsns[0]).unwrap();
    log.archived_up_to(log.head()).unwrap();
    let all = [Holder::Checkpoint, Holder::Consumer("mailer".into()), Holder::Archive];
    assert_eq!(holders(&log), all);
    let bytes: Vec<u64> = log.blockers().unwrap().iter().map(|blocker| blocker.bytes).collect();
    assert_eq!(bytes, [4 * SIZE; 3]);
    let held = log.read(lsns[0]).unwrap();
    log.archived_up_to(log.durable()).unwrap();
    log.checkpoint(lsns[2]).unwrap();
    let blockers = log.blockers().unwrap();
    let reader = &blockers[0];
    assert_eq!((&reader.holder, reader.bytes), (&Holder::Reader, SIZE));
    assert_eq!(reader.position, held_start(held.lsn()));
    assert_eq!(
        holders(&log)[1..],
        [Holder::Checkpoint, Holder::Consumer("ahead".into()), Holder::Consumer("mailer".into())]
    );
    drop(held);
    let done = log.durable();
    mailer.seek(done).unwrap();
    log.consumer("ahead").unwrap().remove().unwrap();
    // A crash would take it back.
    assert_eq!(holders(&log).len(), 3);
    log.commit().unwrap();
    assert_eq!(holders(&log), [Holder::Checkpoint]);
    log.checkpoint(done).unwrap();
    assert_eq!(log.blockers().unwrap(), []);
}

/// The first position of the segment in which this one lies: the first of all.
fn held_start(lsn: Lsn) -> Lsn {
    assert!(lsn.get() < SIZE);
    Lsn::new(4096)
}

#[test]
fn acks_of_many_threads_end_at_the_furthest() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let lsns: Vec<Lsn> = (0..400u32).map(|n| log.append(&n.to_le_bytes()).unwrap()).collect();
    log.commit().unwrap();
    let mailer = log.consumer("mailer").unwrap();
    std::thread::scope(|scope| {
        for part in lsns.chunks(100) {
            let mailer = mailer.clone();
            scope.spawn(move || {
                for lsn in part {
                    mailer.ack(*lsn).unwrap();
                }
            });
        }
    });
    assert_eq!(log.replay_range(mailer.position().unwrap()..).unwrap().count(), 0);
    drop(log);
    let log = open(dir.path());
    assert_eq!(log.replay_from(log.consumers().unwrap()[0].position).unwrap().count(), 0);
}

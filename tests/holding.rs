//! Who holds the log: what any crash may give back stays, and whoever holds it can let go, also where it is full.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use duralog::sim::SimDisk;
use duralog::{Error, Log, Lsn, Options, WhenFull};

const SIZE: u64 = 16 << 10;

/// A crash that leaves the first of two notes that are not durable gives the lower position back.
#[test]
fn p10_a_checkpoint_to_the_slowest_leaves_what_any_crash_may_give_back() {
    let disk = SimDisk::new(1);
    let open = |disk: &SimDisk| Options::new().segment_size(SIZE).open_on(disk).unwrap();
    let log = open(&disk);
    let start = log.head();
    let lsns = [1, 2].map(|n| {
        let lsn = log.append_durable(&[n]).unwrap();
        log.roll().unwrap();
        log.step().unwrap();
        lsn
    });
    let consumer = log.consumer("a").unwrap();
    consumer.ack(lsns[0]).unwrap();
    log.commit().unwrap();
    consumer.seek(start).unwrap();
    consumer.ack(lsns[1]).unwrap();
    log.checkpoint_to_slowest().unwrap();
    disk.crash_each(200, |disk| {
        let log = open(&disk);
        let position = log.consumers().unwrap()[0].position;
        log.replay_from(position).unwrap();
    });
}

/// The limit counts those that there are, not those that came and went before the manifest was written.
#[test]
fn p1_recovery_keeps_all_the_consumers_that_a_log_may_have() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Options::new().segment_size(1 << 20).open(dir.path()).unwrap();
    let log = open();
    (0..1023).for_each(|n| drop(log.consumer(&format!("{n}")).unwrap()));
    log.close().unwrap();
    drop(log);
    let log = open();
    log.consumer("0").unwrap().remove().unwrap();
    let passing = log.consumer("passing").unwrap();
    log.consumer("0").unwrap();
    passing.remove().unwrap();
    log.consumer("last").unwrap();
    log.commit().unwrap();
    // A manifest takes them in, and leaves the segment open.
    log.checkpoint(Lsn::new(5000)).unwrap();
    drop(log);
    assert_eq!(open().consumers().unwrap().len(), 1024);
}

/// By a note who holds the log lets go of it, so there is room for that also where there is none for anything else.
#[test]
fn p7_who_holds_a_full_log_can_let_go() {
    for when in [WhenFull::Refuse, WhenFull::DropOldest] {
        let dir = tempfile::tempdir().unwrap();
        let open = || {
            let options = Options::new().segment_size(16 << 10).max_bytes(48 << 10, when);
            options.open(dir.path()).unwrap()
        };
        let log = open();
        log.archived_up_to(Lsn::MIN).unwrap();
        let mailer = log.consumer("mailer").unwrap();
        let mut last = Lsn::MIN;
        let full = loop {
            match log.append(b"") {
                Ok(lsn) => last = lsn,
                Err(error) => break error,
            }
        };
        assert!(matches!(full, Error::Full { .. }), "{full}");
        log.commit().unwrap();
        assert_eq!(log.checkpoint_to_slowest().unwrap().segments, 0);
        log.commit_to(mailer.ack(last).unwrap()).unwrap();
        log.set_metadata(b"full").unwrap();
        log.archived_up_to(log.durable()).unwrap();
        drop(log);
        let log = open();
        assert_eq!(
            (log.metadata().unwrap(), log.consumers().unwrap()[0].position > last),
            (b"full".to_vec(), true)
        );
        log.checkpoint_to_slowest().unwrap();
        assert_eq!(log.replay().count(), 0);
        log.append(b"room again").unwrap();
        mailer_is_gone(&log);
    }
}

fn mailer_is_gone(log: &Log) {
    log.consumer("mailer").unwrap().remove().unwrap();
    log.commit().unwrap();
    assert!(log.consumers().unwrap().is_empty());
}

#[test]
fn p7_on_a_full_disk_what_was_archived_goes_by_itself() {
    for small in [8, 400] {
        let disk = SimDisk::new(1);
        let options = Options::new().segment_size(16 << 10).spare_segments(0);
        let log = options.open_on(&disk).unwrap();
        log.archived_up_to(Lsn::MIN).unwrap();
        for _ in 0..4 {
            log.append_durable(&[1; 1000]).unwrap();
            log.roll().unwrap();
            log.step().unwrap();
        }
        disk.set_capacity(Some(disk.used()));
        while log.append(&vec![1; small]).is_ok() {}
        log.commit().unwrap();
        log.checkpoint(log.durable()).unwrap();
        let head = log.head();
        log.archived_up_to(log.durable()).unwrap();
        drop(log.step()); // meets the full disk, and goes on
        assert!(log.head() > head);
        log.append(&vec![1; small]).unwrap();
    }
}

/// Beside checkpoints to the slowest, and beside retention: who comes, or goes back, stands on what is there.
#[test]
fn p10_where_a_consumer_comes_to_stand_can_be_read_from() {
    for retains in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let options = Options::new().segment_size(SIZE);
        let options = if retains { options.retain_bytes(0) } else { options };
        let log = options.open(dir.path()).unwrap();
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let base = log.consumer("base").unwrap();
                while !stop.load(Ordering::Relaxed) {
                    let lsn = log.append_durable(b"x").unwrap();
                    log.roll().unwrap();
                    log.commit_to(base.ack(lsn).unwrap()).unwrap();
                    if !retains {
                        log.checkpoint_to_slowest().unwrap();
                    }
                }
            });
            let stopping = StopOnDrop(&stop);
            for n in 0..200 {
                let new = log.consumer(&format!("{n}")).unwrap();
                let position = new.position().unwrap();
                log.commit().unwrap();
                std::thread::sleep(Duration::from_millis(1));
                log.replay_from(position).unwrap();
                // And back to what there still is.
                let head = log.head();
                new.seek(log.durable()).unwrap();
                log.commit().unwrap();
                if new.seek(head).is_ok() {
                    std::thread::sleep(Duration::from_millis(1));
                    log.replay_from(head).unwrap();
                }
                new.remove().unwrap();
                log.commit().unwrap();
            }
            drop(stopping);
        });
    }
}

struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Else it holds the log for ever, at a position that names nothing.
#[test]
fn p10_a_reset_takes_the_consumers_along() {
    for anew in
        [|log: &Log| log.truncate_all(), |log: &Log| log.reset_to(Lsn::new(1 << 40)).map(drop)]
    {
        let disk = SimDisk::new(1);
        let open = |disk: &SimDisk| Options::new().segment_size(SIZE).open_on(disk).unwrap();
        let log = open(&disk);
        let (slow, fast) = (log.consumer("slow").unwrap(), log.consumer("fast").unwrap());
        let first = log.append(&[1; 9000]).unwrap();
        let last = log.append_durable(&[2; 9000]).unwrap();
        slow.ack(first).unwrap();
        fast.ack(last).unwrap();
        anew(&log).unwrap();
        let start = log.head();
        let all_stand_there =
            |log: &Log| log.consumers().unwrap().iter().all(|consumer| consumer.position == start);
        assert!(all_stand_there(&log), "{:?}", log.consumers().unwrap());
        disk.crash_each(50, |disk| {
            let log = open(&disk);
            assert_eq!(log.consumers().unwrap().len(), 2);
            assert!(all_stand_there(&log), "{:?}", log.consumers().unwrap());
        });
        // What they go on to do is given back, as ever.
        for n in [3, 4] {
            let mut follower = slow.follow().unwrap();
            let lsn = log.append_durable(&[n; 9000]).unwrap();
            assert_eq!(follower.try_next().unwrap().unwrap().lsn(), lsn);
            slow.ack(lsn).unwrap();
            fast.ack(lsn).unwrap();
        }
        log.commit().unwrap();
        assert!(log.checkpoint_to_slowest().unwrap().segments > 0);
        // Nor can it go back to where there is nothing.
        assert!(slow.seek(last).is_err());
    }
}

#[test]
fn p2_a_consumer_after_a_cut_stands_where_the_log_was_cut() {
    let disk = SimDisk::new(1);
    let open = |disk: &SimDisk| Options::new().segment_size(SIZE).open_on(disk).unwrap();
    let log = open(&disk);
    let lsns = [1, 2, 3, 4, 5].map(|n| log.append_durable(&[n; 5000]).unwrap());
    let names = ["at 0", "at 1", "at 4"];
    for (name, at) in names.iter().zip([0, 1, 4]) {
        log.consumer(name).unwrap().ack(lsns[at]).unwrap();
    }
    let done = log.consumer("at 1").unwrap().position().unwrap();
    log.truncate_after(lsns[1]).unwrap();
    let stands = |log: &Log| {
        let positions = names.map(|name| log.consumer(name).unwrap().position().unwrap());
        assert!(positions[0] < done);
        assert_eq!(positions[1..], [done; 2]);
    };
    stands(&log);
    disk.crash_each(50, |disk| stands(&open(&disk)));
    // It is shown what takes the place of what was cut, also after a checkpoint.
    let consumer = log.consumer("at 4").unwrap();
    let mut follower = consumer.follow().unwrap();
    assert!(follower.try_next().unwrap().is_none());
    let next = log.append_durable(&[6; 5000]).unwrap();
    assert_eq!(follower.try_next().unwrap().unwrap().lsn(), next);
    log.checkpoint(done).unwrap();
    let mut follower = consumer.follow().unwrap();
    assert_eq!(follower.try_next().unwrap().unwrap().lsn(), next);
    stands(&log);
}

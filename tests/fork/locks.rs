//! Forks that catch locks held: other threads append, commit, take checkpoints and read all the while.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::calls::Handles;
use crate::{By, Report, alone, fork, small};

#[test]
fn no_call_and_no_drop_in_a_child_waits_for_a_lock_that_the_fork_caught() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let mut log = Some(small().open(dir.path()).unwrap());
    let stop = AtomicBool::new(false);
    let going = || !stop.load(Ordering::Relaxed);
    log.as_ref().unwrap().append_durable(&[7; 100]).unwrap();
    let mut forks = 0;
    let shared = small().open(dir.path().join("shared")).unwrap();
    shared.append_durable(&[7; 100]).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while going() {
                    shared.append(&[1; 100]).unwrap();
                }
            });
        }
        scope.spawn(|| {
            while going() {
                shared.append_durable(&[2; 100]).unwrap();
            }
        });
        scope.spawn(|| {
            while going() {
                drop(shared.read(shared.head()));
                drop(shared.replay().last());
                shared.checkpoint(shared.durable()).unwrap();
            }
        });
        for round in 0..100 {
            let consumer = shared.consumer("one").unwrap();
            let lsn = shared.append(&[3; 100]).unwrap();
            let ticket = shared.when_durable(lsn);
            let mut follower = shared.follow(shared.end()).unwrap();
            drop(follower.try_next());
            let mut handles = Some((ticket, follower, consumer));
            let child = fork(By::Fork, |_| {
                let mut report = Report::default();
                let (ticket, mut follower, consumer) = handles.take().unwrap();
                report.refused("append", shared.append(b"x"));
                report.refused("commit", shared.commit());
                report.refused("checkpoint", shared.checkpoint(lsn));
                report.refused("metadata", shared.metadata());
                report.refused("position", consumer.position());
                report.refused("try_next", follower.try_next());
                report.refused("blockers", shared.blockers());
                report.refused("wait", ticket.wait());
                report.check(shared.head() <= shared.end(), "positions");
                report.check(shared.stats().durable <= shared.end(), "stats");
                report.refused("replay", shared.replay().next().unwrap());
                report.refused("close", shared.close());
                drop((follower, consumer));
                report.end()
            });
            let said = child.report();
            if !said.is_empty() {
                stop.store(true, Ordering::Relaxed);
            }
            assert_eq!(said, "", "round {round}");
            forks += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(forks, 100);
    drop(log.take());
}

/// All calls, while another thread holds the lock of the appends for as long as it can: it never gives it up for long.
#[test]
fn every_call_is_refused_while_others_append() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let log = small().open(dir.path()).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let batch = [[9; 100]; 100];
            while !stop.load(Ordering::Relaxed) {
                log.append_batch(&batch).unwrap();
            }
        });
        let consumer = log.consumer("one").unwrap();
        for _ in 0..30 {
            let lsn = log.append_durable(&[3; 100]).unwrap();
            let mut handles = Some(Handles::of(&log, &consumer, lsn));
            let child = fork(By::Fork, |_| {
                let mut report = Report::default();
                handles.take().unwrap().call(&mut report);
                report.end()
            });
            let said = child.report();
            if !said.is_empty() {
                stop.store(true, Ordering::Relaxed);
            }
            assert_eq!(said, "");
        }
        stop.store(true, Ordering::Relaxed);
    });
}

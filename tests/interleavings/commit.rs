//! Commits beside each other and beside rolls (P1), and when a sync fails (P6).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use duralog::sim::{Call, Fault};
use duralog::{Error, Lsn, WriteMethod};
use shuttle::thread;

use super::bench::{Bench, Diary, HALF, Hand, draw, found, join};

#[test]
fn p1_what_was_acknowledged_is_there_after_a_power_cut() {
    super::explore(|| {
        let mut bench = Bench::new();
        let log = bench.open();
        bench.endanger(70);
        let work: [fn(&mut Hand); 3] = [
            |hand| (0..2).for_each(|_| hand.append_and_commit(HALF)),
            |hand| (0..2).for_each(|_| hand.append_durable(HALF)),
            |hand| {
                hand.append(HALF);
                hand.commit();
                let durable = hand.log.durable();
                hand.owes(durable);
            },
        ];
        let threads = (1..).zip(work).map(|(number, work)| {
            let mut hand = bench.hand(&log, number);
            thread::spawn(move || {
                work(&mut hand);
                hand.diary
            })
        });
        let diary = Diary::of(join(threads));
        drop(log);
        bench.crash(|_, found| diary.check(&found));
    });
}

/// They come back at once, so that leaders wait for them, and one after another they stop.
#[test]
fn p1_leaders_wait_for_company_that_comes_or_not() {
    super::explore(|| {
        let mut bench = Bench::new();
        let log = bench.open();
        bench.endanger(120);
        let threads = (1..3 + draw(2)).map(|number| {
            let mut hand = bench.hand(&log, number);
            thread::spawn(move || {
                (0..6 + draw(4)).for_each(|_| hand.append_durable(64));
                hand.diary
            })
        });
        let diary = Diary::of(join(threads));
        drop(log);
        bench.crash(|_, found| diary.check(&found));
    });
}

/// The worker writes zeros into the blocks that come next, and appends come there meanwhile.
#[test]
fn p1_what_is_filled_ahead_is_not_what_was_appended() {
    super::explore(|| {
        let mut bench = Bench::new();
        bench.options = bench.options.write_method(WriteMethod::Auto);
        let log = bench.open();
        bench.endanger(90);
        let threads = (1..3).map(|number| {
            let mut hand = bench.hand(&log, number);
            thread::spawn(move || {
                for _ in 0..4 {
                    hand.append(1200);
                    hand.append_durable(900);
                }
                hand.diary
            })
        });
        let diary = Diary::of(join(threads));
        if bench.is_safe() {
            diary.check(&found(&log));
        }
        drop(log);
        bench.crash(|_, found| diary.check(&found));
    });
}

#[test]
fn p6_a_failed_sync_ends_all_who_wait_and_all_who_come() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        bench.disk.order(Fault::new(Call::Sync, 1 + draw(4), 5));
        let seen = Arc::new(AtomicBool::new(false));
        let threads = (1..4).map(|number| {
            let (mut hand, seen) = (bench.hand(&log, number), Arc::clone(&seen));
            thread::spawn(move || {
                for _ in 0..2 {
                    let before = seen.load(Ordering::SeqCst);
                    let appended = hand.try_append(HALF);
                    match appended.and_then(|lsn| hand.log.commit_to(lsn).map(|()| lsn)) {
                        Ok(lsn) => {
                            assert!(!before, "P6: a commit came after a failure and succeeded");
                            hand.owes(Lsn::new(lsn.get() + 1));
                        }
                        Err(Error::Poisoned { .. }) => seen.store(true, Ordering::SeqCst),
                        Err(error) => panic!("{error}"),
                    }
                }
                hand.diary
            })
        });
        let diary = Diary::of(join(threads));
        bench.disk.mend();
        if bench.disk.struck() > 0 {
            assert!(log.append(b"more").is_err_and(|e| e.is_poisoned()));
            assert!(log.commit().is_err_and(|e| e.is_poisoned()));
            assert!(log.close().is_err_and(|e| e.is_poisoned()));
        } else {
            assert!(!seen.load(Ordering::SeqCst), "nothing had failed");
        }
        drop(log);
        bench.crash(|_, found| diary.check(&found));
    });
}

//! Checkpoints beside appends, readers and each other (P10).

use duralog::sim::{Call, Fault};
use duralog::{Error, Log, Lsn, Record, WriteMethod};
use shuttle::thread;

use super::bench::{Bench, Diary, Found, HALF, WHOLE, draw, found, join};

/// A reader holds every record that it meets while the segments below it are given up and used again.
#[test]
fn p10_a_record_that_is_held_never_changes() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        let mut hand = bench.hand(&log, 1);
        for _ in 0..2 {
            hand.append_durable(WHOLE);
        }
        let told = hand.diary.told.clone();
        let reader = {
            let log = log.clone();
            thread::spawn(move || {
                let mut held: Vec<Record> = Vec::new();
                for record in log.replay() {
                    match record {
                        Ok(record) => held.push(record),
                        Err(Error::Gone { .. }) => break, // the checkpoint passed
                        Err(error) => panic!("{error}"),
                    }
                }
                held
            })
        };
        let checkpoint = {
            let log = log.clone();
            thread::spawn(move || log.checkpoint(log.durable()).unwrap())
        };
        for _ in 0..4 {
            hand.append(WHOLE);
        }
        checkpoint.join().unwrap();
        let held = reader.join().unwrap();
        for _ in 0..2 {
            hand.append(WHOLE);
        }
        for record in &held {
            let known = told.iter().chain(&hand.diary.told);
            let mut bytes = known.filter(|(lsn, _)| *lsn == record.lsn()).map(|(_, bytes)| bytes);
            assert!(bytes.next().is_some_and(|b| b == record.payload()), "P10: it changed");
        }
        // No reader is left: the next checkpoint gives everything below it back.
        drop(held);
        log.commit().unwrap();
        log.checkpoint(log.end()).unwrap();
        let segments = bench.disk.files().iter().filter(|name| name.ends_with(".seg")).count();
        assert!(segments <= 5, "{segments} segments are left of an empty log"); // 2 spare, 2 ready
    });
}

#[test]
fn p10_checkpoints_beside_each_other_and_an_append_that_rolls() {
    super::explore(|| {
        let mut bench = Bench::new();
        let log = bench.open();
        let mut first = bench.hand(&log, 1);
        for _ in 0..3 {
            first.append_durable(HALF);
        }
        let asked: Vec<Lsn> = (0..2).map(|_| first.diary.told[draw(3) as usize].0).collect();
        bench.endanger(60);
        let checkpoints = asked.clone().into_iter().map(|lsn| {
            let hand = bench.hand(&log, 9);
            thread::spawn(move || {
                // Of what is there, or of all that is durable by now.
                let lsn = if draw(2) == 0 { lsn } else { hand.log.durable() };
                let checkpointed = hand.unless_off(hand.log.checkpoint(lsn));
                in_order(&hand.log);
                checkpointed.map_or((lsn, false), |_| (lsn, true))
            })
        });
        let checkpoints: Vec<_> = checkpoints.collect();
        let mut hand = bench.hand(&log, 2);
        for _ in 0..2 {
            hand.append(HALF);
            in_order(&log);
        }
        hand.commit();
        in_order(&log);
        let checkpoints = join(checkpoints);
        let mut diary = Diary::of([first.diary, hand.diary]);
        if bench.is_safe() {
            check_from(&mut diary.clone(), &found(&log), log.checkpoint_lsn());
        }
        drop(log);
        let highest = |done: bool| checkpoints.iter().filter(|c| c.1 || !done).map(|c| c.0).max();
        bench.crash(|log, found| {
            let checkpoint = log.checkpoint_lsn();
            assert!(Some(checkpoint) >= highest(true), "P10: a checkpoint was forgotten");
            assert!(Some(checkpoint) <= highest(false).max(Some(Lsn::MIN)));
            check_from(&mut diary, &found, checkpoint);
        });
    });
}

/// Whoever made it durable, the worker seals it: else a log at rest keeps it open, and leaves it to recovery.
#[test]
fn p9_what_is_full_and_durable_gets_sealed() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        let mut hand = bench.hand(&log, 1);
        hand.append(WHOLE);
        hand.append_durable(WHOLE); // in the next segment
        let sealed = |_| {
            thread::yield_now();
            log.stats().segments_sealed == 1
        };
        assert!((0..1000).any(sealed), "P9: not sealed, though nothing more happens");
    });
}

/// Each only grows, so that the order in which they are looked at makes the comparison one of a moment.
fn in_order(log: &Log) {
    let (head, durable) = (log.head(), log.durable());
    assert!(head <= durable && durable <= log.end(), "{head} {durable} {}", log.end());
}

/// Nothing from the checkpoint on is missing; before it, whole segments may be.
pub(crate) fn check_from(diary: &mut Diary, found: &[(Lsn, Vec<u8>)], checkpoint: Lsn) {
    let first = found.first().map_or(Lsn::new(u64::MAX), |(lsn, _)| *lsn).min(checkpoint);
    let told = diary.told.clone();
    diary.told.retain(|(lsn, _)| *lsn >= first);
    diary.check(&found.to_vec());
    diary.told = told;
}

/// An append that fails half-way ends its segment where it began: it may be empty, and end at the checkpoint
/// that is just being made.
#[test]
fn p10_a_checkpoint_beside_an_append_that_fails() {
    super::explore(|| {
        let mut bench = Bench::new();
        bench.options = bench.options.clone().write_method(WriteMethod::Pwrite);
        let log = bench.open();
        bench.hand(&log, 1).append_durable(WHOLE);
        log.roll().unwrap();
        let checkpoint = log.commit().unwrap();
        bench.disk.order(Fault::new(Call::Write, 1 + draw(4), 28));
        let checkpoints = {
            let log = log.clone();
            thread::spawn(move || match log.checkpoint(checkpoint) {
                Err(Error::Full { .. }) | Ok(_) => {}
                Err(error) => panic!("{error}"),
            })
        };
        let mut hand = bench.hand(&log, 2);
        for _ in 0..3 {
            match hand.try_append(HALF) {
                Ok(lsn) => hand.commit_to(lsn),
                Err(Error::Full { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
        checkpoints.join().unwrap();
        hand.diary.tried.clear(); // Full: nothing was appended
        drop(log);
        let kept = |found: Found| found.into_iter().filter(|(lsn, _)| *lsn >= checkpoint).collect();
        bench.crash(|_, found| hand.diary.check(&kept(found)));
    });
}

//! Beginning anew beside appends that roll and beside commits (P1, P2).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use duralog::{Error, Log, Lsn};
use shuttle::thread;

use super::bench::{Bench, Diary, HALF, Hand, WHOLE, draw, join};

#[derive(Debug, Default)]
struct Reset {
    begun: AtomicBool,
    done: AtomicBool,
}

fn positions_are_in_order(log: &Log) {
    let head = log.head();
    let durable = log.durable();
    let end = log.end();
    assert!(head <= durable && durable <= end, "{head} {durable} {end}");
}

/// Whether the record was appended after the reset had returned.
fn append_beside(hand: &mut Hand, reset: &Reset) -> Option<(Lsn, bool)> {
    let after = reset.done.load(Ordering::SeqCst);
    let syncs = hand.log.stats().syncs;
    let lsn = hand.append(if draw(2) == 0 { HALF } else { WHOLE })?;
    let committed = hand.log.commit_to(lsn);
    match committed {
        Err(Error::Gone { .. } | Error::OutOfRange { .. }) => {
            assert!(!after && reset.begun.load(Ordering::SeqCst), "nothing was dropped meanwhile");
            assert!(lsn < hand.log.head(), "{lsn} is there");
        }
        committed => {
            if hand.unless_off(committed).is_some() {
                let synced = hand.log.stats().syncs > syncs;
                assert!(synced || lsn >= hand.log.head(), "P1: Ok for a record that was dropped");
                hand.owes(Lsn::new(lsn.get() + 1));
            }
        }
    }
    positions_are_in_order(&hand.log);
    Some((lsn, after))
}

#[test]
fn p1_p2_beginning_anew_beside_appends_and_commits() {
    super::explore(|| {
        let mut bench = Bench::new();
        let log = bench.open();
        let mut first = bench.hand(&log, 1);
        first.append_durable(HALF);
        let held = log.read(first.diary.told[0].0).unwrap();
        bench.endanger(60);
        let reset = Arc::new(Reset::default());
        let threads = (2..4).map(|number| {
            let (mut hand, reset) = (bench.hand(&log, number), Arc::clone(&reset));
            thread::spawn(move || {
                let seen: Vec<_> =
                    (0..2).filter_map(|_| append_beside(&mut hand, &reset)).collect();
                (hand.diary, seen)
            })
        });
        let threads: Vec<_> = threads.collect();
        reset.begun.store(true, Ordering::SeqCst);
        // Now and then so near that the appends get past it.
        let to = Lsn::new(log.end().get().next_multiple_of(4096) + draw(5) * 4096);
        let mut passed = None;
        let done = match draw(2) {
            0 => first.unless_off(log.truncate_all()).is_some(),
            _ => match log.reset_to(to) {
                Err(Error::OutOfRange { .. }) => {
                    assert!(log.end() > to);
                    false
                }
                reset => {
                    passed = first.unless_off(reset).map(|at| to..at);
                    passed.as_ref().is_some_and(|passed| passed.end >= to)
                }
            },
        };
        reset.done.store(done, Ordering::SeqCst);
        positions_are_in_order(&log);
        let head = log.head();
        let (diaries, seen): (Vec<_>, Vec<_>) = join(threads).into_iter().unzip();
        let mut diary = Diary::of(diaries.into_iter().chain([first.diary]));
        for (lsn, after) in seen.into_iter().flatten().filter(|_| done) {
            let lost = passed.as_ref().is_some_and(|passed| passed.contains(&lsn));
            assert!(!lost, "{lsn} was dropped, though it had got past {to}");
            assert!(!after || lsn >= head, "P2: {lsn} lies before what was dropped");
        }
        assert!(held.payload() == diary.told[0].1, "P10: a record that is held has changed");
        drop((held, log));
        let all = diary.clone();
        if done {
            diary.told.retain(|(lsn, _)| *lsn >= head);
        }
        bench.crash(|log, found| {
            if done {
                assert!(log.checkpoint_lsn() == head);
                diary.check(&found);
            } else if log.checkpoint_lsn() > Lsn::MIN {
                // It failed, and stands: nothing of before.
                assert!(found.is_empty(), "{} records", found.len());
            } else {
                all.check(&found);
            }
        });
    });
}

//! What the log gives up by itself, beside those that use it (P1, P10).

use duralog::{Error, Lsn, WhenFull};
use shuttle::thread;

use super::bench::{Bench, Diary, HALF, WHOLE, draw, join};
use super::retain::check_from;

/// Nothing goes that a consumer has not acknowledged, durably, or that is not durable, however early the log would let go
/// of it.
#[test]
fn p1_p10_retention_by_bytes_keeps_what_a_consumer_needs() {
    super::explore(|| {
        let mut bench = Bench::new();
        bench.options = bench.options.clone().retain_bytes(0);
        let log = bench.open();
        let consumer = log.consumer("a").unwrap();
        let mut hand = bench.hand(&log, 1);
        for _ in 0..2 {
            hand.append_durable(HALF);
        }
        let told: Vec<Lsn> = hand.diary.told.iter().map(|(lsn, _)| *lsn).collect();
        bench.endanger(80);
        let acks = {
            let hand = bench.hand(&log, 5);
            thread::spawn(move || {
                for lsn in &told[..draw(3) as usize] {
                    let Some(note) = hand.unless_off(consumer.ack(*lsn)) else { return };
                    if draw(2) == 0 {
                        hand.unless_off(hand.log.commit_to(note));
                    }
                }
            })
        };
        let appends = (6..8).map(|number| {
            let mut hand = bench.hand(&log, number);
            thread::spawn(move || {
                for _ in 0..2 {
                    hand.append(WHOLE);
                    if draw(2) == 0 {
                        hand.commit();
                    }
                }
                hand.diary
            })
        });
        let appends: Vec<_> = appends.collect();
        acks.join().unwrap();
        let diaries = join(appends).into_iter().chain([hand.diary.clone()]);
        let mut diary = Diary::of(diaries);
        drop((hand, log));
        bench.crash(|log, found| {
            // What went had been acknowledged, and that lasts.
            let position = log.consumers().unwrap()[0].position;
            let gone = diary
                .told
                .iter()
                .map(|(lsn, _)| *lsn)
                .find(|lsn| (position..log.head()).contains(lsn));
            assert_eq!(gone, None, "P10: it is gone, and the consumer needs it from {position} on");
            check_from(&mut diary, &found, log.head());
        });
    });
}

/// No more files than the cap allows, and no append that fails for it: the oldest go, but nothing that is not durable, and
/// no file that a reader holds.
#[test]
fn p1_p10_a_cap_that_drops_the_oldest_beside_a_replay() {
    super::explore(|| {
        let mut bench = Bench::new();
        let cap = (16 << 10) * (4 + draw(2));
        bench.options = bench.options.clone().max_bytes(cap, WhenFull::DropOldest);
        let log = bench.open();
        let mut hand = bench.hand(&log, 1);
        for _ in 0..2 {
            hand.append_durable(WHOLE);
        }
        let told = hand.diary.told.clone();
        bench.endanger(120);
        let replay = {
            let hand = bench.hand(&log, 5);
            thread::spawn(move || {
                for record in hand.log.replay() {
                    match record {
                        Ok(record) => {
                            let mut known = told.iter().filter(|(lsn, _)| *lsn == record.lsn());
                            let same = known.all(|(_, bytes)| bytes == record.payload());
                            assert!(same, "P10: {} changed", record.lsn());
                        }
                        Err(Error::Gone { .. }) => break,
                        Err(error) => assert!(hand.unless_off::<()>(Err(error)).is_none()),
                    }
                }
            })
        };
        let appends = (6..8).map(|number| {
            let mut hand = bench.hand(&log, number);
            thread::spawn(move || {
                for _ in 0..3 {
                    match hand.try_append(WHOLE) {
                        Ok(lsn) if draw(2) == 0 => match hand.log.commit_to(lsn) {
                            Ok(()) => hand.owes(Lsn::new(lsn.get() + 1)),
                            Err(Error::Gone { .. }) => {} // the other one was faster
                            Err(error) => assert!(hand.unless_off::<()>(Err(error)).is_none()),
                        },
                        Ok(_) => {}
                        // The replay holds what should go.
                        Err(Error::Full { .. }) => drop(hand.diary.tried.pop()),
                        Err(error) => assert!(hand.unless_off::<()>(Err(error)).is_none()),
                    }
                    let files = hand.bench.disk.files();
                    let files = files.iter().filter(|name| name.ends_with(".seg")).count() as u64;
                    assert!(files * (16 << 10) <= cap, "{files} files at a cap of {cap} bytes");
                }
                hand.diary
            })
        });
        let appends: Vec<_> = appends.collect();
        replay.join().unwrap();
        let diaries = join(appends).into_iter().chain([hand.diary.clone()]);
        let mut diary = Diary::of(diaries);
        drop((hand, log));
        bench.crash(|log, found| check_from(&mut diary, &found, log.head()));
    });
}

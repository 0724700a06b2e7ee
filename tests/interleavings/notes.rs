//! Consumers and metadata beside appends, commits and checkpoints (P1, P10).

use duralog::{Error, Lsn};
use shuttle::thread;

use super::bench::{Bench, HALF, WHOLE, draw, join};

/// What a thread was told is durable is there after a power cut, or a later one; and a checkpoint to the slowest leaves
/// every record behind its position.
#[test]
fn p1_p10_positions_hold_beside_checkpoints_to_the_slowest() {
    super::explore(|| {
        let mut bench = Bench::new();
        let log = bench.open();
        let mut hand = bench.hand(&log, 1);
        for _ in 0..3 {
            hand.append_durable(HALF);
        }
        log.consumer("a").unwrap();
        log.consumer("b").unwrap();
        log.commit().unwrap();
        let told = hand.diary.told.clone();
        bench.endanger(70);
        let acks = ["a", "b"].map(|name| {
            let hand = bench.hand(&log, 5);
            let lsns: Vec<Lsn> = told.iter().map(|(lsn, _)| *lsn).collect();
            thread::spawn(move || {
                let mut sure = Lsn::MIN;
                let Some(consumer) = hand.unless_off(hand.log.consumer(name)) else { return sure };
                for lsn in &lsns[..1 + draw(3) as usize] {
                    let Some(note) = hand.unless_off(consumer.ack(*lsn)) else { return sure };
                    if draw(2) == 0 && hand.unless_off(hand.log.commit_to(note)).is_some() {
                        sure = *lsn;
                    }
                }
                sure
            })
        });
        let frees = {
            let hand = bench.hand(&log, 6);
            thread::spawn(move || {
                for _ in 0..2 {
                    hand.unless_off(hand.log.checkpoint_to_slowest());
                    hand.unless_off(hand.log.roll());
                }
            })
        };
        let appends = {
            let mut hand = bench.hand(&log, 7);
            thread::spawn(move || {
                for _ in 0..2 {
                    hand.append(WHOLE);
                }
            })
        };
        let sure = join(acks);
        frees.join().unwrap();
        appends.join().unwrap();
        drop((hand, log));
        bench.crash(|log, found| {
            for (consumer, sure) in log.consumers().unwrap().iter().zip(&sure) {
                assert!(consumer.position > *sure, "P1: {consumer:?}, told {sure}");
                let left = told.iter().filter(|(lsn, _)| *lsn >= consumer.position);
                for (lsn, bytes) in left {
                    let there = found.iter().any(|kept| kept.0 == *lsn && kept.1 == *bytes);
                    assert!(there, "P10: {lsn} is gone, {consumer:?} needs it");
                }
            }
            assert_eq!(log.consumers().unwrap().len(), 2);
        });
    });
}

/// Metadata are one value or the other, never less than was committed, also beside a cut.
#[test]
fn p1_metadata_hold_beside_a_cut() {
    super::explore(|| {
        let mut bench = Bench::new();
        let log = bench.open();
        let mut hand = bench.hand(&log, 1);
        hand.append_durable(HALF);
        let keep = hand.diary.told[0].0;
        hand.append(HALF);
        bench.endanger(60);
        let sets = {
            let hand = bench.hand(&log, 5);
            thread::spawn(move || {
                let mut sure = 0;
                for n in 1..4u8 {
                    let Some(note) = hand.unless_off(hand.log.set_metadata(&[n; 40])) else {
                        break;
                    };
                    if draw(2) == 0 {
                        // Cut away, the note is not what was cut: it is durable with the cut.
                        match hand.log.commit_to(note) {
                            Ok(()) | Err(duralog::Error::Gone { .. }) => sure = n,
                            Err(error) => assert!(hand.unless_off::<()>(Err(error)).is_none()),
                        }
                    }
                }
                sure
            })
        };
        let cuts = {
            let hand = bench.hand(&log, 6);
            thread::spawn(move || hand.unless_off(hand.log.truncate_after(keep)))
        };
        let sure = sets.join().unwrap();
        cuts.join().unwrap();
        drop((hand, log));
        bench.crash(|log, _| {
            let found = log.metadata().unwrap();
            let whole =
                found.is_empty() || found.len() == 40 && found.iter().all(|b| *b == found[0]);
            assert!(whole, "{found:?}");
            assert!(found.first().copied().unwrap_or(0) >= sure, "P1: {found:?}, told {sure}");
        });
    });
}

/// Whichever comes first, the cut or the word of what is done: no consumer comes to stand at what is gone.
#[test]
fn p2_no_consumer_stands_at_what_is_cut_meanwhile() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        let mut hand = bench.hand(&log, 1);
        (0..4).for_each(|_| hand.append_durable(HALF));
        let lsns: Vec<Lsn> = hand.diary.told.iter().map(|(lsn, _)| *lsn).collect();
        let consumer = log.consumer("a").unwrap();
        // The note that made it too: a seek goes no further than what is durable.
        let end = log.commit().unwrap();
        let anew = draw(2) == 0;
        let cuts = {
            let (hand, keep) = (bench.hand(&log, 6), lsns[1]);
            thread::spawn(move || match anew {
                true => hand.log.truncate_all().unwrap(),
                false => hand.log.truncate_after(keep).unwrap(),
            })
        };
        let there = |result: duralog::Result<Lsn>| match result {
            Ok(_) | Err(Error::Gone { .. } | Error::OutOfRange { .. }) => {}
            Err(error) => panic!("{error}"),
        };
        match draw(2) {
            0 => there(consumer.ack(lsns[3])),
            _ => there(consumer.seek(end)),
        }
        cuts.join().unwrap();
        let position = consumer.position().unwrap();
        let kept = lsns[1].get() + 8 + HALF as u64;
        // Not the end: the note of what is done may stand after the cut.
        let stands = if anew { position == log.head() } else { position.get() <= kept };
        assert!(stands, "at {position}, cut at {kept}, the log begins at {}", log.head());
    });
}

//! Close beside everything else: nothing is written afterwards, and nothing is lost.

use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Error, Lsn, Tail};
use shuttle::thread;

use super::bench::{Bench, Diary, Found, HALF, Hand, WHOLE, draw, found, join};

/// Calls that change the disk.
fn writes(disk: &SimDisk) -> Vec<u64> {
    use Call::{Allocate, Create, PunchHole, Remove, Rename, Sync, SyncDirectory, Write};
    let kinds = [Allocate, Create, PunchHole, Remove, Rename, Sync, SyncDirectory, Write];
    kinds.iter().map(|call| disk.count(*call)).collect()
}

/// What the files hold: stores through a mapping are no calls.
fn bytes(disk: &SimDisk) -> Vec<(String, Vec<u8>)> {
    disk.files().into_iter().map(|name| (name.clone(), disk.bytes(&name).unwrap())).collect()
}

fn unless_closed<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Closed) => None,
        Err(error) => panic!("{error}"),
    }
}

fn append(hand: &mut Hand) {
    for _ in 0..2 {
        let appended = hand.try_append(HALF);
        let Some(lsn) = unless_closed(appended) else { return };
        match hand.log.commit_to(lsn) {
            Err(Error::Gone { .. }) => {}
            committed => {
                if unless_closed(committed).is_some() {
                    hand.owes(Lsn::new(lsn.get() + 1));
                }
            }
        }
    }
}

/// `beside` runs beside a close and an appending thread. What is there afterwards, of what was appended.
fn close_beside(beside: fn(&Hand, &[Lsn]), check: fn(Diary, &[Lsn], Found)) {
    let bench = Bench::new();
    let log = bench.open();
    let mut first = bench.hand(&log, 1);
    for _ in 0..3 {
        first.append_durable(HALF);
    }
    let lsns: Vec<Lsn> = first.diary.told.iter().map(|(lsn, _)| *lsn).collect();
    let appending = {
        let mut hand = bench.hand(&log, 2);
        thread::spawn(move || {
            append(&mut hand);
            hand.diary
        })
    };
    let changing = {
        let (hand, lsns) = (bench.hand(&log, 3), lsns.clone());
        thread::spawn(move || beside(&hand, &lsns))
    };
    log.close().unwrap();
    // The files are the next one's from here on, whoever still works with this log.
    let others = if draw(2) == 0 {
        let next = bench.open();
        assert_eq!(next.recovery().tail, Tail::Clean);
        let lsn = next.append_durable(b"the next one's").unwrap();
        Err((next, lsn))
    } else {
        Ok((writes(&bench.disk), bytes(&bench.disk)))
    };
    let diary = Diary::of([appending.join().unwrap(), first.diary]);
    changing.join().unwrap();
    match others {
        Ok((calls, files)) => {
            assert_eq!(calls, writes(&bench.disk), "written after a close");
            assert!(files == bytes(&bench.disk), "stored after a close");
            drop(log);
            let next = bench.open();
            assert_eq!(next.recovery().tail, Tail::Clean);
            check(diary, &lsns, found(&next));
        }
        Err((next, lsn)) => {
            drop(log);
            let without = |mut found: Found| {
                assert!(found.pop().is_some_and(|(last, _)| last == lsn), "P1");
                found
            };
            check(diary.clone(), &lsns, without(found(&next)));
            drop(next);
            bench.crash(|_, found| check(diary.clone(), &lsns, without(found)));
        }
    }
}

/// All that was appended, but for what `gone` may have taken away.
fn all_but(diary: &Diary, found: &[(Lsn, Vec<u8>)], gone: impl Fn(Lsn) -> bool) {
    assert!(found.iter().all(|record| diary.told.contains(record)), "P2");
    let lost = diary.told.iter().find(|record| !found.contains(record) && !gone(record.0));
    assert!(lost.is_none(), "P1: {:?} is lost", lost.map(|(lsn, _)| *lsn));
}

#[test]
fn a_close_beside_a_checkpoint_writes_nothing_afterwards() {
    super::explore(|| {
        close_beside(
            |hand, lsns| {
                unless_closed(hand.log.checkpoint(lsns[2]));
            },
            |diary, lsns, found| all_but(&diary, &found, |lsn| lsn < lsns[2]),
        );
    });
}

#[test]
fn a_close_beside_a_cut_writes_nothing_afterwards() {
    super::explore(|| {
        close_beside(
            |hand, lsns| {
                unless_closed(hand.log.truncate_after(lsns[1]));
            },
            |diary, lsns, found| {
                let kept = found.iter().map(|(lsn, _)| *lsn).find(|lsn| *lsn > lsns[1]);
                all_but(&diary, &found, |lsn| lsn > lsns[1] && kept.is_none_or(|k| lsn < k));
            },
        );
    });
}

/// A read that is late finds the files in the hands of the next instance, which recycles them.
#[test]
fn p10_a_read_beside_a_close_gives_what_was_appended_or_nothing() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        let mut hand = bench.hand(&log, 1);
        for _ in 0..3 {
            hand.append_durable(WHOLE);
        }
        let (lsn, payload) = hand.diary.told[0].clone();
        let reading = {
            let log = log.clone();
            thread::spawn(move || {
                let record = unless_closed(log.read(lsn));
                for _ in 0..4 {
                    thread::yield_now();
                    assert!(record.iter().all(|record| record.payload() == payload));
                }
                record
            })
        };
        drop(hand);
        log.close().unwrap();
        let next = bench.open();
        next.append_durable(&[9; WHOLE]).unwrap();
        next.checkpoint(next.durable()).unwrap();
        for _ in 0..2 {
            next.append_durable(&[9; WHOLE]).unwrap();
        }
        let record = reading.join().unwrap();
        assert!(record.iter().all(|record| record.lsn() == lsn));
    });
}

/// A log that failed is closed while someone still syncs: what that one does afterwards is nothing to see.
#[test]
fn a_close_beside_a_failure_stores_nothing_afterwards() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        let committing: Vec<_> = (1..3)
            .map(|number| {
                let mut hand = bench.hand(&log, number);
                thread::spawn(move || {
                    for _ in 0..2 {
                        if hand.try_append(HALF).is_ok() {
                            drop(hand.log.commit());
                        }
                    }
                })
            })
            .collect();
        bench.disk.order(Fault::new(Call::Rename, 1 + draw(3), 5));
        drop(log.close());
        let (calls, files) = (writes(&bench.disk), bytes(&bench.disk));
        join(committing);
        assert_eq!(calls, writes(&bench.disk), "written after a close");
        assert!(files == bytes(&bench.disk), "stored after a close");
    });
}

/// A consumer outlives its log, and may be making a segment when that is dropped: the files are the next one's only then.
#[test]
fn p8_a_consumer_beside_a_drop_leaves_the_files_to_the_next() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        let mut hand = bench.hand(&log, 1);
        hand.append_durable(WHOLE);
        let lsn = hand.diary.told[0].0;
        let consumer = log.consumer(&"a".repeat(255)).unwrap();
        // Until one more needs a segment; and now and then the one that is ready is gone too.
        for _ in 0..15 + draw(2) * 44 {
            consumer.ack(lsn).unwrap();
        }
        let acks = thread::spawn(move || (0..6).all(|_| consumer.ack(lsn).is_ok()));
        drop((hand, log));
        let next = bench.open();
        let kept = next.append_durable(b"the next one's").unwrap();
        acks.join().unwrap();
        drop(next);
        bench.crash(|log, _| assert_eq!(log.read(kept).unwrap().payload(), b"the next one's"));
    });
}

/// A ticket outlives its log, and whoever waits for it may be the one that syncs: the files are the next one's only when
/// that sync has ended.
#[test]
fn p8_a_drop_waits_for_a_ticket_that_syncs() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        let mut hand = bench.hand(&log, 1);
        let lsn = hand.try_append(HALF).unwrap();
        let ticket = log.when_durable(lsn);
        let waiting = thread::spawn(move || ticket.wait().is_ok());
        drop((hand, log));
        let (calls, files) = (writes(&bench.disk), bytes(&bench.disk));
        let told = waiting.join().unwrap();
        assert_eq!(calls, writes(&bench.disk), "written after a drop");
        assert!(files == bytes(&bench.disk), "stored after a drop");
        bench.crash(|log, found| {
            assert!(!told || found.iter().any(|(at, _)| *at == lsn), "P1: {:?}", log.recovery());
        });
    });
}

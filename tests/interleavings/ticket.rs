//! Tickets and followers beside everything else: none sleeps over what it waits for, and none is told too early.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use duralog::sim::{Call, Fault};
use duralog::{Error, Log, Lsn, Record, Result};
use shuttle::sync::{Condvar, Mutex};
use shuttle::thread;

use super::bench::{Bench, Diary, Found, HALF, Hand, WHOLE, draw, found, join};

/// A thread that polls.
#[derive(Default)]
struct Parker(Mutex<bool>, Condvar);

impl Wake for Parker {
    fn wake(self: Arc<Self>) {
        *self.0.lock().unwrap() = true;
        self.1.notify_one();
    }
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut parker = Arc::<Parker>::default();
    loop {
        let waker = Waker::from(Arc::clone(&parker));
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        if draw(4) == 0 {
            // Another waker takes the place of this one.
            parker = Arc::default();
            continue;
        }
        let mut woken = parker.0.lock().unwrap();
        while !*woken {
            woken = parker.1.wait(woken).unwrap();
        }
        *woken = false;
    }
}

/// Waits for a record in one way or another.
fn await_durable(log: &Log, lsn: Lsn) -> Result<()> {
    match draw(4) {
        0 => log.when_durable(lsn).wait(),
        1 => {
            let told = Arc::new((Mutex::new(None), Condvar::new()));
            let tells = Arc::clone(&told);
            log.on_durable(lsn, move |outcome| {
                let before = tells.0.lock().unwrap().replace(outcome);
                if before.is_some() {
                    // A panic here would be caught.
                    *tells.0.lock().unwrap() = Some(Err(Error::NotARecord { lsn: Lsn::MIN }));
                }
                tells.1.notify_one();
            });
            let mut outcome = told.0.lock().unwrap();
            loop {
                if let Some(outcome) = outcome.take() {
                    return outcome;
                }
                outcome = told.1.wait(outcome).unwrap();
            }
        }
        2 => {
            drop(log.when_durable(lsn));
            block_on(log.when_durable(lsn))
        }
        _ => block_on(log.when_durable(lsn)),
    }
}

fn appends_and_awaits(hand: &mut Hand, times: usize) {
    for _ in 0..times {
        if let Some(lsn) = hand.append(HALF) {
            let outcome = await_durable(&hand.log, lsn);
            if hand.unless_off(outcome).is_some() {
                hand.owes(Lsn::new(lsn.get() + 1));
            }
        }
    }
}

#[test]
fn p1_what_a_ticket_said_is_there_after_a_power_cut() {
    super::explore(|| {
        let mut bench = Bench::new();
        let log = bench.open();
        bench.endanger(70);
        let work: [fn(&mut Hand); 3] = [
            |hand| appends_and_awaits(hand, 2),
            |hand| appends_and_awaits(hand, 2),
            |hand| (0..2).for_each(|_| hand.append_and_commit(HALF)),
        ];
        let threads = (1..).zip(work).map(|(number, work)| {
            let mut hand = bench.hand(&log, number);
            thread::spawn(move || {
                work(&mut hand);
                hand.diary
            })
        });
        let diary = Diary::of(join(threads));
        assert_eq!(log.stats().waiting, 0);
        drop(log);
        bench.crash(|_, found| diary.check(&found));
    });
}

#[test]
fn p6_a_failure_ends_every_ticket_and_every_follower() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        let call = if draw(2) == 0 { Call::Sync } else { Call::Write };
        bench.disk.order(Fault::new(call, 1 + draw(4), 5));
        let follows = log.follow(log.head()).unwrap();
        let follows = if draw(2) == 0 { follows.published() } else { follows };
        let following = thread::spawn(move || follows.into_iter().last());
        let threads = (1..3).map(|number| {
            let mut hand = bench.hand(&log, number);
            thread::spawn(move || {
                for _ in 0..2 {
                    let appended = hand.try_append(HALF);
                    let told = appended.and_then(|lsn| {
                        await_durable(&hand.log, lsn).map(|()| Lsn::new(lsn.get() + 1))
                    });
                    match told {
                        Ok(lsn) => hand.owes(lsn),
                        Err(Error::Poisoned { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
                hand.diary
            })
        });
        let diary = Diary::of(join(threads));
        bench.disk.mend();
        let failed = log.commit().is_err();
        if !failed {
            log.close().unwrap();
        }
        let last = following.join().unwrap();
        let poisoned = matches!(last, Some(Err(Error::Poisoned { .. })));
        assert!(poisoned == failed, "{last:?}");
        drop(log);
        bench.crash(|_, found| diary.check(&found));
    });
}

#[test]
fn p7_a_close_or_a_drop_ends_every_ticket() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        let mut hand = bench.hand(&log, 1);
        hand.append(HALF);
        hand.append_durable(HALF);
        let lsn = hand.append(HALF).unwrap();
        let tickets: Vec<_> = (0..2)
            .map(|_| {
                let ticket = log.when_durable(lsn);
                let waits = draw(2) == 0;
                thread::spawn(move || if waits { ticket.wait() } else { block_on(ticket) })
            })
            .collect();
        let close = draw(2) == 0;
        if close {
            log.close().unwrap();
        }
        let Hand { log: also, diary, .. } = hand;
        drop(also);
        drop(log);
        // The files are the next one's.
        let next = bench.open();
        let lsn = next.append(b"the next one's").unwrap();
        for outcome in join(tickets) {
            match outcome {
                Ok(()) => {}
                Err(Error::Closed) => assert!(!close, "all is durable"),
                Err(error) => panic!("{error}"),
            }
        }
        next.commit_to(lsn).unwrap();
        let mut found = found(&next);
        assert!(found.pop().is_some_and(|(last, _)| last == lsn));
        diary.check(&found);
    });
}

/// Everything that a follower shows until it ends, and how it ended.
fn follow(follower: impl IntoIterator<Item = Result<Record>>) -> (Found, Option<Error>) {
    let (mut seen, mut end) = (Found::new(), None);
    for record in follower {
        match record {
            Ok(record) => seen.push((record.lsn(), record.payload().to_vec())),
            Err(error) => end = Some(error),
        }
    }
    (seen, end)
}

#[test]
fn followers_see_what_was_appended_and_never_sleep_over_it() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        // Until the log is closed, which wakes all; or as many as there will be, with nothing else to wake them.
        let until_closed = draw(2) == 0;
        let follower = |published: bool| {
            let follower = log.follow(log.head()).unwrap();
            let follower = if published { follower.published() } else { follower };
            let count = if until_closed { usize::MAX } else { 4 };
            thread::spawn(move || follow(follower.into_iter().take(count)))
        };
        let following = [follower(false), follower(true)];
        let late = {
            // It is never behind what it was told to be durable, and never ahead.
            let log = log.clone();
            thread::spawn(move || {
                let mut follower = log.follow(log.head()).unwrap();
                for _ in 0..3 {
                    let durable = log.durable();
                    while let Some(record) = follower.try_next().unwrap() {
                        assert!(record.lsn() < log.durable(), "P1: shown before it is durable");
                    }
                    assert!(durable == log.head() || follower.position() > log.head());
                }
            })
        };
        let threads = (1..3).map(|number| {
            let mut hand = bench.hand(&log, number);
            thread::spawn(move || {
                for len in [HALF, WHOLE] {
                    hand.append(len);
                    if draw(2) == 0 {
                        hand.commit();
                    }
                }
                hand.diary
            })
        });
        let threads: Vec<_> = threads.collect();
        let diary = Diary::of(join(threads));
        late.join().unwrap();
        let ends = if until_closed {
            log.close().unwrap();
            join(following)
        } else {
            log.commit().unwrap();
            join(following)
        };
        for (seen, end) in ends {
            // Behind a close what is sealed is not opened any more.
            assert!(matches!(end, None | Some(Error::Closed)), "{end:?}");
            assert!(seen[..] == diary.told[..seen.len()], "P2: not what was appended");
            assert!(end.is_some() || seen == diary.told, "it ended before all was shown");
        }
    });
}

#[test]
fn p10_a_follower_beside_checkpoints_misses_nothing_in_silence() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        let mut hand = bench.hand(&log, 1);
        hand.append_durable(HALF);
        let follower = log.follow(log.head()).unwrap();
        let follower = if draw(2) == 0 { follower.published() } else { follower };
        let following = thread::spawn(move || follow(follower));
        let checkpoints = {
            let log = log.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    log.checkpoint(log.durable()).unwrap();
                }
            })
        };
        for _ in 0..3 {
            hand.append_durable(WHOLE);
        }
        checkpoints.join().unwrap();
        hand.append_durable(WHOLE);
        let Hand { log: also, diary, .. } = hand;
        drop(also);
        log.close().unwrap();
        let (seen, end) = following.join().unwrap();
        assert!(seen[..] == diary.told[..seen.len()], "P10: a gap, or what no one appended");
        match end {
            None => assert!(seen == diary.told),
            Some(Error::Gone { .. } | Error::Closed) => assert!(seen.len() < diary.told.len()),
            Some(error) => panic!("{error}"),
        }
    });
}

#[test]
fn p2_a_follower_beside_a_cut_shows_no_hole_in_silence() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        let mut first = bench.hand(&log, 1);
        for _ in 0..3 {
            first.append_durable(HALF);
        }
        let keep = first.diary.told[draw(3) as usize].0;
        let follower = log.follow(log.head()).unwrap();
        let follower = if draw(2) == 0 { follower.published() } else { follower };
        let following = thread::spawn(move || follow(follower));
        let appending = {
            let mut hand = bench.hand(&log, 2);
            thread::spawn(move || {
                hand.append(HALF);
                hand.append(WHOLE);
                hand.diary
            })
        };
        log.truncate_after(keep).unwrap();
        first.append_durable(HALF);
        let diary = Diary::of([appending.join().unwrap(), first.diary]);
        log.close().unwrap();
        let (seen, end) = following.join().unwrap();
        let next = bench.open();
        let kept = found(&next);
        assert!(seen.iter().all(|record| diary.told.contains(record)), "P2: no one wrote that");
        match end {
            None => assert!(seen == kept, "P2: it ended well, and showed something else"),
            Some(Error::Closed) => assert!(seen[..] == kept[..seen.len()], "P2: a hole"),
            Some(Error::Gone { .. }) => {
                assert!(seen.iter().any(|record| !kept.contains(record)), "nothing was missed");
            }
            Some(error) => panic!("{error}"),
        }
    });
}

//! What a ticket, a callback and `commit_to` say of what has left the log: durable once is Ok for ever, and `Gone` is only
//! what was cut away before it was durable.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc;
use std::task::{Context, Poll, Waker};

use duralog::sim::{Call, Fault, SimDisk};
use duralog::{Durable, Error, Log, Lsn, Result, SyncPolicy};

use crate::{NEVER, small};

fn quiet(disk: &SimDisk) -> Log {
    small().sync_policy(SyncPolicy::Interval(NEVER)).open_on(disk).unwrap()
}

/// By each way to ask.
fn all(log: &Log, lsn: Lsn, is: fn(&Result<()>) -> bool) {
    let (send, called) = mpsc::channel();
    log.on_durable(lsn, move |outcome| send.send(outcome).unwrap());
    let outcomes = [log.commit_to(lsn), log.when_durable(lsn).wait(), called.recv().unwrap()];
    assert!(outcomes.iter().all(is), "{lsn}: {outcomes:?}");
}

fn gone(outcome: &Result<()>) -> bool {
    matches!(outcome, Err(Error::Gone { .. }))
}

#[test]
fn p1_what_was_durable_is_ok_whatever_came_later() {
    let disk = SimDisk::new(1);
    let log = quiet(&disk);
    let early = log.append(b"early").unwrap();
    let (ticket, waits) = (log.when_durable(early), log.when_durable(early));
    let keep = log.append_durable(b"keep").unwrap();
    let cut = log.append_durable(b"durable, then cut").unwrap();
    let lost = log.append(b"never durable").unwrap();
    let last = log.when_durable(lost);
    log.truncate_after(keep).unwrap();
    all(&log, cut, Result::is_ok);
    all(&log, lost, gone);
    log.append_durable(b"after").unwrap();
    log.checkpoint(log.durable()).unwrap();
    assert!(log.head() > lost);
    for lsn in [early, keep, cut] {
        all(&log, lsn, Result::is_ok);
    }
    ticket.wait().unwrap();
    // No checkpoint makes it durable.
    all(&log, lost, gone);
    assert!(gone(&last.wait()));
    log.truncate_all().unwrap();
    waits.wait().unwrap();
    all(&log, early, Result::is_ok);
    all(&log, lost, gone);
}

/// The manifest of the cut, or of the checkpoint, holds them.
#[test]
fn p1_the_lsn_of_a_note_is_ok_after_any_cut_and_any_checkpoint() {
    type Act = fn(&Log, Lsn);
    let acts: [(bool, Act); 4] = [
        (false, |log, keep| log.truncate_after(keep).unwrap()),
        (false, |log, _| log.truncate_all().unwrap()),
        (false, |log, _| assert!(log.reset_to(Lsn::new(1 << 30)).is_ok())),
        (true, |log, _| assert!(log.commit().and_then(|end| log.checkpoint(end)).is_ok())),
    ];
    for (committed, act) in acts {
        let disk = SimDisk::new(1);
        let log = quiet(&disk);
        let consumer = log.consumer("mailer").unwrap();
        let keep = log.append_durable(b"keep").unwrap();
        log.append(b"x").unwrap();
        let metadata = log.set_metadata(b"term 7").unwrap();
        let x = log.append(b"x").unwrap();
        let ack = consumer.ack(keep).unwrap();
        let (ticket, callback) = (log.when_durable(metadata), mpsc::channel());
        log.on_durable(ack, move |outcome| callback.0.send(outcome).unwrap());
        act(&log, keep);
        callback.1.recv().unwrap().unwrap();
        ticket.wait().unwrap();
        all(&log, metadata, Result::is_ok);
        all(&log, ack, Result::is_ok);
        // But not that of a record beside them, unless it was committed.
        assert_eq!(gone(&log.commit_to(x)), !committed);
        assert_eq!(log.metadata().unwrap(), b"term 7");
    }
}

/// What this instance found is known; what it did not is not called durable.
#[test]
fn p1_what_an_instance_did_not_find_is_never_ok() {
    let disk = SimDisk::new(1);
    let log = quiet(&disk);
    let old = log.append_durable(b"old").unwrap();
    log.roll().unwrap();
    log.commit().unwrap();
    log.checkpoint(log.durable()).unwrap();
    let keep = log.append_durable(b"keep").unwrap();
    let lost = log.append(b"never durable").unwrap();
    log.truncate_after(keep).unwrap();
    let live = log.append_durable(b"live").unwrap();
    let crashed = log.append(b"lost in the crash").unwrap();
    drop(log);
    disk.cut_power();
    disk.restart();
    let log = quiet(&disk);
    for lsn in [keep, live] {
        all(&log, lsn, Result::is_ok);
    }
    for lsn in [old, lost] {
        all(&log, lsn, gone);
    }
    let survived = log.replay().any(|record| record.unwrap().lsn() == crashed);
    assert_eq!(log.commit_to(crashed).is_ok(), survived);
    log.append_durable(b"new").unwrap();
    log.checkpoint(log.durable()).unwrap();
    for lsn in [keep, live] {
        all(&log, lsn, Result::is_ok);
    }
    all(&log, lost, gone);
}

#[test]
fn p1_p9_of_very_many_cuts_none_is_forgotten() {
    let disk = SimDisk::new(1);
    let log = quiet(&disk);
    let mut keep = log.append_durable(b"keep").unwrap();
    let (mut kept, mut lost) = (vec![keep], Vec::new());
    for n in 0..1500 {
        if n % 100 == 0 {
            keep = log.append_durable(b"keep").unwrap();
            kept.push(keep);
        }
        lost.push(log.append(b"never durable").unwrap());
        log.truncate_after(keep).unwrap();
    }
    for lsn in kept {
        log.commit_to(lsn).unwrap();
    }
    for lsn in &lost {
        assert!(gone(&log.commit_to(*lsn)), "{lsn}");
    }
    log.append_durable(b"last").unwrap();
    log.checkpoint(log.durable()).unwrap();
    for lsn in &lost {
        assert!(gone(&log.commit_to(*lsn)), "{lsn}");
    }
}

/// Against a model that remembers of each record whether it was ever durable.
#[test]
fn p1_each_record_is_ok_or_gone_as_it_was() {
    for seed in 0..60_u64 {
        let disk = SimDisk::new(seed);
        let log = quiet(&disk);
        let mut draw = seed;
        let mut next = |n: u64| {
            draw = draw
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (draw >> 33) % n
        };
        // Whether it was durable; none: it still may become so.
        let mut records: BTreeMap<Lsn, Option<bool>> = BTreeMap::new();
        for _ in 0..50 {
            let durable = log.durable();
            for (_, known) in records.range_mut(..durable) {
                known.get_or_insert(true);
            }
            let cut = match next(9) {
                0..=4 => {
                    let lsn = log.append(&vec![7; next(7000) as usize]).unwrap();
                    records.insert(lsn, None);
                    continue;
                }
                5 => {
                    log.commit().unwrap();
                    continue;
                }
                6 => {
                    log.checkpoint(log.durable()).unwrap();
                    continue;
                }
                7 => {
                    let lsns: Vec<Lsn> = log.replay().map(|r| r.unwrap().lsn()).collect();
                    let lsn = lsns.get(next(1 + lsns.len() as u64) as usize).copied();
                    let Some(lsn) = lsn.filter(|lsn| *lsn >= log.checkpoint_lsn()) else {
                        continue;
                    };
                    log.truncate_after(lsn).unwrap();
                    Lsn::new(lsn.get() + 1)
                }
                _ if next(3) == 0 => {
                    log.truncate_all().unwrap();
                    Lsn::MIN
                }
                _ => continue,
            };
            for (_, known) in records.range_mut(cut..) {
                known.get_or_insert(false);
            }
        }
        log.commit().unwrap();
        for (lsn, known) in records {
            let outcome = log.commit_to(lsn);
            let is_right = if known == Some(false) { gone(&outcome) } else { outcome.is_ok() };
            assert!(is_right, "seed {seed}: {lsn} {known:?}: {outcome:?}");
        }
    }
}

fn poll(ticket: &mut Durable) -> Poll<Result<()>> {
    Pin::new(ticket).poll(&mut Context::from_waker(Waker::noop()))
}

/// A ticket that is awaited again says the same again, and so does a wait after it.
#[test]
fn a_ticket_says_the_same_each_time_it_is_asked() {
    let disk = SimDisk::new(1);
    let log = quiet(&disk);
    let keep = log.append_durable(b"keep").unwrap();
    let cut = log.append(b"cut").unwrap();
    let mut tickets =
        vec![log.when_durable(keep), log.when_durable(cut), log.when_durable(log.end())];
    log.truncate_after(keep).unwrap();
    let lsn = log.append(b"poisoned").unwrap();
    tickets.push(log.when_durable(lsn));
    disk.order(Fault::new(Call::Sync, 1, 5));
    log.commit().unwrap_err();
    tickets.push(log.when_durable(keep)); // refused
    for mut ticket in tickets {
        let said: Vec<String> = (0..3)
            .map(|_| match poll(&mut ticket) {
                Poll::Ready(outcome) => format!("{outcome:?}"),
                Poll::Pending => panic!("it had an outcome"),
            })
            .collect();
        assert_eq!(said[0], said[1]);
        assert_eq!(said[0], said[2]);
        assert_eq!(said[0], format!("{:?}", ticket.wait()));
    }
}

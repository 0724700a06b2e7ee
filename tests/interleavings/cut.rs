//! Cutting the log back beside appends that roll and beside commits (P2).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use duralog::sim::Call;
use duralog::{Error, Log, Lsn};
use shuttle::thread;

use super::bench::{Bench, Diary, Found, HALF, Hand, WHOLE, draw, join};

/// What an appending thread knows of the cut that goes on beside it.
#[derive(Debug, Default)]
struct Seen {
    /// Appended before the cut began: it must go.
    before: Vec<Lsn>,
    /// Appended after it returned: it must stay.
    after: Vec<Lsn>,
    read: Found,
    /// Not durable yet when so many manifests had been put in place.
    manifests: Vec<(Lsn, u64)>,
}

#[derive(Debug, Default)]
struct Cut {
    begun: AtomicBool,
    done: AtomicBool,
    /// Syncs by the time it had returned.
    syncs: AtomicU64,
}

fn append_beside(hand: &mut Hand, cut: &Cut, seen: &mut Seen, len: usize) {
    let after = cut.done.load(Ordering::SeqCst);
    let syncs = hand.log.stats().syncs;
    let Some(lsn) = hand.append(len) else { return };
    let manifests = hand.bench.disk.count(Call::Rename);
    if hand.log.durable() <= lsn {
        seen.manifests.push((lsn, manifests));
    }
    if !cut.begun.load(Ordering::SeqCst) {
        seen.before.push(lsn);
    } else if after {
        seen.after.push(lsn);
    }
    let after = cut.done.load(Ordering::SeqCst);
    match draw(6) {
        0..3 => match hand.log.commit_to(lsn) {
            Err(Error::Gone { .. }) => assert!(is_gone(&hand.log, lsn)),
            committed => {
                if hand.unless_off(committed).is_some() {
                    let gone = is_gone(&hand.log, lsn);
                    // What was durable when it was cut away is Ok for ever.
                    let syncs_then = match after {
                        true => cut.syncs.load(Ordering::SeqCst),
                        false => hand.log.stats().syncs,
                    };
                    let synced = syncs_then > syncs;
                    assert!(!gone || synced, "P1: Ok for a record that was cut away");
                    hand.owes(Lsn::new(lsn.get() + 1));
                }
            }
        },
        3 => match hand.log.commit() {
            Err(Error::Gone { .. }) => {
                assert!(!after && cut.begun.load(Ordering::SeqCst), "nothing was cut meanwhile");
            }
            committed => {
                if let Some(durable) = hand.unless_off(committed) {
                    hand.owes(durable);
                }
            }
        },
        4 => {
            for record in hand.log.replay() {
                if matches!(record, Err(Error::Gone { .. })) {
                    assert!(cut.begun.load(Ordering::SeqCst));
                    break;
                }
                let Some(record) = hand.unless_off(record) else { break };
                seen.read.push((record.lsn(), record.payload().to_vec()));
            }
        }
        _ => {}
    }
}

/// Also without power: the catalog knows.
fn is_gone(log: &Log, lsn: Lsn) -> bool {
    matches!(log.read(lsn), Err(Error::Gone { .. }))
}

#[test]
fn p2_a_cut_beside_appends_and_commits() {
    super::explore(|| {
        let mut bench = Bench::new();
        let log = bench.open();
        let mut first = bench.hand(&log, 1);
        for _ in 0..2 {
            first.append_durable(HALF);
        }
        let keep = first.diary.told[draw(2) as usize].0;
        bench.endanger(60);
        let cut = Arc::new(Cut::default());
        let threads = (2..4).map(|number| {
            let (mut hand, cut) = (bench.hand(&log, number), Arc::clone(&cut));
            thread::spawn(move || {
                let mut seen = Seen::default();
                for _ in 0..2 {
                    let len = if draw(2) == 0 { HALF } else { WHOLE };
                    append_beside(&mut hand, &cut, &mut seen, len);
                }
                (hand.diary, seen)
            })
        });
        let threads: Vec<_> = threads.collect();
        cut.begun.store(true, Ordering::SeqCst);
        let done = first.unless_off(log.truncate_after(keep)).is_some();
        let manifests = bench.disk.count(Call::Rename);
        cut.syncs.store(log.stats().syncs, Ordering::SeqCst);
        cut.done.store(done, Ordering::SeqCst);
        let (diaries, seen): (Vec<_>, Vec<_>) = join(threads).into_iter().unzip();
        let mut diary = Diary::of(diaries.into_iter().chain([first.diary]));
        let (gone, live): (Vec<_>, Vec<_>) =
            diary.told.clone().into_iter().partition(|(lsn, _)| is_gone(&log, *lsn));
        let from =
            live.iter().map(|(lsn, _)| *lsn).find(|lsn| *lsn > keep).unwrap_or(Lsn::new(u64::MAX));
        assert!(gone.iter().all(|(lsn, _)| keep < *lsn && *lsn < from), "P2: a hole was cut");
        for seen in &seen {
            assert!(!done || seen.before.iter().all(|lsn| is_gone(&log, *lsn)), "P2: not cut");
            assert!(!seen.after.iter().any(|lsn| is_gone(&log, *lsn)), "P1: cut afterwards");
            assert!(seen.read.iter().all(|read| diary.told.contains(read)), "no one wrote that");
        }
        drop(log);
        diary.told = live;
        bench.crash(|_, found| {
            // A cut that failed may stand or not; if so, not over what a sync covered after its manifest.
            let pairs = || seen.iter().flat_map(|seen| &seen.manifests);
            let later = |lsn: Lsn| pairs().any(|(of, seen)| *of == lsn && *seen >= manifests);
            let stands = !done && found.last().is_some_and(|(lsn, _)| *lsn == keep);
            let mut diary = diary.clone();
            if stands {
                diary.told.retain(|(lsn, _)| *lsn <= keep || later(*lsn));
            }
            diary.check(&found);
        });
    });
}

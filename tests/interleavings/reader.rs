//! Readers as in another process beside a writer that rolls, recycles and cuts (P1, P2).

use duralog::{Error, Lsn, Reader, ReaderFollower};
use shuttle::thread;

use super::bench::{Bench, Diary, Found, HALF, WHOLE, draw, join};
use super::retain::check_from;

#[derive(Debug, Default)]
struct Seen {
    durable: Found,
    /// Told that a part of it is gone.
    gone: bool,
}

/// Looks some times, and notes what comes; of a follower that the log has left behind, from the head again.
fn look(bench: &Bench, reader: &Reader, published: bool, times: u64) -> Seen {
    let mut seen = Seen::default();
    let from = |lsn: Lsn| -> Result<ReaderFollower, Error> {
        let follower = reader.follow(lsn)?;
        Ok(if published { follower.published() } else { follower })
    };
    let mut follower: Option<ReaderFollower> = None;
    let mut at = None;
    for _ in 0..times {
        let next = match (&mut follower, at) {
            (Some(follower), _) => follower.try_next(),
            (none, at) => {
                let start = at.map_or_else(|| reader.head(), Ok);
                match start.and_then(from) {
                    Ok(new) => none.insert(new).try_next(),
                    Err(error) => Err(error),
                }
            }
        };
        match next {
            Ok(Some(record)) => seen.durable.push((record.lsn, record.payload)),
            Ok(None) => thread::yield_now(),
            Err(Error::Gone { head, .. }) => {
                (seen.gone, follower, at) = (true, None, Some(head));
            }
            Err(_) if bench.disk.is_off() => break,
            Err(error) => panic!("what a writer does is no {error}"),
        }
    }
    seen
}

/// Records of which each was appended as it was seen, in order; and none is missing between two, unless it was told.
fn check(diary: &Diary, seen: &Seen) {
    for (lsn, payload) in &seen.durable {
        let told = diary.told.iter().any(|known| known.0 == *lsn && known.1 == *payload);
        assert!(
            told || diary.tried.contains(payload),
            "P2: no one appended what was seen at {lsn}"
        );
    }
    assert!(seen.durable.is_sorted_by(|a, b| a.0 < b.0), "P2: out of order");
    let Some((first, last)) = seen.durable.first().zip(seen.durable.last()) else { return };
    if !seen.gone {
        let between = diary.told.iter().filter(|(lsn, _)| *lsn >= first.0 && *lsn <= last.0);
        let missing = between.filter(|record| !seen.durable.contains(record)).count();
        assert_eq!(missing, 0, "P2: passed over");
    }
}

/// Segments are given up and recycled under followers. What one that shows only what is durable has shown is owed.
#[test]
fn p1_p2_a_reader_beside_recycling() {
    super::explore(|| {
        let mut bench = Bench::new();
        let log = bench.open();
        let mut hand = bench.hand(&log, 1);
        hand.append_durable(HALF);
        let reader = Reader::open_on(&bench.disk).unwrap();
        bench.endanger(120);
        let readers: Vec<_> = [false, true]
            .into_iter()
            .map(|published| {
                let (bench, reader) = (bench.clone(), reader.clone());
                thread::spawn(move || look(&bench, &reader, published, 12))
            })
            .collect();
        for _ in 0..5 {
            let len = if draw(2) == 0 { HALF } else { WHOLE };
            if draw(4) == 0 {
                hand.append(len);
            } else {
                hand.append_durable(len);
            }
            if draw(2) == 0 {
                let given_up = hand.log.checkpoint(hand.diary.owed);
                hand.unless_off(given_up);
            }
        }
        let seen = join(readers);
        for seen in &seen {
            check(&hand.diary, seen);
        }
        let mut diary = hand.diary.clone();
        // What was shown as durable is so, whatever the writer was told by then.
        let shown = seen[0].durable.iter().map(|(lsn, _)| Lsn::new(lsn.get() + 1)).max();
        diary.owed = diary.owed.max(shown.unwrap_or(Lsn::MIN));
        drop(hand);
        drop(log);
        bench.crash(|log, found| check_from(&mut diary, &found, log.checkpoint_lsn()));
    });
}

/// The file that a reader stands in is recycled and written to again, at the very place, whenever it likes.
#[test]
fn p2_a_reader_whose_file_is_recycled_under_it() {
    super::explore(|| {
        let mut bench = Bench::new();
        // Fewer threads, so that more schedules matter.
        bench.disk.set_background(false);
        bench.options = bench.options.clone().spare_segments(1);
        let log = bench.open();
        let mut hand = bench.hand(&log, 1);
        hand.append_durable(WHOLE);
        let reader = Reader::open_on(&bench.disk).unwrap();
        let looks = {
            let bench = bench.clone();
            let published = draw(2) == 0;
            thread::spawn(move || look(&bench, &reader, published, 4))
        };
        for _ in 0..4 {
            log.checkpoint(hand.diary.owed).unwrap();
            // One fills a segment.
            hand.append_durable(WHOLE);
        }
        check(&hand.diary, &looks.join().unwrap());
        drop(hand);
        drop(log);
        assert_eq!(bench.disk.violations(), Vec::<String>::new());
    });
}

/// The log is cut beside followers: of what was never durable a durable one shows nothing, and what it has shown that is
/// cut, it is told.
#[test]
fn p1_p2_a_reader_beside_a_cut() {
    super::explore(|| {
        let bench = Bench::new();
        let log = bench.open();
        let mut hand = bench.hand(&log, 1);
        hand.append_durable(HALF);
        let keep = hand.diary.told[0].0;
        let reader = Reader::open_on(&bench.disk).unwrap();
        let readers: Vec<_> = [false, true]
            .into_iter()
            .map(|published| {
                let (bench, reader) = (bench.clone(), reader.clone());
                thread::spawn(move || look(&bench, &reader, published, 10))
            })
            .collect();
        // Not durable when it is cut, unless the worker has synced it.
        let syncs = hand.log.stats().syncs;
        for _ in 0..1 + draw(2) {
            hand.append(if draw(2) == 0 { HALF } else { WHOLE });
        }
        let undone: Vec<Lsn> = hand.diary.told[1..].iter().map(|(lsn, _)| *lsn).collect();
        log.truncate_after(keep).unwrap();
        let synced = hand.log.stats().syncs > syncs;
        for _ in 0..2 {
            hand.append_durable(if draw(2) == 0 { HALF } else { WHOLE });
        }
        let seen = join(readers);
        for (number, seen) in seen.iter().enumerate() {
            for record in &seen.durable {
                assert!(hand.diary.told.contains(record), "P2: no one appended that");
                let cut = undone.contains(&record.0);
                assert!(number == 1 || synced || !cut, "P1: {} was never durable", record.0);
            }
            let after = seen.durable.iter().any(|(lsn, _)| Some(lsn) > undone.last());
            let cut = seen.durable.iter().any(|(lsn, _)| undone.contains(lsn));
            assert!(seen.gone || !(after && cut), "P2: what it has shown was cut, untold");
        }
        drop(hand);
        drop(log);
        assert_eq!(bench.disk.violations(), Vec::<String>::new());
    });
}

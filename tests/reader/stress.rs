//! A writer that does everything at random, and followers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use duralog::{Error, Log, Lsn, Reader};

use super::{in_memory, number, options, payload};

/// Splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

/// What the writer knows. A record is in `all` from before its append can be seen, under the LSN that it got once it has one.
#[derive(Default)]
struct Known {
    all: BTreeMap<u32, Option<Lsn>>,
    /// Taken away at the end, or about to be.
    cut: BTreeSet<u32>,
}

struct Writer<'a> {
    dir: &'a Path,
    known: &'a Mutex<Known>,
    random: Random,
    next: u32,
}

impl Writer<'_> {
    fn open(&mut self) -> Log {
        let spare = self.random.below(3) as usize;
        options().spare_segments(spare).open(self.dir).unwrap()
    }

    fn append(&mut self, log: &Log, count: u32) -> Lsn {
        let numbers: Vec<u32> = (self.next..self.next + count).collect();
        self.next += count;
        self.known.lock().unwrap().all.extend(numbers.iter().map(|n| (*n, None)));
        let random = &mut self.random;
        let mut bytes = |n: &u32| payload(*n, 1 + random.below(300) as usize);
        let payloads: Vec<_> = numbers.iter().map(&mut bytes).collect();
        let lsns = log.append_batch(&payloads).unwrap();
        let last = *lsns.last().unwrap();
        let known = &mut self.known.lock().unwrap().all;
        known.extend(numbers.into_iter().zip(lsns.into_iter().map(Some)));
        last
    }

    fn cut(&mut self, log: &Log) {
        let back = self.random.below(6) as usize;
        let floor = log.head().max(log.checkpoint_lsn());
        let mut known = self.known.lock().unwrap();
        let live = known.all.iter().filter(|(n, _)| !known.cut.contains(n));
        let Some((_, Some(at))) = live.rev().nth(back) else { return };
        let at = *at;
        if at <= floor {
            return;
        }
        let cut: Vec<u32> =
            known.all.iter().filter(|(_, lsn)| **lsn > Some(at)).map(|(n, _)| *n).collect();
        let before = known.cut.clone();
        known.cut.extend(cut);
        drop(known);
        match log.truncate_after(at) {
            Ok(()) => {}
            Err(Error::InsideBatch { .. }) => self.known.lock().unwrap().cut = before,
            Err(error) => panic!("{error}"),
        }
    }

    fn run(&mut self, rounds: u64) {
        let mut log = self.open();
        for _ in 0..rounds {
            match self.random.below(60) {
                0..25 => drop(self.append(&log, 1)),
                25..40 => {
                    let lsn = self.append(&log, 1);
                    log.commit_to(lsn).unwrap();
                }
                40..46 => drop(self.append(&log, 3)),
                46..48 => drop(log.roll().unwrap()),
                48..51 => drop(log.commit().unwrap()),
                51..54 => {
                    let back = self.random.below(3) * (20 << 10);
                    let at = log.durable().get().saturating_sub(back);
                    log.checkpoint(Lsn::new(at)).unwrap();
                }
                54..57 => self.cut(&log),
                57 => std::thread::sleep(Duration::from_millis(2)),
                kind => {
                    if kind == 58 {
                        log.close().unwrap();
                    }
                    drop(log);
                    log = self.open();
                }
            }
        }
        log.close().unwrap();
    }
}

fn rounds() -> u64 {
    std::env::var("DURALOG_STRESS").map_or(1500, |rounds| rounds.parse().unwrap())
}

/// Runs of records, between which the follower was told that something is gone.
fn follow(reader: &Reader, published: bool, ended: &AtomicBool) -> Vec<Vec<(u32, Lsn)>> {
    let mut runs = Vec::new();
    let mut at = reader.head().unwrap();
    'again: loop {
        runs.push(Vec::new());
        let mut follower = match reader.follow(at) {
            Err(Error::Gone { head, .. }) => {
                at = head;
                continue;
            }
            follower => follower.unwrap(),
        };
        if published {
            follower = follower.published();
        }
        loop {
            let last = ended.load(Ordering::SeqCst);
            // Behind the end, long enough to look files up by their names once more.
            let wait = Duration::from_millis(if last { 250 } else { 1 });
            match follower.next_timeout(wait) {
                Ok(Some(record)) => {
                    runs.last_mut().unwrap().push((number(&record.payload), record.lsn));
                }
                Ok(None) if last => return runs,
                Ok(None) => {}
                Err(Error::Gone { head, .. }) => {
                    at = head;
                    continue 'again;
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

#[test]
fn p2_followers_see_what_was_appended_whatever_the_writer_does() {
    for seed in 0..6 {
        let dir = in_memory();
        drop(options().open(dir.path()).unwrap());
        let (known, ended) = (Mutex::new(Known::default()), AtomicBool::new(false));
        let reader = Reader::open(dir.path()).unwrap();
        let runs: Vec<_> = std::thread::scope(|scope| {
            let followers: Vec<_> = [false, true, false]
                .map(|published| {
                    let (reader, ended) = (&reader, &ended);
                    scope.spawn(move || follow(reader, published, ended))
                })
                .into_iter()
                .collect();
            Writer { dir: dir.path(), known: &known, random: Random(seed), next: 0 }.run(rounds());
            ended.store(true, Ordering::SeqCst);
            followers.into_iter().map(|follower| follower.join().unwrap()).collect()
        });
        let known = known.lock().unwrap();
        let live = |n: &u32| !known.cut.contains(n);
        let last = known.all.keys().rev().find(|n| live(n)).copied();
        for runs in &runs {
            for run in runs {
                assert!(run.is_sorted_by(|a, b| a.0 < b.0 && a.1 < b.1), "out of order");
                assert!(run.iter().all(|(n, lsn)| known.all[n] == Some(*lsn)), "not that record");
                let Some((first, last)) = run.first().zip(run.last()) else { continue };
                let shown: BTreeSet<u32> = run.iter().map(|(n, _)| *n).collect();
                let missing = known.all.range(first.0..=last.0).map(|(n, _)| *n);
                let missing: Vec<u32> = missing.filter(|n| live(n) && !shown.contains(n)).collect();
                assert!(missing.is_empty(), "seed {seed}: passed over {missing:?}");
            }
            // The last run reached the end and holds nothing that was cut.
            let run = runs.last().unwrap();
            assert!(run.iter().all(|(n, _)| live(n)), "cut, and not told");
            let replayed = reader.replay().unwrap().map(|r| number(&r.unwrap().payload)).last();
            assert!(replayed.is_none() || replayed == last);
            assert!(replayed.is_none() || run.last().map(|(n, _)| *n) == replayed, "not all came");
        }
    }
}

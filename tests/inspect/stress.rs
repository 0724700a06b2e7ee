//! A writer that does everything at random, while others look.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;

use duralog::inspect::Inspector;
use duralog::{Error, Log, Lsn, Tail};

use super::{damage, in_memory, numbers, options, write};

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

/// What a writer knows of its log. Numbers come in after the append that makes them, go before the call that takes
/// them away, and are cut after it.
#[derive(Clone, Default)]
struct Known {
    live: BTreeMap<u32, Lsn>,
    cut: BTreeSet<u32>,
    /// Not open, or being closed or opened; and how often it has been closed.
    closed: bool,
    closes: u32,
}

/// A writer that does all that one can do.
struct Writer<'a> {
    dir: &'a Path,
    known: &'a Mutex<Known>,
    random: Random,
    next: u32,
    /// It gives up no record below, and does not open the log again.
    keep: Option<Lsn>,
    /// It has the log open already.
    opened: Option<Log>,
}

impl Writer<'_> {
    fn open(&mut self) -> Log {
        let spare = self.random.below(3) as usize;
        let log = options().spare_segments(spare).open(self.dir).unwrap();
        self.known.lock().unwrap().closed = false;
        log
    }

    fn append(&mut self, log: &Log, count: u64) -> Lsn {
        let numbers: Vec<u32> = (0..count as u32).map(|n| self.next + n).collect();
        self.next += count as u32;
        let random = &mut self.random;
        let mut payload = |n: &u32| n.to_le_bytes().repeat(1 + random.below(300) as usize);
        let payloads: Vec<_> = numbers.iter().map(&mut payload).collect();
        let lsns = if count == 1 {
            vec![log.append(&payloads[0]).unwrap()]
        } else {
            log.append_batch(&payloads).unwrap()
        };
        let last = *lsns.last().unwrap();
        self.known.lock().unwrap().live.extend(numbers.into_iter().zip(lsns));
        last
    }

    /// Some record of late, if the log may be cut or given up there.
    fn some(&mut self, log: &Log) -> Option<Lsn> {
        let back = self.random.below(8) as usize;
        let floor = log.head().max(log.checkpoint_lsn()).max(self.keep.unwrap_or(Lsn::MIN));
        let known = self.known.lock().unwrap();
        known.live.values().nth_back(back).copied().filter(|lsn| *lsn > floor)
    }

    fn cut(&mut self, log: &Log) {
        let Some(at) = self.some(log) else { return };
        let cut: Vec<u32> = {
            let mut known = self.known.lock().unwrap();
            let cut = known.live.iter().filter(|(_, lsn)| **lsn > at).map(|(n, _)| *n).collect();
            known.live.retain(|_, lsn| *lsn <= at);
            cut
        };
        match log.truncate_after(at) {
            Ok(()) => self.known.lock().unwrap().cut.extend(cut),
            // The rest is unknown to `known`, which is no harm.
            Err(Error::InsideBatch { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }

    fn checkpoint(&mut self, log: &Log) {
        let below = self.some(log).filter(|lsn| *lsn < log.durable());
        let at = match self.keep {
            // Only a change of the manifest.
            Some(keep) => keep.min(Lsn::new(log.checkpoint_lsn().get() + 8)),
            None => below.unwrap_or(log.durable()),
        };
        self.known.lock().unwrap().live.retain(|_, lsn| *lsn >= at);
        log.checkpoint(at).unwrap();
    }

    fn run(&mut self, rounds: u64) {
        let mut log = self.opened.take().unwrap_or_else(|| self.open());
        for _ in 0..rounds {
            match self.random.below(40) {
                0..20 => drop(self.append(&log, 1)),
                20..26 => {
                    let lsn = self.append(&log, 1);
                    log.commit_to(lsn).unwrap();
                }
                26..30 => drop(self.append(&log, 3)),
                30 => drop(log.roll().unwrap()),
                31 => drop(log.commit().unwrap()),
                32..34 => self.checkpoint(&log),
                34..37 => self.cut(&log),
                _ if self.keep.is_some() => {}
                kind => {
                    {
                        let mut known = self.known.lock().unwrap();
                        known.closed = kind == 39;
                        known.closes += u32::from(kind == 39);
                    }
                    if kind == 39 {
                        log.close().unwrap();
                    }
                    drop(log);
                    log = self.open();
                }
            }
        }
    }
}

/// How much the stress below does; more with `DURALOG_STRESS`.
fn rounds() -> u64 {
    std::env::var("DURALOG_STRESS").map_or(300, |rounds| rounds.parse().unwrap())
}

/// Looks for as long as the writer lives, and once more. How often it looked.
fn while_it_writes(mut writer: Writer<'_>, rounds: u64, mut look: impl FnMut()) -> u64 {
    let mut looked = 0;
    std::thread::scope(|scope| {
        let alive = scope.spawn(move || writer.run(rounds));
        while !alive.is_finished() {
            look();
            looked += 1;
        }
    });
    look();
    looked
}

fn unless_gone<T>(result: Result<T, Error>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(Error::Gone { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_sound_log_is_sound_whatever_its_writer_does() {
    let (mut whole, mut looked) = (0, 0);
    for seed in 0..4 {
        let dir = in_memory();
        let known = Mutex::new(Known { closed: true, ..Known::default() });
        let writer = Writer {
            dir: dir.path(),
            known: &known,
            random: Random(seed),
            next: 0,
            keep: None,
            opened: None,
        };
        looked += while_it_writes(writer, rounds(), || {
            let before = known.lock().unwrap().clone();
            let inspector = match Inspector::open(dir.path()) {
                Err(Error::NoLog { .. }) => return,
                opened => opened.unwrap(),
            };
            let mut records = inspector.records();
            let found = unless_gone(numbers(&mut records));
            let verified = unless_gone(inspector.verify());
            let after = known.lock().unwrap().clone();
            let may_be_clean = before.closed || before.closes < after.closes;
            for tail in [records.tail(), verified.map(|verified| verified.tail)] {
                assert!(may_be_clean || tail != Some(Tail::Clean), "it was not closed");
            }
            let Some(found) = found else { return };
            whole += 1;
            assert!(found.is_sorted_by(|a, b| a < b));
            assert!(found.iter().all(|n| !before.cut.contains(n)), "cut, yet there");
            let found: BTreeSet<u32> = found.into_iter().collect();
            let lost = |n: &&u32| after.live.contains_key(n) && !found.contains(n);
            assert_eq!(before.live.keys().find(lost), None, "a record is missing");
        });
    }
    // At least those behind the writer's end.
    assert!(whole >= 4, "{whole} of {looked} looks saw all");
}

#[test]
fn p5_a_damaged_log_is_damaged_whatever_its_writer_does() {
    // In a sealed segment, and in the active one.
    for (seed, after) in [(0, 60), (1, 60), (2, 10), (3, 10)] {
        let dir = in_memory();
        let log = options().open(dir.path()).unwrap();
        let lsns = write(&log, 0..40 + after);
        log.close().unwrap();
        let known = Mutex::new(Known::default());
        // Of what it goes on after, an open checks the frames.
        let log = options().open(dir.path()).unwrap();
        damage(dir.path(), lsns[40]);
        let writer = Writer {
            dir: dir.path(),
            known: &known,
            random: Random(seed),
            next: 1000,
            keep: Some(lsns[40]),
            opened: Some(log),
        };
        while_it_writes(writer, rounds(), || {
            let inspector = Inspector::open(dir.path()).unwrap();
            let found = numbers(&mut inspector.records()).unwrap_err();
            let verified = inspector.verify().unwrap_err();
            assert!(found.is_corrupt() && verified.is_corrupt(), "{found}; {verified}");
        });
    }
}

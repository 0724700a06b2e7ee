//! What the scenarios share: a log on a simulated disk, threads that remember what they were told, and the
//! comparison of that with what a power cut left.

use std::ops::Deref;
use std::sync::Arc;

use duralog::sim::SimDisk;
use duralog::{Error, Log, Lsn, Options, SyncMethod, SyncPolicy, WriteMethod};
use shuttle::rand::Rng;
use shuttle::thread::JoinHandle;

/// A number below `n`, the same one when the schedule is replayed.
pub(crate) fn draw(n: u64) -> u64 {
    shuttle::rand::thread_rng().gen_range(0..n)
}

/// One fits in a segment of 16 KiB.
pub(crate) const WHOLE: usize = 7000;
/// Two fit.
pub(crate) const HALF: usize = 5000;

/// Bytes that say which record they are, wherever one looks.
pub(crate) fn payload(number: u64, len: usize) -> Vec<u8> {
    let words = (0..len as u64 / 8).map(|i| (number << 32 | i).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    words.flat_map(u64::to_le_bytes).collect()
}

/// When the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    AtSomeCall,
    /// The moment that a thread is told that its record is durable.
    WhenTold,
    AtTheEnd,
}

/// Lets them all run, and what they give.
pub(crate) fn join<T>(threads: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    let threads: Vec<_> = threads.into_iter().collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

pub(crate) type Found = Vec<(Lsn, Vec<u8>)>;

#[derive(Clone, Debug)]
pub(crate) struct Bench {
    pub(crate) disk: SimDisk,
    pub(crate) options: Options,
    power: Power,
}

impl Bench {
    /// A disk, and a way to write that is drawn.
    pub(crate) fn new() -> Bench {
        let disk = SimDisk::new(draw(1 << 20));
        disk.set_background(true);
        let write = [WriteMethod::Pwrite, WriteMethod::Mmap, WriteMethod::Auto, WriteMethod::Auto];
        let write = write[draw(4) as usize];
        let sync = if draw(4) == 0 { SyncMethod::Msync } else { SyncMethod::Fdatasync };
        // Or the worker commits too.
        let policy = if draw(4) == 0 { SyncPolicy::Bytes(8000) } else { SyncPolicy::OnCommit };
        let options = Options::new()
            .sync_policy(policy)
            .segment_size(16 << 10)
            .spare_segments(draw(3) as usize)
            .write_method(write)
            .sync_method(sync);
        Bench { disk, options, power: Power::AtTheEnd }
    }

    pub(crate) fn open(&self) -> Shared {
        Shared(Some(Arc::new(self.options.clone().open_on(&self.disk).unwrap())))
    }

    /// From now on the power may go, within so many calls.
    pub(crate) fn endanger(&mut self, calls: u64) {
        self.power = match draw(3) {
            0 => Power::WhenTold,
            1 => Power::AtTheEnd,
            _ => Power::AtSomeCall,
        };
        if self.power == Power::AtSomeCall {
            self.disk.cut_power_at(self.disk.calls() + 1 + draw(calls));
        }
    }

    /// Whether the power is still there; then it stays.
    pub(crate) fn is_safe(&self) -> bool {
        self.disk.cut_power_at(u64::MAX);
        !self.disk.is_off()
    }

    /// A thread's view of the log; its payloads are numbered from `first`.
    pub(crate) fn hand(&self, log: &Shared, first: u64) -> Hand {
        let (bench, log) = (self.clone(), log.clone());
        Hand { bench, log, next: first * 100, diary: Diary::default() }
    }

    /// Two of the states that a power cut may leave, opened.
    pub(crate) fn crash(&self, mut check: impl FnMut(&Log, Found)) {
        for _ in 0..2 {
            let state = self.disk.crash(draw(1 << 20));
            state.set_background(false);
            let log = self.options.clone().open_on(&state);
            let log = log.unwrap_or_else(|error| panic!("a power cut is never damage: {error}"));
            check(&log, found(&log));
        }
        assert_eq!(self.disk.violations(), Vec::<String>::new());
    }
}

pub(crate) fn found(log: &Log) -> Found {
    let record = |record: Result<duralog::Record, Error>| {
        let record = record.unwrap();
        (record.lsn(), record.payload().to_vec())
    };
    log.replay().map(record).collect()
}

/// A log among threads. A failed assertion leaves it alone: to end it would need the other threads, and
/// hide the failure behind a second one.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Option<Arc<Log>>);

impl Deref for Shared {
    type Target = Log;

    fn deref(&self) -> &Log {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if std::thread::panicking() {
            std::mem::forget(self.0.take());
        }
    }
}

/// What threads were told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Diary {
    /// Records whose append returned.
    pub(crate) told: Found,
    /// Records whose append failed: they may be there or not.
    pub(crate) tried: Vec<Vec<u8>>,
    /// All records below are owed.
    pub(crate) owed: Lsn,
}

impl Diary {
    /// All of it, in order of the log.
    pub(crate) fn of(diaries: impl IntoIterator<Item = Diary>) -> Diary {
        let mut all = Diary::default();
        for diary in diaries {
            all.told.extend(diary.told);
            all.tried.extend(diary.tried);
            all.owed = all.owed.max(diary.owed);
        }
        all.told.sort();
        let same = all.told.windows(2).find(|pair| pair[0].0 == pair[1].0);
        assert!(same.is_none(), "P2: one LSN names two records");
        all
    }

    /// P1 and P2: what is found is what was appended, without a gap, at least up to what is owed.
    pub(crate) fn check(&self, found: &Found) {
        let mut told = self.told.iter().peekable();
        for (lsn, payload) in found {
            if told.next_if(|(known, bytes)| known == lsn && bytes == payload).is_none() {
                let next = told.peek().map(|(lsn, _)| *lsn);
                assert!(
                    next.is_none_or(|next| *lsn < next) && self.tried.contains(payload),
                    "P2: at {lsn} stands what no one appended there; next is {next:?}"
                );
            }
        }
        if let Some((lsn, _)) = told.next() {
            assert!(*lsn >= self.owed, "P1: {lsn} is lost, all below {} are owed", self.owed);
        }
    }
}

/// One thread at work. Errors are the power's, or the scenario says what they may be.
#[derive(Debug)]
pub(crate) struct Hand {
    pub(crate) bench: Bench,
    pub(crate) log: Shared,
    next: u64,
    pub(crate) diary: Diary,
}

impl Hand {
    pub(crate) fn payload(&mut self, len: usize) -> Vec<u8> {
        self.next += 1;
        payload(self.next, len)
    }

    /// What a call gave; none if the power is gone.
    pub(crate) fn unless_off<T>(&self, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(_) if self.bench.disk.is_off() => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Appends, whatever comes of it.
    pub(crate) fn try_append(&mut self, len: usize) -> Result<Lsn, Error> {
        let payload = self.payload(len);
        let appended = self.log.append(&payload);
        match &appended {
            Ok(lsn) => self.diary.told.push((*lsn, payload)),
            Err(_) => self.diary.tried.push(payload),
        }
        appended
    }

    pub(crate) fn append(&mut self, len: usize) -> Option<Lsn> {
        let appended = self.try_append(len);
        self.unless_off(appended)
    }

    /// Everything below `lsn` is durable, the engine says.
    pub(crate) fn owes(&mut self, lsn: Lsn) {
        self.diary.owed = self.diary.owed.max(lsn);
        if self.bench.power == Power::WhenTold && draw(3) == 0 {
            self.bench.disk.cut_power();
        }
    }

    pub(crate) fn commit_to(&mut self, lsn: Lsn) {
        let committed = self.log.commit_to(lsn);
        if self.unless_off(committed).is_some() {
            self.owes(Lsn::new(lsn.get() + 1));
        }
    }

    pub(crate) fn append_and_commit(&mut self, len: usize) {
        if let Some(lsn) = self.append(len) {
            self.commit_to(lsn);
        }
    }

    pub(crate) fn append_durable(&mut self, len: usize) {
        let payload = self.payload(len);
        match self.log.append_durable(&payload) {
            Ok(lsn) => {
                self.diary.told.push((lsn, payload));
                self.owes(Lsn::new(lsn.get() + 1));
            }
            Err(error) => {
                self.diary.tried.push(payload);
                self.unless_off::<()>(Err(error));
            }
        }
    }

    pub(crate) fn commit(&mut self) {
        let committed = self.log.commit();
        if let Some(durable) = self.unless_off(committed) {
            let mine = self.diary.told.last().map(|(lsn, _)| *lsn);
            assert!(mine.is_none_or(|mine| mine < durable), "P1: commit returned early");
            self.owes(durable);
        }
    }
}

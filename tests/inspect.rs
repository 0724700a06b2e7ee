//! Reading beside a writer: what it does meanwhile is neither damage nor the end of the log, and damage stays
//! damage (P5).
//!
//! `records()` is lazy: each test takes some records, lets the writer act, and goes on.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use duralog::inspect::{Inspector, OwnedRecord};
use duralog::{Error, Log, Lsn, Options, Tail};

fn options() -> Options {
    Options::new().segment_size(16 << 10)
}

/// Appends and commits records that say their numbers.
fn write(log: &Log, numbers: std::ops::Range<u32>) -> Vec<Lsn> {
    numbers.map(|n| log.append_durable(&n.to_le_bytes().repeat(50)).unwrap()).collect()
}

/// The numbers of the records to the end of the walk, or the error that it ended with.
fn numbers(records: impl Iterator<Item = Result<OwnedRecord, Error>>) -> Result<Vec<u32>, Error> {
    records
        .map(|record| {
            let payload = record?.payload;
            let number: [u8; 4] = payload[..4].try_into().unwrap();
            assert!(payload == number.repeat(payload.len() / 4), "a record has changed");
            Ok(u32::from_le_bytes(number))
        })
        .collect()
}

fn segment_at(dir: &Path, lsn: Lsn) -> (PathBuf, Lsn) {
    let inspector = Inspector::open(dir).unwrap();
    let mut segments = inspector.summary().segments.iter();
    let segment = segments.rfind(|segment| segment.base <= lsn).unwrap();
    (dir.join(&segment.file), segment.base)
}

/// Flips a bit of the record at `lsn`.
fn damage(dir: &Path, lsn: Lsn) {
    let (path, base) = segment_at(dir, lsn);
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let (at, mut byte) = (lsn.get() - base.get() + 20, [0]);
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 4], at).unwrap();
}

/// What recovery leaves that was killed between its two manifests: all sealed, none active.
fn interrupt_recovery(dir: &Path) {
    // It stumbles over a directory with the name of a segment that it means to remove.
    let stone = dir.join("0000000000000000.seg");
    std::fs::create_dir(&stone).unwrap();
    options().open(dir).unwrap_err();
    std::fs::remove_dir(&stone).unwrap();
}

#[test]
fn an_interrupted_recovery_is_no_clean_end() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    let last = *write(&log, 0..5).last().unwrap();
    drop(log);
    interrupt_recovery(dir.path());
    let inspector = Inspector::open(dir.path()).unwrap();
    let summary = inspector.summary();
    assert!(summary.clean_end.is_none() && summary.segments.iter().all(|s| s.end.is_some()));
    let at = Lsn::new(last.get() + 208);
    let mut records = inspector.records();
    assert_eq!(numbers(&mut records).unwrap(), [0, 1, 2, 3, 4]);
    assert_eq!(records.tail(), Some(Tail::Unclean { at }));
    let verified = inspector.verify().unwrap();
    assert_eq!((verified.tail, verified.end, verified.records), (Tail::Unclean { at }, at, 5));
    // From behind the last record too.
    let mut none = inspector.records_from(Lsn::new(at.get() + 8)).unwrap();
    assert_eq!((none.by_ref().count(), none.tail()), (0, Some(Tail::Unclean { at })));
    assert_eq!(options().open(dir.path()).unwrap().recovery().tail, Tail::Unclean { at });
}

#[test]
fn an_interrupted_recovery_of_nothing_is_no_clean_end_either() {
    let dir = tempfile::tempdir().unwrap();
    drop(options().open(dir.path()).unwrap());
    interrupt_recovery(dir.path());
    let inspector = Inspector::open(dir.path()).unwrap();
    assert!(inspector.summary().segments.is_empty());
    assert!(matches!(inspector.verify().unwrap().tail, Tail::Unclean { .. }));
}

/// Waits for the background: a segment stands ready behind the active one.
fn until_one_is_ready(dir: &Path) {
    let ready = || {
        let summary = Inspector::open(dir).unwrap().summary().clone();
        summary.segments.last().unwrap().state == duralog::inspect::SegmentState::Ready
    };
    for _ in 0..3000 {
        if ready() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("no segment became ready");
}

#[test]
fn p5_damage_is_an_error_though_the_writer_changes_the_manifest() {
    // What the writer does meanwhile: a checkpoint that frees nothing, and a roll, by which the segment is sealed.
    for (roll, from_the_start) in [(false, true), (false, false), (true, true), (true, false)] {
        let dir = tempfile::tempdir().unwrap();
        let log = options().open(dir.path()).unwrap();
        let lsns = write(&log, 0..40);
        until_one_is_ready(dir.path());
        let inspector = Inspector::open(dir.path()).unwrap();
        let mut records = inspector.records();
        if !from_the_start {
            records.next().unwrap().unwrap();
        }
        damage(dir.path(), lsns[20]);
        if roll {
            log.roll().unwrap();
        }
        log.checkpoint(lsns[1]).unwrap();
        // Sees the damage or, where it had read that part before, the records: never fewer.
        match numbers(&mut records) {
            Ok(found) => assert!(!from_the_start && found.len() == 39, "{found:?}"),
            Err(error) => assert!(error.is_corrupt(), "{error}"),
        }
        let found = inspector.verify().unwrap_err();
        assert!(found.is_corrupt() && found.to_string().contains("offset"), "{found}");
        // And by the newest manifest.
        let newest = Inspector::open(dir.path()).unwrap();
        assert!(numbers(&mut newest.records()).unwrap_err().is_corrupt());
        assert!(newest.verify().unwrap_err().is_corrupt());
    }
}

/// No mark vouches for the last group, but the watermark does, as it is now.
#[test]
fn p5_damage_to_what_was_committed_beside_the_walk_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    if !dir.path().join("WATERMARK").exists() {
        return eprintln!("skipped: no watermark on this file system");
    }
    write(&log, 0..5);
    let inspector = Inspector::open(dir.path()).unwrap();
    let last = write(&log, 5..6)[0];
    damage(dir.path(), last);
    assert!(numbers(&mut inspector.records()).unwrap_err().is_corrupt());
    assert!(inspector.verify().unwrap_err().is_corrupt());
}

#[test]
fn p5_a_segment_that_is_recycled_under_the_walk_is_not_its_end() {
    let dir = tempfile::tempdir().unwrap();
    // Larger than what the walk reads at once.
    let log = Options::new().segment_size(4 << 20).open(dir.path()).unwrap();
    let write = |numbers: std::ops::Range<u32>| {
        for n in numbers {
            log.append(&n.to_le_bytes().repeat(25_000)).unwrap();
        }
        log.commit().unwrap()
    };
    let end = write(0..35);
    let inspector = Inspector::open(dir.path()).unwrap();
    let (first, _) = segment_at(dir.path(), Lsn::MIN);
    let inode = first.metadata().unwrap().ino();
    let mut records = inspector.records();
    assert_eq!(numbers(records.by_ref().take(2)).unwrap(), [0, 1]);
    log.checkpoint(end).unwrap();
    write(1000..1120);
    let files = std::fs::read_dir(dir.path()).unwrap();
    assert!(files.map(|f| f.unwrap().metadata().unwrap()).any(|f| f.ino() == inode), "recycled");
    assert!(!first.exists(), "recycled");
    match numbers(&mut records) {
        Err(Error::Gone { head, .. }) => assert!(head >= end),
        other => panic!("{other:?}"),
    }
    let verified = inspector.verify().unwrap();
    assert_eq!(verified.records, 120);
    assert!(matches!(verified.tail, Tail::Unclean { .. }));
}

/// Without spares: what is cut away or given up is removed at once.
fn bare() -> Options {
    options().spare_segments(0)
}

#[test]
fn a_cut_beside_the_walk_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = bare().open(dir.path()).unwrap();
    let lsns = write(&log, 0..5);
    until_one_is_ready(dir.path());
    let inspector = Inspector::open(dir.path()).unwrap();
    let (mut before, mut beyond) = (inspector.records(), inspector.records());
    assert_eq!(numbers(before.by_ref().take(2)).unwrap(), [0, 1]);
    assert_eq!(numbers(beyond.by_ref().take(5)).unwrap(), [0, 1, 2, 3, 4]);
    // The walk follows the end frame into a segment that the cut leaves out.
    log.roll().unwrap();
    write(&log, 5..8);
    log.truncate_after(lsns[3]).unwrap();
    write(&log, 10..12);
    // What has been shown and is cut away cannot be taken back: the walk says that it is gone.
    for mut records in [before, beyond] {
        match numbers(&mut records) {
            Err(Error::Gone { lsn, .. }) => assert_eq!(lsn, lsns[4]),
            other => panic!("{other:?}"),
        }
        assert_eq!(records.tail(), None);
    }
    let newest = Inspector::open(dir.path()).unwrap();
    assert_eq!(numbers(&mut newest.records()).unwrap(), [0, 1, 2, 3, 10, 11]);
    assert_eq!(inspector.verify().unwrap().records, 6);
}

#[test]
fn a_cut_between_segments_beside_the_walk_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = bare().open(dir.path()).unwrap();
    let lsns = write(&log, 0..5);
    until_one_is_ready(dir.path());
    let inspector = Inspector::open(dir.path()).unwrap();
    let mut records = inspector.records();
    assert_eq!(numbers(records.by_ref().take(2)).unwrap(), [0, 1]);
    log.roll().unwrap();
    write(&log, 5..8);
    log.truncate_after(lsns[4]).unwrap();
    write(&log, 10..12);
    assert_eq!(numbers(&mut records).unwrap(), [2, 3, 4, 10, 11]);
    assert!(matches!(records.tail(), Some(Tail::Unclean { .. })));
    assert_eq!(inspector.verify().unwrap().records, 7);
}

#[test]
fn a_cut_into_a_sealed_segment_beside_the_walk_is_no_damage() {
    let dir = tempfile::tempdir().unwrap();
    let log = bare().open(dir.path()).unwrap();
    let lsns = write(&log, 0..200);
    let inspector = Inspector::open(dir.path()).unwrap();
    let sealed = inspector.summary().segments.iter().filter(|s| s.end.is_some()).count();
    assert!(sealed > 1);
    let mut records = inspector.records();
    assert_eq!(numbers(records.by_ref().take(2)).unwrap(), [0, 1]);
    log.truncate_after(lsns[9]).unwrap();
    write(&log, 200..203);
    let found = numbers(&mut records);
    assert!(matches!(found, Err(Error::Gone { .. })), "{found:?}");
    let verified = inspector.verify().unwrap();
    assert_eq!(verified.records, 13);
}

#[test]
fn a_recovery_beside_the_walk_is_no_damage() {
    for rolled in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let log = bare().open(dir.path()).unwrap();
        let lsns = write(&log, 0..5);
        until_one_is_ready(dir.path());
        let inspector = Inspector::open(dir.path()).unwrap();
        let mut records = inspector.records();
        assert_eq!(numbers(records.by_ref().take(2)).unwrap(), [0, 1]);
        if rolled {
            // The end frame leads to a segment that is empty, so recovery drops it.
            log.roll().unwrap();
        }
        drop(log);
        if !rolled {
            // A torn tail, where recovery punches a hole.
            let (path, base) = segment_at(dir.path(), lsns[4]);
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.write_all_at(&[7; 8192], lsns[4].get() - base.get() + 208).unwrap();
        }
        let mut late = inspector.records();
        assert_eq!(numbers(late.by_ref().take(3)).unwrap(), [0, 1, 2]);
        let log = bare().open(dir.path()).unwrap();
        write(&log, 5..8);
        assert_eq!(numbers(&mut records).unwrap(), [2, 3, 4, 5, 6, 7]);
        assert_eq!(numbers(&mut late).unwrap(), [3, 4, 5, 6, 7]);
        assert!(matches!(late.tail(), Some(Tail::Unclean { .. })));
        assert_eq!(inspector.verify().unwrap().records, 8);
        log.close().unwrap();
        assert_eq!(inspector.verify().unwrap().tail, Tail::Clean);
    }
}

/// The other way round: what was closed when the inspector looked and is open now is not called closed.
#[test]
fn a_log_that_was_opened_again_is_not_called_clean() {
    let dir = tempfile::tempdir().unwrap();
    let log = options().open(dir.path()).unwrap();
    write(&log, 0..5);
    log.close().unwrap();
    let inspector = Inspector::open(dir.path()).unwrap();
    let mut records = inspector.records();
    assert_eq!(numbers(records.by_ref().take(2)).unwrap(), [0, 1]);
    let log = options().open(dir.path()).unwrap();
    write(&log, 5..8);
    assert_eq!(numbers(&mut records).unwrap(), [2, 3, 4, 5, 6, 7]);
    assert!(matches!(records.tail(), Some(Tail::Unclean { .. })));
    let verified = inspector.verify().unwrap();
    assert_eq!((verified.records, matches!(verified.tail, Tail::Unclean { .. })), (8, true));
}

/// The walk has read ahead to where the log ended, and marks that were written since vouch for that place.
#[test]
fn what_was_appended_since_is_no_damage() {
    // Marks beyond what is read at once, and in the next segment.
    for (size, len, roll) in [(4 << 20, 25_000, false), (16 << 10, 50, true)] {
        let dir = tempfile::tempdir().unwrap();
        let log = Options::new().segment_size(size).open(dir.path()).unwrap();
        let write = |numbers: std::ops::Range<u32>| {
            for n in numbers {
                log.append_durable(&n.to_le_bytes().repeat(len)).unwrap();
            }
        };
        write(0..5);
        until_one_is_ready(dir.path());
        let inspector = Inspector::open(dir.path()).unwrap();
        let mut records = inspector.records();
        assert_eq!(numbers(records.by_ref().take(2)).unwrap(), [0, 1]);
        write(5..18);
        if roll {
            log.roll().unwrap();
            write(18..20);
        }
        let all: Vec<u32> = (2..if roll { 20 } else { 18 }).collect();
        assert_eq!(numbers(&mut records).unwrap(), all);
        assert!(matches!(records.tail(), Some(Tail::Unclean { .. })));
    }
}

/// What a writer may do between two records of a walk.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Act {
    Append,
    Roll,
    CutLately,
    CutEarly,
    CheckpointEarly,
    CheckpointAll,
    Crash,
    Reopen,
    Close,
    InterruptRecovery,
}

const ACTS: [Act; 10] = [
    Act::Append,
    Act::Roll,
    Act::CutLately,
    Act::CutEarly,
    Act::CheckpointEarly,
    Act::CheckpointAll,
    Act::Crash,
    Act::Reopen,
    Act::Close,
    Act::InterruptRecovery,
];

/// Three segments of four records, and what they are numbered.
struct Acted {
    dir: tempfile::TempDir,
    log: Option<Log>,
    records: Vec<(u32, Lsn)>,
    checkpoint: Lsn,
}

impl Acted {
    fn new(spare: usize) -> Acted {
        let dir = in_memory();
        let log = options().spare_segments(spare).open(dir.path()).unwrap();
        let mut acted = Acted { dir, log: Some(log), records: Vec::new(), checkpoint: Lsn::MIN };
        for segment in 0..3 {
            acted.append(4);
            if segment < 2 {
                acted.act(Act::Roll);
            }
        }
        acted
    }

    fn append(&mut self, count: u32) {
        let first = self.records.last().map_or(0, |(number, _)| number + 1);
        let lsns = write(self.log.as_ref().unwrap(), first..first + count);
        self.records.extend((first..).zip(lsns));
    }

    fn cut(&mut self, keep: usize) {
        let log = self.log.as_ref().unwrap();
        // Below the checkpoint there is nothing to cut.
        let Some((_, at)) = self.records.get(keep) else { return };
        if *at >= self.checkpoint.max(log.head()) {
            log.truncate_after(*at).unwrap();
            self.records.truncate(keep + 1);
        }
    }

    fn act(&mut self, act: Act) {
        let dir = self.dir.path().to_owned();
        self.log.get_or_insert_with(|| options().open(dir).unwrap());
        let log = self.log.as_ref().unwrap();
        match act {
            Act::Append => self.append(3),
            Act::Roll => drop(log.roll().unwrap()),
            Act::CutLately => self.cut(self.records.len().saturating_sub(2)),
            Act::CutEarly => self.cut(5),
            Act::CheckpointEarly | Act::CheckpointAll => {
                let early = self.records.get(5).map(|(_, lsn)| *lsn);
                let at = early.filter(|_| act == Act::CheckpointEarly).unwrap_or(log.durable());
                log.checkpoint(at).unwrap();
                self.checkpoint = self.checkpoint.max(at);
            }
            Act::Close => self.log.take().unwrap().close().unwrap(),
            Act::Crash | Act::Reopen | Act::InterruptRecovery => {
                let log = self.log.take().unwrap();
                if act == Act::Reopen {
                    log.close().unwrap();
                }
                drop(log);
                if act == Act::InterruptRecovery {
                    interrupt_recovery(self.dir.path());
                } else {
                    self.log = Some(options().open(self.dir.path()).unwrap());
                }
            }
        }
    }

    fn needed(&self) -> Vec<u32> {
        let needed = self.records.iter().filter(|(_, lsn)| *lsn >= self.checkpoint);
        needed.map(|(number, _)| *number).collect()
    }
}

/// Every two things that a writer may do, at every place of a walk: the walk shows the log as it is in the end, or
/// says that what it showed, or was to show, is gone.
#[test]
fn whatever_happens_between_two_records_is_no_damage_and_no_end() {
    let mut whole = 0;
    for (first, second) in ACTS.iter().flat_map(|first| ACTS.map(|second| (*first, second))) {
        for (taken, spare) in [(0, 2), (1, 0), (4, 2), (6, 0), (12, 2)] {
            let what = format!("{taken} records, {first:?}, 2 records, {second:?}, {spare} spare");
            let mut acted = Acted::new(spare);
            let inspector = Inspector::open(acted.dir.path()).unwrap();
            let mut records = inspector.records();
            let mut found = numbers(records.by_ref().take(taken)).unwrap();
            assert_eq!(found.len(), taken);
            acted.act(first);
            // Until the walk has ended: what happens then it knows nothing of.
            let mut last = first;
            let rest = numbers(records.by_ref().take(2)).and_then(|some| {
                found.extend(some);
                if records.tail().is_none() {
                    last = second;
                    acted.act(second);
                }
                numbers(&mut records)
            });
            match rest {
                Ok(rest) => {
                    found.extend(rest);
                    whole += 1;
                    // What was shown may be below a later checkpoint.
                    let needed = acted.needed();
                    let first = needed.first().copied().unwrap_or(u32::MAX);
                    found.retain(|number| *number >= first);
                    assert_eq!(found, needed, "{what}");
                    let clean = records.tail() == Some(Tail::Clean);
                    assert_eq!(clean, last == Act::Close, "{what}: {:?}", records.tail());
                }
                Err(Error::Gone { .. }) => {}
                Err(error) => panic!("{what}: {error}"),
            }
            let verified = inspector.verify().unwrap_or_else(|error| panic!("{what}: {error}"));
            let shown = numbers(&mut Inspector::open(acted.dir.path()).unwrap().records()).unwrap();
            assert_eq!(verified.records, shown.len() as u64, "{what}");
        }
    }
    assert!(whole > 100, "{whole} walks came to the end");
}

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
        let mut log = self.open();
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

/// Thousands of syncs: in memory, where the system has a file system for that.
fn in_memory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
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
        let writer =
            Writer { dir: dir.path(), known: &known, random: Random(seed), next: 0, keep: None };
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
        damage(dir.path(), lsns[40]);
        let writer = Writer {
            dir: dir.path(),
            known: &known,
            random: Random(seed),
            next: 1000,
            keep: Some(lsns[40]),
        };
        while_it_writes(writer, rounds(), || {
            let inspector = Inspector::open(dir.path()).unwrap();
            let found = numbers(&mut inspector.records()).unwrap_err();
            let verified = inspector.verify().unwrap_err();
            assert!(found.is_corrupt() && verified.is_corrupt(), "{found}; {verified}");
        });
    }
}

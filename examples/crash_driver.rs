//! Drives the log for a crash test from outside: `crash_driver workload DIR SEED COUNT` appends numbered
//! records in many ways and says on standard output, line by line, what it was promised;
//! `crash_driver recover DIR` opens the log and says what it found.
//!
//! Lines: `O first next` opened; `P n len hash` about to append; `A n` all up to n are durable;
//! `T n`, `t n` before and after a checkpoint; `U n`, `u n` before and after a cut; `[`, `]` a batch;
//! `R n len hash` recovered; `N next` the next number. Exit codes: 3 refused as damaged, 4 locked, 5 I/O error.
//!
//! A cut that a kill overtook may or may not have happened, and a checker must know which. So only records
//! that no `A` covers are cut, and their last one, durable before `U` is said, is a note that says what is
//! kept: whoever finds the note at the end of the log, `recover` too, finishes the cut.

use std::collections::VecDeque;
use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use duralog::{Error, Log, Lsn, Options, Result, SyncMethod, WriteMethod};

/// splitmix64 (Steele, Lea, Flood 2014): all choices come from the seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    fn pick(&mut self, n: u8) -> usize {
        usize::from(self.roll().to_le_bytes()[0] % n)
    }
}

/// FNV-1a, 64 bits: not the engine's checksum.
fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xCBF2_9CE4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x0100_0000_01B3))
}

/// Each line by one write of the whole line, so that its place among the disk's writes is exact: what
/// standard output does with a line while nothing is buffered.
struct Voice;

impl Voice {
    fn say(&self, line: &str) {
        // Nobody listening: the test is over.
        if std::io::stdout().lock().write_all(format!("{line}\n").as_bytes()).is_err() {
            std::process::exit(0);
        }
    }
}

/// Record `n`: its number, then bytes and a length that depend on the seed and the number.
fn payload(seed: u64, n: u64) -> Vec<u8> {
    let mut dice = Dice(seed ^ n.wrapping_mul(0xA076_1D64_78BD_642F));
    let len = match dice.below(40) {
        0 => 0,
        1..=3 => 1024 + dice.below(3072),
        4 => dice.below(14_000),
        _ => dice.below(300),
    };
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.extend((0..len).map(|_| dice.roll().to_le_bytes()[0]));
    bytes
}

fn number(payload: &[u8]) -> Option<u64> {
    payload.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

const NOTE: &[u8; 8] = b"cut back";

/// The last record before a cut: what to keep.
fn note(n: u64, keep: u64) -> Vec<u8> {
    [n.to_le_bytes(), *NOTE, keep.to_le_bytes()].concat()
}

fn kept_by_note(payload: &[u8]) -> Option<u64> {
    let keep = payload.get(8..)?.strip_prefix(NOTE)?;
    keep.try_into().ok().map(u64::from_le_bytes)
}

fn options(seed: u64) -> Options {
    let mut dice = Dice(seed ^ 0x0F0F);
    let write = match std::env::var("DURALOG_WRITE").as_deref() {
        Ok("mmap") => WriteMethod::Mmap,
        Ok("pwrite") => WriteMethod::Pwrite,
        _ => WriteMethod::Auto,
    };
    Options::new()
        .segment_size(65536 << dice.below(3))
        .spare_segments(dice.pick(4))
        .sync_method(if dice.below(2) == 0 { SyncMethod::Fdatasync } else { SyncMethod::Msync })
        .write_method(write)
}

/// What the driver knows of the log: shared by its threads.
struct Known {
    next: u64,
    /// Number, LSN and whether a cut may follow it, of the last records.
    records: VecDeque<(u64, Lsn, bool)>,
    /// Numbers below were told to be durable.
    durable: u64,
    checkpoint: u64,
    /// How many milliseconds a tracer may still cost.
    patience: u32,
}

fn announcement(n: u64, payload: &[u8]) -> String {
    format!("P {n} {} {:016x}", payload.len(), hash(payload))
}

struct Driver<'a> {
    log: &'a Log,
    voice: &'a Voice,
    seed: u64,
    known: Mutex<Known>,
    failed: AtomicBool,
    /// A tracer reads our system calls.
    traced: bool,
}

impl Driver<'_> {
    fn announce(&self, n: u64) -> Vec<u8> {
        let payload = payload(self.seed, n);
        self.voice.say(&announcement(n, &payload));
        payload
    }

    /// Appends `count` records as one batch, or one by one; the last number and LSN. None when an append has
    /// failed before, in whichever thread: what it tried may be in the log, or there may be room for less, and
    /// whoever came next would give its number to a second record. Only an open knows the next number then.
    fn append(&self, count: u64, batch: bool) -> Result<Option<(u64, Lsn)>> {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        if self.failed.load(Ordering::Acquire) {
            return Ok(None);
        }
        let appended = self.append_next(&mut known, count, batch);
        if appended.is_err() {
            // While no one else can take the number.
            self.failed.store(true, Ordering::Release);
        }
        appended.map(Some)
    }

    fn append_next(&self, known: &mut Known, count: u64, batch: bool) -> Result<(u64, Lsn)> {
        let first = known.next;
        let mut last = Lsn::MIN;
        if batch {
            self.voice.say("[");
            let payloads: Vec<_> = (first..first + count).map(|n| self.announce(n)).collect();
            let lsns = self.log.append_batch(&payloads)?;
            self.voice.say("]");
            for (n, lsn) in (first..).zip(lsns) {
                known.records.push_back((n, lsn, n + 1 == first + count));
                last = lsn;
            }
        } else {
            for n in first..first + count {
                let payload = self.announce(n);
                last = self.log.append(&payload)?;
                known.records.push_back((n, last, true));
                known.next = n + 1;
            }
        }
        known.next = first + count;
        while known.records.len() > 4096 {
            known.records.pop_front();
        }
        Ok((known.next - 1, last))
    }

    fn committed(&self, n: u64) {
        if self.traced {
            return self.committed_under_a_tracer(n);
        }
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        known.durable = known.durable.max(n + 1);
        self.voice.say(&format!("A {n}"));
    }

    /// Who reads the system calls sees neither which sync covers which thread's record, nor that a
    /// file in preparation is no part of the log yet. So: only when all that was announced is
    /// durable, and nothing is being prepared (on a full disk nothing ever is ready: not for ever).
    fn committed_under_a_tracer(&self, n: u64) {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        while self.log.stats().segments_ready == 0 && known.patience > 0 {
            known.patience -= 1;
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        known.durable = known.durable.max(n + 1);
        if self.log.durable() == self.log.end() {
            self.voice.say(&format!("A {}", known.next - 1));
        }
    }

    fn is_below_checkpoint(&self, n: u64) -> bool {
        self.known.lock().unwrap_or_else(|e| e.into_inner()).checkpoint > n
    }

    /// One step of a writer that shares the log with others.
    fn write(&self, dice: &mut Dice, left: u64) -> Result<u64> {
        let (count, batch) = match dice.below(10) {
            0..=5 => (1, false),
            6 | 7 => (1 + dice.below(8), true),
            _ => (1 + dice.below(6), false),
        };
        let count = count.min(left);
        let Some((n, lsn)) = self.append(count, batch)? else { return Ok(0) };
        if dice.below(8) > 0 {
            if dice.below(6) == 0 {
                self.log.commit().map(drop)?
            } else {
                match self.log.commit_to(lsn) {
                    // Another thread's checkpoint came first, and that takes only what is durable.
                    Err(Error::Gone { .. }) if self.is_below_checkpoint(n) => (),
                    done => done?,
                }
            }
            self.committed(n);
        }
        Ok(count)
    }

    /// Lets go of all but the last records; never of the very last, whose number must not come again.
    fn checkpoint(&self, dice: &mut Dice) -> Result<()> {
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        let keep = 1 + dice.below(20);
        let durable = known.durable;
        let found = known.records.iter().rev().find(|(n, ..)| n + keep < durable).copied();
        if let Some((n, lsn, _)) = found.filter(|(n, ..)| *n > known.checkpoint) {
            self.voice.say(&format!("T {n}"));
            self.log.checkpoint(lsn)?;
            self.voice.say(&format!("t {n}"));
            known.checkpoint = n;
        }
        Ok(())
    }

    /// Only while no other thread writes.
    fn cut(&self, dice: &mut Dice) -> Result<()> {
        for _ in 0..1 + dice.below(3) {
            self.append(1 + dice.below(8), dice.below(2) == 0)?;
            if dice.below(4) == 0 {
                self.log.roll()?;
            }
        }
        let mut known = self.known.lock().unwrap_or_else(|e| e.into_inner());
        let told = known.durable;
        let ends = known.records.iter().rev().take_while(|(n, ..)| n + 1 >= told);
        let ends: Vec<_> = ends.filter(|(.., end)| *end).copied().collect();
        let Some((keep, lsn, _)) =
            ends.get(dice.pick(6).min(ends.len().saturating_sub(1))).copied()
        else {
            return Ok(());
        };
        // After the last record nothing is cut, so no note is needed; and none has synced what is kept.
        if keep + 1 < known.next {
            let last = note(known.next, keep);
            self.voice.say(&announcement(known.next, &last));
            self.log.append(&last)?;
            self.log.commit()?;
        }
        self.voice.say(&format!("U {keep}"));
        self.log.truncate_after(lsn)?;
        self.voice.say(&format!("u {keep}"));
        self.voice.say(&format!("A {keep}"));
        known.records.retain(|(m, ..)| *m <= keep);
        known.next = keep + 1;
        known.durable = keep + 1;
        Ok(())
    }

    fn threads(&self, dice: &mut Dice, count: u64) -> Result<()> {
        let writers = 2 + dice.below(3);
        let share = count.div_ceil(writers);
        std::thread::scope(|scope| {
            let started: Vec<std::thread::ScopedJoinHandle<'_, Result<()>>> = (0..writers)
                .map(|_| {
                    let mut dice = Dice(dice.roll());
                    let writer = move || {
                        let mut left = share;
                        while left > 0 && !self.failed.load(Ordering::Acquire) {
                            let step = self.write(&mut dice, left).and_then(|done| {
                                if dice.below(15) == 0 {
                                    self.checkpoint(&mut dice)?
                                }
                                Ok(done)
                            });
                            left -=
                                step.inspect_err(|_| self.failed.store(true, Ordering::Release))?;
                        }
                        Ok(())
                    };
                    std::thread::Builder::new().spawn_scoped(scope, writer)
                })
                .collect::<std::io::Result<_>>()
                .map_err(|source| Error::Io { op: "clone", path: "a thread".into(), source })?;
            started.into_iter().try_for_each(|thread| match thread.join() {
                Ok(done) => done,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    fn alone(&self, dice: &mut Dice, count: u64) -> Result<()> {
        let mut left = count;
        while left > 0 {
            match dice.below(24) {
                0 | 1 => self.checkpoint(dice)?,
                2 => self.cut(dice)?,
                3 => self.log.roll().map(drop)?,
                _ => left -= self.write(dice, left)?,
            }
        }
        Ok(())
    }
}

fn is_traced() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.strip_prefix("TracerPid:").is_some_and(|pid| pid.trim() != "0"))
}

fn replayed(log: &Log) -> Result<VecDeque<(u64, Lsn, bool)>> {
    let mut records = VecDeque::new();
    for record in log {
        let record = record?;
        if let Some(n) = number(record.payload()) {
            // Whether a batch ends here is not known any more: no cut at these.
            records.push_back((n, record.lsn(), false));
        }
    }
    // But a batch is there as a whole, so none goes on past the last.
    if let Some((.., end)) = records.back_mut() {
        *end = true;
    }
    Ok(records)
}

/// Finishes the cut that the last record announces. `tell` is called around it.
fn finish_cut(log: &Log, tell: impl Fn(&str, u64)) -> Result<()> {
    let records = replayed(log)?;
    let Some((_, last, _)) = records.back() else { return Ok(()) };
    let Some(keep) = kept_by_note(log.read(*last)?.payload()) else { return Ok(()) };
    if let Some((_, lsn, _)) = records.iter().find(|(n, ..)| *n == keep) {
        tell("U", keep);
        log.truncate_after(*lsn)?;
        tell("u", keep);
    }
    Ok(())
}

fn workload(dir: &str, seed: u64, count: u64) -> Result<()> {
    let voice = Voice;
    let mut dice = Dice(seed);
    let mut left = count;
    loop {
        let log = options(dice.roll()).open(dir)?;
        finish_cut(&log, |line, n| voice.say(&format!("{line} {n}")))?;
        let records = replayed(&log)?;
        let first = records.front().map_or(0, |(n, ..)| *n);
        let next = records.back().map_or(0, |(n, ..)| n + 1);
        voice.say(&format!("O {first} {next}"));
        let known = Known { next, records, durable: next, checkpoint: first, patience: 3000 };
        // The seed of the content differs from run to run: a number that comes again after a
        // cut or a crash names another record.
        let seed = dice.roll();
        let driver = Driver {
            log: &log,
            voice: &voice,
            seed,
            known: Mutex::new(known),
            failed: AtomicBool::new(false),
            traced: is_traced(),
        };
        let part = if dice.below(3) == 0 { 1 + dice.below(left.max(1)) } else { left }.min(left);
        let mut done = 0;
        while done < part {
            let some = (1 + dice.below(60)).min(part - done);
            if dice.below(2) == 0 {
                driver.threads(&mut dice, some)?
            } else {
                driver.alone(&mut dice, some)?
            }
            if dice.below(2) == 0 {
                driver.checkpoint(&mut dice)?
            }
            done += some;
        }
        left -= part;
        if dice.below(2) == 0 {
            log.close()?;
        }
        if left == 0 {
            return Ok(());
        }
    }
}

fn recover(dir: &str) -> Result<()> {
    let voice = Voice;
    let log = options(0).open(dir)?;
    finish_cut(&log, |_, _| ())?;
    let mut next = 0;
    for record in &log {
        let record = record?;
        let payload = record.payload();
        let n = number(payload).unwrap_or(u64::MAX);
        voice.say(&format!("R {n} {} {:016x}", payload.len(), hash(payload)));
        next = n.wrapping_add(1);
    }
    voice.say(&format!("N {next}"));
    log.close()
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let done = match args.as_slice() {
        ["workload", dir, seed, count] => match (seed.parse(), count.parse()) {
            (Ok(seed), Ok(count)) => workload(dir, seed, count),
            _ => return ExitCode::from(2),
        },
        ["recover", dir] => recover(dir),
        _ => {
            eprintln!("usage: crash_driver workload DIR SEED COUNT | crash_driver recover DIR");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            match error {
                _ if error.is_corrupt() => 3.into(),
                _ if error.is_locked() => 4.into(),
                Error::Io { .. } | Error::Full { .. } | Error::Poisoned { .. } => 5.into(),
                Error::UnsupportedFormat { .. }
                | Error::NotALog { .. }
                | Error::NotARecord { .. } => 3.into(),
                // The driver asked for what cannot be, or the engine thinks so: no excuse.
                _ => ExitCode::FAILURE,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    fn driver<'a>(log: &'a Log, voice: &'a Voice) -> Driver<'a> {
        Driver {
            log,
            voice,
            seed: 1,
            known: Mutex::new(Known {
                next: 0,
                records: VecDeque::new(),
                durable: 0,
                checkpoint: 0,
                patience: 0,
            }),
            failed: AtomicBool::new(false),
            traced: false,
        }
    }

    #[test]
    fn a_number_that_was_tried_is_not_given_again() {
        let dir = tempfile::tempdir().unwrap();
        let log = options(1).open(dir.path()).unwrap();
        let driver = driver(&log, &Voice);
        assert_eq!(driver.append(3, false).unwrap().unwrap().0, 2);
        log.close().unwrap();
        assert!(driver.append(1, false).is_err());
        // Another thread, which had waited for its turn.
        assert!(driver.append(1, false).unwrap().is_none());
        assert!(driver.append(2, true).unwrap().is_none());
    }
}

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
//!
//! The contract knows nothing of what a log keeps beside its records. So each record says what the metadata
//! were when it was appended, and `recover` fails if they are less than its last record says (`notes.rs`). Nor does
//! it know resets: to it they are checkpoints of everything (`anew.rs`). A reader follows without the writer's lock, and
//! what it finds after the crash must be what the writer's recovery then finds (`watch.rs`).

mod anew;
mod driver;
mod notes;
mod watch;
mod words;

use std::collections::VecDeque;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use driver::{Driver, Known};
use duralog::{Error, Log, Lsn, Options, Result, SyncMethod, WriteMethod};
use watch::Watched;
use words::{Dice, Voice, hash, kept_by_note, number, violation};

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

/// What one life of the log is given to do.
struct Part {
    dice: Dice,
    count: u64,
    traced: bool,
}

fn workload(dir: &str, seed: u64, count: u64) -> Result<()> {
    let mut dice = Dice(seed);
    let mut left = count;
    loop {
        let part = if dice.below(3) == 0 { 1 + dice.below(left.max(1)) } else { left }.min(left);
        let watched = Watched::default();
        let part_of = Part { dice: Dice(dice.roll()), count: part, traced: is_traced() };
        std::thread::scope(|scope| {
            let log = open(dir, dice.roll())?;
            for record in &log {
                let record = record?;
                if let Some(n) = number(record.payload()) {
                    watched.appended.insert(n, record.payload());
                }
            }
            // A tracer would count the reader's calls as the writer's.
            let reader = (!part_of.traced).then(|| scope.spawn(|| watch::follow(dir, &watched)));
            let done = work(&log, part_of, &watched).and_then(|()| {
                log.commit()?;
                log.replay().last().transpose()
            });
            let last =
                done.as_ref().ok().and_then(Option::as_ref).map_or(0, |last| last.lsn().get());
            watched.until.store(last, Ordering::Release);
            watched.stop.store(true, Ordering::Release);
            let seen = reader.map_or(Ok(()), |reader| match reader.join() {
                Ok(seen) => seen,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            seen.unwrap_or_else(|seen| violation(&seen));
            done?;
            if dice.below(2) == 0 { log.close() } else { Ok(()) }
        })?;
        left -= part;
        if left == 0 {
            return Ok(());
        }
    }
}

fn open(dir: &str, seed: u64) -> Result<Log> {
    let found = watch::found(dir)?;
    let log = options(seed).open(dir)?;
    found.map_or(Ok(()), |found| watch::check(&log, &found))?;
    Ok(log)
}

fn work(log: &Log, part: Part, watched: &Watched) -> Result<()> {
    let voice = Voice;
    let Part { mut dice, count, traced } = part;
    let tell = |line: &str, n| voice.say(&format!("{line} {n}"));
    finish_cut(log, tell)?;
    anew::finish(log, &notes::check(log)?, tell)?;
    let records = replayed(log)?;
    let said = notes::check(log)?;
    let (first, next) = (records.front().map_or(said.next(), |(n, ..)| *n), said.next());
    voice.say(&format!("O {first} {next}"));
    let (number, floor) = (said.number, said.floor);
    let known = Known {
        next,
        records,
        durable: next,
        checkpoint: first,
        said: number,
        floor,
        patience: 3000,
    };
    // The seed of the content differs from run to run: a number that comes again after a
    // cut or a crash names another record.
    let seed = dice.roll();
    let failed = AtomicBool::new(false);
    let driver =
        Driver { log, voice: &voice, seed, known: Mutex::new(known), failed, traced, watched };
    let mut done = 0;
    while done < count {
        let some = (1 + dice.below(60)).min(count - done);
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
    Ok(())
}

fn recover(dir: &str) -> Result<()> {
    let voice = Voice;
    let log = open(dir, 0)?;
    finish_cut(&log, |_, _| ())?;
    anew::finish(&log, &notes::check(&log)?, |_, _| ())?;
    let mut next = notes::check(&log)?.next();
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

//! The process that is killed: threads at work on a log, which tell all they are promised.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Context, Result};
use duralog::{Error, Log, Lsn, Options, SyncMethod, SyncPolicy, Tail};
use fastrand::Rng;

use super::words::{Said, WRITERS, dice, metadata_number};
use super::writer::Writer;

/// A part of `torture`: works on the log until it is killed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    dir: PathBuf,
    #[arg(long)]
    seed: u64,
    #[arg(long, default_value_t = 0)]
    life: u32,
    #[arg(long, default_value_t = 1)]
    threads: u32,
    /// Says what an open finds instead
    #[arg(long)]
    check: bool,
    /// A tracer looks for fdatasync
    #[arg(long)]
    traced: bool,
    /// Someone answers when the log is said to be locked
    #[arg(long)]
    probed: bool,
}

/// Each line is one write: what a kill leaves of the last one is no line.
pub(crate) struct Voice(Mutex<io::Stdout>);

impl Voice {
    /// The parent is gone if it cannot be told: nothing is left to do.
    pub(crate) fn say(&self, said: &Said) -> Result<(), Error> {
        let mut out = self.0.lock().unwrap_or_else(|e| e.into_inner()).lock();
        let told = out.write_all(format!("{said}\n").as_bytes()).and_then(|()| out.flush());
        told.map_err(|source| Error::Io { op: "write", path: "the parent".into(), source })
    }

    pub(crate) fn broken(&self, promise: &str, what: impl Into<String>) -> Result<(), Error> {
        self.say(&Said::Broken { promise: promise.into(), what: what.into() })
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let voice = Voice(Mutex::new(io::stdout()));
    voice.say(&Said::Started(i32::try_from(std::process::id()).context("a process id")?))?;
    let done = if args.check {
        super::found::run(&args.dir, args.seed, &voice)
    } else {
        Child::new(args, &voice).live()
    };
    // What to make of it is the parent's to say.
    done.or_else(|error| voice.say(&Said::Error(error.to_string()))).map_err(Into::into)
}

/// How the log is opened in this life.
pub(crate) fn options(seed: u64, life: u32, traced: bool) -> Options {
    let mut dice = dice(seed, 1 << 60 | u64::from(life));
    let size = dice.choice([128 << 10, 256 << 10, 512 << 10, 1 << 20]).unwrap_or(1 << 20);
    let options = Options::new().segment_size(size).spare_segments(dice.usize(0..3));
    let options = match dice.u32(0..8) {
        0 => options.sync_policy(SyncPolicy::Interval(Duration::from_millis(dice.u64(1..20)))),
        1 => options.sync_policy(SyncPolicy::Bytes(64 << 10)),
        _ => options,
    };
    let msync = dice.u32(0..5) == 0 && !traced;
    options.sync_method(if msync { SyncMethod::Msync } else { SyncMethod::Fdatasync })
}

struct Child<'a> {
    args: &'a Args,
    voice: &'a Voice,
    dice: Rng,
    /// Of each thread: the next append.
    seqs: Vec<u64>,
    metadata: u64,
    /// How often in a row there was no room.
    full: u32,
}

type Done = duralog::Result<()>;

impl<'a> Child<'a> {
    fn new(args: &'a Args, voice: &'a Voice) -> Child<'a> {
        let threads = usize::try_from(args.threads.clamp(1, WRITERS)).unwrap_or(1);
        let dice = dice(args.seed, 1 << 61 | u64::from(args.life));
        Child { args, voice, dice, seqs: vec![0; threads], metadata: 0, full: 0 }
    }

    fn live(mut self) -> Done {
        let mut log = self.open(false)?;
        self.metadata = metadata_number(self.args.seed, &log.metadata()?).unwrap_or(0);
        loop {
            let done = match self.epoch(&log) {
                Ok(ends) => self.alone(&mut log, &ends),
                Err(error) => Err(error),
            };
            match done {
                Ok(()) => self.full = 0,
                Err(error) if is_only_full(&error) => self.make_room(&log, error)?,
                Err(error) => {
                    self.is_final(&log, &error)?;
                    return Err(error);
                }
            }
        }
    }

    /// What is done while no other thread writes.
    fn alone(&mut self, log: &mut Log, ends: &[Lsn]) -> Done {
        match self.dice.u32(0..10) {
            0 | 1 => self.cut(log, ends),
            2 => log.roll().map(drop),
            3 => self.is_locked(),
            4 if self.dice.bool() => self.close(log),
            5 if self.args.probed => {
                self.voice.say(&Said::Locked)?;
                drop(io::stdin().read_line(&mut String::new()));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn options(&self) -> Options {
        options(self.args.seed, self.args.life, self.args.traced)
    }

    fn open(&self, is_clean: bool) -> duralog::Result<Log> {
        let log = self.options().open(&self.args.dir)?;
        self.voice.say(&Said::Opened)?;
        if is_clean && (log.recovery().tail != Tail::Clean || log.recovery().records > 0) {
            let what = format!("behind a close that was Ok: {:?}", log.recovery());
            self.voice.broken("P9", what)?;
        }
        Ok(log)
    }

    fn close(&self, log: &mut Log) -> Done {
        self.voice.say(&Said::Close { done: false })?;
        log.close()?;
        self.voice.say(&Said::Close { done: true })?;
        *log = self.open(true)?;
        Ok(())
    }

    /// All threads for a while: where their appends end, in order.
    fn epoch(&mut self, log: &Log) -> duralog::Result<Vec<Lsn>> {
        let steps = self.dice.u32(3..50);
        let failed = AtomicBool::new(false);
        let writers = (0..).zip(&self.seqs).map(|(thread, seq)| {
            let id = self.args.life * WRITERS + thread;
            let (seed, metadata) = (self.args.seed, self.metadata);
            Writer::new(log, self.voice, seed, self.dice.fork(), id, *seq, metadata, &failed)
        });
        let writers: Vec<Writer<'_>> = writers.collect();
        let ended: Vec<(Writer<'_>, Done)> = std::thread::scope(|scope| {
            let started: Vec<_> = writers
                .into_iter()
                .map(|mut writer| {
                    scope.spawn(move || {
                        let done = writer.work(steps);
                        (writer, done)
                    })
                })
                .collect();
            started.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        if ended.len() < self.seqs.len() {
            self.voice.broken("P7", "a panic, told on standard error")?;
        }
        self.seqs = ended.iter().map(|(writer, _)| writer.seq).collect();
        self.metadata = ended.iter().map(|(writer, _)| writer.metadata).max().unwrap_or(0);
        let mut ends = Vec::new();
        // What only met the end that another came to says less.
        let mut worst = Ok(());
        for (writer, done) in ended {
            ends.extend(writer.ends);
            if worst.as_ref().err().is_none_or(is_only_full) {
                worst = worst.and(done);
            }
        }
        ends.sort_unstable();
        worst.map(|()| ends)
    }

    /// Behind one of the last appends, durable or not.
    fn cut(&mut self, log: &Log, ends: &[Lsn]) -> Done {
        let back = self.dice.usize(0..20).min(ends.len().saturating_sub(1));
        let Some(keep) = ends.iter().rev().nth(back) else { return Ok(()) };
        if *keep < log.checkpoint_lsn() {
            return Ok(());
        }
        self.voice.say(&Said::Cut { keep: keep.get(), done: false })?;
        log.truncate_after(*keep)?;
        self.voice.say(&Said::Cut { keep: keep.get(), done: true })
    }

    fn is_locked(&self) -> Done {
        match self.options().create(false).open(&self.args.dir) {
            Err(Error::Locked { .. }) => Ok(()),
            other => self.voice.broken("P8", format!("a second open: {other:?}")),
        }
    }

    fn make_room(&mut self, log: &Log, error: Error) -> Done {
        self.full += 1;
        if self.full > 40 {
            return Err(error);
        }
        std::thread::sleep(Duration::from_millis(5));
        let at = log.durable().get();
        self.voice.say(&Said::Checkpoint { at, done: false })?;
        match log.checkpoint(Lsn::new(at)) {
            Ok(_) => self.voice.say(&Said::Checkpoint { at, done: true }),
            Err(error) if is_only_full(&error) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// A failure of the disk is the end: no later call may succeed.
    fn is_final(&self, log: &Log, error: &Error) -> Done {
        if !error.is_poisoned() {
            return Ok(());
        }
        for _ in 0..3 {
            for (call, done) in [
                ("append", log.append(b"behind the end").map(drop)),
                ("commit", log.commit().map(drop)),
                ("roll", log.roll().map(drop)),
            ] {
                if done.is_ok() {
                    self.voice.broken("P6", format!("{call} is Ok behind: {error}"))?;
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn is_only_full(error: &Error) -> bool {
    error.is_full() && !error.is_poisoned()
}

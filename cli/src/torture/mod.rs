//! `duralog torture`: a crash test of the log, on the disk and the file system of who runs it.
//!
//! A child works on a log with several threads and tells on a pipe, by one write each, what was appended, what was
//! acknowledged, and what it is about to cut, checkpoint or note (`words.rs`, `child.rs`, `writer.rs`). It is stopped by
//! a fault; then another child opens the log and tells what is in it (`found.rs`), and the parent compares (`history.rs`):
//!
//! - P1: what was acknowledged is there: records, the consumer's position, metadata; what an open showed is from then on.
//! - P2: each record is the one that was appended under its LSN, byte for byte: its bytes follow from the run's seed and
//!   who appended it. What is there is a prefix in LSN order. No LSN names two records, over all lives, so nothing that
//!   was cut or lost returns; and no record is there that no one appended, but for the last append of each thread, which
//!   may have come about without being told.
//! - P3: batches are whole. P4: if the process alone died, all that was appended is there.
//! - P5: no damage is reported. P6: behind a failed sync nothing is acknowledged, and no call succeeds.
//! - P7: no signal, no panic; no error where nothing was made to fail. P8: a second open is `Locked`, here and in another process.
//! - P9: behind a clean close no record is read; no more files than the log needs. P10: a checkpoint takes nothing above it, nor
//!   the bytes of a record that is held. P12: modes of files and directory.
//!
//! The faults: `kill`, by SIGKILL at any moment. `traced`, under strace: death on the way into some call, calls that
//! fail, and from the trace whether before each acknowledgement a sync of that segment was made (`trace.rs`).
//! `power`: the log lies on a disk in memory (`disk.rs`, `platter.rs`), which holds its breath at any write; the
//! child dies, so that nothing it told rests on what came later; the disk keeps what was flushed and any part of the rest,
//! and its file system is mounted anew. Openings are interrupted by each of the three too.
//!
//! Not checked here: P11, and the time that an open takes.

mod child;
mod disk;
mod found;
mod history;
mod life;
mod platter;
mod power;
mod report;
mod rounds;
mod scratch;
mod trace;
mod traced;
mod words;
mod writer;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use child::{Args as ChildArgs, run as run_child};
use disk::{Args as DiskArgs, run as run_disk};
use history::Broken;
use power::FileSystem;
use report::{Failure, Report, Tally, grouped};
use rounds::{Common, Kind, Rounds};
use scratch::Scratch;

use crate::{interrupt, out};

/// The program as a part of a running `torture`: no command of users.
#[derive(Debug, clap::Parser)]
pub(crate) enum Part {
    TortureChild(ChildArgs),
    TortureDisk(DiskArgs),
}

/// Which part, if it is started as one.
pub(crate) fn part() -> Option<Part> {
    let name = std::env::args_os().nth(1)?;
    let is_part = name == "torture-child" || name == "torture-disk";
    is_part.then(<Part as clap::Parser>::parse)
}

impl Part {
    pub(crate) fn run(&self) -> Result<()> {
        match self {
            Part::TortureChild(args) => run_child(args),
            Part::TortureDisk(args) => run_disk(args),
        }
    }
}

/// Crash-test the log on your own disk.
///
/// Children are killed, calls fail, the power goes; every promise is checked. Exit code 0 says that none was broken in all of
/// the time: not if it was interrupted.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: duralog torture /mnt/my-disk --seconds 600")]
pub(crate) struct Args {
    /// Directory to work in, on the file system to be tested; created if there is none
    dir: PathBuf,
    /// How long
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    seconds: u64,
    /// Repeats the choices of a run, though not its timing; else a random one
    #[arg(long)]
    seed: Option<u64>,
    /// Threads of a child, at most
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=64))]
    threads: u32,
    /// Kinds of faults; else all that are possible here
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
    /// Test the test: syncs do nothing, and that must be found
    #[arg(long)]
    control: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// How often a run says on a file how far it is.
const EVERY: Duration = Duration::from_secs(10);

pub(crate) fn run(args: &Args) -> Result<()> {
    let scratch = Scratch::new(&args.dir)?;
    let of = FileSystem::of(scratch.path());
    let kinds = possible(args, of)?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(0..1 << 32));
    out::say(format_args!("seed {seed}"));
    let interrupted = interrupt::watched()?;
    // Also if another is installed in its place meanwhile.
    let program = PathBuf::from(format!("/proc/{}/exe", std::process::id()));
    let common = Common { program, seed, threads: args.threads, control: args.control };
    let mut all = Vec::new();
    for kind in kinds {
        all.push((Duration::ZERO, Rounds::new(kind, common.clone(), scratch.path(), of)?));
    }
    let begun = Instant::now();
    let broken = work(&mut all, &scratch, args, &interrupted)?;
    let mut report = Report {
        seed,
        seconds: begun.elapsed().as_secs_f64(),
        file_system: of.name(),
        interrupted: interrupted.load(Ordering::Acquire),
        kinds: all.iter().map(|(_, rounds)| (rounds.kind.name(), rounds.tally())).collect(),
        broken,
        verdict: String::new(),
    };
    drop(all);
    report.verdict = report.verdict(args.control);
    if report.interrupted {
        out::say(format_args!("interrupted after {:.1} s", report.seconds));
    }
    if args.json {
        out::print_json(&report)?
    } else {
        out::print(&report.table()?)?
    }
    // Nothing was found by then; that is no verdict on all that was asked for.
    ensure!(!report.interrupted || report.broken.is_some(), "interrupted");
    let checked = report.kinds.iter().any(|(_, tally)| tally.checked > 0);
    if report.broken.is_some() != args.control || !args.control && !checked {
        bail!("{}", report.verdict);
    }
    Ok(())
}

/// Says of each kind whether it is possible, and if not why.
fn possible(args: &Args, of: FileSystem) -> Result<Vec<Kind>> {
    let mut kinds = Vec::new();
    let traces = traced::is_possible();
    for kind in [Kind::Kill, Kind::Traced, Kind::Power] {
        let (what, can) = match kind {
            Kind::Kill if args.control => ("kills", Err("they cannot find a disabled sync".into())),
            Kind::Kill => ("kills", Ok(())),
            Kind::Traced => ("traced calls", traces.clone()),
            Kind::Power if args.control && traces.is_err() => ("power cuts", traces.clone()),
            Kind::Power => ("power cuts", power::is_possible(of)),
        };
        match can {
            _ if !args.only.is_empty() && !args.only.contains(&kind) => {}
            Ok(()) => {
                let on =
                    if kind == Kind::Power { format!(", {}", of.name()) } else { String::new() };
                out::say(format_args!("{what}: yes{on}"));
                kinds.push(kind);
            }
            Err(why) => out::say(format_args!("{what}: no: {why}")),
        }
    }
    if kinds.is_empty() {
        bail!("none of these faults is possible here");
    }
    Ok(kinds)
}

/// Until the time is over, by turns; the first broken promise ends it.
fn work(
    all: &mut [(Duration, Rounds)],
    scratch: &Scratch,
    args: &Args,
    interrupted: &AtomicBool,
) -> Result<Option<Failure>> {
    let (begun, bar) = (Instant::now(), bar(args.seconds));
    let mut said = begun;
    while begun.elapsed().as_secs() < args.seconds && !interrupted.load(Ordering::Acquire) {
        // Who had the least time so far.
        let Some((spent, rounds)) = all.iter_mut().min_by_key(|(spent, _)| *spent) else { break };
        let start = Instant::now();
        let done = rounds.live();
        *spent += start.elapsed();
        if let Err(error) = done {
            let error = error.context(rounds.fault.clone());
            return match error.downcast_ref::<Broken>() {
                Some(broken) => failure(scratch, rounds, broken, args).map(Some),
                None => Err(error),
            };
        }
        let line = progress(all, args.seconds.saturating_sub(begun.elapsed().as_secs()));
        if bar.is_hidden() && said.elapsed() > EVERY {
            said = Instant::now();
            out::say(&line);
        }
        bar.set_position(begun.elapsed().as_secs());
        bar.set_message(line);
    }
    Ok(None)
}

fn failure(scratch: &Scratch, rounds: &Rounds, broken: &Broken, args: &Args) -> Result<Failure> {
    let Broken { promise, expected, found } = broken.clone();
    let fault = rounds.fault.clone();
    let directory = if args.control {
        None
    } else {
        let text = format!("{fault}\n{broken}\n");
        let trace = rounds.trace();
        let beside = [("violation", text.as_str()), ("trace", trace.as_str())];
        let name = format!("torture-failed-{}-", rounds.kind.name());
        Some(scratch.keep(&rounds.log(), &beside, &name)?.display().to_string())
    };
    Ok(Failure { kind: rounds.kind.of_fault(), fault, promise, expected, found, directory })
}

fn progress(all: &[(Duration, Rounds)], left: u64) -> String {
    let tallies: Vec<Tally> = all.iter().map(|(_, rounds)| rounds.tally()).collect();
    let sum = |of: fn(&Tally) -> u64| grouped(tallies.iter().map(of).sum());
    format!(
        "{} rounds, {} kills, {} failed calls, {} power cuts, {} records checked, {left} s left",
        sum(|tally| tally.rounds),
        sum(|tally| tally.kills),
        sum(|tally| tally.failed_calls),
        sum(|tally| tally.power_cuts),
        sum(|tally| tally.checked)
    )
}

fn bar(seconds: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(seconds), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{wide_msg}\n{wide_bar}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.with_style(style).with_finish(ProgressFinish::AndClear)
}

//! duralog and its peers, the same work in one run. README.md says what is measured and how.

#[cfg(test)]
mod again;
mod cell;
#[cfg(feature = "faults")]
mod faults;
mod peer;
mod peers;
mod plot;
mod run;
mod system;
mod table;

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use cell::{Cell, Work};
use clap::{Args, Parser, Subcommand};
use peer::{Entry, Outcome};
use run::Run;
use table::Results;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Measures, and appends a JSON line for each run.
    Run(Measure),
    /// Prints the tables of what `run` wrote, and draws the picture.
    Report(Report),
    /// One run, in this process; `run` calls it.
    #[command(hide = true)]
    Child(Child),
    /// Puts each through a write that fails, a full disk and a flipped bit, and appends a JSON line for each. As root.
    #[cfg(feature = "faults")]
    Faults(faults::Faults),
    /// Prints the tables of what `faults` wrote.
    #[cfg(feature = "faults")]
    FaultReport { found: PathBuf },
    /// A part of a fault, in this process; `faults` calls it.
    #[cfg(feature = "faults")]
    #[command(hide = true)]
    FaultChild {
        #[command(subcommand)]
        task: faults::Task,
    },
}

#[derive(Args)]
struct Measure {
    /// Only these peers.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    /// Only cells whose names begin so.
    #[arg(long, value_delimiter = ',')]
    cells: Vec<String>,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long a durable cell runs, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    millis: u64,
    /// On which disk.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Where the JSON lines go; what it holds is kept.
    #[arg(long, default_value = "results.jsonl")]
    out: PathBuf,
}

#[derive(Args)]
struct Report {
    /// The JSON lines.
    results: PathBuf,
    /// Where the picture goes.
    #[arg(long)]
    svg: Option<PathBuf>,
}

#[derive(Args)]
struct Child {
    peer: String,
    cell: Cell,
    dir: PathBuf,
    millis: u64,
    #[arg(long)]
    prepare: bool,
}

/// A run that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> Outcome<()> {
    match Cli::parse().command {
        Action::Run(measure) => measure_all(&measure),
        Action::Report(report) => print_report(&report),
        Action::Child(child) => run_child(&child),
        #[cfg(feature = "faults")]
        Action::Faults(faults) => faults::measure(&faults),
        #[cfg(feature = "faults")]
        Action::FaultReport { found } => {
            print!("{}", faults::report(&found)?);
            Ok(())
        }
        #[cfg(feature = "faults")]
        Action::FaultChild { task } => faults::run_child(&task),
    }
}

fn print_report(report: &Report) -> Outcome<()> {
    let results = Results::read(&report.results)?;
    print!("{}", results.markdown());
    report.svg.as_deref().map_or(Ok(()), |svg| plot::draw(&results, svg))
}

fn run_child(child: &Child) -> Outcome<()> {
    let mut entries = peers::all().into_iter().chain(peers::limits());
    let entry = entries.find(|entry| entry.name == child.peer);
    let entry = entry.ok_or("no such peer")?;
    if child.prepare {
        return run::prepare(entry, child.cell, &child.dir);
    }
    let run = run::run(entry, child.cell, &child.dir, Duration::from_millis(child.millis))?;
    println!("{}", serde_json::to_string(&run)?);
    Ok(())
}

/// Round by round, cell by cell, all peers after one another: what disturbs the machine for a while disturbs all.
fn measure_all(measure: &Measure) -> Outcome<()> {
    let wanted = |names: &[String], name: &str| names.is_empty() || names.iter().any(|n| n == name);
    let entries: Vec<Entry> =
        peers::all().into_iter().filter(|entry| wanted(&measure.peers, entry.name)).collect();
    let limits: Vec<Entry> =
        peers::limits().into_iter().filter(|entry| wanted(&measure.peers, entry.name)).collect();
    let cells = Cell::all().into_iter().filter(|cell| {
        measure.cells.is_empty()
            || measure.cells.iter().any(|prefix| cell.to_string().starts_with(prefix))
    });
    let cells: Vec<Cell> = cells.collect();
    let mut out = OpenOptions::new().create(true).append(true).open(&measure.out)?;
    for round in 0..measure.rounds {
        for cell in &cells {
            // Each round begins with another, so that none is always behind the same one.
            let mut present = entries.clone();
            if cell.has_limit() {
                present.extend(&limits);
            }
            if cell.work == Work::Recycled {
                present.retain(|entry| peers::THAT_GIVE_BACK.contains(&entry.name));
            }
            for i in 0..present.len() {
                let entry = present[(i + round) % present.len()];
                let run = one(entry, *cell, measure);
                let mut run =
                    run.unwrap_or_else(|e| Run { error: Some(e.to_string()), ..Run::default() });
                run.peer = entry.name.into();
                run.version = entry.version.into();
                (run.cell, run.round) = (cell.to_string(), round);
                writeln!(out, "{}", serde_json::to_string(&run)?)?;
                eprintln!(
                    "{round} {:<18} {:<14} {:>12.1}  p50 {:.1} p99 {:.1} us  {:.1} KiB  {:.3} flushes {}",
                    run.cell,
                    run.peer,
                    run.figure,
                    run.p50,
                    run.p99,
                    run.process_kib,
                    run.flushes,
                    run.error.unwrap_or_default()
                );
            }
        }
    }
    Ok(())
}

/// More than a run writes. A virtual machine gives memory that was free for a while back to its host, in large pieces, and
/// the first run to use such a piece again would pay for that: 2.5 ms for 2 MiB of page cache instead of 0.3.
const TOUCHED: usize = 768 << 20;

fn touch_memory() -> Outcome<()> {
    let mut memory = memmap2::MmapMut::map_anon(TOUCHED)?;
    // Where the kernel knows no huge pages it touches small ones.
    memory.advise(memmap2::Advice::HugePage).unwrap_or_default();
    memory.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
    Ok(())
}

fn one(entry: Entry, cell: Cell, measure: &Measure) -> Outcome<Run> {
    let dir = tempfile::Builder::new().prefix("peers-").tempdir_in(&measure.dir)?;
    let log = dir.path().join("log");
    std::fs::create_dir(&log)?;
    if matches!(cell.work, Work::Replay | Work::OpenClean | Work::OpenKilled) {
        let prepared = child(entry, cell, &log, measure, true)?;
        let wanted = if cell.work == Work::OpenKilled { Some(libc::SIGKILL) } else { None };
        if prepared.status.signal() != wanted || wanted.is_none() && !prepared.status.success() {
            return Err(format!("not prepared: {}", said(&prepared)).into());
        }
    }
    // What the run before left behind is on the disk before this one begins.
    Command::new("sync").status()?;
    touch_memory()?;
    let output = child(entry, cell, &log, measure, false)?;
    if !output.status.success() {
        return Err(said(&output).into());
    }
    let printed = String::from_utf8(output.stdout)?;
    Ok(serde_json::from_str(printed.lines().last().unwrap_or_default())?)
}

/// Runs one child to its end, with its output, which has to be read meanwhile: a pipe holds little.
fn child(
    entry: Entry,
    cell: Cell,
    dir: &Path,
    measure: &Measure,
    prepare: bool,
) -> Outcome<Output> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("child").arg(entry.name).arg(cell.to_string()).arg(dir);
    command.arg(measure.millis.to_string()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if prepare {
        command.arg("--prepare");
    }
    // Some peers put files into the present directory.
    let child = command.current_dir(dir).spawn()?;
    let (id, (done, is_done)) = (child.id(), mpsc::channel::<()>());
    let watch = std::thread::spawn(move || {
        let late = is_done.recv_timeout(PATIENCE) == Err(mpsc::RecvTimeoutError::Timeout);
        if late {
            // SAFETY: a signal to a child that has not been waited for.
            unsafe { libc::kill(id.cast_signed(), libc::SIGKILL) };
        }
        late
    });
    let output = child.wait_with_output()?;
    drop(done);
    match watch.join() {
        Ok(false) => Ok(output),
        _ => Err(format!("not done after {} s", PATIENCE.as_secs()).into()),
    }
}

/// How a child ended, and what it said first.
fn said(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| !line.is_empty()).take(2).collect();
    format!("{}: {}", output.status, lines.join(" | "))
}

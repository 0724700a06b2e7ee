//! Typed events from eight threads that never wait for the disk; the process is killed in the midst, started again, killed
//! again: nothing that was appended is lost, nothing is there twice.
//!
//! `cargo run --release --example events [DIR]`; without a directory, in one that is removed at the end. The lines are
//! those of `../shared/data/loghub`, where that is at hand.

use std::error::Error;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Sender};
use std::time::{Duration, Instant};

use duralog::{Json, Options, TypedLog};
use serde::{Deserialize, Serialize};

const THREADS: usize = 8;
const LIVES: u32 = 3;
/// From its first event on.
const LIFE: Duration = Duration::from_millis(500);
const CHILD: &str = "DURALOG_EVENTS_CHILD";

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Event {
    thread: usize,
    seq: usize,
    /// The program that the line is from; absent of events that have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    program: Option<String>,
    line: String,
}

/// `append` returns at once; the disk follows at most a second later.
fn open(dir: &Path) -> duralog::Result<TypedLog<Event, Json>> {
    TypedLog::open_with(Options::new().in_background(Duration::from_secs(1)), dir)
}

fn main() -> Result<(), Box<dyn Error>> {
    let given = std::env::args_os().nth(1).map(PathBuf::from);
    match (given, std::env::var_os(CHILD)) {
        (Some(dir), Some(_)) => log_events(&dir),
        (Some(dir), None) => run_and_kill(&dir),
        (None, _) => run_and_kill(&tempfile::tempdir()?.path().join("events")),
    }
}

/// The child: goes on where the life before it ended, until it is killed.
fn log_events(dir: &Path) -> Result<(), Box<dyn Error>> {
    let lines = Lines::load();
    let log = open(dir)?;
    let begun = check(&log, &lines)?;
    std::thread::scope(|scope| {
        for (thread, begun) in begun.into_iter().enumerate() {
            let (log, lines) = (&log, &lines);
            scope.spawn(move || {
                for seq in begun.. {
                    let Ok(_lsn) = log.append(&lines.event(thread, seq)) else { return };
                    // One write a line, so that a kill tears at most the last one.
                    let told = format!("{thread} {seq}\n");
                    if io::stdout().lock().write_all(told.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    Ok(())
}

/// The parent: kills one child after another, and counts what each has told that it appended.
fn run_and_kill(dir: &Path) -> Result<(), Box<dyn Error>> {
    let lines = Lines::load();
    println!("{THREADS} threads log events: {}.", lines.source);
    let mut appended = [0; THREADS];
    for life in 1..=LIVES {
        let mut child = Command::new(std::env::current_exe()?)
            .arg(dir)
            .env(CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()?;
        let output = child.stdout.take().ok_or("the child has no output")?;
        let (began, begins) = mpsc::channel();
        let reader = std::thread::spawn(move || acknowledged(BufReader::new(output), &began));
        begins.recv()?; // it has opened the log, and appends
        std::thread::sleep(LIFE);
        child.kill()?; // SIGKILL
        child.wait()?;
        let told = reader.join().map_err(|_| "the reader failed")??;
        for (count, told) in appended.iter_mut().zip(told) {
            *count = told.max(*count);
        }

        let log = open(dir)?;
        let (tail, started) = (log.log().recovery().tail, Instant::now());
        let found = check(&log, &lines)?;
        let seconds = started.elapsed().as_secs_f64();
        if found.iter().zip(appended).any(|(found, told)| *found < told) {
            return Err(format!("appended were {appended:?}, found are {found:?}").into());
        }
        let (told, found) = (appended.iter().sum::<usize>(), found.iter().sum::<usize>());
        println!("  killed ({life}): {told:>7} known to be appended, {found:>7} found: {tail:?}");
        if life == LIVES {
            println!(
                "  replayed: {:.0} events a second, each in its place",
                found as f64 / seconds
            );
            log.close()?; // all of it is durable now
        }
    }
    println!("Nothing that was appended is missing, nothing is there twice.");
    Ok(())
}

/// How many events of each thread are in the log: its first ones, in order, without a gap, each as it was.
fn check(log: &TypedLog<Event, Json>, lines: &Lines) -> Result<[usize; THREADS], Box<dyn Error>> {
    let mut counts = [0; THREADS];
    for found in log {
        let (lsn, event) = found?;
        let count = counts.get_mut(event.thread).ok_or("an unknown thread")?;
        if event != lines.event(event.thread, *count) {
            return Err(format!("LSN {lsn}: {event:?} in the place of event {count}").into());
        }
        *count += 1;
    }
    Ok(counts)
}

/// How many events of each thread a child has told of.
fn acknowledged(mut output: impl BufRead, began: &Sender<()>) -> io::Result<[usize; THREADS]> {
    let mut counts = [0; THREADS];
    let mut line = String::new();
    // A line without its end was never finished.
    while output.read_line(&mut line)? > 0 && line.ends_with('\n') {
        began.send(()).unwrap_or_default();
        let mut numbers = line.split_whitespace().map_while(|word| word.parse::<usize>().ok());
        if let (Some(thread), Some(seq)) = (numbers.next(), numbers.next()) {
            if let Some(count) = counts.get_mut(thread) {
                *count = seq + 1;
            }
        }
        line.clear();
    }
    Ok(counts)
}

/// What is logged: each thread's n-th event is always the same.
struct Lines {
    source: String,
    /// Program and line.
    lines: Vec<(String, String)>,
}

impl Lines {
    fn load() -> Lines {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/loghub");
        let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
            .unwrap_or_default();
        files.retain(|file| file.extension().is_some_and(|end| end == "log"));
        files.sort();
        let mut lines = Vec::new();
        for file in &files {
            let program = file.file_stem().unwrap_or_default().to_string_lossy();
            let text = std::fs::read(file).unwrap_or_default();
            let text = String::from_utf8_lossy(&text);
            lines.extend(text.lines().map(|line| (program.to_string(), line.to_owned())));
        }
        let source = match lines.len() {
            0 => format!("made-up lines ({} has none)", dir.display()),
            count => format!("{count} lines of {} real logs", files.len()),
        };
        Lines { source, lines }
    }

    fn event(&self, thread: usize, seq: usize) -> Event {
        let at = (seq * THREADS + thread).checked_rem(self.lines.len()).unwrap_or(0);
        let (program, line) = match self.lines.get(at) {
            Some((program, line)) => (Some(program.clone()), line.clone()),
            None => (None, format!("thread {thread} views page {seq}")),
        };
        Event { thread, seq, program, line }
    }
}

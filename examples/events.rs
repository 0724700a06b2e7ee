//! Typed events from eight threads that never wait for the disk; the process is killed in the midst, started again, killed
//! again: nothing that was appended is lost, nothing is there twice.
//!
//! `cargo run --release --example events [DIR]`; without a directory, in one that is removed at the end. The lines are
//! those of `../shared/data/loghub`, where that is at hand.

mod common;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use common::{Outcome, lines_of_programs, run_and_kill, say};
use duralog::{Json, Options, TypedLog};
use serde::{Deserialize, Serialize};

const THREADS: usize = 8;
const LIVES: u32 = 3;
const LIFE: Duration = Duration::from_millis(500);

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

fn main() -> Outcome {
    let given: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    match given.as_slice() {
        [word, dir] if word == Path::new("child") => log_events(dir),
        [dir] => try_itself(dir),
        _ => try_itself(&tempfile::tempdir()?.path().join("events")),
    }
}

/// The child: goes on where the life before it ended, until it is killed.
fn log_events(dir: &Path) -> Outcome {
    let lines = Lines::load()?;
    let log = open(dir)?;
    let begun = check(&log, &lines)?;
    std::thread::scope(|scope| {
        for (thread, begun) in begun.into_iter().enumerate() {
            let (log, lines) = (&log, &lines);
            scope.spawn(move || {
                for seq in begun.. {
                    let Ok(_lsn) = log.append(&lines.event(thread, seq)) else { return };
                    say(&format!("{thread} {seq}"));
                }
            });
        }
    });
    Ok(())
}

/// The parent: kills one child after another, and counts what each has told that it appended.
fn try_itself(dir: &Path) -> Outcome {
    let lines = Lines::load()?;
    println!("{THREADS} threads log events, of {} lines.", lines.0.len());
    let mut appended = [0; THREADS];
    for life in 1..=LIVES {
        let before = appended;
        let child = ["child", dir.to_str().ok_or("a path that is no text")?];
        let (said, killed) = run_and_kill(&child, LIFE)?;
        if !killed {
            return Err("it ended by itself".into());
        }
        for line in said {
            let mut numbers = line.split(' ').map_while(|word| word.parse::<usize>().ok());
            if let (Some(thread), Some(seq)) = (numbers.next(), numbers.next()) {
                *appended.get_mut(thread).ok_or("an unknown thread")? = seq + 1;
            }
        }

        if appended == before {
            return Err("it was killed before it appended".into());
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
fn check(log: &TypedLog<Event, Json>, lines: &Lines) -> Outcome<[usize; THREADS]> {
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

/// What is logged, with the program that it is from: each thread's n-th event is always the same.
struct Lines(Vec<(String, String)>);

impl Lines {
    fn load() -> Outcome<Lines> {
        lines_of_programs().map(Lines)
    }

    fn event(&self, thread: usize, seq: usize) -> Event {
        let at = (seq * THREADS + thread).checked_rem(self.0.len()).unwrap_or(0);
        let (program, line) = self.0.get(at).cloned().unwrap_or_default();
        Event { thread, seq, program: Some(program).filter(|name| !name.is_empty()), line }
    }
}

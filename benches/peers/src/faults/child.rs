//! What a child does to a log, and the records by which each is known again.

use std::path::Path;

use clap::Subcommand;

use super::said::say;
use super::served;
use crate::peer::{Entry, Outcome, Peer};
use crate::peers;

#[derive(Subcommand)]
pub enum Task {
    /// Serves the device whose writes can fail.
    Serve { root: std::path::PathBuf },
    /// Appends records, each call durable, until all were tried or enough were refused.
    Append {
        peer: String,
        dir: std::path::PathBuf,
        size: usize,
        count: u32,
        /// Records a call.
        group: u32,
        /// Waits for a word before the call with this record, and after it.
        pause: u32,
        /// Refusals after which it stops.
        refusals: u32,
        /// Ends the log as an orderly program does, or is killed.
        #[arg(long)]
        close: bool,
    },
    /// Opens the log, says which records it gives, and appends one more.
    Read { peer: String, dir: std::path::PathBuf, size: usize },
}

/// Bytes of which the record `n` is made, and no other.
pub fn mark(n: u32) -> String {
    // Sixteen printable bytes, spread by Knuth's multiplier, so that neighbours differ in many: it goes through a line of text.
    format!("rec{:08x}-mark", n.wrapping_mul(0x9E37_79B1))
}

/// The number stands before the marks.
fn payload(n: u32, size: usize) -> Vec<u8> {
    let marks = mark(n).into_bytes().into_iter().cycle();
    n.to_le_bytes().into_iter().chain(marks).take(size).collect()
}

/// Which record it is, if it is what was appended.
fn number(record: &[u8], size: usize) -> Option<u32> {
    let n = u32::from_le_bytes(*record.first_chunk()?);
    (record == payload(n, size)).then_some(n)
}

fn entry(name: &str) -> Outcome<Entry> {
    Ok(peers::for_faults().into_iter().find(|entry| entry.name == name).ok_or("no such peer")?)
}

pub fn run(task: &Task) -> Outcome<()> {
    match task {
        Task::Serve { root } => served::serve(root),
        Task::Append { peer, dir, size, count, group, pause, refusals, close } => {
            let Some(log) = opened(peer, dir)? else { return Ok(()) };
            let mut refused = 0;
            for n in (0..*count).step_by(*group as usize) {
                let pauses = (n..n + group).contains(pause);
                if pauses {
                    say("waiting");
                    wait()?;
                }
                let records: Vec<_> = (n..n + group).map(|n| payload(n, *size)).collect();
                let records: Vec<_> = records.iter().map(Vec::as_slice).collect();
                let done = match &*records {
                    [one] => log.durable(one),
                    all => log.durable_batch(all),
                };
                match done {
                    Ok(()) => say(&format!("ok {n}")),
                    Err(why) => {
                        say(&format!("no {n} {why}"));
                        refused += 1;
                    }
                }
                if refused == *refusals {
                    break;
                }
                if pauses {
                    wait()?;
                }
            }
            say("end");
            if *close {
                return ended(log);
            }
            wait()
        }
        Task::Read { peer, dir, size } => read(peer, dir, *size),
    }
}

fn opened(peer: &str, dir: &Path) -> Outcome<Option<Box<dyn Peer>>> {
    match (entry(peer)?.open)(dir) {
        Ok(log) => {
            say("open");
            Ok(Some(log))
        }
        Err(why) => {
            say(&format!("no open {why}"));
            Ok(None)
        }
    }
}

fn ended(log: Box<dyn Peer>) -> Outcome<()> {
    match log.close() {
        Ok(()) => say("closed"),
        Err(why) => say(&format!("no close {why}")),
    }
    Ok(())
}

fn wait() -> Outcome<()> {
    std::io::stdin().read_line(&mut String::new())?;
    Ok(())
}

fn read(peer: &str, dir: &Path, size: usize) -> Outcome<()> {
    let Some(log) = opened(peer, dir)? else { return Ok(()) };
    let (mut found, mut wrong) = (Vec::new(), 0);
    let replayed = log.replay(&mut |record| match number(record, size) {
        Some(n) => found.push(n),
        None => wrong += 1,
    });
    let numbers: Vec<_> = found.iter().map(u32::to_string).collect();
    say(&format!("found {wrong} {}", numbers.join(" ")));
    match replayed {
        Ok(()) => say("whole"),
        Err(why) => say(&format!("no replay {why}")),
    }
    match log.durable(&payload(u32::MAX, size)) {
        Ok(()) => say("on"),
        Err(why) => say(&format!("no on {why}")),
    }
    ended(log)
}

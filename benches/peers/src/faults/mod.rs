//! What each does when a write of the disk fails, when the disk is full, and with a flipped bit. README.md
//! says how.

mod child;
mod disk;
mod outcome;
mod said;
mod served;
mod table;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use memchr::memmem;
use serde::{Deserialize, Serialize};

pub use child::{Task, run as run_child};

use crate::peer::{Entry, Outcome};
use crate::peers;
use child::mark;
use disk::Disk;
use outcome::{Calls, LONG, again};
use said::Told;

#[derive(Args)]
pub struct Faults {
    /// Only these peers.
    #[arg(long, value_delimiter = ',')]
    peers: Vec<String>,
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Where the image of the disk goes.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Where the JSON lines go; what it holds is kept.
    #[arg(long, default_value = "faults.jsonl")]
    out: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    FailedWrite,
    FullDisk,
    FlippedBit,
}

/// What came of a fault, as far as it went.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Came {
    /// Of the call that met it.
    pub call: String,
    /// Of the calls after that.
    pub then: String,
    /// Of the records, once the log was opened anew.
    pub after: String,
    /// What it said, in its words.
    pub words: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub struct Found {
    pub peer: String,
    pub version: String,
    pub fault: Fault,
    pub round: usize,
    pub came: Came,
}

pub fn measure(faults: &Faults) -> Outcome<()> {
    let mut out = OpenOptions::new().create(true).append(true).open(&faults.out)?;
    let wanted = |name: &str| faults.peers.is_empty() || faults.peers.iter().any(|n| n == name);
    for round in 0..faults.rounds {
        for entry in peers::for_faults().iter().filter(|entry| wanted(entry.name)) {
            for (fault, put) in FAULTS {
                let came = put(entry, &faults.dir)
                    .map_err(|e| format!("{}, {fault:?}: {e}", entry.name))?;
                eprintln!(
                    "{round} {:<12} {fault:?}: {} | {} | {} | {}",
                    entry.name, came.call, came.then, came.after, came.words
                );
                let (peer, version) = (entry.name.into(), entry.version.into());
                writeln!(
                    out,
                    "{}",
                    serde_json::to_string(&Found { peer, version, fault, round, came })?
                )?;
            }
        }
    }
    Ok(())
}

pub fn report(path: &Path) -> Outcome<String> {
    let text = fs::read_to_string(path)?;
    let found: Result<Vec<Found>, _> = text.lines().map(serde_json::from_str).collect();
    Ok(table::markdown(&found?))
}

type Put = fn(&Entry, &Path) -> Outcome<Came>;
const FAULTS: [(Fault, Put); 3] = [
    (Fault::FailedWrite, failed_write),
    (Fault::FullDisk, full_disk),
    (Fault::FlippedBit, flipped_bit),
];

/// More than two pages: those in the midst of a record are no one else's.
const LARGE: usize = 10_000;

fn start(entry: &Entry, dir: &Path, task: &[&str]) -> Outcome<Told> {
    fs::create_dir_all(dir)?;
    let mut words = vec!["append", entry.name, dir.to_str().ok_or("a path that is not UTF-8")?];
    words.extend(task);
    let mut told = Told::start(&words, dir)?;
    told.expect("open", LONG)?;
    Ok(told)
}

/// Of the call, and of the log that was opened anew.
fn both(call: &str, again: &str) -> String {
    let words = [call, again].into_iter().filter(|words| !words.is_empty());
    words.collect::<Vec<_>>().join("; then: ")
}

/// What is appended before a fault; the next record is the one that meets it.
const TRIED: u32 = 20;
/// How many calls are made after the one that met a failed write.
const AFTER: u32 = 100;

/// The disk fails each write that holds one record, until its call has returned or hangs; then all is well again. The
/// process is killed, and what was never written is gone from the cache.
fn failed_write(entry: &Entry, home: &Path) -> Outcome<Came> {
    let mut disk = Disk::new(home)?;
    let dir = disk.path().join("log");
    let (size, count, at) = (LARGE.to_string(), (TRIED + 1 + AFTER).to_string(), TRIED.to_string());
    let mut told = start(entry, &dir, &[&size, &count, "1", &at, &count])?;
    let (mut before, mut call, mut then) = (Calls::default(), Calls::default(), Calls::default());
    before.hear(&mut told, usize::MAX)?;
    if before.end.is_some() || !before.refused.is_empty() {
        return Err("it failed before".into());
    }
    disk.fail(&mark(TRIED))?;
    told.tell("go")?;
    call.hear(&mut told, 1)?;
    let hits = disk.heal()?;
    let mut came = Came { call: call.met(), words: call.words.clone(), ..Came::default() };
    if hits == 0 {
        came.call += " (its write did not come)";
    }
    if call.end.is_none() {
        told.tell("go")?;
        then.hear(&mut told, usize::MAX)?;
        came.then = then.all();
    }
    drop(told);
    disk.mount_again()?;
    let acknowledged = &(&before.acknowledged | &call.acknowledged) | &then.acknowledged;
    // What an error was given for may be there: it is unknown, and no one was told that it is not.
    let again = again(entry, &dir, LARGE)?;
    came.after = again.lost(&acknowledged, &BTreeSet::new());
    came.words = both(&came.words, &again.words);
    Ok(came)
}

/// Left on the disk when it is full.
const ROOM: u64 = 2 << 20;
/// Of a record, and how many are tried: more than the disk holds.
const HUGE: usize = 128 << 10;
const MOST: u32 = 30_000;
const REFUSALS: u32 = 10;
/// In which a log may make things ready: what it has then it may use.
const READY: Duration = Duration::from_millis(500);

/// Something else takes the room. Records are appended until ten are refused; the process is killed, and
/// the log opened when there is room.
fn full_disk(entry: &Entry, home: &Path) -> Outcome<Came> {
    let mut disk = Disk::new(home)?;
    let dir = disk.path().join("log");
    let words = [HUGE, MOST as usize, 1, TRIED as usize, REFUSALS as usize].map(|n| n.to_string());
    let mut told = start(entry, &dir, &words.each_ref().map(String::as_str))?;
    let mut calls = Calls::default();
    calls.hear(&mut told, usize::MAX)?;
    std::thread::sleep(READY);
    disk.fill(ROOM)?;
    told.tell("go\ngo")?;
    let mut then = Calls::default();
    while calls.end.is_none()
        && calls.refused.is_empty()
        && calls.acknowledged.len() < MOST as usize
    {
        calls.hear(&mut told, 1)?;
    }
    let mut came = Came { call: calls.met(), words: calls.words.clone(), ..Came::default() };
    if calls.end.is_none() {
        then.hear(&mut told, usize::MAX)?;
        came.then = then.all();
    }
    drop(told);
    disk.mount_again()?;
    disk.empty()?;
    let (acknowledged, refused) =
        (&calls.acknowledged | &then.acknowledged, &calls.refused | &then.refused);
    let room = again(entry, &dir, HUGE)?;
    came.after = room.lost(&acknowledged, &refused);
    came.words = both(&came.words, &room.words);
    Ok(came)
}

const RECORDS: u32 = 10_000;
const FLIPPED: u32 = 5_000;

/// One bit of the record in the midst of ten thousand that are durable, wherever the files hold it.
fn flipped_bit(entry: &Entry, home: &Path) -> Outcome<Came> {
    let root = tempfile::Builder::new().prefix("peers-").tempdir_in(home)?;
    let dir = root.path().join("log");
    let count = RECORDS.to_string();
    let mut told = start(entry, &dir, &["100", &count, "100", &count, "1", "--close"])?;
    let mut calls = Calls::default();
    calls.hear(&mut told, usize::MAX)?;
    told.expect("closed", LONG)?;
    drop(told);
    let places = flip(&dir, mark(FLIPPED).as_bytes())?;
    let again = again(entry, &dir, 100)?;
    let found = again.found.iter().filter(|n| **n != u32::MAX).count();
    let mut came = Came {
        words: again.words.replace(dir.to_str().unwrap_or_default(), ""),
        ..Came::default()
    };
    let ends = ["hangs", "panics", "ends"];
    let how = ends.into_iter().find(|end| again.words.starts_with(end)).unwrap_or("error");
    came.call = match (places, again.opened, again.whole) {
        (0, ..) => "not to be found in its files".into(),
        (_, false, _) => format!("{how} when it is opened"),
        _ if again.wrong > 0 => "**the changed record**".into(),
        (_, true, false) => format!("{how} when it is read"),
        (_, true, true) if found == RECORDS as usize => "all records".into(),
        (_, true, true) => {
            format!("**{} of {RECORDS} missing, no error**", RECORDS as usize - found)
        }
    };
    Ok(came)
}

/// Flips a bit in the first of the marks of each place that has one; how many places.
fn flip(dir: &Path, mark: &[u8]) -> Outcome<usize> {
    let mut places = 0;
    for file in fs::read_dir(dir)? {
        let path = file?.path();
        if path.is_dir() {
            places += flip(&path, mark)?;
            continue;
        }
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        if file.metadata()?.len() == 0 {
            continue;
        }
        // SAFETY: a file that no process has open.
        let mut bytes = unsafe { memmap2::MmapMut::map_mut(&file)? };
        let all: Vec<usize> = memmem::find_iter(&bytes, mark).collect();
        // The marks of a record follow one another.
        let first = |at: &&usize| **at < mark.len() || !all.contains(&(**at - mark.len()));
        for at in all.iter().filter(first) {
            bytes[at + 8] ^= 1;
            places += 1;
        }
        bytes.flush()?;
    }
    Ok(places)
}

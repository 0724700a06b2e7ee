//! A key-value store on the log: what a database does with one.
//!
//! - *Redo*: the state is a snapshot and the records behind it. Opening reads both.
//! - *Group commit*: many threads put; each waits for its own record, and they share the syncs.
//! - *Checkpoint*: a snapshot is written and synced, then the log is told that nothing below it is needed.
//!
//! Without an argument it tries itself: starts itself as a child, kills it, opens the store, and looks for
//! everything that the child was told is durable; several times over.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    reason = "files of the example's own; indices within bounds"
)]

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::{Outcome, lines, run_and_kill, say};
use duralog::{Log, Lsn, Options};
use serde::{Deserialize, Serialize};

/// One change, as it stands in the log.
#[derive(Serialize, Deserialize)]
enum Change {
    Put(String, String),
    Delete(String),
}

/// The whole state below an LSN.
#[derive(Default, Serialize, Deserialize)]
struct Snapshot {
    lsn: u64,
    map: BTreeMap<String, String>,
}

struct Store {
    dir: PathBuf,
    log: Log,
    /// Changed in the order of the log: whoever appends holds it.
    map: Mutex<BTreeMap<String, String>>,
    /// One snapshot at a time: two would write the same file, and the older could come to lie below the checkpoint.
    flushing: Mutex<()>,
}

impl Store {
    fn open(dir: &Path) -> Outcome<Store> {
        fs::create_dir_all(dir)?;
        let log = Options::new().segment_size(1 << 20).open(dir.join("log"))?;
        let Snapshot { lsn, mut map } = match fs::read(dir.join("snapshot")) {
            Ok(bytes) => serde_json::from_slice(&bytes)?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Snapshot::default(),
            Err(error) => return Err(error.into()),
        };
        // The snapshot is never older than the checkpoint, and from there on everything can be read.
        let mut redo = if lsn == 0 { log.replay() } else { log.replay_from(Lsn::new(lsn))? };
        while let Some((_, payload)) = redo.next_payload()? {
            match serde_json::from_slice(payload)? {
                Change::Put(key, value) => drop(map.insert(key, value)),
                Change::Delete(key) => drop(map.remove(&key)),
            }
        }
        drop(redo);
        Ok(Store { dir: dir.to_owned(), log, map: Mutex::new(map), flushing: Mutex::default() })
    }

    /// Durable when it returns.
    fn put(&self, key: &str, value: &str) -> Outcome {
        let change = serde_json::to_vec(&Change::Put(key.to_owned(), value.to_owned()))?;
        let lsn = {
            let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
            let lsn = self.log.append(&change)?;
            map.insert(key.to_owned(), value.to_owned());
            lsn
        };
        // Not under the lock: so others append meanwhile, and one sync is for all.
        Ok(self.log.commit_to(lsn)?)
    }

    fn delete(&self, key: &str) -> Outcome {
        let change = serde_json::to_vec(&Change::Delete(key.to_owned()))?;
        let lsn = {
            let mut map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
            let lsn = self.log.append(&change)?;
            map.remove(key);
            lsn
        };
        Ok(self.log.commit_to(lsn)?)
    }

    /// Writes a snapshot, and gives back what of the log it makes needless.
    fn flush(&self) -> Outcome {
        let _alone = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let snapshot = {
            let map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
            Snapshot { lsn: self.log.end().get(), map: map.clone() }
        };
        // First: else a crash could lose records that the snapshot has, and it would be ahead of the log.
        self.log.commit()?;
        let new = self.dir.join("snapshot.new");
        let mut file = File::create(&new)?;
        file.write_all(&serde_json::to_vec(&snapshot)?)?;
        file.sync_all()?;
        fs::rename(&new, self.dir.join("snapshot"))?;
        File::open(&self.dir)?.sync_all()?;
        // Only now: the snapshot is durable under its name.
        self.log.checkpoint(Lsn::new(snapshot.lsn))?;
        Ok(())
    }
}

const THREADS: u64 = 4;

/// The child: puts until it is killed, and says what it was told is durable.
fn work(dir: &str) -> Outcome {
    let store = Store::open(Path::new(dir))?;
    let lines = lines()?;
    let puts = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (store, lines, puts) = (&store, &lines, &puts);
            let put = move || -> Outcome {
                for n in 0.. {
                    let key = format!("{thread}/{}", n % 50);
                    let last =
                        store.map.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
                    // Each value begins with a number that grows, so that the parent sees which one it is.
                    let number = last.as_deref().map_or(0, number_of) + 1;
                    let line = &lines[number as usize * 31 % lines.len()];
                    store.put(&key, &format!("{number} {line}"))?;
                    say(&format!("{key} {number}"));
                    if n % 9 == 0 {
                        store.put("fleeting", "1 here for a moment")?;
                        store.delete("fleeting")?;
                    }
                    if puts.fetch_add(1, Ordering::Relaxed) % 500 == 499 {
                        store.flush()?;
                    }
                }
                Ok(())
            };
            scope.spawn(move || {
                if let Err(error) = put() {
                    eprintln!("thread {thread}: {error}");
                    std::process::exit(1); // the others put without end
                }
            });
        }
    });
    Ok(())
}

fn number_of(value: &str) -> u64 {
    value.split(' ').next().and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The parent: kills the child, and holds the store against what the child said.
fn try_itself() -> Outcome {
    let home = tempfile::tempdir()?;
    let dir = home.path().join("store");
    let path = dir.to_str().ok_or("the path is no text")?;
    let (mut told, mut count) = (BTreeMap::new(), 0);
    for life in 0..5 {
        let time = Duration::from_millis(250 + 60 * life);
        let (said, killed) = run_and_kill(&["work", path], time)?;
        if !killed {
            return Err("it ended by itself".into());
        }
        for line in &said {
            if let Some((key, number)) = line.split_once(' ').filter(|(key, _)| key.contains('/')) {
                told.insert(key.to_owned(), number.parse::<u64>()?);
                count += 1;
            }
        }
        let store = Store::open(&dir)?;
        let map = store.map.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for (key, told) in &mut told {
            let (number, found) = (*told, map.get(key).map_or(0, |value| number_of(value)));
            // One more may have been durable, and the child was killed before it could say so.
            if found != number && found != number + 1 {
                return Err(format!("{key} is at {found}, and {number} was durable").into());
            }
            *told = found; // or the next life could be one more ahead
        }
        store.log.close()?;
    }
    println!(
        "{count} puts by {THREADS} threads in 5 lives, each ended by SIGKILL: all of them are there"
    );
    Ok(())
}

fn main() -> Outcome {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["work", dir] => work(dir),
        _ => try_itself(),
    }
}

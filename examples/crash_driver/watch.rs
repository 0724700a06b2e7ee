//! Who reads the log beside the writer as another process would: without its lock, without its memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use duralog::{Error, Log, Lsn, Reader, Result};

use crate::words::{hash, number, violation};

/// What was ever appended under each number: a number that comes again after a cut names another record.
#[derive(Default)]
pub(crate) struct Appended(Mutex<BTreeMap<u64, BTreeSet<u64>>>);

impl Appended {
    pub(crate) fn insert(&self, n: u64, payload: &[u8]) {
        let mut all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        all.entry(n).or_default().insert(hash(payload));
    }

    fn has(&self, n: u64, payload: &[u8]) -> bool {
        let all = self.0.lock().unwrap_or_else(|e| e.into_inner());
        all.get(&n).is_some_and(|hashes| hashes.contains(&hash(payload)))
    }
}

/// What the follower is told by the threads that write.
#[derive(Default)]
pub(crate) struct Watched {
    pub(crate) appended: Appended,
    /// Cuts so far: after one the numbers go back.
    pub(crate) cuts: AtomicU64,
    /// All was written, and all is durable; behind this one no record follows: what is not met by then was lost.
    pub(crate) until: AtomicU64,
    pub(crate) stop: AtomicBool,
}

/// As long as the rig would wait for the whole.
const PATIENCE: Duration = Duration::from_secs(10);

/// Follows the durable records from the head until it is told to stop, and then as far as it is told. Err: what it saw that
/// was never so. A failing disk is not its matter.
pub(crate) fn follow(dir: &str, watched: &Watched) -> std::result::Result<(), String> {
    let mut follower = None;
    let (mut last, mut cuts, mut stopped) = (None, 0, None);
    loop {
        let step = next(dir, &mut follower);
        let cuts_now = watched.cuts.load(Ordering::Acquire);
        match step {
            Ok(Some((lsn, payload))) => {
                let n = number(&payload).filter(|n| watched.appended.has(*n, &payload));
                let Some(n) = n else {
                    return Err(format!("a reader met at {lsn} what was never appended"));
                };
                if cuts_now == cuts && last.is_some_and(|last| n != last + 1) {
                    return Err(format!("a reader met at {lsn} record {n} after {last:?}"));
                }
                (last, cuts) = (Some(n), cuts_now);
            }
            Ok(None) => (),
            // A checkpoint, a cut or a reset came first: from what is there now.
            Err(Error::Gone { .. } | Error::OutOfRange { .. }) => (follower, last) = (None, None),
            Err(Error::Io { .. }) => return Ok(()),
            // What failed under the writer may have taken it, also from the page cache.
            Err(_)
                if watched.stop.load(Ordering::Acquire)
                    && watched.until.load(Ordering::Acquire) == 0 =>
            {
                return Ok(());
            }
            Err(error) => return Err(format!("a reader: {error}")),
        }
        if watched.stop.load(Ordering::Acquire) {
            let until = watched.until.load(Ordering::Acquire);
            let there = follower.as_ref().map_or(0, |follower| follower.position().get());
            if there > until || until == 0 {
                return Ok(());
            }
            if stopped.get_or_insert_with(Instant::now).elapsed() > PATIENCE {
                return Err(format!(
                    "a reader is at {there}, though the record at {until} is durable"
                ));
            }
        }
    }
}

fn next(
    dir: &str,
    follower: &mut Option<duralog::ReaderFollower>,
) -> Result<Option<(Lsn, Vec<u8>)>> {
    let follower = match follower {
        Some(follower) => follower,
        none => {
            let reader = Reader::open(dir)?;
            none.insert(reader.follow(reader.head()?)?)
        }
    };
    let next = follower.next_timeout(Duration::from_millis(2))?;
    Ok(next.map(|record| (record.lsn, record.payload)))
}

/// What a reader finds in a log that no one has open.
#[derive(Default)]
pub(crate) struct Found {
    durable: Vec<(Lsn, u64)>,
    published: Vec<(Lsn, u64)>,
}

/// None: it could not read the disk, or someone has the log open after all, as the open behind it will find.
pub(crate) fn found(dir: &str) -> Result<Option<Found>> {
    let read = || {
        let reader = Reader::open(dir)?;
        let mut found = Found::default();
        for record in reader.replay()? {
            let record = record?;
            found.published.push((record.lsn, hash(&record.payload)));
        }
        let mut follower = reader.follow(reader.head()?)?;
        while let Some((lsn, payload)) = follower.try_next_payload()? {
            found.durable.push((lsn, hash(payload)));
        }
        Ok(found)
    };
    match read() {
        Ok(found) => Ok(Some(found)),
        Err(Error::Io { .. } | Error::Gone { .. }) => Ok(None),
        Err(Error::NoLog { .. }) => Ok(Some(Found::default())),
        Err(error) => Err(error),
    }
}

/// The writer, whose recovery decides, must find all that was durable, and no more than was there: it reads the disk, past
/// the page cache, which may hold what a failing disk never took.
pub(crate) fn check(log: &Log, found: &Found) -> Result<()> {
    let mut recovered = Vec::new();
    for record in log {
        let record = record?;
        recovered.push((record.lsn(), hash(record.payload())));
    }
    if recovered.starts_with(&found.durable) && found.published.starts_with(&recovered) {
        return Ok(());
    }
    let same = recovered.iter().zip(&found.published).take_while(|(a, b)| a == b).count();
    let (durable, published) = (found.durable.len(), found.published.len());
    violation(&format!(
        "a reader found {durable} durable records of {published}, the writer {same} of these"
    ))
}

//! What was told of one log over all its lives, and whether what an open then found agrees with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::words::{Origin, Said, WRITERS};

/// A promise that was not kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) promise: String,
    pub(crate) expected: String,
    pub(crate) found: String,
}

impl Broken {
    pub(crate) fn new(promise: &str, expected: impl ToString, found: impl ToString) -> Broken {
        Broken { promise: promise.into(), expected: expected.to_string(), found: found.to_string() }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: expected {}; found {}", self.promise, self.expected, self.found)
    }
}

impl std::error::Error for Broken {}

/// What an open found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) head: u64,
    pub(crate) end: u64,
    pub(crate) checkpoint: u64,
    pub(crate) torn: bool,
    pub(crate) records: Vec<(u64, Origin)>,
    pub(crate) position: Option<u64>,
    pub(crate) metadata: u64,
}

/// What was told before it was begun, and when it was done.
#[derive(Clone, Copy, Debug, Default)]
struct Between {
    done: u64,
    begun: u64,
}

impl Between {
    fn tell(&mut self, value: u64, done: bool) {
        self.begun = self.begun.max(value);
        if done {
            self.done = self.done.max(value);
        }
    }

    fn holds(&self, value: u64) -> bool {
        self.done <= value && value <= self.begun
    }
}

#[derive(Debug, Default)]
pub(crate) struct History {
    life: u32,
    threads: u32,
    /// Each record that the log may hold, by its LSN.
    records: BTreeMap<u64, Origin>,
    /// The next append of each writer of this life, the LSN of its last, and failed ones that may be there all the same.
    next: BTreeMap<u32, u64>,
    last: BTreeMap<u32, u64>,
    loose: BTreeSet<(u32, u64)>,
    /// Records below are acknowledged.
    durable: u64,
    /// The highest LSN that ever named a record; and what it was when the present instance of the log began.
    used: u64,
    barrier: u64,
    /// As of the last check.
    settled: u64,
    checkpoint: Between,
    /// A cut that was begun: the last record kept.
    cut: Option<u64>,
    acked: u64,
    acking: Option<u64>,
    metadata: Between,
    /// Since the last check something else than the process's death came over it.
    may_lose: bool,
    pub(crate) counts: Counts,
}

/// Of one log, over all lives.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) appended: u64,
    pub(crate) acknowledged: u64,
    pub(crate) checked: u64,
    pub(crate) checkpoints: u64,
    pub(crate) cuts: u64,
    pub(crate) torn: u64,
}

type Checked = Result<(), Broken>;

impl History {
    pub(crate) fn begin(&mut self, life: u32, threads: u32) {
        (self.life, self.threads) = (life, threads);
        self.next.clear();
        self.last.clear();
        self.loose.clear();
        self.barrier = self.used;
    }

    /// What was not acknowledged may be gone at the next check.
    pub(crate) fn may_lose(&mut self) {
        self.may_lose = true;
    }

    pub(crate) fn hear(&mut self, said: &Said) -> Checked {
        match said {
            Said::Opened => self.barrier = self.used,
            Said::Appended { writer, seq, lsns } => self.appended(*writer, *seq, lsns)?,
            Said::Failed { writer, seq, may_be } => {
                self.next.insert(*writer, seq + 1);
                if *may_be {
                    self.loose.insert((*writer, *seq));
                }
            }
            Said::Durable(lsn) => self.durable = self.durable.max(lsn + 1),
            Said::Checkpoint { at, done } => {
                self.checkpoint.tell(*at, *done);
                self.counts.checkpoints += u64::from(*done);
            }
            Said::Cut { keep, done: false } => self.cut = Some(*keep),
            Said::Cut { keep, done: true } => self.cut_done(*keep),
            Said::Close { done: true } => self.durable = self.durable.max(self.used + 1),
            Said::Acking(lsn) => self.acking = self.acking.max(Some(*lsn)),
            Said::Acked(position) => self.acked = self.acked.max(*position),
            Said::Metadata { n, done } => self.metadata.tell(*n, *done),
            Said::Broken { promise, what } => {
                return Err(Broken::new(promise, "the promise to hold", what));
            }
            _ => {}
        }
        Ok(())
    }

    fn appended(&mut self, writer: u32, seq: u64, lsns: &[u64]) -> Checked {
        self.next.insert(writer, seq + 1);
        let count = u32::try_from(lsns.len()).unwrap_or(u32::MAX);
        for (index, lsn) in (0..).zip(lsns) {
            let origin = Origin { writer, seq, index, count };
            self.add(*lsn, origin)?;
        }
        self.counts.appended += u64::from(count);
        Ok(())
    }

    fn add(&mut self, lsn: u64, origin: Origin) -> Checked {
        if let Some(other) = self.records.insert(lsn, origin) {
            return Err(Broken::new("P2", format_args!("LSN {lsn} for {other} alone"), origin));
        }
        if lsn <= self.barrier && self.barrier > 0 {
            let expected = format!("LSNs above {}, which was in use", self.barrier);
            return Err(Broken::new("P2", expected, format_args!("{lsn} for {origin}")));
        }
        if let Some(last) = self.last.insert(origin.writer, lsn).filter(|last| *last >= lsn) {
            let expected = format!("an LSN above {last}, the same thread's last");
            return Err(Broken::new("P2", expected, format_args!("{lsn} for {origin}")));
        }
        self.used = self.used.max(lsn);
        Ok(())
    }

    /// All that is kept is durable, and what was not will never be seen again.
    fn cut_done(&mut self, keep: u64) {
        self.records.split_off(&(keep + 1));
        self.durable = self.durable.max(keep + 1);
        self.barrier = self.used;
        self.cut = None;
        self.counts.cuts += 1;
    }

    /// Compares, and takes what was found for what is durable from now on.
    pub(crate) fn check(&mut self, found: &Found) -> Checked {
        self.positions(found)?;
        self.end_cut(found);
        self.identities(found)?;
        batches(&found.records)?;
        self.losses(found)?;
        let acknowledged =
            self.records.range(self.settled + 1..).filter(|(lsn, _)| **lsn < self.durable);
        self.counts.acknowledged += acknowledged.count() as u64;
        self.counts.checked += found.records.len() as u64;
        self.counts.torn += u64::from(found.torn);
        self.settle(found);
        Ok(())
    }

    /// What the log keeps beside its records.
    fn positions(&self, found: &Found) -> Checked {
        let Between { done, begun } = self.checkpoint;
        if !self.checkpoint.holds(found.checkpoint) {
            let expected = format!("a checkpoint from {done} to {begun}");
            return Err(Broken::new("P10", expected, found.checkpoint));
        }
        let Between { done, begun } = self.metadata;
        if !self.metadata.holds(found.metadata) {
            let expected = format!("metadata number {done} to {begun}");
            return Err(Broken::new("P1", expected, found.metadata));
        }
        let Some(position) = found.position else {
            return match self.acked {
                0 => Ok(()),
                acked => Err(Broken::new("P1", format!("a consumer at {acked}"), "no consumer")),
            };
        };
        if position < self.acked {
            let expected = format!("a consumer at {} or beyond", self.acked);
            return Err(Broken::new("P1", expected, position));
        }
        // A position is the end of the record that was acknowledged: no other lies before it.
        let between = |lsn: &&(u64, Origin)| self.acking.is_some_and(|at| at < lsn.0);
        match found.records.iter().filter(between).find(|(lsn, _)| *lsn < position) {
            Some((lsn, _)) if position > self.acked => Err(Broken::new(
                "P1",
                format_args!("a consumer that acknowledged at most {:?}", self.acking),
                format_args!("{position}, behind the record at {lsn}"),
            )),
            _ => Ok(()),
        }
    }

    /// A cut that was begun came about, whole, or not at all.
    fn end_cut(&mut self, found: &Found) {
        if let Some(keep) = self.cut.take() {
            if found.records.last().is_none_or(|(lsn, _)| *lsn <= keep) {
                self.records.split_off(&(keep + 1));
            }
        }
    }

    /// Each record is the one that its LSN names, or the last that a writer was about to tell of.
    fn identities(&mut self, found: &Found) -> Checked {
        let mut last = None;
        for (lsn, origin) in &found.records {
            if last >= Some(*lsn) {
                return Err(Broken::new("P2", "LSNs that ascend", format_args!("{lsn} behind")));
            }
            last = Some(*lsn);
            match self.records.get(lsn) {
                Some(told) if told == origin => {}
                Some(told) => {
                    let expected = format!("at LSN {lsn} {told}");
                    return Err(Broken::new("P2", expected, origin));
                }
                None => self.adopt(*lsn, *origin)?,
            }
        }
        Ok(())
    }

    fn adopt(&mut self, lsn: u64, origin: Origin) -> Checked {
        let Origin { writer, seq, .. } = origin;
        let next = self.next.get(&writer).copied().unwrap_or(0);
        let is_ours = writer / WRITERS == self.life && writer % WRITERS < self.threads;
        if !is_ours || seq != next && !self.loose.contains(&(writer, seq)) || lsn <= self.barrier {
            let expected = format!("nothing at LSN {lsn}: cut, lost before, or never appended");
            return Err(Broken::new("P2", expected, origin));
        }
        self.add(lsn, origin)
    }

    /// Everything is there that must be.
    fn losses(&self, found: &Found) -> Checked {
        let last = found.records.last().map(|(lsn, _)| *lsn);
        let there: BTreeSet<u64> = found.records.iter().map(|(lsn, _)| *lsn).collect();
        let needed = found.head.min(found.checkpoint.max(self.checkpoint.done));
        for (lsn, origin) in self.records.range(needed..) {
            if there.contains(lsn) {
                continue;
            }
            let promise = match lsn {
                lsn if *lsn < self.durable => "P1",
                lsn if Some(*lsn) < last => "P2",
                _ if !self.may_lose => "P4",
                _ => continue,
            };
            let last = last.map_or("none".to_owned(), |last| last.to_string());
            let (durable, records) = (self.durable, found.records.len());
            let expected = format!("at LSN {lsn} {origin}; durable was {durable}");
            let what = format!("no such record; {records} records, the last at {last}");
            return Err(Broken::new(promise, expected, what));
        }
        Ok(())
    }

    fn settle(&mut self, found: &Found) {
        self.records = found.records.iter().copied().collect();
        self.durable = self.durable.max(found.end).max(self.used + 1);
        (self.checkpoint.done, self.checkpoint.begun) = (found.checkpoint, found.checkpoint);
        (self.metadata.done, self.metadata.begun) = (found.metadata, found.metadata);
        self.acked = found.position.unwrap_or(0);
        self.may_lose = false;
        self.settled = self.used;
        self.begin(self.life, 0);
    }
}

/// A batch is all or nothing, and nothing lies between its records.
fn batches(records: &[(u64, Origin)]) -> Checked {
    let mut open: Option<Origin> = None;
    let torn =
        |batch: Origin| Err(Broken::new("P3", "a whole batch", format_args!("only {batch}")));
    for (_, origin) in records {
        let follows = open.map(|last| Origin { index: last.index + 1, ..last });
        match (open, follows) {
            (Some(last), Some(follows)) if follows != *origin => return torn(last),
            (None, _) if origin.index != 0 => return torn(*origin),
            _ => {}
        }
        open = (origin.index + 1 < origin.count).then_some(*origin);
    }
    open.map_or(Ok(()), torn)
}

#[cfg(test)]
mod tests;

//! Commit: one thread syncs for all who wait (group commit).
//!
//! Waiting is for a position, never for "my own sync". Whoever finds no leader becomes it. Before it
//! syncs, the leader waits a moment for as many as the last sync covered, so that the threads of
//! one group do not fall apart into two that alternate; the others yield before they sleep. Together
//! 1.45 times at 8 threads and 2.1 times at 64 (design fact 4). A lone committer waits for no one.

use std::sync::Arc;
use std::time::Duration;

use super::engine::Engine;
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Condvar, Instant, Mutex, thread};
use crate::watermark::Watermark;

/// How long a leader waits for the company it had last time: measured, design fact 4.
const GATHER: Duration = Duration::from_micros(40);
/// How often a waiter yields before it sleeps: measured, design fact 4.
const YIELDS: usize = 8;

#[derive(Debug, Default)]
pub(crate) struct Group {
    state: Mutex<State>,
    /// One condition for all: above some 30 waiters, waking them one by one costs more than the sync.
    synced: Condvar,
    /// Threads that wait for a sync, the leader included.
    waiting: AtomicUsize,
    /// Grows with each cut back, by which a position can stop to be in the log.
    cuts: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    /// Where the durable LSN is kept outside the log.
    watermark: Option<Watermark>,
    /// Someone syncs.
    led: bool,
    /// How many the last sync covered.
    last_group: usize,
    syncs: u64,
    records: u64,
    records_before: u64,
}

impl Group {
    pub(crate) fn new(watermark: Option<Watermark>) -> Group {
        Group { state: Mutex::new(State { watermark, ..State::default() }), ..Group::default() }
    }
}

impl Engine {
    pub(crate) fn commit(&self) -> Result<Lsn> {
        self.health.check()?;
        let cuts = self.cuts();
        self.wait_durable(self.end(), cuts)?;
        Ok(Lsn::new(self.durable()))
    }

    pub(crate) fn commit_to(&self, lsn: Lsn) -> Result<()> {
        self.health.check()?;
        let cuts = self.cuts();
        self.check_live(lsn.get())?;
        self.wait_durable(lsn.get() + 1, cuts)
    }

    pub(crate) fn append_durable(&self, payload: &[u8]) -> Result<Lsn> {
        let cuts = self.cuts();
        let lsn = self.append(payload)?;
        self.wait_durable(lsn.get() + 1, cuts)?;
        Ok(lsn)
    }

    /// Commits for `close`, when appends have ended.
    pub(crate) fn sync_all(&self) -> Result<()> {
        self.wait_durable(self.end(), self.cuts())
    }

    fn cuts(&self) -> u64 {
        self.group.cuts.load(Ordering::Acquire)
    }

    /// Ok only if `lsn` lies in the part of a window that holds records of the log as it is now.
    fn check_live(&self, lsn: u64) -> Result<()> {
        let (head, end) = (self.catalog.head(), self.end());
        if lsn >= end {
            return Err(Error::OutOfRange {
                lsn: Lsn::new(lsn),
                head: Lsn::new(head),
                end: Lsn::new(end),
            });
        }
        let live = self.catalog.find(lsn).is_some_and(|slot| lsn < slot.end().unwrap_or(end));
        if live { Ok(()) } else { Err(Error::Gone { lsn: Lsn::new(lsn), head: Lsn::new(head) }) }
    }

    /// Waits until everything below `need` is durable. `cuts`: as seen when `need` was in the log.
    pub(crate) fn wait_durable(&self, need: u64, cuts: u64) -> Result<()> {
        if self.durable() < need {
            self.group.waiting.fetch_add(1, Ordering::Relaxed);
            let waited = self.wait_in_group(need);
            self.group.waiting.fetch_sub(1, Ordering::Relaxed);
            waited?;
        }
        // `durable` also moves past what was cut away: then it says nothing of this position.
        if self.cuts() == cuts { Ok(()) } else { self.check_live(need.saturating_sub(1)) }
    }

    fn wait_in_group(&self, need: u64) -> Result<()> {
        let mut state = self.group.state.lock();
        loop {
            if self.durable() >= need {
                return Ok(());
            }
            // After a failed sync nothing more becomes durable, whatever a later sync says (P6).
            if let Some(cause) = self.health.failed() {
                return Err(Error::Poisoned { cause });
            }
            if !state.led {
                state.led = true;
                let company = state.last_group;
                drop(state);
                self.gather(company);
                let synced = self.sync_everything();
                self.stop_leading(synced.ok());
                state = self.group.state.lock();
                continue;
            }
            drop(state);
            for _ in 0..YIELDS {
                thread::yield_now();
                if self.durable() >= need {
                    return Ok(());
                }
            }
            state = self.group.state.lock();
            if state.led && self.durable() < need {
                self.group.synced.wait(&mut state);
            }
        }
    }

    fn gather(&self, company: usize) {
        if company < 2 {
            return;
        }
        let start = Instant::now();
        while self.group.waiting.load(Ordering::Relaxed) < company && start.elapsed() < GATHER {
            thread::yield_now();
        }
    }

    /// Syncs every segment with unsynced frames, oldest first: nothing later may count as durable
    /// before. Only the leader calls it. Any failure is final.
    fn sync_everything(&self) -> Result<Synced> {
        let group = self.group.waiting.load(Ordering::Relaxed);
        let (rolled, active, end, records) = {
            let tail = self.tail.lock();
            let active = Arc::clone(tail.writer.segment());
            (tail.unsynced.clone(), active, tail.writer.lsn(), tail.appends)
        };
        if let Some(cause) = self.health.failed() {
            return Err(Error::Poisoned { cause });
        }
        let durable = self.durable();
        let method = self.files.options.sync_method;
        for segment in &rolled {
            let dirty = durable.saturating_sub(segment.base())..segment.identity().size;
            segment.sync(method, dirty).map_err(|e| self.health.poison(e))?;
        }
        if end > active.base() + DATA_START {
            let dirty = durable.saturating_sub(active.base())..end - active.base() + 8;
            active.sync(method, dirty).map_err(|e| self.health.poison(e))?;
        }
        if !rolled.is_empty() {
            let last = rolled.last().map_or(0, |segment| segment.base());
            self.tail.lock().unsynced.retain(|segment| segment.base() > last);
        }
        Ok(Synced { end, group, records, rolled: !rolled.is_empty() })
    }

    /// Publishes what became durable, gives up leadership, wakes all: those who are not yet
    /// covered elect the next leader.
    fn stop_leading(&self, synced: Option<Synced>) {
        let mut state = self.group.state.lock();
        let mut seals_due = false;
        if let Some(Synced { end, group, records, rolled }) = synced {
            if let Some(watermark) = &mut state.watermark {
                watermark.note(end);
            }
            self.raise_durable(end);
            state.last_group = group;
            state.syncs += 1;
            state.records += records.saturating_sub(state.records_before);
            state.records_before = records;
            seals_due = rolled;
        }
        state.led = false;
        drop(state);
        self.group.synced.notify_all();
        if seals_due {
            // The worker was woken by the roll, but may have looked before `durable` moved, and found nothing to seal.
            self.signal.wake();
        }
    }

    /// Never back: a checkpoint of everything may have moved it past the end that a sync began with.
    pub(crate) fn raise_durable(&self, to: u64) {
        self.durable.fetch_max(to, Ordering::AcqRel);
    }

    /// Keeps everyone from syncing while `cut` cuts the log back. `cut` gives the new durable end, or none
    /// if it changed nothing; whether it did.
    pub(crate) fn while_leading(&self, cut: impl FnOnce() -> Result<Option<u64>>) -> Result<bool> {
        let mut state = self.group.state.lock();
        while state.led {
            self.group.synced.wait(&mut state);
        }
        state.led = true;
        drop(state);
        let end = cut();
        if let Ok(Some(end)) = end {
            // Before `durable` moves past what was cut: whoever waits for that must see the cut.
            self.group.cuts.fetch_add(1, Ordering::AcqRel);
            self.raise_durable(end);
        }
        self.stop_leading(None);
        Ok(end?.is_some())
    }

    /// Syncs so far, and the records that they covered.
    pub(crate) fn syncs(&self) -> (u64, u64) {
        let state = self.group.state.lock();
        (state.syncs, state.records)
    }
}

struct Synced {
    end: u64,
    group: usize,
    records: u64,
    /// Segments that were full are among what was synced.
    rolled: bool,
}

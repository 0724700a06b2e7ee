//! Commit: one thread syncs for all who wait (group commit).
//!
//! Waiting is for a position, never for "my own sync". Whoever finds no leader becomes it. Before it
//! syncs, the leader waits a moment for those who are known to come back at once (`gather.rs`, the rule), so that the
//! threads of one group do not fall apart into two that alternate; the others yield before they sleep (design fact 4).
//! A lone committer waits for no one.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use super::engine::Engine;
use super::gather::{Gather, Habit, Threads};
use super::tell::News;
use super::waiters::{Due, Waiters};
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::segment::Segment;
use crate::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::sync::{Condvar, Instant, Mutex, MutexGuard, thread, thread_local};
use crate::watermark::{Bell, Watermark};

#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(super) state: Mutex<State>,
    /// One condition for all: above some 30 waiters, waking them one by one costs more than the sync.
    synced: Condvar,
    /// Threads that wait for a sync that has not begun, the leader included. Changed under the lock; atomic for the
    /// leader that gathers.
    waiting: AtomicU32,
    /// More than one thread waited for the last sync.
    shared: AtomicBool,
    /// Grows with each cut back, by which a position can stop to be in the log.
    cuts: AtomicU64,
    /// Tells readers in other processes of a sync.
    bell: Option<Bell>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// Where the durable LSN is kept outside the log.
    watermark: Option<Watermark>,
    /// Someone syncs.
    led: bool,
    /// How many wait to keep everyone from syncing. They come before those who would sync: among many committers they
    /// would else get their turn by luck alone.
    preferred: u32,
    gather: Gather,
    /// How many of those who wait are regulars.
    regulars: u32,
    /// Up to where the sync goes that began last, and who waits for that one.
    covering: u64,
    covered: Threads,
    /// When it ended.
    ended: Option<Instant>,
    syncs: u64,
    records: u64,
    records_before: u64,
    /// Who waits without a thread for what will be durable.
    pub(super) waiters: Waiters,
}

/// What a thread remembers of its last commit: by that it is told whether it comes back at once.
#[derive(Clone, Copy)]
struct Memory {
    /// The address of the group: another log is another habit.
    group: usize,
    /// What was durable when it left: if it is so still, the last sync woke this thread.
    durable: u64,
    habit: Habit,
}

thread_local! {
    static MEMORY: Cell<Memory> = const { Cell::new(Memory { group: 0, durable: 0, habit: Habit::NONE }) };
}

impl Group {
    pub(crate) fn new(watermark: Option<Watermark>) -> Group {
        let bell = watermark.as_ref().map(Watermark::bell);
        let state = Mutex::new(State { watermark, ..State::default() });
        Group { state, bell, ..Group::default() }
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.shared.load(Ordering::Relaxed)
    }

    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

impl Engine {
    pub(crate) fn commit(&self) -> Result<Lsn> {
        self.health.check()?;
        let cuts = self.cuts();
        self.wait_measured(self.end(), cuts)?;
        Ok(Lsn::new(self.durable()))
    }

    pub(crate) fn commit_to(&self, lsn: Lsn) -> Result<()> {
        self.health.check()?;
        let cuts = self.cuts();
        self.check_position(lsn.get())?;
        self.wait_measured(lsn.get() + 1, cuts)
    }

    pub(crate) fn append_durable(&self, payload: &[u8]) -> Result<Lsn> {
        let cuts = self.cuts();
        let lsn = self.append(payload)?;
        self.wait_measured(lsn.get() + 1, cuts)?;
        Ok(lsn)
    }

    /// For the worker, which is no one who waits.
    pub(crate) fn commit_in_background(&self) -> Result<()> {
        self.health.check()?;
        let cuts = self.cuts();
        self.wait_durable(self.end(), cuts)
    }

    /// For a caller, whose wait is what is measured.
    fn wait_measured(&self, need: u64, cuts: u64) -> Result<()> {
        let begun = self.meter.begin();
        let waited = self.wait_durable(need, cuts);
        self.meter.committed(begun, waited.is_ok());
        waited
    }

    /// Commits for `close`, when appends have ended.
    pub(crate) fn sync_all(&self) -> Result<()> {
        self.wait_durable(self.end(), self.cuts())
    }

    pub(super) fn cuts(&self) -> u64 {
        self.group.cuts.load(Ordering::Acquire)
    }

    /// Ok if `lsn` is below the end and was not cut away before it was durable.
    pub(super) fn check_position(&self, lsn: u64) -> Result<()> {
        let end = self.end();
        if lsn >= end {
            let head = Lsn::new(self.catalog.head());
            return Err(Error::OutOfRange { lsn: Lsn::new(lsn), head, end: Lsn::new(end) });
        }
        self.check_kept(lsn)
    }

    /// Waits until everything below `need` is durable. `cuts`: as seen when `need` was in the log.
    pub(crate) fn wait_durable(&self, need: u64, cuts: u64) -> Result<()> {
        if self.durable() < need {
            self.wait_in_group(need)?;
        }
        // `durable` also moves past what was cut away: then it says nothing of this position.
        if self.cuts() == cuts { Ok(()) } else { self.check_kept(need.saturating_sub(1)) }
    }

    fn wait_in_group(&self, need: u64) -> Result<()> {
        let mut state = self.group.state.lock();
        let mut habit = None;
        let durable = 'waiting: loop {
            let durable = self.durable();
            if durable >= need {
                break durable;
            }
            // After a failed sync nothing more becomes durable, whatever a later sync says (P6).
            if let Some(cause) = self.health.failed() {
                return Err(Error::Poisoned { cause });
            }
            // A ticket may be waited for when its log is no more, and its files are another's.
            if self.health.is_over() {
                return Err(Error::Closed);
            }
            if habit.is_none() {
                habit = Some(self.arrive(&mut state, need, durable));
            }
            if !state.led && state.preferred == 0 {
                state.led = true;
                let begun = self.begin_sync(self.gather(state));
                let synced = self.contain(|| self.sync_everything(begun));
                self.stop_leading(synced.ok()).wake();
                state = self.group.state.lock();
                continue;
            }
            let yields = state.gather.yields();
            drop(state);
            for _ in 0..yields {
                thread::yield_now();
                let durable = self.durable();
                if durable >= need {
                    break 'waiting durable;
                }
            }
            state = self.group.state.lock();
            if (state.led || state.preferred > 0) && self.durable() < need {
                self.group.synced.wait(&mut state);
            }
        };
        if let Some(habit) = habit {
            let memory = Memory { group: self.group.address(), durable, habit };
            MEMORY.with(|last| last.set(memory));
        }
        Ok(())
    }

    /// Counts this thread among those who wait: for the next sync, or, if it comes late, for the one under way.
    fn arrive(&self, state: &mut State, need: u64, durable: u64) -> Habit {
        let memory = MEMORY.with(Cell::get);
        let was_woken = memory.group == self.group.address() && memory.durable == durable;
        let since = state.ended.filter(|_| was_woken).map(|ended| ended.elapsed());
        let habit = state.gather.arrives(since, memory.habit);
        let regular = u32::from(habit.is_regular());
        if state.led && need <= state.covering {
            state.covered.all += 1;
            state.covered.regulars += regular;
        } else {
            self.group.waiting.fetch_add(1, Ordering::Relaxed);
            state.regulars += regular;
        }
        habit
    }

    /// Waits for company. Without any to wait for, the lock is kept.
    fn gather<'a>(&'a self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let (plan, ended) = (state.gather.plan(), state.ended);
        let waits = || {
            let waiting = self.group.waiting.load(Ordering::Relaxed);
            plan.waits(waiting, || ended.map_or(Duration::MAX, |ended| ended.elapsed()))
        };
        if !waits() {
            return state;
        }
        drop(state);
        while waits() {
            thread::yield_now();
        }
        self.group.state.lock()
    }

    /// Under both locks, so that it is one moment for those who append and those who come to wait.
    fn begin_sync(&self, mut state: MutexGuard<'_, State>) -> Begun {
        let tail = self.tail.lock();
        let active = Arc::clone(tail.writer.segment());
        let begun = Begun {
            rolled: tail.unsynced.clone(),
            active,
            end: tail.writer.lsn(),
            records: tail.appends,
            bytes: tail.bytes,
        };
        state.covering = begun.end;
        let all = self.group.waiting.swap(0, Ordering::Relaxed);
        state.covered = Threads { all, regulars: std::mem::take(&mut state.regulars) };
        begun
    }

    /// Syncs every segment with unsynced frames, oldest first: nothing later may count as durable
    /// before. Only the leader calls it. Any failure is final.
    fn sync_everything(&self, begun: Begun) -> Result<Synced> {
        if let Some(cause) = self.health.failed() {
            return Err(Error::Poisoned { cause });
        }
        let Begun { rolled, active, end, records, bytes } = begun;
        let start = Instant::now();
        let durable = self.durable();
        for segment in &rolled {
            let dirty = durable.saturating_sub(segment.base())..segment.published();
            self.files.sync(segment, dirty, true).map_err(|e| self.health.poison(e))?;
        }
        if end > active.base() + DATA_START {
            let dirty = durable.saturating_sub(active.base())..end - active.base();
            self.files.sync(&active, dirty, false).map_err(|e| self.health.poison(e))?;
        }
        if !rolled.is_empty() {
            let last = rolled.last().map_or(0, |segment| segment.base());
            self.tail.lock().unsynced.retain(|segment| segment.base() > last);
        }
        let took = start.elapsed();
        Ok(Synced { end, took, records, bytes, rolled: !rolled.is_empty() })
    }

    /// Publishes what became durable, queues the event and then the callbacks that it is due to, gives up leadership,
    /// wakes all threads: those that are not yet covered elect the next leader. The tasks that are due, for the caller to
    /// wake when it holds no lock.
    fn stop_leading(&self, synced: Option<Synced>) -> Due {
        let mut state = self.group.state.lock();
        let (mut seals_due, mut noted) = (false, None);
        let mut due = Due::default();
        if let Some(Synced { end, took, records, bytes, rolled }) = synced {
            noted = state.watermark.as_mut().map(|watermark| {
                watermark.beat(took, records, bytes);
                watermark.note(end)
            });
            self.raise_durable(end);
            let (covered, left) = (state.covered, self.group.waiting.load(Ordering::Relaxed));
            state.gather.synced(took, covered, left);
            self.group.shared.store(covered.all > 1, Ordering::Relaxed);
            state.ended = Some(Instant::now());
            state.syncs += 1;
            let covered = records.saturating_sub(state.records_before);
            state.records += covered;
            state.records_before = records;
            self.meter.synced(took, covered);
            seals_due = rolled;
            let event = News::Synced { durable: end, records: covered, syncs: 1, took };
            self.health.delivery.note(|| event);
            due = self.take_due(&mut state.waiters, self.durable());
        }
        state.led = false;
        drop(state);
        self.group.synced.notify_all();
        if let (Some(bell), Some(noted)) = (&self.group.bell, noted) {
            bell.ring(noted);
        }
        if seals_due {
            // The worker was woken by the roll, but may have looked before `durable` moved, and found nothing to seal.
            self.signal.wake();
        }
        due
    }

    /// The log was poisoned: those who wait look again.
    pub(super) fn wake_group(&self) {
        drop(self.group.state.lock());
        self.group.synced.notify_all();
    }

    /// Never back: a checkpoint of everything may have moved it past the end that a sync began with.
    pub(crate) fn raise_durable(&self, to: u64) {
        self.durable.fetch_max(to, Ordering::AcqRel);
    }

    /// Keeps everyone from syncing while `cut` cuts the log back: after the sync that is under way, before any other. `cut` gives the new durable end, or none
    /// if it changed nothing; whether it did. Then there may be waiters to be told, once the caller holds no lock.
    pub(crate) fn while_leading(&self, cut: impl FnOnce() -> Result<Option<u64>>) -> Result<bool> {
        let mut state = self.group.state.lock();
        state.preferred += 1;
        while state.led {
            self.group.synced.wait(&mut state);
        }
        state.preferred -= 1;
        state.led = true;
        drop(state);
        let end = self.contain(cut);
        if let Ok(Some(end)) = end {
            self.pass_over(end);
        }
        drop(self.stop_leading(None)); // none is due by this: no sync
        Ok(end?.is_some())
    }

    /// All below `end` is durable or was cut away.
    pub(super) fn pass_over(&self, end: u64) {
        // Before `durable` moves past what was cut: whoever waits for that must see the cut.
        self.group.cuts.fetch_add(1, Ordering::AcqRel);
        self.raise_durable(end);
    }

    /// Syncs so far, and the records that they covered.
    pub(crate) fn syncs(&self) -> (u64, u64) {
        let state = self.group.state.lock();
        (state.syncs, state.records)
    }
}

/// What a sync is to cover.
struct Begun {
    rolled: Vec<Arc<Segment>>,
    active: Arc<Segment>,
    end: u64,
    records: u64,
    bytes: u64,
}

struct Synced {
    end: u64,
    took: Duration,
    records: u64,
    bytes: u64,
    /// Segments that were full are among what was synced.
    rolled: bool,
}

#[cfg(all(test, not(shuttle)))]
mod tests {
    use super::*;

    #[test]
    fn a_cut_goes_before_those_who_would_sync() {
        let dir = tempfile::tempdir().unwrap();
        let log = crate::Log::open(dir.path()).unwrap();
        let engine = Arc::clone(log.engine.here().unwrap());
        let end = log.append(b"one").unwrap().get() + 1;
        // A sync is under way. A cut waits for it, asleep; then it has ended, and no one has been woken.
        engine.group.state.lock().led = true;
        let cutter = Arc::clone(&engine);
        let cutter = std::thread::spawn(move || cutter.while_leading(|| Ok(None)));
        while engine.group.state.lock().preferred == 0 {
            std::thread::yield_now();
        }
        engine.group.state.lock().led = false;
        let committer = Arc::clone(&engine);
        let committer = std::thread::spawn(move || committer.wait_durable(end, committer.cuts()));
        loop {
            let state = engine.group.state.lock();
            assert!(!state.led && state.syncs == 0, "the committer syncs first");
            if engine.group.waiting.load(Ordering::Relaxed) == 1 {
                break;
            }
            drop(state);
            std::thread::yield_now();
        }
        engine.group.synced.notify_all();
        cutter.join().unwrap().unwrap();
        committer.join().unwrap().unwrap();
        assert_eq!(engine.syncs().0, 1);
    }
}

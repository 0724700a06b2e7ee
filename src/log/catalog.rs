//! The segments that records can be read from, and who holds them.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::files::Files;
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::DATA_START;
use crate::format::header::Identity;
use crate::segment::Segment;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Instant, Mutex, RwLock};

/// The end of a segment that is still appended to.
const GROWING: u64 = u64::MAX;

/// One segment of the log, opened when someone reads it.
#[derive(Debug)]
pub(crate) struct Slot {
    identity: Identity,
    end: AtomicU64,
    open: Mutex<Open>,
    /// When this instance ended it; and when it left the log.
    ended: Mutex<Option<Instant>>,
    retired: Mutex<Option<Instant>>,
    /// Cloned by those who hold the file without having it open.
    hold: Arc<()>,
}

#[derive(Debug)]
enum Open {
    /// In service: appended to, or not yet sealed in the manifest.
    Held(Arc<Segment>),
    /// Sealed: open for as long as a reader holds it, so that a long log costs no descriptors.
    Loose(Weak<Segment>),
    /// No longer in the log. Whoever holds it keeps it; no one else gets it.
    Gone(Weak<Segment>),
}

impl Slot {
    pub(crate) fn active(segment: &Arc<Segment>) -> Arc<Slot> {
        let open = Open::Held(Arc::clone(segment));
        Slot::new(*segment.identity(), GROWING, open)
    }

    pub(crate) fn sealed(identity: Identity, end: u64) -> Arc<Slot> {
        Slot::new(identity, end, Open::Loose(Weak::new()))
    }

    fn new(identity: Identity, end: u64, open: Open) -> Arc<Slot> {
        let (ended, retired) = (Mutex::new(None), Mutex::new(None));
        let (end, open, hold) = (AtomicU64::new(end), Mutex::new(open), Arc::default());
        Arc::new(Slot { identity, end, open, ended, retired, hold })
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The first position that a record can have.
    pub(crate) fn start(&self) -> u64 {
        self.identity.base + DATA_START
    }

    /// Where the window ends.
    pub(crate) fn limit(&self) -> u64 {
        self.identity.base + self.identity.size
    }

    /// Nothing below `lsn` was cut away. A load from a line that only a roll or a cut stores to.
    #[inline]
    pub(crate) fn reaches(&self, lsn: u64) -> bool {
        self.end.load(Ordering::Acquire) >= lsn
    }

    /// Where its records end; none while it is appended to. After a cut before it: its base.
    pub(crate) fn end(&self) -> Option<u64> {
        Some(self.end.load(Ordering::Acquire)).filter(|end| *end != GROWING)
    }

    pub(crate) fn set_end(&self, end: u64) {
        self.ended.lock().get_or_insert_with(Instant::now);
        self.end.store(end, Ordering::Release);
    }

    /// For how long it has been full; none if an earlier instance filled it.
    pub(crate) fn ended_for(&self) -> Option<Duration> {
        self.ended.lock().map(|at| at.elapsed())
    }

    /// Opens the segment, or joins those who have it open. While the result lives, the file is
    /// neither removed nor recycled.
    pub(crate) fn pin(&self, files: &Files) -> Result<Arc<Segment>> {
        let mut open = self.open.lock();
        let weak = match &*open {
            Open::Held(segment) => return Ok(Arc::clone(segment)),
            Open::Loose(weak) => weak,
            Open::Gone(_) => {
                return Err(Error::Gone {
                    lsn: Lsn::new(self.start()),
                    head: Lsn::new(self.limit()),
                });
            }
        };
        if let Some(segment) = weak.upgrade() {
            return Ok(segment);
        }
        let segment = files.open_reader(self.identity, self.end.load(Ordering::Acquire))?;
        *open = Open::Loose(Arc::downgrade(&segment));
        Ok(segment)
    }

    /// The segment, if someone has it open.
    pub(crate) fn joined(&self) -> Option<Arc<Segment>> {
        match &*self.open.lock() {
            Open::Held(segment) => Some(Arc::clone(segment)),
            Open::Loose(weak) => weak.upgrade(),
            Open::Gone(_) => None,
        }
    }

    /// The engine itself lets go; readers may hold on.
    pub(crate) fn loosen(&self) {
        let mut open = self.open.lock();
        if let Open::Held(segment) = &*open {
            let weak = Arc::downgrade(segment);
            // The mapping may end here, which takes milliseconds: never under the append lock.
            *open = Open::Loose(weak);
        }
    }

    /// In the log, and the engine has let go of it.
    pub(crate) fn is_loose(&self) -> bool {
        matches!(*self.open.lock(), Open::Loose(_))
    }

    /// From now on no one new can pin it.
    pub(crate) fn retire(&self) {
        let mut open = self.open.lock();
        let weak = match &*open {
            Open::Held(segment) => Arc::downgrade(segment),
            Open::Loose(weak) | Open::Gone(weak) => Weak::clone(weak),
        };
        *open = Open::Gone(weak);
        *self.retired.lock() = Some(Instant::now());
    }

    /// How long it has been out of the log.
    pub(crate) fn retired_for(&self) -> Duration {
        self.retired.lock().map_or(Duration::ZERO, |at| at.elapsed())
    }

    /// While the result, or a clone of it, lives, the file is neither removed nor recycled.
    pub(crate) fn hold(&self) -> Arc<()> {
        Arc::clone(&self.hold)
    }

    /// Whether a reader, or an observer, still holds a retired segment.
    pub(crate) fn is_pinned(&self) -> bool {
        if Arc::strong_count(&self.hold) > 1 {
            return true;
        }
        match &*self.open.lock() {
            Open::Held(_) => true,
            Open::Loose(weak) | Open::Gone(weak) => weak.strong_count() > 0,
        }
    }

    /// The same of one that is in the log, full and synced, so that the engine holds it here alone.
    pub(crate) fn is_read(&self) -> bool {
        let in_service =
            |open: &Open| matches!(open, Open::Held(segment) if Arc::strong_count(segment) == 1);
        !in_service(&self.open.lock()) && self.is_pinned() || Arc::strong_count(&self.hold) > 1
    }
}

/// All slots, in order of their windows. The last one is the active segment. What is asked of it often takes no time
/// that grows with them.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    slots: RwLock<Slots>,
    /// The head as of the last change: for a child, which may wait for no lock.
    head: AtomicU64,
}

#[derive(Debug, Default)]
struct Slots {
    list: VecDeque<Arc<Slot>>,
    /// Of their files together.
    bytes: u64,
}

impl Slots {
    fn new(list: VecDeque<Arc<Slot>>) -> Slots {
        let bytes = bytes(&list);
        Slots { list, bytes }
    }

    /// The first position of the oldest.
    fn head(&self) -> u64 {
        self.list.front().map_or(0, |slot| slot.start())
    }

    fn give_up(&mut self, out: VecDeque<Arc<Slot>>) -> Vec<Arc<Slot>> {
        self.bytes -= bytes(&out);
        out.into()
    }
}

fn bytes(slots: &VecDeque<Arc<Slot>>) -> u64 {
    slots.iter().map(|slot| slot.identity.size).sum()
}

impl Catalog {
    pub(crate) fn new(slots: Vec<Arc<Slot>>) -> Catalog {
        let slots = Slots::new(slots.into());
        let head = AtomicU64::new(slots.head());
        Catalog { slots: RwLock::new(slots), head }
    }

    /// The slot whose window holds `lsn`.
    pub(crate) fn find(&self, lsn: u64) -> Option<Arc<Slot>> {
        self.at_or_after(lsn).filter(|slot| slot.identity.base <= lsn)
    }

    /// The slot whose window holds `lsn`, or else the next one.
    pub(crate) fn at_or_after(&self, lsn: u64) -> Option<Arc<Slot>> {
        let list = &self.slots.read().list;
        list.get(list.partition_point(|slot| slot.limit() <= lsn)).cloned()
    }

    /// The last slot whose window ends at or before `lsn`.
    pub(crate) fn before(&self, lsn: u64) -> Option<Arc<Slot>> {
        let list = &self.slots.read().list;
        let at = list.partition_point(|slot| slot.limit() <= lsn).checked_sub(1)?;
        list.get(at).cloned()
    }

    /// The position, or the end that a cut has left before it. With the tail, under which cuts are made.
    pub(crate) fn below_a_cut(&self, position: u64) -> u64 {
        let list = &self.slots.read().list;
        let after = list.partition_point(|slot| slot.identity.base <= position);
        let last = after.checked_sub(1).and_then(|at| list.get(at));
        last.and_then(|slot| slot.end()).map_or(position, |end| position.min(end))
    }

    /// The first position of the oldest segment.
    pub(crate) fn head(&self) -> u64 {
        self.slots.read().head()
    }

    /// The same as it was at a fork, without a lock.
    pub(crate) fn head_at_fork(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    pub(crate) fn nth(&self, index: usize) -> Option<Arc<Slot>> {
        self.slots.read().list.get(index).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.read().list.len()
    }

    /// Those behind segment `id`.
    pub(crate) fn newer_than(&self, id: u64) -> Vec<Arc<Slot>> {
        let list = &self.slots.read().list;
        let from = list.partition_point(|slot| slot.identity.id <= id);
        list.range(from..).cloned().collect()
    }

    /// Bytes of the files of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        self.slots.read().bytes
    }

    /// Where the oldest ends, if it has ended; and bytes of the files of all that have.
    pub(crate) fn ended(&self) -> (Option<u64>, u64) {
        let bytes = self.bytes_below(GROWING - 1);
        (self.nth(0).and_then(|slot| slot.end()), bytes)
    }

    /// Bytes of the files of those that end at `lsn` or before. Few do not: they are the last.
    pub(crate) fn bytes_below(&self, lsn: u64) -> u64 {
        let slots = self.slots.read();
        let beyond =
            slots.list.iter().rev().take_while(|slot| slot.end().is_none_or(|end| end > lsn));
        slots.bytes - beyond.map(|slot| slot.identity.size).sum::<u64>()
    }

    /// From the oldest on, one by one, with no lock held. They go only under the upkeep lock: without it some may be passed over.
    pub(crate) fn oldest(&self) -> impl Iterator<Item = Arc<Slot>> {
        (0..).map_while(|index| self.nth(index))
    }

    /// All of them: for what happens once.
    pub(crate) fn snapshot(&self) -> Vec<Arc<Slot>> {
        self.slots.read().list.iter().cloned().collect()
    }

    pub(crate) fn push(&self, slot: Arc<Slot>) {
        let mut slots = self.slots.write();
        slots.bytes += slot.identity.size;
        slots.list.push_back(slot);
        self.head.store(slots.head(), Ordering::Release);
    }

    /// Takes out the slots that begin below `base`, oldest first; no one can pin them any more.
    pub(crate) fn retire_below(&self, base: u64) -> Vec<Arc<Slot>> {
        self.retire(|list, at| list.drain(..at).collect(), base)
    }

    /// The same of those that begin at `base` or beyond.
    pub(crate) fn retire_from(&self, base: u64) -> Vec<Arc<Slot>> {
        self.retire(VecDeque::split_off, base)
    }

    fn retire(
        &self,
        take: impl FnOnce(&mut VecDeque<Arc<Slot>>, usize) -> VecDeque<Arc<Slot>>,
        base: u64,
    ) -> Vec<Arc<Slot>> {
        let mut slots = self.slots.write();
        let at = slots.list.partition_point(|slot| slot.identity.base < base);
        let out = take(&mut slots.list, at);
        let out = slots.give_up(out);
        self.head.store(slots.head(), Ordering::Release);
        drop(slots);
        out.iter().for_each(|slot| slot.retire());
        out
    }

    /// Puts one slot in the place of all; they come back, and no one can pin them any more. No one sees the catalog
    /// while `meanwhile` runs.
    pub(crate) fn replace(&self, only: Arc<Slot>, meanwhile: impl FnOnce()) -> Vec<Arc<Slot>> {
        let mut slots = self.slots.write();
        let out = std::mem::replace(&mut *slots, Slots::new(VecDeque::from([only])));
        meanwhile();
        self.head.store(slots.head(), Ordering::Release);
        drop(slots);
        out.list.iter().for_each(|slot| slot.retire());
        out.list.into()
    }
}

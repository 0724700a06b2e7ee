//! Append: take the position, write the frame, publish. One lock; a system call only where it costs less than stores
//! (`segment/grain.rs`), and where there is no room.
//!
//! One short lock around copy and checksum was measured to be right for small records (design fact
//! 8). Reserving a position and copying outside the lock would begin here.

use super::catalog::Slot;
use super::engine::{Engine, Tail};
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::frame::{self, END_LEN, Kind, MARK_LEN, frame_len};
use crate::format::segment_capacity;
use crate::segment::{Flow, Way};
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;

impl Engine {
    pub(crate) fn append(&self, payload: &[u8]) -> Result<Lsn> {
        if self.meter.is_on() {
            return self.append_measured(payload);
        }
        self.append_one(payload)
    }

    /// Apart, so that who does not measure pays for one look (measured: 30 instructions more when it is not).
    #[cold]
    fn append_measured(&self, payload: &[u8]) -> Result<Lsn> {
        let begun = self.meter.begin();
        let appended = self.append_one(payload);
        self.meter.appended(begun, appended.is_ok());
        appended
    }

    /// All or nothing after a crash: only the last frame of a batch says that it is whole.
    pub(crate) fn append_batch<P: AsRef<[u8]>>(&self, payloads: &[P]) -> Result<Vec<Lsn>> {
        let begun = self.meter.begin();
        let appended = self.append_many(payloads);
        self.meter.appended(begun, appended.is_ok());
        appended
    }

    #[inline(always)]
    fn append_one(&self, payload: &[u8]) -> Result<Lsn> {
        self.check_size(payload)?;
        let mut tail = self.tail_with_room(frame_len(payload.len()))?;
        let lsn = tail.writer.put(Kind::Record, payload);
        let published = self.publish(&mut tail, 1, payload.len());
        self.release(tail);
        published.map(|()| Lsn::new(lsn))
    }

    fn append_many<P: AsRef<[u8]>>(&self, payloads: &[P]) -> Result<Vec<Lsn>> {
        let Some(last) = payloads.len().checked_sub(1) else {
            self.health.check()?;
            return Ok(Vec::new());
        };
        // The caller's code, asked once and not under the lock: a panic of it there would leave half a batch, and
        // a longer second answer would not fit.
        let payloads: Vec<&[u8]> = payloads.iter().map(AsRef::as_ref).collect();
        let mut lsns = Vec::with_capacity(payloads.len());
        let mut need = 0;
        for payload in &payloads {
            self.check_size(payload)?;
            need += frame_len(payload.len());
        }
        let max = segment_capacity(self.files.options.segment_size) - MARK_LEN;
        if need > max {
            return Err(Error::BatchTooLarge { len: need, max });
        }
        let mut tail = self.tail_with_room(need)?;
        for (i, payload) in payloads.iter().enumerate() {
            let kind = if i == last { Kind::Record } else { Kind::Part };
            lsns.push(Lsn::new(tail.writer.put(kind, payload)));
        }
        let bytes = payloads.iter().map(|payload| payload.len()).sum();
        let published = self.publish(&mut tail, payloads.len(), bytes);
        self.release(tail);
        published.map(|()| lsns)
    }

    fn check_size(&self, payload: &[u8]) -> Result<()> {
        let max = self.files.options.record_limit();
        if payload.len() > max {
            return Err(Error::RecordTooLarge { len: payload.len(), max });
        }
        Ok(())
    }

    /// The tail, with room for frames of `need` bytes, and a mark before them if one is due.
    #[inline(always)]
    pub(crate) fn tail_with_room(&self, need: u64) -> Result<MutexGuard<'_, Tail>> {
        let mut tail = self.tail.lock();
        loop {
            self.health.check()?;
            if tail.writer.is_held(need + MARK_LEN) {
                self.filled.wait(&mut tail);
                continue;
            }
            let durable = self.durable();
            let mark_due = tail.marked < durable;
            let total = need + if mark_due { MARK_LEN } else { 0 };
            if total <= tail.writer.room() && !tail.spoiled {
                let begun = if mark_due {
                    self.mark(&mut tail, total, durable)
                } else {
                    let flow = tail.flow(durable);
                    tail.writer.begin(total, flow)
                };
                return match begun {
                    Ok(()) => Ok(tail),
                    Err(error) => Err(self.spoil(&mut tail, error)),
                };
            }
            let rolled = self.roll_tail(&mut tail);
            if !matches!(rolled, Ok(true)) {
                self.release(tail);
                rolled?;
                self.provide_segment()?;
                tail = self.tail.lock();
            }
        }
    }

    /// The first group behind a sync: before it goes the evidence for recovery that all below `durable` was once on
    /// the disk.
    fn mark(&self, tail: &mut Tail, total: u64, durable: u64) -> Result<()> {
        let bytes = durable - tail.marked;
        let usual = bytes.max(tail.synced.usual / 8 * 7);
        tail.synced = Flow { bytes, usual, shared: self.group.is_shared() };
        let flow = tail.flow(durable);
        tail.writer.begin(total, flow)?;
        let mark = frame::pair(tail.writer.lsn(), durable);
        tail.writer.put(Kind::Mark, &mark);
        tail.marked = durable;
        tail.wake |= tail.writer.ask_ahead(total, flow);
        Ok(())
    }

    /// Makes what was put readable, and lets a background sync know.
    #[inline(always)]
    pub(crate) fn publish(&self, tail: &mut Tail, records: usize, bytes: usize) -> Result<()> {
        if let Err(error) = tail.writer.publish() {
            return Err(self.spoil(tail, error));
        }
        tail.appends += records as u64;
        tail.bytes += bytes as u64;
        let end = tail.writer.lsn();
        self.end.store(end, Ordering::Release);
        if end >= tail.sync_at {
            tail.sync_at = end.saturating_add(self.files.sync_every());
            tail.wake = true;
        }
        Ok(())
    }

    /// A group could not be written. Its leftovers are frames of this life of the segment: nothing may
    /// be appended behind them here. Where space is settled no disk that is full is met here, and part of a group
    /// may have become whole.
    #[cold]
    fn spoil(&self, tail: &mut Tail, error: Error) -> Error {
        tail.writer.rewind();
        tail.spoiled = true;
        tail.marked = 0;
        match self.files.way {
            Way::Pwrite => self.health.unless_unchanged(error),
            Way::Store | Way::Either => self.health.poison(error),
        }
    }

    /// Ends the active segment and goes on in the next ready one. False: there is none.
    pub(crate) fn roll_tail(&self, tail: &mut Tail) -> Result<bool> {
        let Some(next) = tail.ready.front() else { return Ok(false) };
        let next_id = next.segment().identity().id;
        let end = tail.writer.lsn();
        let flow = tail.flow(self.durable());
        let ended = tail.writer.begin(END_LEN, flow).and_then(|()| {
            tail.writer.put(Kind::End, &frame::pair(end, next_id));
            tail.writer.publish()
        });
        ended.map_err(|error| self.spoil(tail, error))?;
        let Some(next) = tail.ready.pop_front() else { return Ok(false) };
        let mut old = std::mem::replace(&mut tail.writer, next);
        tail.writer.inherit(&mut old);
        if let Some(slot) = self.catalog.find(old.segment().base()) {
            slot.set_end(end);
        }
        self.catalog.push(Slot::active(tail.writer.segment()));
        tail.unsynced.push(std::sync::Arc::clone(old.segment()));
        tail.spoiled = false;
        self.end.store(tail.writer.lsn(), Ordering::Release);
        tail.wake = true;
        Ok(true)
    }

    /// Lets others append, and wakes the worker if there is reason to: behind the lock, since waking takes longer than an
    /// append, and the worker may take the CPU at once.
    #[inline]
    pub(crate) fn release(&self, mut tail: MutexGuard<'_, Tail>) {
        let wake = std::mem::take(&mut tail.wake);
        if tail.watched {
            return self.release_watched(tail, wake);
        }
        drop(tail);
        if wake {
            self.signal.wake();
        }
    }

    /// Wakes those who wait for what is published.
    #[cold]
    fn release_watched(&self, mut tail: MutexGuard<'_, Tail>, wake: bool) {
        let end = tail.writer.lsn();
        let due = tail.waiters.take(end);
        tail.watched = !tail.waiters.is_empty();
        drop(tail);
        if wake {
            self.signal.wake();
        }
        due.wake();
    }
}

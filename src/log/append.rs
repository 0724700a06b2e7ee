//! Append: take the position, write the frame, publish. One lock, no system call while there is room.
//!
//! One short lock around copy and checksum was measured to be right for small records (design fact
//! 8). Reserving a position and copying outside the lock would begin here.

use super::catalog::Slot;
use super::engine::{Engine, Tail};
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::frame::{self, Kind, MARK_LEN, frame_len};
use crate::format::segment_capacity;
use crate::options::SyncPolicy;
use crate::sync::MutexGuard;
use crate::sync::atomic::Ordering;

impl Engine {
    pub(crate) fn append(&self, payload: &[u8]) -> Result<Lsn> {
        self.check_size(payload)?;
        let mut tail = self.tail_with_room(frame_len(payload.len()))?;
        let lsn = tail.writer.put(Kind::Record, payload);
        self.publish(&mut tail)?;
        tail.appends += 1;
        tail.bytes += payload.len() as u64;
        Ok(Lsn::new(lsn))
    }

    /// All or nothing after a crash: only the last frame of a batch says that it is whole.
    pub(crate) fn append_batch<P: AsRef<[u8]>>(&self, payloads: &[P]) -> Result<Vec<Lsn>> {
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
        self.publish(&mut tail)?;
        tail.appends += payloads.len() as u64;
        tail.bytes += payloads.iter().map(|payload| payload.len() as u64).sum::<u64>();
        Ok(lsns)
    }

    fn check_size(&self, payload: &[u8]) -> Result<()> {
        let max = self.files.options.record_limit();
        if payload.len() > max {
            return Err(Error::RecordTooLarge { len: payload.len(), max });
        }
        Ok(())
    }

    /// The tail, with room for frames of `need` bytes, and a mark before them if one is due.
    fn tail_with_room(&self, need: u64) -> Result<MutexGuard<'_, Tail>> {
        loop {
            let mut tail = self.tail.lock();
            self.health.check()?;
            let durable = self.durable();
            let mark_due = tail.marked < durable;
            let total = need + if mark_due { MARK_LEN } else { 0 };
            if total <= tail.writer.room() && !tail.spoiled {
                if mark_due {
                    // Evidence for recovery that all below `durable` was once on the disk.
                    let mark = frame::pair(tail.writer.lsn(), durable);
                    tail.writer.put(Kind::Mark, &mark);
                    tail.marked = durable;
                }
                return Ok(tail);
            }
            if !self.roll_tail(&mut tail)? {
                drop(tail);
                self.provide_segment()?;
            }
        }
    }

    /// Makes what was put readable, and lets a background sync know.
    fn publish(&self, tail: &mut Tail) -> Result<()> {
        if let Err(error) = tail.writer.publish() {
            return Err(self.spoil(tail, error));
        }
        let end = tail.writer.lsn();
        self.end.store(end, Ordering::Release);
        if let SyncPolicy::Bytes(every) = self.files.options.sync_policy {
            if end >= tail.sync_at {
                tail.sync_at = end.saturating_add(every);
                self.signal.wake();
            }
        }
        Ok(())
    }

    /// A group could not be written. Its leftovers are frames of this life of the segment: nothing may
    /// be appended behind them here.
    #[cold]
    fn spoil(&self, tail: &mut Tail, error: Error) -> Error {
        tail.writer.rewind();
        tail.spoiled = true;
        tail.marked = 0;
        self.health.unless_full(error)
    }

    /// Ends the active segment and goes on in the next ready one. False: there is none.
    pub(crate) fn roll_tail(&self, tail: &mut Tail) -> Result<bool> {
        let Some(next) = tail.ready.front() else { return Ok(false) };
        let next_id = next.segment().identity().id;
        let end = tail.writer.lsn();
        tail.writer.put(Kind::End, &frame::pair(end, next_id));
        if let Err(error) = tail.writer.publish() {
            return Err(self.spoil(tail, error));
        }
        let Some(next) = tail.ready.pop_front() else { return Ok(false) };
        let old = std::mem::replace(&mut tail.writer, next);
        if let Some(slot) = self.catalog.find(old.segment().base()) {
            slot.set_end(end);
        }
        self.catalog.push(Slot::active(tail.writer.segment()));
        tail.unsynced.push(std::sync::Arc::clone(old.segment()));
        tail.spoiled = false;
        self.end.store(tail.writer.lsn(), Ordering::Release);
        self.signal.wake();
        Ok(true)
    }
}

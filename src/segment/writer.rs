//! Appending to a segment: the one place where frames are put together.

use std::ops::Range;
use std::sync::Arc;

use super::Segment;
use super::grain::{Ahead, Flow, Grain, Way};
use crate::error::{Error, Result};
use crate::format::frame::{self, END_LEN, Kind, frame_len};
use crate::format::{ALIGN, DATA_START, END_ROOM};
use crate::storage::{File, Writer};

/// Writes frames into one segment, by stores or by pwrite, and publishes them a group at a time.
///
/// A group is begun, `put` frame by frame and then `publish`ed: until then no reader sees any of it, and
/// after a failed publish nothing of it counts.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    segment: Arc<Segment>,
    writer: Writer,
    way: Way,
    grain: Grain,
    /// Where the next frame goes.
    at: u64,
    /// Where the group began; all below is published.
    published: u64,
    /// The group goes in by pwrite.
    by_pwrite: bool,
    /// Then it is put together here.
    pending: Vec<u8>,
}

/// As many zeros as frames are aligned to: padding, and the word behind the last frame.
const ZERO: [u8; 8] = [0; 8];
const _: () = assert!(ZERO.len() as u64 == ALIGN);
/// Memory kept from one pwrite to the next.
const PENDING_KEPT: usize = 1 << 20;

impl SegmentWriter {
    /// Goes on at offset `at`, the end of what is published.
    pub(crate) fn new(
        segment: Arc<Segment>,
        writer: Writer,
        at: u64,
        way: Way,
        grain: Grain,
    ) -> SegmentWriter {
        let (by_pwrite, pending) = (way == Way::Pwrite, Vec::new());
        SegmentWriter { segment, writer, way, grain, at, published: at, by_pwrite, pending }
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The LSN at which the next frame goes.
    pub(crate) fn lsn(&self) -> u64 {
        self.segment.base() + self.at
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.published == DATA_START
    }

    /// Bytes left for frames; an end frame always fits beyond.
    pub(crate) fn room(&self) -> u64 {
        self.segment.identity().size.saturating_sub(END_ROOM + self.at)
    }

    /// Begins a group of frames of `len` bytes. An error is one of `publish`: nothing of the group counts.
    #[inline]
    pub(crate) fn begin(&mut self, len: u64, flow: Flow) -> Result<()> {
        debug_assert!(self.at == self.published && self.pending.is_empty());
        if self.way == Way::Either {
            let end = self.at + len + 8;
            self.by_pwrite = !self.grain.is_for_stores(self.at, end, flow);
            if !self.by_pwrite {
                if let Some(fresh) = self.grain.to_prepare(self.at, end) {
                    self.prepare(fresh)?;
                }
            }
        }
        Ok(())
    }

    /// By one write, which makes one folio.
    #[inline(never)]
    fn prepare(&mut self, fresh: Range<u64>) -> Result<()> {
        let written = self.segment.file().write_zeros(fresh.clone());
        written.map_err(|e| Error::io("pwritev", self.segment.path(), e))?;
        self.grain.wrote(fresh.end);
        Ok(())
    }

    /// Takes over the memory of the writer before.
    pub(crate) fn inherit(&mut self, before: &mut SegmentWriter) {
        self.pending = std::mem::take(&mut before.pending);
    }

    /// Whether someone has to be woken to get ready what comes next.
    pub(crate) fn ask_ahead(&mut self, len: u64, flow: Flow) -> bool {
        self.way == Way::Either && self.grain.ask(self.at, len, flow)
    }

    pub(crate) fn asks_ahead(&self) -> bool {
        self.grain.asks()
    }

    /// What was asked for, if it still lies ahead: the caller does it, and says when it is done.
    pub(crate) fn begin_ahead(&mut self) -> Option<Ahead> {
        self.grain.begin(self.at)
    }

    /// What was begun is done, or was given up.
    pub(crate) fn end_ahead(&mut self, done: Option<Ahead>) {
        self.grain.end(done);
    }

    /// Whether a group of `len` bytes, or the end of the segment in its place, has to wait for what is filled ahead.
    #[inline]
    pub(crate) fn is_held(&self, len: u64) -> bool {
        self.grain.is_held(self.at + len + END_LEN + 8)
    }

    /// From where on the next piece is to be read in; none if nothing is.
    pub(crate) fn to_warm(&self) -> Option<u64> {
        self.grain.to_warm(self.at)
    }

    /// A piece was read, and `rest` is where the next begins; none: it was the last.
    pub(crate) fn warmed(&mut self, rest: Option<u64>) {
        self.grain.warmed(rest);
    }

    /// A piece cannot be read: nothing is stored into what was not read.
    pub(crate) fn stays_cold(&mut self) {
        self.grain.stays_cold();
    }

    /// Adds a frame to the group, by stores with the zero word behind it; its LSN. The caller has seen that there is room.
    #[inline(always)]
    pub(crate) fn put(&mut self, kind: Kind, payload: &[u8]) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most MAX_PAYLOAD, by the caller's check of the record size"
        )]
        let word = frame::word(kind, payload.len() as u32);
        let (at, lsn) = (self.at, self.lsn());
        let crc = frame::checksum(self.segment.seed(), lsn, word, payload);
        let head = u64::from(crc) | u64::from(word) << 32;
        let total = frame_len(payload.len());
        if self.by_pwrite {
            self.pending.extend_from_slice(&head.to_le_bytes());
            self.pending.extend_from_slice(payload);
            self.pending.resize(self.pending.len().next_multiple_of(ZERO.len()), 0);
        } else {
            self.writer.write_frame(at, total, head, payload);
        }
        self.at = at + total;
        lsn
    }

    /// Makes the group, which a zero word ends, readable. By stores this cannot fail. After a
    /// failed pwrite any part of the group may be in the file: [`rewind`](Self::rewind), and
    /// end the segment here, since its leftovers are valid frames of this life.
    #[inline]
    pub(crate) fn publish(&mut self) -> Result<()> {
        if self.by_pwrite {
            self.write_pending()?;
        }
        self.published = self.at;
        self.writer.publish(self.at);
        debug_assert!(self.at % ALIGN == 0);
        Ok(())
    }

    #[inline(never)]
    fn write_pending(&mut self) -> Result<()> {
        self.pending.extend_from_slice(&ZERO);
        let end = self.at + ZERO.len() as u64;
        let padded = self.grain.padded(end);
        self.pending.resize(self.pending.len() + usize::try_from(padded - end).unwrap_or(0), 0);
        let file = self.segment.file();
        let written = match self.way {
            // Space is settled where stores are safe: what fails here ends the log, whatever of it is found later.
            Way::Store | Way::Either => file.write_at(&self.pending, self.published),
            Way::Pwrite => write_group(file, &self.pending, self.published),
        };
        self.pending.clear();
        self.pending.shrink_to(PENDING_KEPT);
        written.map_err(|e| Error::io("pwrite", self.segment.path(), e))?;
        self.grain.wrote(padded);
        Ok(())
    }

    /// Gives up the group that could not be published.
    pub(crate) fn rewind(&mut self) {
        self.at = self.published;
    }
}

/// Within a page the kernel writes all or nothing; of more it may write a part and meet a full disk. So the
/// word by which the group is found goes last, into a page: a group that failed for want of room
/// is never found, whatever crash follows.
fn write_group(file: &dyn File, group: &[u8], at: u64) -> std::io::Result<()> {
    let last = at + (group.len() as u64).saturating_sub(1);
    match group.split_first_chunk::<8>() {
        Some((first, rest)) if at / DATA_START != last / DATA_START => {
            file.write_at(rest, at + 8)?;
            file.write_at(first, at)
        }
        _ => file.write_at(group, at),
    }
}

//! Appending to a segment: the one place where frames are put together.

use std::sync::Arc;

use super::Segment;
use crate::error::{Error, Result};
use crate::format::frame::{self, HEADER_LEN, Kind, frame_len};
use crate::format::{ALIGN, DATA_START, END_ROOM};
use crate::storage::{File, Writer};

const ZEROS: [u8; 16] = [0; 16];

/// Writes frames into one segment, by stores or by pwrite, and publishes them a group at a time.
///
/// A group is `put` frame by frame and then `publish`ed: until then no reader sees any of it, and
/// after a failed publish nothing of it counts.
#[derive(Debug)]
pub(crate) struct SegmentWriter {
    segment: Arc<Segment>,
    writer: Writer,
    /// Where the next frame goes.
    at: u64,
    /// Where the group began; all below is published.
    published: u64,
    /// With pwrite: the group, not yet in the file.
    pending: Option<Vec<u8>>,
}

impl SegmentWriter {
    /// Goes on at offset `at`, the end of what is published. `stores`: through the mapping, else by pwrite.
    pub(crate) fn new(
        segment: Arc<Segment>,
        writer: Writer,
        at: u64,
        stores: bool,
    ) -> SegmentWriter {
        let pending = (!stores).then(Vec::new);
        SegmentWriter { segment, writer, at, published: at, pending }
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

    /// Adds a frame to the group; its LSN. The caller has seen that there is room.
    #[inline]
    pub(crate) fn put(&mut self, kind: Kind, payload: &[u8]) -> u64 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "at most MAX_PAYLOAD, by the caller's check of the record size"
        )]
        let word = frame::word(kind, payload.len() as u32).to_le_bytes();
        let (at, lsn, seed) = (self.at, self.lsn(), self.segment.seed());
        let total = frame_len(payload.len());
        #[expect(clippy::cast_possible_truncation, reason = "less than ALIGN")]
        let padding = (total - HEADER_LEN) as usize - payload.len();
        let padding = ZEROS.get(..padding).unwrap_or(&[]);
        match &mut self.pending {
            None => {
                let writer = &mut self.writer;
                writer.write(at + 4, &word);
                writer.write(at + HEADER_LEN, payload);
                writer.write(at + HEADER_LEN + payload.len() as u64, padding);
                // One pass over word and payload where they now lie side by side, in the cache.
                let crc = frame::checksum(seed, lsn, writer.unpublished(at + 4, 4 + payload.len()));
                writer.write(at, &crc.to_le_bytes());
            }
            Some(pending) => {
                let start = pending.len();
                pending.extend_from_slice(&[0; 4]);
                pending.extend_from_slice(&word);
                pending.extend_from_slice(payload);
                let crc = frame::checksum(seed, lsn, pending.get(start + 4..).unwrap_or(&[]));
                if let Some(to) = pending.get_mut(start..start + 4) {
                    to.copy_from_slice(&crc.to_le_bytes());
                }
                pending.extend_from_slice(padding);
            }
        }
        self.at = at + total;
        lsn
    }

    /// Ends the group with the zero word and makes it readable. By stores this cannot fail. After a
    /// failed pwrite any part of the group may be in the file: [`rewind`](Self::rewind), and
    /// end the segment here, since its leftovers are valid frames of this life.
    pub(crate) fn publish(&mut self) -> Result<()> {
        let zero = ZEROS.get(..8).unwrap_or(&[]);
        match &mut self.pending {
            None => self.writer.write(self.at, zero),
            Some(pending) => {
                pending.extend_from_slice(zero);
                let written = write_group(self.segment.file(), pending, self.published);
                pending.clear();
                written.map_err(|e| Error::io("pwrite", self.segment.path(), e))?;
            }
        }
        self.published = self.at;
        self.writer.publish(self.at);
        debug_assert!(self.at % ALIGN == 0);
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

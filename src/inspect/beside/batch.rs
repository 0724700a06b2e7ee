//! The records of a batch, of which all are shown or none.

use std::ops::Range;

/// A record that the walk stands behind.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) lsn: u64,
    /// The end of its frame.
    pub(crate) end: u64,
    pub(super) at: At,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    /// In what the walk holds of the segment.
    Segment { offset: u64, len: usize },
    /// In the batch.
    Batch { start: usize, len: usize },
}

/// A batch is shown when all of it was seen: until then it is kept here.
#[derive(Debug, Default)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// LSN, end of the frame, and where in `bytes`.
    records: Vec<(u64, u64, Range<usize>)>,
    shown: usize,
    /// All of it was seen.
    pub(super) whole: bool,
}

/// Memory kept from one batch to the next.
const BATCH_KEPT: usize = 1 << 20;

impl Batch {
    pub(super) fn push(&mut self, lsn: u64, end: u64, payload: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(payload);
        self.records.push((lsn, end, start..self.bytes.len()));
    }

    /// The next record of a whole batch.
    pub(super) fn next(&mut self) -> Option<Found> {
        if let Some((lsn, end, range)) = self.records.get(self.shown) {
            self.shown += 1;
            let at = At::Batch { start: range.start, len: range.len() };
            return Some(Found { lsn: *lsn, end: *end, at });
        }
        self.clear();
        None
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Its last record is in it: those from `from` on are to be shown.
    pub(super) fn end(&mut self, from: u64) {
        self.whole = true;
        self.shown = self.records.partition_point(|(lsn, ..)| *lsn < from);
    }

    /// The bytes of a record that [`next`](Batch::next) gave.
    pub(super) fn payload(&self, start: usize, len: usize) -> &[u8] {
        self.bytes.get(start..start + len).unwrap_or(&[])
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(BATCH_KEPT);
        self.records.clear();
        (self.shown, self.whole) = (0, false);
    }
}

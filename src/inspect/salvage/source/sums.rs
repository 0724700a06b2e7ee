//! The checksum of a frame by those of all bytes before its start and before its end, however long it is.

use super::{BLOCK, CHUNK, PAGE, ReadAt, Source};
use crate::checksum;
use crate::format::frame::{self, HEADER_LEN, Head, Place};

impl<F: ReadAt> Source<F> {
    pub(super) fn is_valid_by_sums(&mut self, head: Head, place: Place) -> Option<bool> {
        let (start, word) = (place.offset + HEADER_LEN, frame::word(head.kind, head.len));
        let end = start.checked_add(head.len.into()).filter(|end| *end <= self.len)?;
        let before = self.sum_before(start)?;
        let behind = self.sum_before(end)?;
        let begun = frame::checksum(place.seed, place.lsn(), word, &[]);
        // Both go over the payload, from another start.
        let sum = behind ^ checksum::shifted(begun ^ before, head.len);
        Some(sum == head.crc && !self.is_bad(start..end))
    }

    /// The checksum of all bytes before `offset`, which the file has; of those that cannot be read any.
    fn sum_before(&mut self, offset: u64) -> Option<u32> {
        let block = usize::try_from(offset / BLOCK).ok()?;
        if self.sums.len() <= block {
            self.sum_to(block)?;
        }
        let sum = *self.sums.get(block)?;
        let rest = usize::try_from(offset % BLOCK).ok()?;
        let start = offset - rest as u64;
        let held = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let held = held.and_then(|from| self.window.get(from..from.checked_add(rest)?));
        if let Some(bytes) = held {
            return Some(checksum::append(sum, bytes));
        }
        // Not through the window: that would go back and forth.
        let mut bytes = [0; PAGE];
        let bytes = bytes.get_mut(..rest)?;
        (self.read(bytes, start) == rest).then(|| checksum::append(sum, bytes))
    }

    fn sum_to(&mut self, block: usize) -> Option<()> {
        if self.sums.is_empty() {
            self.sums.push(0);
        }
        let blocks = |left: usize| left.min(CHUNK / PAGE) * PAGE;
        let mut chunk = vec![0; blocks(block + 1 - self.sums.len())];
        while self.sums.len() <= block {
            let (mut sum, at) = (*self.sums.last()?, (self.sums.len() as u64 - 1) * BLOCK);
            let chunk = chunk.get_mut(..blocks(block + 1 - self.sums.len()))?;
            let read = self.read(chunk, at);
            if read < chunk.len() {
                self.shrunk(at + read as u64);
                return None;
            }
            for block in chunk.chunks(PAGE) {
                sum = checksum::append(sum, block);
                self.sums.push(sum);
            }
        }
        Some(())
    }
}

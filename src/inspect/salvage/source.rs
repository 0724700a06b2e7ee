//! The bytes of a damaged segment: read around what cannot be read, and checked in a time that they cannot stretch.
//!
//! Where a frame is damaged nothing says where the next begins, so every multiple of eight is tried, and each may say
//! that it is a record of up to 256 MiB: bytes of a compressed payload do so one time in some thirty. To read
//! and check them all would take time by the square of the file's size. But a CRC is linear: that of any range follows
//! from that of all bytes before its start and of all before its end. So the sum at each block is kept, of one pass,
//! and a candidate costs the two blocks in which it begins and ends, however long it is.

mod sums;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::format::frame::{self, HEADER_LEN, Head, Kind, MARK_LEN, Place};
use crate::format::header::Identity;
use crate::format::{ALIGN, DATA_START, blocks_with_data};
use crate::storage::File;

/// Read at once.
const CHUNK: usize = 1 << 20;
/// The largest payload that is checked in the window, which grows to it.
const HELD: u64 = 16 << 20;
/// What is read by itself where a chunk cannot be: no disk in use has larger sectors.
const PAGE: usize = 4096;
const BLOCK: u64 = PAGE as u64;
/// A payload that costs no more to check than its share of the search.
const SMALL: u64 = 4096;

/// A frame that is valid where it stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spot {
    pub(super) offset: u64,
    pub(super) head: Head,
    /// The second number of a mark or an end.
    pub(super) operand: u64,
    /// Its payload was checked in the window, not by sums.
    held: bool,
}

impl Spot {
    pub(super) fn end(&self) -> u64 {
        self.offset + self.head.frame_len()
    }
}

/// Where the bytes are.
pub(super) trait ReadAt: Debug {
    /// Reads until `to` is full or the file ends; the number of bytes read.
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize>;
    /// The first bytes from `offset` on that may not be zero, as far as that is known.
    fn next_data(&self, offset: u64) -> Option<Range<u64>> {
        Some(offset..u64::MAX)
    }
}

impl ReadAt for Arc<dyn File> {
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        (**self).read_at(to, offset)
    }

    fn next_data(&self, offset: u64) -> Option<Range<u64>> {
        (**self).next_data(offset)
    }
}

#[derive(Debug)]
pub(super) struct Source<F = Arc<dyn File>> {
    file: Result<F, String>,
    /// Bytes of the segment that the file has.
    len: u64,
    place: Place,
    window: Vec<u8>,
    start: u64,
    /// Blocks that could not be read, by their first offset, and why one could not.
    bad: BTreeSet<u64>,
    error: String,
    /// The checksum of all bytes before each block, as far as one was needed.
    sums: Vec<u32>,
    /// Bytes that checks of payloads in the window may yet have taken in vain: it grows with what the walk
    /// passes, so that all such checks together take no more than that.
    credit: u64,
    /// It passes over what was never written, as far as the file system knows.
    skips: bool,
    /// What it asked for last: behind its end nothing is read without need, or the cache would hold it.
    data: Range<u64>,
    /// Bytes of payloads checked in the window.
    #[cfg(test)]
    checked: u64,
}

impl<F: ReadAt> Source<F> {
    /// `file`: or why there is none. `len`: its bytes.
    pub(super) fn new(file: Result<F, String>, len: u64, identity: &Identity) -> Source<F> {
        let Identity { base, size, .. } = *identity;
        Source {
            file,
            len: len.min(size),
            place: Place { seed: identity.seed(), base, size, offset: DATA_START },
            window: Vec::new(),
            start: 0,
            bad: BTreeSet::new(),
            error: String::new(),
            sums: Vec::new(),
            credit: CHUNK as u64,
            skips: false,
            data: 0..0,
            #[cfg(test)]
            checked: 0,
        }
    }

    /// For who shows what is there, and has little time. Who rescues reads all of it, and takes no file system's word.
    pub(super) fn skipping(mut self) -> Source<F> {
        self.skips = true;
        self
    }

    /// Why there is no file.
    pub(super) fn absent(&self) -> Option<&str> {
        self.file.as_ref().err().map(String::as_str)
    }

    /// The walk has come `len` bytes further.
    pub(super) fn passed(&mut self, len: u64) {
        self.credit = self.credit.saturating_add(len);
    }

    fn read(&mut self, to: &mut [u8], offset: u64) -> usize {
        let Ok(file) = &self.file else { return 0 };
        if let Ok(read) = file.read_at(to, offset) {
            return read;
        }
        let mut at = offset;
        for block in to.chunks_mut(PAGE) {
            match file.read_at(block, at) {
                Ok(read) if read < block.len() => {
                    at += read as u64;
                    break;
                }
                Ok(_) => {}
                Err(error) => {
                    block.fill(0);
                    self.bad.insert(at);
                    self.error = error.to_string();
                }
            }
            at += block.len() as u64;
        }
        usize::try_from(at - offset).unwrap_or(0)
    }

    /// What is in memory may be of a moment before a writer went on.
    pub(super) fn forget(&mut self) {
        self.window.clear();
        self.sums.clear();
        self.data = 0..0;
    }

    /// Someone has cut it meanwhile.
    fn shrunk(&mut self, len: u64) {
        self.len = self.len.min(len);
    }

    fn is_bad(&self, range: Range<u64>) -> bool {
        self.bad.range(range.start / BLOCK * BLOCK..range.end.max(range.start)).next().is_some()
    }

    /// Bytes `[offset, offset + len)`, if all can be read.
    fn get(&mut self, offset: u64, len: usize) -> Option<&[u8]> {
        let end = offset.checked_add(len as u64).filter(|end| *end <= self.len)?;
        if offset < self.start || end > self.start + self.window.len() as u64 {
            self.fill(offset, len);
        }
        if !self.bad.is_empty() && self.is_bad(offset..end) {
            return None;
        }
        let from = usize::try_from(offset - self.start).ok()?;
        self.window.get(from..from.checked_add(len)?)
    }

    fn fill(&mut self, offset: u64, len: usize) {
        self.start = offset / BLOCK * BLOCK;
        let need = (offset - self.start).saturating_add(len as u64);
        let most = if self.data.contains(&offset) { self.data.end - self.start } else { u64::MAX };
        let want = need.max(most.min(CHUNK as u64)).min(self.len - self.start);
        let want = usize::try_from(want).unwrap_or(0);
        let mut window = std::mem::take(&mut self.window);
        window.resize(want, 0);
        let read = self.read(&mut window, self.start);
        if read < want {
            self.shrunk(self.start + read as u64);
        }
        window.truncate(read);
        self.window = window;
    }

    fn head(&mut self, offset: u64) -> Option<Head> {
        let here = Place { offset, ..self.place };
        frame::head(*self.get(offset, 8)?.first_chunk()?, here)
    }

    /// The valid frame at `offset`.
    pub(super) fn frame(&mut self, offset: u64) -> Option<Spot> {
        let here = Place { offset, ..self.place };
        let head = self.head(offset)?;
        let len = u64::from(head.len);
        let direct = len <= SMALL || (len <= self.credit && len <= HELD);
        let mut operand = 0;
        let valid = if direct {
            let payload = self.get(offset + HEADER_LEN, head.len as usize)?;
            let valid = frame::is_valid(head, payload, here);
            if matches!(head.kind, Kind::Mark | Kind::End) {
                operand = frame::operand(payload);
            }
            if !valid && len > SMALL {
                self.credit -= len;
            }
            #[cfg(test)]
            {
                self.checked += len;
            }
            valid
        } else {
            self.is_valid_by_sums(head, here)?
        };
        valid.then_some(Spot { offset, head, operand, held: direct })
    }

    /// The payload of a frame that was found valid; none if it cannot be read any more.
    pub(super) fn payload(&mut self, spot: &Spot) -> Option<Vec<u8>> {
        let (at, len) = (spot.offset + HEADER_LEN, spot.head.len as usize);
        let here = Place { offset: spot.offset, ..self.place };
        if spot.held {
            // The window may have moved since, and the file have changed.
            let payload =
                self.get(at, len).filter(|payload| frame::is_valid(spot.head, payload, here));
            return payload.map(<[u8]>::to_vec);
        }
        let mut payload = vec![0; len];
        let Ok(file) = &self.file else { return None };
        let read = file.read_at(&mut payload, at).ok()?;
        // What the sums were made of was read before.
        (read == len && frame::is_valid(spot.head, &payload, here)).then_some(payload)
    }

    /// `at`, or how far behind it all was never written; at most `to`, and the end of the file, behind which nothing is known.
    fn worth_reading(&mut self, at: u64, to: u64) -> u64 {
        let to = to.min(self.len);
        if !self.skips || at >= to || self.data.contains(&at) {
            return at;
        }
        let Ok(file) = &self.file else { return at };
        let Some(data) = file.next_data(at) else { return to };
        let start = data.start.clamp(at, to);
        self.data = data;
        start
    }

    /// The first valid frame that begins in `[from, to)`, of those that `fits` takes.
    pub(super) fn find(
        &mut self,
        from: u64,
        to: u64,
        fits: impl Fn(&Spot) -> bool,
    ) -> Option<Spot> {
        let to = to.min(self.len);
        let mut at = from.next_multiple_of(ALIGN);
        let mut candidates = Vec::new();
        while at < to {
            at = self.worth_reading(at, to);
            if at == to {
                break;
            }
            let end = (at / BLOCK * BLOCK + BLOCK).min(to);
            self.passed(end - at);
            let place = self.place;
            if let Some(bytes) = self.get(at, usize::try_from(end - at).ok()?) {
                for (start, block) in blocks_with_data(bytes) {
                    let mut here = Place { offset: at + start as u64, ..place };
                    // Not by adapters, like `mark_heads`.
                    let mut rest = block;
                    while let Some((word, behind)) = rest.split_first_chunk::<8>() {
                        if frame::head(*word, here).is_some() {
                            candidates.push(here.offset);
                        }
                        (rest, here.offset) = (behind, here.offset + ALIGN);
                    }
                }
            }
            let found = candidates.drain(..).find_map(|offset| self.frame(offset).filter(&fits));
            if found.is_some() {
                return found;
            }
            at = end;
        }
        None
    }

    /// What the header at `offset` says, whatever the rest is; but a mark or an end says where it is too.
    pub(super) fn says(&mut self, offset: u64) -> Option<Head> {
        let (head, own) = (self.head(offset)?, self.place.base + offset);
        let is_record = !matches!(head.kind, Kind::Mark | Kind::End);
        (is_record || self.get(offset + HEADER_LEN, 8)? == own.to_le_bytes()).then_some(head)
    }

    /// Whether the eight bytes at `offset` are zero, as behind the last frame.
    pub(super) fn is_zero(&mut self, offset: u64) -> bool {
        self.get(offset, 8).is_some_and(|word| word == [0; 8])
    }

    /// Where the last byte of `range` ends that is not zero.
    pub(super) fn begun_to(&mut self, range: Range<u64>) -> u64 {
        let (mut at, mut last) = (range.start, range.start);
        while at < range.end {
            at = self.worth_reading(at, range.end);
            if at == range.end {
                break;
            }
            let end = (at / BLOCK * BLOCK + BLOCK).min(range.end);
            let bytes = usize::try_from(end - at).ok().and_then(|len| self.get(at, len));
            // What cannot be read is no free space.
            let begun = bytes.map_or(Some(end - at), |bytes| {
                let (start, block) = blocks_with_data(bytes).last()?;
                block.iter().rposition(|byte| *byte != 0).map(|at| (start + at) as u64 + 1)
            });
            last = begun.map_or(last, |begun| at + begun);
            at = end;
        }
        last
    }

    /// Why nothing valid is in `range`.
    pub(super) fn why(&self, range: &Range<u64>) -> String {
        match &self.file {
            Err(why) => why.clone(),
            Ok(_) if range.start >= self.len => format!("the file ends at offset {}", self.len),
            Ok(_) if self.is_bad(range.clone()) => format!("it cannot be read: {}", self.error),
            Ok(_) if range.end > self.len => {
                format!("there is no valid frame, and the file ends at offset {}", self.len)
            }
            Ok(_) => "there is no valid frame".to_owned(),
        }
    }
}

const _: () = assert!(SMALL >= MARK_LEN && BLOCK % ALIGN == 0);

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "a test of a few MiB")]
mod tests;

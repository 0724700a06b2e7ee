//! Walking a segment's frames from the file, not from a mapping: recovery and inspection, where nothing
//! is known to be sound, and where an unreadable sector must be an error.

use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::format::frame::{self, Head, Kind, MARK_LEN, Place};
use crate::format::notes::Note;
use crate::format::{ALIGN, DATA_START, END_ROOM, blocks_with_data};
use crate::storage::{DIRECT_ALIGN, File};

const CHUNK: usize = 1 << 20;
/// What one who reads on reads at once in the end.
const LARGE_CHUNK: usize = 256 << 10;

/// Where a walk reads a segment's bytes.
pub(crate) trait Bytes {
    /// Bytes `[offset, offset + len)`; none if they end before.
    fn get(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>>;
}

/// A part of a file held in memory; grows to the largest frame asked for, which its length bounds.
#[derive(Debug)]
pub(crate) struct Window {
    file: Arc<dyn File>,
    len: u64,
    /// Nothing behind it is read that was not asked for.
    until: u64,
    /// Read at once; doubles with each read that follows on the last one, up to `most`.
    chunk: usize,
    most: usize,
    buffer: Vec<u8>,
    /// Where in `buffer` an address is a multiple of DIRECT_ALIGN, as direct reads need it.
    aligned: usize,
    start: u64,
    filled: usize,
}

impl Window {
    pub(crate) fn new(file: Arc<dyn File>, len: u64) -> Window {
        let (chunk, most, buffer) = (CHUNK, CHUNK, Vec::new());
        Window { file, len, until: len, chunk, most, buffer, aligned: 0, start: 0, filled: 0 }
    }

    /// For a look at the first page alone.
    pub(crate) fn of_a_page(file: Arc<dyn File>, len: u64) -> Window {
        Window { chunk: DIRECT_ALIGN, most: DIRECT_ALIGN, ..Window::new(file, len) }
    }

    /// Bytes `[offset, offset + len)`; none if the file ends before.
    pub(crate) fn get(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        let Some(end) = offset.checked_add(len as u64).filter(|end| *end <= self.len) else {
            return Ok(None);
        };
        if offset < self.start || end > self.start + self.filled as u64 {
            self.fill(offset, len)?;
        }
        let from = usize::try_from(offset - self.start).unwrap_or(usize::MAX);
        let held = self.buffer.get(self.aligned..).and_then(|b| b.get(..self.filled));
        Ok(held.and_then(|b| b.get(from..from.checked_add(len)?)))
    }

    /// What is held of `[offset, offset + len)` since the last `get` of it: the same bytes, whatever becomes of the file.
    #[inline]
    fn held(&self, offset: u64, len: usize) -> Option<&[u8]> {
        let from = self.aligned + usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.buffer.get(from..from.checked_add(len)?)
    }

    /// All that is held from `offset` on.
    #[inline]
    fn held_from(&self, offset: u64) -> Option<&[u8]> {
        let from = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        self.buffer.get(self.aligned + from..self.aligned + self.filled)
    }

    fn fill(&mut self, offset: u64, len: usize) -> io::Result<()> {
        self.filled = 0;
        self.start = offset / DIRECT_ALIGN as u64 * DIRECT_ALIGN as u64;
        let last = self.until.clamp((offset + len as u64).min(self.len), self.len);
        let left = usize::try_from(last - self.start).unwrap_or(usize::MAX);
        let want = (usize::try_from(offset - self.start).unwrap_or(0) + len)
            .next_multiple_of(DIRECT_ALIGN)
            .max(self.chunk);
        let want = want.min(left.next_multiple_of(DIRECT_ALIGN));
        self.chunk = (self.chunk * 2).min(self.most);
        if self.buffer.len() < want + DIRECT_ALIGN {
            self.buffer = vec![0; want + DIRECT_ALIGN];
            self.aligned = self.buffer.as_ptr().align_offset(DIRECT_ALIGN).min(DIRECT_ALIGN);
        }
        let to = self.buffer.get_mut(self.aligned..self.aligned + want).unwrap_or(&mut []);
        let until = self.start + want as u64;
        self.filled = self.file.read_at(to, self.start).map_err(|e| {
            io::Error::new(e.kind(), format!("{e}, between offsets {} and {until}", self.start))
        })?;
        Ok(())
    }
}

impl Bytes for Window {
    fn get(&mut self, offset: u64, len: usize) -> io::Result<Option<&[u8]>> {
        Window::get(self, offset, len)
    }
}

/// Where and why a walk stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// Offset of the first byte that the walk did not accept.
    pub(crate) at: u64,
    /// Where an incomplete batch began, if the walk stopped inside one.
    pub(crate) open_batch: Option<u64>,
    pub(crate) why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// At the bound that the manifest gives.
    Bound,
    /// A frame crosses the bound.
    PastBound,
    /// An end frame that names this next segment.
    End { next: u64 },
    /// No valid frame. `zero`: the word there is zero, as the writer leaves it behind the last one.
    Invalid { zero: bool },
}

/// Walks the frames of one segment.
#[derive(Debug)]
pub(crate) struct Scan<B = Window> {
    pub(crate) window: B,
    place: Place,
    /// The offset where the manifest says that the frames end; none if the segment is open.
    pub(crate) bound: Option<u64>,
    open_batch: Option<u64>,
    /// Records seen in complete batches, and their payload bytes.
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    in_batch: (u64, u64),
    small: bool,
    /// Positions at which the search for marks looked for the head of one.
    #[cfg(test)]
    looked_at: usize,
}

/// One step of a walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Frame { offset: u64, head: Head },
    Stopped(Stop),
}

impl<B: Bytes> Scan<B> {
    pub(crate) fn new(window: B, seed: u32, base: u64, size: u64, bound: Option<u64>) -> Scan<B> {
        let place = Place { seed, base, size, offset: DATA_START };
        Scan {
            window,
            place,
            bound,
            open_batch: None,
            records: 0,
            bytes: 0,
            in_batch: (0, 0),
            small: false,
            #[cfg(test)]
            looked_at: 0,
        }
    }

    /// The next frame, or the end of the walk. An error of the file is the only error.
    pub(crate) fn step(&mut self) -> io::Result<Step> {
        let at = self.place.offset;
        let stopped = |why| Ok(Step::Stopped(Stop { at, open_batch: self.open_batch, why }));
        if self.bound == Some(at) {
            return stopped(Why::Bound);
        }
        let first = self.window.get(at, 8)?.and_then(|b| <[u8; 8]>::try_from(b).ok());
        let zero = first.is_some_and(|b| b == [0; 8]);
        let Some(head) = first.and_then(|b| frame::head(b, self.place)) else {
            return stopped(Why::Invalid { zero });
        };
        let payload = self.window.get(at + frame::HEADER_LEN, head.len as usize)?;
        let Some(payload) = payload.filter(|p| frame::is_valid(head, p, self.place)) else {
            return stopped(Why::Invalid { zero });
        };
        let end = at + head.frame_len();
        if self.bound.is_some_and(|bound| end > bound) {
            return stopped(Why::PastBound);
        }
        match head.kind {
            Kind::End => return stopped(Why::End { next: frame::operand(payload) }),
            // A batch has no mark or note inside: the batch, not they, is what is not valid.
            Kind::Mark | Kind::Note if self.open_batch.is_some() => {
                return stopped(Why::Invalid { zero: false });
            }
            Kind::Mark | Kind::Note => {}
            Kind::Part => {
                self.open_batch.get_or_insert(at);
                self.in_batch = (self.in_batch.0 + 1, self.in_batch.1 + u64::from(head.len));
            }
            Kind::Record => {
                self.records += self.in_batch.0 + 1;
                self.bytes += self.in_batch.1 + u64::from(head.len);
                (self.open_batch, self.in_batch) = (None, (0, 0));
            }
        }
        self.place.offset = end;
        Ok(Step::Frame { offset: at, head })
    }

    /// The payload of the frame that a step just gave.
    pub(crate) fn payload(&mut self, offset: u64, head: Head) -> io::Result<&[u8]> {
        Ok(self.window.get(offset + frame::HEADER_LEN, head.len as usize)?.unwrap_or(&[]))
    }

    /// The id that an end frame names which stands right where the walk stopped at its bound: that of a segment that was
    /// rolled, not cut.
    pub(crate) fn end_frame(&mut self) -> io::Result<Option<u64>> {
        let at = self.place.offset;
        let whole = usize::try_from(frame::END_LEN).unwrap_or(0);
        let Some(bytes) = self.window.get(at, whole)? else { return Ok(None) };
        let head = bytes.first_chunk().and_then(|first| frame::head(*first, self.place));
        let payload = bytes.get(8..).unwrap_or(&[]);
        let is_end = head.is_some_and(|head| {
            head.kind == Kind::End && frame::is_valid(head, payload, self.place)
        });
        Ok(is_end.then(|| frame::operand(payload)))
    }
}

impl Scan {
    /// A step over a record that is alone and wholly in what was read: its offset and length. None: let `step` see.
    #[inline]
    pub(crate) fn step_over_record(&mut self) -> Option<(u64, usize)> {
        let at = self.place.offset;
        let rest = self.window.held_from(at)?;
        let head = frame::head(*rest.first_chunk()?, self.place)?;
        let (len, end) = (head.len as usize, at + head.frame_len());
        let payload = rest.get(8..8 + len)?;
        let alone = head.kind == Kind::Record && self.open_batch.is_none();
        if !alone || self.bound.is_some_and(|bound| end > bound) {
            return None;
        }
        if !frame::is_valid(head, payload, self.place) {
            return None;
        }
        self.records += 1;
        self.bytes += u64::from(head.len);
        self.place.offset = end;
        Some((at, len))
    }

    /// The payload of the frame that a step just gave: the bytes that it checked, whatever has become of the file.
    #[inline]
    pub(crate) fn held(&self, offset: u64, len: usize) -> &[u8] {
        self.window.held(offset + frame::HEADER_LEN, len).unwrap_or(&[])
    }

    /// The LSN of the frame that comes next.
    #[inline]
    pub(crate) fn lsn(&self) -> u64 {
        self.place.lsn()
    }

    /// It reads little at first, and after each [`go_to`](Self::go_to), and more as it goes on: for who looks often
    /// whether there is one record more.
    pub(crate) fn begin_small(&mut self) {
        self.window.chunk = DIRECT_ALIGN;
        self.window.most = LARGE_CHUNK;
        self.small = true;
    }

    /// Walks to the end, but not much further than to `offset`: none if the walk goes on there. What the notes on the way
    /// say goes to `note`, with their LSNs.
    pub(crate) fn run_to(
        &mut self,
        offset: u64,
        mut note: impl FnMut(u64, &Note),
    ) -> io::Result<Option<Stop>> {
        while self.place.offset < offset {
            match self.step()? {
                Step::Stopped(stop) => return Ok(Some(stop)),
                Step::Frame { offset, head } if head.kind == Kind::Note => {
                    if let Some(said) = Note::decode(self.held(offset, head.len as usize)) {
                        note(self.place.base + offset, &said);
                    }
                }
                Step::Frame { .. } => {}
            }
        }
        Ok(None)
    }

    /// Where the walk stands.
    pub(crate) fn offset(&self) -> u64 {
        self.place.offset
    }

    /// The highest durable LSN that a valid mark names which begins in `range`.
    pub(crate) fn highest_mark_in(&mut self, range: Range<u64>) -> io::Result<Option<u64>> {
        let mut highest = None;
        self.marks_in(range, |_, durable| {
            highest = highest.max(Some(durable));
            ControlFlow::Continue(())
        })?;
        Ok(highest)
    }

    /// Where the first valid mark stands that begins in `range`.
    pub(crate) fn first_mark_in(&mut self, range: Range<u64>) -> io::Result<Option<u64>> {
        let mut first = None;
        self.marks_in(range, |offset, _| {
            first = Some(offset);
            ControlFlow::Break(())
        })?;
        Ok(first)
    }

    /// Each valid mark that begins in `range`: its offset, and the durable LSN that it names. Looks at every position that is
    /// not in a block of zeros: where committed frames are damaged, nothing says where the next begins. The zeros are read like
    /// all else, and no file system's word is taken for them; a disk need not be, for blocks that were only allocated.
    fn marks_in(
        &mut self,
        range: Range<u64>,
        mut found: impl FnMut(u64, u64) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let mut at = range.start.next_multiple_of(ALIGN).max(DATA_START);
        let last_begun = range.end.saturating_add(MARK_LEN - ALIGN);
        let end = last_begun.min(self.place.size - END_ROOM);
        while at + MARK_LEN <= end {
            // Many positions out of one look into the window, and many looks before it moves.
            let len = (end - at).min(CHUNK as u64 / 16);
            let bytes = self.window.get(at, usize::try_from(len).unwrap_or(0))?;
            let Some(bytes) = bytes else { break };
            for (start, block) in blocks_with_data(bytes) {
                #[cfg(test)]
                {
                    self.looked_at += block.len() / 8;
                }
                for start in frame::mark_heads(block).map(|within| start + within) {
                    let here = Place { offset: at + start as u64, ..self.place };
                    let candidate = bytes.get(start..).unwrap_or(&[]);
                    let head = candidate.first_chunk().and_then(|first| frame::head(*first, here));
                    let payload = candidate.get(8..24).unwrap_or(&[]);
                    if head.is_some_and(|head| frame::is_valid(head, payload, here)) {
                        let mark = found(here.offset, frame::operand(payload));
                        if mark.is_break() {
                            return Ok(());
                        }
                    }
                }
            }
            // The next look begins where a mark might have begun that this one did not see whole.
            at += len - (MARK_LEN - ALIGN);
        }
        Ok(())
    }

    /// Where the file may hold something, at `offset` or behind it. Of what lies behind that nothing is read without need: it would
    /// be in the page cache then, and held for something.
    pub(crate) fn next_data(&mut self, offset: u64) -> Option<Range<u64>> {
        let data = self.window.file.next_data(offset);
        self.window.until = data.as_ref().map_or(self.window.len, |data| data.end);
        data
    }

    /// Goes on at `offset`, where a frame begins that is in no batch or is its first; reads the file anew, as it is now.
    pub(crate) fn go_to(&mut self, offset: u64) {
        (self.window.filled, self.window.until) = (0, self.window.len);
        if self.small {
            self.window.chunk = DIRECT_ALIGN;
        }
        self.place.offset = offset;
        (self.open_batch, self.in_batch) = (None, (0, 0));
    }
}

#[cfg(test)]
mod tests;

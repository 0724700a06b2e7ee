//! In what units the page cache holds a segment, and what way into it is the cheapest.
//!
//! The cache holds a file in folios. A store through the mapping makes the whole folio dirty, and the next sync writes
//! all of it; but each folio also costs a page fault when it is first stored to, and work when it is written. So
//! small commits want folios of one page, and bulk wants large ones. Measured on ext4 (Linux 6.18, 2 cores that had other
//! work too; take the ratios), for each 4 KiB where nothing else is said:
//!
//! | | folio of 4 KiB | of 2 MiB |
//! |---|---|---|
//! | first store | 2.5 us | 0.1 us |
//! | written by a sync, in bulk | 3.3 us | 1.3 us |
//! | a small commit writes | 4 KiB | 2 MiB by a store, 4 KiB by `pwrite` |
//! | `pwrite` of 112 bytes | 1 to 2 us | 8 to 15 us: it looks at each block of the folio |
//! | mapped for a reader | 0.4 us | 0.005 us |
//!
//! A new segment is *coarse* but for its first chunk. Before an appender that commits often comes to the next
//! chunk, the worker *refines* it: lets the cache forget it and reads it again page by page. That changes no
//! byte, so it may come late, or not, and nothing is lost but time. In bulk no one refines.

use std::ops::Range;

/// Refined at once: a huge page.
pub(crate) const CHUNK: u64 = 2 << 20;
/// How near to the end of what is fine the next chunk is asked for.
const AHEAD: u64 = 1 << 20;
/// A group of this size goes in by one `pwrite`: it costs less than the page faults.
const LARGE: u64 = 4096;
/// So many bytes between two syncs, in small records, pay for the sync of a whole coarse folio.
const MANY: u64 = 64 << 10;
/// With so many bytes between two syncs coarse folios are better than fine ones.
const BULK: u64 = 1 << 20;

/// How records get into the segments of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// Through the mapping alone.
    Store,
    /// By `pwrite` alone; the mapping is for reading.
    Pwrite,
    /// Whichever costs less.
    Either,
}

impl Way {
    /// Whether the mapping has to be writable.
    pub(crate) fn stores(self) -> bool {
        self != Way::Pwrite
    }
}

/// What is known of the cache of one segment.
#[derive(Debug)]
pub(crate) struct Grain {
    size: u64,
    /// Between these offsets it has single pages.
    fine: Range<u64>,
    /// All of it was read or written since it was opened. A store to what was not may meet an unreadable sector, and that
    /// would be a signal; a `pwrite` meets an error.
    warm: bool,
    asked: bool,
}

impl Grain {
    pub(crate) fn new(size: u64, fine: Range<u64>, warm: bool) -> Grain {
        Grain { size, fine, warm, asked: false }
    }

    pub(crate) fn is_warm(&self) -> bool {
        self.warm
    }

    pub(crate) fn warmed(&mut self) {
        self.warm = true;
    }

    /// Whether a group that takes `[at, end)` is better stored than written. `flow`: bytes between two syncs.
    #[inline]
    pub(crate) fn is_for_stores(&self, at: u64, end: u64, flow: u64) -> bool {
        end - at < LARGE && ((flow >= MANY && self.warm) || self.is_fine(at, end))
    }

    fn is_fine(&self, at: u64, end: u64) -> bool {
        self.fine.start <= at && end <= self.fine.end
    }

    /// Asks for the next chunk if an appender of groups of `len` bytes at `at` will come to it, commits often and would
    /// rather store. True: someone has to be woken.
    pub(crate) fn ask(&mut self, at: u64, len: u64, flow: u64) -> bool {
        let near = !self.is_fine(at, (at + AHEAD).min(self.size));
        let asks = near && len < LARGE && flow < BULK && !self.asked;
        self.asked |= asks;
        asks
    }

    /// What was asked for and is still ahead of `at`.
    pub(crate) fn wanted(&self, at: u64) -> Option<Range<u64>> {
        let start = if self.is_fine(at, at) { self.fine.end } else { at.next_multiple_of(CHUNK) };
        let end = (start / CHUNK + 1).saturating_mul(CHUNK).min(self.size);
        (self.asked && start < end).then_some(start..end)
    }

    /// It has been refined.
    pub(crate) fn refined(&mut self, range: Range<u64>) {
        self.asked = false;
        let start = if range.start == self.fine.end { self.fine.start } else { range.start };
        self.fine = start..range.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 16 << 20;

    #[test]
    fn small_commits_are_stored_where_it_is_fine_and_written_where_it_is_not() {
        let grain = Grain::new(SIZE, 0..CHUNK, true);
        assert!(grain.is_for_stores(4096, 4208, 112));
        assert!(grain.is_for_stores(CHUNK - 112, CHUNK, 112));
        assert!(!grain.is_for_stores(CHUNK - 104, CHUNK + 8, 112));
        assert!(!grain.is_for_stores(CHUNK, CHUNK + 112, 112));
        assert!(grain.is_for_stores(CHUNK, CHUNK + 112, MANY));
        assert!(!grain.is_for_stores(4096, 4096 + LARGE, SIZE));
        let mut cold = Grain::new(SIZE, 0..CHUNK, false);
        assert!(!cold.is_for_stores(CHUNK, CHUNK + 112, MANY), "a store there may be a signal");
        cold.warmed();
        assert!(cold.is_for_stores(CHUNK, CHUNK + 112, MANY));
    }

    #[test]
    fn the_next_chunk_is_asked_for_once_and_in_time() {
        let mut grain = Grain::new(SIZE, 0..CHUNK, true);
        assert!(!grain.ask(4096, 112, 112));
        assert_eq!(grain.wanted(4096), None);
        assert!(!grain.ask(CHUNK - 4096, 112, BULK), "bulk wants it coarse");
        assert!(!grain.ask(CHUNK - 4096, LARGE, LARGE), "what is written needs it no finer");
        assert!(grain.ask(CHUNK - 4096, 112, 112));
        assert!(!grain.ask(CHUNK - 4096, 112, 112), "asked already");
        assert_eq!(grain.wanted(CHUNK - 4096), Some(CHUNK..2 * CHUNK));
        grain.refined(CHUNK..2 * CHUNK);
        assert!(grain.is_fine(4096, 2 * CHUNK));
        assert!(!grain.ask(CHUNK, 112, 112));
    }

    #[test]
    fn who_was_overtaken_goes_on_ahead_and_the_end_is_the_end() {
        let mut grain = Grain::new(SIZE, 0..CHUNK, true);
        assert!(grain.ask(3 * CHUNK + 8, 112, 112));
        assert_eq!(grain.wanted(3 * CHUNK + 8), Some(4 * CHUNK..5 * CHUNK));
        grain.refined(4 * CHUNK..5 * CHUNK);
        assert!(!grain.is_fine(4096, 8192));
        let mut grain = Grain::new(SIZE, 0..SIZE, true);
        assert!(!grain.ask(SIZE - 64, 112, 112));
        let mut last = Grain::new(SIZE, 0..0, false);
        assert!(last.ask(SIZE - 64, 112, 112));
        assert_eq!(last.wanted(SIZE - 64), None);
    }
}

//! In what units the page cache holds a segment, which of its blocks were written, and what way into it is the cheapest.
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
//! And a block that is allocated but was never written costs a sync more than one that was: a third more in bulk; for small
//! commits up to twice as much and more, by the file system (design fact 6). But to write it first costs the disk a
//! write, which in bulk is all that there is to do.
//!
//! So the first chunk of a new segment is written, in pages, and the rest is *fresh*. Before an appender that commits often
//! comes to the next chunk, the worker *fills* it: writes zeros past the cache. What was written before, and is in the cache
//! in large folios, it *refines*: lets the cache forget it. For stores it then reads the chunk page by page; who writes
//! needs no read, if the first write to a page is a whole page. All this may come late, or not, and nothing is lost
//! but time; but what is filled changes, so no one may append there meanwhile. In bulk no one does either: what is large, or
//! not that small, goes by `pwrite` into fresh blocks, and for small records the appender itself writes zeros into the next
//! chunk, at once, which makes one large folio.

use std::ops::Range;

const PAGE: u64 = 4096;
/// Filled or refined at once: a huge page; of a small segment less.
const CHUNK: u64 = 2 << 20;
/// A group of this size goes in by one `pwrite`: it costs less than the page faults.
const LARGE: u64 = 4096;
/// How many writes of a small record cost what stores to one page cost, if the page is synced after: the first store is a
/// fault, and the sync takes the page out of the mapping again. If several threads wait for the sync, other CPUs have to
/// be interrupted for that, page by page (`ptep_clear_flush`). Commits a second by writes, beside stores: of 8 threads 1.3
/// times as many, of 64 as many at 100 bytes and 1.5 times at 1 KiB; of one thread, 16 records of 100 bytes each, 0.94.
const WRITES_FOR_A_PAGE: u64 = 3;
const WRITES_FOR_A_SHARED_PAGE: u64 = 8;
/// So many bytes between two syncs, in small records, pay for the sync of a whole coarse folio, if there is one already.
const MANY: u64 = 64 << 10;
/// So many records between two syncs pay for making one: 0.7 ms to write it by a sync, 1 us to write a record.
const RECORDS_FOR_A_FOLIO: u64 = 700;
/// With so many bytes between two syncs coarse folios are better than fine ones.
const BULK: u64 = 1 << 20;

/// With so many bytes between two syncs it costs less to append to fresh blocks than to write each twice. Measured, on
/// ext4, a sync of fresh blocks beside one of written ones: with a journal 2.6 times as long at 16 KiB, 2.0 at 64 KiB, 1.3 at
/// 128 KiB, 1.0 to 1.5 above; without, twice at 16 KiB, 1.2 to 1.8 above. To fill ahead meanwhile gives 0.9 to 1.1 times
/// as many commits without a journal, from 28 to 100 KiB a sync, but the disk writes twice as much and the slowest of
/// a hundred calls takes two to three times as long.
pub(crate) fn bulk(has_journal: bool) -> u64 {
    if has_journal { 128 << 10 } else { 18 << 10 }
}

/// What a segment of this size gets ready at once.
pub(crate) fn chunk(size: u64) -> u64 {
    (size / 8).clamp(PAGE, CHUNK) / PAGE * PAGE
}

/// What comes between two syncs, in bytes, about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) bytes: u64,
    /// The same, but one small sync among large ones does not change it.
    pub(crate) usual: u64,
    /// More than one thread waits for a sync.
    pub(crate) shared: bool,
}

impl Flow {
    /// Whether groups of `len` bytes come so many to a page that stores cost less than writes.
    #[inline]
    fn fills_pages(self, len: u64) -> bool {
        let writes = if self.shared { WRITES_FOR_A_SHARED_PAGE } else { WRITES_FOR_A_PAGE };
        // It touches one page more than it fills, since it begins and ends within one.
        self.bytes * PAGE > (self.bytes + PAGE) * writes * len
    }
}

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

    /// How much of a new segment is written before it is used.
    pub(crate) fn written_ahead(self, size: u64) -> u64 {
        if self == Way::Either { chunk(size) } else { size }
    }
}

/// What the worker is to get ready ahead of an appender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ahead {
    pub(crate) range: Range<u64>,
    /// It was never written; no one appends there until it is.
    pub(crate) fills: bool,
    /// The cache is to have it, for stores. Who writes brings in each page by itself, whole, which needs no read.
    pub(crate) reads: bool,
}

/// What is known of the cache and the blocks of one segment.
#[derive(Debug)]
pub(crate) struct Grain {
    size: u64,
    chunk: u64,
    /// Between these offsets are written blocks, which the cache has in single pages, or will.
    fine: Range<u64>,
    /// A part of what is fine, which it does not have yet. A store there would be a slow fault, and where a sector
    /// cannot be read a signal.
    bare: Range<u64>,
    /// From here on nothing was ever written, but for what is fine; it is allocated, and reads as zero.
    fresh: u64,
    /// What was written before it was opened was read since. A store to what was not may meet an unreadable sector, and that
    /// would be a signal; a `pwrite` meets an error.
    warm: bool,
    /// The worker has still to read it in from here on, in pieces.
    unread: Option<u64>,
    /// With so many bytes between two syncs nothing is filled.
    bulk: u64,
    asked: bool,
    /// What was asked for is for stores.
    for_stores: bool,
    /// Where the worker fills.
    filling: Option<u64>,
}

impl Grain {
    pub(crate) fn new(size: u64, fine: Range<u64>, fresh: u64, warm: bool, bulk: u64) -> Grain {
        Grain {
            size,
            chunk: chunk(size),
            fine,
            bare: 0..0,
            fresh,
            warm,
            unread: (!warm).then_some(0),
            bulk,
            asked: false,
            for_stores: false,
            filling: None,
        }
    }

    /// What is read in next for an appender at `at`, to which no store goes before its page.
    pub(crate) fn to_warm(&self, at: u64) -> Option<u64> {
        self.unread.map(|from| from.max(at / PAGE * PAGE))
    }

    /// All that was written and lies ahead has been read, or all up to where the rest is.
    pub(crate) fn warmed(&mut self, rest: Option<u64>) {
        (self.warm, self.unread) = (rest.is_none(), rest);
    }

    /// It cannot be read, so nothing is stored there that was not written before.
    pub(crate) fn stays_cold(&mut self) {
        self.unread = None;
    }

    /// Whether a group that takes `[at, end)` is better stored than written.
    #[inline]
    pub(crate) fn is_for_stores(&self, at: u64, end: u64, flow: Flow) -> bool {
        let len = end - at;
        if len >= LARGE {
            false
        } else if self.is_fine(at, end) {
            !self.is_bare(at, end) && flow.fills_pages(len)
        } else {
            let least = if end <= self.fresh { MANY } else { RECORDS_FOR_A_FOLIO * len };
            self.warm && flow.bytes >= least
        }
    }

    fn is_fine(&self, at: u64, end: u64) -> bool {
        self.fine.start <= at && end <= self.fine.end
    }

    fn is_bare(&self, at: u64, end: u64) -> bool {
        at < self.bare.end && self.bare.start < end
    }

    /// How far a group up to `end` is written, with zeros behind it: if the cache does not have its last page, to the end
    /// of that, or else the kernel would read it first.
    #[inline]
    pub(crate) fn padded(&self, end: u64) -> u64 {
        if self.is_bare(end - 1, end) { end.next_multiple_of(PAGE).min(self.bare.end) } else { end }
    }

    /// What has to be written, with zeros, before `[at, end)` can be stored to: a store to a fresh page costs much, and
    /// the file system may refuse it, by a signal.
    #[inline]
    pub(crate) fn to_prepare(&self, at: u64, end: u64) -> Option<Range<u64>> {
        if end <= self.fresh || self.is_fine(at, end) {
            return None;
        }
        Some(self.fresh.max(at)..end.next_multiple_of(self.chunk).min(self.size))
    }

    /// All below `end` has been written.
    #[inline]
    pub(crate) fn wrote(&mut self, end: u64) {
        if end > self.fresh {
            self.fresh = end.next_multiple_of(PAGE);
        }
        self.bare.start = self.bare.start.max(end.next_multiple_of(PAGE));
    }

    /// Whether `end` lies behind where the worker fills.
    #[inline]
    pub(crate) fn is_held(&self, end: u64) -> bool {
        self.filling.is_some_and(|from| end.min(self.size) > from)
    }

    /// Asks for the next chunk if an appender of groups of `len` bytes at `at` will come to it and commits so often that it
    /// should be filled; where it is written already, and in coarse folios or in none, refined. True: someone has to be
    /// woken.
    pub(crate) fn ask(&mut self, at: u64, len: u64, flow: Flow) -> bool {
        let until = (at + self.chunk / 2).min(self.size);
        let small = len < LARGE;
        let pays =
            if until > self.fresh { flow.usual < self.bulk } else { flow.bytes < BULK && small };
        let asks = pays && !self.asked && !self.is_fine(at, until);
        if asks {
            (self.asked, self.for_stores) = (true, small && flow.fills_pages(len));
        }
        asks
    }

    pub(crate) fn asks(&self) -> bool {
        self.asked
    }

    /// What was asked for, if it is still ahead of `at`; it is begun.
    pub(crate) fn begin(&mut self, at: u64) -> Option<Ahead> {
        if !self.asked {
            return None;
        }
        let start =
            if self.is_fine(at, at) { self.fine.end } else { at.next_multiple_of(self.chunk) };
        let end = (start / self.chunk + 1).saturating_mul(self.chunk).min(self.size);
        if start >= end {
            return None;
        }
        let fills = end > self.fresh;
        self.filling = fills.then_some(start);
        Some(Ahead { range: start..end, fills, reads: self.for_stores })
    }

    /// What was begun ends: it is done, or was left alone.
    pub(crate) fn end(&mut self, done: Option<Ahead>) {
        (self.asked, self.filling) = (false, None);
        let Some(Ahead { range, reads, .. }) = done else { return };
        if !reads {
            // Between two such ranges lies one that was passed, or is bare for no worse than a write more.
            let start = if self.bare.is_empty() { range.start } else { self.bare.start };
            self.bare = start..range.end;
        }
        if range.start <= self.fresh {
            self.fresh = self.fresh.max(range.end);
        }
        let start = if range.start == self.fine.end { self.fine.start } else { range.start };
        self.fine = start..range.end;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 16 << 20;

    /// A segment that was once full: nothing in it is fresh.
    fn written(warm: bool) -> Grain {
        Grain::new(SIZE, 0..CHUNK, SIZE, warm, BULK)
    }

    fn alone(bytes: u64) -> Flow {
        Flow { bytes, usual: bytes, shared: false }
    }

    fn refine(range: Range<u64>) -> Option<Ahead> {
        Some(Ahead { range, fills: false, reads: true })
    }

    fn fill(range: Range<u64>) -> Option<Ahead> {
        Some(Ahead { range, fills: true, reads: true })
    }

    fn new() -> Grain {
        Grain::new(SIZE, 0..CHUNK, CHUNK, true, bulk(true))
    }

    #[test]
    fn small_commits_are_stored_where_it_is_fine_and_written_where_it_is_not() {
        let grain = written(true);
        assert!(grain.is_for_stores(4096, 4208, alone(1000)));
        assert!(grain.is_for_stores(CHUNK - 112, CHUNK, alone(1000)));
        assert!(!grain.is_for_stores(CHUNK - 104, CHUNK + 8, alone(1000)));
        assert!(!grain.is_for_stores(CHUNK, CHUNK + 112, alone(1000)));
        assert!(!grain.is_for_stores(4096, 4208, alone(112)), "each synced by itself");
        assert!(grain.is_for_stores(CHUNK, CHUNK + 112, alone(MANY)));
        assert!(!grain.is_for_stores(4096, 4096 + LARGE, alone(SIZE)));
        let mut cold = written(false);
        assert!(
            !cold.is_for_stores(CHUNK, CHUNK + 112, alone(MANY)),
            "a store there may be a signal"
        );
        assert_eq!(cold.to_warm(3 * PAGE + 8), Some(3 * PAGE), "what lies behind is not read");
        cold.warmed(Some(CHUNK));
        assert_eq!(cold.to_warm(3 * PAGE + 8), Some(CHUNK));
        assert!(!cold.is_for_stores(CHUNK, CHUNK + 112, alone(MANY)), "not all of it was read");
        cold.warmed(None);
        assert_eq!(cold.to_warm(0), None);
        assert!(cold.is_for_stores(CHUNK, CHUNK + 112, alone(MANY)));
    }

    #[test]
    fn what_several_threads_wait_for_is_stored_if_it_comes_many_to_a_page() {
        let grain = written(true);
        let shared = |bytes| Flow { shared: true, ..alone(bytes) };
        assert!(!grain.is_for_stores(4096, 4208, shared(10 * 112)));
        assert!(grain.is_for_stores(4096, 4208, shared(11 * 112)));
        assert!(grain.is_for_stores(4096, 4208, shared(SIZE)));
        assert!(grain.is_for_stores(4096, 4096 + 1040, alone(13 * 1040)));
        assert!(!grain.is_for_stores(4096, 4096 + 1040, shared(64 * 1040)));
    }

    #[test]
    fn a_coarse_folio_is_made_for_many_records_and_used_for_fewer() {
        let mut grain = new();
        let (at, end) = (CHUNK, CHUNK + 1040);
        assert!(!grain.is_for_stores(at, end, alone(MANY)), "by writes, into fresh blocks");
        assert!(!grain.is_for_stores(at, end, alone(699 * 1040)));
        assert!(grain.is_for_stores(at, end, alone(700 * 1040)));
        grain.wrote(2 * CHUNK);
        assert!(grain.is_for_stores(at, end, alone(MANY)));
    }

    #[test]
    fn the_next_chunk_is_asked_for_once_and_in_time() {
        let mut grain = written(true);
        assert!(!grain.ask(4096, 112, alone(1000)));
        assert_eq!(grain.begin(4096), None);
        assert!(!grain.ask(CHUNK - 4096, 112, alone(BULK)), "bulk wants it coarse");
        assert!(!grain.ask(CHUNK - 4096, LARGE, alone(LARGE)), "what is written needs it no finer");
        assert!(grain.ask(CHUNK - 4096, 112, alone(1000)));
        assert!(!grain.ask(CHUNK - 4096, 112, alone(1000)), "asked already");
        assert_eq!(grain.begin(CHUNK - 4096), refine(CHUNK..2 * CHUNK));
        assert!(!grain.is_held(SIZE), "what is refined does not change");
        grain.end(fill(CHUNK..2 * CHUNK));
        assert!(grain.is_fine(4096, 2 * CHUNK));
        assert!(!grain.ask(CHUNK, 112, alone(1000)));
    }

    #[test]
    fn who_was_overtaken_goes_on_ahead_and_the_end_is_the_end() {
        let mut grain = written(true);
        assert!(grain.ask(3 * CHUNK + 8, 112, alone(1000)));
        assert_eq!(grain.begin(3 * CHUNK + 8), refine(4 * CHUNK..5 * CHUNK));
        grain.end(fill(4 * CHUNK..5 * CHUNK));
        assert!(!grain.is_fine(4096, 8192));
        let mut grain = Grain::new(SIZE, 0..SIZE, SIZE, true, BULK);
        assert!(!grain.ask(SIZE - 64, 112, alone(1000)));
        let mut last = Grain::new(SIZE, 0..0, SIZE, false, BULK);
        assert!(last.ask(SIZE - 64, 112, alone(1000)));
        assert_eq!(last.begin(SIZE - 64), None);
    }

    #[test]
    fn where_the_worker_fills_no_one_appends() {
        let mut grain = new();
        assert!(grain.ask(CHUNK - 4096, 112, alone(1000)));
        assert_eq!(grain.begin(CHUNK - 4096), fill(CHUNK..2 * CHUNK));
        assert!(!grain.is_held(CHUNK) && grain.is_held(CHUNK + 8));
        grain.end(fill(CHUNK..2 * CHUNK));
        assert!(!grain.is_held(SIZE));
        assert!(grain.is_for_stores(CHUNK, CHUNK + 112, alone(1000)));
        assert_eq!(grain.to_prepare(CHUNK, 2 * CHUNK), None);
        assert!(grain.ask(2 * CHUNK - 8, 112, alone(1000)), "the next is fresh again");
        assert_eq!(grain.begin(2 * CHUNK - 8), fill(2 * CHUNK..3 * CHUNK));
        grain.end(None);
        assert!(!grain.is_held(SIZE), "given up");
        assert!(!grain.is_fine(2 * CHUNK, 2 * CHUNK + 8));
    }

    #[test]
    fn in_bulk_nothing_is_filled() {
        let mut grain = new();
        assert!(
            !grain.ask(CHUNK - 4096, 112, alone(bulk(true)))
                && !grain.ask(CHUNK, LARGE, alone(bulk(true)))
        );
        assert!(
            grain.ask(CHUNK, LARGE, alone(bulk(true) - 1)),
            "large groups wait for their sync too"
        );
        assert!(bulk(false) < bulk(true));
    }

    #[test]
    fn what_is_fresh_is_written_before_it_is_stored_to() {
        let mut grain = new();
        assert_eq!(grain.to_prepare(CHUNK - 112, CHUNK), None);
        assert_eq!(grain.to_prepare(CHUNK - 104, CHUNK + 8), Some(CHUNK..2 * CHUNK));
        grain.wrote(2 * CHUNK);
        assert_eq!(grain.to_prepare(CHUNK, 2 * CHUNK), None);
        // After a group that was written by itself: from the next page on.
        grain.wrote(2 * CHUNK + 8 * LARGE + 8);
        let at = 2 * CHUNK + 8 * LARGE;
        assert_eq!(grain.to_prepare(at, at + 112), None);
        assert_eq!(grain.to_prepare(at, at + 2 * PAGE), Some(at + PAGE..3 * CHUNK));
        assert_eq!(grain.to_prepare(SIZE - 64, SIZE), Some(SIZE - 64..SIZE));
        // Filled behind a gap: the gap is still fresh, and what is behind too.
        assert!(grain.ask(at, 112, alone(1000)));
        assert_eq!(grain.begin(at), fill(3 * CHUNK..4 * CHUNK));
        grain.end(fill(3 * CHUNK..4 * CHUNK));
        assert_eq!(grain.to_prepare(3 * CHUNK, 3 * CHUNK + 112), None);
        assert_eq!(grain.to_prepare(at + PAGE, at + 2 * PAGE), Some(at + PAGE..3 * CHUNK));
        assert_eq!(grain.to_prepare(4 * CHUNK, 4 * CHUNK + 112), Some(4 * CHUNK..5 * CHUNK));
    }

    #[test]
    fn a_chunk_is_a_huge_page_and_of_a_small_segment_less() {
        assert_eq!([64 << 20, 16 << 20, 64 << 10, 4096].map(chunk), [CHUNK, CHUNK, 8192, PAGE]);
        assert_eq!(chunk((64 << 10) + 4096), 8192);
    }

    #[test]
    fn who_writes_brings_in_each_page_whole_and_no_one_stores_where_none_was_brought_in() {
        let mut grain = new();
        assert_eq!(grain.padded(CHUNK - 4000), CHUNK - 4000);
        assert!(grain.ask(CHUNK - 4096, 112, alone(112)));
        let ahead = grain.begin(CHUNK - 4096).unwrap();
        assert_eq!(ahead, Ahead { range: CHUNK..2 * CHUNK, fills: true, reads: false });
        grain.end(Some(ahead));
        assert_eq!(grain.padded(CHUNK), CHUNK);
        assert_eq!(grain.padded(CHUNK + 8), CHUNK + PAGE);
        assert_eq!(grain.padded(2 * CHUNK), 2 * CHUNK);
        assert!(!grain.is_for_stores(CHUNK - 104, CHUNK + 8, alone(1000)));
        assert!(!grain.is_for_stores(CHUNK, CHUNK + 112, alone(MANY)));
        grain.wrote(CHUNK + PAGE);
        assert_eq!(grain.padded(CHUNK + 120), CHUNK + 120, "it is there");
        assert!(grain.is_for_stores(CHUNK + 112, CHUNK + 224, alone(1000)));
        assert!(!grain.is_for_stores(CHUNK + 4000, CHUNK + PAGE + 8, alone(1000)));
        assert_eq!(grain.padded(CHUNK + PAGE + 8), CHUNK + 2 * PAGE);
        // The next chunk is read, the one after it is not.
        assert!(grain.ask(2 * CHUNK - 8, 112, alone(1000)));
        let ahead = grain.begin(2 * CHUNK - 8).unwrap();
        assert_eq!(Some(&ahead), fill(2 * CHUNK..3 * CHUNK).as_ref());
        grain.end(Some(ahead));
        grain.wrote(2 * CHUNK);
        assert!(grain.is_for_stores(2 * CHUNK, 2 * CHUNK + 112, alone(1000)));
        assert!(grain.ask(3 * CHUNK - 8, LARGE, alone(LARGE)));
        let ahead = grain.begin(3 * CHUNK - 8).unwrap();
        assert!(!ahead.reads, "large groups are written");
        grain.end(Some(ahead));
        assert!(grain.is_for_stores(3 * CHUNK - 112, 3 * CHUNK, alone(1000)));
        assert_eq!(grain.padded(3 * CHUNK + 16_400), 3 * CHUNK + 5 * PAGE);
    }
}

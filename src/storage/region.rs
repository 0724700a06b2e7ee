//! A mapped segment shared by one writer and many readers of this process.
//!
//! The rule that makes `&[u8]` into it sound: bytes below `published` never change, and bytes at or above
//! it are touched by the one [`Writer`] alone. A `Writer` is not `Clone` and writes through
//! `&mut self`; `published` only grows. No `&mut [u8]` over the mapping is ever made.
//!
//! What no code here can rule out is another program that writes or truncates the files (the
//! crate documentation says so to users): the bytes may then change under a `&[u8]`. That
//! is why every frame is checked when it is read, and why a reader populates before it touches.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use memmap2::MmapRaw;
use rustix::mm::{Advice, MsyncFlags, madvise, msync};

use super::safety::is_refused;
use crate::sync::atomic::{AtomicU64, Ordering};

/// The mapping, as readers see it.
#[derive(Debug)]
pub(crate) struct Region {
    map: MmapRaw,
    writable: bool,
    published: AtomicU64,
}

/// The one handle that may write into a [`Region`] and move its published end.
#[derive(Debug)]
pub(crate) struct Writer {
    region: Arc<Region>,
}

impl Region {
    /// `map` covers a file of this log, opened by this process, of at least its length.
    pub(super) fn share(map: MmapRaw, writable: bool, published: u64) -> Writer {
        Writer { region: Arc::new(Region { map, writable, published: AtomicU64::new(published) }) }
    }

    /// Bytes `[offset, offset + len)`, if they are published.
    #[inline]
    pub(crate) fn bytes(&self, offset: u64, len: usize) -> Option<&[u8]> {
        // Acquire pairs with the Release of `publish`: the stores before it are seen.
        let published = self.published.load(Ordering::Acquire);
        if offset.checked_add(len as u64)? > published.min(self.map.len() as u64) {
            return None;
        }
        let start = usize::try_from(offset).ok()?;
        // SAFETY: `start + len` lies inside the mapping (checked above), so the offset stays in it.
        let first = unsafe { self.map.as_ptr().add(start) };
        // SAFETY: the range is mapped for as long as `self` lives, is initialised (file pages
        // are), and lies below `published`, where no one in this process writes any more.
        Some(unsafe { std::slice::from_raw_parts(first, len) })
    }

    /// Where what readers see ends.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire).min(self.map.len() as u64)
    }

    /// All that is published from `offset` on, if that is not beyond it.
    #[inline]
    pub(crate) fn published_from(&self, offset: u64) -> Option<&[u8]> {
        let published = self.published.load(Ordering::Acquire);
        self.bytes(offset, usize::try_from(published.checked_sub(offset)?).ok()?)
    }

    /// The four bytes at `offset` as what a futex waits for. Only to be handed to the kernel, which alone looks at them.
    pub(super) fn word(&self, offset: u64) -> Option<&AtomicU32> {
        let start = usize::try_from(offset).ok().filter(|at| at % align_of::<AtomicU32>() == 0)?;
        if start.checked_add(size_of::<AtomicU32>())? > self.map.len() {
            return None;
        }
        // SAFETY: inside the mapping, by the check.
        let word = unsafe { self.map.as_mut_ptr().add(start) };
        // SAFETY: aligned, since a mapping begins at a page, and mapped for as long as `self` lives; no other reference is made
        // to it: the file is no segment. But `from_ptr` also asks that it may be written to, and the mapping of a reader in
        // another process may not; and the writer stores there without an atomic. So nothing may be loaded or stored through
        // this reference, which would be undefined there. Nothing is: it stands for the address, since rustix takes no
        // other, and the system call, of which the compiler knows nothing, loads there and no one else does.
        Some(unsafe { AtomicU32::from_ptr(word.cast()) })
    }

    /// Reads the pages of `[offset, offset + len)` in, so that touching them meets an unreadable
    /// sector or a truncated file as an error instead of SIGBUS (`MADV_POPULATE_READ`, madvise(2)).
    /// `Unsupported` before Linux 5.14, and where it is refused.
    pub(super) fn populate(&self, offset: u64, len: u64) -> io::Result<()> {
        let (first, len) = self.pages(offset, len);
        // SAFETY: `pages` stays inside the mapping.
        let address = unsafe { self.map.as_mut_ptr().add(first) };
        // SAFETY: populating reads pages in and changes no byte of memory.
        match unsafe { madvise(address.cast(), len, Advice::LinuxPopulateRead) } {
            Err(error) if is_refused(error) => Err(io::ErrorKind::Unsupported.into()),
            // The manual page: EFAULT where a touch would have raised SIGBUS.
            Err(rustix::io::Errno::FAULT) => Err(io::Error::other(
                "the mapped file cannot be read (unreadable sector, or truncated)",
            )),
            other => Ok(other?),
        }
    }

    /// Advises the system to take the pages of `[offset, offset + len)` out of the mapping; the next touch maps them again. It
    /// may not: of pages that are locked in memory it is EINVAL (mlockall in the program).
    pub(super) fn unmap_pages(&self, offset: u64, len: u64) {
        let (first, len) = self.pages(offset, len);
        // SAFETY: `pages` stays inside the mapping.
        let address = unsafe { self.map.as_mut_ptr().add(first) };
        // SAFETY: in a shared mapping of a file the bytes are the page cache's, which keeps them, dirty ones too: "subsequent
        // accesses will repopulate the memory contents from the up-to-date contents of the underlying file" (madvise(2)).
        unsafe { madvise(address.cast(), len, Advice::LinuxDontNeed) }.unwrap_or_default();
    }

    /// msync with MS_SYNC of the pages of `[offset, offset + len)`.
    pub(super) fn sync(&self, offset: u64, len: u64) -> io::Result<()> {
        let (first, len) = self.pages(offset, len);
        // SAFETY: `pages` stays inside the mapping.
        let address = unsafe { self.map.as_mut_ptr().add(first) };
        // SAFETY: MS_SYNC alone writes pages back and changes no byte of memory.
        Ok(unsafe { msync(address.cast(), len, MsyncFlags::SYNC) }?)
    }

    /// The whole pages around a range, inside the mapping: (first byte, length).
    fn pages(&self, offset: u64, len: u64) -> (usize, usize) {
        let (page, whole) = (rustix::param::page_size(), self.map.len());
        let clamp = |at: u64| usize::try_from(at).unwrap_or(whole).min(whole);
        let first = clamp(offset) / page * page;
        let last = clamp(offset.saturating_add(len)).next_multiple_of(page).min(whole);
        (first, last.saturating_sub(first))
    }
}

impl Writer {
    pub(crate) fn region(&self) -> &Arc<Region> {
        &self.region
    }

    /// Stores `bytes` at `offset`, at or above the published end and inside a writable mapping.
    ///
    /// # Panics
    ///
    /// If they are not: a bug in the engine, stopped before it overwrites what readers see.
    #[inline]
    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        let region = &*self.region;
        assert!(region.writable && offset >= region.published.load(Ordering::Relaxed));
        assert!(offset.saturating_add(bytes.len() as u64) <= region.map.len() as u64);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "below the length of the mapping, a usize"
        )]
        let start = offset as usize;
        // SAFETY: inside the mapping, by the assertion.
        let to = unsafe { region.map.as_mut_ptr().add(start) };
        // SAFETY: the range is mapped writable and lies at or above `published`, which only this
        // writer touches, by `&mut self`; `bytes` is below `published` or in other memory: no overlap.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
    }

    /// Stores a frame of `total` bytes at `offset`, and a zero word behind it: `head`, `payload`, and zeros up to
    /// the end. As three [`write`](Self::write)s, with one look at the bounds.
    ///
    /// # Panics
    ///
    /// As `write`.
    #[inline]
    pub(crate) fn write_frame(&mut self, offset: u64, total: u64, head: u64, payload: &[u8]) {
        let region = &*self.region;
        let len = region.map.len() as u64;
        assert!(region.writable && offset >= region.published.load(Ordering::Relaxed));
        assert!(offset <= len && total <= len - offset && 8 <= len - offset - total);
        assert!(8 + payload.len() as u64 <= total);
        #[expect(
            clippy::cast_possible_truncation,
            reason = "below the length of the mapping, a usize"
        )]
        let (start, total) = (offset as usize, total as usize);
        // SAFETY: `start` lies inside the mapping, by the assertion.
        let to = unsafe { region.map.as_mut_ptr().add(start) };
        // SAFETY: so does `start + total + 8`, and `total` is at least 8.
        let last = unsafe { to.add(total - 8) };
        // SAFETY: and at `start + 8` the payload begins, which ends before `total`.
        let behind_head = unsafe { to.add(8) };
        // The padding first, with the word behind: the payload, or the head, covers what is not padding.
        // SAFETY: as for `write`; the sixteen bytes end at `start + total + 8`.
        unsafe { last.cast::<[u8; 16]>().write_unaligned([0; 16]) };
        // SAFETY: as above.
        unsafe { to.cast::<[u8; 8]>().write_unaligned(head.to_le_bytes()) };
        // SAFETY: as above; `payload` is below `published` or in other memory: no overlap.
        unsafe { std::ptr::copy_nonoverlapping(payload.as_ptr(), behind_head, payload.len()) };
    }

    /// Makes everything below `offset` readable by others, for good.
    #[inline]
    pub(crate) fn publish(&mut self, offset: u64) {
        debug_assert!(offset >= self.region.published.load(Ordering::Relaxed));
        // Release: a reader that sees the new end sees the bytes below it.
        self.region.published.store(offset, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(len: usize) -> Writer {
        let file = tempfile::tempfile().unwrap();
        file.set_len(len as u64).unwrap();
        Region::share(MmapRaw::map_raw(&file).unwrap(), true, 0)
    }

    #[test]
    fn readers_see_what_is_published_and_no_more() {
        let mut writer = writer(8192);
        writer.write(0, b"hello");
        assert_eq!(writer.region().bytes(0, 5), None);
        writer.publish(5);
        assert_eq!(writer.region().bytes(0, 5), Some(&b"hello"[..]));
        assert_eq!(writer.region().bytes(1, 5), None);
        assert_eq!(writer.region().bytes(u64::MAX, 5), None);
    }

    #[test]
    #[should_panic(expected = "published")]
    fn published_bytes_cannot_be_overwritten() {
        let mut writer = writer(8192);
        writer.publish(8);
        writer.write(7, b"x");
    }

    #[test]
    fn a_truncated_file_is_an_error_when_populated() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(16384).unwrap();
        let writer = Region::share(MmapRaw::map_raw(&file).unwrap(), true, 16384);
        file.set_len(4096).unwrap();
        assert!(writer.region().populate(0, 4096).is_ok());
        assert!(writer.region().populate(8192, 100).is_err());
    }
}

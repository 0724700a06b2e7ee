//! A segment file: creation, recycling, opening, reading what is published, syncing.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::blocks::{Proven, check_written, fill, read_through};
use super::grain::{Ahead, Way};
use crate::Lsn;
use crate::error::{Error, Result};
use crate::format::frame::{self, Head, Place};
use crate::format::header::{self, Identity, Refusal};
use crate::format::{self, DATA_START};
use crate::options::SyncMethod;
use crate::storage::{Access, Directory, File, Mapped, Region, Status, Writer, is_mapped};

const PAGE: usize = 4096;
/// How much is read at once to warm a file, and populated at once for a reader: the size of a
/// huge page, with which the cost of the system call was not measurable (design fact 12).
const WINDOW: u64 = 2 << 20;
/// How much is filled by one write: no one else gets to the disk meanwhile.
const FILLED_AT_ONCE: u64 = 256 << 10;

/// The file of segment `id`.
pub(crate) fn file_name(id: u64) -> String {
    format!("{id:016x}.seg")
}

/// The id in a segment file's name; none if it is not such a name.
pub(crate) fn id_of(name: &str) -> Option<u64> {
    let id = u64::from_str_radix(name.strip_suffix(".seg")?, 16).ok()?;
    (file_name(id) == name).then_some(id)
}

/// A segment in use: one descriptor and one mapping for as long as anyone holds it.
#[derive(Debug)]
pub(crate) struct Segment {
    identity: Identity,
    seed: u32,
    path: PathBuf,
    file: Arc<dyn File>,
    region: Arc<Region>,
    /// Behind the mapping, which ends first.
    mapped: Mapped,
    proven: Proven,
}

/// What is at an offset.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Look {
    Frame(Head),
    /// It may not be read before all below this offset was populated.
    Beyond(u64),
    /// No valid frame below the published end.
    Nothing,
}

/// Whether a file's bytes may change in place, or its blocks be given back. Not while a record of an earlier instance, or
/// of a child of this process, may show them; and not while it has another name, under which it may lie in an archive or in a snapshot made of links.
pub(crate) fn is_ours_alone(status: &Status) -> bool {
    status.links == 1 && !is_mapped(status.id)
}

/// The header block and the zero word behind it, which ends the frames of an empty segment.
fn first_bytes(identity: &Identity) -> Vec<u8> {
    let mut bytes = identity.encode();
    bytes.resize(PAGE + 8, 0);
    bytes
}

impl Segment {
    /// Makes a new file, allocated, written up to `written`, and synced. Its name is not durable yet.
    ///
    /// Allocated, so that what is written later needs no space. Written, because a sync of a page in an unwritten
    /// extent also has to convert it (`grain` says when that pays).
    ///
    /// The page cache keeps a file in folios as large as the writes that made them: single pages (design fact 1).
    pub(crate) fn create(
        directory: &dyn Directory,
        identity: Identity,
        written: u64,
    ) -> Result<Arc<dyn File>> {
        let name = file_name(identity.id);
        let path = directory.path().join(&name);
        let file = directory.create(&name).map_err(|e| Error::io("open", &path, e))?;
        let filled = file
            .allocate(identity.size)
            .map_err(|e| Error::io("fallocate", &path, e))
            .and_then(|()| {
                let filled = fill(&*file, 0..written, PAGE as u64);
                filled.map_err(|e| Error::io("pwritev", &path, e))
            })
            .and_then(|()| {
                let first = first_bytes(&identity);
                file.write_at(&first, 0).map_err(|e| Error::io("pwrite", &path, e))
            })
            // What is read in later is to be stored to as well.
            .map(|()| file.read_ahead(false))
            .and_then(|()| file.sync().map_err(|e| Error::io("fdatasync", &path, e)))
            .and_then(|()| check_written(&*file, &path, 0..written));
        match filled {
            Ok(()) => Ok(file),
            Err(error) => {
                // Whether or not this succeeds, the file is debris: no manifest names it.
                drop(directory.remove(&name));
                Err(error)
            }
        }
    }

    /// Gives a file that is in the directory under its new name, durably, a new header and so a
    /// new life. It has still to be [`warm`]ed.
    pub(crate) fn recycle(directory: &dyn Directory, identity: Identity) -> Result<Arc<dyn File>> {
        let name = file_name(identity.id);
        let path = directory.path().join(&name);
        let file =
            directory.open(&name, Access::ReadWrite).map_err(|e| Error::io("open", &path, e))?;
        file.write_at(&first_bytes(&identity), 0).map_err(|e| Error::io("pwrite", &path, e))?;
        file.sync().map_err(|e| Error::io("fdatasync", &path, e))?;
        Ok(file)
    }

    /// Opens a segment that the manifest names, checks that it is that one, and maps it. Readers see
    /// what is below `end`.
    pub(crate) fn open(
        directory: &dyn Directory,
        identity: Identity,
        end: u64,
    ) -> Result<Arc<Segment>> {
        let (path, file) = open_checked(directory, &identity, Access::Read)?;
        Ok(Segment::map(path, file, identity, false, end, 0..0)?.0)
    }

    /// The same for the writer, which may go on at `end`. From the offset that is returned on the file is
    /// allocated, but was never written.
    pub(crate) fn open_to_write(
        directory: &dyn Directory,
        identity: Identity,
        way: Way,
        end: u64,
    ) -> Result<(Arc<Segment>, Writer, u64)> {
        let (path, file) = open_checked(directory, &identity, Access::ReadWrite)?;
        let links = file.status().map_err(|e| Error::io("fstat", &path, e))?.links;
        if links > 1 {
            // A snapshot made of links would change with what is appended; and where that is opened too, one of the two
            // logs would overwrite what the other has acknowledged.
            return Err(Error::Linked { path, links });
        }
        let blocks = file.blocks(0).map_err(|e| Error::io("fiemap", &path, e))?;
        let behind = end.saturating_sub(identity.base) + 8;
        let mut fresh = blocks.written.max(behind).next_multiple_of(PAGE as u64).min(identity.size);
        let mut proven = 0..blocks.written;
        if way.stores() && blocks.allocated < identity.size {
            // Restored by a tool that leaves out zeros: a store into a hole needs space, and is a signal without.
            file.allocate(identity.size).map_err(|e| Error::io("fallocate", &path, e))?;
            file.sync().map_err(|e| Error::io("fdatasync", &path, e))?;
        }
        if way == Way::Store && fresh < identity.size {
            // Stores alone are for what was written.
            proven = fresh..identity.size;
            fill(&*file, proven.clone(), PAGE as u64)
                .map_err(|e| Error::io("pwritev", &path, e))?;
            file.sync().map_err(|e| Error::io("fdatasync", &path, e))?;
            check_written(&*file, &path, proven.clone())?;
            fresh = identity.size;
        }
        let (segment, writer) = Segment::map(path, file, identity, way.stores(), end, proven)?;
        Ok((segment, writer, fresh))
    }

    /// Maps an open file, of which these blocks are known to be written.
    pub(crate) fn map(
        path: PathBuf,
        file: Arc<dyn File>,
        identity: Identity,
        stores: bool,
        end: u64,
        proven: Range<u64>,
    ) -> Result<(Arc<Segment>, Writer)> {
        let published = end.saturating_sub(identity.base);
        let id = file.status().map_err(|e| Error::io("fstat", &path, e))?.id;
        let mapped = Mapped::new(id);
        let writer =
            file.map(identity.size, stores, published).map_err(|e| Error::io("mmap", &path, e))?;
        let region = Arc::clone(writer.region());
        let seed = identity.seed();
        let proven = Proven::new(proven);
        Ok((Arc::new(Segment { identity, seed, path, file, region, mapped, proven }), writer))
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn path(&self) -> &PathBuf {
        &self.path
    }

    pub(crate) fn base(&self) -> u64 {
        self.identity.base
    }

    pub(crate) fn seed(&self) -> u32 {
        self.seed
    }

    pub(super) fn file(&self) -> &dyn File {
        &*self.file
    }

    /// The offset up to which readers see it.
    pub(crate) fn published(&self) -> u64 {
        self.region.published()
    }

    /// Makes `dirty`, frames that were published, durable, and everything else that was written to it by then.
    pub(crate) fn sync(&self, method: SyncMethod, dirty: Range<u64>) -> Result<()> {
        match method {
            SyncMethod::Fdatasync => {
                self.file.sync().map_err(|e| Error::io("fdatasync", &self.path, e))?;
            }
            SyncMethod::Msync => {
                let len = (dirty.end + 8).saturating_sub(dirty.start);
                self.file
                    .sync_mapped(&self.region, dirty.start, len)
                    .map_err(|e| Error::io("msync", &self.path, e))?;
            }
        }
        // A sync of blocks that were written before needs no word of the file system's.
        if !self.proven.covers(&dirty) {
            check_written(&*self.file, &self.path, dirty.clone())?;
            self.proven.add(dirty);
        }
        Ok(())
    }

    /// After a sync, before anyone is told of it: whether the file is still the one of its name. If someone has removed it, moved
    /// it, or put another in its place, no open would find what was just synced. A file that cannot be looked at passes: that
    /// says nothing of its name.
    pub(crate) fn check_name(&self, directory: &dyn Directory) -> Result<()> {
        let name = self.path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_named = match directory.status(name) {
            Ok(status) => status.id == self.mapped.file(),
            Err(error) => error.kind() != std::io::ErrorKind::NotFound,
        };
        if is_named { Ok(()) } else { Err(Error::Removed { path: self.path.clone() }) }
    }

    /// The frame at `offset`, if it is published and valid. Touches nothing from `safe` on, below which reading the
    /// mapping cannot be a signal.
    #[inline]
    pub(crate) fn look(&self, offset: u64, safe: u64) -> Look {
        let place = self.place(offset);
        let head_end = offset.saturating_add(frame::HEADER_LEN);
        if head_end > safe {
            return Look::Beyond(head_end);
        }
        let Some(rest) = self.region.published_from(offset) else { return Look::Nothing };
        let Some(head) = rest.first_chunk().and_then(|first| frame::head(*first, place)) else {
            return Look::Nothing;
        };
        let end = offset + head.frame_len();
        if end > safe {
            return Look::Beyond(end);
        }
        match rest.get(8..8 + head.len as usize) {
            Some(payload) if frame::is_valid(head, payload, place) => Look::Frame(head),
            _ => Look::Nothing,
        }
    }

    /// The published bytes of a frame's payload; the frame was valid before.
    #[inline]
    pub(crate) fn payload(&self, offset: u64, len: usize) -> &[u8] {
        self.region.bytes(offset + frame::HEADER_LEN, len).unwrap_or(&[])
    }

    pub(crate) fn place(&self, offset: u64) -> Place {
        Place { seed: self.seed, base: self.identity.base, size: self.identity.size, offset }
    }

    /// Reads in what a reader is about to touch at `offset`, and a window ahead of it; the end of what is
    /// now safe to touch. An unreadable sector is an error here, where a touch would be a signal.
    pub(crate) fn populate(&self, offset: u64, at_least: u64) -> Result<u64> {
        let start = offset / WINDOW * WINDOW;
        self.populate_range(start, (start + WINDOW).max(offset.saturating_add(at_least)))
    }

    /// The same for who touches that alone: to look up the pages of a window takes 20 us, though all are there.
    pub(crate) fn populate_only(&self, offset: u64, len: u64) -> Result<u64> {
        let start = offset / PAGE as u64 * PAGE as u64;
        self.populate_range(start, offset.saturating_add(len).next_multiple_of(PAGE as u64))
    }

    fn populate_range(&self, start: u64, end: u64) -> Result<u64> {
        let end = end.min(self.identity.size);
        // What is not published is not touched, and may be a hole, where a full tmpfs has no page for a read.
        let published = self.region.published().next_multiple_of(PAGE as u64);
        let len = end.min(published).saturating_sub(start);
        if len == 0 {
            return Ok(end);
        }
        let done =
            self.file.populate(&self.region, start, len).or_else(|error| match error.kind() {
                // An old kernel: reading the file brings the same pages in, with the same error.
                std::io::ErrorKind::Unsupported => read_through(&*self.file, start, start + len),
                _ => Err(error),
            });
        done.map_err(|e| Error::io("madvise", &self.path, e))?;
        Ok(end)
    }

    /// Does what is to be done ahead of an appender, and says what it came to; nothing is published there.
    pub(crate) fn get_ready(&self, directory: &dyn Directory, ahead: &Ahead) -> Result<Ahead> {
        let Ahead { range, fills, reads } = ahead;
        if *fills {
            self.fill(directory, range.clone())?;
        } else {
            self.file.forget(&self.region, range.clone());
        }
        // Page by page. What cannot be read is written by whole pages, which needs no read, and never stored to.
        let reads = *reads && read_through(&*self.file, range.start, range.end).is_ok();
        Ok(Ahead { reads, ..ahead.clone() })
    }

    /// Writes zeros there, where no one else writes.
    ///
    /// Past the cache, where what is dirty the next commit would have to wait for. By a descriptor of its own: an error of
    /// a write-back is told once to each (errseq), and one that this sync was told of must not be missing from a commit's.
    fn fill(&self, directory: &dyn Directory, range: Range<u64>) -> Result<()> {
        let name = file_name(self.identity.id);
        let direct = directory.open(&name, Access::DirectWrite);
        let direct = direct.map_err(|e| Error::io("open", &self.path, e))?;
        fill(&*direct, range.clone(), FILLED_AT_ONCE)
            .map_err(|e| Error::io("pwritev", &self.path, e))?;
        // Before anyone appends there, whose sync would not look whether the blocks are marked for good.
        direct.sync().map_err(|e| Error::io("fdatasync", &self.path, e))?;
        check_written(&*direct, &self.path, range.clone())?;
        self.proven.add(range);
        Ok(())
    }

    /// Damage found at `offset`, where the committed log goes on to `until`.
    #[cold]
    pub(crate) fn damage(&self, offset: u64, until: u64, what: &str) -> Error {
        let from = self.identity.base.saturating_add(offset);
        let lsns = Lsn::new(from)..Lsn::new(until.max(from));
        Error::corrupt(&self.path, Some(self.identity.id), offset, lsns, what)
    }
}

/// Reads a piece of a segment into the page cache, from offset `from` on, before an append has to wait for it; `fine`: page by
/// page. Returns where the next piece begins. None: what lies after this one was never written, and reads as zero without
/// the disk.
///
/// Through a descriptor of its own, so that it holds nothing: if the file is given away meanwhile, the read was in vain.
pub(crate) fn warm(
    directory: &dyn Directory,
    identity: &Identity,
    from: u64,
    fine: bool,
) -> Result<Option<u64>> {
    let name = file_name(identity.id);
    let path = directory.path().join(&name);
    let file = directory.open(&name, Access::Read).map_err(|e| Error::io("open", &path, e))?;
    let blocks = file.blocks(from).map_err(|e| Error::io("fiemap", &path, e))?;
    let written = blocks.written.min(identity.size);
    let end = written.min(from + WINDOW);
    file.read_ahead(!fine);
    read_through(&*file, from, end).map_err(|e| Error::io("pread", &path, e))?;
    Ok(Some(end).filter(|end| *end < written))
}

const MISSING: &str = "the manifest names it, but it is missing";

fn damaged(path: &Path, identity: &Identity, offset: u64, what: &str) -> Error {
    let lsns = Lsn::new(identity.base)..Lsn::new(identity.base + identity.size);
    Error::corrupt(path, Some(identity.id), offset, lsns, what)
}

fn check_len(path: &Path, identity: &Identity, status: &Status) -> Result<()> {
    if status.len == identity.size {
        return Ok(());
    }
    let what = format!("it has {} bytes, the manifest says {}", status.len, identity.size);
    Err(damaged(path, identity, status.len.min(identity.size), &what))
}

/// Checks that a segment is there and has its size, without opening it: of a log of many segments, all but the last few
/// need no more until someone reads them ([`open_checked`]).
pub(crate) fn check_there(directory: &dyn Directory, identity: &Identity) -> Result<()> {
    let name = file_name(identity.id);
    let path = directory.path().join(&name);
    let status = directory.status(&name).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => damaged(&path, identity, 0, MISSING),
        _ => Error::io("stat", &path, e),
    })?;
    check_len(&path, identity, &status)
}

/// Opens a segment that the manifest names and checks size and header: the file, or what is wrong with it.
pub(crate) fn open_checked(
    directory: &dyn Directory,
    identity: &Identity,
    access: Access,
) -> Result<(PathBuf, Arc<dyn File>)> {
    let name = file_name(identity.id);
    let path = directory.path().join(&name);
    let damage = |offset, what: &str| damaged(&path, identity, offset, what);
    let file = directory.open(&name, access).map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => damage(0, MISSING),
        std::io::ErrorKind::InvalidData => damage(0, "it is no regular file"),
        _ => Error::io("open", &path, e),
    })?;
    let status = file.status().map_err(|e| Error::io("fstat", &path, e))?;
    check_len(&path, identity, &status)?;
    if access == Access::ReadWrite {
        // What is stored to must not be in the cache as a large folio (design fact 1).
        file.read_ahead(false);
    }
    // A whole aligned page, so that it also works for a direct read.
    let mut window = super::scan::Window::of_a_page(Arc::clone(&file), identity.size);
    let first =
        window.get(0, header::LEN).map_err(|e| Error::io("pread", &path, e))?.unwrap_or(&[]);
    match Identity::decode(first) {
        Ok(found) if found == *identity => Ok((path, file)),
        Ok(found) => {
            let what = format!(
                "its header is that of segment {} with salt {:016x}, the manifest names {:016x}",
                found.id, found.salt, identity.salt
            );
            Err(damage(0, &what))
        }
        Err(Refusal::Damaged(what)) => Err(damage(0, what)),
        Err(Refusal::Unsupported { version, features }) => {
            Err(Error::UnsupportedFormat { path, version, features })
        }
    }
}

const _: () = assert!(DATA_START == PAGE as u64 && format::ALIGN == 8);

#[cfg(all(test, feature = "sim"))]
mod tests;

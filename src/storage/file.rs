//! The real file.

use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{self, Advice, FallocateFlags, OFlags, SeekFrom};
use rustix::io::{Errno, pread, pwrite, pwritev, retry_on_intr};
use rustix::thread::futex;

use super::disk::Opened;
use super::safety::{is_refused, tells_holes};
use super::{Blocks, DIRECT_ALIGN, File, Region, Status, Writer, extents};

/// Small enough for a near cache, and aligned as direct writes need it.
#[repr(align(4096))]
struct Zeros([u8; 64 << 10]);
static ZEROS: Zeros = Zeros([0; 64 << 10]);
const _: () = assert!(align_of::<Zeros>() == DIRECT_ALIGN);

#[repr(align(4096))]
struct AlignedPage([u8; DIRECT_ALIGN]);

#[derive(Debug)]
pub(crate) struct DiskFile {
    fd: OwnedFd,
    directory: Arc<Opened>,
}

impl DiskFile {
    pub(super) fn new(fd: OwnedFd, directory: Arc<Opened>) -> DiskFile {
        DiskFile { fd, directory }
    }

    /// Behind a sync that succeeded, where one alone may be none (`safety::commits_fast`).
    fn sync_once_more(&self) -> io::Result<()> {
        if self.directory.commits_fast() { Ok(fs::fdatasync(&self.fd)?) } else { Ok(()) }
    }

    fn advise_read_ahead(&self, on: bool) -> io::Result<()> {
        let advice = if on { Advice::Normal } else { Advice::Random };
        Ok(fs::fadvise(&self.fd, 0, None, advice)?)
    }

    /// Gives each page of the first `len` bytes a block, by writing zeros where it reads as zero: what a hole is cannot be told
    /// everywhere, and bytes that mean something stay untouched.
    fn fill_holes(&self, len: u64) -> io::Result<()> {
        let mut held = vec![0; ZEROS.0.len()];
        let mut at = 0;
        while at < len {
            let left = usize::try_from(len - at).unwrap_or(usize::MAX).min(held.len());
            let chunk = held.get_mut(..left).unwrap_or(&mut []);
            chunk.fill(0);
            self.read_at(chunk, at)?;
            for page in chunk.chunks(DIRECT_ALIGN) {
                let zeros = ZEROS.0.get(..page.len()).unwrap_or(&ZEROS.0);
                if page == zeros {
                    self.write_at(zeros, at)?;
                }
                at += page.len() as u64;
            }
        }
        Ok(())
    }

    /// Some file systems open a file for direct access and then refuse it: whether that was so.
    fn gives_up_direct(&self) -> io::Result<bool> {
        let flags = fs::fcntl_getfl(&self.fd)?;
        let direct = flags.contains(OFlags::DIRECT);
        if direct {
            fs::fcntl_setfl(&self.fd, flags - OFlags::DIRECT)?;
        }
        Ok(direct)
    }
}

pub(super) fn status_of(stat: &fs::Stat) -> Status {
    let len = u64::try_from(stat.st_size).unwrap_or(0);
    // st_blocks counts units of 512 bytes whatever the file system's block is (stat(2)). It may count blocks
    // of metadata too, so it says nothing of holes.
    let held = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
    let nanos = u32::try_from(stat.st_mtime_nsec).unwrap_or(0);
    let since = u64::try_from(stat.st_mtime).ok().map(|secs| Duration::new(secs, nanos));
    let modified = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    #[allow(clippy::useless_conversion, reason = "st_nlink is not 64 bits wide everywhere")]
    let links = u64::from(stat.st_nlink);
    Status { len, held, links, id: (stat.st_dev, stat.st_ino), modified }
}

impl File for DiskFile {
    fn status(&self) -> io::Result<Status> {
        Ok(status_of(&fs::fstat(&self.fd)?))
    }

    fn blocks(&self, from: u64) -> io::Result<Blocks> {
        extents::blocks(&self.fd, from, self.status()?.len)
    }

    /// lseek(2). Of file systems that look into the page cache for what is only allocated; of others all is data, whatever they
    /// say.
    fn next_data(&self, offset: u64) -> Option<Range<u64>> {
        let all = offset..u64::MAX;
        if !tells_holes(&self.fd).unwrap_or(false) || self.advise_read_ahead(false).is_err() {
            return Some(all);
        }
        let start = match fs::seek(&self.fd, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(Errno::NXIO) => return None,
            Err(_) => return Some(all),
        };
        let end = fs::seek(&self.fd, SeekFrom::Hole(start));
        // No further than where it began: a page of the cache went in between.
        let end = end.ok().filter(|end| *end > start);
        Some(start..end.unwrap_or(u64::MAX))
    }

    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = to.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match retry_on_intr(|| pread(&self.fd, &mut *rest, offset + read as u64)) {
                Ok(0) => break,
                Ok(n) => read += n,
                Err(Errno::INVAL) if self.gives_up_direct()? => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match retry_on_intr(|| pwrite(&self.fd, rest, offset + written as u64)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => written += n,
                Err(Errno::INVAL) if self.gives_up_direct()? => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write_zeros(&self, range: Range<u64>) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
            // 64 pieces, 4 MiB: well below IOV_MAX.
            let pieces = left.div_ceil(ZEROS.0.len()).min(64);
            let mut pieces = vec![IoSlice::new(&ZEROS.0); pieces];
            if let Some(last) = pieces.last_mut().filter(|_| left % ZEROS.0.len() > 0) {
                *last = IoSlice::new(ZEROS.0.get(..left % ZEROS.0.len()).unwrap_or(&ZEROS.0));
            }
            match retry_on_intr(|| pwritev(&self.fd, &pieces, at)) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => at += n as u64,
                Err(Errno::INVAL) if self.gives_up_direct()? => {}
                Err(error) if is_refused(error) => {
                    let one = ZEROS.0.get(..left.min(ZEROS.0.len())).unwrap_or(&ZEROS.0);
                    self.write_at(one, at)?;
                    at += one.len() as u64;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        match retry_on_intr(|| fs::fallocate(&self.fd, FallocateFlags::empty(), 0, len)) {
            Err(error) if is_refused(error) => {
                self.directory.note_allocated_by_zeros();
                self.fill_holes(len)
            }
            other => Ok(other?),
        }
    }

    fn probe_journal(&self) -> io::Result<()> {
        if self.directory.commits_fast() {
            // Of a directory: never by a fast commit, but by one of the whole journal (ext4_fsync_journal).
            return Ok(fs::fsync(&*self.directory)?);
        }
        // To remove an attribute a transaction is begun, and then there is none to remove (ext4_xattr_set).
        match fs::fremovexattr(&self.fd, "user.duralog.none") {
            Ok(()) | Err(Errno::NODATA) => Ok(()),
            // Mounted without them, or not to be had: to allocate what is allocated begins one too.
            Err(error) if is_refused(error) => {
                match retry_on_intr(|| fs::fallocate(&self.fd, FallocateFlags::empty(), 0, 1)) {
                    // A file system that has neither has no journal that would have to be asked.
                    Err(error) if is_refused(error) => Ok(()),
                    other => Ok(other?),
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    fn sync(&self) -> io::Result<()> {
        // Not retried, not even after EINTR: a second call may succeed for pages that the first lost.
        fs::fdatasync(&self.fd)?;
        self.sync_once_more()
    }

    fn sync_mapped(&self, region: &Region, offset: u64, len: u64) -> io::Result<()> {
        region.sync(offset, len)?;
        self.sync_once_more()
    }

    fn populate(&self, region: &Region, offset: u64, len: u64) -> io::Result<()> {
        region.populate(offset, len)
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(fs::fadvise(&self.fd, 0, None, Advice::DontNeed)?)
    }

    fn passes_cache(&self) -> bool {
        // As far as a read gets: some refuse direct access only then.
        let mut page = AlignedPage([0; DIRECT_ALIGN]);
        let direct = || fs::fcntl_getfl(&self.fd).is_ok_and(|flags| flags.contains(OFlags::DIRECT));
        self.read_at(&mut page.0, 0).is_ok() && direct()
    }

    fn forget(&self, region: &Region, range: Range<u64>) {
        // What is mapped is not forgotten (posix_fadvise(2)).
        region.unmap_pages(range.start, range.end.saturating_sub(range.start));
        // A length of 0 would be all of the file.
        if let Some(len) = NonZeroU64::new(range.end.saturating_sub(range.start)) {
            let advice = Advice::DontNeed;
            fs::fadvise(&self.fd, range.start, Some(len), advice).unwrap_or_default();
        }
    }

    fn read_ahead(&self, on: bool) {
        self.advise_read_ahead(on).unwrap_or_default();
    }

    fn punch_hole(&self, range: Range<u64>) -> io::Result<()> {
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let len = range.end.saturating_sub(range.start);
        Ok(retry_on_intr(|| fs::fallocate(&self.fd, flags, range.start, len))?)
    }

    fn map(&self, len: u64, writable: bool, published: u64) -> io::Result<Writer> {
        // A mapping beyond the end of the file would be a signal when touched.
        if self.status()?.len < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let len = usize::try_from(len).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut options = MmapOptions::new();
        options.len(len);
        let map: MmapRaw = if writable {
            options.map_raw(&self.fd)?
        } else {
            options.map_raw_read_only(&self.fd)?
        };
        Ok(Region::share(map, writable, published))
    }

    fn wait(
        &self,
        region: &Region,
        offset: u64,
        seen: [u8; 4],
        at_most: Duration,
    ) -> io::Result<()> {
        let word = region.word(offset).ok_or(io::ErrorKind::InvalidInput)?;
        // The kernel compares what the processor would load there.
        let seen = u32::from_le_bytes(seen).to_le();
        let time = futex::Timespec {
            tv_sec: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(at_most.subsec_nanos()),
        };
        // Not private: who wakes is another process, and the kernel knows both by the file (futex(2)).
        match futex::wait(word, futex::Flags::empty(), seen, Some(&time)) {
            Ok(()) | Err(Errno::AGAIN | Errno::INTR | Errno::TIMEDOUT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn wake(&self, region: &Region, offset: u64) -> io::Result<()> {
        let word = region.word(offset).ok_or(io::ErrorKind::InvalidInput)?;
        futex::wake(word, futex::Flags::empty(), i32::MAX.unsigned_abs())?;
        Ok(())
    }
}

//! The real file.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;

use memmap2::{MmapOptions, MmapRaw};
use rustix::fs::{self, Advice, FallocateFlags, OFlags};
use rustix::io::{Errno, pread, pwrite, retry_on_intr};

use super::{File, Region, Status, Writer};

#[derive(Debug)]
pub(crate) struct DiskFile {
    fd: OwnedFd,
}

impl DiskFile {
    pub(crate) fn new(fd: OwnedFd) -> DiskFile {
        DiskFile { fd }
    }
}

impl File for DiskFile {
    fn status(&self) -> io::Result<Status> {
        let stat = fs::fstat(&self.fd)?;
        let len = u64::try_from(stat.st_size).unwrap_or(0);
        // st_blocks counts units of 512 bytes whatever the file system's block is (stat(2)). It may count blocks
        // of metadata too, so a hole is also looked for; where no one tells of holes the end is one (lseek(2)).
        let held = u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512);
        let allocated =
            held >= len && fs::seek(&self.fd, fs::SeekFrom::Hole(0)).is_ok_and(|hole| hole >= len);
        Ok(Status { len, held, allocated, id: (stat.st_dev, stat.st_ino) })
    }

    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut read = 0;
        while let Some(rest) = to.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match retry_on_intr(|| pread(&self.fd, &mut *rest, offset + read as u64)) {
                Ok(0) => break,
                Ok(n) => read += n,
                // Some file systems open a file for direct reads and then refuse them.
                Err(Errno::INVAL) if fs::fcntl_getfl(&self.fd)?.contains(OFlags::DIRECT) => {
                    fs::fcntl_setfl(&self.fd, fs::fcntl_getfl(&self.fd)? - OFlags::DIRECT)?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(read)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match retry_on_intr(|| pwrite(&self.fd, rest, offset + written as u64))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => written += n,
            }
        }
        Ok(())
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::fallocate(&self.fd, FallocateFlags::empty(), 0, len))?)
    }

    fn sync(&self) -> io::Result<()> {
        // Not retried, not even after EINTR: a second call may succeed for pages that the first lost.
        Ok(fs::fdatasync(&self.fd)?)
    }

    fn sync_mapped(&self, region: &Region, offset: u64, len: u64) -> io::Result<()> {
        region.sync(offset, len)
    }

    fn populate(&self, region: &Region, offset: u64, len: u64) -> io::Result<()> {
        region.populate(offset, len)
    }

    fn drop_cache(&self) -> io::Result<()> {
        Ok(fs::fadvise(&self.fd, 0, None, Advice::DontNeed)?)
    }

    fn forget(&self, region: &Region, range: Range<u64>) -> io::Result<()> {
        // What is mapped is not forgotten (posix_fadvise(2)).
        region.unmap_pages(range.start, range.end.saturating_sub(range.start))?;
        let len = std::num::NonZeroU64::new(range.end.saturating_sub(range.start));
        match len {
            Some(_) => Ok(fs::fadvise(&self.fd, range.start, len, Advice::DontNeed)?),
            None => Ok(()),
        }
    }

    fn read_ahead(&self, on: bool) -> io::Result<()> {
        let advice = if on { Advice::Normal } else { Advice::Random };
        Ok(fs::fadvise(&self.fd, 0, None, advice)?)
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
}

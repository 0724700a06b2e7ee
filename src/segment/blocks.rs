//! Which blocks of a segment's file are written, and not only allocated.
//!
//! A sync of frames in blocks that were written before is durable when fdatasync says so. In blocks that were only
//! allocated it is durable once the file system has marked them as written too, which it may fail to do in silence.

use std::ops::Range;
use std::path::Path;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::storage::File;

const READ_AT_ONCE: usize = 256 << 10;

/// Between these offsets all blocks are known to be written on the disk.
#[derive(Debug)]
pub(super) struct Proven(Mutex<Range<u64>>);

impl Proven {
    pub(super) fn new(range: Range<u64>) -> Proven {
        Proven(Mutex::new(range))
    }

    pub(super) fn covers(&self, range: &Range<u64>) -> bool {
        let proven = self.0.lock();
        proven.start <= range.start && range.end <= proven.end
    }

    /// One range is remembered: of two with a gap between them the later one, where appends go.
    pub(super) fn add(&self, range: Range<u64>) {
        let mut proven = self.0.lock();
        if range.start <= proven.end && proven.start <= range.end {
            *proven = proven.start.min(range.start)..proven.end.max(range.end);
        } else if range.end > proven.end {
            *proven = range;
        }
    }
}

/// After a sync of blocks that had only been allocated. That it succeeded says that the bytes are on the disk, but not,
/// on ext4, that the blocks were marked as written; if not, they read as zero after the next mount. Both met by
/// `real_fs failing`, on Linux 6.18:
///
/// 1. A block that could not be marked is a line in the kernel's log and no error (ext4_end_io_end: "potential data loss").
///    The map of the file tells.
/// 2. If the journal is aborted just then, fdatasync may find the transaction that marked them gone and take it for done
///    (jbd2_complete_transaction). But an aborted journal stays so: if it is seen alive after the sync, the transaction
///    was done.
pub(super) fn check_written(file: &dyn File, path: &Path, range: Range<u64>) -> Result<()> {
    let blocks = file.blocks(range.start).map_err(|e| Error::io("fiemap", path, e))?;
    if blocks.written < range.end && blocks.written < blocks.allocated {
        let what = "it succeeded, but the file system did not take the blocks for written";
        return Err(Error::io("fdatasync", path, std::io::Error::other(what)));
    }
    file.probe_journal().map_err(|e| Error::io("fremovexattr", path, e))
}

/// Zeros, so many at once.
pub(super) fn fill(file: &dyn File, range: Range<u64>, at_once: u64) -> std::io::Result<()> {
    let mut at = range.start;
    while at < range.end {
        let next = (at + at_once).min(range.end);
        file.write_zeros(at..next)?;
        at = next;
    }
    Ok(())
}

pub(super) fn read_through(file: &dyn File, start: u64, end: u64) -> std::io::Result<()> {
    let mut buffer = vec![0; READ_AT_ONCE];
    let mut at = start;
    while at < end {
        match file.read_at(&mut buffer, at)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => at += n as u64,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proven_grows_and_goes_with_the_appends() {
        let proven = Proven::new(0..100);
        assert!(proven.covers(&(0..100)) && !proven.covers(&(50..101)));
        proven.add(100..120);
        assert!(proven.covers(&(90..120)));
        proven.add(200..300);
        assert!(proven.covers(&(200..300)) && !proven.covers(&(90..120)));
        proven.add(130..140);
        assert!(proven.covers(&(200..300)) && !proven.covers(&(130..140)));
        proven.add(190..210);
        assert!(proven.covers(&(190..300)));
    }
}

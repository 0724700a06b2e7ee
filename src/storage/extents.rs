//! Which blocks of a file are there, and which of them were written: FIEMAP (Linux, Documentation/filesystems/fiemap.rst).
//!
//! `lseek(SEEK_HOLE)` cannot tell: it takes a page in the cache for data, though its block may still be unwritten.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{SeekFrom, seek};
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};

use super::Blocks;
use super::safety::is_refused;

/// A few: a file that was allocated at once has one or two.
const AT_ONCE: u32 = 16;

#[repr(C)]
struct Fiemap {
    start: u64,
    length: u64,
    flags: u32,
    mapped: u32,
    count: u32,
    reserved: u32,
    extents: [Extent; AT_ONCE as usize],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Extent {
    logical: u64,
    physical: u64,
    length: u64,
    reserved: [u64; 2],
    flags: u32,
    reserved_too: [u32; 3],
}

/// The header alone counts: `_IOWR('f', 11, struct fiemap)`.
const FIEMAP: Opcode = opcode::read_write::<[u8; 32]>(b'f', 11);
const _: () = assert!(size_of::<Fiemap>() == 32 + 56 * AT_ONCE as usize);

const LAST: u32 = 0x1;
/// No block yet, or it is not known which.
const NOWHERE: u32 = 0x2 | 0x4;
const UNWRITTEN: u32 = 0x800;

/// From `from` on, up to `len`.
pub(super) fn blocks(fd: impl AsFd, from: u64, len: u64) -> io::Result<Blocks> {
    let mut found = Blocks { allocated: from, written: from };
    while found.allocated < len {
        let mut map = Fiemap {
            start: found.allocated,
            length: len - found.allocated,
            flags: 0,
            mapped: 0,
            count: AT_ONCE,
            reserved: 0,
            extents: [Extent::default(); AT_ONCE as usize],
        };
        // SAFETY: FS_IOC_FIEMAP takes a `struct fiemap` followed by as many extents as `count` says, which is
        // what `Fiemap` is; all of it is plain numbers.
        let call = unsafe { Updater::<FIEMAP, Fiemap>::new(&mut map) };
        // SAFETY: the kernel writes into `map` alone, which lives longer than the call.
        match unsafe { ioctl(&fd, call) } {
            Ok(()) => {}
            // It tells no map (tmpfs): holes at least, which to it may be all that was not written.
            Err(error) if is_refused(error) => {
                let hole = seek(&fd, SeekFrom::Hole(from)).unwrap_or(from);
                return Ok(Blocks { allocated: hole, written: hole });
            }
            Err(error) => return Err(error.into()),
        }
        let told = usize::try_from(map.mapped).unwrap_or(0);
        let before = found.allocated;
        let mut is_last = told == 0;
        for extent in map.extents.iter().take(told) {
            if extent.logical > found.allocated || extent.flags & NOWHERE != 0 {
                return Ok(found);
            }
            let end = extent.logical.saturating_add(extent.length);
            if extent.flags & UNWRITTEN == 0 && found.written == found.allocated {
                found.written = end;
            }
            found.allocated = end;
            is_last |= extent.flags & LAST != 0;
        }
        if is_last || found.allocated <= before {
            break;
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use rustix::fs::{FallocateFlags, fallocate};

    use super::*;

    #[test]
    fn what_is_allocated_and_what_of_it_is_written() {
        let file = tempfile::tempfile().unwrap();
        let told = |from| {
            let blocks = blocks(&file, from, 1 << 20).unwrap();
            (blocks.allocated, blocks.written)
        };
        file.set_len(1 << 20).unwrap();
        assert_eq!(told(0), (0, 0));
        file.write_all_at(&[7; 8192], 0).unwrap();
        rustix::fs::fdatasync(&file).unwrap();
        assert_eq!(told(0), (8192, 8192));
        assert_eq!(told(8192), (8192, 8192));
        fallocate(&file, FallocateFlags::empty(), 0, 512 << 10).unwrap();
        match told(0) {
            (allocated, 8192) if allocated == 512 << 10 => {}
            (8192, 8192) => {
                return eprintln!("skipped: this file system tells no unwritten blocks");
            }
            other => panic!("{other:?}"),
        }
        file.write_all_at(&[7; 4096], 64 << 10).unwrap();
        rustix::fs::fdatasync(&file).unwrap();
        assert_eq!(told(0), (512 << 10, 8192));
        assert_eq!(told(64 << 10), (512 << 10, (64 << 10) + 4096));
        // More extents than are told at once.
        for n in 0..60 {
            file.write_all_at(&[7; 4096], n * 8192).unwrap();
        }
        rustix::fs::fdatasync(&file).unwrap();
        assert_eq!(told(0).0, 512 << 10);
        for n in 0..256 {
            file.write_all_at(&[7; 4096], n * 4096).unwrap();
        }
        rustix::fs::fdatasync(&file).unwrap();
        assert_eq!(told(0), (1 << 20, 1 << 20));
    }
}

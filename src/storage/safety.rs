//! Where a store through a mapping can be a signal, though the file is allocated and written.
//!
//! The first store to a clean page asks the file system for leave, which is refused by a signal:
//!
//! - on btrfs, which copies on write, when the disk is full (measured);
//! - on xfs, after it has shut itself down for an I/O error (measured: in 2 of 93 runs with one failed write);
//! - on ext4 with `data=journal`, which starts a transaction at each such store, after the journal was aborted
//!   (measured, 2 of 93). With delayed allocation and ordered data it does not ask the journal (0 of 186 runs), and
//!   so also with `nodelalloc` while the page still has its buffers, which no one can promise.
//!
//! There, and on all others, records are written by `pwrite`.

use std::io;

use rustix::fs;

const EXT: i64 = 0xEF53;
const TMPFS: i64 = 0x0102_1994;

/// Whether a store into an allocated, written file on the file system of `fd` never is a signal.
pub(super) fn stores_are_safe(fd: impl std::os::fd::AsFd) -> io::Result<bool> {
    let kind = fs::fstatfs(&fd)?.f_type;
    #[allow(clippy::useless_conversion, reason = "f_type is not 64 bits wide everywhere")]
    match i64::from(kind) {
        TMPFS => Ok(true),
        EXT => {
            let dev = fs::fstat(&fd)?.st_dev;
            Ok(ext4_options(fs::major(dev), fs::minor(dev))
                .is_some_and(|options| is_safe(&options)))
        }
        _ => Ok(false),
    }
}

/// Whether the file system of `fd` has a journal. ext4 says how it treats data only if so; of others it is assumed.
pub(super) fn has_journal(fd: impl std::os::fd::AsFd) -> io::Result<bool> {
    let dev = fs::fstat(&fd)?.st_dev;
    let options = ext4_options(fs::major(dev), fs::minor(dev));
    Ok(options.is_none_or(|options| options.split([',', '\n']).any(|o| o.starts_with("data="))))
}

fn is_safe(options: &str) -> bool {
    let mut options = options.split([',', '\n']);
    options.clone().any(|option| option == "delalloc")
        && !options.any(|option| option == "data=journal")
}

/// What the kernel says of a mounted ext4, defaults included: also those that the superblock sets, which the
/// mount table does not show. None where it does not say; then nothing is known to be safe.
fn ext4_options(major: u32, minor: u32) -> Option<String> {
    let device = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let name = device.file_name()?.to_str()?;
    std::fs::read_to_string(format!("/proc/fs/ext4/{name}/options")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ext4_is_safe_in_its_default_modes_alone() {
        assert!(is_safe("rw\nbsddf\ndelalloc\ndata=ordered\n"));
        assert!(is_safe("rw\ndelalloc\ndata=writeback"));
        assert!(!is_safe("rw\nnodelalloc\ndata=ordered\n"));
        assert!(!is_safe("rw\ndelalloc\ndata=journal\n"));
        assert!(!is_safe(""));
    }
}

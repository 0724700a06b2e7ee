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
use rustix::io::Errno;

const EXT: i64 = 0xEF53;
const TMPFS: i64 = 0x0102_1994;
const XFS: i64 = 0x5846_5342;
const BTRFS: i64 = 0x9123_683E;

/// Whether the system says that it does not offer a call, or not here: an old kernel, the file system, a sandbox. Then nothing
/// was done, and there is another way or it was advice; where nothing else will do, that other way says why.
pub(super) fn is_refused(error: Errno) -> bool {
    let refused =
        [Errno::NOSYS, Errno::PERM, Errno::ACCESS, Errno::INVAL, Errno::OPNOTSUPP, Errno::NOTTY];
    refused.contains(&error)
}

/// Whether what lseek(2) calls a hole holds nothing, also where it was stored to and not yet written. iomap_seek_data looks at
/// the page cache of what is only allocated (ext4, xfs), as btrfs and tmpfs do; FUSE asks its server, which knows nothing of
/// the cache.
pub(super) fn tells_holes(fd: impl std::os::fd::AsFd) -> io::Result<bool> {
    let kind = fs::fstatfs(&fd)?.f_type;
    #[allow(clippy::useless_conversion, reason = "f_type is not 64 bits wide everywhere")]
    Ok([EXT, TMPFS, XFS, BTRFS].contains(&i64::from(kind)))
}

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

/// Whether ext4 may answer a sync of a file by a fast commit (`mkfs.ext4 -O fast_commit`, off by default).
///
/// Such a sync may succeed without a flush: if it comes while another file's is under way, it waits for that one and
/// takes it for its own (`ext4_fc_commit`, on `-EALREADY`), though that one had flushed before. When it returns, the other has
/// ended; so what a second sync may wait for began behind the first, and covers it. And it may lose that a block was
/// marked as written, which then reads as zero after the next mount; a commit of the whole journal keeps it. Met by cutting
/// the power on Linux 6.18, in runs of some 360 states: an acknowledged record was lost in 7 of 60 runs, with the
/// second sync alone in 1 of 3, with the whole commit alone in 1 of 110.
///
/// The option shows the mode where the kernel names it; so does the count of such commits, once a file has been synced.
pub(super) fn commits_fast(fd: impl std::os::fd::AsFd) -> bool {
    let Ok(stat) = fs::fstat(&fd) else { return false };
    let (major, minor) = (fs::major(stat.st_dev), fs::minor(stat.st_dev));
    ext4_options(major, minor).is_some_and(|options| {
        let counts = ext4_says(major, minor, "fc_info").unwrap_or_default();
        options.split([',', '\n']).any(|option| option == "fc_debug_force") || has_counted(&counts)
    })
}

/// Whether any commit was fast, or was to be (ext4_fc_info_show).
fn has_counted(info: &str) -> bool {
    let counts = info.lines().filter(|l| l.ends_with(" commits") || l.ends_with(" ineligible"));
    counts.filter_map(|line| line.split_whitespace().next()).any(|count| count != "0")
}

fn is_safe(options: &str) -> bool {
    let mut options = options.split([',', '\n']);
    options.clone().any(|option| option == "delalloc")
        && !options.any(|option| option == "data=journal")
}

/// What the kernel says of a mounted ext4, defaults included: also those that the superblock sets, which the
/// mount table does not show. None where it does not say; then nothing is known to be safe.
fn ext4_options(major: u32, minor: u32) -> Option<String> {
    ext4_says(major, minor, "options")
}

fn ext4_says(major: u32, minor: u32, what: &str) -> Option<String> {
    let device = std::fs::read_link(format!("/sys/dev/block/{major}:{minor}")).ok()?;
    let name = device.file_name()?.to_str()?;
    std::fs::read_to_string(format!("/proc/fs/ext4/{name}/{what}")).ok()
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

    #[test]
    fn a_fast_commit_that_was_counted_tells() {
        assert!(!has_counted("fc stats:\n0 commits\n0 ineligible\n0 numblks\n"));
        assert!(has_counted("fc stats:\n0 commits\n1 ineligible\n0 numblks\n"));
        assert!(has_counted("fc stats:\n12 commits\n0 ineligible\n7 numblks\n"));
        assert!(!has_counted(""));
    }
}

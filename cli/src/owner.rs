//! Which process has a log open.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// The process that holds the lock of the log in `dir`, if the system tells: not of one in another container.
pub(crate) fn of(dir: &Path) -> Option<u32> {
    let inode = std::fs::metadata(dir).ok()?;
    let device = rustix::fs::stat(dir).ok()?.st_dev;
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    let file = format!("{major:02x}:{minor:02x}:{}", inode.ino());
    find(&std::fs::read_to_string("/proc/locks").ok()?, &file)
}

/// proc(5): `1: FLOCK ADVISORY WRITE 1234 08:01:56789 0 EOF`.
fn find(locks: &str, file: &str) -> Option<u32> {
    let pid = locks.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_flock = words.next()? == "FLOCK";
        let (pid, locked) = (words.nth(2)?, words.next()?);
        (is_flock && locked == file).then_some(pid)
    });
    pid?.parse().ok().filter(|pid| *pid > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_the_lock_is_found_and_no_one_who_waits_for_it() {
        let locks = "1: POSIX  ADVISORY  WRITE 12 fd:00:77 0 EOF\n\
                     2: FLOCK  ADVISORY  WRITE 34 fd:00:77 0 EOF\n\
                     2: -> FLOCK  ADVISORY  WRITE 56 fd:00:77 0 EOF\n\
                     3: FLOCK  ADVISORY  WRITE 0 fd:00:78 0 EOF\n";
        assert_eq!(find(locks, "fd:00:77"), Some(34));
        assert_eq!((find(locks, "fd:00:78"), find(locks, "fd:00:79")), (None, None));
    }
}

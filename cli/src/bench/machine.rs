//! What is measured on: system, disk, file system.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) directory: String,
    pub(crate) file_system: String,
    pub(crate) mount_options: String,
    /// As the kernel names it; on a network another machine's name.
    pub(crate) device: String,
    /// What the kernel believes of the disk's cache: `write back` is flushed, `write through` needs none. None if unknown.
    pub(crate) write_cache: Option<String>,
    pub(crate) free_bytes: u64,
    pub(crate) kernel: String,
    pub(crate) cpus: usize,
}

impl Machine {
    /// Of the disk below `scratch`, a directory in the one that is asked about.
    pub(crate) fn of(scratch: &Path) -> Result<Machine> {
        let dir = fs::canonicalize(scratch).context("the scratch directory")?;
        let dir = dir.parent().unwrap_or(&dir);
        let space = rustix::fs::statvfs(dir).context("free space")?;
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        let mount = Mount::of(dir, &mounts).unwrap_or_default();
        Ok(Machine {
            directory: dir.display().to_string(),
            write_cache: write_cache(&mount.device),
            file_system: mount.file_system,
            mount_options: mount.options,
            device: mount.device,
            free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
        })
    }

    /// Nothing there is ever written to a disk.
    pub(crate) fn is_memory(&self) -> bool {
        matches!(&*self.file_system, "tmpfs" | "ramfs")
    }

    /// Someone else's disk, behind a protocol.
    pub(crate) fn is_network(&self) -> bool {
        let name = &*self.file_system;
        let known = ["nfs", "nfs4", "cifs", "smb3", "9p", "ceph", "afs", "glusterfs", "virtiofs"];
        known.contains(&name) || name.starts_with("fuse")
    }

    pub(crate) fn copies_on_write(&self) -> bool {
        matches!(&*self.file_system, "btrfs" | "zfs" | "bcachefs")
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Mount {
    file_system: String,
    options: String,
    device: String,
}

impl Default for Mount {
    fn default() -> Mount {
        let unknown = || "unknown".to_owned();
        Mount { file_system: unknown(), options: unknown(), device: unknown() }
    }
}

impl Mount {
    /// The innermost mount that holds `dir`; of several at one place the last, which hides the others.
    fn of(dir: &Path, mountinfo: &str) -> Option<Mount> {
        let mounts = mountinfo.lines().filter_map(|line| {
            // proc_pid_mountinfo(5): id, parent, device, root, place, options, fields up to a dash, type, source.
            let (left, right) = line.split_once(" - ")?;
            let (mut left, mut right) = (left.split(' ').skip(4), right.split(' '));
            let place = left.next()?.replace("\\040", " ");
            let found = Mount {
                options: left.next()?.to_owned(),
                file_system: right.next()?.to_owned(),
                device: right.next()?.to_owned(),
            };
            dir.starts_with(&place).then_some((place.len(), found))
        });
        mounts.max_by_key(|(len, _)| *len).map(|(_, mount)| mount)
    }
}

fn write_cache(device: &str) -> Option<String> {
    // Behind names such as those of the device mapper are links.
    let device = fs::canonicalize(device).ok()?;
    let block = fs::canonicalize(Path::new("/sys/class/block").join(device.file_name()?)).ok()?;
    // A partition lies in the folder of its disk.
    let found = [block.join("queue/write_cache"), block.parent()?.join("queue/write_cache")];
    let text = found.iter().find_map(|path| fs::read_to_string(path).ok())?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &str = "\
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
30 27 0:27 / /srv/my\\040data rw,noatime shared:5 master:1 - btrfs /dev/sdb1 rw,compress=zstd
31 27 0:28 / /srv/over rw - tmpfs a rw
32 27 0:29 / /srv/over rw - nfs4 host:/b rw
";

    fn of(dir: &str) -> Option<Mount> {
        Mount::of(Path::new(dir), MOUNTS)
    }

    #[test]
    fn the_innermost_and_last_mount_counts() {
        let of = |dir| of(dir).unwrap();
        assert_eq!(of("/srv").file_system, "ext4");
        assert_eq!(of("/srv/my data/log").device, "/dev/sdb1");
        assert_eq!(of("/srv/my data").options, "rw,noatime");
        assert_eq!(of("/srv/my database").file_system, "ext4");
        assert_eq!(of("/srv/over").file_system, "nfs4");
    }

    #[test]
    fn what_cannot_be_read_is_unknown() {
        assert_eq!(Mount::of(Path::new("/"), "nonsense\n"), None);
        assert_eq!(write_cache("host:/export"), None);
    }
}

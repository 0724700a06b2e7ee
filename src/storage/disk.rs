//! The real directory. Every name is looked up in the directory that was opened, whatever
//! happens to its path meanwhile.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{self, AtFlags, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use super::file::{DiskFile, status_of};
use super::{Access, Directory, File, Process, Status};

#[derive(Debug)]
pub(crate) struct Disk {
    directory: Arc<Opened>,
    path: PathBuf,
    process: Process,
}

/// The directory as its files know it.
#[derive(Debug)]
pub(super) struct Opened {
    fd: OwnedFd,
    commits_fast: OnceLock<bool>,
    /// `fallocate` was refused.
    by_zeros: AtomicBool,
}

impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Opened {
    pub(super) fn note_allocated_by_zeros(&self) {
        self.by_zeros.store(true, Ordering::Relaxed);
    }

    /// Gives a new file to the owner of the directory, if this is root: else one command of an operator would lock out the
    /// service that the log belongs to, whose files nobody else may open. Where root may not do so, as in some containers,
    /// the file stays root's.
    fn give_to_owner(&self, file: &OwnedFd) {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let Ok(directory) = fs::fstat(&self.fd) else { return };
        if directory.st_uid != 0 {
            let (uid, gid) =
                (fs::Uid::from_raw(directory.st_uid), fs::Gid::from_raw(directory.st_gid));
            fs::fchown(file, Some(uid), Some(gid)).unwrap_or_default();
        }
    }

    /// Asked behind a sync (`safety::commits_fast`).
    pub(super) fn commits_fast(&self) -> bool {
        *self.commits_fast.get_or_init(|| super::safety::commits_fast(&self.fd))
    }
}

/// Creates the directory and each parent that is missing, mode 0700. Ok if it is there already.
///
/// The parent's own name is made durable before anything is made in it, so that whatever a kill in between leaves, a
/// directory that exists has a parent that a power cut does not take. Its own name is synced by whoever puts something in it.
pub(crate) fn create_directory(path: &Path) -> io::Result<()> {
    if fs::stat(path).is_ok() {
        return Ok(());
    }
    let parent = path.parent().map(|parent| match parent.as_os_str().is_empty() {
        true => Path::new("."),
        false => parent,
    });
    if let Some(parent) = parent {
        create_directory(parent)?;
        match Disk::open(parent) {
            Ok(parent) => parent.sync_own_name()?,
            // One that can be passed through but not read.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
            Err(error) => return Err(error),
        }
    }
    match fs::mkdir(path, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Syncs the name that `directory` has in `parent`. The root of a mount has none there: its parent belongs to another file
/// system, which may be one that cannot be synced, or is the root itself.
fn sync_entry_of(directory: &OwnedFd, parent: &OwnedFd) -> io::Result<()> {
    let (here, there) = (fs::fstat(directory)?, fs::fstat(parent)?);
    if here.st_dev != there.st_dev || here.st_ino == there.st_ino {
        return Ok(());
    }
    match fs::fsync(parent) {
        // "fd is bound to a special file which does not support synchronization" (fsync(2)), or to a file system that is read
        // only, in which no name has just been made: the root of a bind mount.
        Err(Errno::INVAL | Errno::ROFS) => Ok(()),
        synced => Ok(synced?),
    }
}

impl Disk {
    pub(crate) fn open(path: &Path) -> io::Result<Disk> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = fs::open(path, flags, Mode::empty())?;
        let (commits_fast, by_zeros) = (OnceLock::new(), AtomicBool::new(false));
        let directory = Arc::new(Opened { fd: directory, commits_fast, by_zeros });
        Ok(Disk { directory, path: path.to_owned(), process: Process::this()? })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Explicitly, also where an open failed: a child that is just being forked holds a copy of the descriptor,
        // and with it the lock. Without a lock it changes nothing. Not in that child: the lock is one for both.
        if !self.process.is_this() {
            return;
        }
        fs::flock(&*self.directory, FlockOperation::Unlock).unwrap_or_default();
    }
}

impl Directory for Disk {
    fn path(&self) -> &Path {
        &self.path
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::Dir::read_from(&*self.directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        // NONBLOCK: opening a pipe that someone put here must not wait for its other end.
        let common = OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let flags = common
            | match access {
                Access::Read | Access::Direct => OFlags::RDONLY,
                Access::ReadWrite | Access::DirectWrite => OFlags::RDWR,
            };
        let open = |flags| fs::openat(&*self.directory, name, flags, Mode::empty());
        let not_regular = || io::Error::new(io::ErrorKind::InvalidData, "it is no regular file");
        let opened = match access {
            // EINVAL: the file system has no direct access.
            Access::Direct | Access::DirectWrite => match open(flags | OFlags::DIRECT) {
                Err(Errno::INVAL) => open(flags),
                opened => opened,
            },
            Access::Read | Access::ReadWrite => open(flags),
        };
        let fd = match opened {
            Ok(fd) => fd,
            // ELOOP: a symbolic link; EISDIR, ENXIO: a directory, a socket.
            Err(Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Err(not_regular()),
            Err(error) => return Err(error.into()),
        };
        let kind = fs::FileType::from_raw_mode(fs::fstat(&fd)?.st_mode);
        if kind != fs::FileType::RegularFile {
            return Err(not_regular());
        }
        Ok(Arc::new(DiskFile::new(fd, Arc::clone(&self.directory))))
    }

    fn status(&self, name: &str) -> io::Result<Status> {
        Ok(status_of(&fs::statat(&*self.directory, name, AtFlags::SYMLINK_NOFOLLOW)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let fd = fs::openat(&*self.directory, name, flags, Mode::RUSR | Mode::WUSR)?;
        self.directory.give_to_owner(&fd);
        Ok(Arc::new(DiskFile::new(fd, Arc::clone(&self.directory))))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(fs::renameat(&*self.directory, from, &*self.directory, to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(fs::unlinkat(&*self.directory, name, AtFlags::empty())?)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(fs::fsync(&*self.directory)?)
    }

    fn sync_own_name(&self) -> io::Result<()> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match fs::openat(&*self.directory, "..", flags, Mode::empty()) {
            Ok(parent) => sync_entry_of(&self.directory.fd, &parent),
            // A parent that can be passed through but not read cannot be synced either.
            Err(Errno::ACCESS | Errno::PERM) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn try_lock(&self) -> io::Result<bool> {
        // On the directory itself: a lock file could be removed and made anew under its holder.
        match fs::flock(&*self.directory, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(true),
            Err(Errno::WOULDBLOCK) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        Ok(fs::flock(&*self.directory, FlockOperation::Unlock)?)
    }

    fn stores_are_safe(&self) -> bool {
        super::safety::stores_are_safe(&*self.directory).unwrap_or(false)
    }

    fn has_journal(&self) -> bool {
        super::safety::has_journal(&*self.directory).unwrap_or(true)
    }

    fn allocates_by_zeros(&self) -> bool {
        self.directory.by_zeros.load(Ordering::Relaxed)
    }

    fn random(&self) -> io::Result<[u8; 16]> {
        let mut bytes = [0; 16];
        // Up to 256 bytes come whole and uninterrupted (getrandom(2)).
        let got = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
        if got == bytes.len() { Ok(bytes) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_a_mount_has_no_name_to_sync() {
        // proc and its parent: of two file systems, of which the first cannot be synced.
        let open = |path: &str| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            fs::open(path, flags, Mode::empty()).unwrap()
        };
        let (proc, dir) = (open("/proc"), tempfile::tempdir().unwrap());
        assert_eq!(fs::fsync(&proc), Err(Errno::INVAL));
        let log = open(dir.path().to_str().unwrap());
        sync_entry_of(&log, &proc).unwrap();
        // The root of all is its own parent; and one in the same file system that cannot be synced.
        sync_entry_of(&open("/"), &open("/..")).unwrap();
        sync_entry_of(&open("/proc/self"), &proc).unwrap();
        Disk::open(dir.path()).unwrap().sync_own_name().unwrap();
    }

    #[test]
    fn the_lock_goes_with_its_holder_though_a_child_has_a_copy_of_the_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let disk = Disk::open(dir.path()).unwrap();
        assert!(disk.try_lock().unwrap());
        let childs = rustix::io::dup(&*disk.directory).unwrap();
        let other = Disk::open(dir.path()).unwrap();
        assert!(!other.try_lock().unwrap());
        drop(disk);
        assert!(other.try_lock().unwrap());
        drop(childs);
        assert!(!Disk::open(dir.path()).unwrap().try_lock().unwrap());
    }
}

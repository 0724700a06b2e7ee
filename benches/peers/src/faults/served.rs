//! A device of which chosen writes fail: an image, served by FUSE as one file, for a loop device to stand on. A process
//! of its own, which never touches what is mounted on it: so no one waits for itself.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use fuser::{
    Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo,
    KernelConfig, LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen,
    ReplyWrite, Request, WriteFlags,
};
use memchr::memmem;

use super::said::say;
use crate::peer::Outcome;

/// The name of the image, and of the file that it is served as.
pub const IMAGE: &str = "image";
pub const DEVICE: &str = "device";

const FILE: INodeNo = INodeNo(2);
const CACHED: Duration = Duration::from_secs(3600);

#[derive(Default)]
struct Fault {
    /// Writes that hold these bytes fail.
    bytes: Option<Vec<u8>>,
    hits: u32,
}

struct Device {
    image: File,
    size: u64,
    fault: Arc<Mutex<Fault>>,
}

fn lock(fault: &Mutex<Fault>) -> MutexGuard<'_, Fault> {
    fault.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Serves the image in `root` until stdin ends. `fail BYTES` and `heal` are its orders; it says how many writes failed.
pub fn serve(root: &Path) -> Outcome<()> {
    let image = File::options().read(true).write(true).open(root.join(IMAGE))?;
    let (size, fault) = (image.metadata()?.len(), Arc::<Mutex<Fault>>::default());
    let device = Device { image, size, fault: Arc::clone(&fault) };
    let served = fuser::spawn_mount(device, root.join(DEVICE), &fuser::Config::default())?;
    say("serving");
    for order in std::io::stdin().lines() {
        let order = order?;
        let mut fault = lock(&fault);
        fault.bytes = order.strip_prefix("fail ").map(|bytes| bytes.as_bytes().to_vec());
        say(&format!("done {}", fault.hits));
        if fault.bytes.is_none() {
            fault.hits = 0;
        }
    }
    Ok(served.umount_and_join()?)
}

impl Device {
    fn attributes(&self, ino: INodeNo) -> FileAttr {
        let is_file = ino == FILE;
        FileAttr {
            ino,
            size: if is_file { self.size } else { 0 },
            blocks: self.size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: if is_file { FileType::RegularFile } else { FileType::Directory },
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            flags: 0,
            blksize: 4096,
        }
    }
}

impl Filesystem for Device {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        config.set_max_write(1 << 20).map(drop).map_err(|_| std::io::ErrorKind::InvalidInput.into())
    }

    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name.to_str() {
            Some(DEVICE) => reply.entry(&CACHED, &self.attributes(FILE), Generation(0)),
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&CACHED, &self.attributes(ino));
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        // Past the page cache: each request of the loop device is one of ours.
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let mut bytes = vec![0; u64::from(size).min(self.size.saturating_sub(offset)) as usize];
        match self.image.read_exact_at(&mut bytes, offset) {
            Ok(()) => reply.data(&bytes),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut fault = lock(&self.fault);
        if fault.bytes.as_ref().is_some_and(|bytes| memmem::find(data, bytes).is_some()) {
            fault.hits += 1;
            return reply.error(Errno::EIO);
        }
        drop(fault);
        match self.image.write_all_at(data, offset) {
            Ok(()) => reply.written(data.len() as u32),
            Err(_) => reply.error(Errno::EIO),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }
}
